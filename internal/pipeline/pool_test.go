package pipeline_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/ledger"
	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
)

// An outage of hours loses nothing, burns no attempt, and full rate is back
// within a minute after it ends.
func TestOutageBurnsNoAttempt(t *testing.T) {
	for _, class := range []senders.Class{senders.NotSent, senders.Auth} {
		t.Run(string(class), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				end := time.Now().Add(5 * time.Hour)
				v := &vendor{traits: twoStep(), script: func(_ int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
					if time.Now().Before(end) {
						if err := j.Declaring(); err != nil {
							return senders.Receipt{}, err
						}
						return senders.Receipt{}, &senders.Error{Class: class, Code: "away", Text: "the vendor is away"}
					}
					return deliver(a, j)
				}}
				r := newRig(t, v, nil)
				const n = 40
				for i := range n {
					r.drop("drop", fmt.Sprintf("c%02d", i), byte(i+1), meta(fmt.Sprint(i)))
				}
				r.start()
				time.Sleep(time.Until(end))
				during := len(v.sent())
				if limit := 5*3600/30 + 20; during > limit || during < 100 {
					t.Errorf("%d attempts during the outage, want at most %d and not none", during, limit)
				}
				time.Sleep(time.Minute)
				for path, row := range r.rows() {
					if row.State != "accepted" || row.Attempts != 1 {
						t.Errorf("%s: %s after %d attempts", path, row.State, row.Attempts)
					}
				}
				if got := len(v.sent()) - during; got != n {
					t.Errorf("%d attempts after the outage for %d recordings", got, n)
				}
				r.end()
			})
		})
	}
}

// 429 pauses the whole lane for as long as the vendor asked.
func TestRateLimitPausesLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vendor{traits: twoStep()}
		v.script = func(n int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
			if n == 1 {
				return senders.Receipt{}, &senders.Error{Class: senders.RateLimited, Code: "rate_limited", Text: "slow down", HTTPStatus: 429, RetryAfter: 90 * time.Second}
			}
			return deliver(a, j)
		}
		r := newRig(t, v, func(o *pipeline.Options) { o.Destinations[0].Workers = 1 })
		for i := range 5 {
			r.drop("drop", fmt.Sprintf("c%d", i), byte(i+1), meta(fmt.Sprint(i)))
		}
		r.start()
		time.Sleep(10 * time.Minute)
		calls := v.sent()
		if len(calls) != 6 {
			t.Fatalf("%d attempts, want 6", len(calls))
		}
		if gap := calls[1].at.Sub(calls[0].at); gap < 90*time.Second {
			t.Errorf("the next attempt came %s after the 429", gap)
		}
		for path, row := range r.rows() {
			if row.State != "accepted" || row.Attempts != 1 {
				t.Errorf("%s: %s after %d attempts", path, row.State, row.Attempts)
			}
		}
		r.end()
	})
}

// A delivery that keeps failing is tried ever more slowly and then held.
func TestGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vendor{traits: twoStep(), script: func(_ int, _ senders.Attempt, j senders.Journal) (senders.Receipt, error) {
			if err := j.Declaring(); err != nil {
				return senders.Receipt{}, err
			}
			return senders.Receipt{}, &senders.Error{Class: senders.Refused, Code: "http_500", Text: "the vendor failed", HTTPStatus: 500}
		}}
		r := newRig(t, v, nil)
		r.drop("drop", "c", 1, meta("1"))
		r.start()
		time.Sleep(71 * time.Hour)
		if got := r.state("c.wav"); got != "planned(http_500)" {
			t.Errorf("after 71 h: %s", got)
		}
		time.Sleep(2 * time.Hour)
		if got := r.state("c.wav"); got != "held(gave_up)" {
			t.Errorf("after 73 h: %s", got)
		}
		tries := len(v.sent())
		time.Sleep(24 * time.Hour)
		if again := len(v.sent()); again != tries || tries < 200 {
			t.Errorf("%d attempts in 73 h, %d after it was held", tries, again-tries)
		}
		r.end()
	})
}

// A source with a backlog does not starve the others.
func TestFairBetweenSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vendor{traits: twoStep(), script: func(_ int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
			time.Sleep(time.Second)
			return deliver(a, j)
		}}
		r := newRig(t, v, func(o *pipeline.Options) { o.Destinations[0].Workers = 2 })
		r.addSource("small")
		for i := range 300 {
			r.drop("drop", fmt.Sprintf("big%03d", i), byte(i+1), meta(fmt.Sprintf("big%d", i)))
		}
		r.start()
		time.Sleep(30 * time.Second)
		for i := range 3 {
			r.drop("small", fmt.Sprintf("small%d", i), byte(i+1), meta(fmt.Sprintf("small%d", i)))
		}
		time.Sleep(95 * time.Second) // a scan, the settle time, and some seconds of sending
		for i := range 3 {
			if got := r.state(fmt.Sprintf("small%d.wav", i)); got != "accepted" {
				t.Errorf("small%d: %s while the other source had a backlog", i, got)
			}
		}
		if done := len(v.sent()); done > 250 {
			t.Fatalf("the backlog was over too soon (%d attempts) for this test to show anything", done)
		}
		r.end()
	})
}

// A panic of one worker is a crash of one delivery: it goes out again, unless
// that was the third time.
func TestPanicIsACrashOfOneDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vendor{traits: twoStep(), script: func(_ int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
			if a.File.Stem == "bad" || a.File.Stem == "once" && a.Number == 1 {
				if err := j.Declaring(); err != nil {
					return senders.Receipt{}, err
				}
				panic("a defect of the sender")
			}
			return deliver(a, j)
		}}
		r := newRig(t, v, nil)
		r.drop("drop", "bad", 1, meta("1"))
		r.drop("drop", "good", 2, meta("2"))
		r.drop("drop", "once", 3, meta("3"))
		r.start()
		time.Sleep(5 * time.Minute)
		for name, want := range map[string]string{"bad": "held(poison)", "good": "accepted", "once": "accepted"} {
			if got := r.state(name + ".wav"); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
		tries := map[string]int{}
		for _, s := range v.sent() {
			tries[s.path]++
		}
		if tries["bad.wav"] != ledger.Poison || tries["once.wav"] != 2 {
			t.Errorf("tried %v", tries)
		}
		r.end()
	})
}

// What an attempt comes to: by its class and by how far it had come.
func TestOutcomeOfAttempt(t *testing.T) {
	type stage int
	const (
		before stage = iota
		declaring
		sending
		committing
	)
	cases := []struct {
		class senders.Class
		at    stage
		want  string
	}{
		{senders.NotSent, before, "planned(x)"},
		{senders.NotSent, declaring, "planned(x)"},
		{senders.Auth, declaring, "planned(x)"},
		{senders.Auth, sending, "planned(x)"},
		{senders.RateLimited, sending, "planned(x)"},
		{senders.Refused, before, "planned(x)"},
		{senders.Refused, declaring, "planned(x)"},
		{senders.Refused, committing, "planned(x)"},
		{senders.Incomplete, sending, "planned(x)"},
		{senders.Rejected, before, "rejected(x)"},
		{senders.Rejected, declaring, "rejected(x)"},
		{senders.Rejected, sending, "rejected(x)"},
		{senders.Rejected, committing, "rejected(x)"},
		{senders.Held, before, "held(x)"},
		{senders.Held, declaring, "held(x)"},
		{senders.Held, sending, "held(x)"},
		{senders.Held, committing, "held(x)"},
		{senders.InDoubt, committing, "in_doubt(x)"},
		{senders.InDoubt, declaring, "held(declare_in_doubt)"},
	}
	for _, c := range cases {
		t.Run(fmt.Sprintf("%s at stage %d", c.class, c.at), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := &vendor{traits: twoStep()}
				v.script = func(n int, _ senders.Attempt, j senders.Journal) (senders.Receipt, error) {
					steps := []func() error{j.Declaring, func() error { return j.Sending(nil) }, j.Committing}
					for _, step := range steps[:c.at] {
						if err := step(); err != nil {
							t.Error(err)
						}
					}
					return senders.Receipt{}, &senders.Error{Class: c.class, Code: "x", Text: "told by the test", HTTPStatus: 500}
				}
				r := newRig(t, v, nil)
				r.drop("drop", "c", 1, meta("1"))
				r.start()
				for len(v.sent()) == 0 {
					time.Sleep(time.Second)
				}
				synctest.Wait()
				if got := r.state("c.wav"); got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
				r.end()
			})
		})
	}
}

// An error that the sender did not classify is classified by the gate.
func TestUnclassifiedError(t *testing.T) {
	for _, gate := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			v := &vendor{traits: twoStep()}
			v.script = func(_ int, _ senders.Attempt, j senders.Journal) (senders.Receipt, error) {
				steps := []func() error{j.Declaring, func() error { return j.Sending(nil) }}
				if gate {
					steps = append(steps, j.Committing)
				}
				for _, step := range steps {
					if err := step(); err != nil {
						t.Error(err)
					}
				}
				return senders.Receipt{}, errors.New("something else")
			}
			r := newRig(t, v, nil)
			r.drop("drop", "c", 1, meta("1"))
			r.start()
			for len(v.sent()) == 0 {
				time.Sleep(time.Second)
			}
			synctest.Wait()
			want := "planned(cut_short)"
			if gate {
				want = "in_doubt(no_answer)"
			}
			if got := r.state("c.wav"); got != want {
				t.Errorf("gate passed %v: %s, want %s", gate, got, want)
			}
			r.end()
		})
	}
}
