package model

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/ledger"
	"ingestd/internal/senders"
)

// vendor is the truth about one destination. It outlives every run. Its
// fields are guarded by the world's mutex.
type vendor struct {
	w     *world
	shape shape

	uploads map[string]*upload  // declared ids
	effects map[string][]effect // by key: what it holds
	tails   map[string][]*tail  // by key: every release of the last bytes
	keys    map[string]string   // identity -> key, for ever
	open    map[string]int      // key -> attempts under way
	refused map[string]bool     // keys that were refused for good
	pending map[string]int      // key -> effects that are still to come
	count   int                 // attempts
}

// upload is a declared id.
type upload struct {
	key   string
	bytes bool // media was taken
	tails int
}

type effect struct {
	sum string
	at  time.Time
}

// tail is one release of the last bytes.
type tail struct {
	at      time.Time
	event   int64 // last event of the delivery then
	refused bool  // a definite refusal came back: nothing was caused
}

func newVendor(w *world, s shape) *vendor {
	return &vendor{
		w: w, shape: s, uploads: map[string]*upload{}, effects: map[string][]effect{}, tails: map[string][]*tail{},
		keys: map[string]string{}, open: map[string]int{}, refused: map[string]bool{}, pending: map[string]int{},
	}
}

// seat is the vendor as one run sees it.
type seat struct {
	v *vendor
	r *run
}

func (s seat) Plan(call.Item) (senders.Plan, error) { return senders.Plan{}, nil }
func (s seat) Traits() senders.Traits               { return s.v.shape.traits }

// askable is a seat that answers questions about doubts.
type askable struct{ seat }

func (v *vendor) sender(r *run) senders.Sender {
	if v.shape.asks {
		return askable{seat{v, r}}
	}
	return seat{v, r}
}

// Reconcile answers truthfully, but as late as a listing, or not at all.
func (s askable) Reconcile(_ context.Context, a senders.Attempt) (senders.Verdict, error) {
	v, w, key := s.v, s.v.w, a.Delivery.IdemKey
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.r.dying {
		return senders.Verdict{}, errGone
	}
	how := truth
	if p := w.parts[identity(v.shape.name, a.Call.CallID, a.File.SHA256)]; p != nil && len(p.answers) > 0 && !w.healed {
		how, p.answers = p.answers[0], p.answers[1:]
	}
	verdict := senders.Verdict{Outcome: senders.Unknown}
	switch how {
	case failing:
		w.noteLocked("%s: question about %.6s fails", v.shape.name, key)
		return verdict, errGone
	case truth:
		verdict.Outcome = senders.Absent
		for _, e := range v.effects[key] {
			if time.Since(e.at) >= listingLag {
				verdict.Outcome = senders.Present
			}
		}
	}
	w.noteLocked("%s: %.6s is %s", v.shape.name, key, []string{"unknown", "present", "absent"}[verdict.Outcome])
	return verdict, nil
}

// take records an effect of complete media under a key. It needs the mutex.
func (v *vendor) take(key, sum string, u *upload) {
	if v.shape.once && len(v.effects[key]) > 0 {
		v.w.noteLocked("%s: %.6s is published already, refused later", v.shape.name, key)
		return
	}
	if u != nil {
		if u.bytes {
			v.w.noteLocked("%s: %.6s came twice under one id, ignored", v.shape.name, key)
			return
		}
		u.bytes = true
	}
	v.effects[key] = append(v.effects[key], effect{sum, time.Now()})
	v.w.noteLocked("%s: holds %.6s, content %.8s, %d times", v.shape.name, key, sum, len(v.effects[key]))
}

// takeLate is take after a while, whatever becomes of the program.
func (v *vendor) takeLate(key, sum string, u *upload) {
	v.pending[key]++
	time.AfterFunc(lateEffect, func() {
		v.w.mu.Lock()
		defer v.w.mu.Unlock()
		v.pending[key]--
		v.take(key, sum, u)
	})
}

// declare gives an id. It needs the mutex.
func (v *vendor) declare(key string) string {
	if v.shape.traits.DeclareOnce {
		for _, u := range v.uploads {
			if u.key == key && !v.w.ordered(v.shape.name, key) {
				v.w.violateLocked("P2: %s: %.6s was declared twice, and no person ordered it", v.shape.name, key)
			}
		}
	}
	id := v.shape.name + "-" + strconv.Itoa(len(v.uploads)+1)
	v.uploads[id] = &upload{key: key}
	return id
}

// release checks the first byte of a tail, with the row and the event that
// are durable at this instant. It needs the mutex.
func (v *vendor) release(key string, id string, row durable) *tail {
	w, name := v.w, v.shape.name
	if row.state != ledger.Committing {
		w.violateLocked("I3: %s: the tail of %.6s leaves while the durable row is %q", name, key, row.state)
	}
	operator := false
	for _, before := range v.tails[key] {
		if before.refused {
			continue
		}
		allowed := ""
		for _, e := range row.events {
			if e.id > before.event && (e.class == "operator" || contains(v.shape.resend, e.class)) {
				allowed = e.class
				operator = operator || e.class == "operator"
			}
		}
		if allowed == "" {
			w.violateLocked("P2: %s: a second tail of %.6s leaves while the one of %s is unresolved", name, key, before.at.Sub(w.began))
		}
		if allowed == "resend_safe" && time.Since(before.at) < doubtSettle {
			w.violateLocked("P2: %s: %.6s is sent again %s after a doubt, before it settled", name, key, time.Since(before.at))
		}
	}
	if v.shape.asks && !operator && len(v.effects[key])+v.pending[key] > 0 {
		w.violateLocked("P2: %s: %.6s is sent again though the vendor has it", name, key)
	}
	if u := v.uploads[id]; u != nil {
		if u.key != key {
			w.violateLocked("I6: %s: the id of %.6s is used for %.6s", name, u.key, key)
		}
		if u.tails++; u.tails > 1 && !v.shape.traits.ReuseDeclared {
			w.violateLocked("%s: media was sent twice under one id of %.6s", name, key)
		}
	}
	t := &tail{at: time.Now(), event: row.last}
	v.tails[key] = append(v.tails[key], t)
	return t
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// begin checks who comes: one key per identity, one attempt per key.
func (v *vendor) begin(r *run, a senders.Attempt) script {
	w, key := v.w, a.Delivery.IdemKey
	who := identity(v.shape.name, a.Call.CallID, a.File.SHA256)
	if a.Call.CallID == "" {
		who += " " + a.File.Path // told apart by its path
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	v.count++
	if known, ok := v.keys[who]; ok && known != key {
		w.violateLocked("I6: %s has the key %.6s and had %.6s", who, key, known)
	}
	v.keys[who] = key
	if v.open[key]++; v.open[key] > 1 {
		w.violateLocked("I9: %s: two attempts for %.6s at a time", v.shape.name, key)
	}
	if id := a.Call.CallID; id != "" && !w.calls[pair(a.File.Path, a.File.SHA256, id)] {
		w.violateLocked("%s: %s (%.8s) goes out with the sidecar of call %s, which never lay beside it", v.shape.name, a.File.Path, a.File.SHA256, id)
	}
	s := script{fault: fine}
	if p := w.parts[identity(v.shape.name, a.Call.CallID, a.File.SHA256)]; p != nil && len(p.attempts) > 0 && !w.healed {
		s, p.attempts = p.attempts[0], p.attempts[1:]
	}
	w.noteLocked("%s: attempt %d for %.6s (%s): %s%s", v.shape.name, a.Number, key, a.File.Path, s.fault, killed(s.die))
	return s
}

func killed(p point) string {
	if p == nowhere {
		return ""
	}
	return ", killed when " + string(p)
}

func (v *vendor) end(key string) {
	v.w.mu.Lock()
	defer v.w.mu.Unlock()
	v.open[key]--
}

// held describes what the vendor has, for a failure's text.
func (v *vendor) held(key string) string {
	return fmt.Sprintf("%s holds %.6s %d times", v.shape.name, key, len(v.effects[key]))
}

// uploadOf finds a declared id, or nil.
func (v *vendor) uploadOf(id string) *upload {
	v.w.mu.Lock()
	defer v.w.mu.Unlock()
	return v.uploads[id]
}
