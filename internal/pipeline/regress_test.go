package pipeline_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/ledger"
	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
)

// A crash came after the file was moved or deleted and before that was
// recorded, and its name was used again while the program was down. Finishing
// the move must not take the new recording, which nobody has: it is sent.
func TestCrashInDisposalSparesNewFile(t *testing.T) {
	for _, after := range []string{pipeline.AfterMove, pipeline.AfterDelete} {
		for name, unseen := range map[string]bool{"the scan sees it first": false, "the move is finished first": true} {
			t.Run(after+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					v := wellBehaved()
					r := newRig(t, v, func(o *pipeline.Options) { o.Sources[0].After = pipeline.AfterMove })
					r.write("plain", nil)
					r.opt.Sources[0].Archive = filepath.Join(r.dir, "plain", "archive") // cannot be made: it stays ready
					r.drop("drop", "x", 1, meta("1"))
					r.start()
					time.Sleep(2 * time.Minute)
					r.end()
					r.crashInDisposal(after)

					r.drop("drop", "x", 7, meta("2"))
					r.opt.Sources[0].After, r.opt.Sources[0].Archive = after, filepath.Join(r.dir, "archive")
					if unseen {
						r.opt.Only = func(string, string) bool { return false }
						r.opt.Sources[0].Sidecars = nil
						r.start()
						time.Sleep(2 * time.Minute)
						if _, err := os.Stat(filepath.Join(r.dir, "drop", "x.wav")); err != nil {
							t.Error("the new file was taken for the old one:", err)
						}
						r.end()
						was := newRig(t, v, nil)
						r.opt.Only, r.opt.Sources[0].Sidecars = nil, was.opt.Sources[0].Sidecars
					}
					r.start()
					time.Sleep(3 * time.Minute)
					if sent, contents := len(v.sent()), r.contents("x.wav"); sent != 2 || contents != 2 {
						t.Errorf("%d attempts at %d contents, want each of the two once", sent, contents)
					}
					r.want("x.wav", map[string]string{"vendor": "accepted"})
					r.end()
				})
			})
		}
	}
}

// crashInDisposal does what the pipeline does with the only recording, up to
// the end of the program between the file's end and its record.
func (r *rig) crashInDisposal(after string) {
	r.t.Helper()
	led, err := ledger.Open(r.t.Context(), ledger.Options{Path: filepath.Join(r.dir, "ledger.db"), Now: time.Now, Log: r.opt.Log})
	if err != nil {
		r.t.Fatal(err)
	}
	defer led.Close()
	rows, err := led.Disposable(r.t.Context(), "drop", time.Now().Add(time.Hour), 10)
	if err != nil || len(rows) != 1 {
		r.t.Fatal(rows, err)
	}
	target := filepath.Join(r.dir, "archive", "x.wav")
	if after == pipeline.AfterDelete {
		target = "(deleted)"
	}
	if _, err := led.Disposing(r.t.Context(), rows[0].ID, rows[0].Ver, target); err != nil {
		r.t.Fatal(err)
	}
	if after == pipeline.AfterDelete {
		r.remove("drop/x.wav")
		return
	}
	if err := os.Mkdir(filepath.Dir(target), 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(r.dir, "drop", "x.wav"), target); err != nil {
		r.t.Fatal(err)
	}
}

// One of two destinations finds the file touched while the other one sends
// it. The recording settles anew, and nothing of it may stay behind with the
// row whose file is gone: both destinations get it.
func TestTouchedWhileOtherDestinationSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *rig
		a, b := &vendor{traits: twoStep()}, &vendor{traits: twoStep()}
		a.script = func(n int, at senders.Attempt, j senders.Journal) (senders.Receipt, error) {
			if n > 1 {
				return deliver(at, j)
			}
			m, err := at.Open()
			if err != nil {
				return senders.Receipt{}, err
			}
			defer m.Close()
			if err := j.Sending(nil); err != nil {
				return senders.Receipt{}, err
			}
			time.Sleep(30 * time.Second) // a large file
			if err := m.Verify(); err == nil {
				t.Error("the change was not noticed")
			}
			return senders.Receipt{}, &senders.Error{Class: senders.Changed, Code: "file_changed", Text: "changed"}
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
		time.Sleep(10 * time.Minute)
		r.noneStranded()
		r.want("x.wav", map[string]string{"vendor": "accepted", "b": "accepted"})
		if len(a.sent()) != 2 || len(b.sent()) != 2 {
			t.Errorf("%d and %d attempts, want 2 each: the broken one and the good one", len(a.sent()), len(b.sent()))
		}
		r.end()
	})
}

// The same with a delivery that is held or refused: what a person is to
// decide goes with the file, so that `retry` still finds one to send.
func TestTouchedWhileOtherDestinationHolds(t *testing.T) {
	for class, state := range map[senders.Class]string{senders.Held: "held(x)", senders.Rejected: "rejected(x)"} {
		t.Run(string(class), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r *rig
				a, b := &vendor{traits: twoStep()}, &vendor{traits: twoStep()}
				a.script = func(n int, at senders.Attempt, j senders.Journal) (senders.Receipt, error) {
					if n == 1 {
						return senders.Receipt{}, &senders.Error{Class: class, Code: "x", Text: "no"}
					}
					return deliver(at, j)
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
				time.Sleep(10 * time.Minute)
				r.noneStranded()
				r.want("x.wav", map[string]string{"vendor": state, "b": "accepted"})
				if n := len(a.sent()); n != 1 {
					t.Errorf("%d attempts before a person decided", n)
				}
				r.retry()
				r.want("x.wav", map[string]string{"vendor": "accepted", "b": "accepted"})
				r.end()
			})
		})
	}
}

// A name whose recording was refused or held is used again, at once or after
// a while. The new file is a recording of its own and is sent: no attempt at
// the old one would ever find it.
func TestNewFileUnderNameOfRefused(t *testing.T) {
	for _, class := range []senders.Class{senders.Held, senders.Rejected} {
		for name, gap := range map[string]time.Duration{"at once": 0, "later": 10 * time.Minute} {
			t.Run(string(class)+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					v := &vendor{traits: twoStep()}
					v.script = func(n int, at senders.Attempt, j senders.Journal) (senders.Receipt, error) {
						if n == 1 {
							return senders.Receipt{}, &senders.Error{Class: class, Code: "no", Text: "no", HTTPStatus: 422}
						}
						return deliver(at, j)
					}
					r := newRig(t, v, nil)
					r.drop("drop", "x", 1, meta("1"))
					r.start()
					time.Sleep(2 * time.Minute)
					r.remove("drop/x.wav")
					time.Sleep(gap)
					r.drop("drop", "x", 9, meta("2"))
					time.Sleep(3 * time.Minute)
					if sent, contents := len(v.sent()), r.contents("x.wav"); sent != 2 || contents != 2 {
						t.Errorf("%d attempts at %d contents, want each of the two once", sent, contents)
					}
					r.want("x.wav", map[string]string{"vendor": "accepted"})
					r.end()
				})
			})
		}
	}
}

// A recorder uses a name again and writes the audio before the sidecar. The
// second call waits for its own: the metadata of the first, which left with
// its recording or was taken away, would be somebody else's.
func TestNameUsedAgainWaitsForItsOwnSidecar(t *testing.T) {
	call := func(agent string) string {
		return `{"agent_name": "` + agent + `", "started_at": "2026-11-02T14:05:06Z", "direction": "inbound"}`
	}
	for _, after := range []string{pipeline.AfterMove, pipeline.AfterDelete, pipeline.AfterKeep} {
		t.Run(after, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := &vendor{traits: twoStep()}
				var agents []string
				v.script = func(_ int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
					agents = append(agents, a.Call.AgentName)
					return deliver(a, j)
				}
				r := newRig(t, v, func(o *pipeline.Options) { o.Sources[0].After = after })
				r.opt.Sources[0].Archive = filepath.Join(r.dir, "archive")
				r.drop("drop", "x", 1, call("Alice"))
				r.start()
				time.Sleep(2 * time.Minute)
				if after == pipeline.AfterKeep { // the recorder cleans up itself
					r.remove("drop/x.wav")
					r.remove("drop/x.json")
				}
				r.drop("drop", "x", 9, "")
				time.Sleep(5 * time.Minute)
				r.want("x.wav", map[string]string{"": "waiting(waiting_for_sidecar)"})
				r.write("drop/x.json", []byte(call("Bob")))
				time.Sleep(3 * time.Minute)
				synctest.Wait()
				if !slices.Equal(agents, []string{"Alice", "Bob"}) {
					t.Errorf("sent %q", agents)
				}
				r.end()
			})
		})
	}
}

// The same call comes with other content after one destination has taken the
// first: which one is right is for a person to say, though the row that was
// accepted is gone. Nothing is sent to either.
func TestConflictWithAcceptedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *rig
		a, b := wellBehaved(), &vendor{traits: twoStep()}
		b.script = func(n int, at senders.Attempt, j senders.Journal) (senders.Receipt, error) {
			if n == 1 {
				time.Sleep(10 * time.Second)
				r.drop("drop", "x", 9, "") // the sidecar, and with it the call's id, stays
			}
			return deliver(at, j)
		}
		r = newRig(t, a, twoDestinations(b))
		r.drop("drop", "x", 1, meta("1"))
		r.start()
		time.Sleep(10 * time.Minute)
		if len(a.sent()) != 1 || len(b.sent()) != 1 {
			t.Errorf("%d and %d attempts, want 1 each", len(a.sent()), len(b.sent()))
		}
		r.noneStranded()
		r.want("x.wav", map[string]string{"vendor": "held(conflict)", "b": "held(conflict)"})
		r.end()
	})
}

// A scan sees a file, the file is moved to the archive, the scan is evaluated:
// that is no new file. Every question for the time takes a while, so that the
// files are disposed of at any point of the scans that go on beside.
func TestScanBesideDisposalSeesNoGhosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := wellBehaved()
		v.script = func(n int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
			time.Sleep(time.Duration(n*37%200) * time.Millisecond)
			return deliver(a, j)
		}
		r := newRig(t, v, func(o *pipeline.Options) {
			o.Sources[0].After = pipeline.AfterMove
			o.Sources[0].ScanEvery = 50 * time.Millisecond
			o.Destinations[0].Workers = 1
			o.Now = func() time.Time {
				time.Sleep(20 * time.Millisecond)
				return time.Now()
			}
		})
		r.opt.Sources[0].Archive = filepath.Join(r.dir, "archive")
		const n = 20
		for i := range n {
			stem := string(rune('a' + i))
			r.drop("drop", stem, byte(i+1), meta(stem))
		}
		r.start()
		time.Sleep(time.Minute)
		rows := r.all()
		for _, row := range rows {
			if row.State != "accepted" {
				t.Errorf("recording %d: %s", row.ID, row.State)
			}
		}
		if len(rows) != n {
			t.Errorf("%d rows for %d files", len(rows), n)
		}
		r.end()
	})
}
