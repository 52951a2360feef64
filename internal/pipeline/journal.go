package pipeline

import (
	"context"
	"errors"
	"slices"
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
	row     ledger.State // where the ledger has it, as far as is known
	state   ledger.State // the last step that was recorded, and so may have been taken
	hung    []hung
	started bool // the attempt was counted
	gate    bool
	ended   bool
	err     error // the first failure to record a step
}

// hung is a write of which it is not known whether it happened. The step that
// it stands for was not taken.
type hung struct {
	to  ledger.State
	end bool // by finish
}

var errAttemptEnded = errors.New("the attempt has already been answered")

func (j *journal) move(steps ...ledger.Step) error { return j.write(false, steps) }

func (j *journal) write(end bool, steps []ledger.Step) error {
	if j.ended {
		return errAttemptEnded
	}
	steps = slices.Clone(steps) // a write that hung may still read those that it was given
	for i := range steps {
		steps[i].From = j.row
		if i > 0 {
			steps[i].From = steps[i-1].To
		}
	}
	if !j.started && steps[0].To != j.state {
		steps[0].BeginAttempt, j.started = true, true
	}
	to := steps[len(steps)-1].To
	ver, err := j.ledger.Move(j.ctx, j.id, j.ver, steps...)
	if errors.Is(err, ledger.ErrUnknown) {
		j.hung = append(j.hung, hung{to, end})
	}
	if err != nil {
		if j.err == nil {
			j.err = err
		}
		return err
	}
	j.ver, j.row, j.state = ver, to, to
	return nil
}

// adopt looks which of the writes that hung happened: at most one, because
// each went out from the same version. done is true when it was the end of the
// attempt. It returns ErrStale when the row is not ours any more.
func (j *journal) adopt() (done bool, err error) {
	state, ver, err := j.ledger.DeliveryAt(j.ctx, j.id)
	if err != nil {
		return false, err
	}
	for _, h := range j.hung {
		if ver == j.ver+1 && state == h.to {
			j.ver, j.row, j.hung = ver, state, nil
			return h.end, nil
		}
	}
	return false, ledger.ErrStale
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

// finish records the end of the attempt; nothing may follow it. Where an
// earlier write hung, it goes on from what became of that: the ledger decides
// one write after the other, so that it is decided before this one is.
func (j *journal) finish(steps ...ledger.Step) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	started := j.started
	j.started = true // the last step never begins an attempt
	err := j.write(true, steps)
	if errors.Is(err, ledger.ErrStale) && len(j.hung) > 0 {
		var done bool
		if done, err = j.adopt(); err == nil && !done {
			err = j.write(true, steps)
		}
	}
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
