package ledger

import (
	"context"
	"fmt"
)

// Vanish records that a recording's file is gone. What was not sent of it is
// cancelled; what is under way, in doubt or held stays as it is.
func (l *Ledger) Vanish(ctx context.Context, id, ver int64, text string) error {
	return l.w.write(ctx, "recording vanished", func(t *tx) error {
		r, err := t.recordingAt(id, ver, Vanished)
		if err != nil {
			return err
		}
		err = t.one(`UPDATE recordings SET state = 'vanished', reason = 'vanished', reason_text = ?, due_at = NULL, settled = 0,
			move_to = NULL, ver = ver + 1, updated = ? WHERE id = ?`, text, t.at, id)
		if err != nil {
			return err
		}
		if err := t.event(event{recording: id, from: string(r.State), to: string(Vanished), reason: "vanished", text: text}); err != nil {
			return err
		}
		if err := t.forgetKeys(id); err != nil {
			return err
		}
		return t.cancelUnsent(id, "vanished", text)
	})
}

// Requeue takes a ready recording whose file changed before it was sent out
// of the way: what was not sent of it is cancelled with the reason, the row
// ends as vanished (replaced), and the path settles anew in a fresh row,
// unless the reason is that the file vanished. Where another destination has
// done all that before, only this one's delivery is left to be cancelled.
func (l *Ledger) Requeue(ctx context.Context, recordingID int64, reason, text string) error {
	return l.w.write(ctx, "requeue recording", func(t *tx) error {
		r, err := t.recording(recordingID)
		if err != nil {
			return err
		}
		if reason != "vanished" {
			reason = "file_changed"
		}
		if r.State == Vanished {
			return t.cancelUnsent(recordingID, reason, text)
		}
		if r.State != Ready || !r.Current {
			return fmt.Errorf("recording %d: %w", recordingID, ErrStale)
		}
		var look scannedLook
		err = t.row("SELECT "+lookColumns+" FROM recordings WHERE id = ?", []any{recordingID}, look.dest())
		if err != nil {
			return err
		}
		if err := t.replace(recordingID, reason, text); err != nil || reason == "vanished" {
			return err
		}
		fresh := look.value()
		fresh.Looks = 0 // nothing is known about how quiet it is now
		_, err = t.newRecording(&Seen{Source: r.Source, Path: string(r.Path), Look: fresh}, Settling)
		return err
	})
}

// Supersede is Requeue for a file that was replaced while nothing of it is
// still to be sent: its deliveries are refused or held, so no attempt would
// ever find the change. One that was accepted is left to its disposal. It
// reports whether it did so.
func (l *Ledger) Supersede(ctx context.Context, recordingID int64) (done bool, err error) {
	var open bool
	err = l.reader.row(ctx, `SELECT EXISTS (SELECT 1 FROM deliveries WHERE recording_id = ?1
		AND state IN ('planned', 'declaring', 'declared', 'sending', 'committing', 'in_doubt'))
		OR EXISTS (SELECT 1 FROM recordings WHERE id = ?1 AND (settled = 1 OR move_to IS NOT NULL))`, []any{recordingID}, []any{&open})
	if err != nil || open {
		return false, err
	}
	return true, l.Requeue(ctx, recordingID, "file_changed", "another file has taken its name")
}
