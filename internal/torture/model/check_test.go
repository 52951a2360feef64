package model

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"

	"ingestd/internal/ledger"
)

// look is what the checks have seen of the ledger. What was committed once
// must be there for ever, across all kills.
type look struct {
	last  int64            // the newest event
	state map[int64]string // delivery -> state after its newest event
	keys  map[int64]string // delivery -> key
}

// check looks at everything after a step.
func (w *world) check() {
	w.reap()
	if r := w.run; r != nil {
		select {
		case err := <-r.ended:
			r.ended <- err
			if !r.killed.Load() {
				w.violate("the program ended by itself: %v", err)
			}
		default:
			w.checkHistory(r.db)
			w.checkEffects(r.db)
			w.checkMoved(r.db)
		}
	}
	w.checkFiles()
}

// checkHistory reads the events since the last look: I4, I5, I6, I10.
func (w *world) checkHistory(db *sql.DB) {
	max := int64(0)
	if err := db.QueryRow("SELECT coalesce(max(id), 0) FROM events").Scan(&max); err != nil {
		w.violate("read events: %v", err)
	}
	if max < w.look.last {
		w.violate("event %d was committed and is lost, the newest is %d", w.look.last, max)
	}
	rows, err := db.Query(`SELECT e.id, d.id, d.destination, d.idem_key, coalesce(from_state, ''), to_state, class, coalesce(http_status, 0), e.reason
		FROM events AS e JOIN deliveries AS d ON d.id = e.delivery_id WHERE e.id > ? ORDER BY e.id`, w.look.last)
	if err != nil {
		w.violate("read events: %v", err)
		return
	}
	defer rows.Close()
	for rows.Next() {
		var e event
		if err := rows.Scan(&e.id, &e.delivery, &e.destination, &e.key, &e.from, &e.to, &e.class, &e.status, &e.reason); err != nil {
			w.violate("read events: %v", err)
			return
		}
		w.note("  %d %s %.6s: %s -> %s %s %s", e.id, e.destination, e.key, e.from, e.to, e.class, e.reason)
		w.checkEvent(e)
	}
	if err := rows.Err(); err != nil {
		w.violate("read events: %v", err)
	}
	w.look.last = max
}

type event struct {
	id, delivery     int64
	destination, key string
	from, to         string
	class, reason    string
	status           int
}

func (w *world) checkEvent(e event) {
	if before, known := w.look.state[e.delivery]; known && before != e.from {
		w.violate("event %d goes on from %q, the delivery was %q", e.id, e.from, before)
	}
	if key, known := w.look.keys[e.delivery]; known && key != e.key {
		w.violate("I6: delivery %d had the key %.6s and has %.6s", e.delivery, key, e.key)
	}
	w.look.state[e.delivery], w.look.keys[e.delivery] = e.to, e.key
	v := w.vendors[e.destination]
	again := e.to == "planned" || e.to == "declared"
	switch {
	case e.from == "committing" && again:
		if !contains([]string{"refused", "rate_limited", "auth"}, e.class) || e.status == 0 {
			w.violate("I4: event %d takes %.6s from committing to %s after %q with status %d", e.id, e.key, e.to, e.class, e.status)
		}
	case e.from == "in_doubt" && again && e.class != "operator" && !contains(v.shape.resend, e.class):
		w.violate("I5: event %d takes %.6s out of doubt to %s by %q", e.id, e.key, e.to, e.class)
	case e.from == "in_doubt" && !again && !contains([]string{"in_doubt", "accepted", "held"}, e.to):
		w.violate("I5: event %d takes %.6s out of doubt to %s", e.id, e.key, e.to)
	}
	switch e.to {
	case "accepted":
		if !contains([]string{"accepted", "duplicate_own", "present"}, e.class) || e.class == "accepted" && e.status/100 != 2 {
			w.violate("I10: event %d accepts %.6s by %q with status %d", e.id, e.key, e.class, e.status)
		}
		w.mu.Lock()
		if len(v.effects[e.key]) == 0 {
			w.violateLocked("event %d accepts %.6s, which %s does not have", e.id, e.key, v.shape.name)
		}
		w.mu.Unlock()
	case "rejected", "held", "cancelled":
		if e.reason == "" && e.from != e.to {
			w.violate("I10: event %d: %.6s is %s without a reason", e.id, e.key, e.to)
		}
	}
}

// checkLedger runs the ledger's own verification: P1, I11, I13.
func (w *world) checkLedger() {
	rep, err := ledger.Verify(context.Background(), filepath.Join(w.state, dbName))
	if err != nil {
		w.violate("I13: verify: %v", err)
	} else if !rep.OK {
		w.violate("I11, I13: %s", strings.Join(rep.Problems, "; "))
	}
}
