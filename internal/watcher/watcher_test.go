package watcher_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"ingestd/internal/watcher"
)

// A producer that makes directories and at once files in them is faster than
// any watch. With events alone about a third of these files are missed.
func TestDirectoriesMadeFasterThanWatched(t *testing.T) {
	dir := t.TempDir()
	w, s := start(t, watcher.Options{Path: dir})
	var want []string
	for i := range 300 {
		rel := fmt.Sprintf("x%d/y/z/%d.wav", i, i)
		put(t, dir, rel)
		want = append(want, rel)
	}
	s.awaitFiles(t, want...)
	if scans := s.awaitScans(t, 1); len(scans) != 1 {
		t.Fatalf("%d scans: the events proved nothing", len(scans))
	}
	// Every directory is watched now: a second file in each is an event.
	s.await(t, "watches", func() bool { return w.Health().Watches == 901 })
	want = want[:0]
	for i := range 300 {
		rel := fmt.Sprintf("x%d/y/z/%d-second.wav", i, i)
		put(t, dir, rel)
		want = append(want, rel)
	}
	s.awaitFiles(t, want...)
}

// Directories that are gone before anybody looked leave no watch, no error and
// no scan behind.
func TestDirectoriesMadeAndGone(t *testing.T) {
	dir := t.TempDir()
	w, s := start(t, watcher.Options{Path: dir})
	for i := range 300 {
		name := filepath.Join(dir, strconv.Itoa(i))
		must(t, os.MkdirAll(filepath.Join(name, "below"), 0o700), os.RemoveAll(name))
	}
	put(t, dir, "last.wav")
	s.awaitFiles(t, "last.wav")
	s.await(t, "the last watch to end", func() bool { return w.Health().Watches == 1 })
	if scans := s.awaitScans(t, 1); len(scans) != 1 || scans[0].Err != nil || w.Health().Lost != nil {
		t.Errorf("%d scans, %+v", len(scans), w.Health())
	}
}

func TestFilesThere(t *testing.T) {
	dir := t.TempDir()
	names := []string{"x.wav", "a/b/x.wav", "\xff\xfe\n.wav", ".hidden.wav", "x.part"}
	for _, name := range names {
		put(t, dir, name)
	}
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600), os.Symlink("a", filepath.Join(dir, "link")))
	w, s := start(t, watcher.Options{Path: dir})
	scan := s.awaitScans(t, 1)[0]
	if scan.Files != 5 || scan.Err != nil || scan.Unreadable != nil || scan.Ended.Before(scan.Started) {
		t.Fatalf("%+v", scan)
	}
	for path, kind := range map[string]watcher.Kind{
		"x.wav": watcher.Regular, "a/b/x.wav": watcher.Regular, "\xff\xfe\n.wav": watcher.Regular,
		"fifo": watcher.Other, "link": watcher.Symlink,
	} {
		if e, _ := s.last(path); e.Kind != kind {
			t.Errorf("%q is %v, want %v", path, e.Kind, kind)
		}
	}
	health := w.Health()
	if health.Mode != "events" || health.Lost != nil || health.LastScan.Files != 5 {
		t.Fatalf("%+v", health)
	}
	seen, _ := s.last("x.wav")
	if e, err := w.Root().Stat("x.wav"); err != nil || e != seen {
		t.Fatalf("%+v, %v", e, err)
	}
}

// A file that is created the instant after its directory is watched makes an
// event; one created the instant before is read. Here it is created between
// the two and its event is lost: the scan must read after the watch is placed.
func TestWatchBeforeScan(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "a/b"), 0o700))
	fake := newEvents()
	fake.add = func(dir string) error { return os.WriteFile(filepath.Join(dir, "between.wav"), nil, 0o600) }
	_, s := start(t, watcher.Options{Path: dir, NewEvents: func() (watcher.Events, error) { return fake, nil }})
	s.awaitFiles(t, "between.wav", "a/between.wav", "a/b/between.wav")
	put(t, dir, "new/x.wav")
	fake.recv <- recv{e: watcher.Event{Path: filepath.Join(dir, "new")}}
	s.awaitFiles(t, "new/x.wav", "new/between.wav")
}

// The ways in which a file can get its final name without a CREATE of a
// file that is written afterwards.
func TestArrivals(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	w, s := start(t, watcher.Options{Path: dir})
	put(t, outside, "in.wav")
	put(t, outside, "tree/b/c.wav")
	put(t, outside, "link.wav")
	put(t, dir, "upload.wav.filepart")
	must(t,
		os.Rename(filepath.Join(dir, "upload.wav.filepart"), filepath.Join(dir, "upload.wav")),
		os.Rename(filepath.Join(outside, "in.wav"), filepath.Join(dir, "in.wav")),
		os.Rename(filepath.Join(outside, "tree"), filepath.Join(dir, "tree")),
		os.Link(filepath.Join(outside, "link.wav"), filepath.Join(dir, "link.wav")),
	)
	s.awaitFiles(t, "upload.wav", "in.wav", "tree/b/c.wav", "link.wav")
	if _, looks := s.last("upload.wav.filepart"); looks > 0 {
		t.Error("a temporary name was reported")
	}
	if e, _ := s.last("link.wav"); e.Links != 2 {
		t.Errorf("%+v", e)
	}

	// A directory that is renamed reports under its new name, at every depth.
	must(t, os.Rename(filepath.Join(dir, "tree"), filepath.Join(dir, "moved")))
	s.awaitFiles(t, "moved/b/c.wav")
	s.await(t, "watches", func() bool { return w.Health().Watches == 3 })
	put(t, dir, "moved/b/later.wav")
	s.awaitFiles(t, "moved/b/later.wav")

	// A directory of the same name is another directory.
	must(t, os.RemoveAll(filepath.Join(dir, "moved")))
	put(t, dir, "moved/b/anew.wav")
	s.awaitFiles(t, "moved/b/anew.wav")
	put(t, dir, "moved/b/last.wav")
	s.awaitFiles(t, "moved/b/last.wav")
	if len(s.awaitScans(t, 1)) != 1 {
		t.Error("a full scan hid what the events did not do")
	}
}

// rsync writes .name.XXXXXX and renames; it must be seen once, whole.
func TestRsync(t *testing.T) {
	rsync, err := exec.LookPath("rsync")
	if err != nil {
		t.Fatal("needs the program rsync: install the package `rsync`")
	}
	dir, from := t.TempDir(), t.TempDir()
	var want []string
	for i := range 50 {
		rel := fmt.Sprintf("day%d/%d.wav", i%3, i)
		put(t, from, rel)
		want = append(want, rel)
	}
	_, s := start(t, watcher.Options{Path: dir})
	if out, err := exec.Command(rsync, "-a", from+"/", dir+"/").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.awaitFiles(t, want...)
	s.mu.Lock()
	defer s.mu.Unlock()
	for path, e := range s.seen {
		if strings.HasPrefix(filepath.Base(path), ".") || e.Identity.Size != int64(len("recording")) {
			t.Errorf("seen before it was whole: %q, %d bytes", path, e.Identity.Size)
		}
	}
}

func TestManyWritesAreOneLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		fake := newEvents()
		_, s := start(t, watcher.Options{Path: dir, NewEvents: func() (watcher.Events, error) { return fake, nil }})
		put(t, dir, "x.wav")
		put(t, dir, "y.part")
		fake.recv <- recv{e: watcher.Event{Path: filepath.Join(dir, "y.part")}}
		for range 1000 {
			fake.recv <- recv{e: watcher.Event{Path: filepath.Join(dir, "x.wav")}}
		}
		begin := time.Now()
		s.awaitFiles(t, "x.wav")
		if took := time.Since(begin); took != 20*time.Millisecond {
			t.Errorf("looked at after %v", took)
		}
		time.Sleep(time.Minute) // of the bubble's clock
		if _, looks := s.last("x.wav"); looks != 1 {
			t.Errorf("%d looks after 1000 events", looks)
		}
		if _, looks := s.last("y.part"); looks != 0 {
			t.Error("a temporary name was looked at")
		}
	})
}

func TestOverflow(t *testing.T) {
	dir := t.TempDir()
	var made []*events
	w, s := start(t, watcher.Options{Path: dir, NewEvents: func() (watcher.Events, error) {
		made = append(made, newEvents())
		return made[len(made)-1], nil
	}})
	put(t, dir, "lost/x.wav")
	made[0].recv <- recv{err: watcher.ErrOverflow}
	s.awaitFiles(t, "lost/x.wav")
	s.awaitScans(t, 2)
	if got := w.Health(); got.Overflows != 1 || got.Mode != "events" {
		t.Fatalf("%+v", got)
	}
	// The end of a watch may be among what was lost: all of them are new.
	if !made[0].isClosed() || len(made) != 2 {
		t.Fatalf("%d event sources made, the first closed: %v", len(made), made[0].isClosed())
	}
	s.await(t, "watches", func() bool { return w.Health().Watches == 2 })
	if diff := cmp.Diff(2, len(made[1].Watched())); diff != "" {
		t.Fatal(diff)
	}
}

func TestRescan(t *testing.T) {
	dir := t.TempDir()
	w, s := start(t, watcher.Options{Path: dir, Poll: true})
	put(t, dir, "x.wav")
	w.Rescan()
	s.awaitFiles(t, "x.wav")
	if got := w.Health(); got.Mode != "poll" || got.Why == "" {
		t.Fatalf("%+v", got)
	}
}

func TestScanInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := newSink()
		begin := time.Now()
		run(t, watcher.Options{Path: dir, ScanEvery: 90 * time.Second, NewEvents: func() (watcher.Events, error) {
			return newEvents(), nil
		}}, s)
		time.Sleep(10*90*time.Second + time.Second) // of the bubble's clock
		synctest.Wait()
		scans := s.awaitScans(t, 11)
		if len(scans) != 11 {
			t.Fatalf("%d scans, want 11", len(scans))
		}
		for i, scan := range scans {
			if got, want := scan.Started.Sub(begin), time.Duration(i)*90*time.Second; got != want {
				t.Errorf("scan %d after %v, want %v", i, got, want)
			}
		}
	})
}

// A sink that fails loses nothing: the next scan reports again.
func TestSinkFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		put(t, dir, "x.wav")
		s := newSink()
		s.fail = errors.New("disk full")
		w := run(t, watcher.Options{Path: dir, Poll: true, ScanEvery: time.Minute}, s)
		synctest.Wait()
		if scans := s.awaitScans(t, 1); scans[0].Err == nil || w.Health().Lost != nil {
			t.Fatalf("%+v", scans)
		}
		s.mu.Lock()
		s.fail = nil
		s.mu.Unlock()
		time.Sleep(time.Minute) // of the bubble's clock
		synctest.Wait()
		scans := s.awaitScans(t, 2)
		if _, looks := s.last("x.wav"); len(scans) != 2 || scans[1].Err != nil || looks != 2 {
			t.Fatalf("%+v, %d looks", scans, looks)
		}
	})
}

// Events are served in the middle of a long scan.
func TestEventDuringScan(t *testing.T) {
	dir := t.TempDir()
	for i := range 1200 {
		put(t, dir, strconv.Itoa(i%100), strconv.Itoa(i))
	}
	fake, s := newEvents(), newSink()
	w := watcher.New(watcher.Options{Path: dir, Coalesce: time.Microsecond, NewEvents: func() (watcher.Events, error) { return fake, nil }}, s)
	ctx, cancel := context.WithCancel(t.Context())
	done, started := make(chan error, 1), false
	s.onLook = func(batch []watcher.Entry) {
		if batch[len(batch)-1].Path == "late.wav" && len(s.scans) > 0 {
			t.Error("the event waited for the end of the scan")
		}
		if started {
			return
		}
		started = true
		put(t, dir, "late.wav") // the root has been read already
		for range 2 {           // when the second is taken, the first is among the hints
			fake.recv <- recv{e: watcher.Event{Path: filepath.Join(dir, "late.wav")}}
		}
	}
	go func() { done <- w.Run(ctx) }()
	s.awaitFiles(t, "late.wav")
	s.awaitScans(t, 1)
	cancel()
	if err := errors.Join(<-done, w.Close()); err != nil {
		t.Fatal(err)
	}
	if s.largest > 512 {
		t.Errorf("batch of %d", s.largest)
	}
}

func TestScanOnce(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "x.wav")
	s := newSink()
	w := watcher.New(watcher.Options{Path: dir}, s)
	for i := range 2 {
		if err := w.ScanOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(s.scans) != i+1 || s.scans[i].Files != 1 || w.Root() == nil {
			t.Fatalf("%+v", s.scans)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
