package pipeline_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/ledger"
	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
)

// hangs makes the commits hang that begin before the time it is set to: the
// ledger asks for the time within its transaction.
type hangs struct{ until atomic.Int64 }

func (h *hangs) begin(d time.Duration) { h.until.Store(time.Now().Add(d).UnixNano()) }

func (h *hangs) now() time.Time {
	time.Sleep(time.Until(time.Unix(0, h.until.Load())))
	return time.Now()
}

// A commit that hangs longer than its caller waits happens all the same. The
// delivery goes on from where the ledger is, without a restart: what was not
// sent is planned again, what may have arrived is in doubt, and an answer
// that came is not lost.
func TestCommitThatHangs(t *testing.T) {
	steps := []ledger.State{ledger.Declaring, ledger.Declared, ledger.Sending, ledger.Committing, ledger.Accepted}
	for _, hung := range steps {
		for name, traits := range map[string]senders.Traits{
			"one step": {}, "two steps": twoStep(), "reuses": {TwoStep: true, ReuseDeclared: true}, "declares once": {TwoStep: true, ReuseDeclared: true, DeclareOnce: true},
		} {
			if !traits.TwoStep && (hung == ledger.Declaring || hung == ledger.Declared) {
				continue
			}
			for _, d := range []time.Duration{90 * time.Second, 5 * time.Minute} { // the write of the end hangs too
				t.Run(fmt.Sprintf("%s, %s, %s", hung, name, d), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { commitHangs(t, hung, traits, d) })
				})
			}
		}
	}
}

func commitHangs(t *testing.T, hung ledger.State, traits senders.Traits, d time.Duration) {
	var h hangs
	var logged bytes.Buffer
	declares, tails := 0, 0
	v := &vendor{traits: traits}
	v.script = func(n int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
		ids := map[string]string{"session_id": "s"}
		step := func(to ledger.State, do func() error) error {
			if n == 1 && to == hung {
				h.begin(d)
			}
			if err := do(); err != nil {
				e := &senders.Error{Class: senders.NotSent, Code: "ledger", Text: "not recorded", Err: err}
				if to == ledger.Declared {
					e.IDs = ids
				}
				return e
			}
			return nil
		}
		if traits.TwoStep && a.IDs["session_id"] == "" {
			if err := step(ledger.Declaring, j.Declaring); err != nil {
				return senders.Receipt{}, err
			}
			declares++
			if err := step(ledger.Declared, func() error { return j.Declared(ids) }); err != nil {
				return senders.Receipt{}, err
			}
		}
		if err := step(ledger.Sending, func() error { return j.Sending(nil) }); err != nil {
			return senders.Receipt{}, err
		}
		if err := step(ledger.Committing, j.Committing); err != nil {
			return senders.Receipt{}, err
		}
		tails++
		_ = step(ledger.Accepted, func() error { return nil })
		return senders.Receipt{HTTPStatus: 201}, nil
	}
	r := newRig(t, v, func(o *pipeline.Options) { o.Log = slog.New(slog.NewTextHandler(&logged, nil)) })
	r.ledgerNow = h.now
	r.drop("drop", "c", 1, meta("1"))
	r.start()
	time.Sleep(12 * time.Minute)
	synctest.Wait()
	if got := r.state("c.wav"); got != "accepted" || tails != 1 || traits.DeclareOnce && declares != 1 {
		t.Errorf("%s after %d declares and %d tails", got, declares, tails)
	}
	if row := r.rows()["c.wav"]; row.Attempts != len(v.sent()) {
		t.Errorf("%d attempts counted of %d", row.Attempts, len(v.sent()))
	}
	times := 0
	for _, e := range r.show("c.wav").History {
		if e.To != nil && *e.To == "accepted" {
			times++
		}
	}
	if times != 1 {
		t.Errorf("accepted %d times", times)
	}
	r.verify()
	r.end()
	if strings.Contains(logged.String(), "changed since it was read") {
		t.Errorf("the worker and the ledger disagreed:\n%s", logged.String())
	}
}

// What came after the gate opened is a doubt, whatever the ledger does.
func TestDoubtWhoseCommitHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h hangs
		v := &vendor{traits: senders.Traits{}, script: func(_ int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
			if _, err := deliver(a, oneStep{j}); err != nil {
				return senders.Receipt{}, err
			}
			h.begin(5 * time.Minute)
			return senders.Receipt{}, errors.New("the line broke")
		}}
		r := newRig(t, v, func(o *pipeline.Options) { o.Destinations[0].OnDoubt = senders.OnDoubtHold })
		r.ledgerNow = h.now
		r.drop("drop", "c", 1, meta("1"))
		r.start()
		time.Sleep(10 * time.Minute)
		if got := r.state("c.wav"); got != "held(in_doubt)" || len(v.sent()) != 1 {
			t.Errorf("%s after %d attempts", got, len(v.sent()))
		}
		r.verify()
		r.end()
	})
}
