package pipeline_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/ledger"
	"ingestd/internal/mapping"
	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
	"ingestd/internal/sidecar"
)

// metaOf names the agent, who may be corrected later.
func metaOf(id, agent string) string {
	return fmt.Sprintf(`{"call_id": %q, "started_at": "2026-11-02T14:05:06Z", "direction": "inbound", "agent_name": %q}`, "call-"+id, agent)
}

// agents remembers which agent every attempt was made with, and keeps the
// vendor away, or waiting, while the test says so.
type agents struct {
	vendor
	names []string
	away  bool
	gate  chan struct{}
}

func newAgents() *agents {
	v := &agents{}
	v.traits = twoStep()
	v.script = func(_ int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
		v.mu.Lock()
		v.names = append(v.names, a.Call.AgentName)
		away, gate := v.away, v.gate
		v.mu.Unlock()
		if away {
			return senders.Receipt{}, &senders.Error{Class: senders.NotSent, Code: "away", Text: "away"}
		}
		if gate != nil {
			if err := j.Declaring(); err != nil {
				return senders.Receipt{}, err
			}
			<-gate
		}
		return deliver(a, j)
	}
	return v
}

func (v *agents) be(away bool, gate chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.away, v.gate = away, gate
}

func (v *agents) last() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.names) == 0 {
		return ""
	}
	return v.names[len(v.names)-1]
}

// changes counts the events of a recording's own that say that its metadata
// changed.
func (r *rig) changes(path string) (n int) {
	r.t.Helper()
	for _, e := range r.show(path).History {
		if e.Destination == nil && e.Text != nil && strings.HasPrefix(*e.Text, "its metadata changed") {
			n++
		}
	}
	return n
}

func (r *rig) show(path string) ledger.Shown {
	r.t.Helper()
	shown, err := r.led.Reader().Show(r.t.Context(), fmt.Sprint(r.rows()[path].ID))
	if err != nil || len(shown) != 1 {
		r.t.Fatalf("%d, %v", len(shown), err)
	}
	return shown[0]
}

// verify checks the ledger's own rules.
func (r *rig) verify() {
	r.t.Helper()
	rep, err := ledger.Verify(r.t.Context(), filepath.Join(r.dir, "ledger.db"))
	if err != nil || !rep.OK {
		r.t.Errorf("ledger: %v %v", err, rep.Problems)
	}
}

func withLate(mode string) func(*pipeline.Options) {
	return func(o *pipeline.Options) {
		o.Sources[0].OnLateChange = mode
		o.Sources[0].ScanEvery = 5 * time.Second
	}
}

// Before anything was sent, the newest version of a document counts, with a
// restart at every point too; a rewrite that says the same changes nothing.
func TestNewestMetadataIsSent(t *testing.T) {
	for restart := range 4 {
		t.Run(fmt.Sprintf("restart %d", restart), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newAgents()
				v.be(true, nil)
				r := newRig(t, &v.vendor, withLate(pipeline.OnLateHold))
				again := func(at int) {
					if at == restart {
						r.end()
						r.start()
					}
				}
				r.drop("drop", "c", 1, metaOf("1", "Ann"))
				r.start()
				time.Sleep(time.Minute)
				if got := r.state("c.wav"); got != "planned(away)" {
					t.Fatalf("vendor away: %s", got)
				}
				r.write("drop/c.json", []byte(metaOf("1", "Ann")+"\n"))
				again(1)
				time.Sleep(time.Minute)
				if n := r.changes("c.wav"); n != 0 {
					t.Errorf("a rewrite that says the same made %d events", n)
				}
				r.write("drop/c.json", []byte(metaOf("1", "Bea")))
				again(2)
				time.Sleep(time.Minute)
				again(3)
				key := *r.rows()["c.wav"].IdempotencyKey
				v.be(false, nil)
				time.Sleep(2 * time.Minute)
				if got := r.state("c.wav"); got != "accepted" || v.last() != "Bea" {
					t.Errorf("finally %s, sent with %q", got, v.last())
				}
				if n := r.changes("c.wav"); n != 1 {
					t.Errorf("%d events of the change, want 1", n)
				}
				if row := r.rows()["c.wav"]; *row.IdempotencyKey != key || len(r.rows()) != 1 {
					t.Errorf("another identity: %v", r.rows())
				}
				r.verify()
				r.end()
			})
		})
	}
}

// A correction may change the identity, or make the document useless; one that
// comes for a refused recording lets it be decided again.
func TestCorrectionsBeforeSending(t *testing.T) {
	for name, test := range map[string]struct{ first, second, away, want string }{
		"another call id":    {metaOf("1", "Ann"), metaOf("2", "Ann"), "planned(away)", "accepted"},
		"damaged":            {metaOf("1", "Ann"), `{"call_id":`, "planned(away)", "quarantined(json_syntax)"},
		"a field is missing": {`{"call_id": "x", "direction": "inbound"}`, metaOf("1", "Ann"), "quarantined(missing_field)", "accepted"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newAgents()
				v.be(true, nil)
				r := newRig(t, &v.vendor, withLate(pipeline.OnLateIgnore))
				r.drop("drop", "c", 1, test.first)
				r.start()
				time.Sleep(time.Minute)
				if got := r.state("c.wav"); got != test.away {
					t.Fatalf("at first: %s", got)
				}
				r.write("drop/c.json", []byte(test.second))
				time.Sleep(time.Minute)
				v.be(false, nil)
				time.Sleep(2 * time.Minute)
				var states []string
				err := r.led.Reader().List(t.Context(), ledger.Filter{}, func(row ledger.Row) error {
					state := row.State
					if row.Reason != nil {
						state += "(" + *row.Reason + ")"
					}
					states = append(states, state)
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if rec := r.show("c.wav").Recording; rec.State == "quarantined" {
					states = append(states, rec.State+"("+*rec.Reason+")")
				}
				if !slices.Contains(states, test.want) {
					t.Errorf("finally %v, want %s", states, test.want)
				}
				if test.want == "accepted" && len(v.sent()) < 1 {
					t.Error("never sent")
				}
				r.verify()
				r.end()
			})
		})
	}
}

// After it was sent, a change is one event, or a question to a person; it is
// never a second upload.
func TestMetadataChangesAfterSending(t *testing.T) {
	for _, mode := range []string{pipeline.OnLateIgnore, pipeline.OnLateHold} {
		for _, after := range []string{pipeline.AfterKeep, pipeline.AfterMove} {
			t.Run(mode+" "+after, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					v := newAgents()
					r := newRig(t, &v.vendor, func(o *pipeline.Options) {
						withLate(mode)(o)
						o.Sources[0].After, o.Sources[0].Archive = after, filepath.Join(filepath.Dir(o.Sources[0].Path), "archive")
						o.Sources[0].Sidecars = []sidecar.Config{listOf(false)}
						o.Sources[0].Mapping = listMapping(t)
					})
					r.write("drop/calls.csv", []byte("id,agent_name,started_at,direction\nc,Ann,2026-11-02T14:05:06Z,inbound\nd,Dee,2026-11-02T14:05:06Z,inbound\n"))
					r.drop("drop", "c", 1, "")
					r.start()
					time.Sleep(time.Minute)
					if got := r.state("c.wav"); got != "accepted" {
						t.Fatalf("at first: %s", got)
					}
					// Renumbered, appended, another row changed: nothing of it is a change.
					r.write("drop/calls.csv", []byte("id,agent_name,started_at,direction\nd,Eve,2026-11-02T14:05:06Z,inbound\ne,Flo,2026-11-02T14:05:06Z,inbound\nc,Ann,2026-11-02T14:05:06Z,inbound\n"))
					time.Sleep(time.Minute)
					if n := r.changes("c.wav"); n != 0 {
						t.Errorf("%d events although its row is the same", n)
					}
					for n, agent := range []string{"Bea", "Bea", "Cleo"} {
						r.write("drop/calls.csv", fmt.Appendf(nil, "id,agent_name,started_at,direction\nx%d,Dee,2026-11-02T14:05:06Z,inbound\nc,%s,2026-11-02T14:05:06Z,inbound\n", n, agent))
						time.Sleep(time.Minute)
						r.end()
						r.start()
						time.Sleep(time.Minute)
						if got, want := r.changes("c.wav"), []int{1, 1, 2}[n]; got != want {
							t.Errorf("change %d: %d events, want %d", n, got, want)
						}
					}
					status, err := r.led.Reader().Status(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					want, person := "accepted", int64(0)
					if mode == pipeline.OnLateHold {
						want, person = "accepted(metadata_changed)", 1
					}
					if got := r.state("c.wav"); got != want || status.NeedsPerson[ledger.MetadataChanged] != person {
						t.Errorf("%s, needs a person: %v", got, status.NeedsPerson)
					}
					r.order("retry", r.rows()["c.wav"].ID)
					time.Sleep(time.Minute)
					if got := r.state("c.wav"); got != "accepted" {
						t.Errorf("after retry: %s", got)
					}
					if n := len(v.sent()); n != 1 {
						t.Errorf("%d attempts", n)
					}
					r.verify()
					r.end()
				})
			})
		}
	}
}

// A change while a request is under way waits for its end. With hold, the file
// then stays until a person has seen the change.
func TestMetadataChangesWhileSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newAgents()
		gate := make(chan struct{})
		v.be(false, gate)
		r := newRig(t, &v.vendor, func(o *pipeline.Options) {
			withLate(pipeline.OnLateHold)(o)
			o.Sources[0].After, o.Sources[0].Archive = pipeline.AfterMove, filepath.Join(filepath.Dir(o.Sources[0].Path), "archive")
			// The second destination never takes it, so that the file stays.
			second := o.Destinations[0]
			second.Name, second.Sender = "second", &vendor{traits: twoStep(), script: func(int, senders.Attempt, senders.Journal) (senders.Receipt, error) {
				return senders.Receipt{}, &senders.Error{Class: senders.NotSent, Code: "away", Text: "away"}
			}}
			second.Lane = senders.NewLane(senders.Rate{Unlimited: true}, time.Now)
			o.Destinations = append(o.Destinations, second)
			o.Sources[0].Destinations = []string{"vendor", "second"}
		})
		r.drop("drop", "c", 1, metaOf("1", "Ann"))
		r.start()
		time.Sleep(time.Minute)
		r.write("drop/c.json", []byte(metaOf("1", "Bea")))
		time.Sleep(time.Minute)
		if n := r.changes("c.wav"); n != 0 {
			t.Fatalf("%d events while it was sent", n)
		}
		close(gate)
		time.Sleep(time.Minute)
		states := r.deliveries("c.wav")
		if states["vendor"] != "accepted" || states["second"] != "held(metadata_changed)" {
			t.Errorf("%v", states)
		}
		if n := r.changes("c.wav"); n != 1 {
			t.Errorf("%d events, want 1", n)
		}
		if _, err := os.Stat(filepath.Join(r.dir, "drop", "c.wav")); err != nil {
			t.Errorf("the file went: %v", err)
		}
		r.verify()
		r.end()
	})
}

// deliveries are the states of a recording's deliveries by destination.
func (r *rig) deliveries(path string) map[string]string {
	r.t.Helper()
	out := map[string]string{}
	err := r.led.Reader().List(r.t.Context(), ledger.Filter{}, func(row ledger.Row) error {
		if row.Path == path && row.Destination != nil {
			out[*row.Destination] = row.State
			if row.Reason != nil {
				out[*row.Destination] += "(" + *row.Reason + ")"
			}
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// listOf is a list of calls with a header.
func listOf(growing bool) sidecar.Config {
	return sidecar.Config{Name: "sidecar", Files: []string{"**/*.csv"}, Format: "csv", Pair: sidecar.PairKey,
		Key: "row.id", MediaKeyExpr: "file.stem", Growing: growing}
}

func listMapping(t *testing.T) *mapping.Source { return listMappingPreferring(t, "") }

func listMappingPreferring(t *testing.T, prefer string) *mapping.Source {
	t.Helper()
	m, err := mapping.CompileSource(mapping.SourceConfig{
		Sidecars: []mapping.SidecarExprs{{Name: "sidecar", Key: "row.id", MediaKey: "file.stem", Prefer: prefer}},
		Call: map[string]string{"call_id": "sidecar.id", "agent_name": "sidecar.agent_name", "started_at": "time(sidecar.started_at)",
			"direction": "sidecar.direction"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}
