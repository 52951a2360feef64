package pipeline_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/ledger"
	"ingestd/internal/mapping"
	"ingestd/internal/media"
	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
	"ingestd/internal/sidecar"
)

// listener is a vendor behind the real gate that keeps what it got. meddle
// runs in mid-send of the n-th attempt.
type listener struct {
	vendor
	got    [][]byte
	items  []senders.Attempt
	meddle func(n int)
	refuse func(n int) error
}

func newListener() *listener {
	l := &listener{}
	l.traits = twoStep()
	l.script = func(n int, a senders.Attempt, j senders.Journal) (r senders.Receipt, err error) {
		if l.refuse != nil {
			if err := l.refuse(n); err != nil {
				return r, err
			}
		}
		if err := j.Declaring(); err != nil {
			return r, err
		}
		m, err := a.Open()
		if err != nil {
			return r, err
		}
		body := senders.NewBody(m, a.File.Bytes, a.File.SHA256, j, nil)
		defer body.Close()
		if err := j.Sending(nil); err != nil {
			return r, err
		}
		head := make([]byte, 1000)
		if _, err := io.ReadFull(body, head); err != nil {
			return r, err
		}
		if l.meddle != nil {
			l.meddle(n)
		}
		rest, err := io.ReadAll(body)
		if err != nil {
			return r, err
		}
		l.got, l.items = append(l.got, append(head, rest...)), append(l.items, a)
		return senders.Receipt{HTTPStatus: 201}, nil
	}
	return l
}

const legMapping = `file.stem == doc.agent ? "agent" : "customer"`

// legsRig watches calls of two legs: FOLDER/call.json, a.wav (agent), b.wav.
func legsRig(t *testing.T, l *listener, change func(*pipeline.Source)) *rig {
	t.Helper()
	r := newRig(t, &l.vendor, nil)
	m, err := mapping.CompileSource(mapping.SourceConfig{
		Sidecars: []mapping.SidecarExprs{{Name: "doc"}}, Parts: "list(doc.parts)",
		Call: map[string]string{"call_id": "doc.id", "started_at": `time("2026-11-02T14:05:06Z")`, "direction": `"inbound"`, "leg": legMapping},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &r.opt.Sources[0]
	s.Mapping, s.Merge = m, pipeline.MergeAgentRight
	s.Sidecars = []sidecar.Config{{Name: "doc", Files: []string{"**/call.json"}, Pair: sidecar.PairFolder}}
	if change != nil {
		change(s)
	}
	if err := os.MkdirAll(filepath.Join(r.dir, "drop", "c"), 0o700); err != nil {
		t.Fatal(err)
	}
	return r
}

const twoParts = `{"id": "77", "agent": "a", "parts": ["a", "b"]}`

// legFile is a mono file of 16-bit PCM: n samples of one value.
func legFile(rate, n int, value int16) []byte {
	b := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00")
	b = binary.LittleEndian.AppendUint32(b, uint32(rate))
	b = binary.LittleEndian.AppendUint32(b, uint32(2*rate))
	b = binary.LittleEndian.AppendUint32(append(b, "\x02\x00\x10\x00data"...), uint32(2*n))
	for range n {
		b = binary.LittleEndian.AppendUint16(b, uint16(value))
	}
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-8))
	return b
}

func (r *rig) put(name string, content []byte) { r.write(filepath.Join("drop", "c", name), content) }

// together is what the vendor must get: the customer left, the agent right.
func together(t *testing.T, customer, agent []byte) []byte {
	t.Helper()
	m, err := media.Merge(media.Leg{R: bytes.NewReader(customer), Size: int64(len(customer))}, media.Leg{R: bytes.NewReader(agent), Size: int64(len(agent))})
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(m.NewReader())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (r *rig) wantStates(want map[string]string) {
	r.t.Helper()
	for name, state := range want {
		if got := r.state("c/" + name); got != state {
			r.t.Errorf("%s is %s, want %s", name, got, state)
		}
	}
}

func (r *rig) order(kind string, recordings ...int64) {
	r.t.Helper()
	if _, _, err := ledger.Order(r.t.Context(), filepath.Join(r.dir, "ledger.db"), ledger.NewOrder{Kind: kind, RecordingIDs: recordings, By: "test"}); err != nil {
		r.t.Fatal(err)
	}
}

// Whatever comes first, the call is sent once, whole; and half of it never.
func TestLegsInEveryOrder(t *testing.T) {
	agent, customer := legFile(8000, 30_000, 1000), legFile(8000, 20_000, -1000)
	content := map[string][]byte{"call.json": []byte(twoParts), "a.wav": agent, "b.wav": customer}
	orders := [][]string{
		{"call.json", "a.wav", "b.wav"}, {"call.json", "b.wav", "a.wav"}, {"a.wav", "call.json", "b.wav"},
		{"b.wav", "call.json", "a.wav"}, {"a.wav", "b.wav", "call.json"}, {"b.wav", "a.wav", "call.json"},
	}
	for _, order := range orders {
		for _, gap := range []time.Duration{0, 3 * time.Second, 40 * time.Minute} {
			for _, merge := range []string{pipeline.MergeNone, pipeline.MergeAgentRight} {
				for _, restart := range []bool{false, true} {
					t.Run(fmt.Sprint(order, gap, merge, restart), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							l := newListener()
							r := legsRig(t, l, func(s *pipeline.Source) { s.Merge = merge })
							r.start()
							for i, name := range order {
								if len(l.sent()) > 0 {
									t.Fatalf("sent before %s came", name)
								}
								r.put(name, content[name])
								time.Sleep(gap)
								if i == 1 && gap > time.Hour/2 && name != "call.json" && order[0] == "call.json" {
									r.wantStates(map[string]string{name: "waiting(incomplete_group)"})
								}
								if restart {
									r.end()
									r.start()
								}
							}
							time.Sleep(5 * time.Minute)
							if merge == pipeline.MergeNone {
								r.wantStates(map[string]string{"a.wav": "accepted", "b.wav": "accepted"})
								if len(l.got) != 2 {
									t.Errorf("%d uploads", len(l.got))
								}
							} else {
								r.wantStates(map[string]string{"a.wav": "accepted", "b.wav": "skipped(merged)"})
								if len(l.got) != 1 || !bytes.Equal(l.got[0], together(t, customer, agent)) {
									t.Errorf("%d uploads, or another content", len(l.got))
								}
							}
							r.end()
						})
					})
				}
			}
		}
	}
}

// What is sent says what it is: a stereo file with the agent on the right.
func TestMergedItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListener()
		r := legsRig(t, l, nil)
		r.put("call.json", []byte(twoParts))
		r.put("a.wav", legFile(8000, 30_000, 1000))
		r.put("b.wav", legFile(8000, 20_000, -1000))
		r.start()
		time.Sleep(5 * time.Minute)
		r.end()
		if len(l.items) != 1 {
			t.Fatalf("%d uploads", len(l.items))
		}
		i := l.items[0].Item
		if i.Audio.Channels != 2 || i.Audio.DurationSeconds != 3.75 || i.Call.Leg != "" || *i.Call.AgentChannel != 1 || *i.Call.CustomerChannel != 0 ||
			i.File.Bytes != int64(len(l.got[0])) || i.File.Name != "a.wav" || i.File.Path != "c/a.wav" {
			t.Errorf("%+v", i)
		}
		if !i.Call.EndedAt.Equal(i.Call.StartedAt.Add(3750 * time.Millisecond)) {
			t.Errorf("ends at %s", i.Call.EndedAt)
		}
	})
}

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
						if len(l.got) == 0 || !bytes.Equal(l.got[0], before) {
							t.Fatalf("%d uploads, or another content first", len(l.got))
						}
					case len(l.got) != 1 || !bytes.Equal(l.got[0], together(t, legs["b.wav"], legs["a.wav"])):
						t.Fatalf("%d uploads, or another content; %s, %s", len(l.got), r.state("c/a.wav"), r.state("c/b.wav"))
					}
					if name != "replaced" && name != "deleted" {
						r.wantStates(map[string]string{"a.wav": "accepted", "b.wav": "skipped(merged)"})
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
				away := true
				l.refuse = func(int) error {
					if away {
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
				away = false
				time.Sleep(10 * time.Minute)
				if len(l.got) != 1 || !bytes.Equal(l.got[0], together(t, other, agent)) {
					t.Errorf("%d uploads, or another content", len(l.got))
				}
				r.wantStates(map[string]string{"a.wav": "accepted", "b.wav": "skipped(merged)"})
				r.end()
			})
		})
	}
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
				if len(l.got) != 1 {
					t.Errorf("%d uploads", len(l.got))
				}
				r.wantStates(test.want)
				r.end()
			})
		})
	}
}

// Nothing is disposed of before everything is, and a part that could not be
// moved is moved later; also when a crash came between the two.
func TestDisposalOfParts(t *testing.T) {
	for _, after := range []string{pipeline.AfterMove, pipeline.AfterDelete} {
		for _, trouble := range []string{"", "archive is no directory", "half done by a crash"} {
			if after == pipeline.AfterDelete && trouble != "" {
				continue
			}
			t.Run(after+" "+trouble, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newListener()
					archive := ""
					r := legsRig(t, l, func(s *pipeline.Source) { s.After = after })
					archive = filepath.Join(r.dir, "archive")
					r.opt.Sources[0].Archive = archive
					if trouble != "" {
						r.write("archive", []byte("in the way"))
					}
					r.put("call.json", []byte(twoParts))
					r.put("a.wav", legFile(8000, 30_000, 1000))
					r.put("b.wav", legFile(8000, 20_000, -1000))
					r.start()
					time.Sleep(5 * time.Minute)
					if trouble != "" {
						for _, name := range []string{"a.wav", "b.wav"} {
							if _, err := os.Stat(filepath.Join(r.dir, "drop", "c", name)); err != nil {
								t.Fatal("gone although the archive is not there: ", err)
							}
						}
						r.end()
						must(t, os.Remove(archive))
						for _, name := range []string{"a.wav", "b.wav"} { // another ctime: now the content must tell that they are the same
							must(t, os.Chmod(filepath.Join(r.dir, "drop", "c", name), 0o640))
						}
						if trouble == "half done by a crash" {
							must(t, os.Mkdir(archive, 0o700))
							must(t, os.Rename(filepath.Join(r.dir, "drop", "c", "b.wav"), filepath.Join(archive, "b.wav")))
						}
						r.start()
						time.Sleep(5 * time.Minute)
					}
					left, _ := filepath.Glob(filepath.Join(r.dir, "drop", "c", "*"))
					if len(left) != 1 || !strings.HasSuffix(left[0], "call.json") {
						t.Errorf("left: %v", left)
					}
					moved, _ := filepath.Glob(filepath.Join(archive, "*"))
					if want := map[string]int{pipeline.AfterMove: 2, pipeline.AfterDelete: 0}[after]; len(moved) != want {
						t.Errorf("archived: %v", moved)
					}
					if len(l.got) != 1 {
						t.Errorf("%d uploads", len(l.got))
					}
					found, err := r.led.Reader().Show(t.Context(), "c/a.wav")
					must(t, err)
					if s := found[0].Recording; s.State != "done" || len(s.Parts) != 2 || s.Parts[0].MovedTo == nil {
						t.Errorf("%+v", s)
					}
					r.end()
				})
			})
		}
	}
}

// A part that was exchanged after it was sent stays where it is.
func TestDisposalLeavesAnotherFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListener()
		r := legsRig(t, l, func(s *pipeline.Source) { s.After = pipeline.AfterDelete })
		other := legFile(8000, 9000, 7)
		l.meddle = func(int) { // b.wav is open already: it is sent as it was
			r.write("drop/c/b.new", other)
			must(t, os.Rename(filepath.Join(r.dir, "drop/c/b.new"), filepath.Join(r.dir, "drop/c/b.wav")))
		}
		r.put("call.json", []byte(twoParts))
		r.put("a.wav", legFile(8000, 30_000, 1000))
		r.put("b.wav", legFile(8000, 20_000, -1000))
		r.start()
		time.Sleep(20 * time.Minute)
		if b, err := os.ReadFile(filepath.Join(r.dir, "drop/c/b.wav")); err != nil || !bytes.Equal(b, other) {
			t.Errorf("the new file was touched: %v", err)
		}
		if len(l.got) != 1 {
			t.Errorf("%d uploads", len(l.got))
		}
		t.Logf("b.wav is %s", r.state("c/b.wav"))
		r.end()
	})
}

func TestGroupsRefused(t *testing.T) {
	good := legFile(8000, 20_000, -1000)
	for name, test := range map[string]struct {
		doc   string
		files map[string][]byte
		want  map[string]string
	}{
		"other rates":    {twoParts, map[string][]byte{"a.wav": legFile(16000, 100, 1), "b.wav": good}, map[string]string{"a.wav": "quarantined(merge_rate)", "b.wav": "waiting(incomplete_group)"}},
		"both the agent": {`{"id": "7", "agent": "x", "parts": ["a", "b"]}`, map[string][]byte{"a.wav": good, "b.wav": good}, map[string]string{"a.wav": "quarantined(merge_legs)", "b.wav": "waiting(incomplete_group)"}},
		"three parts":    {`{"id": "7", "agent": "a", "parts": ["a", "b", "c"]}`, map[string][]byte{"a.wav": good, "b.wav": good, "c.wav": good}, map[string]string{"a.wav": "quarantined(merge_parts)", "c.wav": "waiting(incomplete_group)"}},
		"a stranger":     {twoParts, map[string][]byte{"a.wav": good, "b.wav": legFile(8000, 30_000, 1), "x.wav": good}, map[string]string{"a.wav": "accepted", "x.wav": "quarantined(not_a_part)"}},
		"two of a name":  {twoParts, map[string][]byte{"a.wav": good, "b.wav": good, "b.wave": good}, map[string]string{"a.wav": "quarantined(ambiguous)"}},
		"a name that begins alike": {twoParts, map[string][]byte{"a.wav": good, "bb.wav": good, "b.x.wav": good},
			map[string]string{"a.wav": "waiting(incomplete_group)", "bb.wav": "quarantined(not_a_part)", "b.x.wav": "quarantined(not_a_part)"}},
		"a part that is no audio": {twoParts, map[string][]byte{"a.wav": good, "b.wav": []byte("<html><body>Not found</body></html>")},
			map[string]string{"a.wav": "waiting(incomplete_group)", "b.wav": "quarantined(not_audio)"}},
		"one part alone": {`{"id": "7", "agent": "a", "parts": ["a"]}`, map[string][]byte{"a.wav": good}, map[string]string{"a.wav": "accepted"}},
		"no parts":       {`{"id": "7", "agent": "a"}`, map[string][]byte{"a.wav": good}, map[string]string{"a.wav": "accepted"}},
		"a path":         {`{"id": "7", "agent": "a", "parts": ["../a"]}`, map[string][]byte{"a.wav": good}, map[string]string{"a.wav": "quarantined(bad_value)"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newListener()
				r := legsRig(t, l, func(s *pipeline.Source) { s.Include = []string{"**/*.{wav,wave}"} })
				r.put("call.json", []byte(test.doc))
				for name, content := range test.files {
					r.put(name, content)
				}
				r.start()
				time.Sleep(30 * time.Minute)
				r.wantStates(test.want)
				if sent := slices.ContainsFunc([]string{"accepted"}, func(s string) bool { return test.want["a.wav"] == s }); sent != (len(l.got) == 1) {
					t.Errorf("%d uploads", len(l.got))
				}
				r.end()
			})
		})
	}
}

// A recording that waits for a part is not looked at again and again, and one
// whose partner was refused goes on when that one is put right.
func TestWaitingGroupIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListener()
		r := legsRig(t, l, nil)
		agent, customer := legFile(8000, 30_000, 1000), legFile(8000, 20_000, -1000)
		r.put("call.json", []byte(twoParts))
		r.put("a.wav", agent)
		r.put("b.wav", []byte("<html><body>Not found</body></html>"))
		r.start()
		time.Sleep(20 * time.Minute)
		version := func() int64 {
			known, err := r.led.RecordingsAt(t.Context(), "drop", []string{"c/a.wav"})
			must(t, err)
			return known["c/a.wav"].Ver
		}
		before := version()
		time.Sleep(24 * time.Hour)
		if after := version(); after != before {
			t.Errorf("decided %d times while it waited", after-before)
		}
		r.put("b.wav", customer)
		time.Sleep(5 * time.Minute)
		if len(l.got) != 1 || !bytes.Equal(l.got[0], together(t, customer, agent)) {
			t.Errorf("%d uploads", len(l.got))
		}
		r.end()
	})
}
