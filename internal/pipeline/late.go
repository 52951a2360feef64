package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ingestd/internal/ledger"
	"ingestd/internal/mapping"
	"ingestd/internal/watcher"
)

// What happens when a recording's metadata changes after it was sent.
const (
	OnLateIgnore = "ignore" // the history says so
	OnLateHold   = "hold"   // and a person is asked
)

// lateChanges compares recordings with their documents where one of these
// changed since they were paired.
func (f *feed) lateChanges(ctx context.Context, now time.Time) (int, error) {
	changes, err := f.p.ledger.DueChanges(ctx, f.src.Name, now, dueBatch)
	if err != nil {
		return 0, err
	}
	return len(changes), sideBySide(ctx, changes, f.lateChange)
}

// lateChange pairs a recording again. What counts is what its rows say: not
// where they stand, nor what else is in their list. A row that was taken out
// of a list is no change.
func (f *feed) lateChange(ctx context.Context, c ledger.Change) error {
	uses, changed, err := f.compare(ctx, c.Recording)
	if err != nil {
		return fmt.Errorf("compare recording %d with its documents: %w", c.Recording.ID, err)
	}
	if !changed {
		return f.p.ledger.Unchanged(ctx, c)
	}
	outcome, err := f.p.ledger.ApplyChange(ctx, c, uses, f.src.OnLateChange == OnLateHold)
	if err != nil {
		return err
	}
	log := f.p.log.With("recording", c.Recording.ID, "source", f.src.Name)
	switch outcome {
	case ledger.ChangeAgain:
		log.Info("metadata changed before anything was sent; the recording is decided again")
		f.p.wakeAll() // what it was planned as may go on with another file
	case ledger.ChangeNoted:
		log.Info("metadata changed after it was sent")
	case ledger.ChangeHeld:
		log.Warn("metadata changed after it was sent; a person is asked", "reason", ledger.MetadataChanged)
	}
	return nil
}

// compare answers the document rows that are the recording's now, and whether
// they say something else than those that it was paired with.
func (f *feed) compare(ctx context.Context, r ledger.Recording) (uses []ledger.DocumentUse, changed bool, err error) {
	entry := watcher.Entry{Path: r.Path, Identity: watcherLook(r.Look).Identity}
	env := mapping.Env{Docs: map[string]map[string]any{}, File: fileFacts(r.Path, entry)}
	env.File.SHA256 = r.SHA256
	if r.Audio != nil {
		env.Audio = *r.Audio
	}
	var problem *mapping.FieldError
	if env.Names, err = f.src.Mapping.Names(r.Path); errors.As(err, &problem) {
		return nil, false, nil // it was never paired by this name_pattern
	} else if err != nil {
		return nil, false, err
	}
	then, err := f.p.ledger.DocumentsOf(ctx, r.ID)
	if err != nil {
		return nil, false, err
	}
	now, err := f.pair(ctx, r, &env)
	if err != nil && !errors.As(err, &problem) {
		return nil, false, err
	}
	uses = now.uses
	changed = now.problem != nil || err != nil
	if now.problem != nil {
		uses = append(uses, now.last)
	}
	said := make(map[string]int64, len(then))
	for _, u := range then {
		said[u.Sidecar] = u.Digest
	}
	for _, u := range now.uses {
		before := said[u.Sidecar] // 0: paired by an earlier version, or not at all
		changed = changed || before != 0 && before != u.Digest
	}
	return uses, changed, nil
}
