package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Disposable returns ready recordings whose deliveries let the file go (see
// refreshSettled) and whose disposal is due, with Call and Audio. Those with
// a move under way are left to PendingMoves.
func (l *Ledger) Disposable(ctx context.Context, source string, now time.Time, limit int) ([]Recording, error) {
	return l.recordings(ctx, "SELECT "+fullColumns+` FROM recordings INDEXED BY recordings_settled
		WHERE source = ? AND due_at <= ? AND state = 'ready' AND settled = 1 AND move_to IS NULL ORDER BY due_at LIMIT ? + 0`,
		true, source, now.UnixMilli(), limit)
}

// PendingMoves returns recordings of which a move was begun but not recorded
// as done: a crash came between, or the move is under way.
func (l *Ledger) PendingMoves(ctx context.Context, source string, limit int) ([]Recording, error) {
	return l.recordings(ctx, "SELECT "+fullColumns+` FROM recordings INDEXED BY recordings_moving
		WHERE source = ? AND state = 'ready' AND move_to IS NOT NULL ORDER BY id LIMIT ? + 0`, true, source, limit)
}

// Keep records that the files which may go now stay where they are: as one
// transaction, at most limit of the source. It returns how many it found.
func (l *Ledger) Keep(ctx context.Context, source string, now time.Time, limit int, text string) (int, error) {
	var found []shortRecording
	err := l.reader.rows(ctx, `SELECT id, ver FROM recordings INDEXED BY recordings_settled
		WHERE source = ? AND due_at <= ? AND state = 'ready' AND settled = 1 AND move_to IS NULL ORDER BY due_at LIMIT ? + 0`,
		[]any{source, now.UnixMilli(), limit}, func(rows *sql.Rows) error {
			var r shortRecording
			err := rows.Scan(&r.ID, &r.Ver)
			found = append(found, r)
			return err
		})
	if err != nil || len(found) == 0 {
		return 0, err
	}
	return len(found), l.w.write(ctx, "recordings done", func(t *tx) error {
		for _, r := range found {
			if err := t.done(r.ID, r.Ver, "", text); err != nil && !errors.Is(err, ErrStale) {
				return err
			}
		}
		return nil
	})
}

// settledAt checks the version, and that the file may go at all: no caller's
// mistake may dispose of a file that a delivery still needs.
func (t *tx) settledAt(id, ver int64) (shortRecording, error) {
	r, err := t.recordingAt(id, ver, Done)
	if err == nil && r.State != Ready {
		err = fmt.Errorf("recording %d: %w: %s is not disposed of", id, ErrMove, r.State)
	}
	if err != nil {
		return r, err
	}
	settled := false
	if err := t.row("SELECT settled FROM recordings WHERE id = ?", []any{id}, []any{&settled}); err != nil {
		return r, err
	}
	if !settled {
		return r, fmt.Errorf("recording %d: %w: a delivery still needs the file", id, ErrStale)
	}
	return r, nil
}

// Disposing records the intent to move (or delete) a recording's file before
// it is touched, and returns the new version.
func (l *Ledger) Disposing(ctx context.Context, id, ver int64, target string) (int64, error) {
	err := l.w.write(ctx, "begin disposal", func(t *tx) error {
		if _, err := t.settledAt(id, ver); err != nil {
			return err
		}
		t.leadsTo("disposing")
		return t.one("UPDATE recordings SET move_to = ?, ver = ver + 1, updated = ? WHERE id = ?", []byte(target), t.at, id)
	})
	if err != nil {
		return 0, err
	}
	return ver + 1, nil
}

// Done records that a recording's file was disposed of; movedTo is where it
// is now, or "" if it stays. The documents that went with it are gone: a later
// file of the same name must not be paired with them.
func (l *Ledger) Done(ctx context.Context, id, ver int64, movedTo, text string, documents ...int64) error {
	return l.w.write(ctx, "recording done", func(t *tx) error { return t.done(id, ver, movedTo, text, documents...) })
}

func (t *tx) done(id, ver int64, movedTo, text string, documents ...int64) error {
	if _, err := t.settledAt(id, ver); err != nil {
		return err
	}
	for _, doc := range documents {
		err := t.exec("UPDATE documents SET state = 'gone', due_at = NULL, ver = ver + 1, updated = ? WHERE id = ? AND state IN ('indexed', 'bad')", t.at, doc)
		if err != nil {
			return err
		}
	}
	var moved any
	if movedTo != "" {
		moved = []byte(movedTo)
	}
	err := t.one(`UPDATE recordings SET state = 'done', reason = '', reason_text = '', moved_to = ?, move_to = NULL, due_at = NULL,
		ver = ver + 1, updated = ? WHERE id = ?`, moved, t.at, id)
	if err != nil {
		return err
	}
	return t.event(event{recording: id, from: string(Ready), to: string(Done), text: text})
}

// DeferDisposal records that a file could not be disposed of and when to try
// again. Its deliveries stay accepted.
func (l *Ledger) DeferDisposal(ctx context.Context, id, ver int64, due time.Time, reason, text string) error {
	return l.w.write(ctx, "defer disposal", func(t *tx) error {
		r, err := t.settledAt(id, ver)
		if err != nil {
			return err
		}
		err = t.one("UPDATE recordings SET reason = ?, reason_text = ?, move_to = NULL, due_at = ?, ver = ver + 1, updated = ? WHERE id = ?",
			reason, text, t.dueOrNow(due), t.at, id)
		if err != nil || r.Reason == reason {
			return err
		}
		return t.event(event{recording: id, from: string(Ready), to: string(Ready), reason: reason, text: text})
	})
}
