package ledger

import "ingestd/internal/failpoint"

// event is one line of the history, written in its transition's transaction.
type event struct {
	recording, delivery int64 // delivery 0: about the recording
	from, to            string
	attempt             int
	class               string
	httpStatus          int
	bytes               int64
	reason, text        string
}

func (t *tx) event(e event) error {
	t.leadsTo(e.to)
	var delivery, attempt, status, bytes any
	if e.delivery != 0 {
		delivery, attempt = e.delivery, e.attempt
	}
	if e.httpStatus != 0 {
		status = e.httpStatus
	}
	if e.bytes != 0 {
		bytes = e.bytes
	}
	id, err := t.insert(`INSERT INTO events (at, boot, recording_id, delivery_id, from_state, to_state, attempt, class, http_status, bytes, reason, text)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		t.at, t.w.boot, e.recording, delivery, text(e.from), e.to, attempt, e.class, status, bytes, e.reason, e.text)
	t.last = id
	return err
}

// leadsTo names a state that this transaction leads to, for failAround.
func (t *tx) leadsTo(state string) {
	if failpoint.Enabled {
		t.states = append(t.states, state)
	}
}

// failAround lets a test fail before or after the commit of every transition:
// the points are the names of the states that it leads to.
func (t *tx) failAround(when string) error {
	if failpoint.Enabled {
		for _, state := range t.states {
			if err := failpoint.Hit(state + when); err != nil {
				return err
			}
		}
	}
	return nil
}
