package watcher

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"sync/atomic"
	"time"
)

// session is the life of one opened root: the goroutine that scans and looks,
// and the one that takes events, which must never wait for the first.
type session struct {
	w     *Watcher
	root  *Root
	hints *hints

	watches *watches    // nil while polling
	stop    func()      // ends the event goroutine and the watches
	events  time.Time   // when to try events again, zero: never
	lossy   atomic.Bool // events were lost, among them perhaps the end of a watch
	pass    uint64      // number of the full scan

	tick    *time.Timer   // next quarter of a coalescing window
	scanAt  *time.Timer   // next full scan
	soon    bool          // the next full scan was brought forward
	last    time.Duration // how long the last one took
	broken  chan error    // events ended
	suspect chan struct{} // something happened to the root itself
}

// session opens the root and serves it until ctx ends (nil) or the root is
// lost (the error).
func (w *Watcher) session(ctx context.Context) error {
	w.work.Lock()
	root, err := w.open()
	w.work.Unlock()
	if err != nil {
		return err
	}
	s := &session{
		w: w, root: root, hints: newHints(), stop: func() {},
		tick: time.NewTimer(time.Hour), scanAt: time.NewTimer(0),
		broken: make(chan error, 1), suspect: make(chan struct{}, 1),
	}
	s.tick.Stop()
	s.startEvents(ctx)
	defer func() { s.stop() }()
	check := time.NewTicker(min(checkRoot, w.o.ScanEvery))
	defer check.Stop()
	defer s.tick.Stop()
	defer s.scanAt.Stop()
	return s.loop(ctx, check.C)
}

func (s *session) loop(ctx context.Context, check <-chan time.Time) error {
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-s.scanAt.C:
			err = s.scan(ctx)
		case <-s.w.rescan:
			s.forward()
		case <-s.hints.wake:
			s.tick.Reset(s.w.o.Coalesce / ticks)
		case <-s.tick.C:
			s.w.work.Lock()
			s.serve(ctx)
			s.w.work.Unlock()
		case <-check:
			err = s.root.Check()
		case <-s.suspect:
			if err = s.root.Check(); err == nil {
				s.forward() // moved away and back: its watch is dead
			}
		case cause := <-s.broken:
			s.poll(cause)
			s.forward()
		}
		if err != nil {
			return err
		}
	}
}

// startEvents watches nothing yet: the first scan places the watches.
func (s *session) startEvents(ctx context.Context) {
	s.events = time.Time{}
	if s.w.o.Poll {
		s.w.setMode("poll", "events are switched off in the configuration")
		return
	}
	if name, network, err := FSKind(s.root.Path()); err == nil && network {
		s.w.setMode("poll", name+" is a network or FUSE file system, which gives no events")
		return
	}
	events, err := s.w.o.NewEvents()
	if err != nil {
		s.poll(err)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	watches := newWatches(events, s.root.Path())
	go func() {
		defer close(done)
		s.take(ctx, watches)
	}()
	s.watches = watches
	s.stop = func() {
		cancel()
		_ = events.Close()
		<-done
		s.watches, s.stop = nil, func() {}
		s.w.setWatches(nil)
	}
	s.w.setWatches(watches)
	s.w.setMode("events", "")
}

// poll goes on without events. All watches are given back: with only some of
// them nobody could tell which files arrive at once and which with a scan,
// and the limit is shared with every other program of this user.
func (s *session) poll(err error) {
	s.stop()
	s.events = s.w.o.Now().Add(retryEvents)
	s.w.setMode("poll", watchError(err))
}

// take moves events into the hints as fast as they come.
func (s *session) take(ctx context.Context, watches *watches) {
	for {
		e, err := watches.events.Recv(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrOverflow):
			s.w.overflowed()
			s.lossy.Store(true)
			s.hints.all()
			continue
		case err != nil:
			select {
			case s.broken <- err:
			default: // an older failure is still to be dealt with, in the same way
			}
			return
		}
		rel, ok := watches.rel(e.Path)
		switch {
		case !ok:
		case rel == ".":
			if e.Gone {
				signal(s.suspect)
			}
		case Ignored(path.Base(rel)):
		case e.Gone:
			watches.gone(rel)
		default:
			s.hints.add(rel)
		}
	}
}

// forward brings the next full scan forward. Under an endless overflow scans
// still take at most half of the time.
func (s *session) forward() {
	if !s.soon {
		s.soon = true
		s.scanAt.Reset(min(s.last, s.w.o.ScanEvery))
	}
}

// scan makes a full scan; its only error is a lost root.
func (s *session) scan(ctx context.Context) error {
	s.w.work.Lock()
	defer s.w.work.Unlock()
	s.soon = false
	due := !s.events.IsZero() && !s.w.o.Now().Before(s.events)
	if lossy := s.lossy.Swap(false); due || lossy && s.watches != nil {
		s.stop()
		s.startEvents(ctx)
	}
	if s.watches != nil {
		s.watches.refresh()
	}
	s.pass++
	started := time.Now()
	sc := s.w.scan(ctx, walk{root: s.root, enter: s.enter, step: func(flush func() error) error {
		return s.step(ctx, flush)
	}})
	s.last = time.Since(started)
	if errors.Is(sc.Err, ErrRootLost) {
		return sc.Err
	}
	if s.watches != nil && sc.Err == nil {
		s.watches.prune(s.pass)
	}
	if !s.soon {
		s.scanAt.Reset(s.w.o.ScanEvery)
	}
	return nil
}

// enter places the watch before the directory is read: what is created in it
// from now on makes an event, what was created before is read.
func (s *session) enter(rel string, id inode) {
	if s.watches == nil {
		return
	}
	if err := s.watches.ensure(rel, id, s.pass); err != nil {
		s.poll(err)
	}
}

// step serves events in the middle of a full scan. What the scan saw is
// handed over first, or it would be older than the sink is told.
func (s *session) step(ctx context.Context, flush func() error) error {
	select {
	case <-s.hints.wake:
		s.tick.Reset(s.w.o.Coalesce / ticks)
	case <-s.tick.C:
		if err := flush(); err != nil {
			return err
		}
		s.serve(ctx)
	default:
	}
	return nil
}

// serve looks at what is due.
func (s *session) serve(ctx context.Context) {
	paths, dirs, full, more := s.hints.tick()
	if full {
		s.forward()
	}
	if more {
		s.tick.Reset(s.w.o.Coalesce / ticks)
	}
	fresh, err := s.look(ctx, paths)
	for _, dir := range append(dirs, fresh...) {
		if err == nil {
			err = s.scanDir(ctx, dir)
		}
	}
	if err != nil && ctx.Err() == nil {
		s.w.o.Log.Warn("events not taken, the next scan repeats them", "cause", cause(err))
	}
}

// look hands over the named files and answers the directories among them that
// are not watched yet.
func (s *session) look(ctx context.Context, paths []string) (fresh []string, err error) {
	batch := make([]Entry, 0, min(len(paths), maxBatch))
	for i, p := range paths {
		e, err := s.root.Stat(p)
		switch {
		case err != nil: // gone again, or a scan will say what is wrong
		case e.Kind != Dir:
			batch = append(batch, e)
		case s.watches == nil || !s.watches.has(p, inode{e.Identity.Dev, e.Identity.Ino}):
			fresh = append(fresh, p)
		}
		if len(batch) == maxBatch || i == len(paths)-1 && len(batch) > 0 {
			if err := s.w.sink.Look(ctx, s.w.o.Now(), batch); err != nil {
				return fresh, err
			}
			batch = batch[:0]
		}
	}
	return fresh, nil
}

// scanDir reads one directory, and those below it that are not watched yet.
func (s *session) scanDir(ctx context.Context, dir string) error {
	pass := walk{
		root: s.root, batch: maxBatch, enter: s.enter,
		emit: func(batch []Entry) error { return s.w.sink.Look(ctx, s.w.o.Now(), batch) },
		descend: func(rel string, id inode) bool {
			return s.watches == nil || !s.watches.has(rel, id)
		},
	}
	err := pass.run(ctx, dir)
	var unreadable *Unreadable
	var refused *Refused
	var path *fs.PathError
	if errors.As(err, &unreadable) || errors.As(err, &refused) || errors.As(err, &path) {
		return nil // the next full scan reports it, if it is still so
	}
	return err
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
