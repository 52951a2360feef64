package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Copy is another recording of a source that carries the same name from the
// export with other content.
type Copy struct {
	ID   int64
	Path string // relative to the source, raw bytes
	Sent bool   // something of it reached a vendor, or may have
}

// conflicting finds recordings of a source and business key that are not the
// given one and have other content; a condition on their state follows.
const conflicting = " FROM recordings INDEXED BY recordings_business WHERE named = 1 AND source = ? AND business_key = ? AND id <> ? AND sha256 <> ? AND "

// inTheWay and isTaken are such conditions: the state of one that is in the
// way of another, and that of one that was taken. One whose file went away
// counts if a vendor has it, or may have it.
const (
	inTheWay = "NOT IN ('vanished', 'quarantined', 'skipped') OR " + reached
	isTaken  = "IN ('ready', 'done') OR " + reached
	reached  = `EXISTS (SELECT 1 FROM deliveries AS d
		WHERE d.recording_id = recordings.id AND d.state IN ('sending', 'committing', 'in_doubt', 'accepted', 'confirmed'))`
)

// CopiesTaken finds the other copies of a recording that were taken.
func (l *Ledger) CopiesTaken(ctx context.Context, source, businessKey string, except int64, sha256 string) ([]Copy, error) {
	sum, err := digest(sha256)
	if err != nil {
		return nil, err
	}
	var out []Copy
	err = l.reader.rows(ctx, "SELECT id, path"+conflicting+"(state "+isTaken+") ORDER BY id",
		[]any{source, businessKey, except, sum}, func(rows *sql.Rows) error {
			var c Copy
			var path []byte
			err := rows.Scan(&c.ID, &path)
			c.Path = string(path)
			out = append(out, c)
			return err
		})
	for i := range out {
		if err == nil {
			var busy, begun bool
			err = l.reader.row(ctx, sentOf, []any{out[i].ID}, []any{&busy, &begun})
			out[i].Sent = busy || begun
		}
	}
	if err != nil {
		return nil, fmt.Errorf("look for copies: %w", err)
	}
	return out, nil
}

// conflict finds another recording of the source that has the same name from
// its export and other content and is in the way; 0 is none. A copy is in the
// way only when it was taken.
func (t *tx) conflict(r shortRecording, d Decision) (other int64, err error) {
	if !d.Named {
		return 0, nil
	}
	sum, err := digest(d.SHA256)
	if err != nil {
		return 0, err
	}
	which := inTheWay
	if d.Copies {
		which = isTaken
	}
	err = t.row("SELECT id"+conflicting+"(state "+which+") ORDER BY id LIMIT 1", []any{r.Source, d.BusinessKey, r.ID, sum}, []any{&other})
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return other, err
}

// giveWay lets a recording be decided again because a better copy of it takes
// its place. It returns ErrStale when something of it was sent meanwhile.
func (t *tx) giveWay(id int64) error {
	r, err := t.recording(id)
	if err != nil {
		return err
	}
	busy, begun, err := t.sent(id)
	if err == nil && (r.State != Ready || busy || begun) {
		err = fmt.Errorf("copy %d: %w", id, ErrStale)
	}
	if err != nil {
		return err
	}
	return t.decideAgain(r, reasonCopy, "a better copy of it came before it was sent")
}

// reasonCopy is the reason of what another copy of the recording is sent for.
const reasonCopy = "copy"

// DocumentNeeded tells whether another recording of the source that is not
// finished yet was paired by the sidecar's key.
func (l *Ledger) DocumentNeeded(ctx context.Context, source, sidecar, key string, except int64) (needed bool, err error) {
	err = l.reader.row(ctx, `SELECT EXISTS (SELECT 1 FROM recording_documents AS u INDEXED BY recording_documents_key CROSS JOIN recordings AS r ON r.id = u.recording_id
		WHERE u.sidecar = ? AND u.key = ? AND r.id <> ? AND r.source = ? AND r.current = 1 AND (r.state = 'settling' OR r.state = 'waiting' OR r.state = 'ready'))`,
		[]any{sidecar, key, except, source}, []any{&needed})
	if err != nil {
		return false, fmt.Errorf("look who needs a document: %w", err)
	}
	return needed, nil
}
