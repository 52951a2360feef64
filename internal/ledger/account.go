package ledger

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"ingestd/internal/call"
)

// problem notes what Verify found, up to the limit.
func (rep *Report) problem(format string, args ...any) {
	if len(rep.Problems) < problemLimit {
		rep.Problems = append(rep.Problems, fmt.Sprintf(format, args...))
	}
}

// account fills the counting rule of every source (P1 for recordings): what
// the history says was ever seen equals what the rows say became of it.
func (rep *Report) account(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, `SELECT r.source, count(*), sum(r.state = 'settling'), sum(r.state = 'waiting'), sum(r.state = 'ready'), sum(r.state = 'done'),
		sum(r.state = 'skipped'), sum(r.state = 'quarantined'), sum(r.state = 'vanished') FROM recordings AS r GROUP BY r.source ORDER BY r.source`)
	if err != nil {
		return err
	}
	return each(rows, func(rows *sql.Rows) error {
		var b SourceBalance
		if err := rows.Scan(&b.Source, &b.Seen, &b.Settling, &b.Waiting, &b.Ready, &b.Done, &b.Skipped, &b.Quarantined, &b.Vanished); err != nil {
			return err
		}
		rep.Sources = append(rep.Sources, b)
		if sum := b.Settling + b.Waiting + b.Ready + b.Done + b.Skipped + b.Quarantined + b.Vanished; sum != b.Seen {
			rep.problem("the counting rule is broken for source %s: %d seen, %d accounted for", b.Source, b.Seen, sum)
		}
		return nil
	})
}

// SameIdentity tells whether a delivery's key is that of its recording, as it
// was when the delivery was planned.
func SameIdentity(d Delivery, r Recording) bool {
	sum, err := hex.DecodeString(r.SHA256)
	return err == nil && len(sum) == 32 && call.NewDelivery(d.Destination, r.BusinessKey, [32]byte(sum)).IdemKey == d.IdemKey
}

// keys recomputes the idempotency key of every ready recording at each of its
// destinations. A delivery under
// another key would be another recording to the vendor.
func (rep *Report) keys(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, `SELECT r.id, d.destination, coalesce(r.business_key, ''), r.sha256, json_group_array(d.idem_key)
		FROM recordings AS r JOIN deliveries AS d ON d.recording_id = r.id WHERE r.state IN ('ready', 'done') GROUP BY r.id, d.destination`)
	if err != nil {
		return err
	}
	return each(rows, func(rows *sql.Rows) error {
		var id int64
		var destination, business, have string
		var sum []byte
		if err := rows.Scan(&id, &destination, &business, &sum, &have); err != nil {
			return err
		}
		want := ""
		if len(sum) == 32 {
			want = call.NewDelivery(destination, business, [32]byte(sum)).IdemKey
		}
		var keys []string
		if err := json.Unmarshal([]byte(have), &keys); err != nil {
			return err
		}
		if !slices.Contains(keys, want) {
			rep.problem("an idempotency key is not that of its recording: recording %d at %s", id, destination)
		}
		return nil
	})
}

// link is where the history of a recording or delivery stands.
type link struct {
	state string
	known bool
}

// chains follows every history: it begins once, each step begins where the one
// before ended, and is in the table of docs/states.md. A delivery that another
// recording took over goes on there.
func (rep *Report) chains(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, `SELECT id, recording_id, coalesce(delivery_id, 0), coalesce(from_state, ''), to_state, class
		FROM events INDEXED BY events_recording ORDER BY recording_id, id`)
	if err != nil {
		return err
	}
	at, current := map[int64]link{}, int64(0)
	return each(rows, func(rows *sql.Rows) error {
		var id, recording, delivery int64
		var from, to, class string
		if err := rows.Scan(&id, &recording, &delivery, &from, &to, &class); err != nil {
			return err
		}
		if recording != current {
			clear(at)
			current = recording
		}
		before := at[delivery]
		at[delivery] = link{state: to, known: true}
		moved := class == "taken_over"
		switch {
		case from == "" && !before.known, moved:
		case from == "":
			rep.problem("the history is broken: event %d of recording %d begins anew", id, recording)
		case !before.known || before.state != from:
			rep.problem("the history is broken: event %d of recording %d goes from %s, where it was %q", id, recording, from, before.state)
		case delivery != 0 && !CanMove(State(from), State(to)), delivery == 0 && !canMoveRecording(RecordingState(from), RecordingState(to)):
			rep.problem("the history is broken: event %d of recording %d goes from %s to %s", id, recording, from, to)
		}
		return nil
	})
}

// behind compares the ledger with the high-water mark that was read before.
func (rep *Report) behind(m *waterMark) {
	if m != nil && (m.UID != rep.UID || rep.LastEvent < m.Event) {
		rep.problem("the ledger is older than what ran here: it ends at event %d of ledger %s, and event %d of %s was written; the next start puts what it calls unsent in doubt",
			rep.LastEvent, rep.UID, m.Event, m.UID)
	}
}
