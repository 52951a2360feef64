package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// shortDelivery is what transitions need to know of a row.
type shortDelivery struct {
	ID, Ver, RecordingID int64
	Source, Destination  string
	State                State
	Reason               string
	Attempts, Crashes    int
}

const shortDeliveryColumns = "id, ver, recording_id, source, destination, state, reason, attempts, crashes"

func (d *shortDelivery) dest() []any {
	return []any{&d.ID, &d.Ver, &d.RecordingID, &d.Source, &d.Destination, &d.State, &d.Reason, &d.Attempts, &d.Crashes}
}

func (t *tx) delivery(id int64) (d shortDelivery, err error) {
	err = t.row("SELECT "+shortDeliveryColumns+" FROM deliveries WHERE id = ?", []any{id}, d.dest())
	if errors.Is(err, sql.ErrNoRows) {
		err = fmt.Errorf("delivery %d: %w", id, ErrNotFound)
	}
	return d, err
}

func (t *tx) deliveryOfKey(destination, key string) (d shortDelivery, err error) {
	err = t.row("SELECT "+shortDeliveryColumns+" FROM deliveries WHERE destination = ? AND idem_key = ? AND duplicate_of IS NULL",
		[]any{destination, key}, d.dest())
	return d, err
}

// Move takes a delivery through one or more transitions in one durable
// transaction, each with its event, and returns the new version. It returns
// ErrStale when the version or the first From is not the row's, and ErrMove
// for a transition that is not in the table; then nothing was written.
func (l *Ledger) Move(ctx context.Context, id, ver int64, steps ...Step) (newVer int64, err error) {
	if len(steps) == 0 {
		return ver, nil
	}
	for i, s := range steps {
		if !CanMove(s.From, s.To) {
			return 0, fmt.Errorf("delivery %d: %w: %s to %s", id, ErrMove, s.From, s.To)
		}
		if i > 0 && s.From != steps[i-1].To {
			return 0, fmt.Errorf("delivery %d: %w: step %d begins at %s after %s", id, ErrMove, i+1, s.From, steps[i-1].To)
		}
	}
	err = l.w.write(ctx, "move delivery", func(t *tx) error {
		d, err := t.delivery(id)
		if err != nil {
			return err
		}
		if d.Ver != ver || d.State != steps[0].From {
			return fmt.Errorf("delivery %d: %w", id, ErrStale)
		}
		return t.move(d, steps...)
	})
	if err != nil {
		return 0, err
	}
	return ver + 1, nil
}

// move writes checked steps of a delivery that is at the first From.
func (t *tx) move(d shortDelivery, steps ...Step) error {
	attempts := d.Attempts
	begun, doubted, evidence := false, false, false
	crashed := 0
	for _, s := range steps {
		if s.Crashed {
			crashed++
		}
		if s.BeginAttempt {
			attempts++
			begun = true
		}
		if s.Unburn && attempts > 0 {
			attempts--
		}
		doubted = doubted || s.To == InDoubt && s.From != InDoubt
		evidence = evidence || s.To == Accepted || s.To == Confirmed
		err := t.event(event{
			recording: d.RecordingID, delivery: d.ID, from: string(s.From), to: string(s.To), attempt: attempts,
			class: s.Class, httpStatus: s.HTTPStatus, bytes: s.Bytes, reason: s.Reason, text: s.Text,
		})
		if err != nil {
			return err
		}
		if err := t.storeIDs(d.ID, s.IDs); err != nil {
			return err
		}
	}
	last := steps[len(steps)-1]
	// An outage does not count towards give_up: the time runs anew after it.
	away := last.Class == "not_sent" || last.Class == "auth" || last.Class == "rate_limited"
	reasonText := last.Text
	if last.Reason == "" {
		reasonText = ""
	}
	var next any // NULL leaves it as it is
	switch {
	case last.To == Planned, last.To == Declared, last.To == InDoubt, last.To == Accepted && last.Reason == Unconfirmed:
		next = t.dueOrNow(last.NextAttempt)
	}
	err := t.one(`UPDATE deliveries SET state = ?1, reason = ?2, reason_text = ?3, attempts = ?4, crashes = crashes + ?13, ver = ver + 1, updated = ?5,
		next_attempt = coalesce(?6, next_attempt),
		first_attempt = CASE WHEN ?4 = 0 OR ?12 THEN NULL WHEN ?7 THEN coalesce(first_attempt, ?5) ELSE first_attempt END,
		doubt_since = CASE WHEN ?1 <> 'in_doubt' THEN NULL WHEN ?8 THEN ?5 ELSE doubt_since END,
		accepted_at = CASE WHEN ?9 THEN coalesce(accepted_at, ?5) ELSE accepted_at END
		WHERE id = ?10 AND ver = ?11`,
		last.To, last.Reason, reasonText, attempts, t.at, next, begun, doubted, evidence, d.ID, d.Ver, away, crashed)
	if err != nil {
		return err
	}
	return t.afterMove(d, last.To)
}

// storeIDs upserts vendor ids; an empty value deletes.
func (t *tx) storeIDs(delivery int64, ids map[string]string) error {
	for name, value := range ids {
		var err error
		if value == "" {
			err = t.exec("DELETE FROM vendor_ids WHERE delivery_id = ? AND name = ?", delivery, name)
		} else {
			err = t.exec("INSERT INTO vendor_ids (delivery_id, name, value) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value WHERE value <> excluded.value", delivery, name, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// afterMove does what a final state asks for: the recordings that wait for
// this delivery may let their files go. There, and where it waits for a person
// for an unknown time, private ids are erased.
func (t *tx) afterMove(d shortDelivery, to State) error {
	switch to {
	case Accepted, Confirmed, Rejected, Held, Cancelled:
		if err := t.drop("vendor_ids WHERE delivery_id = ? AND substr(name, 1, 1) = '_'", d.ID); err != nil {
			return err
		}
	}
	if !freed(d.State) && !freed(to) {
		return nil
	}
	waiting := []int64{d.RecordingID}
	err := t.rows("SELECT recording_id FROM deliveries WHERE duplicate_of = ?", []any{d.ID}, func(row scanner) error {
		var id int64
		err := row.Scan(&id)
		waiting = append(waiting, id)
		return err
	})
	if err != nil {
		return err
	}
	for _, id := range waiting {
		if err := t.refreshSettled(id); err != nil {
			return err
		}
	}
	return nil
}

// freed tells that a delivery in this state does not need the file any more.
func freed(s State) bool { return s == Accepted || s == Confirmed || s == Cancelled }

// refreshSettled notes whether a recording's deliveries let its file go: each
// is accepted, cancelled or the duplicate of one that is accepted or that a
// person gave up, and one at least is accepted or the duplicate of such a one.
// A file of which nothing was ever accepted is never disposed of.
func (t *tx) refreshSettled(recording int64) error {
	var settled, noted bool
	err := t.row(`SELECT coalesce(sum(e = 'accepted' OR e = 'confirmed'), 0) > 0
			AND coalesce(sum(e <> 'accepted' AND e <> 'confirmed' AND e <> 'cancelled'), 0) = 0,
			(SELECT settled FROM recordings WHERE id = ?1)
		FROM (SELECT CASE WHEN d.state <> 'duplicate' THEN d.state WHEN o.state IN ('accepted', 'confirmed') OR o.state = 'cancelled' AND o.reason = 'by_person' THEN o.state ELSE 'pending' END AS e
			FROM deliveries AS d LEFT JOIN deliveries AS o ON o.id = d.duplicate_of WHERE d.recording_id = ?1)`,
		[]any{recording}, []any{&settled, &noted})
	if err != nil || settled == noted {
		return err
	}
	return t.exec(`UPDATE recordings SET settled = ?1, updated = ?2, ver = ver + 1,
		due_at = CASE WHEN ?1 AND reason <> 'metadata_changed' THEN coalesce(due_at, ?2) ELSE due_at END WHERE id = ?3 AND state = 'ready'`, settled, t.at, recording)
}

// cancelUnsent cancels what was not sent of a recording whose file went away.
func (t *tx) cancelUnsent(recording int64, reason, why string) error {
	return t.cancelIn("'planned', 'declared'", recording, reason, why)
}

// cancelIn cancels a recording's deliveries in one of the states, a list in
// SQL. A delivery that others are duplicates of goes on with one of their
// files instead: otherwise a file that is still there would never be sent.
func (t *tx) cancelIn(states string, recording int64, reason, why string) error {
	var unsent []shortDelivery
	err := t.rows("SELECT "+shortDeliveryColumns+" FROM deliveries WHERE recording_id = ? AND state IN ("+states+")", []any{recording},
		func(row scanner) error {
			var d shortDelivery
			err := row.Scan(d.dest()...)
			unsent = append(unsent, d)
			return err
		})
	if err != nil {
		return err
	}
	for _, d := range unsent {
		handed, err := t.handOver(d)
		if err == nil && !handed {
			err = t.move(d, Step{From: d.State, To: Cancelled, Class: "cancelled", Reason: reason, Text: why})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// handOver swaps a delivery with a duplicate of it whose file is still there.
func (t *tx) handOver(d shortDelivery) (bool, error) {
	var other, heir int64
	err := t.row(`SELECT d.id, d.recording_id FROM deliveries AS d JOIN recordings AS r ON r.id = d.recording_id
		WHERE d.duplicate_of = ? AND r.state = 'ready' AND r.current = 1 AND r.move_to IS NULL ORDER BY d.id LIMIT 1`, []any{d.ID}, []any{&other, &heir})
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	const swap = "UPDATE deliveries SET recording_id = ?1, source = (SELECT source FROM recordings WHERE id = ?1), ver = ver + 1, updated = ?2 WHERE id = ?3"
	if err := t.one(swap, heir, t.at, d.ID); err != nil {
		return false, err
	}
	if err := t.one(swap, d.RecordingID, t.at, other); err != nil {
		return false, err
	}
	why := fmt.Sprintf("the file of recording %d went away; recording %d has the same content and id", d.RecordingID, heir)
	err = t.event(event{recording: heir, delivery: d.ID, from: string(d.State), to: string(d.State), attempt: d.Attempts, class: "taken_over", text: why})
	if err == nil {
		err = t.event(event{recording: d.RecordingID, delivery: other, from: string(Duplicate), to: string(Duplicate), class: "taken_over", text: why})
	}
	return true, err
}
