package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

var errClosed = errors.New("ledger is closed")

const (
	writeTimeout = time.Minute // how long a caller waits for its commit
	maxBatch     = 256         // writes that share one commit
	maxYields    = 4           // turns left to others before a commit
)

// retryPauses are the waits after SQLITE_FULL and SQLITE_BUSY; the last one
// repeats. BUSY has waited busy_timeout each time already.
func retryPauses() []time.Duration {
	return []time.Duration{100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second, 5 * time.Second}
}

// writer is the group commit: one goroutine owns the writing connection. The
// writes that arrive while a commit waits for the disk share the next
// transaction, so that many workers pay for one fsync. The error of a write
// undoes only itself. All are answered after the commit.
type writer struct {
	conn     *sql.Conn
	raw      driver.Conn // conn's own, for the batch under way
	stmts    map[string]statement
	args     []driver.NamedValue // buffer of bind
	ops      chan *op
	quit     chan struct{} // closed by close
	stopped  chan struct{} // closed when the goroutine has ended
	fenced   chan struct{}
	fenceMu  sync.Mutex
	cause    error // why it fenced
	boot     string
	now      func() time.Time
	timeout  time.Duration
	pauses   []time.Duration
	makeRoom func()       // called once on SQLITE_FULL: gives the ballast back
	reached  func(int64)  // told the last event of every commit, before its writers are answered; 0: it had none
	stuck    atomic.Value // string: code of the Trouble that commits wait for
	commit   func() error // COMMIT; tests put errors here
	commits  atomic.Int64 // successful ones
}

// op is one write.
type op struct {
	ctx   context.Context // the caller's own
	fn    func(*tx) error
	err   error      // of fn
	done  chan error // buffered
	taken atomic.Bool
}

func newWriter(conn *sql.Conn, boot string, now func() time.Time) *writer {
	w := &writer{
		conn: conn, stmts: map[string]statement{}, ops: make(chan *op, maxBatch),
		quit: make(chan struct{}), stopped: make(chan struct{}), fenced: make(chan struct{}),
		boot: boot, now: now, timeout: writeTimeout, pauses: retryPauses(), makeRoom: func() {}, reached: func(int64) {},
	}
	w.commit = func() error { return w.exec("COMMIT") }
	return w
}

// write runs fn in a durable transaction and returns after its commit. The
// caller's cancellation does not reach it: an effect that happened outside
// must be recorded also during a shutdown.
func (w *writer) write(ctx context.Context, what string, fn func(*tx) error) error {
	select {
	case <-w.fenced:
		return w.fencedErr(what)
	default:
	}
	timeout := time.NewTimer(w.timeout)
	defer timeout.Stop()
	o := &op{ctx: ctx, fn: fn, done: make(chan error, 1)}
	select {
	case w.ops <- o:
	case <-w.stopped:
		return fmt.Errorf("%s: %w", what, errClosed)
	case <-timeout.C:
		return fmt.Errorf("%s: not written, the ledger is too slow: %w", what, context.DeadlineExceeded)
	}
	select {
	case err := <-o.done:
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	case <-w.stopped:
		select { // answered just before the end
		case err := <-o.done:
			return err
		default:
			return fmt.Errorf("%s: %w", what, errClosed)
		}
	case <-timeout.C:
		if err := w.giveUp(o, context.DeadlineExceeded); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	}
}

// run is the goroutine.
func (w *writer) run() {
	defer close(w.stopped)
	for {
		select {
		case o := <-w.ops:
			w.flush(w.gather(o))
		case <-w.quit:
			for {
				select {
				case o := <-w.ops:
					w.flush(w.gather(o))
				default:
					return
				}
			}
		}
	}
}

// gather takes what waits beside the first write. While it gets more it lets
// the other goroutines run before it looks again: under load many are about
// to write and share the commit, and when nobody is it costs no time.
func (w *writer) gather(first *op) []*op {
	var batch []*op
	for o := first; o != nil && len(batch) < maxBatch; o = w.another() {
		if o.taken.CompareAndSwap(false, true) {
			batch = append(batch, o)
		}
	}
	return batch
}

// another is the next write, nil if nobody has one.
func (w *writer) another() *op {
	for range maxYields {
		select {
		case o := <-w.ops:
			return o
		default:
			runtime.Gosched()
		}
	}
	select {
	case o := <-w.ops:
		return o
	default:
		return nil
	}
}

// flush commits a batch and answers its callers. A full disk or a foreign
// lock is waited for (persist); anything else that goes wrong with the
// transaction as a whole fences, because a COMMIT that failed may still have
// happened.
func (w *writer) flush(batch []*op) {
	var err error
	if w.fenceErr() != nil {
		err = ErrFenced
	} else {
		batch, err = w.persist(batch)
	}
	if err != nil && !errors.Is(err, errClosed) {
		w.fence(err)
		err = fmt.Errorf("%w: %w", ErrFenced, w.fenceErr())
	}
	for _, o := range batch {
		if err != nil {
			o.done <- err
		} else {
			o.done <- o.err
		}
	}
}

// commitBatch commits the writes in one transaction. Its error is about the
// transaction; errors of single writes are left in their op.
//
// Errors are rare and savepoints dear: SQLite copies every page that a write
// touches. So they are used only when a write has failed that has company:
// then all begins anew.
func (w *writer) commitBatch(batch []*op) error {
	if len(batch) == 0 {
		return nil
	}
	return w.conn.Raw(func(c any) error {
		w.raw = c.(driver.Conn)
		ended := false
		defer func() {
			if !ended { // a write panicked: the connection is closed next, its statements go first
				w.finalize()
			}
		}()
		spoiled, err := w.try(batch, false)
		if err == nil && spoiled && len(batch) > 1 {
			_, err = w.try(batch, true)
		}
		ended = true
		return err
	})
}

// try runs the writes in one transaction, each in a savepoint of its own if
// they are to be kept apart. Otherwise the first error of a write spoils all,
// and nothing is committed.
func (w *writer) try(batch []*op, apart bool) (spoiled bool, err error) {
	if err := w.exec("BEGIN IMMEDIATE"); err != nil {
		return false, fmt.Errorf("begin: %w", err)
	}
	open := true
	defer func() {
		if open {
			// Some errors have rolled back already; then there is nothing to do.
			_ = w.exec("ROLLBACK")
		}
	}()
	t := &tx{w: w, at: w.now().UnixMilli()}
	good := 0
	for _, o := range batch {
		if apart {
			err = w.runApart(t, o)
		} else if o.err = o.fn(t); broken(o.err) {
			err = o.err
		}
		switch {
		case err != nil:
			return false, err
		case o.err == nil:
			good++
		case !apart:
			return true, nil
		}
	}
	if good == 0 {
		return false, nil // nothing to commit
	}
	if err := t.failAround(".before"); err != nil {
		return false, fmt.Errorf("commit: %w", err)
	}
	if err := w.commit(); err != nil {
		return false, fmt.Errorf("commit: %w", err)
	}
	open = false
	w.commits.Add(1)
	w.reached(t.last)
	return false, t.failAround(".after")
}

// runApart runs one write in a savepoint, so that its error undoes only
// itself.
func (w *writer) runApart(t *tx, o *op) error {
	if err := w.exec("SAVEPOINT op"); err != nil {
		return fmt.Errorf("savepoint: %w", err)
	}
	last := t.last
	if o.err = o.fn(t); broken(o.err) {
		return o.err
	}
	if o.err != nil {
		t.last = last // its events are undone with it
		if err := w.exec("ROLLBACK TO op"); err != nil {
			return fmt.Errorf("roll back one write: %w", err)
		}
	}
	if err := w.exec("RELEASE op"); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	return nil
}

// close ends the goroutine after the writes under way.
func (w *writer) close() {
	close(w.quit)
	<-w.stopped
	_ = w.conn.Raw(func(any) error { // closed already: so are they
		w.finalize()
		return nil
	})
}

// finalize closes the prepared statements: a connection that has any stays
// open, whatever is said to it.
func (w *writer) finalize() {
	for _, s := range w.stmts {
		s.Close()
	}
	clear(w.stmts)
}

func (w *writer) fence(err error) {
	w.fenceMu.Lock()
	defer w.fenceMu.Unlock()
	if w.cause == nil {
		w.cause = err
		close(w.fenced)
	}
}

func (w *writer) fenceErr() error {
	w.fenceMu.Lock()
	defer w.fenceMu.Unlock()
	return w.cause
}

func (w *writer) fencedErr(what string) error {
	return fmt.Errorf("%s: %w: %w", what, ErrFenced, w.fenceErr())
}
