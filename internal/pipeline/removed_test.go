package pipeline_test

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/ledger"
	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
)

// What a crash left in mid-way waits for its destination: while that is not
// configured nobody knows what its vendor allows, and once it is back the
// vendor's own rule holds.
func TestCrashOfARemovedDestination(t *testing.T) {
	once := senders.Traits{TwoStep: true, ReuseDeclared: true, DeclareOnce: true}
	for left, c := range map[ledger.State]struct {
		traits senders.Traits
		away   string
		back   string
	}{
		ledger.Declaring:  {once, "declaring", "held(declare_in_doubt)"},
		ledger.Sending:    {once, "sending", "declared(later)"},
		ledger.Committing: {once, "in_doubt(crash)", "held(in_doubt)"},
	} {
		t.Run(string(left), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				refuses := func(_ int, a senders.Attempt, _ senders.Journal) (senders.Receipt, error) {
					return senders.Receipt{}, &senders.Error{Class: senders.Refused, Code: "later", Text: "not now"}
				}
				v, b := &vendor{traits: c.traits, script: refuses}, &vendor{traits: c.traits, script: refuses}
				r := newRig(t, v, twoDestinations(b))
				r.drop("drop", "x", 1, meta("1"))
				r.start()
				time.Sleep(time.Minute)
				r.end()
				r.crashIn("vendor", left)

				both, source := r.opt.Destinations, r.opt.Sources[0]
				r.opt.Destinations = both[1:]
				r.opt.Sources = []pipeline.Source{source}
				r.opt.Sources[0].Destinations = []string{"b"}
				for range 2 {
					r.start()
					time.Sleep(time.Minute)
					if got := r.last("x.wav")["vendor"]; got != c.away {
						t.Errorf("while it is away: %s, want %s", got, c.away)
					}
					r.verify()
					r.end()
				}
				r.opt.Destinations, r.opt.Sources = both, []pipeline.Source{source}
				r.start()
				time.Sleep(2 * time.Minute)
				if got := r.last("x.wav")["vendor"]; got != c.back {
					t.Errorf("back: %s, want %s", got, c.back)
				}
				r.end()
			})
		})
	}
}

// crashIn leaves the one delivery of a destination in a state, as a crash does.
func (r *rig) crashIn(destination string, left ledger.State) {
	r.t.Helper()
	l, err := ledger.Open(r.t.Context(), ledger.Options{Path: filepath.Join(r.dir, "ledger.db")})
	if err != nil {
		r.t.Fatal(err)
	}
	due, err := l.DueDeliveries(r.t.Context(), destination, "drop", time.Now().Add(24*time.Hour), 2)
	if err != nil || len(due) != 1 {
		r.t.Fatalf("%d deliveries, %v", len(due), err)
	}
	ver := due[0].Ver
	way := []ledger.State{due[0].State, ledger.Declaring, ledger.Declared, ledger.Sending, ledger.Committing}
	for i, to := range way[1:] {
		ids := map[string]string{"session_id": "s"}
		if ver, err = l.Move(r.t.Context(), due[0].ID, ver, ledger.Step{From: way[i], To: to, BeginAttempt: i == 0, IDs: ids}); err != nil {
			r.t.Fatal(err)
		}
		if to == left {
			break
		}
	}
	if err := l.Close(); err != nil {
		r.t.Fatal(err)
	}
}
