package pipeline_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/ledger"
	"ingestd/internal/mapping"
	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
	"ingestd/internal/sidecar"
)

// sentCalls remembers under which call id each file was sent.
type sentCalls struct {
	mu sync.Mutex
	by map[string]string
}

func rememberingVendor() (*vendor, *sentCalls) {
	sent := &sentCalls{by: map[string]string{}}
	v := &vendor{traits: twoStep()}
	v.script = func(_ int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
		r, err := deliver(a, j)
		if err == nil {
			sent.mu.Lock()
			defer sent.mu.Unlock()
			sent.by[a.File.Path] += a.Call.CallID + ";"
		}
		return r, err
	}
	return v, sent
}

// nearest pairs NUMBER_TIME.wav with the rows of its number within the window.
func nearest(t *testing.T, window string) func(*pipeline.Options) {
	return func(o *pipeline.Options) {
		m, err := mapping.CompileSource(mapping.SourceConfig{
			NamePattern: `^(?P<ext>\d+)_(?P<at>.+)\.wav$`,
			Sidecars:    []mapping.SidecarExprs{{Name: "list", Key: "row.ext", MediaKey: "name.ext", At: "time(row.started_at)", MediaAt: "time(name.at)"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		s := &o.Sources[0]
		s.Mapping = m
		s.Sidecars = []sidecar.Config{{Name: "list", Files: []string{"**/*.csv"}, Format: "csv", Pair: sidecar.PairKey,
			Key: "row.ext", MediaKeyExpr: "name.ext", At: "x", MediaAt: "y", Window: window}}
	}
}

// Two files that settle at the same moment are both nearer to one row; each
// gets its own all the same.
func TestFilesThatSettleTogetherShareNoRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, sent := rememberingVendor()
		r := newRig(t, v, nearest(t, "3m"))
		r.write("drop/list.csv", []byte("ext,call_id,started_at,direction\n4711,X,2026-11-02T10:00:00Z,inbound\n4711,Y,2026-11-02T10:00:20Z,inbound\n"))
		r.drop("drop", "4711_2026-11-02T10:00:01Z", 1, "")
		r.drop("drop", "4711_2026-11-02T10:00:05Z", 2, "")
		r.start()
		time.Sleep(2 * time.Minute)
		r.end()
		if sent.by["4711_2026-11-02T10:00:01Z.wav"] != "X;" || sent.by["4711_2026-11-02T10:00:05Z.wav"] != "Y;" {
			t.Errorf("sent %v", sent.by)
		}
	})
}

// Rows of a key of which one was the nearest: the others are listed as paired
// with nothing, also when the list is exported again.
func TestRowsThatAreNobodysNearest(t *testing.T) {
	const list = "ext,call_id,started_at,direction\n4711,X,2026-11-02T10:00:00Z,inbound\n4711,Y,2026-11-02T10:00:20Z,inbound\n4711,Z,2026-11-02T12:00:00Z,inbound\n"
	synctest.Test(t, func(t *testing.T) {
		v, _ := rememberingVendor()
		r := newRig(t, v, nearest(t, "3m"))
		r.write("drop/list.csv", []byte(list))
		r.drop("drop", "4711_2026-11-02T10:00:01Z", 1, "")
		r.start()
		time.Sleep(2 * time.Minute)
		want := []string{"list.csv 2", "list.csv 3"}
		if got := r.unusedRows(); !slices.Equal(got, want) {
			t.Errorf("unused %q, want %q", got, want)
		}
		r.write("drop/more.csv", []byte(strings.Replace(list, "4711,Z", "4712,Z", 1)))
		r.drop("drop", "4711_2026-11-02T10:00:19Z", 2, "")
		time.Sleep(2 * time.Minute)
		want = []string{"list.csv 3", "more.csv 3"}
		if got := r.unusedRows(); !slices.Equal(got, want) {
			t.Errorf("unused %q, want %q", got, want)
		}
		r.end()
	})
}

// A list may correct the row of a recording whose file is gone by then.
func TestNearestRowCorrectedAfterTheFileWent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, _ := rememberingVendor()
		r := newRig(t, v, nearest(t, "3m"))
		r.opt.Sources[0].OnLateChange, r.opt.Sources[0].After = pipeline.OnLateIgnore, pipeline.AfterDelete
		list := "ext,call_id,started_at,direction\n4711,X,2026-11-02T10:00:00Z,inbound\n4711,Y,2026-11-02T12:00:00Z,inbound\n"
		r.write("drop/list.csv", []byte(list))
		name := "4711_2026-11-02T10:00:01Z"
		r.drop("drop", name, 1, "")
		r.start()
		time.Sleep(2 * time.Minute)
		r.write("drop/list.csv", []byte(strings.Replace(list, "inbound", "outbound", 1)))
		time.Sleep(5 * time.Minute)
		if n := r.changes(name + ".wav"); n != 1 {
			t.Errorf("%d changes in the history, want 1", n)
		}
		r.end()
	})
}

// unusedRows are the rows that no recording was paired with.
func (r *rig) unusedRows() (out []string) {
	r.t.Helper()
	err := r.led.Reader().Orphans(r.t.Context(), func(o ledger.Orphan) error {
		if o.Kind == ledger.RowWithoutRecording {
			out = append(out, fmt.Sprintf("%s %d", o.Path, *o.Row))
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// A choice among more rows than are looked at is none.
func TestTooManyRowsAreAmbiguous(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, sent := rememberingVendor()
		r := newRig(t, v, nearest(t, "30m"))
		at := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
		var b strings.Builder
		b.WriteString("ext,call_id,started_at,direction\n")
		for i := range 1101 {
			fmt.Fprintf(&b, "4711,C%d,%s,inbound\n", i, at.Add(time.Duration(i)*15*time.Second).Format(time.RFC3339))
		}
		r.write("drop/list.csv", []byte(b.String()))
		name := "4711_" + at.Add(1050*15*time.Second).Format(time.RFC3339)
		r.drop("drop", name, 1, "")
		r.start()
		time.Sleep(2 * time.Minute)
		if got := r.state(name + ".wav"); got != "quarantined(ambiguous)" || len(sent.by) != 0 {
			t.Errorf("%s, sent %v", got, sent.by)
		}
		r.end()
	})
}

// The sidecar of a recording that is done stays while a lesser copy of it is
// not decided: without it the copy would look like another recording.
func TestSidecarStaysForTheCopy(t *testing.T) {
	for _, missing := range []string{pipeline.OnMissingSend, pipeline.OnMissingHold} {
		synctest.Test(t, func(t *testing.T) {
			v, sent := rememberingVendor()
			r := newRig(t, v, func(o *pipeline.Options) {
				s := &o.Sources[0]
				s.Include, s.Copies = []string{"**/*.wav", "**/*.mp3"}, []string{"**/*.wav", "**/*.mp3"}
				s.WaitForCopy, s.OnMissing, s.After = 10*time.Minute, missing, pipeline.AfterDelete
				var err error
				s.Mapping, err = mapping.CompileSource(mapping.SourceConfig{Sidecars: []mapping.SidecarExprs{{Name: "sidecar"}},
					Call: map[string]string{"started_at": `time("2026-11-02T10:00:00Z")`, "direction": `"inbound"`, "call_id": "sidecar.call_id"}})
				if err != nil {
					t.Fatal(err)
				}
			})
			r.drop("drop", "x", 2, "")
			r.drop("drop", "c", 1, meta("1"))
			r.rename("drop/x.wav", "drop/c.mp3")
			r.start()
			time.Sleep(3 * time.Hour)
			if got := r.state("c.mp3"); got != "skipped(copy)" || len(sent.by) != 1 {
				t.Errorf("%s, sent %v", got, sent.by)
			}
			r.end()
		})
	}
}
