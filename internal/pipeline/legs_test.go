package pipeline_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/pipeline"
)

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
					if restart && gap != 3*time.Second {
						continue
					}
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
								if len(l.uploads()) != 2 {
									t.Errorf("%d uploads", len(l.uploads()))
								}
							} else {
								r.wantStates(map[string]string{"a.wav": "accepted", "b.wav": "skipped(merged)"})
								if len(l.uploads()) != 1 || !bytes.Equal(l.uploads()[0], together(t, customer, agent)) {
									t.Errorf("%d uploads, or another content", len(l.uploads()))
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
			i.File.Bytes != int64(len(l.uploads()[0])) || i.File.Name != "a.wav" || i.File.Path != "c/a.wav" {
			t.Errorf("%+v", i)
		}
		if !i.Call.EndedAt.Equal(i.Call.StartedAt.Add(3750 * time.Millisecond)) {
			t.Errorf("ends at %s", i.Call.EndedAt)
		}
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
		"a name that begins alike": {twoParts, map[string][]byte{"a.wav": good, "b.wav": legFile(8000, 30_000, 1), "bb.wav": good, "b.x.wav": good},
			map[string]string{"a.wav": "accepted", "bb.wav": "quarantined(not_a_part)", "b.x.wav": "quarantined(not_a_part)"}},
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
				if sent := slices.ContainsFunc([]string{"accepted"}, func(s string) bool { return test.want["a.wav"] == s }); sent != (len(l.uploads()) == 1) {
					t.Errorf("%d uploads", len(l.uploads()))
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
		if len(l.uploads()) != 1 || !bytes.Equal(l.uploads()[0], together(t, customer, agent)) {
			t.Errorf("%d uploads", len(l.uploads()))
		}
		r.end()
	})
}
