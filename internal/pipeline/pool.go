package pipeline

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"ingestd/internal/ledger"
	"ingestd/internal/senders"
)

// pool sends the deliveries of one destination with a fixed number of
// workers. Its dispatcher takes due rows from the ledger, one source after
// the other, so that a source with a backlog cannot starve the others.
type pool struct {
	p       *Pipeline
	dest    Destination
	sources []string
	turn    int // the source that is asked first next time
	woken   signal
	flight  inFlight
	slots   chan struct{}
	trouble trouble
}

func newPool(p *Pipeline, d Destination) *pool {
	return &pool{
		p: p, dest: d, woken: newSignal(), slots: make(chan struct{}, d.Workers),
		flight: inFlight{ids: make(map[int64]struct{}, d.Workers)},
	}
}

func (pl *pool) wake() { pl.woken.set() }

// run dispatches until ctx ends and waits for the attempts under way, which
// end with hard at the latest.
func (pl *pool) run(ctx, hard context.Context) error {
	var workers errgroup.Group
	for pl.p.await(ctx) {
		pl.p.Beat()
		if until, _ := pl.dest.Lane.Paused(); until.After(pl.p.now()) {
			sleepUntil(ctx, pl.woken, pl.p.now(), until)
			continue
		}
		if !pl.trouble.allow(pl.flight.size()) {
			sleepUntil(ctx, pl.woken, pl.p.now(), pl.p.now().Add(time.Second))
			continue
		}
		now := pl.p.now()
		batch, err := pl.due(ctx, now)
		if err != nil {
			if errors.Is(err, ledger.ErrFenced) || ctx.Err() != nil {
				break
			}
			pl.p.log.Error("claim deliveries", "destination", pl.dest.Name, "error", err)
			sleepUntil(ctx, pl.woken, pl.p.now(), pl.p.now().Add(recheck))
			continue
		}
		if len(batch) == 0 {
			next, ok, err := pl.nextDue(ctx)
			switch {
			case err != nil || !ok || next.After(now.Add(idleBeat)):
				next = now.Add(idleBeat)
			case !next.After(now):
				// It was due when we asked and not given: a worker holds it and
				// wakes us, its source is away, or no longer configured.
				next = now.Add(time.Second)
			}
			sleepUntil(ctx, pl.woken, pl.p.now(), next)
			continue
		}
		for _, d := range batch {
			if !pl.start(ctx, hard, &workers, d) {
				break
			}
			if d.Crashes > 0 {
				pl.idle(ctx)
			}
		}
	}
	return workers.Wait()
}

// idle waits until no worker holds a delivery. A delivery that was under way
// when the program died is sent alone: if it is what kills the program, it
// must not take its neighbours with it.
func (pl *pool) idle(ctx context.Context) {
	for pl.flight.size() > 0 && ctx.Err() == nil {
		sleepUntil(ctx, pl.woken, pl.p.now(), pl.p.now().Add(time.Second))
	}
}

// start gives one delivery to a worker as soon as one is free. It is false
// when the rest of the batch should be looked at anew: the lane was paused,
// the ledger is in trouble, or the pool stops.
func (pl *pool) start(ctx, hard context.Context, workers *errgroup.Group, d ledger.Job) bool {
	if d.Crashes > 0 {
		pl.idle(ctx)
	}
	select {
	case pl.slots <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	if until, _ := pl.dest.Lane.Paused(); until.After(pl.p.now()) || ctx.Err() != nil || pl.p.ledger.Trouble() != nil || !pl.trouble.allow(pl.flight.size()) {
		<-pl.slots
		return false
	}
	if !pl.flight.add(d.ID) {
		<-pl.slots
		return true
	}
	workers.Go(func() error {
		defer func() {
			pl.flight.remove(d.ID)
			<-pl.slots
			pl.wake()
		}()
		switch d.State {
		case ledger.InDoubt:
			pl.settleDoubt(hard, d.Delivery)
		case ledger.Accepted:
			pl.confirm(hard, d.Delivery)
		default:
			pl.attempt(ctx, hard, d)
		}
		pl.p.Beat()
		return nil
	})
	return true
}

// due takes the next deliveries: doubts first, then the sources in turn, one
// delivery of each at a time, then questions about what was accepted, so that
// those cannot hold up a backlog. Rows that workers hold are left out.
func (pl *pool) due(ctx context.Context, now time.Time) ([]ledger.Job, error) {
	// As it was before the rows are read: of what ends meanwhile, the row that
	// is read may be an old one. Nothing begins meanwhile.
	flight := pl.flight.copy()
	held := len(flight)
	var batch []ledger.Job
	doubts, err := pl.p.ledger.DueDoubts(ctx, pl.dest.Name, now, pl.dest.Workers+held)
	if err != nil {
		return nil, err
	}
	batch = appendFree(batch, doubts, flight)

	each := max(2*pl.dest.Workers/max(len(pl.sources), 1), 1)
	queues := make([][]ledger.Job, len(pl.sources))
	longest := 0
	for i := range pl.sources {
		source := pl.sources[(pl.turn+i)%len(pl.sources)]
		if !pl.p.feeds[source].here() {
			continue // its files cannot be opened now, which is no attempt
		}
		rows, err := pl.p.ledger.DueJobs(ctx, pl.dest.Name, source, now, each+held)
		if err != nil {
			return nil, err
		}
		queues[i] = slices.DeleteFunc(rows, func(j ledger.Job) bool {
			_, taken := flight[j.ID]
			return taken
		})
		longest = max(longest, len(queues[i]))
	}
	pl.turn++
	for n := range min(longest, each) {
		for _, q := range queues {
			if n < len(q) {
				batch = append(batch, q[n])
			}
		}
	}
	if !pl.confirms() {
		return batch, nil
	}
	questions, err := pl.p.ledger.DueConfirms(ctx, pl.dest.Name, now, max(pl.dest.Workers/4, 1)+held)
	return appendFree(batch, questions, flight), err
}

// appendFree adds the rows that no worker holds.
func appendFree(batch []ledger.Job, rows []ledger.Delivery, flight map[int64]struct{}) []ledger.Job {
	for _, d := range rows {
		if _, taken := flight[d.ID]; !taken {
			batch = append(batch, ledger.Job{Delivery: d})
		}
	}
	return batch
}

// nextDue is when the next delivery or question is due; false: none is.
func (pl *pool) nextDue(ctx context.Context) (time.Time, bool, error) {
	next, ok, err := pl.p.ledger.NextDelivery(ctx, pl.dest.Name)
	if err != nil || !pl.confirms() {
		return next, ok, err
	}
	question, asks, err := pl.p.ledger.NextConfirm(ctx, pl.dest.Name)
	if asks && (!ok || question.Before(next)) {
		next, ok = question, true
	}
	return next, ok, err
}

// pauseFor holds the whole lane after a refusal that concerns every request
// of the destination. A vendor that is away is asked again by one delivery at
// a time, ever more slowly, so that an outage costs no attempts.
func (pl *pool) pauseFor(e *senders.Error) time.Time {
	now := pl.p.now()
	var until time.Time
	switch e.Class {
	case senders.RateLimited:
		until = now.Add(max(e.RetryAfter, time.Second))
	case senders.Auth, senders.NotSent:
		delay := pl.dest.Retry.Delay(pl.trouble.fail(now), pl.p.opt.Random)
		if until = now.Add(min(delay, outageCheck)); e.RetryAfter > 0 {
			until = now.Add(e.RetryAfter)
		}
	default:
		return time.Time{}
	}
	pl.dest.Lane.Pause(until, e.Code)
	return until
}

// outageCheck is how often, at the slowest, a vendor that is away is tried
// again: full rate is back within a minute after it returns.
const outageCheck = 30 * time.Second
