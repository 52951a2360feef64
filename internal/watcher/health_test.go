package watcher_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"ingestd/internal/watcher"
)

func TestRootComesBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "drop")
	must(t, os.Mkdir(dir, 0o700))
	put(t, dir, "old.wav")
	w, s := start(t, watcher.Options{Path: dir})
	old := w.Root()

	must(t, os.RemoveAll(dir))
	scans := s.awaitScans(t, 2)
	if got := scans[1].Err; !errors.Is(got, watcher.ErrRootLost) {
		t.Fatalf("got %v, want ErrRootLost", got)
	}
	if w.Root() != nil || !errors.Is(w.Health().Lost, watcher.ErrRootLost) {
		t.Fatalf("%v, %+v", w.Root(), w.Health())
	}
	if _, err := old.Stat("old.wav"); !errors.Is(err, os.ErrClosed) {
		t.Fatalf("the lost root answers %v: that must not look like a missing file", err)
	}

	put(t, dir, "sub/new.wav")
	s.awaitFiles(t, "sub/new.wav")
	if err := w.Health().Lost; err != nil {
		t.Fatalf("still lost: %v", err)
	}
	s.awaitScans(t, 3)
	put(t, dir, "sub/event.wav")
	s.awaitFiles(t, "sub/event.wav")
	if n := len(s.awaitScans(t, 3)); n != 3 {
		t.Fatalf("%d scans: told more than once, or events do not work", n)
	}
}

func TestRootReplacedAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "drop")
	must(t, os.Mkdir(dir, 0o700))
	_, s := start(t, watcher.Options{Path: dir})
	put(t, dir+".new", "x.wav")
	must(t, os.Rename(dir, dir+".old"), os.Rename(dir+".new", dir))
	s.awaitFiles(t, "x.wav")
	put(t, dir, "y.wav")
	s.awaitFiles(t, "y.wav")
}

// Moved away and back: the same directory, but its watch is dead.
func TestRootMovedAndBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "drop")
	must(t, os.Mkdir(dir, 0o700))
	fake := newEvents()
	_, s := start(t, watcher.Options{Path: dir, NewEvents: func() (watcher.Events, error) { return fake, nil }})
	must(t, fake.Remove(dir))
	fake.recv <- recv{e: watcher.Event{Path: dir, Gone: true}}
	s.awaitScans(t, 2)
	if got := fake.Watched(); len(got) != 1 {
		t.Fatalf("watched: %q", got)
	}
}

// A directory that went without an event does not keep its watch.
func TestScanEndsOldWatches(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "a"), 0o700))
	fake := newEvents()
	w, s := start(t, watcher.Options{Path: dir, NewEvents: func() (watcher.Events, error) { return fake, nil }})
	if got := w.Health().Watches; got != 2 {
		t.Fatalf("%d watches", got)
	}
	must(t, os.Remove(filepath.Join(dir, "a")))
	w.Rescan()
	s.awaitScans(t, 2)
	w.Rescan()
	s.awaitScans(t, 3) // the second scan's watches are tidied by now
	if diff := cmp.Diff([]string{dir}, fake.Watched()); diff != "" {
		t.Fatal(diff)
	}
}

func TestRootMissingAtStart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "drop")
	w, s := start(t, watcher.Options{Path: dir, ScanEvery: 20 * time.Millisecond})
	if !errors.Is(w.Health().Lost, watcher.ErrRootLost) {
		t.Fatalf("%+v", w.Health())
	}
	put(t, dir, "x.wav")
	s.awaitFiles(t, "x.wav")
}

// The directory vanishes while it is being scanned: what is left reads as an
// empty directory and must not be taken for one.
func TestRootLostDuringScan(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "drop")
	put(t, dir, "x.wav")
	s := newSink()
	s.onLook = func([]watcher.Entry) { must(t, os.RemoveAll(dir)) }
	w := watcher.New(watcher.Options{Path: dir}, s)
	err := w.ScanOnce(t.Context())
	if !errors.Is(err, watcher.ErrRootLost) || !errors.Is(s.scans[0].Err, watcher.ErrRootLost) {
		t.Fatalf("got %v and %+v, want ErrRootLost", err, s.scans)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// An unmounted volume leaves an empty directory that opens very well.
func TestUnmounted(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, ""); err != nil {
		t.Logf("not allowed to mount: only TestMountPoint judges this here: %v", err)
		return
	}
	mounted := true
	t.Cleanup(func() {
		if mounted {
			_ = unix.Unmount(dir, unix.MNT_DETACH)
		}
	})
	put(t, dir, "sub/x.wav")
	w, s := start(t, watcher.Options{Path: dir, ScanEvery: 20 * time.Millisecond})
	s.awaitFiles(t, "sub/x.wav")
	must(t, unix.Unmount(dir, unix.MNT_DETACH))
	mounted = false
	s.await(t, "loss", func() bool { return errors.Is(s.scans[len(s.scans)-1].Err, watcher.ErrRootLost) })
	lost := len(s.awaitScans(t, 1))
	// The directory below is there, but it is not what was watched.
	if err := w.ScanOnce(t.Context()); err == nil || !strings.Contains(err.Error(), "mounted") {
		t.Fatalf("got %v", err)
	}
	if got := len(s.awaitScans(t, 1)); got != lost {
		t.Fatalf("told %d times", got-lost+1)
	}
	must(t, unix.Mount("none", dir, "tmpfs", 0, ""))
	mounted = true
	put(t, dir, "y.wav")
	s.awaitFiles(t, "y.wav")
	if err := w.Health().Lost; err != nil {
		t.Fatal(err)
	}
}

// A file system mounted inside the root is neither entered nor silent.
func TestMountInside(t *testing.T) {
	s := newSink()
	w := watcher.New(watcher.Options{Path: "/dev"}, s)
	if err := w.ScanOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	if got := strings.Join(s.scans[0].Unreadable, " "); !strings.Contains(got, "pts") {
		t.Fatalf("unreadable: %q, want /dev/pts, a mount of its own", got)
	}
	if _, looks := s.last("pts/ptmx"); looks > 0 {
		t.Fatal("another mount was entered")
	}
	if e, _ := s.last("null"); e.Kind != watcher.Other {
		t.Fatalf("%+v", e)
	}
}

// The limit of watches is reached in the middle of a scan. The scan goes on,
// polling takes over, and events come back when there is room again.
func TestWatchLimit(t *testing.T) {
	for _, limit := range []error{syscall.ENOSPC, fmt.Errorf("new: %w", syscall.EMFILE)} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			for i := range 10 {
				put(t, dir, strconv.Itoa(i), "x.wav")
			}
			var full atomic.Bool
			full.Store(true)
			added := 0
			s := newSink()
			w := run(t, watcher.Options{Path: dir, ScanEvery: time.Minute, NewEvents: func() (watcher.Events, error) {
				if full.Load() && !errors.Is(limit, syscall.ENOSPC) {
					return nil, limit
				}
				f := newEvents()
				f.add = func(string) error {
					if added++; full.Load() && added > 4 {
						return limit
					}
					return nil
				}
				return f, nil
			}}, s)
			synctest.Wait()
			health := w.Health()
			if health.Mode != "poll" || !strings.Contains(health.Why, "fs.inotify.max_user_") || health.Watches != 0 {
				t.Fatalf("%+v", health)
			}
			if scan := s.awaitScans(t, 1)[0]; scan.Files != 10 || scan.Err != nil {
				t.Fatalf("%+v", scan)
			}
			put(t, dir, "3/polled.wav")
			time.Sleep(time.Minute) // of the bubble's clock
			synctest.Wait()
			if _, looks := s.last("3/polled.wav"); looks == 0 {
				t.Fatal("polling does not find a file")
			}
			full.Store(false)
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			if health := w.Health(); health.Mode != "events" || health.Why != "" || health.Watches != 11 {
				t.Fatalf("%+v", health)
			}
		})
	}
}

// Events end for good: the watcher polls and tries again later.
func TestEventsBreak(t *testing.T) {
	dir := t.TempDir()
	fake := newEvents()
	w, s := start(t, watcher.Options{Path: dir, NewEvents: func() (watcher.Events, error) { return fake, nil }})
	put(t, dir, "x.wav")
	fake.recv <- recv{err: errors.New("broken")}
	s.awaitFiles(t, "x.wav")
	s.awaitScans(t, 2)
	if !fake.isClosed() {
		t.Fatal("the broken events were not closed")
	}
	if got := w.Health(); got.Mode != "poll" || !strings.Contains(got.Why, "broken") {
		t.Fatalf("%+v", got)
	}
}
