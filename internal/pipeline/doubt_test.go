package pipeline_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/ledger"
	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
)

// asked is a vendor that can be asked about a doubt.
type asked struct {
	*vendor
	answer func(time.Time) senders.Outcome
	copies int // beyond the one that is present
	times  []time.Time
	began  []time.Time
}

func (a *asked) Reconcile(_ context.Context, at senders.Attempt) (senders.Verdict, error) {
	a.times, a.began = append(a.times, time.Now()), append(a.began, at.Began)
	return senders.Verdict{Outcome: a.answer(time.Now()), Duplicates: a.copies, Text: "told by the test"}, nil
}

// apart: after "absent" the next question comes when that answer has stood
// for the settle time. Two of them within a minute would say nothing about a
// vendor that is still working, and the recording would be sent twice.
func (a *asked) apart(t *testing.T, settle time.Duration) {
	t.Helper()
	for i, at := range a.times[1:] {
		if gap := at.Sub(a.times[i]); a.answer(a.times[i]) == senders.Absent && gap < settle {
			t.Errorf("asked again %s after the vendor said absent", gap)
		}
	}
}

// lostOnce loses the answer of the first attempt after the gate.
func lostOnce() *vendor {
	v := &vendor{traits: twoStep()}
	v.script = func(n int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
		r, err := deliver(a, j)
		if n == 1 && err == nil {
			return senders.Receipt{}, &senders.Error{Class: senders.InDoubt, Code: "no_answer", Text: "lost"}
		}
		return r, err
	}
	return v
}

// A panic while the vendor's word is read is a crash of one delivery, too:
// it stays in doubt, and the third time a person must look.
func TestPanicOverADoubt(t *testing.T) {
	for crashes, want := range map[int]string{1: "accepted", 3: "held(poison)"} {
		synctest.Test(t, func(t *testing.T) {
			asks := 0
			v := &asked{vendor: lostOnce(), answer: func(time.Time) senders.Outcome {
				if asks++; asks <= crashes {
					panic("a defect of the sender")
				}
				return senders.Present
			}}
			r := newRig(t, v.vendor, func(o *pipeline.Options) { o.Destinations[0].Sender = v })
			r.drop("drop", "1", 1, meta("1"))
			r.start()
			time.Sleep(10 * time.Minute)
			if got := r.state("1.wav"); got != want {
				t.Errorf("after %d panics: %s, want %s", crashes, got, want)
			}
			r.end()
		})
	}
}

// A vendor that counts declarations gets no second one after a panic within
// the first.
func TestPanicWhileDeclaringOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vendor{traits: senders.Traits{TwoStep: true, DeclareOnce: true}, script: func(_ int, _ senders.Attempt, j senders.Journal) (senders.Receipt, error) {
			if err := j.Declaring(); err != nil {
				return senders.Receipt{}, err
			}
			panic("a defect of the sender")
		}}
		r := newRig(t, v, nil)
		r.drop("drop", "1", 1, meta("1"))
		r.start()
		time.Sleep(10 * time.Minute)
		if got := r.state("1.wav"); got != "held(declare_in_doubt)" || len(v.sent()) != 1 {
			t.Errorf("%s after %d attempts", got, len(v.sent()))
		}
		r.end()
	})
}

func TestDoubt(t *testing.T) {

	cases := []struct {
		name    string
		onDoubt string
		safe    bool
		answer  func(begun time.Time) func(time.Time) senders.Outcome // nil: cannot be asked
		within  time.Duration
		want    string
		tries   int
	}{
		{"resend is safe: after the settle time, under the same key", senders.OnDoubtAuto, true, nil, 12 * time.Minute, "accepted", 2},
		{"resend is safe, but not before the settle time", senders.OnDoubtAuto, true, nil, 9 * time.Minute, "in_doubt(no_answer)", 1},
		{"hold", senders.OnDoubtHold, true, nil, time.Minute, "held(in_doubt)", 1},
		{"no way to ask", senders.OnDoubtAuto, false, nil, time.Hour, "held(in_doubt)", 1},
		{"no way to ask, resend ordered", senders.OnDoubtResend, false, nil, time.Hour, "accepted", 2},
		{"present", senders.OnDoubtAuto, false, func(time.Time) func(time.Time) senders.Outcome {
			return func(time.Time) senders.Outcome { return senders.Present }
		}, time.Minute, "accepted", 1},
		{"absent stands for the settle time", senders.OnDoubtAuto, false, func(time.Time) func(time.Time) senders.Outcome {
			return func(time.Time) senders.Outcome { return senders.Absent }
		}, 20 * time.Minute, "accepted", 2},
		{"appears late", senders.OnDoubtAuto, false, func(begun time.Time) func(time.Time) senders.Outcome {
			return func(at time.Time) senders.Outcome {
				if at.Sub(begun) < 5*time.Minute {
					return senders.Absent
				}
				return senders.Present
			}
		}, 20 * time.Minute, "accepted", 1},
		{"absent only after hours: that answer, too, must stand for the settle time", senders.OnDoubtAuto, false, func(begun time.Time) func(time.Time) senders.Outcome {
			return func(at time.Time) senders.Outcome {
				switch since := at.Sub(begun); {
				case since < time.Hour:
					return senders.Unknown
				case since < time.Hour+5*time.Minute:
					return senders.Absent
				default:
					return senders.Present
				}
			}
		}, 80 * time.Minute, "accepted", 1},
		{"unknown for hours", senders.OnDoubtAuto, false, func(time.Time) func(time.Time) senders.Outcome {
			return func(time.Time) senders.Outcome { return senders.Unknown }
		}, 5 * time.Hour, "in_doubt(no_answer)", 1},
		{"unknown, and resend is safe: sent again after the settle time", senders.OnDoubtAuto, true, func(time.Time) func(time.Time) senders.Outcome {
			return func(time.Time) senders.Outcome { return senders.Unknown }
		}, 12 * time.Minute, "accepted", 2},
		{"unknown, and resend is safe, but not before the settle time", senders.OnDoubtAuto, true, func(time.Time) func(time.Time) senders.Outcome {
			return func(time.Time) senders.Outcome { return senders.Unknown }
		}, 9 * time.Minute, "in_doubt(no_answer)", 1},
		{"present, although resend is safe", senders.OnDoubtAuto, true, func(time.Time) func(time.Time) senders.Outcome {
			return func(time.Time) senders.Outcome { return senders.Present }
		}, time.Minute, "accepted", 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := lostOnce()
				v.traits.ResendSafe = c.safe
				var sender senders.Sender = v
				if c.answer != nil {
					sender = &asked{vendor: v, answer: c.answer(time.Now().Add(12 * time.Second))}
				}
				r := newRig(t, v, func(o *pipeline.Options) {
					o.Destinations[0].Sender, o.Destinations[0].OnDoubt = sender, c.onDoubt
				})
				r.drop("drop", "c", 1, meta("1"))
				r.start()
				for len(v.sent()) == 0 {
					time.Sleep(time.Second)
				}
				time.Sleep(c.within)
				synctest.Wait()
				if got := r.state("c.wav"); got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
				if n := len(v.sent()); n != c.tries {
					t.Errorf("%d attempts, want %d", n, c.tries)
				}
				if a, ok := sender.(*asked); ok {
					a.apart(t, r.opt.Destinations[0].DoubtSettle)
				}
				r.end()
			})
		})
	}
}

// A vendor's list is searched from the first request on, also after a resend:
// both uploads may be there, and both must be found.
func TestDoubtKnowsWhenItBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vendor{traits: senders.Traits{}}
		v.script = func(n int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
			if _, err := deliver(a, oneStep{j}); err != nil {
				return senders.Receipt{}, err
			}
			return senders.Receipt{}, &senders.Error{Class: senders.InDoubt, Code: "no_answer", Text: "lost"}
		}
		a := &asked{vendor: v, copies: 1}
		a.answer = func(time.Time) senders.Outcome {
			if len(v.sent()) < 2 {
				return senders.Absent
			}
			return senders.Present
		}
		r := newRig(t, v, func(o *pipeline.Options) { o.Destinations[0].Sender = a })
		r.drop("drop", "c", 1, meta("1"))
		r.start()
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := r.state("c.wav"); got != "accepted" || len(v.sent()) != 2 {
			t.Fatalf("%s after %d attempts", got, len(v.sent()))
		}
		first := v.sent()[0].at
		for i, began := range a.began {
			if began.After(first) || first.Sub(began) > time.Second {
				t.Errorf("question %d: began %s, the first attempt was made at %s", i+1, began, first)
			}
		}
		shown, err := r.led.Reader().Show(t.Context(), "c.wav")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(shown[0].History, func(e ledger.Event) bool { return e.Class != nil && *e.Class == "duplicate_detected" }) {
			t.Error("the history does not say duplicate_detected")
		}
		r.end()
	})
}

// oneStep is the journal of a vendor without a step 1.
type oneStep struct{ senders.Journal }

func (oneStep) Declaring() error { return nil }
