package model

import (
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/ledger"
)

// history plays fixed steps in a world of its own.
func history(t *testing.T, s setup, steps func(*world)) {
	empty := t.TempDir()
	if err := ledger.Init(t.Context(), filepath.Join(empty, dbName), false, time.Now); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, s, empty)
		defer w.close(&tally{})
		steps(w)
		synctest.Wait()
		w.check()
		if w.violation() != "" {
			t.Errorf("%s", w.history())
		}
	})
}

func named(names ...string) (out []shape) {
	for _, s := range shapes() {
		if contains(names, s.name) {
			out = append(out, s)
		}
	}
	return out
}

func wav(stem, call string, n int) *file {
	b := audio(n)
	return &file{source: "one", stem: stem, call: call, bytes: b, sum: sum(b), sidecar: withSidecar}
}

func (w *world) plays(vendor string, f *file, attempts ...script) {
	w.parts[identity(vendor, f.call, f.sum)] = &part{attempts: attempts}
}

// Other content in place, with the old time, between the vendor's answer and
// the disposal.
func TestDisposalOfRewrittenFile(t *testing.T) {
	for _, after := range []string{"move", "delete"} {
		history(t, setup{Sources: []string{"one"}, Shapes: named("miner", "asked"), Workers: 1, After: after, OnMissing: "hold"}, func(w *world) {
			f := wav("a", "c1", 0)
			w.plays("asked", f, script{fault: lostEffect})
			w.drop(f, false)
			w.wait(30 * time.Second)
			w.rewrite("one/a.wav", true)
			w.wait(5 * time.Minute)
		})
	}
}

// A doubt whose file is replaced, and the same recording under another name:
// the second "absent" comes at once.
func TestDoubtTakenOver(t *testing.T) {
	history(t, setup{Sources: []string{"one"}, Shapes: named("asked", "mute"), Workers: 1, After: "keep", OnMissing: "hold"}, func(w *world) {
		f := wav("a", "c1", 0)
		w.plays("asked", f, script{fault: lostLate})
		w.plays("mute", f, script{fault: media500}, script{fault: media500}, script{fault: media500}, script{fault: media500}, script{fault: media500})
		w.drop(f, false)
		w.wait(26 * time.Second)
		w.drop(wav("a", "c2", 1), false)
		w.drop(wav("b", "c1", 0), false)
		w.wait(5 * time.Minute)
	})
}

// The original is held and its name is taken by another file: its duplicate,
// whose file is there, cannot be sent any more.
func TestDuplicateOfHeld(t *testing.T) {
	history(t, setup{Sources: []string{"one"}, Shapes: named("mute"), Workers: 1, After: "keep", OnMissing: "hold"}, func(w *world) {
		f := wav("a", "c1", 0)
		w.plays("mute", f, script{fault: lostNothing})
		w.drop(f, false)
		w.wait(40 * time.Second)
		w.drop(wav("b", "c1", 0), false)
		w.wait(time.Minute)
		w.drop(wav("a", "c2", 1), false)
		w.wait(time.Minute)
		for range 2 {
			w.order(w.needy("conflict"))
			w.wait(time.Minute)
		}
		w.check()
		b := w.files["one/b.wav"]
		if n := len(w.vendors["mute"].effects); n != 2 || !w.vendors["mute"].has(b.sum) {
			w.violate("b.wav is there and was never sent: %d contents arrived", n)
		}
	})
}

// The drop directory is away when a recording is due to be looked at, and when
// it is due to be sent again: nobody may believe that it is gone (cell 83).
// The root is looked at every whole second, so both fall between two looks.
func TestSourceAway(t *testing.T) {
	for at, kind := range map[time.Duration]sidecarKind{4500 * time.Millisecond: lateSidecar, 6100 * time.Millisecond: withSidecar} {
		odd := setup{Sources: []string{"one"}, Shapes: named("mute"), Workers: 1, After: "move", OnMissing: "send", Jitter: 0.3, Quiet: 4700 * time.Millisecond}
		history(t, odd, func(w *world) {
			f := wav("a", "c1", 0)
			f.sidecar = kind
			w.plays("mute", f, script{fault: media500})
			w.wait(time.Second)
			w.rest(0)
			w.drop(f, false)
			w.start(-1) // its first scan sees the file
			w.wait(at)
			w.unmount("one", 700*time.Millisecond)
			w.wait(sidecarWait + time.Minute)
			if kind == withSidecar && !w.vendors["mute"].has(f.sum) {
				w.violate("P1: it was never sent")
			}
		})
	}
}

// A volume may have another device number after the machine was started
// again. That makes no recording another one: what waits to be sent is sent,
// what was kept is not looked at anew.
func TestSourceOnAnotherDevice(t *testing.T) {
	history(t, setup{Sources: []string{"one"}, Shapes: named("mute"), Workers: 1, After: "keep", OnMissing: "hold"}, func(w *world) {
		waits, kept := wav("a", "c1", 0), wav("b", "c2", 1)
		w.plays("mute", waits, script{fault: media500}, script{fault: media500}, script{fault: media500}, script{fault: media500}, script{fault: media500})
		w.drop(waits, false)
		w.drop(kept, false)
		w.wait(30 * time.Second)
		w.rest(0)
		db, err := sql.Open("sqlite3", "file:"+filepath.Join(w.state, dbName))
		if err == nil {
			_, err = db.Exec("UPDATE recordings SET dev = dev + 1; UPDATE documents SET dev = dev + 1")
		}
		if err = errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		w.start(-1)
		w.wait(5 * time.Minute)
		if rows := w.ids("SELECT id FROM recordings"); len(rows) != 2 || !w.vendors["mute"].has(waits.sum) {
			w.violate("two files are %d recordings", len(rows))
		}
	})
}
