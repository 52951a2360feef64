package pipeline_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"ingestd/internal/ledger"
	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
	"ingestd/internal/watcher"
)

// A sidecar came while the program was down for longer than the wait. What
// lies there is no missing sidecar: it is read before anything is concluded,
// and the recording is sent with it.
func TestSidecarThatCameWhileDownIsNotMissing(t *testing.T) {
	for _, mode := range []string{pipeline.OnMissingHold, pipeline.OnMissingSend, pipeline.OnMissingQuarantine} {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := &vendor{traits: twoStep()}
				v.script = func(_ int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
					if a.Call.CallID != "call-1" {
						t.Errorf("sent without its sidecar, as call %q", a.Call.CallID)
					}
					return deliver(a, j)
				}
				r := newRig(t, v, func(o *pipeline.Options) { o.Sources[0].OnMissing = mode })
				r.drop("drop", "x", 1, "")
				r.start()
				time.Sleep(2 * time.Minute)
				r.end()
				r.write("drop/x.json", []byte(meta("1")))
				time.Sleep(time.Hour)
				r.start()
				time.Sleep(3 * time.Minute)
				r.want("x.wav", map[string]string{"vendor": "accepted"})
				r.end()
			})
		})
	}
}

// `once` ends when what is left waits for a file that is not there: nothing
// of that is work, and it is told as waiting. In the end a person is told,
// also of a marker and of bytes that never came.
func TestIdleWithWhatNeverComes(t *testing.T) {
	for name, c := range map[string]struct {
		complete   watcher.Complete
		truncated  bool
		soon, late string
	}{
		"marker":   {watcher.Complete{Kind: watcher.Marker, Suffix: ".done"}, false, "settling(no_marker)", "quarantined(no_marker)"},
		"sidecar":  {watcher.Complete{Kind: watcher.Sidecar}, false, "settling(no_sidecar)", "waiting(no_sidecar)"},
		"last kB":  {watcher.Complete{}, true, "settling(short)", "quarantined(truncated)"},
		"metadata": {watcher.Complete{}, false, "waiting(waiting_for_sidecar)", "waiting(no_sidecar)"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := wellBehaved()
				r := newRig(t, v, func(o *pipeline.Options) {
					o.OneScan, o.Sources[0].Rule.Complete = true, c.complete
					o.Sources[0].WaitForSidecar = 5 * time.Minute
				})
				r.drop("drop", "x", 1, "")
				if c.truncated {
					r.write("drop/x.json", []byte(meta("1")))
					if err := os.Truncate(filepath.Join(r.dir, "drop", "x.wav"), 1000); err != nil {
						t.Fatal(err)
					}
					r.touch("drop/x.wav")
				}
				r.start()
				time.Sleep(2 * time.Minute)
				r.want("x.wav", map[string]string{"": c.soon})
				r.idle(ledger.Pending{Waiting: 1})
				time.Sleep(5 * time.Minute)
				r.want("x.wav", map[string]string{"": c.late})
				r.idle(ledger.Pending{NeedsPerson: 1})
				if n := len(v.sent()); n != 0 {
					t.Errorf("%d attempts", n)
				}
				r.end()
			})
		})
	}
}

// idle asks whether the pipeline has nothing to do, with these counts.
func (r *rig) idle(want ledger.Pending) {
	r.t.Helper()
	synctest.Wait()
	if got, idle, err := r.p.Idle(r.t.Context()); !idle || got != want || err != nil {
		r.t.Errorf("idle %v with %+v, %v; want %+v", idle, got, err, want)
	}
}

// A delivery of a source that is no longer configured cannot move: `once` of
// the others must not wait for it for ever.
func TestIdleBesideLeftoversOfRemovedSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := true
		v := &vendor{traits: twoStep(), script: func(_ int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
			if away {
				return senders.Receipt{}, &senders.Error{Class: senders.NotSent, Code: "away", Text: "away"}
			}
			return deliver(a, j)
		}}
		r := newRig(t, v, nil)
		r.drop("drop", "x", 1, meta("1"))
		r.start()
		time.Sleep(2 * time.Minute)
		r.end()
		away, r.opt.Sources, r.opt.OneScan = false, nil, true
		r.addSource("other")
		r.drop("other", "y", 2, meta("2"))
		r.start()
		time.Sleep(2 * time.Minute)
		r.want("x.wav", map[string]string{"vendor": "planned(away)"})
		r.want("y.wav", map[string]string{"vendor": "accepted"})
		if got, idle, err := r.p.Idle(t.Context()); !idle || got.Deliveries != 0 || err != nil {
			t.Errorf("idle %v with %+v, %v", idle, got, err)
		}
		r.end()
	})
}

// Nor can a delivery to a destination that is no longer configured, or not for
// its source any more.
func TestIdleBesideLeftoversOfRemovedDestination(t *testing.T) {
	for name, stays := range map[string]bool{"removed": false, "of another source only": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				away := &vendor{traits: twoStep(), script: func(int, senders.Attempt, senders.Journal) (senders.Receipt, error) {
					return senders.Receipt{}, &senders.Error{Class: senders.NotSent, Code: "away", Text: "away"}
				}}
				r := newRig(t, wellBehaved(), twoDestinations(away))
				r.drop("drop", "x", 1, meta("1"))
				r.start()
				time.Sleep(2 * time.Minute)
				r.end()
				source := r.opt.Sources[0]
				source.Destinations = []string{"vendor"}
				r.opt.OneScan, r.opt.Sources = true, []pipeline.Source{source}
				if !stays {
					r.opt.Destinations = r.opt.Destinations[:1]
				}
				r.start()
				time.Sleep(2 * time.Minute)
				if got, idle, err := r.p.Idle(t.Context()); !idle || got.Deliveries != 0 || got.Stranded != 1 || err != nil {
					t.Errorf("idle %v with %+v, %v", idle, got, err)
				}
				r.end()
			})
		})
	}
}

// `once` asks while the first scan is under way: the counts are read before
// the scan hands over what it found, and the rest of the question comes after
// its end. Such counts say nothing, or `once` would end before it began.
func TestIdleCountsWhatScanFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wellBehaved(), func(o *pipeline.Options) {
			o.OneScan = true
			o.Now = func() time.Time {
				time.Sleep(time.Second) // the scan begins late
				return time.Now()
			}
		})
		var asking atomic.Bool
		r.ledgerNow = func() time.Time {
			if asking.CompareAndSwap(true, false) {
				time.Sleep(8 * time.Second) // in the middle of the question
			}
			return time.Now()
		}
		r.drop("drop", "x", 1, "") // its sidecar would be counted late enough
		r.start()
		synctest.Wait()
		if n := len(r.all()); n != 0 {
			t.Fatalf("%d rows before the scan", n)
		}
		asking.Store(true)
		pending, idle, err := r.p.Idle(t.Context())
		if idle || err != nil {
			t.Errorf("idle %v with %+v, %v", idle, pending, err)
		}
		r.want("x.wav", map[string]string{"": "settling"})
		if r.p.Health()["drop"].LastScan.Ended.IsZero() {
			t.Fatal("the scan did not end within the question, so this test shows nothing")
		}
		time.Sleep(2 * time.Minute)
		r.want("x.wav", map[string]string{"": "waiting(waiting_for_sidecar)"})
		r.idle(ledger.Pending{Waiting: 1})
		r.end()
	})
}

// One file that cannot be opened is put off. It holds up neither the other
// recordings of its source nor their disposal, and is sent once it can be.
func TestOneUnreadableFileHoldsUpNobody(t *testing.T) {
	broken := make(chan os.Signal, 1) // the kernel asks for the lease back
	signal.Notify(broken, syscall.SIGIO)
	defer signal.Stop(broken)
	synctest.Test(t, func(t *testing.T) {
		v := wellBehaved()
		r := newRig(t, v, func(o *pipeline.Options) { o.Sources[0].After = pipeline.AfterMove })
		archive := filepath.Join(r.dir, "archive")
		r.opt.Sources[0].Archive = archive
		r.drop("drop", "a", 1, meta("a"))
		// Under a write lease an open fails with EAGAIN, for root as well.
		lease, err := os.OpenFile(filepath.Join(r.dir, "drop", "a.wav"), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer lease.Close()
		if _, err := unix.FcntlInt(lease.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
			t.Fatal(err)
		}
		r.start()
		time.Sleep(time.Minute)
		const n = 2 * 16 // more than are looked at side by side
		for i := range n {
			r.drop("drop", fmt.Sprintf("b%02d", i), byte(i+2), meta(fmt.Sprint(i)))
		}
		time.Sleep(2 * time.Minute)
		if sent := len(v.sent()); sent != n {
			t.Errorf("%d of %d were sent", sent, n)
		}
		files, err := os.ReadDir(archive)
		if err != nil || len(files) != 2*n {
			t.Errorf("%d of %d files are in the archive, %v", len(files), 2*n, err)
		}
		if err := lease.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		r.want("a.wav", map[string]string{"vendor": "accepted"})
		r.end()
	})
}

// give_up is about attempts that failed. The time in which the vendor was not
// there does not count, nor does the time before a person ordered a retry.
func TestGiveUpCountsFailuresOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answer atomic.Value
		answer.Store("away")
		v := &vendor{traits: twoStep()}
		v.script = func(_ int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
			if err := j.Declaring(); err != nil {
				return senders.Receipt{}, err
			}
			switch answer.Load() {
			case "away":
				return senders.Receipt{}, &senders.Error{Class: senders.NotSent, Code: "away", Text: "away"}
			case "503":
				return senders.Receipt{}, &senders.Error{Class: senders.Refused, Code: "http_503", Text: "503", HTTPStatus: 503}
			default:
				return deliver(a, j)
			}
		}
		r := newRig(t, v, func(o *pipeline.Options) {
			o.Destinations[0].Retry.GiveUp, o.Destinations[0].Retry.Max = senders.Duration(20*time.Minute), senders.Duration(time.Minute)
		})
		r.drop("drop", "x", 1, meta("1"))
		r.start()
		time.Sleep(30 * time.Minute)
		r.want("x.wav", map[string]string{"vendor": "planned(away)"})
		answer.Store("503")
		time.Sleep(10 * time.Minute)
		r.want("x.wav", map[string]string{"vendor": "planned(http_503)"})
		time.Sleep(15 * time.Minute)
		r.want("x.wav", map[string]string{"vendor": "held(gave_up)"})
		r.retry()
		r.want("x.wav", map[string]string{"vendor": "planned(http_503)"})
		answer.Store("201")
		time.Sleep(2 * time.Minute)
		r.want("x.wav", map[string]string{"vendor": "accepted"})
		r.end()
	})
}

// The service's watchdog is fed by beats. That the only source is away is no
// reason to be killed: beats go on, also once they are the only work there is.
func TestBeatsGoOnWhileSourceIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wellBehaved(), nil)
		r.remove("drop")
		r.start()
		for range 6 {
			time.Sleep(5 * time.Minute)
			if age := time.Since(r.p.LastBeat()); age > 2*time.Minute {
				t.Errorf("the last beat was %s ago", age)
			}
		}
		r.end()
	})
}

// File names hold phone numbers and names of people. The error of a move that
// fails names the file; the log must not.
func TestFailedMoveLogsNoName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := newRig(t, wellBehaved(), func(o *pipeline.Options) { o.Sources[0].After = pipeline.AfterMove })
		r.opt.Log = slog.New(slog.NewTextHandler(&log, nil))
		const name = "4155551212_Jane_Doe"
		r.write("plain", nil)
		r.opt.Sources[0].Archive = filepath.Join(r.dir, "plain", name) // cannot be made, whoever we are
		r.drop("drop", name, 1, meta("1"))
		r.start()
		time.Sleep(2 * time.Minute)
		r.want(name+".wav", map[string]string{"vendor": "accepted"})
		r.end()
		if text := log.String(); !strings.Contains(text, "could not be disposed of") || strings.Contains(text, name) {
			t.Errorf("the log must tell of the failure and not name the file:\n%s", text)
		}
	})
}

// An attempt waits for its turn in the lane, and meanwhile the other
// destination finds the file changed: the delivery is taken away. That the
// attempt's first step is refused says nothing about the vendor, and must not
// pause what else goes there.
func TestDeliveryTakenAwayDoesNotPauseLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *rig
		a, b := &vendor{traits: twoStep()}, &vendor{traits: twoStep()}
		a.script = func(n int, at senders.Attempt, j senders.Journal) (senders.Receipt, error) {
			if n > 1 {
				return deliver(at, j)
			}
			time.Sleep(20 * time.Second)
			err := j.Declaring()
			if !errors.Is(err, ledger.ErrStale) {
				t.Errorf("the step of a delivery that was taken away: %v", err)
			}
			return senders.Receipt{}, &senders.Error{Class: senders.NotSent, Code: "away", Text: "not sent", Err: err}
		}
		b.script = func(n int, at senders.Attempt, j senders.Journal) (senders.Receipt, error) {
			if n == 1 {
				time.Sleep(10 * time.Second)
				r.touch("drop/x.wav")
			}
			return deliver(at, j)
		}
		r = newRig(t, a, twoDestinations(b))
		r.drop("drop", "x", 1, meta("1"))
		r.start()
		for len(a.sent()) == 0 {
			time.Sleep(time.Second)
		}
		time.Sleep(20*time.Second + time.Millisecond)
		synctest.Wait()
		if until, why := r.opt.Destinations[0].Lane.Paused(); !until.IsZero() {
			t.Errorf("the lane is paused until %s: %s", until, why)
		}
		time.Sleep(5 * time.Minute)
		r.want("x.wav", map[string]string{"vendor": "accepted", "b": "accepted"})
		r.noneStranded()
		r.end()
	})
}
