package watcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"
)

const (
	retryRoot   = time.Second      // between tries to open a lost root
	checkRoot   = time.Second      // between looks whether the root is still there: while it is held, its deletion makes no event
	retryEvents = 10 * time.Minute // between tries to leave polling after a limit
)

// Sink takes what the watcher sees. Its methods are called one at a time; the
// watcher waits for them, and events meanwhile only wait longer.
type Sink interface {
	// Look is at most 512 entries as they were at the instant at, which never
	// goes back between calls unless the clock does. Files that did not change
	// are reported by every full scan. The slice is valid during the call. An
	// error ends a scan; the next scan reports the entries again.
	Look(ctx context.Context, at time.Time, batch []Entry) error
	// Scanned says that a full scan ended, or could not be made.
	Scanned(ctx context.Context, s Scan) error
}

// Scan is the result of one full scan. Unless Err is nil, what was not
// reported may still be there.
type Scan struct {
	Started, Ended time.Time
	Files          int      // entries handed to the sink
	Unreadable     []string // directories that could not be read, at most 20
	Err            error    // the scan is not whole: ErrRootLost, or the sink's error
}

// Options say what to watch and how. Path is required.
type Options struct {
	Path      string
	ScanEvery time.Duration          // from the end of one full scan to the next; default 60 s
	Coalesce  time.Duration          // how long a path must be quiet before it is looked at; default 20 ms
	Poll      bool                   // scans only, no events
	Now       func() time.Time       // default time.Now
	Log       *slog.Logger           // default: nothing is logged
	NewEvents func() (Events, error) // default: fsnotify
}

// Health is how the watcher is doing. Why explains Mode "poll", Lost a root
// that is not there; both are sentences for the operator.
type Health struct {
	Mode      string // "events" or "poll"; empty before the first scan
	Why       string
	LastScan  Scan
	Lost      error
	Watches   int // directories watched
	Overflows int // times that events were lost and a full scan made good
}

// Watcher watches one directory tree. Its methods are safe for concurrent use.
type Watcher struct {
	o    Options
	sink Sink

	rescan chan struct{}

	work  sync.Mutex // one scan or look at a time
	mount string     // where the root's file system was mounted; guarded by work

	mu      sync.Mutex
	root    *Root
	watches *watches // nil while polling
	health  Health
}

// New makes a watcher; nothing is opened before Run or ScanOnce.
func New(o Options, s Sink) *Watcher {
	if o.ScanEvery <= 0 {
		o.ScanEvery = time.Minute
	}
	if o.Coalesce <= 0 {
		o.Coalesce = 20 * time.Millisecond
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.NewEvents == nil {
		o.NewEvents = newInotify
	}
	return &Watcher{o: o, sink: s, rescan: make(chan struct{}, 1)}
}

// Run watches until ctx ends, then answers nil. Whatever happens to the
// directory or to the events is survived and shown in Health. The root stays
// open for what is still to be moved; Close gives it back.
func (w *Watcher) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := w.session(ctx)
		if err == nil {
			break
		}
		w.lost(ctx, err)
		select {
		case <-ctx.Done():
		case <-time.After(min(retryRoot, w.o.ScanEvery)):
		}
	}
	return nil
}

// ScanOnce makes one full scan now, without events. It answers an error if
// the scan is not whole because of the root or the sink; unreadable
// directories are only reported to the sink.
func (w *Watcher) ScanOnce(ctx context.Context) error {
	w.work.Lock()
	defer w.work.Unlock()
	root, err := w.open()
	if err != nil {
		w.lost(ctx, err)
		return err
	}
	return w.scan(ctx, walk{root: root}).Err
}

// Rescan asks a running watcher for a full scan soon.
func (w *Watcher) Rescan() {
	signal(w.rescan)
}

// Health is the state right now.
func (w *Watcher) Health() Health {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.health
	if w.watches != nil {
		h.Watches = w.watches.count()
	}
	return h
}

// Root is the watched directory, or nil while it is lost. A root that is
// replaced is closed: its methods then answer os.ErrClosed.
func (w *Watcher) Root() *Root {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.root
}

// Close gives the directory back, after Run has ended.
func (w *Watcher) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.root == nil {
		return nil
	}
	root := w.root
	w.root = nil
	return root.Close()
}

// open answers the current root if it still is the path's, else a new one.
// It needs work.
func (w *Watcher) open() (*Root, error) {
	if root := w.Root(); root != nil {
		return root, root.Check()
	}
	root, err := OpenRoot(w.o.Path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRootLost, err)
	}
	if w.mount != "" && unmounted(w.mount, statMount) {
		_ = root.Close()
		return nil, fmt.Errorf("%w: nothing is mounted at %q any more", ErrRootLost, w.mount)
	}
	// Unknown without statx; then an unmounted volume looks like an empty one.
	w.mount, _ = mountPoint(root.Path(), statMount)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.health.Lost != nil {
		w.o.Log.Info("watched directory is back")
	}
	w.root, w.health.Lost = root, nil
	return root, nil
}

// lost closes the root and tells once.
func (w *Watcher) lost(ctx context.Context, err error) {
	w.mu.Lock()
	first := w.health.Lost == nil
	w.health.Lost = err
	if w.root != nil {
		_ = w.root.Close()
		w.root = nil
	}
	w.mu.Unlock()
	if !first {
		return
	}
	w.o.Log.Warn("watched directory lost", "cause", cause(err))
	now := w.o.Now()
	w.scanned(ctx, Scan{Started: now, Ended: now, Err: err})
}

// scan makes one full pass with the hooks of pass. It needs work.
func (w *Watcher) scan(ctx context.Context, pass walk) Scan {
	sc := Scan{Started: w.o.Now()}
	pass.batch = maxBatch
	pass.emit = func(batch []Entry) error {
		sc.Files += len(batch)
		return w.sink.Look(ctx, w.o.Now(), batch)
	}
	sc.Err = pass.root.Check()
	if sc.Err == nil {
		sc.Err = pass.run(ctx, ".")
	}
	var unreadable *Unreadable
	if errors.As(sc.Err, &unreadable) {
		sc.Unreadable, sc.Err = unreadable.Dirs, nil
	}
	if lost := pass.root.Check(); lost != nil {
		sc.Err = lost // a directory that was deleted reads as an empty one
	}
	sc.Ended = w.o.Now()
	w.scanned(ctx, sc)
	return sc
}

func (w *Watcher) scanned(ctx context.Context, sc Scan) {
	w.mu.Lock()
	w.health.LastScan = sc
	w.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	if err := w.sink.Scanned(ctx, sc); err != nil {
		w.o.Log.Warn("end of scan not taken", "cause", cause(err))
	}
}

func (w *Watcher) setMode(mode, why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.health.Mode != mode || w.health.Why != why {
		w.o.Log.Info("watch mode", "mode", mode, "why", why)
	}
	w.health.Mode, w.health.Why = mode, why
}

func (w *Watcher) setWatches(ws *watches) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watches = ws
}

func (w *Watcher) overflowed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.health.Overflows++
}

// cause is what of an error may be logged: never a path.
func cause(err error) string {
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, ErrRootLost):
		return "replaced or unmounted"
	default:
		return "refused by the receiver"
	}
}
