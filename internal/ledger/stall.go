package ledger

import (
	"errors"
	"fmt"
	"time"

	"github.com/mattn/go-sqlite3"
)

// Trouble is why the ledger should be given no new work for now. It passes by
// itself, or when somebody makes room.
type Trouble struct {
	Code string `json:"code"` // one of the constants below
	Text string `json:"text"` // what is wrong
	Hint string `json:"hint"` // what to do
}

// Codes of Trouble.
const (
	TroubleSpace  = "space"  // little space is left: nothing new is begun before it is full
	TroubleFull   = "full"   // a commit found no space
	TroubleLocked = "locked" // another program keeps the ledger locked
)

// troubleOf is the sentence for a code, for whoever runs the ledger in dir.
func troubleOf(code, dir string) *Trouble {
	t := &Trouble{Code: code, Hint: "make room there; work goes on by itself"}
	switch code {
	case TroubleSpace:
		t.Text = "little space is left on the file system of " + dir + ": nothing new is taken in or sent"
	case TroubleFull:
		t.Text = "the file system of " + dir + " is full: nothing new is taken in or sent, results are kept in memory"
	case TroubleLocked:
		t.Text = "another program keeps the ledger locked: nothing new is taken in or sent, results are kept in memory"
		t.Hint = "end it (lsof names it); a shell may open the ledger with sqlite3 -readonly only"
	default:
		return nil
	}
	return t
}

// errNotWritten: the write did not happen and never will.
var errNotWritten = errors.New("not written")

// persist commits a batch. A full disk and a foreign lock are waited for as
// long as the program lives: what the writes record has happened outside and
// is known only here. Meanwhile a caller whose time is over, or whose context
// has ended, takes its write back, and new writes join. It returns those that
// the outcome is about.
func (w *writer) persist(batch []*op) ([]*op, error) {
	err := w.commitBatch(batch)
	if err == nil || !transient(err) {
		return batch, err
	}
	defer w.stuck.Store("")
	roomy := false
	for n := 0; ; n++ {
		pause := time.NewTimer(w.pauses[min(n, len(w.pauses)-1)])
		code := TroubleLocked
		if is, _ := sqliteCode(err); is == sqlite3.ErrFull {
			code = TroubleFull
		}
		w.stuck.Store(code)
		if code == TroubleFull && !roomy {
			roomy = true
			w.makeRoom()
			pause.Reset(0)
		}
		batch = w.release(batch)
		select {
		case <-w.quit: // recovery deals with what was not recorded
			return w.retake(batch), errClosed
		case <-pause.C:
		}
		batch = w.join(w.retake(batch))
		if len(batch) == 0 {
			err = w.commitBatch([]*op{{fn: probeWrite, done: make(chan error, 1)}})
		} else {
			err = w.commitBatch(batch)
		}
		if err == nil || !transient(err) {
			return batch, err
		}
	}
}

// probeWrite changes nothing, durably: does a commit succeed again?
func probeWrite(t *tx) error { return t.exec("UPDATE meta SET clean = 0") }

// release lets callers take their writes back, and answers those whose
// context has ended: the program stops.
func (w *writer) release(batch []*op) []*op {
	kept := batch[:0]
	for _, o := range batch {
		if o.ctx.Err() != nil {
			o.done <- fmt.Errorf("%w: the ledger has to wait: %w", errNotWritten, o.ctx.Err())
			continue
		}
		o.taken.Store(false)
		kept = append(kept, o)
	}
	return kept
}

// retake takes the writes that were not taken back.
func (w *writer) retake(batch []*op) []*op {
	kept := batch[:0]
	for _, o := range batch {
		if o.taken.CompareAndSwap(false, true) {
			kept = append(kept, o)
		}
	}
	return kept
}

// join adds what waits in the queue.
func (w *writer) join(batch []*op) []*op {
	for len(batch) < maxBatch {
		select {
		case o := <-w.ops:
			if o.taken.CompareAndSwap(false, true) {
				batch = append(batch, o)
			}
		default:
			return batch
		}
	}
	return batch
}

// giveUp ends the wait of a caller whose time is over. While the writer waits
// for space or a lock the write is not under way most of the time, and is
// taken back; otherwise its outcome is not known.
func (w *writer) giveUp(o *op, cause error) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if o.taken.CompareAndSwap(false, true) {
			return fmt.Errorf("%w, the ledger is too slow: %w", errNotWritten, cause)
		}
		if w.waitsFor() == "" {
			return fmt.Errorf("%w: %w", ErrUnknown, cause)
		}
		select {
		case err := <-o.done:
			return err
		case <-tick.C:
		}
	}
}

// waitsFor is the code of what the writer waits for; "": nothing.
func (w *writer) waitsFor() string {
	code, _ := w.stuck.Load().(string)
	return code
}
