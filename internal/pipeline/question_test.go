package pipeline_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
)

// forbids is a vendor that answers no question.
type forbids struct {
	*vendor
	answer senders.Answer
	asked  atomic.Int64
}

func (f *forbids) Reconcile(context.Context, senders.Attempt) (senders.Verdict, error) {
	f.asked.Add(1)
	return senders.Verdict{}, senders.Classify(f.answer, time.Now())
}

func (f *forbids) Confirm(ctx context.Context, a senders.Attempt) (senders.Verdict, error) {
	return f.Reconcile(ctx, a)
}

// One credential serves uploads and questions, so a question that is refused
// for it (401) pauses both. That the account may not ask (403) says nothing
// about uploads, and those go on at full rate.
func TestRefusedQuestion(t *testing.T) {
	for _, kind := range []string{"doubt", "confirm"} {
		for status, paused := range map[int]bool{401: true, 403: false, 429: true} {
			t.Run(fmt.Sprintf("%s, %d", kind, status), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					v := &forbids{vendor: lostOnce(), answer: senders.Answer{Status: status, Connected: true}}
					v.traits.ResendSafe = false
					if kind == "confirm" {
						v.script = func(_ int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) { return deliver(a, j) }
					}
					r := newRig(t, v.vendor, func(o *pipeline.Options) {
						o.Destinations[0].Sender, o.Destinations[0].Confirm = v, kind == "confirm"
					})
					r.drop("drop", "first", 1, meta("1"))
					r.start()
					for v.asked.Load() == 0 {
						time.Sleep(time.Millisecond)
					}
					synctest.Wait()
					if until, why := r.opt.Destinations[0].Lane.Paused(); until.IsZero() == paused {
						t.Errorf("paused until %s (%s)", until, why)
					}
					time.Sleep(10 * time.Minute)
					want := map[string]string{"doubt": "in_doubt(no_answer)", "confirm": "accepted(unconfirmed)"}[kind]
					if got := r.state("first.wav"); got != want || v.asked.Load() < 4 {
						t.Errorf("%s after %d questions, want %s", got, v.asked.Load(), want)
					}
					r.end()
				})
			})
		}
	}
}
