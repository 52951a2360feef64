package pipeline_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"ingestd/internal/ledger"
	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
)

// onSmallDisk puts the rig on a small file system of its own.
func (r *rig) onSmallDisk(size int64) {
	r.t.Helper()
	if os.Geteuid() != 0 {
		r.t.Skip("only root may mount a small file system")
	}
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d,mode=700", size), "tmpfs", r.dir).CombinedOutput()
	if err != nil {
		r.t.Skipf("mount: %v: %s", err, out)
	}
	r.t.Cleanup(func() {
		if err := unix.Unmount(r.dir, unix.MNT_DETACH); err != nil {
			r.t.Error(err)
		}
	})
	if err := os.Mkdir(filepath.Join(r.dir, "drop"), 0o700); err != nil {
		r.t.Fatal(err)
	}
}

// filler leaves so many bytes of the disk free.
func (r *rig) filler(leave int64) (name string) {
	var st unix.Statfs_t
	if err := unix.Statfs(r.dir, &st); err != nil {
		r.t.Error(err)
	}
	name = filepath.Join(r.dir, fmt.Sprintf("filler-%d", time.Now().UnixNano()))
	f, err := os.Create(name)
	if err == nil {
		err = errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, max(int64(st.Bavail)*st.Bsize-leave, 1)), f.Close())
	}
	if err != nil {
		r.t.Error(err)
	}
	return name
}

// The disk of the ledger fills up: new recordings and new sends wait before it
// is full; what is under way when it is full is recorded from the ballast, and
// then kept in memory; and everything goes on when there is room. Nothing is
// sent twice and nothing is in doubt (cells 8, 38, 54).
func TestLedgerDiskFull(t *testing.T) {
	var r *rig
	var filled []string
	v := &vendor{traits: twoStep(), script: func(n int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
		receipt, err := deliver(a, j) // up to committing
		if n == 2 {
			filled = append(filled, r.filler(0)) // the ballast pays
		}
		if n == 3 {
			receipt.Text = strings.Repeat("x", 40<<20) // more than anything has room for
			filled = append(filled, r.filler(0))
		}
		return receipt, err
	}}
	synctest.Test(t, func(t *testing.T) {
		r = newRig(t, v, nil)
		r.onSmallDisk(256 << 20)
		r.start()
		r.drop("drop", "first", 1, meta("1"))
		time.Sleep(5 * time.Minute)
		if got := r.state("first.wav"); got != "accepted" {
			t.Fatalf("first: %s", got)
		}
		low := r.filler(40 << 20)
		time.Sleep(5 * time.Second)
		r.drop("drop", "second", 2, meta("2"))
		time.Sleep(20 * time.Minute)
		if got := r.state("second.wav"); got != "" {
			t.Errorf("while space is low: %s", got)
		}
		if tr := r.led.Trouble(); tr == nil || tr.Code != ledger.TroubleSpace {
			t.Errorf("trouble: %+v", tr)
		}
		if since := time.Since(r.p.LastBeat()); since > time.Minute {
			t.Errorf("no sign of life for %s: the watchdog would kill it", since)
		}
		free := func(names ...string) {
			for _, name := range names {
				if err := os.Remove(name); err != nil {
					t.Error(err)
				}
			}
			time.Sleep(20 * time.Minute)
		}
		free(low)
		if got := r.state("second.wav"); got != "accepted" {
			t.Errorf("with the ballast's space: %s", got)
		}
		free(filled...)
		filled = nil
		r.drop("drop", "third", 3, meta("3"))
		time.Sleep(3 * time.Minute)
		if tr := r.led.Trouble(); tr == nil || tr.Code != ledger.TroubleFull {
			t.Errorf("trouble: %+v", tr)
		}
		if got := r.state("third.wav"); got != "committing" {
			t.Errorf("its result has no room: %s", got)
		}
		free(filled...)
		r.drop("drop", "fourth", 4, meta("4"))
		time.Sleep(5 * time.Minute)
		for _, name := range []string{"third.wav", "fourth.wav"} {
			if got := r.state(name); got != "accepted" {
				t.Errorf("%s: %s", name, got)
			}
		}
		if n := len(v.sent()); n != 4 {
			t.Errorf("%d attempts for four recordings", n)
		}
		if err := r.led.FenceErr(); err != nil {
			t.Errorf("fenced: %v", err)
		}
		r.end()
	})
}

// A ledger of yesterday is put in place: nothing is sent blindly. A vendor
// that refuses duplicates gets the same key again after the settling time; one
// that cannot be asked waits for a person. A recording that the old ledger
// does not know is no exception (cell 68).
func TestYesterdaysLedger(t *testing.T) {
	for name, c := range map[string]struct {
		traits senders.Traits
		want   string
		sends  int
	}{
		"refuses duplicates": {traits: twoStep(), want: "accepted", sends: 4},
		"cannot be asked":    {traits: senders.Traits{TwoStep: true}, want: "held(in_doubt)", sends: 2},
	} {
		t.Run(name, func(t *testing.T) {
			v := &vendor{traits: c.traits, script: func(n int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
				if n <= 2 && a.Own || n > 2 && !a.Own {
					t.Errorf("attempt %d: own is %v", n, a.Own)
				}
				return deliver(a, j)
			}}
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, v, func(o *pipeline.Options) { o.Destinations[0].Lane.Pause(time.Now().Add(time.Hour), "later") })
				r.start()
				r.drop("drop", "known", 1, meta("1"))
				time.Sleep(5 * time.Minute)
				backup := filepath.Join(r.dir, "backup.db")
				if err := ledger.Backup(t.Context(), filepath.Join(r.dir, "ledger.db"), backup); err != nil {
					t.Fatal(err)
				}
				r.drop("drop", "unknown", 2, meta("2"))
				time.Sleep(2 * time.Hour)
				if n := len(v.sent()); n != 2 {
					t.Fatalf("%d attempts", n)
				}
				r.end()
				if err := os.Rename(backup, filepath.Join(r.dir, "ledger.db")); err != nil { // a plain mv
					t.Fatal(err)
				}
				r.start()
				time.Sleep(9 * time.Minute)
				if n := len(v.sent()); n != 2 {
					t.Fatalf("%d attempts before the vendor has settled", n)
				}
				time.Sleep(time.Hour)
				for _, name := range []string{"known.wav", "unknown.wav"} {
					if got := r.state(name); got != c.want {
						t.Errorf("%s: %s", name, got)
					}
				}
				if n := len(v.sent()); n != c.sends {
					t.Errorf("%d attempts, want %d", n, c.sends)
				}
				r.end()
			})
		})
	}
}

// A key that is damaged in the ledger, in a way that SQLite cannot see, sends
// nothing.
func TestDamagedKeyIsHeld(t *testing.T) {
	v := &vendor{traits: twoStep(), script: func(n int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
		if n > 1 {
			t.Error("sent under a damaged key")
		}
		return senders.Receipt{}, &senders.Error{Class: senders.Refused, Code: "later", Text: "not now"}
	}}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, v, func(o *pipeline.Options) { o.Destinations[0].Retry.Initial = senders.DefaultRetry().Max })
		r.start()
		r.drop("drop", "a", 1, meta("1"))
		time.Sleep(5 * time.Minute)
		key := *r.rows()["a.wav"].IdempotencyKey
		r.end()
		path := filepath.Join(r.dir, "ledger.db")
		whole, err := os.ReadFile(path)
		if err != nil || bytes.Count(whole, []byte(key)) == 0 {
			t.Fatalf("the key is not in the file: %v", err)
		}
		other := "x" + key[1:]
		if err := os.WriteFile(path, bytes.ReplaceAll(whole, []byte(key), []byte(other)), 0o600); err != nil {
			t.Fatal(err)
		}
		r.start()
		time.Sleep(2 * time.Hour)
		if got := r.state("a.wav"); got != "held(wrong_key)" {
			t.Errorf("%s", got)
		}
		r.end()
	})
}
