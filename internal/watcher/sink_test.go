package watcher_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"ingestd/internal/watcher"
)

// sink remembers what it was told and wakes whoever waits for it.
type sink struct {
	mu      sync.Mutex
	seen    map[string]watcher.Entry
	looks   map[string]int
	scans   []watcher.Scan
	largest int
	fail    error // answered by Look
	changed chan struct{}
	onLook  func([]watcher.Entry)
}

func newSink() *sink {
	return &sink{seen: map[string]watcher.Entry{}, looks: map[string]int{}, changed: make(chan struct{}, 1)}
}

func (s *sink) Look(_ context.Context, _ time.Time, batch []watcher.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.onLook != nil {
		s.onLook(batch)
	}
	s.largest = max(s.largest, len(batch))
	for _, e := range batch {
		s.seen[e.Path] = e
		s.looks[e.Path]++
	}
	s.wake()
	return s.fail
}

func (s *sink) Scanned(_ context.Context, sc watcher.Scan) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scans = append(s.scans, sc)
	s.wake()
	return nil
}

func (s *sink) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// await blocks until cond holds. The deadline is generous: it only ends a
// test that has failed.
func (s *sink) await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		s.mu.Lock()
		ok := cond()
		s.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-s.changed:
		case <-ctx.Done():
			s.mu.Lock()
			defer s.mu.Unlock()
			t.Fatalf("waited in vain for: %s (%d files seen, %d scans)", what, len(s.seen), len(s.scans))
		}
	}
}

func (s *sink) awaitFiles(t *testing.T, paths ...string) {
	t.Helper()
	for _, p := range paths {
		s.await(t, p, func() bool { _, ok := s.seen[p]; return ok })
	}
}

func (s *sink) awaitScans(t *testing.T, n int) []watcher.Scan {
	t.Helper()
	s.await(t, "scans", func() bool { return len(s.scans) >= n })
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]watcher.Scan(nil), s.scans...)
}

// last is the entry that was reported last for a path, and how often one was.
func (s *sink) last(path string) (e watcher.Entry, looks int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[path], s.looks[path]
}

// start runs a watcher until the test ends and waits for its first scan.
// Unless the test says otherwise the next scan is an hour away: what is seen
// after the first was seen by an event.
func start(t *testing.T, o watcher.Options) (*watcher.Watcher, *sink) {
	t.Helper()
	s := newSink()
	return run(t, o, s), s
}

func run(t *testing.T, o watcher.Options, s *sink) *watcher.Watcher {
	t.Helper()
	if o.ScanEvery == 0 {
		o.ScanEvery = time.Hour
	}
	w := watcher.New(o, s)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		if err := w.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	s.awaitScans(t, 1)
	return w
}

func put(t *testing.T, parts ...string) {
	t.Helper()
	path := filepath.Join(parts...)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("recording"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// events is a watch that the test works by hand.
type events struct {
	mu      sync.Mutex
	watched map[string]bool
	add     func(dir string) error // nil: works
	recv    chan recv
	closed  chan struct{}
}

type recv struct {
	e   watcher.Event
	err error
}

func newEvents() *events {
	return &events{watched: map[string]bool{}, recv: make(chan recv), closed: make(chan struct{})}
}

func (f *events) Add(dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.add != nil {
		if err := f.add(dir); err != nil {
			return err
		}
	}
	f.watched[dir] = true
	return nil
}

func (f *events) Remove(dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.watched, dir)
	return nil
}

func (f *events) Watched() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	dirs := make([]string, 0, len(f.watched))
	for dir := range f.watched {
		dirs = append(dirs, dir)
	}
	return dirs
}

func (f *events) Recv(ctx context.Context) (watcher.Event, error) {
	select {
	case <-ctx.Done():
		return watcher.Event{}, ctx.Err()
	case r := <-f.recv:
		return r.e, r.err
	}
}

func (f *events) Close() error {
	close(f.closed)
	return nil
}

func (f *events) isClosed() bool {
	select {
	case <-f.closed:
		return true
	default:
		return false
	}
}
