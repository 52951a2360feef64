package pipeline_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/ledger"
	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
)

// tells is a vendor that says later what became of a recording.
type tells struct {
	*vendor
	answer func(since time.Duration) (senders.Verdict, error)
	first  time.Time
	times  []time.Time
}

func (s *tells) Confirm(_ context.Context, a senders.Attempt) (senders.Verdict, error) {
	if a.IDs["mining_id"] == "" || a.Open != nil {
		panic("asked without the ids of the acceptance, or with the recording")
	}
	now := time.Now()
	s.times = append(s.times, now)
	return s.answer(now.Sub(s.first))
}

func newTells(answer func(time.Duration) (senders.Verdict, error)) *tells {
	s := &tells{vendor: &vendor{traits: twoStep()}, answer: answer}
	s.script = func(_ int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
		r, err := deliver(a, j)
		s.first = time.Now()
		return r, err
	}
	return s
}

func TestConfirm(t *testing.T) {
	const working = 20 * time.Minute
	yes := func(since time.Duration) (senders.Verdict, error) {
		if since < working {
			return senders.Verdict{Text: "working"}, nil
		}
		return senders.Verdict{Outcome: senders.Present, Text: "done"}, nil
	}
	for _, c := range []struct {
		name   string
		answer func(time.Duration) (senders.Verdict, error)
		within time.Duration
		want   string
		asked  int // at most; the last question is the last
	}{
		{"not yet", yes, working / 2, "accepted(unconfirmed)", 12},
		{"processed", yes, 2 * working, "confirmed", 15},
		{"could not be processed", func(time.Duration) (senders.Verdict, error) {
			return senders.Verdict{Outcome: senders.Void, Text: "failed"}, nil
		}, time.Hour, "accepted(processing_failed)", 1},
		{"forgotten", func(time.Duration) (senders.Verdict, error) {
			return senders.Verdict{}, &senders.Error{Class: senders.Held, Code: "gone", Text: "gone", HTTPStatus: 404}
		}, time.Hour, "accepted(unconfirmable)", 1},
		{"an absence says nothing", func(time.Duration) (senders.Verdict, error) {
			return senders.Verdict{Outcome: senders.Absent, Text: "?"}, nil
		}, 10 * 24 * time.Hour, "accepted(unconfirmed)", 300},
		{"a fault is asked again", func(time.Duration) (senders.Verdict, error) {
			return senders.Verdict{}, &senders.Error{Class: senders.Refused, Code: "vendor_error", Text: "fault", HTTPStatus: 500}
		}, time.Hour, "accepted(unconfirmed)", 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTells(c.answer)
				r := newRig(t, s.vendor, func(o *pipeline.Options) {
					o.Destinations[0].Sender, o.Destinations[0].Confirm = s, true
					o.Sources[0].After = pipeline.AfterDelete
				})
				r.drop("drop", "c", 1, meta("1"))
				r.start()
				time.Sleep(20 * time.Second)
				synctest.Wait()
				if len(s.times) != 0 {
					t.Error("asked at once")
				}
				// The file may go, and `once` may end, before the vendor is done.
				if _, idle, err := r.p.Idle(t.Context()); err != nil || !idle {
					t.Errorf("idle %t, %v while only the vendor works", idle, err)
				}
				if left, _ := filepath.Glob(filepath.Join(r.dir, "drop", "*.wav")); len(left) != 0 {
					t.Errorf("%v stay although accepted", left)
				}
				time.Sleep(c.within)
				synctest.Wait()
				if got := r.state("c.wav"); got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
				if n := len(s.times); n == 0 || n > c.asked {
					t.Errorf("asked %d times, want 1 to %d", n, c.asked)
				}
				if first := s.times[0].Sub(s.first); first > 32*time.Second {
					t.Errorf("first asked after %s", first)
				}
				for i := range s.times[1:] {
					if gap := s.times[i+1].Sub(s.times[i]); gap < 30*time.Second {
						t.Errorf("asked again after %s", gap)
					}
				}
				r.events(t, len(s.times))
				if n := len(s.sent()); n != 1 {
					t.Errorf("sent %d times", n)
				}
				r.end()
			})
		})
	}
}

// events: every answer is in the history.
func (r *rig) events(t *testing.T, asked int) {
	t.Helper()
	shown, err := r.led.Reader().Show(t.Context(), "c.wav")
	if err != nil || len(shown) != 1 {
		t.Fatalf("%v, %d recordings", err, len(shown))
	}
	n := 0
	for _, e := range shown[0].History {
		if e.From != nil && *e.From == string(ledger.Accepted) {
			n++
		}
	}
	if n != asked {
		t.Errorf("%d events for %d questions", n, asked)
	}
}

// Without confirm = true nothing is asked, and accepted is the end.
func TestNotConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTells(func(time.Duration) (senders.Verdict, error) { panic("asked") })
		r := newRig(t, s.vendor, func(o *pipeline.Options) { o.Destinations[0].Sender = s })
		r.drop("drop", "c", 1, meta("1"))
		r.start()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if got := r.state("c.wav"); got != "accepted" {
			t.Errorf("%s, want accepted", got)
		}
		r.end()
	})
}

// A question that was due while the program was down is put after its start;
// a question that the end of the program cuts off is no answer.
func TestConfirmSurvivesRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTells(func(since time.Duration) (senders.Verdict, error) {
			return senders.Verdict{Outcome: senders.Present, Text: "done"}, nil
		})
		r := newRig(t, s.vendor, func(o *pipeline.Options) {
			o.Destinations[0].Sender, o.Destinations[0].Confirm = s, true
		})
		r.drop("drop", "c", 1, meta("1"))
		r.start()
		for len(s.sent()) == 0 {
			time.Sleep(time.Second)
		}
		time.Sleep(5 * time.Second)
		r.end()
		if len(s.times) != 0 {
			t.Fatal("asked too early")
		}
		time.Sleep(time.Hour)
		r.start()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := r.state("c.wav"); got != "confirmed" {
			t.Errorf("%s, want confirmed", got)
		}
		r.end()
	})
}

// A backlog of questions does not keep recordings waiting.
func TestQuestionsYieldToRecordings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []string
		s := newTells(nil)
		s.answer = func(time.Duration) (senders.Verdict, error) {
			order = append(order, "asked")
			time.Sleep(10 * time.Second)
			return senders.Verdict{Text: "working"}, nil
		}
		inner := s.script
		s.script = func(n int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
			order = append(order, "sent")
			return inner(n, a, j)
		}
		r := newRig(t, s.vendor, func(o *pipeline.Options) {
			o.Destinations[0].Sender, o.Destinations[0].Confirm, o.Destinations[0].Workers = s, true, 1
		})
		for i := range byte(6) {
			r.drop("drop", string('a'+rune(i)), i+1, meta(string('a'+rune(i))))
		}
		r.start()
		for len(s.sent()) < 6 {
			time.Sleep(time.Second)
		}
		r.end()
		time.Sleep(time.Hour) // all questions are due at the start
		order = nil
		for i := range byte(3) {
			r.drop("drop", string('p'+rune(i)), i+100, meta(string('p'+rune(i))))
		}
		r.start()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		// Those that settled while the first question was put go before the rest.
		if n, before := len(s.sent()), slices.Index(order, "sent"); n != 9 || before < 0 || before > 3 {
			t.Errorf("%d recordings sent; %v", n, order)
		}
		r.end()
	})
}
