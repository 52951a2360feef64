package pipeline_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
)

// perishable is a vendor whose step-1 target can be used until a given time.
type perishable struct {
	*vendor
	until time.Time
}

func (p *perishable) Usable(a senders.Attempt) bool {
	return a.IDs["_target"] != "" && time.Now().Before(p.until)
}

func declareOnce() senders.Traits {
	return senders.Traits{TwoStep: true, ReuseDeclared: true, DeclareOnce: true}
}

// intoTarget declares when no target is known, and uploads.
func intoTarget(a senders.Attempt, j senders.Journal, declares *int) error {
	if a.IDs["_target"] != "" {
		if err := j.Sending(nil); err != nil {
			return err
		}
		return j.Committing()
	}
	if err := j.Declaring(); err != nil {
		return err
	}
	*declares++
	ids := map[string]string{"_target": "t", "conversation_id": "c"}
	if err := j.Sending(ids); err != nil {
		return &senders.Error{Class: senders.NotSent, Code: "ledger", Text: "not recorded", IDs: ids, Err: err}
	}
	return j.Committing()
}

func TestPerishable(t *testing.T) {
	for name, c := range map[string]struct {
		onDoubt       string
		life          time.Duration
		failure       *senders.Error // of the first attempt; the others succeed
		within        time.Duration
		want          string
		tries, called int
	}{
		"lost answer: at once to the same place": {senders.OnDoubtAuto, time.Hour, lost, time.Minute, "accepted", 2, 1},
		"lost answer, target over":               {senders.OnDoubtAuto, 0, lost, time.Minute, "held(in_doubt)", 1, 1},
		"target over, resend ordered":            {senders.OnDoubtResend, 0, lost, time.Hour, "held(in_doubt)", 1, 1},
		"hold":                                   {senders.OnDoubtHold, time.Hour, lost, time.Minute, "held(in_doubt)", 1, 1},
		"refused for now: the target is kept": {senders.OnDoubtAuto, time.Hour,
			&senders.Error{Class: senders.Refused, Code: "vendor_error", Text: "later"}, time.Minute, "accepted", 2, 1},
		"refused, and the target is given up": {senders.OnDoubtAuto, time.Hour,
			&senders.Error{Class: senders.Refused, Code: "target_expired", Text: "over", IDs: map[string]string{"_target": ""}}, time.Minute, "accepted", 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				declares := 0
				v := &vendor{traits: declareOnce()}
				v.script = func(n int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
					if err := intoTarget(a, j, &declares); err != nil {
						return senders.Receipt{}, err
					}
					if n == 1 {
						return senders.Receipt{}, c.failure
					}
					return senders.Receipt{HTTPStatus: 200, IDs: map[string]string{"etag": "e"}}, nil
				}
				p := &perishable{vendor: v}
				r := newRig(t, v, func(o *pipeline.Options) {
					o.Destinations[0].Sender, o.Destinations[0].OnDoubt = p, c.onDoubt
				})
				r.drop("drop", "c", 1, meta("1"))
				p.until = time.Now().Add(10*time.Second + c.life) // it settles for 10 s
				r.start()
				for len(v.sent()) == 0 {
					time.Sleep(time.Second)
				}
				time.Sleep(c.within)
				synctest.Wait()
				if got := r.state("c.wav"); got != c.want || len(v.sent()) != c.tries || declares != c.called {
					t.Errorf("%s after %d attempts and %d declares, want %s, %d, %d", got, len(v.sent()), declares, c.want, c.tries, c.called)
				}
				r.end()
			})
		})
	}
}

// A step-1 answer that could not be journalled in time is not asked for twice:
// it is recorded with the outcome, or a person is asked.
func TestDeclareOnceUnrecorded(t *testing.T) {
	for name, c := range map[string]struct {
		ids  map[string]string
		want string
	}{
		"answer known": {map[string]string{"_target": "t"}, "accepted"},
		"answer lost":  {nil, "held(declare_in_doubt)"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				declares := 0
				v := &vendor{traits: declareOnce()}
				v.script = func(n int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
					if n > 1 {
						return senders.Receipt{HTTPStatus: 200}, intoTarget(a, j, &declares)
					}
					declares++
					if err := j.Declaring(); err != nil {
						return senders.Receipt{}, err
					}
					err := j.Committing() // no such move: the ledger refuses it
					if err == nil {
						err = errors.New("recorded")
					}
					return senders.Receipt{}, &senders.Error{Class: senders.NotSent, Code: "ledger", Text: "not recorded", IDs: c.ids, Err: err}
				}
				r := newRig(t, v, func(o *pipeline.Options) {
					o.Destinations[0].Sender = &perishable{vendor: v, until: time.Now().Add(time.Hour)}
				})
				r.drop("drop", "c", 1, meta("1"))
				r.start()
				time.Sleep(time.Minute)
				synctest.Wait()
				if got := r.state("c.wav"); got != c.want || declares != 1 {
					t.Errorf("%s after %d declares, want %s and one", got, declares, c.want)
				}
				r.end()
			})
		})
	}
}
