package model

import (
	"database/sql"
	"errors"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// patience is how long a healed world may take to come to rest. Attempts are
// at most a minute apart, doubts settle in two, crashes rest two at most.
const patience = 30 * time.Minute

// finish heals the vendors, lets everything come to rest, and looks for what
// was lost (P1).
func (m *machine) finish(rt *rapid.T) {
	w := m.w
	w.note("the vendors are healed")
	w.mu.Lock()
	w.healed = true
	w.mu.Unlock()
	w.reap()
	if w.run == nil {
		w.start(-1)
	}
	if w.run != nil {
		w.run.left.Store(-1)
	}
	m.settle(rt)
	w.checkLedger()
	w.checkDelivered(false)
	m.fail(rt)
	for range 2 { // a recording that settles anew may take over what was held
		w.order(w.needy("conflict"))
		m.settle(rt)
	}
	w.checkDelivered(true)
	w.rest(0)
	w.checkLedger()
	w.checkFiles()
	m.fail(rt)
}

// settle lets time pass until nothing moves by itself any more.
func (m *machine) settle(rt *rapid.T) {
	w := m.w
	calm := 0 // looks in a row: a file that was released is seen again by the next scan
	for end := time.Now().Add(patience); calm < 2; {
		w.wait(2 * scanEvery)
		synctest.Wait()
		w.check()
		if w.run == nil {
			w.start(-1)
		}
		m.fail(rt)
		busy := w.busy()
		if calm++; busy != "" {
			calm = 0
		}
		if time.Now().After(end) {
			w.violate("P1: not at rest after %s: %s", patience, busy)
			m.fail(rt)
		}
	}
}

// busy names what still moves by itself.
func (w *world) busy() string {
	var text sql.NullString
	err := w.run.db.QueryRow(`SELECT group_concat(what, '; ') FROM (
		SELECT 'delivery ' || id || ' is ' || state || ' (' || reason || ')' AS what FROM deliveries
			WHERE state IN ('planned', 'declaring', 'declared', 'sending', 'committing', 'in_doubt')
		UNION ALL SELECT 'recording ' || id || ' is settling' FROM recordings WHERE state = 'settling'
		UNION ALL SELECT 'recording ' || id || ' waits' FROM recordings WHERE state = 'waiting' AND due_at IS NOT NULL
		UNION ALL SELECT 'recording ' || id || ' is to be disposed of' FROM recordings WHERE state = 'ready' AND (settled = 1 OR move_to IS NOT NULL)
		UNION ALL SELECT 'document ' || id || ' is settling' FROM documents WHERE state = 'settling'
		UNION ALL SELECT 'order ' || id || ' is not applied' FROM orders WHERE applied_at IS NULL)`).Scan(&text)
	if err != nil {
		return err.Error()
	}
	return text.String
}

// checkDelivered accounts for every file that is still in a drop directory:
// its recording is known, and every vendor has it or a person is needed and
// is told why. With strict, after a person's order, only a conflict and a
// missing or bad sidecar are reasons.
func (w *world) checkDelivered(strict bool) {
	w.mu.Lock()
	files := make([]*file, 0, len(w.files))
	for _, f := range w.files {
		files = append(files, f)
	}
	w.mu.Unlock()
	for _, f := range files {
		var id int64
		var state, reason string
		var sha sql.NullString
		err := w.run.db.QueryRow("SELECT id, state, reason, lower(hex(sha256)) FROM recordings WHERE source = ? AND path = ? AND current = 1",
			f.source, []byte(f.stem+".wav")).Scan(&id, &state, &reason, &sha)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			w.violate("P1: nobody knows of %s", f.path())
			continue
		case err != nil:
			w.violate("read recording: %v", err)
			continue
		}
		switch {
		case state == "ready" || state == "done":
			if sha.String == f.sum {
				w.checkDeliveries(f, id, strict)
			} else if !w.needsPerson(id, strict) {
				// Other content under a recording that a person must look at
				// is found when the person orders it to be sent.
				w.violate("P1: %s is known as %.8s and is %.8s", f.path(), sha.String, f.sum)
			}
		case state == "quarantined" && (!strict || f.sidecar != withSidecar):
			// A sidecar that was repaired later is taken up by a person's order.
		case state == "waiting" && f.sidecar != withSidecar:
		default:
			w.violate("P1: %s is %s (%s)", f.path(), state, reason)
		}
	}
}

// needsPerson tells whether a delivery of a recording waits for a person; with
// strict, whether one waits for more than another try.
func (w *world) needsPerson(recording int64, strict bool) bool {
	return len(w.ids(`SELECT d.id FROM deliveries AS d LEFT JOIN deliveries AS o ON o.id = d.duplicate_of WHERE d.recording_id = ?
		AND coalesce(o.state, d.state) IN ('held', 'rejected') AND (NOT ? OR coalesce(o.reason, d.reason) = 'conflict')`, recording, strict)) > 0
}

// checkDeliveries looks at the one delivery that counts: of a recording that got
// another identity before anything was sent, the former one stays cancelled.
func (w *world) checkDeliveries(f *file, recording int64, strict bool) {
	for name, v := range w.vendors {
		var key, state, reason string
		err := w.run.db.QueryRow(`SELECT d.idem_key, coalesce(o.state, d.state), coalesce(o.reason, d.reason) FROM deliveries AS d
			LEFT JOIN deliveries AS o ON o.id = d.duplicate_of WHERE d.recording_id = ? AND d.destination = ?
			ORDER BY d.state = 'cancelled', d.id DESC LIMIT 1`, recording, name).Scan(&key, &state, &reason)
		if err != nil {
			w.violate("P1: %s has no one delivery to %s: %v", f.path(), name, err)
			continue
		}
		w.mu.Lock()
		held, refused := len(v.effects[key]), v.refused[key]
		w.mu.Unlock()
		switch {
		case state == "accepted" && held == 0:
			w.violate("%s is accepted, but %s does not have it", f.path(), name)
		case state == "accepted":
		case state == "held" && reason == "conflict":
		case strict:
			w.violate("P1: %s at %s is %s (%s) after everything was healed and ordered again", f.path(), name, state, reason)
		case state == "held":
		case state == "rejected" && refused:
		default:
			w.violate("P1: %s at %s is %s (%s)", f.path(), name, state, reason)
		}
	}
}
