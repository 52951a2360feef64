package senders

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// RetryConfig is [destination.retry]: when a delivery is tried again. The
// ledger holds the next time; nothing here sleeps or remembers.
type RetryConfig struct {
	Initial Duration `toml:"initial"`
	Max     Duration `toml:"max"`
	GiveUp  Duration `toml:"give_up"` // since the first attempt
}

// DefaultRetry is 2 s, doubling up to 15 min, for 72 h.
func DefaultRetry() RetryConfig {
	return RetryConfig{
		Initial: Duration(2 * time.Second),
		Max:     Duration(15 * time.Minute),
		GiveUp:  Duration(72 * time.Hour),
	}
}

// Validate returns every defect; each text begins with the key.
func (r RetryConfig) Validate() []error {
	var errs []error
	for _, k := range []struct {
		key string
		d   Duration
	}{{"initial", r.Initial}, {"max", r.Max}, {"give_up", r.GiveUp}} {
		if k.d <= 0 {
			errs = append(errs, errors.New("retry."+k.key+": must be above zero"))
		}
	}
	if r.Initial > r.Max {
		errs = append(errs, errors.New("retry.initial: is above retry.max"))
	}
	return errs
}

// Delay is the pause after the given failed attempt (from 1): Initial doubled
// each time and capped at Max, of which rnd in [0,1) takes up to half away.
// So it never exceeds Max, and deliveries that failed together do not return
// together.
func (r RetryConfig) Delay(attempt int, rnd func() float64) time.Duration {
	b := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(min(time.Duration(r.Initial), time.Duration(r.Max))),
		backoff.WithMaxInterval(time.Duration(r.Max)),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0), // its jitter goes over the cap
		backoff.WithMaxElapsedTime(0),      // its default gives up after 15 min
	)
	d := b.NextBackOff()
	// 2^64 times the shortest duration is beyond every cap.
	for range min(attempt-1, 64) {
		d = b.NextBackOff()
	}
	return d - time.Duration(rnd()*float64(d)/2)
}

// The range into which a vendor's Retry-After is forced.
const (
	minRetryAfter = time.Second
	maxRetryAfter = time.Hour
)

// ParseRetryAfter reads a Retry-After header, seconds or HTTP date, clamped
// to 1 s to 1 h. False: absent or not understood.
func ParseRetryAfter(h string, now time.Time) (time.Duration, bool) {
	h = strings.TrimSpace(h)
	if at, err := http.ParseTime(h); err == nil {
		return min(max(at.Sub(now), minRetryAfter), maxRetryAfter), true
	}
	seconds, err := strconv.ParseFloat(h, 64)
	if (err != nil && !errors.Is(err, strconv.ErrRange)) || math.IsNaN(seconds) {
		return 0, false
	}
	seconds = min(max(seconds, minRetryAfter.Seconds()), maxRetryAfter.Seconds())
	return time.Duration(seconds * float64(time.Second)), true
}
