package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"ingestd/internal/call"
)

// Decide records what became of a recording, with its documents and its
// deliveries, in one transaction.
//
// A delivery whose key exists at its destination becomes a duplicate of the
// one that is there; one that was cancelled because its file went away is
// taken over by this recording. When the export named the recording and
// another recording of the source has the name with other content, the new
// deliveries are held; where they are copies it returns ErrStale instead, and
// has to be decided anew. In a ledger that was begun anew or restored, files
// that were there before start in doubt.
func (l *Ledger) Decide(ctx context.Context, id, ver int64, d Decision) (Decided, error) {
	var out Decided
	row, err := encodeDecision(d)
	if err != nil {
		return out, fmt.Errorf("decide recording %d: %w", id, err)
	}
	var result Decided
	err = l.w.write(ctx, "decide recording", func(t *tx) (err error) {
		result, err = t.decide(id, ver, d, row)
		return err
	})
	if err != nil {
		return out, err
	}
	return result, nil
}

// decisionRow is a decision's columns; nil leaves a column as it is.
type decisionRow struct {
	sum, call, audio, callID, recorderID, startedAt any
}

func encodeDecision(d Decision) (r decisionRow, err error) {
	var errs [3]error
	r.sum, errs[0] = digest(d.SHA256)
	r.call, errs[1] = encodeCall(d.Call)
	r.audio, errs[2] = encodeAudio(d.Audio)
	c := d.Call
	if c == nil {
		c = &call.Record{}
	}
	r.callID, r.recorderID, r.startedAt = text(c.CallID), text(c.RecordingID), ms(c.StartedAt)
	return r, errors.Join(errs[:]...)
}

func (t *tx) decide(id, ver int64, d Decision, row decisionRow) (out Decided, err error) {
	r, err := t.recordingAt(id, ver, d.State)
	if err != nil {
		return out, err
	}
	if err := t.unmoved(r, d.Group); err != nil {
		return out, err
	}
	var merged any
	if d.Merge != nil {
		merged = d.Merge.Size
	}
	look := make([]any, 7) // NULL leaves a column as it is
	if d.Look != nil {
		look = lookArgs(*d.Look)
	}
	due := dueMS(d.Due)
	if d.State == Settling {
		due = t.dueOrNow(d.Due)
	}
	err = t.one(`UPDATE recordings SET state = ?, reason = ?, reason_text = ?, due_at = ?, ver = ver + 1, updated = ?, named = ?, merged_size = ?,
		wait_until = coalesce(?, wait_until), sha256 = coalesce(?, sha256), business_key = coalesce(?, business_key),
		call_json = coalesce(?, call_json), audio_json = coalesce(?, audio_json), call_id = coalesce(?, call_id),
		recorder_id = coalesce(?, recorder_id), started_at = coalesce(?, started_at), dev = coalesce(?, dev), ino = coalesce(?, ino),
		size = coalesce(?, size), mtime_ns = coalesce(?, mtime_ns), ctime_ns = coalesce(?, ctime_ns), quiet_since = coalesce(?, quiet_since),
		looks = coalesce(?, looks) WHERE id = ?`,
		slices.Concat([]any{d.State, d.Reason, d.ReasonText, due, t.at, d.Named, merged, ms(d.WaitUntil), row.sum, text(d.BusinessKey),
			row.call, row.audio, row.callID, row.recorderID, row.startedAt}, look, []any{id})...)
	if err != nil {
		return out, err
	}
	if r.State != d.State || r.Reason != d.Reason {
		err = t.event(event{recording: id, from: string(r.State), to: string(d.State), reason: d.Reason, text: d.ReasonText})
		if err != nil {
			return out, err
		}
	}
	if err := t.pairs(id, d); err != nil {
		return out, err
	}
	if d.Merge != nil {
		if err := t.merge(r, d.Merge); err != nil {
			return out, err
		}
	}
	if d.WakeGroup && r.State != d.State {
		if err := t.wakeGroup(r); err != nil {
			return out, err
		}
	}
	if len(d.Deliveries) == 0 {
		return out, nil
	}
	return t.planAll(r, d)
}

// pairs replaces the keys that a recording waits for and the documents it was
// paired with.
func (t *tx) pairs(id int64, d Decision) error {
	if err := t.forgetKeys(id); err != nil {
		return err
	}
	for sidecar, key := range d.Keys {
		if err := t.exec("INSERT INTO recording_keys (recording_id, sidecar, key) VALUES (?, ?, ?)", id, sidecar, key); err != nil {
			return err
		}
	}
	if d.Part != "" {
		if err := t.exec("INSERT INTO recording_keys (recording_id, sidecar, key) VALUES (?, ?, ?)", id, partKey, d.Part); err != nil {
			return err
		}
	}
	if err := t.drop("recording_documents WHERE recording_id = ?", id); err != nil {
		return err
	}
	for _, u := range d.Documents {
		sum, err := digest(u.SHA256)
		if err != nil {
			return err
		}
		late, err := t.overtaken(id, u)
		if err != nil {
			return err
		}
		if late {
			return fmt.Errorf("recording %d: its document changed: %w", id, ErrStale)
		}
		err = t.exec(`INSERT INTO recording_documents (recording_id, sidecar, document_id, row_id, path, row, key, rule, sha256, digest)
			VALUES (?1, ?2, ?3, ?4, ?5, ?6, coalesce((SELECT key FROM document_rows WHERE id = ?4), ''), ?7, ?8, nullif(?9, 0))`,
			id, u.Sidecar, u.DocumentID, u.RowID, []byte(u.Path), u.Row, u.Rule, sum, u.Digest)
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) forgetKeys(id int64) error {
	return t.drop("recording_keys WHERE recording_id = ?", id)
}

// planAll writes a ready recording's deliveries.
func (t *tx) planAll(r shortRecording, d Decision) (out Decided, err error) {
	if d.State != Ready {
		return out, fmt.Errorf("%w: deliveries of a recording that is %s", ErrMove, d.State)
	}
	for _, id := range d.Instead {
		if err := t.giveWay(id); err != nil {
			return out, err
		}
	}
	conflict, err := t.conflict(r, d)
	if err == nil && conflict != 0 && d.Copies {
		err = fmt.Errorf("recording %d: a copy was taken meanwhile: %w", r.ID, ErrStale)
	}
	if err != nil {
		return out, err
	}
	doubt, err := t.beforeEpoch(r.ID)
	if err != nil {
		return out, err
	}
	for _, n := range d.Deliveries {
		switch n.State {
		case Planned, Held, Rejected, InDoubt:
		default:
			return out, fmt.Errorf("%w: a delivery cannot begin as %q", ErrMove, n.State)
		}
		switch {
		case conflict != 0 && n.State != Rejected:
			n.State, n.Reason = Held, "conflict"
			n.ReasonText = fmt.Sprintf("recording %[1]d has the same id and other content; compare `ingestd show %[1]d` with this one: `ingestd retry %[2]d` sends this one too, "+
				"`ingestd cancel %[2]d --note WHY` gives it up", conflict, r.ID)
		case doubt && n.State == Planned:
			n.State, n.Reason = InDoubt, ReasonRestored
			n.ReasonText = "the file was there before this ledger began, so it may have been sent under an earlier one"
		}
		duplicate, err := t.plan(r, n)
		switch {
		case err != nil:
			return out, err
		case duplicate:
			out.Duplicates++
		case conflict != 0 && n.State == Held:
			out.Conflicts++
		}
	}
	return out, t.refreshSettled(r.ID)
}

// beforeEpoch tells whether the file was there before a ledger that replaced
// another one began.
func (t *tx) beforeEpoch(id int64) (before bool, err error) {
	err = t.row("SELECT min(ctime_ns, mtime_ns) / 1000000 <= restore_epoch FROM recordings, meta WHERE recordings.id = ?", []any{id}, []any{&before})
	return before, err
}

// plan writes one delivery, unless its key has one.
func (t *tx) plan(r shortRecording, n NewDelivery) (duplicate bool, err error) {
	have, err := t.deliveryOfKey(n.Destination, n.IdemKey)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		if err := t.refuseRenamed(r, &n); err != nil {
			return false, err
		}
		return false, t.newDelivery(r, n, 0)
	case err != nil:
		return false, err
	case have.State == Cancelled && (have.Reason == "vanished" || have.Reason == "file_changed" || have.Reason == MetadataChanged || have.Reason == reasonCopy):
		return false, t.takeOver(have, r, n)
	case have.RecordingID == r.ID:
		return false, nil // decided again after a retry
	}
	owner, err := t.recording(have.RecordingID)
	if err != nil {
		return false, err
	}
	if owner.State == Vanished {
		switch have.State {
		case Planned, Declared:
			return false, t.takeOver(have, r, n)
		case Held, Rejected, InDoubt:
			// What is known about it stays; only the file is another.
			n.State, n.Reason, n.ReasonText = have.State, have.Reason, "the file came again; what was decided about it stays"
			return false, t.takeOver(have, r, n)
		}
	}
	var again bool
	err = t.row("SELECT EXISTS (SELECT 1 FROM deliveries WHERE recording_id = ? AND duplicate_of = ?)", []any{r.ID, have.ID}, []any{&again})
	if err != nil || again {
		return true, err
	}
	n.State, n.Reason = Duplicate, "duplicate"
	n.ReasonText = fmt.Sprintf("recording %d has the same content and id", have.RecordingID)
	return true, t.newDelivery(r, n, have.ID)
}

// refuseRenamed holds a delivery whose file the destination has, or may have,
// under another key: the mapping has given the recording another identity
// since. Sending it would be a second copy.
func (t *tx) refuseRenamed(r shortRecording, n *NewDelivery) error {
	var other int64
	err := t.row(`SELECT o.id FROM recordings AS r JOIN recordings AS o INDEXED BY recordings_replaced
			ON o.source = r.source AND o.path = r.path AND o.current = 0 AND o.sha256 = r.sha256
		JOIN deliveries AS d ON d.recording_id = o.id
		WHERE r.id = ? AND d.destination = ? AND d.idem_key <> ? AND d.state IN ('sending', 'committing', 'in_doubt', 'accepted', 'confirmed') LIMIT 1`,
		[]any{r.ID, n.Destination, n.IdemKey}, []any{&other})
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	n.State, n.Reason = Held, "identity_changed"
	n.ReasonText = fmt.Sprintf("recording %d is the same file and was sent under another id: the mapping of call_id, recording_id, segment_index or leg has changed since; "+
		"`ingestd retry` sends it once more, `ingestd show %d` tells what was sent", other, other)
	return nil
}

func (t *tx) newDelivery(r shortRecording, n NewDelivery, duplicateOf int64) error {
	var of, doubt any
	if duplicateOf != 0 {
		of = duplicateOf
	}
	if n.State == InDoubt {
		doubt = t.at
	}
	created := t.at
	if n.Reason == ReasonRestored {
		// The vendor is asked about the time since: an upload in the lost
		// stretch was later than the file and its call, and earlier than now.
		err := t.row("SELECT min(?1, mtime_ns / 1000000, ctime_ns / 1000000, coalesce(started_at, ?1)) FROM recordings WHERE id = ?2",
			[]any{t.at, r.ID}, []any{&created})
		if err != nil {
			return err
		}
	}
	id, err := t.insert(`INSERT INTO deliveries (recording_id, source, destination, idem_key, state, reason, reason_text, duplicate_of, next_attempt, doubt_since, created, updated)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		r.ID, r.Source, n.Destination, n.IdemKey, n.State, n.Reason, n.ReasonText, of, t.at, doubt, created, t.at)
	if err != nil {
		return err
	}
	return t.event(event{recording: r.ID, delivery: id, to: string(n.State), reason: n.Reason, text: n.ReasonText})
}

// takeOver gives a delivery whose file went away to another recording with
// the same identity. The former recording keeps a duplicate in its place, so
// that every recording still counts once at every destination; unless it has
// another identity by now, and what becomes of this one is nothing to its file.
func (t *tx) takeOver(have shortDelivery, r shortRecording, n NewDelivery) error {
	why := "taken over: the same recording came again"
	if have.RecordingID == r.ID {
		why = "decided again" // nobody else's: its metadata changed, or it was not the file that did
	}
	err := t.one(`UPDATE deliveries SET recording_id = ?, source = ?, state = ?, reason = ?, reason_text = ?,
		next_attempt = CASE WHEN state = 'in_doubt' THEN max(next_attempt, ?) ELSE ? END,
		doubt_since = CASE WHEN ? = 'in_doubt' THEN coalesce(doubt_since, ?) END, ver = ver + 1, updated = ? WHERE id = ? AND ver = ?`,
		r.ID, r.Source, n.State, n.Reason, n.ReasonText, t.at, t.at, n.State, t.at, t.at, have.ID, have.Ver)
	if err != nil {
		return err
	}
	err = t.event(event{recording: r.ID, delivery: have.ID, from: string(have.State), to: string(n.State), attempt: have.Attempts, class: "taken_over", reason: n.Reason, text: why})
	if err != nil || have.RecordingID == r.ID {
		return err
	}
	former, err := t.recording(have.RecordingID)
	if err != nil {
		return err
	}
	var counted bool // under the identity that it got since
	err = t.row("SELECT EXISTS (SELECT 1 FROM deliveries WHERE recording_id = ? AND destination = ?)", []any{former.ID, n.Destination}, []any{&counted})
	if err != nil || counted {
		return err
	}
	return t.newDelivery(former, NewDelivery{
		Destination: n.Destination, IdemKey: n.IdemKey, State: Duplicate, Reason: "taken_over",
		ReasonText: fmt.Sprintf("recording %d carries it now", r.ID),
	}, have.ID)
}
