package pipeline_test

import (
	"context"
	"maps"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
)

// server is a vendor of two steps whose id may be used again and can be asked
// about (reliability, shape b).
type server struct {
	*vendor
	given   []map[string]string // the ids that each attempt was given
	own     []bool
	verdict func() (senders.Verdict, error)
	asked   atomic.Int32
}

func (s *server) Reconcile(context.Context, senders.Attempt) (senders.Verdict, error) {
	s.asked.Add(1)
	return s.verdict()
}

// newServer fails the first attempts with these errors, each after the gate
// when its class is in_doubt, else before it.
func newServer(failures ...*senders.Error) *server {
	s := &server{vendor: &vendor{traits: senders.Traits{TwoStep: true, ReuseDeclared: true}}}
	s.script = func(n int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
		s.given, s.own = append(s.given, maps.Clone(a.IDs)), append(s.own, a.Own)
		if a.IDs["id"] == "" {
			if err := j.Declaring(); err != nil {
				return senders.Receipt{}, err
			}
			if err := j.Declared(map[string]string{"id": "new"}); err != nil {
				return senders.Receipt{}, err
			}
		}
		if err := j.Sending(nil); err != nil {
			return senders.Receipt{}, err
		}
		if n <= len(failures) && failures[n-1].Class != senders.InDoubt {
			return senders.Receipt{}, failures[n-1]
		}
		if err := j.Committing(); err != nil {
			return senders.Receipt{}, err
		}
		if n <= len(failures) {
			return senders.Receipt{}, failures[n-1]
		}
		return senders.Receipt{IDs: map[string]string{"id": "new"}, Text: "taken"}, nil
	}
	return s
}

var (
	void   = map[string]string{"id": "", "former_id_1": "new"}
	lost   = &senders.Error{Class: senders.InDoubt, Code: "no_answer", Text: "lost"}
	failed = &senders.Error{Class: senders.Refused, Code: "vendor_error", Text: "a fault"}
)

func TestStepOneIDs(t *testing.T) {
	gone := &senders.Error{Class: senders.Refused, Code: "not_found", Text: "unknown id", IDs: void}
	hold := func() (senders.Verdict, error) {
		return senders.Verdict{}, &senders.Error{Class: senders.Held, Code: "gone", Text: "cannot be known", IDs: void}
	}
	for _, c := range []struct {
		name    string
		server  *server
		verdict func() (senders.Verdict, error)
		onDoubt string
		within  time.Duration
		want    string
		ids     []map[string]string // given to each attempt
	}{
		{"used again after a failure", newServer(failed), nil, senders.OnDoubtAuto, time.Minute, "accepted", []map[string]string{{}, {"id": "new"}}},
		{"void after a refusal", newServer(gone), nil, senders.OnDoubtAuto, time.Minute, "accepted", []map[string]string{{}, {"former_id_1": "new"}}},
		{"void by verdict: at once", newServer(lost), func() (senders.Verdict, error) {
			return senders.Verdict{Outcome: senders.Void, Text: "failed", IDs: void}, nil
		}, senders.OnDoubtAuto, time.Minute, "accepted", []map[string]string{{}, {"former_id_1": "new"}}},
		{"absent: the same id", newServer(lost), func() (senders.Verdict, error) {
			return senders.Verdict{Outcome: senders.Absent, Text: "not there"}, nil
		}, senders.OnDoubtAuto, 12 * time.Minute, "accepted", []map[string]string{{}, {"id": "new"}}},
		{"cannot be known", newServer(lost), hold, senders.OnDoubtAuto, time.Hour, "held(gone)", []map[string]string{{}}},
		{"cannot be known, resend ordered", newServer(lost), hold, senders.OnDoubtResend, 12 * time.Minute, "accepted", []map[string]string{{}, {"former_id_1": "new"}}},
		{"cannot be known, resend ordered, not yet settled", newServer(lost), hold, senders.OnDoubtResend, 8 * time.Minute, "in_doubt(no_answer)", []map[string]string{{}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.server.verdict = c.verdict
				r := newRig(t, c.server.vendor, func(o *pipeline.Options) {
					o.Destinations[0].Sender, o.Destinations[0].OnDoubt = c.server, c.onDoubt
				})
				r.drop("drop", "c", 1, meta("1"))
				r.start()
				for len(c.server.sent()) == 0 {
					time.Sleep(time.Second)
				}
				time.Sleep(c.within)
				synctest.Wait()
				if got := r.state("c.wav"); got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
				if len(c.server.given) != len(c.ids) {
					t.Fatalf("%d attempts with %v, want %v", len(c.server.given), c.server.given, c.ids)
				}
				for i, want := range c.ids {
					if !maps.Equal(c.server.given[i], want) {
						t.Errorf("attempt %d was given %v, want %v", i+1, c.server.given[i], want)
					}
				}
				r.end()
			})
		})
	}
}

// A vendor that says "absent" and never takes the recording is not sent the
// same bytes for ever.
func TestAbsentForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		doubts := make([]*senders.Error, 1000)
		for i := range doubts {
			doubts[i] = lost
		}
		s := newServer(doubts...)
		s.verdict = func() (senders.Verdict, error) { return senders.Verdict{Outcome: senders.Absent}, nil }
		r := newRig(t, s.vendor, func(o *pipeline.Options) {
			o.Destinations[0].Sender = s
			o.Destinations[0].Retry.GiveUp = senders.Duration(2 * time.Hour)
		})
		r.drop("drop", "c", 1, meta("1"))
		r.start()
		time.Sleep(4 * time.Hour)
		synctest.Wait()
		if got := r.state("c.wav"); got != "held(gave_up)" {
			t.Errorf("%s, want held(gave_up)", got)
		}
		r.end()
	})
}

// Refused credentials while a doubt is asked about concern the whole
// destination.
func TestAskingPausesTheLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(lost)
		s.verdict = func() (senders.Verdict, error) {
			return senders.Verdict{}, &senders.Error{Class: senders.Auth, Code: "auth", Text: "refused", HTTPStatus: 401}
		}
		r := newRig(t, s.vendor, func(o *pipeline.Options) { o.Destinations[0].Sender = s })
		r.drop("drop", "c", 1, meta("1"))
		r.start()
		for s.asked.Load() == 0 {
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if until, why := r.opt.Destinations[0].Lane.Paused(); until.IsZero() || why != "auth" {
			t.Errorf("paused until %v because of %q", until, why)
		}
		r.end()
	})
}
