package pipeline_test

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
	"ingestd/internal/watcher"
)

// After a crash in a disposal, the next call's sidecar, which came first, is
// neither moved nor deleted with the old recording.
func TestOldMoveSparesNewSidecar(t *testing.T) {
	for _, after := range []string{pipeline.AfterMove, pipeline.AfterDelete} {
		synctest.Test(t, func(t *testing.T) {
			v := wellBehaved()
			r := newRig(t, v, func(o *pipeline.Options) { o.Sources[0].After = pipeline.AfterMove })
			r.write("plain", nil)
			r.opt.Sources[0].Archive = filepath.Join(r.dir, "plain", "archive")
			r.drop("drop", "x", 1, meta("1"))
			r.start()
			time.Sleep(2 * time.Minute)
			r.end()
			r.crashInDisposal(after)
			r.write("drop/x.json", []byte(meta("22")))
			r.opt.Sources[0].After, r.opt.Sources[0].Archive = after, filepath.Join(r.dir, "archive")
			r.start()
			time.Sleep(time.Minute)
			r.drop("drop", "x", 7, "")
			time.Sleep(time.Hour)
			r.want("x.wav", map[string]string{"vendor": "accepted"})
			if len(v.sent()) != 2 {
				t.Error(len(v.sent()))
			}
			r.end()
		})
	}
}

// A sidecar that came between two runs completes its recording in the next.
func TestSidecarBetweenTwoRunsCompletes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wellBehaved(), func(o *pipeline.Options) {
			o.OneScan, o.Sources[0].Rule.Complete = true, watcher.Complete{Kind: watcher.Sidecar}
			o.Sources[0].WaitForSidecar = 5 * time.Hour
		})
		r.drop("drop", "x", 1, "")
		r.start()
		time.Sleep(2 * time.Minute)
		r.end()
		time.Sleep(time.Hour)
		r.write("drop/x.json", []byte(meta("1")))
		r.start()
		for range 120 {
			time.Sleep(time.Second)
			synctest.Wait()
			if p, idle, _ := r.p.Idle(t.Context()); idle {
				t.Logf("idle %+v", p)
				r.want("x.wav", map[string]string{"vendor": "accepted"})
				break
			}
		}
		r.end()
	})
}

// What a source left behind that is no longer configured holds up nobody.
func TestRemovedSourceHoldsUpNobody(t *testing.T) {
	for name, c := range map[string]struct {
		complete watcher.Complete
		after    string
		meta     string
		wait     time.Duration
	}{
		"stalled settling": {watcher.Complete{Kind: watcher.Marker, Suffix: ".done"}, pipeline.AfterKeep, "", 2 * time.Minute},
		"waiting":          {watcher.Complete{}, pipeline.AfterKeep, "", 2 * time.Minute},
		"settling":         {watcher.Complete{}, pipeline.AfterKeep, meta("1"), 5 * time.Second},
		"not disposed":     {watcher.Complete{}, pipeline.AfterMove, meta("1"), 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, wellBehaved(), func(o *pipeline.Options) { o.Sources[0].Rule.Complete = c.complete; o.Sources[0].After = c.after })
				r.write("plain", nil)
				r.opt.Sources[0].Archive = filepath.Join(r.dir, "plain", "archive")
				r.drop("drop", "x", 1, c.meta)
				r.start()
				time.Sleep(c.wait)
				r.end()
				r.opt.Sources, r.opt.OneScan = nil, true
				r.addSource("other")
				r.start()
				time.Sleep(time.Hour)
				if p, idle, err := r.p.Idle(t.Context()); !idle {
					t.Errorf("never idle: %+v %v", p, err)
				}
				r.end()
			})
		})
	}
}

// The time to give up runs anew after an outage, also with failures before it.
func TestGiveUpRestartsAfterOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answer atomic.Value
		answer.Store("503")
		v := &vendor{traits: twoStep()}
		v.script = func(_ int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
			if err := j.Declaring(); err != nil {
				return senders.Receipt{}, err
			}
			if answer.Load() == "away" {
				return senders.Receipt{}, &senders.Error{Class: senders.NotSent, Code: "away", Text: "away"}
			}
			return senders.Receipt{}, &senders.Error{Class: senders.Refused, Code: "http_503", Text: "503", HTTPStatus: 503}
		}
		r := newRig(t, v, func(o *pipeline.Options) {
			o.Destinations[0].Retry.GiveUp, o.Destinations[0].Retry.Max = senders.Duration(20*time.Minute), senders.Duration(time.Minute)
		})
		r.drop("drop", "x", 1, meta("1"))
		r.start()
		for len(v.sent()) == 0 {
			time.Sleep(time.Second)
		}
		answer.Store("away")
		time.Sleep(30 * time.Minute)
		answer.Store("503")
		time.Sleep(2 * time.Minute)
		r.want("x.wav", map[string]string{"vendor": "planned(http_503)"})
		r.end()
	})
}

// An archive that is not mounted is no sign that a file is gone.
func TestDanglingArchiveLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wellBehaved(), func(o *pipeline.Options) { o.Sources[0].After = pipeline.AfterMove })
		r.opt.Sources[0].Archive = filepath.Join(r.dir, "archive")
		if err := os.Symlink(filepath.Join(r.dir, "nas", "archive"), filepath.Join(r.dir, "archive")); err != nil {
			t.Fatal(err)
		}
		r.drop("drop", "x", 1, meta("1"))
		r.start()
		time.Sleep(30 * time.Minute)
		if _, err := os.Stat(filepath.Join(r.dir, "drop/x.wav")); err != nil {
			t.Error(err)
		}
		for _, row := range r.all() {
			if row.State != "accepted" {
				t.Errorf("ghost %d %s", row.ID, row.State)
			}
		}
		r.end()
	})
}

// A doubt that passes to a file that came again is not asked about earlier.
func TestTakenOverDoubtKeepsItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *rig
		v := lostOnce()
		v.traits.ResendSafe = false
		a := &asked{vendor: v, answer: func(time.Time) senders.Outcome { return senders.Absent }}
		b := &vendor{traits: twoStep()}
		b.script = func(n int, at senders.Attempt, j senders.Journal) (senders.Receipt, error) {
			if n == 1 {
				time.Sleep(30 * time.Second)
				r.touch("drop/x.wav")
			}
			return deliver(at, j)
		}
		r = newRig(t, v, func(o *pipeline.Options) {
			twoDestinations(b)(o)
			o.Destinations[0].Sender = a
		})
		r.drop("drop", "x", 1, meta("1"))
		r.start()
		time.Sleep(30 * time.Minute)
		a.apart(t, 10*time.Minute)
		r.end()
	})
}
