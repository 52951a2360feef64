package pipeline_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
)

func wellBehaved() *vendor {
	return &vendor{traits: twoStep(), script: func(_ int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
		return deliver(a, j)
	}}
}

// A sidecar that is missing: held, sent without, or quarantined, after the
// time that counts from the persisted first sight; and taken up when it comes.
func TestMissingSidecar(t *testing.T) {
	for mode, want := range map[string]string{
		pipeline.OnMissingHold:       "waiting(no_sidecar)",
		pipeline.OnMissingQuarantine: "quarantined(no_sidecar)",
		// Without its sidecar the required fields are missing.
		pipeline.OnMissingSend: "quarantined(missing_field)",
	} {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, wellBehaved(), func(o *pipeline.Options) { o.Sources[0].OnMissing = mode })
				r.drop("drop", "c", 1, "")
				r.start()
				time.Sleep(10 * time.Minute)
				if got := r.state("c.wav"); got != "waiting(waiting_for_sidecar)" {
					t.Errorf("after 10 min: %s", got)
				}
				r.end()
				r.start() // a restart does not extend the wait
				time.Sleep(6 * time.Minute)
				if got := r.state("c.wav"); got != want {
					t.Errorf("after 16 min: %s, want %s", got, want)
				}
				if mode == pipeline.OnMissingHold {
					r.write("drop/c.json", []byte(meta("1")))
					time.Sleep(3 * time.Minute)
					if got := r.state("c.wav"); got != "accepted" {
						t.Errorf("after the sidecar came: %s", got)
					}
				}
				r.end()
			})
		})
	}
}

// A recording that grows is not looked into before it is quiet, and one that
// is rewritten before it is sent arrives with its last content only.
func TestGrowingAndRewritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := wellBehaved()
		hold := make(chan struct{})
		v.script = func(n int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
			if n == 1 {
				<-hold
			}
			return deliver(a, j)
		}
		r := newRig(t, v, func(o *pipeline.Options) { o.Sources[0].ScanEvery = 5 * time.Second })
		r.drop("drop", "c", 1, meta("1"))
		r.start()
		for range 20 {
			time.Sleep(4 * time.Second)
			r.drop("drop", "c", byte(time.Now().Second()+1), "")
			if got := r.state("c.wav"); got != "settling" && got != "" {
				t.Fatalf("while it is written: %s", got)
			}
		}
		for len(v.sent()) == 0 {
			time.Sleep(time.Second)
		}
		r.drop("drop", "c", 77, "") // after it was pinned, before it was opened
		close(hold)
		time.Sleep(2 * time.Minute)
		rows := r.rows()
		if rows["c.wav"].State != "accepted" {
			t.Errorf("finally: %s", r.state("c.wav"))
		}
		if n := len(v.sent()); n != 2 {
			t.Errorf("%d attempts, want the one that found the change and the one that delivered", n)
		}
		r.end()
	})
}

// Things that are no regular files are refused without being opened.
func TestNotRegular(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wellBehaved(), nil)
		r.drop("drop", "real", 1, meta("1"))
		drop := filepath.Join(r.dir, "drop")
		if err := os.Symlink("/etc/hostname", filepath.Join(drop, "link.wav")); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(filepath.Join(r.dir, "drop", "real.json"), filepath.Join(drop, "hard.wav")); err != nil {
			t.Fatal(err)
		}
		mkfifo(t, filepath.Join(drop, "pipe.wav"))
		r.start()
		time.Sleep(5 * time.Minute)
		for path, want := range map[string]string{
			"link.wav": "quarantined(symlink)", "hard.wav": "quarantined(hardlink)", "pipe.wav": "quarantined(not_regular)",
		} {
			if got := r.state(path); got != want {
				t.Errorf("%s: %s, want %s", path, got, want)
			}
		}
		r.end()
	})
}

// Files are moved only after acceptance, with their sidecars, and a restart
// in between neither loses nor resends them.
func TestDisposal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := wellBehaved()
		r := newRig(t, v, func(o *pipeline.Options) {
			o.Sources[0].After = pipeline.AfterMove
		})
		r.opt.Sources[0].Archive = filepath.Join(r.dir, "archive", "{source}", "{year}-{month}-{day}")
		r.drop("drop", "c", 1, meta("1"))
		r.start()
		time.Sleep(2 * time.Minute)
		for _, name := range []string{"c.wav", "c.json"} {
			if _, err := os.Stat(filepath.Join(r.dir, "archive", "drop", "2026-11-02", name)); err != nil {
				t.Error(err)
			}
		}
		// The same file again: a duplicate, moved beside the first, not sent.
		r.drop("drop", "c", 1, meta("1"))
		time.Sleep(3 * time.Minute)
		if _, err := os.Stat(filepath.Join(r.dir, "archive", "drop", "2026-11-02", "c-2.wav")); err != nil {
			t.Error(err)
		}
		if n := len(v.sent()); n != 1 {
			t.Errorf("%d attempts for one recording dropped twice", n)
		}
		r.end()
	})
}

// A root that goes away is "unavailable", never "all files vanished".
func TestLostRoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wellBehaved(), nil)
		r.drop("drop", "c", 1, "")
		r.start()
		time.Sleep(2 * time.Minute)
		drop := filepath.Join(r.dir, "drop")
		if err := os.Rename(drop, drop+".away"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if got := r.state("c.wav"); got != "waiting(no_sidecar)" && got != "waiting(waiting_for_sidecar)" {
			t.Errorf("while the root is away: %s", got)
		}
		if h := r.p.Health()["drop"]; h.Lost == nil {
			t.Error("health does not tell that the root is lost")
		}
		if err := os.Rename(drop+".away", drop); err != nil {
			t.Fatal(err)
		}
		r.write("drop/c.json", []byte(meta("1")))
		time.Sleep(10 * time.Minute)
		if got := r.state("c.wav"); got != "accepted" {
			t.Errorf("after the root came back: %s", got)
		}
		r.end()
	})
}

// A panic over one file is put off with it; the others go on.
func TestPanicOverOneFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wellBehaved(), nil)
		r.addSource("bad")
		r.opt.Sources[1].Mapping = nil // a defect of the program
		r.drop("bad", "1", 1, meta("1"))
		r.drop("drop", "2", 2, meta("2"))
		r.start()
		time.Sleep(5 * time.Minute)
		for path, want := range map[string]string{"1.wav": "settling(crash)", "2.wav": "accepted"} {
			if got := r.state(path); got != want {
				t.Errorf("%s: %s, want %s", path, got, want)
			}
		}
		r.end()
	})
}
