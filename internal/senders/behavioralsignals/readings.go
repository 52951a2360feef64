package behavioralsignals

import (
	"context"
	"sync"
	"time"

	"ingestd/internal/senders"
)

// question is one delivery that is looked for in the list.
type question struct {
	key     string
	began   time.Time
	verdict senders.Verdict
	err     error
	done    bool // guarded by readings.mu
}

// readings lets questions share the readings of the list, one at a time: after
// an outage every worker has one, and the list may have a hundred pages. A
// question is answered by a reading that began after it was asked. The zero
// value is ready.
type readings struct {
	mu      sync.Mutex
	waiting []*question
	running chan struct{} // closed when the reading under way ends; nil: none is
}

// share has q answered, by this caller's reading or by another's. The error is
// that of ctx, as an *Error; everything else is in q.
func (r *readings) share(ctx context.Context, q *question, answer func(context.Context, []*question)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(r.waiting, q)
	for !q.done {
		if r.running == nil {
			r.lead(ctx, answer)
			continue
		}
		running := r.running
		r.mu.Unlock()
		select {
		case <-running:
		case <-ctx.Done():
		}
		r.mu.Lock()
		if err := ctx.Err(); err != nil && !q.done {
			return &senders.Error{Class: senders.NotSent, Code: "cancelled", Text: "stopped before the list of processes was read", Err: err}
		}
	}
	return nil
}

// lead makes one reading for all that wait. It is called with mu held.
func (r *readings) lead(ctx context.Context, answer func(context.Context, []*question)) {
	batch := r.waiting
	running := make(chan struct{})
	r.waiting, r.running = nil, running
	r.mu.Unlock()
	defer func() { // also when it panics: the others must not wait for ever
		r.mu.Lock()
		for _, q := range batch {
			q.done = true
		}
		r.running = nil
		close(running)
	}()
	answer(ctx, batch)
}
