package pipeline_test

import (
	"bytes"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/ledger"
	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
)

// A part that is not any more what was pinned never leads to a mixed upload.
func TestPartChangesInMidSend(t *testing.T) {
	agent, customer, other := legFile(8000, 200_000, 1000), legFile(8000, 150_000, -1000), legFile(8000, 150_000, 7)
	for name, test := range map[string]struct {
		meddle func(r *rig, path string, was os.FileInfo)
		after  []byte // the customer's leg then; nil: it is gone
	}{
		"rewritten": {func(r *rig, path string, _ os.FileInfo) { r.write(path, other) }, other},
		"rewritten, times restored": {func(r *rig, path string, was os.FileInfo) {
			r.write(path, other)
			must(r.t, os.Chtimes(filepath.Join(r.dir, path), was.ModTime(), was.ModTime()))
		}, other},
		"replaced": {func(r *rig, path string, _ os.FileInfo) {
			r.write(path+".new", other)
			must(r.t, os.Rename(filepath.Join(r.dir, path+".new"), filepath.Join(r.dir, path)))
		}, other},
		"truncated": {func(r *rig, path string, _ os.FileInfo) { r.write(path, legFile(8000, 20_000, 7)) }, legFile(8000, 20_000, 7)},
		"deleted":   {func(r *rig, path string, _ os.FileInfo) { must(r.t, os.Remove(filepath.Join(r.dir, path))) }, nil},
	} {
		for _, which := range []string{"a.wav", "b.wav"} {
			t.Run(name+" "+which, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newListener()
					r := legsRig(t, l, nil)
					path := filepath.Join("drop", "c", which)
					l.meddle = func(n int) {
						if n == 1 {
							was, err := os.Stat(filepath.Join(r.dir, path))
							must(t, err)
							time.Sleep(time.Second)
							test.meddle(r, path, was)
						}
					}
					r.put("call.json", []byte(twoParts))
					r.put("a.wav", agent)
					r.put("b.wav", customer)
					r.start()
					time.Sleep(30 * time.Minute)
					legs := map[string][]byte{"a.wav": agent, "b.wav": customer}
					before := together(t, customer, agent)
					legs[which] = test.after
					switch {
					case name == "replaced" || name == "deleted": // what is open stays what it was
						if len(l.uploads()) == 0 || !bytes.Equal(l.uploads()[0], before) {
							t.Fatalf("%d uploads, or another content first", len(l.uploads()))
						}
					case len(l.uploads()) != 1 || !bytes.Equal(l.uploads()[0], together(t, legs["b.wav"], legs["a.wav"])):
						t.Fatalf("%d uploads, or another content; %s, %s", len(l.uploads()), r.state("c/a.wav"), r.state("c/b.wav"))
					}
					if name != "replaced" && name != "deleted" {
						r.wantStates(map[string]string{"a.wav": "accepted", "b.wav": "skipped(merged)"})
						if carrier, text := r.rows()["c/a.wav"].ID, *r.rows()["c/b.wav"].ReasonText; text != ledger.MergedInto(carrier) {
							t.Errorf("b.wav: %q, but recording %d was sent", text, carrier)
						}
					}
					r.end()
				})
			})
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A part that changes when all of it was read already is found at the gate by
// a last look at its descriptor.
func TestPartChangesAfterItWasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, customer, other := legFile(8000, 200_000, 1000), legFile(8000, 20_000, -1000), legFile(8000, 20_000, 7)
		l := newListener()
		r := legsRig(t, l, nil)
		l.late, l.meddle = true, func(n int) {
			if n == 1 {
				time.Sleep(time.Second)
				r.put("b.wav", other)
			}
		}
		r.put("call.json", []byte(twoParts))
		r.put("a.wav", agent)
		r.put("b.wav", customer)
		r.start()
		time.Sleep(30 * time.Minute)
		if got := l.uploads(); len(got) != 1 || !bytes.Equal(got[0], together(t, other, agent)) {
			t.Errorf("%d uploads, or another content", len(got))
		}
		r.end()
	})
}

// A part that is exchanged while the call waits for its vendor makes the call
// settle anew, also when no attempt would ever find the change.
func TestPartChangesBeforeSend(t *testing.T) {
	agent, customer, other := legFile(8000, 30_000, 1000), legFile(8000, 20_000, -1000), legFile(8000, 25_000, 7)
	for name, failure := range map[string]*senders.Error{
		"to be tried again": {Class: senders.NotSent, Code: "no_network", Text: "away"},
		"rejected":          {Class: senders.Rejected, Code: "no", Text: "no"},
		"held":              {Class: senders.Held, Code: "held", Text: "held"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newListener()
				var away atomic.Bool
				away.Store(true)
				l.refuse = func(int) error {
					if away.Load() {
						return failure
					}
					return nil
				}
				r := legsRig(t, l, nil)
				r.put("call.json", []byte(twoParts))
				r.put("a.wav", agent)
				r.put("b.wav", customer)
				r.start()
				time.Sleep(2 * time.Minute)
				r.put("b.wav", other)
				time.Sleep(20 * time.Second)
				away.Store(false)
				time.Sleep(10 * time.Minute)
				if len(l.uploads()) != 1 || !bytes.Equal(l.uploads()[0], together(t, other, agent)) {
					t.Errorf("%d uploads, or another content", len(l.uploads()))
				}
				r.wantStates(map[string]string{"a.wav": "accepted", "b.wav": "skipped(merged)"})
				r.end()
			})
		})
	}
}

// Legs that were sent apart are not sent once more together when merging is
// switched on.
func TestMergingSwitchedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListener()
		r := legsRig(t, l, func(s *pipeline.Source) { s.Merge = pipeline.MergeNone })
		r.put("call.json", []byte(twoParts))
		r.put("a.wav", legFile(8000, 30_000, 1000))
		r.put("b.wav", legFile(8000, 20_000, -1000))
		r.start()
		time.Sleep(5 * time.Minute)
		r.end()
		r.opt.Sources[0].Merge = pipeline.MergeAgentRight
		r.start()
		time.Sleep(5 * time.Minute)
		r.wantStates(map[string]string{"a.wav": "accepted", "b.wav": "accepted"})
		r.put("a.wav", legFile(8000, 25_000, 7))
		time.Sleep(30 * time.Minute)
		r.wantStates(map[string]string{"a.wav": "waiting(incomplete_group)", "b.wav": "accepted"})
		if len(l.uploads()) != 2 {
			t.Errorf("%d uploads", len(l.uploads()))
		}
		r.end()
	})
}

// After the call was sent: what comes under a part's name is held against
// what was sent, and a person's retry changes nothing.
func TestPartComesAgain(t *testing.T) {
	agent, customer := legFile(8000, 30_000, 1000), legFile(8000, 20_000, -1000)
	for name, test := range map[string]struct {
		again func(r *rig)
		want  map[string]string
	}{
		"a part, the same":    {func(r *rig) { r.put("b.wav", customer) }, map[string]string{"a.wav": "accepted", "b.wav": "skipped(merged)"}},
		"a part, another":     {func(r *rig) { r.put("b.wav", legFile(8000, 9000, 7)) }, map[string]string{"a.wav": "accepted", "b.wav": "quarantined(part_sent)"}},
		"the first, the same": {func(r *rig) { r.put("a.wav", agent) }, map[string]string{"a.wav": "duplicate(duplicate)", "b.wav": "skipped(merged)"}},
		"both, the same":      {func(r *rig) { r.put("a.wav", agent); r.put("b.wav", customer) }, map[string]string{"a.wav": "duplicate(duplicate)", "b.wav": "skipped(merged)"}},
		"retry of the part":   {func(r *rig) { r.order("retry", r.rows()["c/b.wav"].ID) }, map[string]string{"a.wav": "accepted", "b.wav": "skipped(merged)"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newListener()
				r := legsRig(t, l, nil)
				r.put("call.json", []byte(twoParts))
				r.put("a.wav", agent)
				r.put("b.wav", customer)
				r.start()
				time.Sleep(5 * time.Minute)
				test.again(r)
				time.Sleep(10 * time.Minute)
				if len(l.uploads()) != 1 {
					t.Errorf("%d uploads", len(l.uploads()))
				}
				r.wantStates(test.want)
				r.end()
			})
		})
	}
}
