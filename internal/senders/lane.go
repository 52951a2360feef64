package senders

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// paceShare of the quota is what a lane uses. The rest is room for requests
// that overtake each other on the network: with 200/min, 201 requests span
// 60.4 s, so that none is one too many in any minute, and 99 % is used.
const paceShare = 0.993

// Lane paces all requests of one destination, whatever worker or step they
// belong to. It spaces them evenly, because a vendor that counts in fixed or
// sliding windows answers every burst with 429; and it stands still while
// paused.
type Lane struct {
	limit *rate.Limiter // nil: unlimited
	now   func() time.Time

	mu     sync.Mutex
	paused time.Time
	why    string
}

// NewLane returns the lane of a destination.
func NewLane(r Rate, now func() time.Time) *Lane {
	l := &Lane{now: now}
	if !r.Unlimited {
		perSecond := float64(r.Count) / r.Per.Seconds()
		l.limit = rate.NewLimiter(rate.Limit(perSecond*paceShare), 1)
	}
	return l
}

// Wait blocks until one request may be made. A pause that begins while it
// waits holds it too, and costs its place: nothing bursts out when the pause
// ends. The error is that of ctx.
func (l *Lane) Wait(ctx context.Context) error {
	for {
		if err := l.waitPause(ctx); err != nil {
			return err
		}
		if l.limit != nil {
			// Not Limiter.Wait: it fails at once when the deadline of ctx is
			// nearer than the turn, with an error that is not that of ctx.
			turn := l.limit.Reserve()
			if err := sleep(ctx, turn.Delay()); err != nil {
				turn.Cancel()
				return err
			}
		}
		if until, _ := l.Paused(); until.IsZero() {
			return ctx.Err()
		}
	}
}

func (l *Lane) waitPause(ctx context.Context) error {
	for {
		until, _ := l.Paused()
		if until.IsZero() {
			return ctx.Err()
		}
		if err := sleep(ctx, until.Sub(l.now())); err != nil {
			return err
		}
	}
}

// Pause holds all requests until the given time. A pause is never shortened.
func (l *Lane) Pause(until time.Time, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if until.After(l.paused) {
		l.paused, l.why = until, why
	}
}

// Paused returns the end of the pause and its reason, or a zero time.
func (l *Lane) Paused() (time.Time, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.paused.After(l.now()) {
		return time.Time{}, ""
	}
	return l.paused, l.why
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
