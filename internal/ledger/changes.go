package ledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// MetadataChanged is the reason of everything that follows from a document
// that changed after a recording was paired with it.
const MetadataChanged = "metadata_changed"

const changedUnsent = "its metadata changed before anything was sent; it is decided again"

// changeRest is how long a change waits for a request that is under way.
const changeRest = 5 * time.Second

// visible is the condition under which lookups see a document's rows. A list
// that only grows stays visible while what was added to it settles.
const visible = "(d.state = 'indexed' OR d.state = 'bad' OR d.state = 'settling' AND d.place <> '')"

// rowDigest tells what one row says from what another says. It is never 0.
func rowDigest(content, reason string) int64 {
	sum := sha256.Sum256([]byte(content + "\x00" + reason))
	return int64(binary.BigEndian.Uint64(sum[:8]) | 1)
}

// noteChanges marks the recordings that were paired by the key of one of the
// document's rows from after to last, where the row says something else than
// theirs did: because it is new in this version of the document, or because
// theirs is nowhere to be found. Which row counts is compared later, one
// recording after the other.
//
// A document of one recording that went away with it leaves its name to the
// next; only lists speak of recordings that were moved.
func (t *tx) noteChanges(id, after, last int64) error {
	err := t.exec(`INSERT INTO recording_changes (recording_id, source, due_at)
		SELECT c.id, c.source, ?4 FROM documents AS d
			CROSS JOIN document_rows AS r INDEXED BY document_rows_document ON r.document_id = d.id AND r.gen = d.gen
			CROSS JOIN recording_documents AS u INDEXED BY recording_documents_key ON u.sidecar = r.sidecar AND u.key = r.key
			CROSS JOIN recordings AS c ON c.id = u.recording_id
		WHERE d.id = ?1 AND r.id > ?2 AND r.id <= ?3 AND r.key <> '' AND u.digest <> r.digest AND c.source = d.source
			AND c.state IN ('ready', 'quarantined', 'skipped', 'done') AND (u.rule = 'key' OR u.rule = 'time' OR c.current = 1 AND c.moved_to IS NULL)
			AND (NOT EXISTS (SELECT 1 FROM document_rows AS o WHERE o.sidecar = r.sidecar AND o.key = r.key AND o.digest = r.digest
					AND o.document_id = r.document_id AND o.gen <> r.gen)
				OR `+noneSays("u.digest")+`)
		ON CONFLICT (recording_id) DO UPDATE SET n = n + 1, due_at = excluded.due_at`, id, after, last, t.at)
	if err != nil {
		return fmt.Errorf("note changed documents: %w", err)
	}
	return nil
}

// noneSays is the condition that no visible row under the key of row r of
// document d has the digest.
func noneSays(digest string) string {
	return `NOT EXISTS (SELECT 1 FROM document_rows AS o CROSS JOIN documents AS p ON p.id = o.document_id AND p.gen = o.gen AND p.source = d.source
		WHERE o.sidecar = r.sidecar AND o.key = r.key AND o.digest = ` + digest + ` AND p.state <> 'gone')`
}

// overtaken tells whether a document row that a recording was paired with has
// changed since it was looked up: it is not there any more, or a newer row
// under its key says something else.
func (t *tx) overtaken(recording int64, u DocumentUse) (yes bool, err error) {
	if u.Digest == 0 {
		return false, nil
	}
	err = t.row(`SELECT coalesce(sum(o.digest = ?4), 0) = 0 OR coalesce(sum(o.id > ?5 AND o.digest <> ?4), 0) > 0
		FROM recordings AS c CROSS JOIN document_rows AS o INDEXED BY document_rows_key ON o.sidecar = ?2 AND o.key = ?3 AND o.key <> ''
		CROSS JOIN documents AS d ON d.id = o.document_id AND d.gen = o.gen AND d.source = c.source AND `+visible+`
		WHERE c.id = ?1`, []any{recording, u.Sidecar, u.Key, u.Digest, u.Newest}, []any{&yes})
	return yes, err
}

// Change is a recording whose documents may say something else by now.
type Change struct {
	Recording Recording // with Call and Audio
	n         int64
}

// DueChanges returns recordings to be compared with their documents, at most
// limit.
func (l *Ledger) DueChanges(ctx context.Context, source string, now time.Time, limit int) ([]Change, error) {
	var out []Change
	err := l.reader.rows(ctx, `SELECT recording_id, n FROM recording_changes INDEXED BY recording_changes_due
		WHERE source = ? AND due_at <= ? ORDER BY due_at LIMIT ? + 0`, []any{source, now.UnixMilli(), limit},
		func(rows *sql.Rows) error {
			var c Change
			err := rows.Scan(&c.Recording.ID, &c.n)
			out = append(out, c)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read changed documents: %w", err)
	}
	for i := range out {
		found, err := l.recordings(ctx, "SELECT "+fullColumns+" FROM recordings WHERE id = ?", true, out[i].Recording.ID)
		if err != nil {
			return nil, err
		}
		if len(found) == 1 {
			out[i].Recording = found[0]
		}
	}
	return out, nil
}

// Unchanged ends a change that proved to be none. It does nothing when another
// came meanwhile.
func (l *Ledger) Unchanged(ctx context.Context, c Change) error {
	return l.w.write(ctx, "nothing changed", func(t *tx) error {
		_, err := t.change("DELETE FROM recording_changes WHERE recording_id = ? AND n = ?", c.Recording.ID, c.n)
		return err
	})
}

// ChangeOutcome is what became of a change of a recording's metadata.
type ChangeOutcome string

// Outcomes of a change.
const (
	ChangeLater ChangeOutcome = "later" // a request is under way, or its file is being moved
	ChangeAgain ChangeOutcome = "again" // nothing was sent: the recording is decided again
	ChangeNoted ChangeOutcome = "noted" // it was sent: the history says so
	ChangeHeld  ChangeOutcome = "held"  // it was sent: a person is asked
	ChangeMoot  ChangeOutcome = "moot"  // it is decided with the new content anyway
)

// ApplyChange records that the metadata of a recording changed; uses are the
// document rows as they are now. Nothing is decided while a request is under
// way. Before anything was sent the recording settles anew, and what was
// planned is cancelled until it is decided. After that the change becomes one
// event; with hold, what is still to be sent is held, and where nothing is,
// the recording carries the reason and its file stays until a person decides.
// It returns ErrStale when another change came meanwhile.
func (l *Ledger) ApplyChange(ctx context.Context, c Change, uses []DocumentUse, hold bool) (out ChangeOutcome, err error) {
	err = l.w.write(ctx, "metadata changed", func(t *tx) (err error) {
		out, err = t.applyChange(c, uses, hold)
		return err
	})
	return out, err
}

func (t *tx) applyChange(c Change, uses []DocumentUse, hold bool) (out ChangeOutcome, err error) {
	id := c.Recording.ID
	var n int64
	err = t.row("SELECT n FROM recording_changes WHERE recording_id = ?", []any{id}, []any{&n})
	if errors.Is(err, sql.ErrNoRows) || err == nil && n != c.n {
		return "", ErrStale
	}
	if err != nil {
		return "", err
	}
	r, err := t.recording(id)
	if err != nil {
		return "", err
	}
	switch r.State {
	case Quarantined, Skipped:
		out, err = ChangeAgain, t.decideAgain(r, MetadataChanged, changedUnsent)
	case Ready:
		busy, begun, err := t.sent(id)
		switch {
		case err != nil:
			return "", err
		case busy:
			return ChangeLater, t.exec("UPDATE recording_changes SET due_at = ? WHERE recording_id = ?", t.at+changeRest.Milliseconds(), id)
		case !begun:
			out, err = ChangeAgain, t.decideAgain(r, MetadataChanged, changedUnsent)
		default:
			out, err = t.changedLate(r, uses, hold)
		}
		if err != nil {
			return "", err
		}
	case Done:
		out, err = t.changedLate(r, uses, hold)
	default:
		out = ChangeMoot
	}
	if err != nil {
		return "", err
	}
	return out, t.exec("DELETE FROM recording_changes WHERE recording_id = ?", id)
}

// sent tells whether a request for the recording is under way or unanswered,
// or its file on the move; and whether anything of it ever reached a vendor, or
// may have, under a ledger that this one replaced.
// A duplicate is as far as the delivery that carries it.
func (t *tx) sent(id int64) (busy, begun bool, err error) {
	err = t.row(sentOf, []any{id}, []any{&busy, &begun})
	return busy, begun, err
}

// sentOf is what sent asks about recording ?1.
const sentOf = `SELECT coalesce(sum(o.state IN ('declaring', 'sending', 'committing', 'in_doubt')), 0) > 0
			OR EXISTS (SELECT 1 FROM recordings WHERE id = ?1 AND move_to IS NOT NULL),
			coalesce(sum(o.attempts > 0 OR o.state NOT IN ('planned', 'rejected', 'held', 'cancelled') OR o.reason = 'restored'
				OR EXISTS (SELECT 1 FROM vendor_ids WHERE delivery_id = o.id)
				OR EXISTS (SELECT 1 FROM events AS e INDEXED BY events_recording WHERE e.recording_id = o.recording_id AND e.delivery_id = o.id AND e.to_state = 'in_doubt')), 0) > 0
		FROM deliveries AS d JOIN deliveries AS o ON o.id = coalesce(d.duplicate_of, d.id) WHERE d.recording_id = ?1`

// decideAgain lets a recording of which nothing was sent settle anew. What
// was planned of it is cancelled until then: it goes on when the recording is
// decided, unless that gives it another identity.
func (t *tx) decideAgain(r shortRecording, reason, why string) error {
	if err := t.cancelIn("'planned', 'rejected', 'held'", r.ID, reason, why); err != nil {
		return err
	}
	err := t.one(`UPDATE recordings SET state = 'settling', reason = ?1, reason_text = ?2, wait_until = NULL, due_at = ?3, settled = 0,
		ver = ver + 1, updated = ?3 WHERE id = ?4`, reason, why, t.at, r.ID)
	if err != nil {
		return err
	}
	return t.event(event{recording: r.ID, from: string(r.State), to: string(Settling), reason: reason, text: why})
}

// changedLate notes a change that came after the recording was sent.
func (t *tx) changedLate(r shortRecording, uses []DocumentUse, hold bool) (ChangeOutcome, error) {
	why := "its metadata changed after it was sent; the vendor keeps what it has"
	if hold {
		why = "its metadata changed after it was sent; correct it at the vendor if it matters, then `ingestd retry`"
	}
	for _, u := range uses {
		if err := t.exec("UPDATE recording_documents SET digest = ? WHERE recording_id = ? AND sidecar = ?", u.Digest, r.ID, u.Sidecar); err != nil {
			return "", err
		}
	}
	err := t.event(event{recording: r.ID, from: string(r.State), to: string(r.State), reason: MetadataChanged, text: why})
	if err != nil || !hold {
		return ChangeNoted, err
	}
	held, err := t.holdUnsent(r.ID, why)
	if err != nil || held {
		return ChangeHeld, err
	}
	return ChangeHeld, t.one("UPDATE recordings SET reason = ?, reason_text = ?, due_at = NULL, ver = ver + 1, updated = ? WHERE id = ?",
		MetadataChanged, why, t.at, r.ID)
}

// holdUnsent holds what is still to be sent of a recording.
func (t *tx) holdUnsent(id int64, why string) (held bool, err error) {
	var open []shortDelivery
	err = t.rows("SELECT "+shortDeliveryColumns+" FROM deliveries WHERE recording_id = ? AND state IN ('planned', 'declared')", []any{id},
		func(row scanner) error {
			var d shortDelivery
			err := row.Scan(d.dest()...)
			open = append(open, d)
			return err
		})
	for _, d := range open {
		if err == nil {
			err = t.move(d, Step{From: d.State, To: Held, Class: "held", Reason: MetadataChanged, Text: why})
		}
	}
	return len(open) > 0, err
}

// changeSeen is a person's word that a change of metadata is known: the file
// may go.
func (t *tx) changeSeen(r shortRecording, why string) error {
	err := t.one(`UPDATE recordings SET reason = '', reason_text = '', due_at = CASE WHEN state = 'ready' AND settled = 1 THEN ?1 ELSE due_at END,
		ver = ver + 1, updated = ?1 WHERE id = ?2`, t.at, r.ID)
	if err != nil {
		return err
	}
	return t.event(event{recording: r.ID, from: string(r.State), to: string(r.State), class: "operator", text: why})
}
