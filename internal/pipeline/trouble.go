package pipeline

import (
	"sync"
	"time"
)

// trouble counts what goes wrong with a destination as a whole, apart from
// any one delivery. While it lasts, one attempt at a time is let through.
type trouble struct {
	mu    sync.Mutex
	count int
	until time.Time
}

// fail notes a failure of the destination and returns how many times in a row
// it has failed. Attempts that ran side by side and failed together count as
// one, or eight workers would multiply the pause.
func (t *trouble) fail(now time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Before(t.until) {
		return t.count
	}
	t.count++
	t.until = now.Add(time.Second)
	return t.count
}

// clear ends the trouble: the destination answered.
func (t *trouble) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count, t.until = 0, time.Time{}
}

// allow tells whether another attempt may begin beside those under way.
func (t *trouble) allow(underWay int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count == 0 || underWay == 0
}
