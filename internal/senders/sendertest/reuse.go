package sendertest

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"ingestd/internal/senders"
)

// checkPrivate: what a step-1 answer says that is secret goes into the journal
// under names that begin with "_", and nowhere else.
func (r *rig) checkPrivate(receipt senders.Receipt, err error) {
	r.t.Helper()
	sets := []map[string]string{receipt.IDs, r.journal.stored()}
	if e := new(senders.Error); errors.As(err, &e) {
		sets = append(sets, e.IDs)
	}
	for i, ids := range sets {
		for name, value := range ids {
			private := strings.HasPrefix(name, "_")
			if private && i == 0 {
				r.t.Fatalf("the receipt carries the private id %s", name)
			}
			if !private {
				noLeak(r.t, "id "+name, value)
			}
		}
	}
}

// again is the attempt that follows one that was cut short: it knows what the
// journal was told.
func (r *rig) again(own bool) (senders.Receipt, error) {
	r.t.Helper()
	r.media = &Media{data: r.pinned}
	a := r.h.attempt(r.pinned, r.media)
	a.Number, a.IDs, a.Own = 2, r.journal.stored(), own
	receipt, err := r.sender.Send(r.t.Context(), a, r.journal)
	r.checkPrivate(receipt, err)
	return receipt, err
}

// runReuse: vendors whose step-1 id may be used again are not asked for
// another while it is good.
func runReuse(t *testing.T, newHarness func(*testing.T) Harness) {
	declare, two := newHarness(t).step(Declare)
	if probe := newRig(t, newHarness); !two || !probe.sender.Traits().ReuseDeclared {
		return
	}
	for name, c := range map[string]struct {
		fault Fault
		own   bool
		only  bool // for vendors with a target that perishes
	}{
		"cut short":   {Fault{Read: 50_000}, false, false},
		"answer lost": {Fault{Drop: true}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, newHarness)
			perishable, ok := r.sender.(senders.Perishable)
			if c.only && !ok {
				return
			}
			r.vendor.on(r.upload(), 1, c.fault)
			if _, err := r.send(); err == nil {
				t.Fatal("the first attempt succeeded")
			}
			a := r.h.attempt(r.pinned, nil)
			a.IDs = r.journal.stored()
			if ok && !perishable.Usable(a) {
				t.Fatal("a fresh target is not usable")
			}
			if _, err := r.again(c.own); err != nil {
				t.Fatal(err)
			}
			up := r.vendor.seen(r.upload())
			if n := len(r.vendor.seen(declare.Name)); n != 1 || len(up) != 2 || up[0].Path != up[1].Path {
				t.Fatalf("%d declares, %d uploads, want one and two to the same place", n, len(up))
			}
		})
	}
}

// stored is what the ledger would hand to the next attempt.
func (j *Journal) stored() map[string]string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return maps.Clone(j.kept)
}
