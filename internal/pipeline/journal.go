package pipeline

import (
	"context"
	"errors"
	"sync"

	"ingestd/internal/ledger"
	"ingestd/internal/senders"
)

// journal makes the steps of one attempt durable (senders.Journal). It is
// used by the sender and, at the gate, by the transport's goroutine.
type journal struct {
	ctx    context.Context
	ledger *ledger.Ledger
	id     int64

	mu      sync.Mutex
	ver     int64
	state   ledger.State
	started bool // the attempt was counted
	gate    bool
	ended   bool
	err     error // the first failure to record a step
}

var errAttemptEnded = errors.New("the attempt has already been answered")

func (j *journal) move(steps ...ledger.Step) error {
	if j.ended {
		return errAttemptEnded
	}
	for i := range steps {
		steps[i].From = j.state
		if i > 0 {
			steps[i].From = steps[i-1].To
		}
	}
	if !j.started && steps[0].To != j.state {
		steps[0].BeginAttempt, j.started = true, true
	}
	ver, err := j.ledger.Move(j.ctx, j.id, j.ver, steps...)
	if err != nil {
		if j.err == nil {
			j.err = err
		}
		return err
	}
	j.ver, j.state = ver, steps[len(steps)-1].To
	return nil
}

func (j *journal) Declaring() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state == ledger.Declaring && !j.ended {
		return nil // the intent is durable already; the step is repeated
	}
	return j.move(ledger.Step{To: ledger.Declaring})
}

func (j *journal) Declared(ids map[string]string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.move(ledger.Step{To: ledger.Declared, IDs: ids})
}

func (j *journal) Sending(ids map[string]string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state == ledger.Declaring {
		return j.move(ledger.Step{To: ledger.Declared, IDs: ids}, ledger.Step{To: ledger.Sending})
	}
	return j.move(ledger.Step{To: ledger.Sending, IDs: ids})
}

func (j *journal) Committing() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.move(ledger.Step{To: ledger.Committing}); err != nil {
		return err
	}
	j.gate = true
	return nil
}

// finish records the end of the attempt; nothing may follow it.
func (j *journal) finish(steps ...ledger.Step) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	started := j.started
	j.started = true // the last step never begins an attempt
	err := j.move(steps...)
	j.started, j.ended = started, err == nil
	return err
}

// voidUnlessBegun ends an attempt that has not taken its first step.
func (j *journal) voidUnlessBegun() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.started {
		return false
	}
	j.ended = true
	return true
}

// void tells that nothing was recorded about this attempt and nothing is to
// be: it was ended before it began, or its row was taken away.
func (j *journal) void() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ended || errors.Is(j.err, ledger.ErrStale)
}

func (j *journal) begun() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.started
}

func (j *journal) passedGate() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.gate
}

func (j *journal) declaring() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state == ledger.Declaring
}

func (j *journal) declared() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state == ledger.Declared || j.state == ledger.Sending || j.state == ledger.Committing
}

// unknown classifies an error that the sender did not: by how far it came.
func (j *journal) unknown(err error) *senders.Error {
	if j.passedGate() {
		return &senders.Error{Class: senders.InDoubt, Code: "no_answer", Text: "the answer was lost after the whole recording was sent", Err: err}
	}
	return &senders.Error{Class: senders.Incomplete, Code: "cut_short", Text: "the attempt ended before the recording was complete", Err: err}
}
