package torture

import (
	"context"
	"net"
	"time"

	"ingestd/internal/sandbox"
)

// Cells whose faults take minutes to hours, in fake time.

// A second destination has the recording at once, whatever the first does.
func (b *bubble) secondIsServed() {
	b.Helper()
	if n := len(b.second.Contacts()); n != len(b.all) {
		b.Errorf("the other destination has %d recordings, want %d", n, len(b.all))
	}
}

func (b *bubble) publishes(within time.Duration) {
	b.Helper()
	for end := b.now().Add(within); b.published() < len(b.all); {
		if b.now().After(end) {
			b.Errorf("%d of %d published after %s; %s", b.published(), len(b.all), within, b.standing("call0000"))
			return
		}
		b.after(5 * time.Second)
	}
	b.after(3 * time.Minute) // disposals, and what should not come any more
}

// noName: the vendor's name cannot be resolved for an hour.
func noName(b *bubble) {
	down := true
	b.dial = func(context.Context) error {
		if down {
			return &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "vendor", IsNotFound: true}}
		}
		return nil
	}
	b.start()
	b.brings(2000)
	b.after(time.Hour)
	b.arrived(0)
	down = false
	b.publishes(2 * time.Minute) // full rate within a minute
	b.arrived(1)
}

func declareTimesOut(b *bubble) {
	b.misbehave(b.T, first(sandbox.DropStored, sandbox.RouteSession, func(f *sandbox.Fault) { f.Delay = sandbox.Duration(3 * time.Minute) }))
	b.start()
	b.brings(2000)
	b.publishes(10 * time.Minute)
	b.arrived(1)
}

// The stall watchdog ends a body that does not move, before the gate.
func stalls(b *bubble) {
	b.misbehave(b.T, first(sandbox.Stall, sandbox.RouteMedia, func(f *sandbox.Fault) { f.AfterBytes = 100_000 }))
	b.start()
	b.brings(6_000_000) // whose size allows more than two minutes
	b.after(50 * time.Second)
	b.arrived(0)
	b.publishes(80 * time.Second)
	b.arrived(1)
	b.noDoubt()
}

// noDoubt demands that nothing was ever in doubt.
func (b *bubble) noDoubt() {
	b.Helper()
	histories, err := readHistories(b.Context(), b.path("state", "ledger.db"))
	b.must(err)
	for name, rows := range histories {
		for _, row := range rows {
			for _, e := range row.History {
				if e.To != nil && *e.To == "in_doubt" {
					b.Errorf("%s was in doubt", name)
				}
			}
		}
	}
}

// 10 KB/s is enough for a short recording and too little for a long one,
// whose attempts end at the deadline that its size allows.
func slow(b *bubble) {
	b.misbehave(b.T, sandbox.Fault{Kind: sandbox.Slow, Route: sandbox.RouteMedia, BytesPerSecond: 10_000})
	b.start()
	b.brings(300_000)
	b.brings(2_000_000)
	b.after(3 * time.Minute)
	b.arrived(1)
	b.secondIsServed()
	b.misbehave(b.T)
	b.publishes(30 * time.Minute)
	b.arrived(2)
}

// A Retry-After of eleven days is cut to an hour.
func retryAfter(b *bubble) {
	refuse := early(429)
	refuse.RetryAfter = "999999"
	b.misbehave(b.T, refuse)
	b.start()
	b.brings(2000)
	b.after(50 * time.Minute)
	b.arrived(0)
	b.secondIsServed()
	b.after(15 * time.Minute)
	b.arrived(1)
}

func answerTimesOut(b *bubble) {
	b.misbehave(b.T, first(sandbox.DropStored, sandbox.RouteMedia, func(f *sandbox.Fault) { f.Delay = sandbox.Duration(5 * time.Minute) }))
	b.start()
	b.brings(2000)
	b.after(9 * time.Minute) // before T_settle
	b.arrived(1)
	b.after(6 * time.Minute)
	b.arrived(2) // the same id again, which is not published
	if b.published() != 1 {
		b.Errorf("published %d times", b.published())
	}
	b.after(3 * time.Minute)
}

func hoursOf500(b *bubble) {
	b.misbehave(b.T, sandbox.Fault{Kind: sandbox.Status, Status: 500})
	b.start()
	for range 5 {
		b.brings(2000)
	}
	b.after(8 * time.Hour)
	b.arrived(0)
	for _, row := range b.rows() {
		if row.State == "held" || row.State == "rejected" {
			b.Errorf("%s is %s", row.Path, row.State)
		}
	}
	b.misbehave(b.T)
	b.publishes(20 * time.Minute)
}

// A gateway gave up on a vendor that stores 90 s later.
func lateEffect(status int) func(*bubble) {
	return func(b *bubble) {
		b.misbehave(b.T, sandbox.Fault{Kind: sandbox.StatusLate, Route: sandbox.RouteMedia, Status: status, First: 1, Delay: sandbox.Duration(90 * time.Second)})
		b.start()
		b.brings(2000)
		b.after(9 * time.Minute)
		b.arrived(1)
		if n := len(b.vendor.Sessions()); n != 1 {
			b.Errorf("%d sessions before T_settle, want 1", n)
		}
		b.publishes(10 * time.Minute)
		b.after(10 * time.Minute)
	}
}

// The wall clock jumps while a doubt settles and another delivery waits to be
// tried again: neither is sent early, and neither waits for ever.
func clockJumps(by time.Duration) func(*bubble) {
	return func(b *bubble) {
		b.misbehave(b.T,
			sandbox.Fault{Kind: sandbox.DropStored, Route: sandbox.RouteMedia, First: 1})
		b.start()
		b.brings(2000)
		b.after(2 * time.Minute)
		b.arrived(1)
		b.jumps(by)
		b.brings(3000)
		b.after(30 * time.Minute)
		if b.published() != 2 {
			b.Errorf("%d of 2 published; %s, %s", b.published(), b.standing("call0000"), b.standing("call0001"))
		}
		b.after(time.Duration(max(by, -by)) + 30*time.Minute)
	}
}

func timeCells() []cell {
	const day = 24 * time.Hour
	return []cell{
		{n: 15, what: "declare: the name cannot be resolved", want: "NOT_SENT; n=1 when healed", run: inFakeTime(false, noName)},
		{n: 16, what: "declare sent, timeout", want: "same id again; n=1", run: inFakeTime(false, declareTimesOut)},
		{n: 28, what: "body: no progress", want: "aborted within 60 s, before the gate; n=1", run: inFakeTime(false, stalls)},
		{n: 29, what: "body at 10 KB/s", want: "ends within its deadline or is retried; others are served", run: inFakeTime(true, slow)},
		{n: 32, what: "early 429, Retry-After: 999999", want: "clamped; others are served", run: inFakeTime(true, retryAfter)},
		{n: 44, what: "tail sent: the answer times out", want: "as 42; n=1", run: inFakeTime(false, answerTimesOut)},
		{n: 47, what: "500 for eight hours", want: "finally n=1", run: inFakeTime(false, hoursOf500)},
		{n: 48, what: "proxy's 502, upstream accepts 90 s later", want: "no second send before T_settle; n=1", run: inFakeTime(false, lateEffect(502))},
		{n: 48, what: "proxy's 504, upstream accepts 90 s later", want: "no second send before T_settle; n=1", run: inFakeTime(false, lateEffect(504))},
		{n: 78, what: "clock +1 day", want: "no starvation; n=1", run: inFakeTime(false, clockJumps(day))},
		{n: 78, what: "clock -1 day", want: "no starvation; n=1", run: inFakeTime(false, clockJumps(-day))},
		{n: 78, what: "clock +1 h (DST does not move it)", want: "no starvation; n=1", run: inFakeTime(false, clockJumps(time.Hour))},
	}
}
