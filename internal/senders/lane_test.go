package senders

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// stamps lets workers pass the lane until the deadline and returns when.
func stamps(t *testing.T, l *Lane, workers int, d time.Duration) []time.Time {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var (
		mu  sync.Mutex
		wg  sync.WaitGroup
		out []time.Time
	)
	for range workers {
		wg.Go(func() {
			for l.Wait(ctx) == nil {
				mu.Lock()
				out = append(out, time.Now())
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return out
}

// most is the largest number of stamps within any window.
func most(at []time.Time, window time.Duration) int {
	best, from := 0, 0
	for i := range at {
		for at[i].Sub(at[from]) >= window {
			from++
		}
		best = max(best, i-from+1)
	}
	return best
}

func TestLaneUsesTheQuotaAndNotMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLane(Rate{Count: 200, Per: time.Minute}, time.Now)
		<-time.After(10 * time.Minute) // idle time must not become a burst
		got := stamps(t, l, 8, 10*time.Minute)
		if len(got) < 1980 || len(got) > 2000 {
			t.Errorf("%d requests in 10 minutes of 200/min, want at least 99 %% of 2000", len(got))
		}
		if n := most(got, time.Minute); n > 200 {
			t.Errorf("%d requests in one minute", n)
		}
		// Requests that overtake each other by 0.4 s must not break the quota.
		if n := most(got, time.Minute+400*time.Millisecond); n > 200 {
			t.Errorf("%d requests in a minute and 400 ms", n)
		}
		if n := most(got, time.Second); n > 4 {
			t.Errorf("a burst of %d", n)
		}
	})
}

func TestLanePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLane(Rate{Count: 10, Per: time.Second}, time.Now)
		start := time.Now()
		l.Pause(start.Add(time.Minute), "rate_limited")
		l.Pause(start.Add(time.Second), "shorter")
		if until, why := l.Paused(); !until.Equal(start.Add(time.Minute)) || why != "rate_limited" {
			t.Errorf("paused until %v for %q", until, why)
		}
		got := stamps(t, l, 8, 61*time.Second)
		if len(got) == 0 || got[0].Sub(start) < time.Minute {
			t.Fatalf("a request during the pause: %v", got)
		}
		if n := most(got, 100*time.Millisecond); n > 1 {
			t.Errorf("%d requests burst out when the pause ended", n)
		}
		if until, why := l.Paused(); !until.IsZero() || why != "" {
			t.Errorf("still paused until %v", until)
		}
	})
}

func TestLanePauseHoldsWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLane(Rate{Count: 1, Per: time.Minute}, time.Now)
		start := time.Now()
		if err := l.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(30*time.Second, func() { l.Pause(start.Add(10*time.Minute), "auth") })
		if err := l.Wait(t.Context()); err != nil || time.Since(start) < 10*time.Minute {
			t.Fatalf("%v after %v: the pause began while it waited", err, time.Since(start))
		}
	})
}

func TestLaneWaitEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLane(Rate{Count: 1, Per: time.Hour}, time.Now)
		if err := l.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, pause := range []bool{false, true} {
			if pause {
				l.Pause(time.Now().Add(time.Hour), "x")
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start := time.Now()
			if err := l.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("%v after %v", err, time.Since(start))
			}
			cancel()
			if err := l.Wait(ctx); err == nil {
				t.Error("an ended context was let through")
			}
		}
	})
}

func TestLaneUnlimited(t *testing.T) {
	l := NewLane(Rate{Unlimited: true}, time.Now)
	for range 10_000 {
		if err := l.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Wait(ctx); err == nil {
		t.Fatal("an ended context was let through")
	}
}
