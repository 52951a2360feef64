package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"ingestd/internal/ledger"
	"ingestd/internal/watcher"
)

// Look compares what was found with what the ledger knows, and remembers what
// is new. It decides nothing else.
func (f *feed) Look(ctx context.Context, at time.Time, batch []watcher.Entry) error {
	var media, docs []watcher.Entry
	for _, e := range batch {
		switch {
		case e.Kind == watcher.Dir:
		case f.isDocument(e.Path):
			docs = append(docs, e)
		case f.isMedia(e.Path):
			media = append(media, e)
		}
	}
	if !f.p.await(ctx) {
		return ctx.Err()
	}
	if err := f.lookMedia(ctx, at, media); err != nil {
		return fmt.Errorf("source %q: remember recordings: %w", f.src.Name, err)
	}
	if err := f.lookDocuments(ctx, at, docs); err != nil {
		return fmt.Errorf("source %q: remember documents: %w", f.src.Name, err)
	}
	f.p.Beat()
	return nil
}

func (f *feed) isDocument(rel string) bool {
	for _, s := range f.src.Sidecars {
		if s.Matches(rel) {
			return true
		}
	}
	return false
}

func (f *feed) isMedia(rel string) bool {
	if only := f.p.opt.Only; only != nil && !only(f.src.Name, rel) {
		return false
	}
	rel = strings.ToLower(rel)
	return matchAny(f.src.Include, rel) && !matchAny(f.src.Exclude, rel)
}

func matchAny(globs []string, lower string) bool {
	for _, g := range globs {
		if doublestar.MatchUnvalidated(strings.ToLower(g), lower) {
			return true
		}
	}
	return false
}

func (f *feed) lookMedia(ctx context.Context, at time.Time, found []watcher.Entry) error {
	if len(found) == 0 {
		return nil
	}
	known, err := f.p.ledger.RecordingsAt(ctx, f.src.Name, paths(found))
	if err != nil {
		return err
	}
	var seen []ledger.Seen
	var again []ledger.Relook
	for _, e := range found {
		row, ok := known[e.Path]
		switch {
		case !ok:
			seen = append(seen, f.firstSight(e, at))
		case reappeared(row, e.Identity):
			if f.stillThere(e) {
				seen = append(seen, f.firstSight(e, at))
			}
		case sameState(row.Look.Identity, e.Identity):
		case row.State == ledger.Ready:
			// Its change is found at the next open or at the gate, never
			// half sent; unless nothing of it is still to be sent.
			if !sameFile(row.Look.Identity, e.Identity) {
				if _, err := f.p.ledger.Supersede(ctx, row.ID); err != nil && !errors.Is(err, ledger.ErrStale) {
					return err
				}
				f.wake()
			}
		default:
			next, due := f.relook(row.Look, e.Identity, at)
			again = append(again, ledger.Relook{ID: row.ID, Ver: row.Ver, Look: next, Due: due})
		}
	}
	if err := f.p.ledger.SeeRecordings(ctx, seen); err != nil {
		return err
	}
	if err := f.p.ledger.RelookRecordings(ctx, again); err != nil {
		return err
	}
	if len(seen)+len(again) > 0 {
		f.wake()
	}
	return nil
}

// reappeared tells that a finished row and the file of the same name are two
// recordings: the file came back after it vanished or was moved away, or its
// content was replaced after the row was settled. Content decides later
// whether it is a duplicate.
func reappeared(row ledger.Recording, id watcher.Identity) bool {
	switch row.State {
	case ledger.Vanished:
		return true
	case ledger.Done:
		return row.MovedTo != "" || !sameState(row.Look.Identity, id)
	case ledger.Skipped:
		return !sameState(row.Look.Identity, id)
	default:
		return false
	}
}

// stillThere looks again: a scan may have seen a file just before it was
// moved to the archive.
func (f *feed) stillThere(e watcher.Entry) bool {
	root := f.watch.Root()
	if root == nil {
		return false
	}
	now, err := root.Stat(e.Path)
	return err == nil && now.Identity == e.Identity
}

// firstSight is the row of a file never seen before. What is not a regular
// file of its own is refused here, without being opened.
func (f *feed) firstSight(e watcher.Entry, at time.Time) ledger.Seen {
	look := ledger.Look{Identity: identity(e.Identity), Since: at, Looks: 1}
	s := ledger.Seen{Source: f.src.Name, Path: e.Path, Look: look, State: ledger.Settling, Due: at}
	reason, text := "", ""
	switch {
	case e.Kind == watcher.Symlink:
		reason, text = "symlink", "a symbolic link is not followed; drop the file itself"
	case e.Kind == watcher.Other:
		reason, text = "not_regular", "not a regular file; remove it from the drop directory"
	case e.Links > 1:
		reason, text = "hardlink", "the file has a second name (hard link), so it could belong to somebody else; drop a copy"
	}
	if reason != "" {
		s.State, s.Reason, s.ReasonText = ledger.Quarantined, reason, text
		return s
	}
	v := f.rule().Judge(watcher.Look{}, e.Identity, watcher.Evidence{}, at)
	s.Look, s.Due = ledgerLook(v.Next), v.Again
	return s
}

func (f *feed) relook(prev ledger.Look, id watcher.Identity, at time.Time) (ledger.Look, time.Time) {
	v := f.rule().Judge(watcherLook(prev), id, watcher.Evidence{}, at)
	return ledgerLook(v.Next), v.Again
}

func (f *feed) lookDocuments(ctx context.Context, at time.Time, found []watcher.Entry) error {
	if len(found) == 0 {
		return nil
	}
	known, err := f.p.ledger.DocumentsAt(ctx, f.src.Name, paths(found))
	if err != nil {
		return err
	}
	var seen []ledger.Seen
	var again []ledger.Relook
	for _, e := range found {
		row, ok := known[e.Path]
		switch {
		case e.Kind != watcher.Regular:
			// A link or pipe with a sidecar's name is no sidecar.
		case !ok:
			v := f.documentRule(e.Path).Judge(watcher.Look{}, e.Identity, watcher.Evidence{}, at)
			seen = append(seen, ledger.Seen{Source: f.src.Name, Path: e.Path, Look: ledgerLook(v.Next), Due: v.Again})
		case !sameState(row.Look.Identity, e.Identity):
			v := f.documentRule(e.Path).Judge(watcherLook(row.Look), e.Identity, watcher.Evidence{}, at)
			again = append(again, ledger.Relook{ID: row.ID, Ver: row.Ver, Look: ledgerLook(v.Next), Due: v.Again})
		}
	}
	if err := f.p.ledger.SeeDocuments(ctx, seen); err != nil {
		return err
	}
	if err := f.p.ledger.RelookDocuments(ctx, again); err != nil {
		return err
	}
	if len(seen)+len(again) > 0 {
		f.wake()
	}
	return nil
}
