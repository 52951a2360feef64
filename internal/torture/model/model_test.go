package model

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ingestd/internal/ledger"
)

// checks is how many histories a plain `go test` tries; -rapid.checks says
// otherwise.
const checks = "30"

func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", checks); err != nil {
		panic(err)
	}
	flag.Parse()
	os.Exit(m.Run())
}

// TestModel plays random histories.
func TestModel(t *testing.T) {
	var total tally
	began, used := time.Now(), processor(t)
	empty := t.TempDir()
	if err := ledger.Init(t.Context(), filepath.Join(empty, dbName), false, time.Now); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last history that failed:\n%s", total.history)
		}
	})
	rapid.Check(t, func(rt *rapid.T) { play(t, rt, empty, &total) })
	took, cpu := time.Since(began), processor(t)-used
	t.Logf("%d histories, %d deliveries, %d attempts, %d starts in %s: %.0f deliveries/s, %.0f per second of one processor",
		total.histories, total.deliveries, total.attempts, total.starts, took.Round(time.Millisecond),
		float64(total.deliveries)/took.Seconds(), float64(total.deliveries)/cpu.Seconds())
}

// processor is the time that this process has used of its processors.
func processor(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// tally counts what all histories were made of.
type tally struct {
	histories, deliveries, attempts, starts int
	history                                 string // the last one that failed
}

// play plays one history in a bubble of fake time. A panic of rapid must end
// in the goroutine that rapid called.
func play(t *testing.T, rt *rapid.T, empty string, total *tally) {
	var thrown any
	synctest.Test(t, func(t *testing.T) {
		defer func() { thrown = recover() }()
		w := newWorld(t, drawSetup(rt), empty)
		defer w.close(total)
		m := &machine{w: w}
		rt.Repeat(map[string]func(*rapid.T){
			"":      m.check,
			"drop":  m.drop,
			"more":  m.drop,
			"again": m.dropAgain,
			"touch": m.rewrite,
			"take":  m.remove,
			"meta":  m.sidecar,
			"time":  m.time,
			"later": m.time,
			"kill":  m.kill,
			"stop":  m.stop,
			"order": m.order,
			"away":  m.unmount,
		})
		m.finish(rt)
	})
	if thrown != nil {
		panic(thrown)
	}
}

func drawSetup(rt *rapid.T) setup {
	all := shapes()
	s := setup{
		Sources:   []string{"one", "two"}[:rapid.IntRange(1, 2).Draw(rt, "sources")],
		Workers:   rapid.IntRange(1, 3).Draw(rt, "workers"),
		After:     rapid.SampledFrom([]string{"keep", "move", "delete"}).Draw(rt, "after"),
		OnMissing: rapid.SampledFrom([]string{"hold", "send", "quarantine"}).Draw(rt, "on_missing"),
		Jitter:    rapid.SampledFrom([]float64{0, 0.5, 0.99}).Draw(rt, "jitter"),
		Quiet:     rapid.SampledFrom([]time.Duration{quiet, 4700 * time.Millisecond}).Draw(rt, "quiet"),
	}
	for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(all)-1), 1, 3, rapid.ID).Draw(rt, "shapes") {
		s.Shapes = append(s.Shapes, all[i])
	}
	return s
}

func newWorld(t *testing.T, s setup, empty string) *world {
	w := &world{
		t: t, dir: t.TempDir(), set: s, began: time.Now(), vendors: map[string]*vendor{},
		parts: map[string]*part{}, whole: map[string]bool{}, files: map[string]*file{}, calls: map[string]bool{},
		look: look{state: map[int64]string{}, keys: map[int64]string{}},
	}
	w.state = filepath.Join(w.dir, "state-0")
	for _, source := range s.Sources {
		if err := os.MkdirAll(w.at(source), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	names := ""
	for _, shape := range s.Shapes {
		w.vendors[shape.name] = newVendor(w, shape)
		names += " " + shape.name
	}
	if err := copyLedger(empty, w.state); err != nil {
		t.Fatal(err)
	}
	w.note("vendors%s, %d workers, after %s, on_missing %s", names, s.Workers, s.After, s.OnMissing)
	w.start(-1)
	return w
}

// close ends whatever still runs, so that the bubble can end.
func (w *world) close(total *tally) {
	if r := w.run; r != nil {
		r.left.Store(-1)
		r.stop()
		r.cut()
		r.ended <- <-r.ended
		w.end(r)
	}
	total.histories++
	total.starts += w.runs
	w.mu.Lock()
	for _, v := range w.vendors {
		total.deliveries += len(v.keys)
		total.attempts += v.count
	}
	w.mu.Unlock()
	if w.violation() != "" {
		total.history = w.history()
	}
	if os.Getenv("MODEL_TRACE") != "" {
		fmt.Println(w.history())
	}
}
