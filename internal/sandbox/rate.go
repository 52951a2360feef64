package sandbox

import (
	"sync"
	"time"
)

// rateWindow counts requests in windows of one minute. A window starts with
// the first request after the previous one ended.
type rateWindow struct {
	now   func() time.Time
	limit int // below 0: none

	mu      sync.Mutex
	start   time.Time
	count   int
	peak    int
	limited int64
}

// take counts one request and reports whether the window still has room.
func (w *rateWindow) take() bool {
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.start.IsZero() || now.Sub(w.start) >= time.Minute {
		w.start, w.count = now, 0
	}
	w.count++
	w.peak = max(w.peak, w.count)
	if w.limit >= 0 && w.count > w.limit {
		w.limited++
		return false
	}
	return true
}

// figures returns the fullest window and how many requests found no room.
func (w *rateWindow) figures() (peak int, limited int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.peak, w.limited
}
