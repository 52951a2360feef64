package pipeline

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"ingestd/internal/ledger"
	"ingestd/internal/watcher"
)

const (
	dueBatch  = 128                    // rows taken from the ledger at once
	docsAhead = 4                      // documents taken for each recording: one that comes before its document is looked at twice
	atOnce    = 64                     // documents or recordings worked on side by side; most of them wait for the same commit
	hashing   = 8                      // recordings read at the same time
	recheck   = 5 * time.Second        // pause after an error of ours that waiting may cure
	idleBeat  = time.Minute            // an idle loop shows that it lives at least this often
	gathering = 100 * time.Millisecond // accepted deliveries are looked after together
)

// feed is the intake of one source. The watcher calls its Look; everything
// that has a due time is taken from the ledger by its loop.
type feed struct {
	p          *Pipeline
	src        Source
	watch      *watcher.Watcher
	woken      signal
	scanned    chan struct{} // closed after the first full scan
	reading    chan []byte   // a buffer for each of those who read a whole recording
	first      atomic.Int64  // when that was, unix nanoseconds; 0: not yet
	soon       atomic.Bool   // see wakeSoon
	unfinished atomic.Bool   // moves that a stop or an error interrupted are to be finished
}

func newFeed(p *Pipeline, s Source) *feed {
	f := &feed{p: p, src: s, woken: newSignal(), scanned: make(chan struct{}), reading: make(chan []byte, hashing)}
	for range hashing {
		f.reading <- make([]byte, hashBuffer)
	}
	f.unfinished.Store(true) // by the last stop
	f.watch = watcher.New(watcher.Options{
		Path: s.Path, ScanEvery: s.ScanEvery, Now: p.now,
		Log: p.log.With("source", s.Name), Poll: p.opt.Poll,
	}, f)
	return f
}

func (f *feed) wake() { f.woken.set() }

// wakeSoon wakes after a moment, once for all that ask for it until then: a
// round of the loop costs more than what follows from one accepted delivery.
func (f *feed) wakeSoon() {
	if f.soon.CompareAndSwap(false, true) {
		time.AfterFunc(gathering, func() {
			f.soon.Store(false)
			f.wake()
		})
	}
}

func (f *feed) run(ctx, hard context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if f.p.opt.OneScan || f.p.opt.DryRun {
			return f.watch.ScanOnce(ctx)
		}
		return f.watch.Run(ctx)
	})
	group.Go(func() error { return f.loop(ctx, hard) })
	return group.Wait()
}

// Scanned ends a full scan: the loop may now believe that what is not in the
// ledger is not there.
func (f *feed) Scanned(_ context.Context, s watcher.Scan) error {
	f.p.Beat()
	if s.Err != nil {
		f.p.log.Warn("source unavailable", "source", f.src.Name, "error", pathless(s.Err))
		return nil
	}
	if len(s.Unreadable) > 0 {
		f.p.log.Warn("directories could not be read; their files are not lost, the next scan tries again",
			"source", f.src.Name, "directories", len(s.Unreadable))
	}
	if f.first.CompareAndSwap(0, f.p.now().UnixNano()) {
		close(f.scanned)
	}
	f.wake()
	return nil
}

// documentsKnown is when the documents that lie in the drop directory since
// before this start have surely settled and been read: before that, nothing
// may be concluded from a missing one.
func (f *feed) documentsKnown() time.Time {
	settled := 3*f.src.Rule.Quiet + time.Second
	if first := f.first.Load(); first != 0 {
		return time.Unix(0, first).Add(settled)
	}
	return f.p.now().Add(settled)
}

// rule is the source's completeness rule; a dry run takes files as they are.
func (f *feed) rule() watcher.Rule {
	if f.p.opt.DryRun {
		return watcher.Rule{}
	}
	return f.src.Rule
}

// documentRule: markers and sidecars speak for media only, and a growing list
// need not be quiet.
func (f *feed) documentRule(rel string) watcher.Rule {
	r := f.rule()
	if _, growing := f.growing(rel); growing {
		r.Quiet = 0
	}
	if r.Complete.Kind != watcher.Rename {
		r.Complete = watcher.Complete{}
	}
	return r
}

// loop takes what is due from the ledger until ctx ends.
func (f *feed) loop(ctx, hard context.Context) error {
	for f.p.await(ctx) {
		now := f.p.now()
		worked, err := f.work(ctx, hard, now)
		f.p.Beat()
		switch {
		case err != nil && (errors.Is(err, ledger.ErrFenced) || ctx.Err() != nil):
			return nil // Run reports the fence
		case err != nil:
			f.p.log.Error("intake", "source", f.src.Name, "error", err)
			sleepUntil(ctx, f.woken, f.p.now(), f.p.now().Add(recheck))
		case !worked:
			if f.p.opt.DryRun && f.finished(ctx) {
				return nil
			}
			next, ok, err := f.p.ledger.NextDue(ctx, f.src.Name)
			switch {
			case err != nil || !ok || next.After(now.Add(idleBeat)):
				next = now.Add(idleBeat)
			case !next.After(now):
				next = now.Add(recheck) // due, but the source is unavailable
			}
			sleepUntil(ctx, f.woken, f.p.now(), next)
		}
	}
	return nil
}

// work does one round: documents first, so that recordings find them.
func (f *feed) work(ctx, hard context.Context, now time.Time) (bool, error) {
	if f.watch.Root() == nil {
		return false, nil // the source is unavailable; nothing may be concluded from that
	}
	if f.unfinished.Load() && !f.p.opt.DryRun {
		f.unfinished.Store(false)
		if err := f.finishMoves(hard); err != nil {
			f.unfinished.Store(true)
			return false, fmt.Errorf("finish interrupted moves: %w", err)
		}
	}
	docs, err := f.p.ledger.DueDocuments(ctx, f.src.Name, now, docsAhead*dueBatch)
	if err != nil {
		return false, err
	}
	err = sideBySide(ctx, docs, func(ctx context.Context, d ledger.Document) error {
		return f.orLater(ctx, "document", d.ID, f.guarded("document", d.ID, func() error { return f.document(ctx, d) }), func(r ledger.Relook) error {
			r.ID, r.Ver, r.Look = d.ID, d.Ver, d.Look
			return f.p.ledger.RelookDocuments(ctx, []ledger.Relook{r})
		})
	})
	if err != nil {
		return false, err
	}
	changed, err := f.lateChanges(ctx, now)
	if err != nil {
		return false, err
	}
	recs, err := f.p.ledger.DueRecordings(ctx, f.src.Name, now, dueBatch)
	if err != nil {
		return false, err
	}
	err = sideBySide(ctx, recs, func(ctx context.Context, r ledger.Recording) error {
		return f.orLater(ctx, "recording", r.ID, f.guarded("recording", r.ID, func() error { return f.recording(ctx, r) }), func(again ledger.Relook) error {
			if r.Reason == whyUnreadable && now.After(r.Look.Since.Add(f.src.WaitForSidecar)) {
				_, err := f.p.ledger.Decide(ctx, r.ID, r.Ver, quarantine("io_error",
					"reading it failed again and again; look at its disk, then `ingestd retry`"))
				return err
			}
			again.ID, again.Ver, again.Look = r.ID, r.Ver, r.Look
			return f.p.ledger.RelookRecordings(ctx, []ledger.Relook{again})
		})
	})
	if err != nil {
		return false, err
	}
	disposed := 0
	if !f.p.opt.DryRun {
		if disposed, err = f.dispose(hard); err != nil {
			return false, err
		}
	}
	return len(docs)+changed+len(recs)+disposed > 0, nil
}

// orLater puts a row off whose file could not be read, so that it does not
// stand in the way of the others. Errors that concern the whole source or the
// ledger are returned.
func (f *feed) orLater(ctx context.Context, what string, id int64, err error, put func(ledger.Relook) error) error {
	root := f.watch.Root()
	var errno syscall.Errno
	switch {
	case errors.Is(err, errPanic):
		return put(ledger.Relook{Due: f.p.now().Add(idleBeat), Why: "crash", Text: "the program failed while it looked at this file; report it"})
	case err == nil || ctx.Err() != nil || errors.Is(err, ledger.ErrStale) || !errors.As(err, &errno):
		return err
	case root == nil || root.Check() != nil:
		return err
	}
	f.p.log.Warn(what+" cannot be read; it is tried again", "source", f.src.Name, what, id, "error", errno)
	return put(ledger.Relook{Due: f.p.now().Add(idleBeat), Why: whyUnreadable})
}

// guarded turns a panic over one row into an error of that row. Without it one
// file would take the program down, at every start anew.
func (f *feed) guarded(what string, id int64, work func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			f.p.log.Error("intake panicked", "source", f.src.Name, what, id, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	return work()
}

// whyUnreadable is why a row that could not be read settles on. When that
// lasts longer than a sidecar would be waited for, a person must look.
const whyUnreadable = "unreadable"

// sideBySide works on the rows of one batch a few at a time, so that their
// commits share transactions. A row that changed meanwhile is left for the
// next round.
func sideBySide[T any](ctx context.Context, rows []T, work func(context.Context, T) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, row := range rows {
		group.Go(func() error {
			if err := work(ctx, row); err != nil && !errors.Is(err, ledger.ErrStale) {
				return err
			}
			return nil
		})
	}
	return group.Wait()
}

// finished tells a dry run that the scan is over and nothing is due.
func (f *feed) finished(ctx context.Context) bool {
	select {
	case <-f.scanned:
	default:
		return false
	}
	next, ok, err := f.p.ledger.NextDue(ctx, f.src.Name)
	return err == nil && (!ok || next.After(f.p.now().Add(time.Second)))
}

func paths(entries []watcher.Entry) []string {
	out := make([]string, len(entries))
	for i, e := range entries {
		out[i] = e.Path
	}
	return out
}

func identity(id watcher.Identity) ledger.Identity { return ledger.Identity(id) }

func ledgerLook(l watcher.Look) ledger.Look {
	return ledger.Look{Identity: identity(l.Identity), Since: l.Since, Looks: l.Looks}
}

func watcherLook(l ledger.Look) watcher.Look {
	return watcher.Look{Identity: watcher.Identity(l.Identity), Since: l.Since, Looks: l.Looks}
}

// here tells whether the drop directory can be read now: an unmounted one says
// nothing about its files.
func (f *feed) here() bool {
	root := f.watch.Root()
	return root != nil && root.Check() == nil
}
