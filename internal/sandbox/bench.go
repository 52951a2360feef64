package sandbox

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// bench is what every fake vendor stands on: clock, log, faults, request log.
// Its exported methods are those of [Vendor].
type bench struct {
	now      func() time.Time
	log      *slog.Logger
	faults   faultList
	requests *requestLog
	rate     *rateWindow
	keepDir  string
	kept     atomic.Int64 // bodies begun, to name the next

	closing sync.Once
	closed  chan struct{}
}

// defaultRequestLog is how many requests the view remembers by default.
const defaultRequestLog = 10_000

// newBench makes the bench of a vendor that has the given routes.
func newBench(o Options, routes ...string) *bench {
	b := &bench{now: o.Now, log: o.Log, requests: newRequestLog(defaultRequestLog), keepDir: o.KeepDir, closed: make(chan struct{})}
	b.faults.routes = routes
	if b.now == nil {
		b.now = time.Now
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if o.RequestLog > 0 {
		b.requests = newRequestLog(o.RequestLog)
	}
	b.rate = &rateWindow{now: b.now, limit: o.RatePerMinute}
	if err := b.faults.set(o.Faults); err != nil {
		panic("sandbox: Options.Faults: " + err.Error())
	}
	return b
}

// SetFaults replaces the faults that are switched on; counting starts anew. On
// an error nothing changes.
func (b *bench) SetFaults(faults ...Fault) error { return b.faults.set(faults) }

// Faults returns the switched-on faults with their counts.
func (b *bench) Faults() []FaultState { return b.faults.states() }

// Requests returns the most recent requests, oldest first.
func (b *bench) Requests() []Request { return b.requests.recent() }

// Counters count everything since the start; every summary begins with them.
func (b *bench) Counters() Counters {
	var c Counters
	b.requests.count(&c)
	c.PeakPerMinute, c.RateLimited = b.rate.figures()
	c.FaultsApplied = b.faults.total()
	return c
}

// Close lets go of every request that a fault holds back. The handler goes on
// answering, without any more delays.
func (b *bench) Close() { b.closing.Do(func() { close(b.closed) }) }

// begin enters a request into the log and starts its exchange. The caller
// defers end.
func (b *bench) begin(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{b: b, w: w, r: r, line: Request{
		Method: r.Method, Path: clip(r.URL.EscapedPath(), 256), StartedAt: b.now(),
	}}
	b.requests.begin(&x.line)
	return x
}

// wait pauses, and reports false when the request ended or the sandbox closed
// before that.
func (b *bench) wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-b.closed:
	}
	return false
}

// clip cuts a text to n bytes.
func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
