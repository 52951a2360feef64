package model

import "ingestd/internal/ledger"

// durable is what is committed about one delivery at an instant.
type durable struct {
	state  ledger.State
	last   int64 // its newest event
	events []moved
}

// moved is one event of a delivery that left a state in which only the
// vendor's word, a rule or a person lets it be sent again.
type moved struct {
	id    int64
	class string
}

// row reads the live delivery of a key as it is committed at this instant.
func (r *run) row(destination, key string) durable {
	var d durable
	var id int64
	err := r.db.QueryRow("SELECT id, state FROM deliveries WHERE destination = ? AND idem_key = ? AND state <> 'duplicate'", destination, key).Scan(&id, &d.state)
	if err != nil {
		r.w.violate("I1: %s: an attempt for %.6s, which the ledger does not know: %v", destination, key, err)
		return d
	}
	rows, err := r.db.Query("SELECT id, class, coalesce(from_state, ''), to_state FROM events WHERE delivery_id = ? ORDER BY id", id)
	if err != nil {
		r.w.violate("read events: %v", err)
		return d
	}
	defer rows.Close()
	for rows.Next() {
		var m moved
		var from, to string
		if err := rows.Scan(&m.id, &m.class, &from, &to); err != nil {
			r.w.violate("read events: %v", err)
		}
		d.last = m.id
		if (from == "in_doubt" || from == "held" || from == "rejected") && (to == "planned" || to == "declared") {
			d.events = append(d.events, m)
		}
	}
	if err := rows.Err(); err != nil {
		r.w.violate("read events: %v", err)
	}
	return d
}

// id reads the step-1 id of a key as it is committed at this instant.
func (r *run) id(destination, key string) (id string) {
	err := r.db.QueryRow(`SELECT coalesce(max(v.value), '') FROM vendor_ids AS v JOIN deliveries AS d ON d.id = v.delivery_id
		WHERE d.destination = ? AND d.idem_key = ? AND v.name = 'upload_id'`, destination, key).Scan(&id)
	if err != nil {
		r.w.violate("read ids: %v", err)
	}
	return id
}

// source tells from which drop directory a key is being sent.
func (r *run) source(key string) (name string) {
	if err := r.db.QueryRow("SELECT source FROM deliveries WHERE idem_key = ? AND state <> 'duplicate'", key).Scan(&name); err != nil {
		r.w.violate("read source: %v", err)
	}
	return name
}

// ordered tells whether a person ever ordered a delivery of the key. It is
// called with the mutex held.
func (w *world) ordered(destination, key string) bool {
	if w.run == nil {
		return false
	}
	n := 0
	err := w.run.db.QueryRow(`SELECT count(*) FROM events JOIN deliveries ON deliveries.id = delivery_id
		WHERE destination = ? AND idem_key = ? AND class = 'operator'`, destination, key).Scan(&n)
	if err != nil {
		w.violateLocked("read orders: %v", err)
	}
	return n > 0
}
