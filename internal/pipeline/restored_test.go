package pipeline_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/ledger"
	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
)

// declares is a vendor with ids of its own, which can be asked about each.
type declares struct {
	*vendor
	ids    atomic.Int64 // given so far: "1", "2", ...
	void   sync.Map     // of ids
	panics atomic.Int64 // before it answers a question
}

func newDeclares() *declares {
	d := &declares{vendor: &vendor{traits: senders.Traits{TwoStep: true, ReuseDeclared: true}}}
	d.script = func(n int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
		id := a.IDs["id"]
		if id == "" {
			if err := j.Declaring(); err != nil {
				return senders.Receipt{}, err
			}
			id = strconv.FormatInt(d.ids.Add(1), 10)
			if err := j.Declared(map[string]string{"id": id}); err != nil {
				return senders.Receipt{}, err
			}
		}
		if _, void := d.void.Load(id); void {
			return senders.Receipt{}, &senders.Error{Class: senders.Refused, Code: "void", Text: "given up", IDs: map[string]string{"id": ""}}
		}
		if n == 1 {
			return senders.Receipt{}, &senders.Error{Class: senders.Refused, Code: "later", Text: "not now"}
		}
		if err := j.Sending(nil); err != nil {
			return senders.Receipt{}, err
		}
		if err := j.Committing(); err != nil {
			return senders.Receipt{}, err
		}
		return senders.Receipt{HTTPStatus: 201}, nil
	}
	return d
}

func (d *declares) Reconcile(_ context.Context, a senders.Attempt) (senders.Verdict, error) {
	if d.panics.Add(-1) >= 0 {
		panic("a defect of the sender")
	}
	id := a.IDs["id"]
	if _, void := d.void.Load(id); void {
		return senders.Verdict{Outcome: senders.Void, IDs: map[string]string{"id": "", "former": id}, Text: "given up"}, nil
	}
	return senders.Verdict{Outcome: senders.Absent, Text: "not there"}, nil
}

// An id that a restored ledger knows and the vendor gave up may be an older
// one: the recording may be there under one that this ledger has lost.
func TestVoidIDOfARestoredLedger(t *testing.T) {
	for name, c := range map[string]struct {
		onDoubt string
		panics  int64
		want    string
		again   int // attempts
	}{
		"auto":            {senders.OnDoubtAuto, 0, "held(restored)", 0},
		"after a crash":   {senders.OnDoubtAuto, 1, "held(restored)", 0},
		"resend":          {senders.OnDoubtResend, 0, "accepted", 1},
		"hold, not asked": {senders.OnDoubtHold, 1, "held(in_doubt)", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newDeclares()
				r := newRig(t, v.vendor, func(o *pipeline.Options) {
					o.Destinations[0].Sender, o.Destinations[0].OnDoubt = v, c.onDoubt
					o.Destinations[0].Retry.Initial = senders.DefaultRetry().Max
				})
				r.start()
				r.drop("drop", "x", 1, meta("1"))
				time.Sleep(2 * time.Minute)
				if got := r.state("x.wav"); got != "declared(later)" {
					t.Fatal(got)
				}
				backup := filepath.Join(r.dir, "backup.db")
				if err := ledger.Backup(t.Context(), filepath.Join(r.dir, "ledger.db"), backup); err != nil {
					t.Fatal(err)
				}
				v.void.Store("1", true)
				time.Sleep(2 * time.Hour)
				if got := r.state("x.wav"); got != "accepted" || v.ids.Load() != 2 {
					t.Fatal(got, v.ids.Load())
				}
				r.end()
				before := len(v.sent())
				if err := os.Rename(backup, filepath.Join(r.dir, "ledger.db")); err != nil {
					t.Fatal(err)
				}
				v.panics.Store(c.panics)
				r.start()
				time.Sleep(2 * time.Hour)
				if got := r.state("x.wav"); got != c.want || len(v.sent())-before != c.again {
					t.Errorf("%s after %d more attempts", got, len(v.sent())-before)
				}
				resent := 0
				for _, e := range r.show("x.wav").History {
					if e.Class != nil && *e.Class == "resend_ordered" {
						resent++
					}
				}
				if resent != c.again {
					t.Errorf("the history says %d times that it was sent again on order", resent)
				}
				r.verify()
				r.end()
			})
		})
	}
}

// An id that came to nothing under the ledger that declared it is declared
// anew at once.
func TestVoidID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newDeclares()
		send := v.script
		v.script = func(n int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
			receipt, err := send(n+1, a, j)
			if n == 1 && err == nil {
				v.void.Store("1", true)
				return senders.Receipt{}, &senders.Error{Class: senders.InDoubt, Code: "no_answer", Text: "lost"}
			}
			return receipt, err
		}
		r := newRig(t, v.vendor, func(o *pipeline.Options) { o.Destinations[0].Sender = v })
		r.drop("drop", "x", 1, meta("1"))
		r.start()
		time.Sleep(2 * time.Minute)
		if got := r.state("x.wav"); got != "accepted" || v.ids.Load() != 2 {
			t.Errorf("%s after %d declares", got, v.ids.Load())
		}
		r.end()
	})
}
