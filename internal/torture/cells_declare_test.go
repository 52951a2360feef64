package torture

import (
	"net"
	"strings"

	"golang.org/x/sys/unix"

	"ingestd/internal/sandbox"
)

// Cells of the declare: at CallMiner, the request that opens a session.

func struckThenHeals(f fault) func(*trial) {
	return func(c *trial) {
		c.begin(settings{})
		c.dropped(1)
		c.struck(f)
		c.arrived(0)
		c.heals()
	}
}

// cutThenHeals cuts the power at a moment; the delivery must then stand in
// the state.
func cutThenHeals(state string, m moment, after ...moment) func(*trial) {
	return func(c *trial) {
		d := c.beginOnDisk(settings{})
		c.dropped(1)
		dark := c.cutAt(d, m, 1, after...)
		c.stoodAt(state)
		c.healsFrom(dark)
	}
}

// stoodAt demands where a fault left the first delivery, without opening the
// ledger itself.
func (c *trial) stoodAt(want string) {
	c.Helper()
	histories, err := readHistories(c.Context(), c.snapshot(c.T))
	c.must(err)
	for _, row := range histories["call0000.wav"] {
		if len(row.Deliveries) > 0 {
			if got := row.Deliveries[0].State; got != want {
				c.Errorf("the fault left it %s, want %s", got, want)
			}
			return
		}
	}
	c.Errorf("there is no delivery, want one %s", want)
}

// quickly are retries that a test can wait for.
func quickly() settings {
	return settings{more: "[destination.retry]\ninitial = \"50ms\"\nmax = \"200ms\"\n"}
}

// vendorThen meets the first requests with faults and demands that all comes
// right by itself, with so many sessions and so many complete uploads.
func vendorThen(sessions, uploads int, faults ...sandbox.Fault) func(*trial) {
	return func(c *trial) {
		c.begin(quickly())
		c.misbehave(c.T, faults...)
		c.dropped(1)
		out := c.once(c.T)
		if out.code != 0 {
			c.Errorf("exit %d\n%s", out.code, out.output)
		}
		c.ended(exempt{}, 1, out.output)
		c.arrived(uploads)
		if got := len(c.vendor.Sessions()); got != sessions {
			c.Errorf("%d sessions, want %d", got, sessions)
		}
		for _, f := range c.vendor.Faults() {
			if f.Applied == 0 {
				c.Errorf("fault %s was not met", f.Kind)
			}
		}
	}
}

func first(kind sandbox.Kind, route string, change ...func(*sandbox.Fault)) sandbox.Fault {
	f := sandbox.Fault{Kind: kind, Route: route, First: 1}
	for _, fn := range change {
		fn(&f)
	}
	return f
}

func status(code int) func(*sandbox.Fault) { return func(f *sandbox.Fault) { f.Status = code } }
func reset(f *sandbox.Fault)               { f.Reset = true }

// heldFor demands that a person is asked, and that nothing was sent after.
func heldFor(reason string, uploads int, faults ...sandbox.Fault) func(*trial) {
	return func(c *trial) {
		c.begin(quickly())
		c.misbehave(c.T, faults...)
		c.dropped(1)
		out := c.once(c.T)
		if out.code != 3 {
			c.Errorf("exit %d, want 3\n%s", out.code, out.output)
		}
		c.stands("call0000", reason)
		c.arrived(uploads)
		c.ended(exempt{}, 0, out.output)
		for _, r := range c.vendor.Requests() {
			if strings.Contains(r.Path, "..") || len(r.Path) > 200 {
				c.Errorf("an id of the vendor got into a path: %.80s", r.Path)
			}
		}
	}
}

// The vendor's address refuses connections; then it comes back.
func connectionRefused(c *trial) {
	c.begin(settings{})
	ln, err := net.Listen("tcp", "127.77.1.2:0") // nobody else takes a port there
	c.needs(err)
	addr := ln.Addr().String()
	c.must(ln.Close())
	set := quickly()
	set.destination = map[string]string{"base_url": `"http://` + addr + `/ingestion"`, "token_url": `"http://` + addr + `/connect/token"`}
	c.configure(c.T, set)
	c.dropped(2)
	daemon := startDaemon(c.T, c.site)
	c.says(daemon, "class=not_sent")
	c.arrived(0)
	c.must(c.serveAt(addr))
	c.until("both are delivered", func() bool { return len(c.vendor.Contacts()) == 2 })
	c.stops(daemon)
	c.heals()
}

func declareErrors() []sandbox.Kind {
	return []sandbox.Kind{sandbox.HTML, sandbox.Empty, sandbox.OtherJSON, sandbox.BrokenJSON, sandbox.Truncated}
}

func declareCells() []cell {
	list := []cell{
		{n: 12, what: "before the DECLARING commit: Kill", want: "PLANNED; n=1", run: struckThenHeals(when(ledgerWritten(), tokenAsked()))},
		{n: 13, what: "after the DECLARING commit, before bytes: Kill", want: "declared again; n=1", run: struckThenHeals(when(declareSent()))},
		{n: 14, what: "after the DECLARING commit: Cut", want: "DECLARING is there; n=1", run: cutThenHeals("declaring", declareSent())},
		{n: 15, what: "declare: refused", want: "NOT_SENT; n=1 when healed", run: connectionRefused},
		{n: 17, what: "declare processed, then a reset", want: "same id again; n=1", run: vendorThen(2, 1, first(sandbox.DropStored, sandbox.RouteSession, reset))},
		{n: 20, what: "answer to the declare received, before its commit: Kill", want: "n=1", run: struckThenHeals(when(ledgerWritten(), declareSent()))},
		{n: 21, what: "the same: commit error", want: "fence; n=1", run: struckThenHeals(when(ledgerSynced(), declareSent()).fails(unix.EIO))},
		{n: 22, what: "after DECLARED, before media: Kill", want: "n=1", run: struckThenHeals(when(mediaSent()))},
		{n: 23, what: "the same: Cut", want: "n=1", run: cutThenHeals("sending", mediaSent())},
		{n: 24, what: "the session ended before the media came (404)", want: "declared again; n=1", run: vendorThen(2, 1, first(sandbox.Early, sandbox.RouteMedia, status(404)))},
	}
	for _, kind := range declareErrors() {
		list = append(list, cell{n: 18, what: "answer to the declare: " + string(kind), want: "never DECLARED with an empty id; n=1", run: vendorThen(2, 1, first(kind, sandbox.RouteSession))})
	}
	// An answer with an id of 1 MiB is longer than any answer may be, and so is
	// never read to its end.
	list = append(list, cell{n: 19, what: "answer to the declare: " + string(sandbox.IDHuge), want: "the answer is refused, declared again; n=1", run: vendorThen(2, 1, first(sandbox.IDHuge, sandbox.RouteSession))})
	for _, kind := range []sandbox.Kind{sandbox.IDPath, sandbox.IDCRLF} {
		list = append(list, cell{n: 19, what: "answer to the declare: " + string(kind), want: "HELD(bad_remote_id); never in a URL", run: heldFor("held(bad_remote_id)", 0, first(kind, sandbox.RouteSession))})
	}
	return list
}

func intakeCells() []cell {
	return []cell{
		{n: 1, what: "writer still writing: Kill", want: "n=0 until settled, then n=1", run: killedWhileWritten},
		{n: 2, what: "writer stands still longer than the settle time", want: "n=1 with the final bytes", run: writerPauses},
		{n: 2, what: "writer goes on while the file is sent", want: "mismatch at the gate; n=1 with the final bytes", run: writerGoesOn},
		{n: 3, what: "file complete, before its row: Kill", want: "found by the start scan; n=1", run: killedBeforeItsRow},
		{n: 4, what: "the same: Cut", want: "n=1", run: cutBeforeItsRow},
		{n: 5, what: "hashing: Kill", want: "hashed again; n=1", run: killedWhileHashed},
		{n: 6, what: "hashing: EIO on read", want: "QUARANTINED(io_error); others go on; n=0", run: unreadableFile, long: true},
		{n: 7, what: "item COMMIT: EIO on fsync", want: "fence, no network; n=1", run: rowNotSynced},
		{n: 9, what: "item COMMIT: SQLITE_BUSY", want: "waits; no double row; n=1", run: ledgerLocked},
		{n: 10, what: "waiting for the sidecar: Kill", want: "the timer goes on; n=1", run: killedWhileWaiting},
		{n: 11, what: "the sidecar arrives at the timeout", want: "exactly one of paired and quarantined", run: sidecarAtTheEnd},
	}
}
