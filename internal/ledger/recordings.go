package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// SeeRecordings inserts a settling (or quarantined) row for each file, as one
// transaction. An older current row of the path stops being current; if it
// was not finished it has vanished, and its unsent deliveries are cancelled.
func (l *Ledger) SeeRecordings(ctx context.Context, seen []Seen) error {
	if len(seen) == 0 {
		return nil
	}
	return l.w.write(ctx, "remember recordings", func(t *tx) error {
		for i := range seen {
			if err := t.seeRecording(&seen[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) seeRecording(s *Seen) error {
	state := s.State
	if state == "" {
		state = Settling
	}
	if state != Settling && state != Quarantined {
		return fmt.Errorf("%w: a recording cannot begin as %q", ErrMove, state)
	}
	var old int64
	err := t.row("SELECT id FROM recordings WHERE source = ? AND path = ? AND current = 1", []any{s.Source, []byte(s.Path)}, []any{&old})
	if err == nil {
		err = t.replace(old, "file_changed", "another file took its name before it was sent")
	} else if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	if err != nil {
		return err
	}
	_, err = t.newRecording(s, state)
	return err
}

func (t *tx) newRecording(s *Seen, state RecordingState) (int64, error) {
	args := []any{s.Source, []byte(s.Path), state, s.Reason, s.ReasonText, t.at, t.at}
	id, err := t.insert(`INSERT INTO recordings (source, path, state, reason, reason_text, first_seen, updated,
		dev, ino, size, mtime_ns, ctime_ns, quiet_since, looks, due_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		append(append(args, lookArgs(s.Look)...), t.dueOrNow(s.Due))...)
	if err != nil {
		return 0, err
	}
	return id, t.event(event{recording: id, to: string(state), reason: s.Reason, text: s.ReasonText})
}

func (t *tx) dueOrNow(due time.Time) any {
	if due.IsZero() {
		return t.at
	}
	return dueMS(due)
}

// replace takes the path away from a row: what was not finished has vanished.
func (t *tx) replace(id int64, reason, why string) error {
	r, err := t.recording(id)
	if err != nil {
		return err
	}
	switch r.State {
	case Done, Skipped, Vanished:
		return t.one("UPDATE recordings SET current = 0, ver = ver + 1, updated = ? WHERE id = ?", t.at, id)
	}
	err = t.one(`UPDATE recordings SET current = 0, state = 'vanished', reason = 'replaced', reason_text = ?, due_at = NULL, settled = 0,
		move_to = NULL, ver = ver + 1, updated = ? WHERE id = ?`, why, t.at, id)
	if err != nil {
		return err
	}
	if err := t.event(event{recording: id, from: string(r.State), to: string(Vanished), reason: "replaced", text: why}); err != nil {
		return err
	}
	if err := t.forgetKeys(id); err != nil {
		return err
	}
	return t.cancelUnsent(id, reason, why)
}

// shortRecording is what transitions need to know of a row.
type shortRecording struct {
	ID, Ver int64
	Source  string
	Path    []byte
	State   RecordingState
	Reason  string
	Current bool
}

func (t *tx) recording(id int64) (r shortRecording, err error) {
	r.ID = id
	err = t.row("SELECT ver, source, path, state, reason, current FROM recordings WHERE id = ?", []any{id},
		[]any{&r.Ver, &r.Source, &r.Path, &r.State, &r.Reason, &r.Current})
	if errors.Is(err, sql.ErrNoRows) {
		err = fmt.Errorf("recording %d: %w", id, ErrNotFound)
	}
	return r, err
}

// recordingAt is recording with the compare of a compare-and-set.
func (t *tx) recordingAt(id, ver int64, to RecordingState) (shortRecording, error) {
	r, err := t.recording(id)
	switch {
	case err != nil:
		return r, err
	case r.Ver != ver:
		return r, fmt.Errorf("recording %d: %w", id, ErrStale)
	case !canMoveRecording(r.State, to):
		return r, fmt.Errorf("recording %d: %w: %s to %s", id, ErrMove, r.State, to)
	}
	return r, nil
}

// RelookRecordings notes another look at known files, as one transaction. Rows
// that changed meanwhile are left alone: the next scan sees the file again.
// A waiting, quarantined or skipped row whose file changed settles anew.
func (l *Ledger) RelookRecordings(ctx context.Context, again []Relook) error {
	if len(again) == 0 {
		return nil
	}
	return l.w.write(ctx, "look at recordings again", func(t *tx) error {
		for i := range again {
			if err := t.relookRecording(&again[i]); err != nil && !errors.Is(err, ErrStale) {
				return err
			}
		}
		return nil
	})
}

func (t *tx) relookRecording(a *Relook) error {
	r, err := t.recordingAt(a.ID, a.Ver, Settling)
	if err != nil {
		return err
	}
	if r.State == Ready {
		return fmt.Errorf("recording %d: %w: a ready file is not looked at again", a.ID, ErrMove)
	}
	err = t.one(`UPDATE recordings SET state = 'settling', reason = ?, reason_text = ?, ver = ver + 1, updated = ?,
		wait_until = CASE WHEN state = 'settling' THEN wait_until END,
		dev = ?, ino = ?, size = ?, mtime_ns = ?, ctime_ns = ?, quiet_since = ?, looks = ?, due_at = ? WHERE id = ?`,
		append(append([]any{a.Why, a.Text, t.at}, lookArgs(a.Look)...), t.dueOrNow(a.Due), a.ID)...)
	if err != nil || r.State == Settling {
		return err
	}
	if err := t.forgetKeys(a.ID); err != nil {
		return err
	}
	return t.event(event{recording: a.ID, from: string(r.State), to: string(Settling), reason: "file_changed", text: "the file changed and settles anew"})
}

// DueRecordings returns settling and waiting rows whose look is due, the
// oldest first. Call and Audio are not loaded.
func (l *Ledger) DueRecordings(ctx context.Context, source string, now time.Time, limit int) ([]Recording, error) {
	return l.recordings(ctx, "SELECT "+recordingColumns+` FROM recordings INDEXED BY recordings_due
		WHERE source = ? AND due_at <= ? AND state IN ('settling', 'waiting') AND due_at IS NOT NULL ORDER BY due_at LIMIT ? + 0`,
		false, source, now.UnixMilli(), limit)
}

func (l *Ledger) recordings(ctx context.Context, query string, full bool, args ...any) ([]Recording, error) {
	var out []Recording
	err := l.reader.rows(ctx, query, args, func(rows *sql.Rows) error {
		r, err := scanRecording(rows, full)
		out = append(out, r)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read recordings: %w", err)
	}
	return out, nil
}

// NextDue returns the earliest time at which a recording or document of the
// source is due, or false if none is.
func (l *Ledger) NextDue(ctx context.Context, source string) (time.Time, bool, error) {
	var due sql.NullInt64
	err := l.reader.row(ctx, `SELECT min(due) FROM (
		SELECT min(due_at) AS due FROM recordings INDEXED BY recordings_due WHERE source = ?1 AND state IN ('settling', 'waiting') AND due_at IS NOT NULL
		UNION ALL SELECT min(due_at) FROM documents INDEXED BY documents_due WHERE source = ?1 AND state = 'settling'
		UNION ALL SELECT min(due_at) FROM recordings INDEXED BY recordings_settled WHERE source = ?1 AND state = 'ready' AND settled = 1 AND move_to IS NULL
		UNION ALL SELECT min(due_at) FROM recording_changes INDEXED BY recording_changes_due WHERE source = ?1)`,
		[]any{source}, []any{&due})
	if err != nil {
		return time.Time{}, false, fmt.Errorf("read next due time: %w", err)
	}
	return instant(due), due.Valid, nil
}
