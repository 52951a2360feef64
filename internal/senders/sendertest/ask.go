package sendertest

import (
	"errors"
	"maps"
	"testing"

	"ingestd/internal/senders"
)

// retry makes another attempt, with ids as a ledger holds them.
func (r *rig) retry(own bool, ids map[string]string) (senders.Receipt, error) {
	r.t.Helper()
	r.media = &Media{data: r.pinned}
	a := r.h.attempt(r.pinned, r.media)
	a.Number, a.Own, a.IDs = 2, own, ids
	return r.sender.Send(r.t.Context(), a, r.journal)
}

// store applies changes of vendor ids as the ledger does.
func store(ids, changes map[string]string) map[string]string {
	out := maps.Clone(ids)
	for name, value := range changes {
		if out[name] = value; value == "" {
			delete(out, name)
		}
	}
	return out
}

// runIDs: what becomes of a step-1 id after an attempt that failed.
func runIDs(t *testing.T, newHarness func(*testing.T) Harness) {
	declare, two := newHarness(t).step(Declare)
	if !two {
		return
	}
	t.Run("stopped before the gate, then again", func(t *testing.T) {
		r := newRig(t, newHarness)
		r.vendor.on(r.upload(), 1, Fault{Early: true, Reply: func(Request) Reply { return Reply{Status: 503} }})
		r.fails(senders.Refused)
		if _, err := r.retry(false, r.journal.stored()); err != nil {
			t.Fatal(err)
		}
		ups, reuse := r.vendor.seen(r.upload()), r.sender.Traits().ReuseDeclared
		if n := len(r.vendor.seen(declare.Name)); reuse != (n == 1) || reuse != (ups[0].Path == ups[1].Path) {
			t.Fatalf("ReuseDeclared is %t: %d declares, uploads to %s and %s", reuse, n, ups[0].Path, ups[1].Path)
		}
	})
	if _, asks := newHarness(t).step(Ask); !asks {
		return // what an unknown id means is that vendor's own
	}
	unknown := func(*testing.T) *rig {
		r := newRig(t, newHarness)
		r.vendor.on(r.upload(), 1, Fault{Early: true, Reply: func(Request) Reply { return Reply{Status: 404} }})
		return r
	}
	t.Run("the id is unknown", func(t *testing.T) {
		r := unknown(t)
		e := r.fails(senders.Refused)
		before := r.journal.stored()
		ids := store(before, e.IDs)
		if len(e.IDs) == 0 || maps.Equal(ids, before) {
			t.Fatalf("the ids %v stay although the vendor does not know them", before)
		}
		if _, err := r.retry(false, ids); err != nil {
			t.Fatal(err)
		}
		ups := r.vendor.seen(r.upload())
		if n := len(r.vendor.seen(declare.Name)); n != 2 || ups[0].Path == ups[1].Path {
			t.Fatalf("%d declares, uploads to %s and %s", n, ups[0].Path, ups[1].Path)
		}
	})
	t.Run("the id is unknown and may have been used", func(t *testing.T) {
		r := unknown(t)
		_, err := r.retry(true, nil)
		if e := new(senders.Error); !errors.As(err, &e) || e.Class != senders.Held {
			t.Fatalf("%v: nobody knows whether the earlier upload landed, so only a person can decide", err)
		}
	})
}

// runQuestions: a vendor that is asked proves what its answer says and nothing
// more, and no question has an effect.
func runQuestions(t *testing.T, newHarness func(*testing.T) Harness) {
	h := newHarness(t)
	step, ok := h.step(Ask)
	if !ok {
		return
	}
	ask := func(t *testing.T, confirm bool, f Fault) (senders.Verdict, error) {
		t.Helper()
		r := newRig(t, newHarness)
		r.delivers()
		before := len(r.vendor.seen(""))
		r.vendor.on(step.Name, 0, f)
		a := r.h.attempt(r.pinned, r.media)
		a.Open, a.IDs, a.Own = nil, r.journal.stored(), true
		var v senders.Verdict
		var err error
		if confirm {
			v, err = r.sender.(senders.Confirmer).Confirm(t.Context(), a)
		} else {
			v, err = r.sender.(senders.Reconciler).Reconcile(t.Context(), a)
		}
		r.vendor.settle()
		if all, asked := len(r.vendor.seen("")), len(r.vendor.seen(step.Name)); all != before+asked {
			t.Fatalf("%d requests beside the questions", all-before-asked)
		}
		if err != nil {
			noLeak(t, "error", err.Error())
		}
		noLeak(t, "verdict and log", v.Text, r.log.String())
		return v, err
	}
	check := func(t *testing.T, v senders.Verdict, err error, want senders.Outcome, class senders.Class) {
		t.Helper()
		var e *senders.Error
		switch {
		case class == "" && (err != nil || v.Outcome != want || v.Text == ""):
			t.Fatalf("%+v, %v; want outcome %d with a text", v, err, want)
		case class != "" && (!errors.As(err, &e) || e.Class != class):
			t.Fatalf("%+v, %v; want class %s", v, err, class)
		}
	}
	for _, q := range h.Questions {
		t.Run(q.Name, func(t *testing.T) {
			v, err := ask(t, q.Confirm, Fault{Reply: q.Reply})
			check(t, v, err, q.Want, q.Class)
		})
	}
	for confirm, name := range map[bool]string{false: "reconcile", true: "confirm"} {
		if _, can := newRig(t, newHarness).sender.(senders.Confirmer); confirm && !can {
			continue
		}
		t.Run(name+": credentials refused", func(t *testing.T) {
			v, err := ask(t, confirm, Fault{Reply: echo(401, nil)})
			check(t, v, err, 0, senders.Auth)
		})
		t.Run(name+": too many requests", func(t *testing.T) {
			v, err := ask(t, confirm, Fault{Reply: echo(429, nil)})
			check(t, v, err, 0, senders.RateLimited)
		})
		vague := unreadable(200)
		for fault, f := range broken() {
			vague[fault] = f
		}
		for _, status := range []int{302, 307, 500, 503} {
			vague[Reply{Status: status}.name()] = Fault{Reply: echo(status, map[string]string{"Location": "/elsewhere"})}
		}
		for fault, f := range vague {
			t.Run(name+": "+fault, func(t *testing.T) {
				if v, err := ask(t, confirm, f); err == nil && v.Outcome != senders.Unknown {
					t.Fatalf("%+v out of an answer that proves nothing", v)
				}
			})
		}
	}
}

func (r Reply) name() string { return string(r.bytes()[:len("HTTP/1.1 200")]) }
