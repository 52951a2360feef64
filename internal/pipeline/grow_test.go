package pipeline_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/pipeline"
	"ingestd/internal/sidecar"
)

const growingHead = "id,agent_name,started_at,direction\n"

func growingRow(id, agent string) string {
	return id + "," + agent + ",2026-11-02T14:05:06Z,inbound\n"
}

// appended writes behind the end of a list that stays open, as its recorder
// does.
func appended(t *testing.T, f *os.File, text string) {
	t.Helper()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(f.Name(), time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
}

// row is the index's id of the one row under a key; 0: none is found. A row
// that is read again has another id.
func (r *rig) row(key string) int64 {
	r.t.Helper()
	rows, err := r.led.Lookup(r.t.Context(), "drop", "sidecar", key, 10)
	if err != nil || len(rows) > 1 {
		r.t.Fatalf("%d rows, %v", len(rows), err)
	}
	if len(rows) == 0 {
		return 0
	}
	return rows[0].RowID
}

// A growing list is read on from its last whole record while it is being
// written, across restarts, and read anew when it is another one.
func TestGrowingList(t *testing.T) {
	for _, restarts := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, wellBehaved(), func(o *pipeline.Options) {
				o.Sources[0].ScanEvery = 2 * time.Second
				o.Sources[0].Sidecars = []sidecar.Config{listOf(true)}
				o.Sources[0].Mapping = listMapping(t)
			})
			step := func() {
				t.Helper()
				time.Sleep(20 * time.Second)
				if restarts {
					r.end()
					r.start()
					time.Sleep(20 * time.Second)
				}
			}
			f, err := os.Create(filepath.Join(r.dir, "drop", "Master.csv"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			appended(t, f, growingHead+growingRow("a", "Ann")+growingRow("b", "Bea"))
			r.drop("drop", "b", 2, "")
			r.drop("drop", "c", 3, "")
			r.start()
			step()
			first := r.row("a")
			if first == 0 || r.state("b.wav") != "accepted" || r.state("c.wav") != "waiting(waiting_for_sidecar)" {
				t.Fatalf("row %d, %s, %s", first, r.state("b.wav"), r.state("c.wav"))
			}
			appended(t, f, growingRow("c", "Cleo")[:8])
			step()
			if got := r.row("c"); got != 0 {
				t.Errorf("half a row is found")
			}
			appended(t, f, growingRow("c", "Cleo")[8:])
			step()
			if r.row("a") != first || r.row("c") <= first || r.state("c.wav") != "accepted" {
				t.Errorf("first row %d, was %d; %s", r.row("a"), first, r.state("c.wav"))
			}
			// One row a second: it is never quiet, and all it has is found.
			for range 30 {
				appended(t, f, growingRow("x", "Xenia"))
				time.Sleep(time.Second)
				if r.row("a") != first {
					t.Fatal("a row cannot be found while others are added")
				}
			}
			r.drop("drop", "d", 4, "")
			appended(t, f, growingRow("d", "Dee"))
			step()
			if got := r.state("d.wav"); got != "accepted" {
				t.Errorf("d: %s", got)
			}
			for name, text := range map[string]string{
				"shorter": growingHead + growingRow("d", "Dee"),
				"longer":  growingHead + growingRow("b", "Bob") + growingRow("d", "Dee") + growingRow("e", "Eve") + growingRow("f", "Flo"),
			} {
				if err := f.Truncate(0); err != nil {
					t.Fatal(err)
				}
				if _, err := f.Seek(0, 0); err != nil {
					t.Fatal(err)
				}
				before := r.row("d")
				appended(t, f, text)
				step()
				if now := r.row("d"); now == 0 || now == before || r.row("a") != 0 {
					t.Errorf("%s: row %d of d (was %d), row %d of a", name, now, before, r.row("a"))
				}
			}
			if got := r.changes("d.wav"); got != 0 {
				t.Errorf("%d changes of d, which always said the same", got)
			}
			r.verify()
			r.end()
		})
	}
}

// A later row of the same key: the preferred one is sent if nothing was sent,
// and is one event afterwards; without a preference it is ambiguous.
func TestLaterRow(t *testing.T) {
	for name, test := range map[string]struct {
		prefer       string
		away         bool
		agent, state string
		changes      int
	}{
		"preferred, before": {`row.agent_name`, true, "Zoe", "accepted", 1},
		"preferred, after":  {`row.agent_name`, false, "Bea", "accepted", 1},
		"lesser, before":    {`row.agent_name == "Bea"`, true, "Bea", "accepted", 0},
		"lesser, after":     {`row.agent_name == "Bea"`, false, "Bea", "accepted", 0},
		"ambiguous, before": {``, true, "Bea", "cancelled(metadata_changed)", 1},
		"ambiguous, after":  {``, false, "Bea", "accepted", 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newAgents()
				v.be(test.away, nil)
				r := newRig(t, &v.vendor, func(o *pipeline.Options) {
					withLate(pipeline.OnLateIgnore)(o)
					o.Sources[0].Sidecars = []sidecar.Config{listOf(true)}
					o.Sources[0].Sidecars[0].Prefer = test.prefer
					o.Sources[0].Mapping = listMappingPreferring(t, test.prefer)
				})
				f, err := os.Create(filepath.Join(r.dir, "drop", "Master.csv"))
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				appended(t, f, growingHead+growingRow("a", "Ann")+growingRow("b", "Bea"))
				r.drop("drop", "b", 2, "")
				r.start()
				time.Sleep(time.Minute)
				for range 2 {
					appended(t, f, growingRow("b", "Zoe")+growingRow("c", "Cleo"))
					time.Sleep(30 * time.Second)
					r.end()
					r.start()
					time.Sleep(30 * time.Second)
				}
				v.be(false, nil)
				time.Sleep(2 * time.Minute)
				if got := r.state("b.wav"); got != test.state || v.last() != test.agent {
					t.Errorf("%s, sent with %q; want %s with %q", got, v.last(), test.state, test.agent)
				}
				if got := r.changes("b.wav"); got != test.changes {
					t.Errorf("%d changes, want %d", got, test.changes)
				}
				r.verify()
				r.end()
			})
		})
	}
}
