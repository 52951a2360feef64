package senders

import "errors"

// How a gate ends: by Close, by an answer, by the end of its attempt. All of
// these may come while a Read is running.

// begin notes that a Read runs; false once Close was called, or when the
// answer came before the gate opened.
func (g *Gate) begin() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.arriving && !g.over && !g.closing && !g.passed.Load() {
		g.change.Wait()
	}
	g.reading = !g.closing && (!g.arriving || g.passed.Load())
	return g.reading
}

// answering says that the first byte of an answer came (or that it was only
// an interim one). While it arrives no further byte goes out: on a connection
// that is kept, net/http would send the body after a refusal, and an error
// from Read would make it drop the answer.
func (g *Gate) answering(arriving bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.arriving = arriving
	g.change.Broadcast()
}

func (g *Gate) isOver() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.over || g.arriving || g.closing || g.ctx.Err() != nil
}

func (g *Gate) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reading = false
	if g.closing {
		g.finish()
	}
}

// Close ends the body. It does not wait for a Read that is still running (a
// commit on a frozen disk); [Gate.Closed] does.
func (g *Gate) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closing {
		g.closing = true
		g.change.Broadcast()
		if !g.reading {
			g.finish()
		}
	}
	return nil
}

func (g *Gate) finish() {
	// The descriptor was only read: its close error can hide nothing.
	_ = g.media.Close()
	close(g.closed)
}

// End says that the attempt was answered or cancelled: a gate that has not
// opened stays shut. Bytes before the tail may still flow, and a tail that
// was released is not recalled.
func (g *Gate) End() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
	g.change.Broadcast()
}

// Closed is closed after Close, when no Read runs any more. An attempt must
// not be classified before that.
func (g *Gate) Closed() <-chan struct{} { return g.closed }

// Passed reports whether the tail may have left, or the row may say so.
func (g *Gate) Passed() bool { return g.passed.Load() }

// Sent is the number of body bytes handed out so far.
func (g *Gate) Sent() int64 { return g.sent.Load() }

// Err is why the gate itself stopped, as an *Error: the file changed or could
// not be read, or the ledger refused. Nil when it did not. Valid after Closed.
func (g *Gate) Err() *Error {
	select {
	case <-g.closed:
		var e *Error
		errors.As(g.err, &e)
		return e
	default:
		return nil // a Read still runs and owns the error
	}
}
