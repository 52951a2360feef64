package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// mountSmall mounts a small file system for the test. It needs root.
func mountSmall(t *testing.T, kind string, size int64) (dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may mount a small file system")
	}
	dir = t.TempDir()
	args := []string{"-t", "tmpfs", "-o", fmt.Sprintf("size=%d,mode=700", size), "tmpfs", dir}
	if kind == "ext4" {
		image := filepath.Join(t.TempDir(), "image")
		check(t, os.WriteFile(image, nil, 0o600))
		check(t, os.Truncate(image, size))
		if out, err := exec.Command("mkfs.ext4", "-q", "-m", "0", image).CombinedOutput(); err != nil {
			t.Skipf("mkfs.ext4: %v: %s", err, out)
		}
		args = []string{"-o", "loop", image, dir}
	}
	if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
		t.Skipf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	check(t, os.Chmod(dir, 0o700))
	return dir
}

// fill takes all space that is left.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	name := filepath.Join(dir, fmt.Sprintf("filler-%d", time.Now().UnixNano()))
	f, err := os.Create(name)
	check(t, err)
	defer f.Close()
	for _, size := range []int{1 << 20, 4096, 1024, 512, 1} {
		for err == nil {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
		err = nil
	}
	check(t, f.Sync())
	return func() { check(t, os.Remove(name)) }
}

// Disk full, for real: the ballast pays for what is in flight, then results
// wait in memory for as long as it takes, nothing fences, and everything goes
// on by itself when there is room.
func TestDiskFull(t *testing.T) {
	for _, kind := range []string{"tmpfs", "ext4"} {
		t.Run(kind, func(t *testing.T) {
			dir := mountSmall(t, kind, 192<<20)
			l := openAt(t, filepath.Join(dir, "ledger.db"), newClock())
			l.w.pauses = []time.Duration{time.Millisecond}
			_, ds := planned(t, l, "a.wav", "x", "", "alpha")
			if _, err := os.Stat(filepath.Join(dir, ballastName)); err != nil || l.Trouble() != nil {
				t.Fatalf("at first: %v, %+v", err, l.Trouble())
			}
			free := fill(t, dir)
			big := strings.Repeat("x", 1<<20) // more than SQLite has allocated
			for range 4 {
				check(t, l.w.write(t.Context(), "in flight", note(big)))
			}
			if _, err := os.Stat(filepath.Join(dir, ballastName)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the ballast was not used: %v", err)
			}
			if tr := l.Trouble(); tr == nil || tr.Code != TroubleSpace {
				t.Errorf("trouble: %+v", tr)
			}
			freeToo := fill(t, dir)
			written := make(chan error, 1)
			go func() {
				written <- l.w.write(context.Background(), "a result", func(x *tx) error {
					if err := note(strings.Repeat("x", 16<<20))(x); err != nil {
						return err
					}
					d, err := x.delivery(ds[0].ID)
					return errors.Join(err, x.move(d, Step{From: Planned, To: Held, Class: "test"}))
				})
			}()
			waitFor(t, func() bool { return l.w.waitsFor() == TroubleFull })
			if tr := l.Trouble(); tr.Code != TroubleFull || tr.Text == "" || tr.Hint == "" {
				t.Errorf("trouble: %+v", tr)
			}
			select {
			case err := <-written:
				t.Fatalf("written on a full disk: %v", err)
			case <-time.After(50 * time.Millisecond):
			}
			free()
			freeToo()
			check(t, <-written)
			l.lookAtSpace()
			if l.FenceErr() != nil || l.Trouble() != nil {
				t.Errorf("afterwards: %v, %+v", l.FenceErr(), l.Trouble())
			}
			if d := deliveryByID(t, l, ds[0].ID); d.State != Held {
				t.Errorf("the result: %+v", d)
			}
			(&monitor{l: l, walLarge: walLarge}).minutely()
			if info, err := os.Stat(filepath.Join(dir, ballastName)); err != nil || info.Size() != ballastSize {
				t.Errorf("the ballast was not made again: %v", err)
			}
			verified(t, l)
		})
	}
}

// A shutdown on a full disk ends, and recovery finds what was not recorded.
func TestStopOnAFullDisk(t *testing.T) {
	dir := mountSmall(t, "tmpfs", 64<<20)
	l := openAt(t, filepath.Join(dir, "ledger.db"), newClock())
	check(t, removeBallast(dir))
	_, ds := planned(t, l, "a.wav", "x", "", "alpha")
	walk(t, l, ds[0], Sending, Committing)
	free := fill(t, dir)
	big := strings.Repeat("x", 2<<20)
	ctx, cancel := context.WithCancel(t.Context())
	l.w.pauses = []time.Duration{time.Millisecond}
	written := make(chan error, 1)
	go func() { written <- l.w.write(ctx, "a result", note(big)) }()
	waitFor(t, func() bool { return l.w.waitsFor() == TroubleFull })
	cancel() // the program is cut
	if err := <-written; !errors.Is(err, errNotWritten) {
		t.Fatalf("%v", err)
	}
	go func() { written <- l.w.write(context.Background(), "another", note(big)) }()
	waitFor(t, func() bool { return len(l.w.ops) == 0 && l.w.waitsFor() == TroubleFull })
	closed := make(chan error, 1)
	go func() { closed <- l.Close() }()
	if err := <-written; !errors.Is(err, errClosed) {
		t.Errorf("a write at the stop: %v", err)
	}
	<-closed // it may complain that the disk is full
	free()
	old := l
	t.Cleanup(func() { old.w.conn.Close(); old.db.Close() }) // what Close left to the end of the process
	l = openAt(t, filepath.Join(dir, "ledger.db"), newClock())
	if got := must[Recovered](t)(l.Recover(t.Context(), vendor)); got.InDoubt != 1 {
		t.Errorf("recovered %+v", got)
	}
	if d := deliveryByID(t, l, ds[0].ID); d.State != InDoubt || d.Reason == ReasonRestored {
		t.Errorf("%+v", d)
	}
	verified(t, l)
}

// waitFor polls what another goroutine does in real time.
func waitFor(t *testing.T, cond func() bool) {
	t.Helper()
	give := time.NewTimer(20 * time.Second)
	defer give.Stop()
	for !cond() {
		select {
		case <-give.C:
			t.Fatal("it never happens")
		case <-time.After(time.Millisecond):
		}
	}
}

// A stranger's lock is waited for and retried, and told.
func TestForeignLock(t *testing.T) {
	l, _ := openTest(t)
	_, ds := planned(t, l, "a.wav", "x", "", "alpha")
	l.w.pauses = []time.Duration{time.Millisecond}
	_, err := l.w.conn.ExecContext(t.Context(), "PRAGMA busy_timeout = 20")
	check(t, err)
	db := connect(l.path, "mode=rw&_txlock=immediate", 1)
	defer db.Close()
	stranger := must[interface{ Rollback() error }](t)(db.BeginTx(t.Context(), nil))
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := l.Move(context.Background(), ds[0].ID, ds[0].Ver, Step{From: Planned, To: Held}); err != nil {
			t.Error(err)
		}
	})
	waitFor(t, func() bool { return l.w.waitsFor() == TroubleLocked })
	if tr := l.Trouble(); tr == nil || tr.Code != TroubleLocked {
		t.Errorf("trouble: %+v", tr)
	}
	// A caller whose time is over takes its write back for good.
	l.w.timeout = 30 * time.Millisecond
	if err := l.w.write(t.Context(), "late", note("never")); !errors.Is(err, errNotWritten) {
		t.Errorf("%v", err)
	}
	l.w.timeout = time.Minute
	check(t, stranger.Rollback())
	wg.Wait()
	if n := queryInt(t, l, "SELECT count(*) FROM events WHERE to_state = 'held'"); n != 1 {
		t.Errorf("%d events of one move", n)
	}
	check(t, l.w.write(t.Context(), "after it", note("always")))
	if n := queryInt(t, l, "SELECT count(*) FROM orders WHERE note = 'never'"); n != 0 || l.Trouble() != nil || l.FenceErr() != nil {
		t.Errorf("%d writes that were taken back happened; %+v, %v", n, l.Trouble(), l.FenceErr())
	}
}

// When every caller has gone, the writer itself finds out that it can write
// again: new work waits for that word.
func TestTroubleEndsWithoutCallers(t *testing.T) {
	l, _ := openTest(t)
	_, err := l.w.conn.ExecContext(t.Context(), "PRAGMA busy_timeout = 5")
	check(t, err)
	l.w.pauses = []time.Duration{time.Millisecond}
	l.w.timeout = time.Second // a busy machine needs some of it to see the lock
	db := connect(l.path, "mode=rw&_txlock=immediate", 1)
	defer db.Close()
	stranger := must[interface{ Rollback() error }](t)(db.BeginTx(t.Context(), nil))
	if err := l.w.write(t.Context(), "gone", note("gone")); !errors.Is(err, errNotWritten) {
		t.Fatalf("%v", err)
	}
	if l.w.waitsFor() != TroubleLocked {
		t.Fatal("the trouble is over while the lock is there")
	}
	check(t, stranger.Rollback())
	waitFor(t, func() bool { return l.Trouble() == nil })
}

// The watermark stops new work before the disk is full, and lets it go on
// only with some room to spare; it is told once.
func TestWatermark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var logged bytes.Buffer
		free, size := uint64(1<<30), uint64(100<<30)
		set := func(n uint64) { mu.Lock(); free = n; mu.Unlock() }
		l, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "ledger.db"), Log: slog.New(slog.NewTextHandler(&logged, nil)),
			space: func(string) (uint64, uint64, error) { mu.Lock(); defer mu.Unlock(); return free, size, nil }})
		check(t, err)
		r := must[*Reader](t)(OpenReader(t.Context(), l.path))
		for _, step := range []struct {
			free uint64
			low  bool
		}{{3 << 30, false}, {2<<30 - 1, true}, {2<<30 + 1, true}, {2<<30 + 1<<28, false}, {1 << 20, true}, {1 << 40, false}} {
			set(step.free)
			time.Sleep(5 * lookEvery)
			if low := l.Trouble() != nil; low != step.low || l.Health().FreeBytes != step.free {
				t.Errorf("%d MiB free: low %v, health %+v", step.free>>20, low, l.Health())
			}
			s := must[Status](t)(r.Status(t.Context()))
			if told := s.Daemon.Trouble != nil; told != step.low {
				t.Errorf("%d MiB free: a command is told %v", step.free>>20, told)
			}
		}
		check(t, errors.Join(r.Close(), l.Close()))
		if n := strings.Count(logged.String(), "in trouble"); n != 2 {
			t.Errorf("trouble was logged %d times, want once each:\n%s", n, logged.String())
		}
		if n := strings.Count(logged.String(), "out of its trouble"); n != 2 {
			t.Errorf("its end was logged %d times:\n%s", n, logged.String())
		}
	})
}

func TestLowMark(t *testing.T) {
	for size, want := range map[uint64]uint64{
		64 << 20: 16 << 20, 1 << 30: 256 << 20, 4 << 30: 256 << 20, 10 << 30: 512 << 20, 40 << 30: 2 << 30, 10 << 40: 2 << 30,
	} {
		if got := lowMark(size); got != want {
			t.Errorf("%d MiB: watermark %d MiB, want %d", size>>20, got>>20, want>>20)
		}
	}
}

// The first daemon finds out that its lock file was removed, and fences.
func TestWatchFencesOnALostLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "ledger.db")})
		check(t, err)
		time.Sleep(2 * lockCheck)
		if l.FenceErr() != nil {
			t.Fatalf("fenced: %v", l.FenceErr())
		}
		check(t, os.Remove(l.lock.path))
		time.Sleep(lockCheck + time.Second)
		select {
		case <-l.Fenced():
		default:
			t.Fatal("it goes on")
		}
		if !errors.Is(l.FenceErr(), errLockLost) {
			t.Errorf("%v", l.FenceErr())
		}
		check(t, errors.Join(l.Close(), l.reader.Close(), l.w.conn.Close(), l.db.Close()))
	})
}

// The daily check runs at a quiet moment, and damage fences.
func TestDailyCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "ledger.db")})
		check(t, err)
		planned(t, l, "a.wav", "a", "", "alpha")
		opened := l.Health().CheckedAt
		time.Sleep(checkEvery + 2*time.Minute)
		if at := l.Health().CheckedAt; !at.After(opened.Add(checkEvery - time.Minute)) {
			t.Errorf("checked at %s, opened at %s", at, opened)
		}
		// Busy: it is put off, for a day at most.
		before := l.Health().CheckedAt
		for range 25 * 120 {
			check(t, l.w.write(t.Context(), "busy", note("x")))
			time.Sleep(30 * time.Second)
		}
		if at := l.Health().CheckedAt; !at.Equal(before) {
			t.Errorf("checked at %s although it was busy", at)
		}
		for range 24 * 120 {
			check(t, l.w.write(t.Context(), "busy", note("x")))
			time.Sleep(30 * time.Second)
		}
		if at := l.Health().CheckedAt; at.Equal(before) {
			t.Error("a busy ledger is never checked")
		}
		if l.FenceErr() != nil {
			t.Fatal(l.FenceErr())
		}
		_, err = l.w.conn.ExecContext(t.Context(), "PRAGMA wal_checkpoint(TRUNCATE)")
		check(t, err)
		damage(t, l.path)
		time.Sleep(checkEvery + 2*time.Minute)
		if l.FenceErr() == nil {
			t.Error("a damaged ledger goes on")
		}
		_ = errors.Join(l.Close(), l.reader.Close(), l.w.conn.Close(), l.db.Close())
	})
}

// While the daily check runs, for as long as it takes, the space is watched and
// the mark is synced; and a stop does not wait for it.
func TestDailyCheckHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var free atomic.Uint64
		free.Store(1 << 40)
		var began, ended atomic.Bool
		l, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "ledger.db"),
			space: func(string) (uint64, uint64, error) { return free.Load(), 1 << 40, nil },
			check: func(ctx context.Context, _ string) ([]string, error) {
				began.Store(true)
				<-ctx.Done()
				ended.Store(true)
				return nil, ctx.Err()
			}})
		check(t, err)
		_, ds := planned(t, l, "a.wav", "a", "", "alpha")
		for !began.Load() {
			time.Sleep(time.Second)
		}
		free.Store(1 << 20)
		must[int64](t)(l.Move(t.Context(), ds[0].ID, ds[0].Ver, Step{From: Planned, To: Planned}))
		time.Sleep(5 * lookEvery)
		if l.Trouble() == nil || l.Health().FreeBytes != 1<<20 {
			t.Errorf("the space is not watched: %+v", l.Health())
		}
		l.water.mu.Lock()
		if l.water.dirty {
			t.Error("the mark is not synced")
		}
		l.water.mu.Unlock()
		if ended.Load() {
			t.Fatal("the check was over too soon for this test to show anything")
		}
		at := time.Now()
		check(t, l.Close())
		if !ended.Load() || time.Since(at) > time.Second {
			t.Errorf("closed after %s, check ended: %v", time.Since(at), ended.Load())
		}
	})
}

// A check that takes too long is given up, and the next day's is made.
func TestDailyCheckIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var checks atomic.Int64
		l, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "ledger.db"), check: func(ctx context.Context, _ string) ([]string, error) {
			checks.Add(1)
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		check(t, err)
		time.Sleep(2*checkEvery + time.Hour)
		if n := checks.Load(); n != 2 || l.FenceErr() != nil {
			t.Errorf("%d checks in two days, %v", n, l.FenceErr())
		}
		check(t, l.Close())
	})
}

// A reader that stays open holds the WAL: its growth is told once, and bounded
// again when the reader goes.
func TestPinnedWALIsTold(t *testing.T) {
	l, _ := openTest(t)
	var logged bytes.Buffer
	l.log = slog.New(slog.NewTextHandler(&logged, nil))
	m := &monitor{l: l, walLarge: 6 << 20}
	reader, err := l.reader.db.BeginTx(t.Context(), nil)
	check(t, err)
	var n int
	check(t, reader.QueryRow("SELECT count(*) FROM events").Scan(&n))
	for range 4 {
		check(t, l.w.write(t.Context(), "grow", note(strings.Repeat("x", 2<<20))))
		m.minutely()
	}
	if size := l.Health().WALBytes; size < 6<<20 {
		t.Errorf("the WAL has %d bytes", size)
	}
	if n := strings.Count(logged.String(), "-wal grows"); n != 1 {
		t.Errorf("told %d times:\n%s", n, logged.String())
	}
	check(t, reader.Rollback())
	for range 2 {
		check(t, l.w.write(t.Context(), "go on", note("x")))
	}
	grown := l.Health().WALBytes
	for range 3 {
		check(t, l.w.write(t.Context(), "go on", note(strings.Repeat("x", 2<<20))))
	}
	m.minutely()
	if size := l.Health().WALBytes; size > grown+1<<20 {
		t.Errorf("it grows on: %d bytes after %d", size, grown)
	}
}
