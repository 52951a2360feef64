package torture

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ingestd/internal/sandbox"
)

// Cells of the gate and of what comes after it. The recordings are small:
// nothing of their bodies is written before the gate has opened.

// The commit of COMMITTING is the first sync of the ledger after the head of
// the media request; the tail goes out after it, and after the answer the
// ledger is written again.
func committing() (moment, []moment) { return ledgerSynced(), []moment{mediaSent()} }
func tailSent() (moment, []moment)   { return bytesSent(), []moment{mediaSent(), ledgerSynced()} }
func accepting() (moment, []moment) {
	return ledgerWritten(), []moment{mediaSent(), ledgerSynced(), bytesSent()}
}

func whenever(m moment, after []moment) fault { return when(m, after...) }

// struckHaving is a fault after which the vendor has so many uploads, and in
// the end one published.
func struckHaving(arrived int, f fault) func(*trial) {
	return func(c *trial) {
		c.begin(settings{})
		c.dropped(1)
		c.struck(f)
		c.arrived(arrived)
		c.heals()
	}
}

func cutHaving(arrived int, state string, m moment, after []moment) func(*trial) {
	return func(c *trial) {
		d := c.beginOnDisk(settings{})
		c.dropped(1)
		dark := c.cutAt(d, m, 1, after...)
		c.arrived(arrived)
		c.stoodAt(state)
		c.healsFrom(dark)
	}
}

// The disk freezes while COMMITTING is written.
func frozen(long time.Duration) func(*trial) {
	return func(c *trial) {
		c.root()
		c.begin(settings{})
		d, err := newDiskAt(c.T, c.path("frozen"), diskSize)
		c.needs(err)
		c.must(os.RemoveAll(c.path("state")))
		c.must(os.Mkdir(c.path("frozen", "state"), 0o700))
		c.must(os.Symlink(c.path("frozen", "state"), c.path("state")))
		c.dropped(1)
		m, after := committing()
		l := c.heldAt(m, 1, after...)
		thaw := c.freezes(d)
		l.free(c.T)
		<-time.After(long)
		c.arrived(0)
		thaw()
		l.wait(c.T)
		c.heals()
	}
}

// freezes stops all writing on the disk until the returned function is called.
func (c *trial) freezes(d *disk) (thaw func()) {
	c.Helper()
	const fifreeze, fithaw = 0xc0045877, 0xc0045878
	f, err := os.Open(d.at)
	c.must(err)
	if err := unix.IoctlSetInt(int(f.Fd()), fifreeze, 0); err != nil {
		f.Close()
		c.needs(err)
	}
	thawed := false
	thaw = func() {
		if !thawed {
			thawed = true
			if err := errors.Join(unix.IoctlSetInt(int(f.Fd()), fithaw, 0), f.Close()); err != nil {
				c.Error(err)
			}
		}
	}
	c.Cleanup(thaw) // or nothing on it could ever end
	return thaw
}

// killedWhenStored strikes when the vendor has stored and not yet answered.
func killedWhenStored(c *trial) {
	c.begin(settings{})
	c.storedSlowly()
	c.dropped(1)
	l := c.start(c.T, nil, nil, once()...)
	c.until("the vendor stores", func() bool { return len(c.vendor.Contacts()) > 0 })
	l.kill()
	c.sound(exempt{}, l.log.String())
	c.stoodAt("committing")
	c.heals()
	c.arrived(2) // the second one is not published
}

func cutWhenStored(c *trial) {
	d := c.beginOnDisk(settings{})
	c.storedSlowly()
	c.dropped(1)
	l := c.start(c.T, nil, nil, once()...)
	c.until("the vendor stores", func() bool { return len(c.vendor.Contacts()) > 0 })
	dark := c.cutNow(d, l)
	c.stoodAt("committing")
	c.healsFrom(dark)
}

func (c *trial) storedSlowly() {
	c.Helper()
	c.misbehave(c.T, sandbox.Fault{Kind: sandbox.Slow, Route: sandbox.RouteMedia, Delay: sandbox.Duration(hang)})
}

// terminated gets SIGTERM during the commit of ACCEPTED.
func terminated(c *trial) {
	c.begin(settings{})
	c.dropped(1)
	m, after := accepting()
	f := when(m, after...).holds()
	c.needs(traceable())
	l := c.start(c.T, &f, nil, "run", "--allow-root")
	l.held(c.T)
	l.signal(c.T, syscall.SIGTERM)
	<-time.After(100 * time.Millisecond) // it takes the signal while the call is held
	l.free(c.T)
	if out := l.wait(c.T); out.code != 0 {
		c.Errorf("exit %d\n%s", out.code, out.output)
	}
	c.stoodAt("accepted")
	c.heals()
	c.arrived(1)
}

// full meets the disk full once while ACCEPTED is written: it is retried in
// place.
func full(c *trial) {
	c.begin(settings{})
	c.dropped(1)
	m, after := accepting()
	c.needs(traceable())
	if out := c.traced(c.T, when(m, after...).fails(unix.ENOSPC)); out.code != 0 || out.trace.Where == "" {
		c.Errorf("exit %d (%q)\n%s", out.code, out.trace.Where, out.output)
	}
	c.heals()
	c.arrived(1)
}

// answeredAtTheGate: the vendor refuses while the gate commits.
func answeredAtTheGate(c *trial) {
	c.begin(quickly())
	// Longer than ingestd waits for a 100 before it sends the body anyway.
	refuse := early(401)
	refuse.Delay = sandbox.Duration(2 * time.Second)
	c.misbehave(c.T, refuse)
	c.dropped(1)
	m, after := committing()
	l := c.heldAt(m, 1, after...)
	c.until("the vendor has answered", func() bool { return c.vendor.Summary().Routes[sandbox.RouteMedia]["401"] > 0 })
	<-time.After(500 * time.Millisecond) // the answer is on its way
	l.free(c.T)
	if out := l.wait(c.T); out.code != 0 {
		c.Errorf("exit %d\n%s", out.code, out.output)
	}
	c.heals()
	c.arrived(1)
}

func gateCells() []cell {
	lost := func(kind sandbox.Kind, change ...func(*sandbox.Fault)) sandbox.Fault {
		return first(kind, sandbox.RouteMedia, change...)
	}
	cm, ca := committing()
	tm, ta := tailSent()
	am, aa := accepting()
	return []cell{
		{n: 37, what: "gate: COMMITTING commit: EIO", want: "no tail, fence; n=1", run: struckHaving(0, whenever(committing()).fails(unix.EIO))},
		{n: 39, what: "gate: disk frozen 2 s", want: "no tail until it thaws; n=1", run: frozen(2 * time.Second)},
		{n: 39, what: "gate: disk frozen 120 s", want: "the request times out before the tail; n=1", run: frozen(2 * time.Minute), long: true},
		{n: 40, what: "after COMMITTING, before the tail: Kill", want: "n=0, IN_DOUBT, n=1", run: struckHaving(0, whenever(tailSent()))},
		{n: 41, what: "the same: Cut", want: "the row is durable; n=1", run: cutHaving(0, "committing", tm, ta)},
		{n: 42, what: "tail sent, server accepted: Kill", want: "sent again under the same id; n=1", run: killedWhenStored},
		{n: 43, what: "the same: Cut", want: "as 42", run: cutWhenStored},
		{n: 45, what: "tail sent, reset, not accepted", want: "IN_DOUBT; n=1", run: vendorThen(2, 1, lost(sandbox.DropLost, reset))},
		{n: 46, what: "tail sent: 500 after accepting", want: "IN_DOUBT; n=1", run: vendorThen(2, 2, lost(sandbox.StatusStored, status(500)))},
		{n: 47, what: "tail sent: 500 without accepting", want: "finally n=1", run: vendorThen(2, 1, lost(sandbox.Status, status(500)))},
		{n: 49, what: "answer cut in mid-JSON", want: "IN_DOUBT; n=1", run: vendorThen(2, 2, lost(sandbox.Truncated))},
		{n: 49, what: "answer of fewer bytes than were sent", want: "IN_DOUBT; n=1", run: vendorThen(2, 2, lost(sandbox.ShortLength))},
		{n: 50, what: "answer that names another upload", want: "HELD, never CONFIRMED", run: foreignID},
		{n: 51, what: "answer read, before the ACCEPTED commit: Kill", want: "IN_DOUBT, as 42; n=1", run: struckHaving(1, whenever(accepting()))},
		{n: 52, what: "the same: Cut", want: "as 51", run: cutHaving(1, "committing", am, aa)},
		{n: 53, what: "the same: SIGTERM", want: "the commit completes; ACCEPTED; exit 0", run: terminated},
		{n: 54, what: "the same: EIO", want: "fence and exit, as 51", run: struckHaving(1, whenever(accepting()).fails(unix.EIO))},
		{n: 54, what: "the same: disk full, once", want: "retried in place; n=1", run: full},
		{n: 98, what: "gate: early 401 while it commits", want: "class after the body's Close; no tail or IN_DOUBT; n=1", run: answeredAtTheGate},
		{n: 37, what: "gate: COMMITTING is not written", want: "no tail, fence; n=1", run: struckHaving(0, when(ledgerWritten(), ca...).fails(unix.EIO))},
		{n: 40, what: "gate: Kill at its commit", want: "n=0, then n=1", run: struckHaving(0, when(cm, ca...))},
	}
}

// The second upload gets the id of the first.
func foreignID(c *trial) {
	c.begin(quickly())
	daemon := startDaemon(c.T, c.site)
	c.dropped(1)
	c.until("the first is accepted", func() bool { return c.standing("call0000") == "accepted" })
	c.misbehave(c.T, first(sandbox.IDOther, sandbox.RouteMedia))
	c.dropped(1)
	c.until("a person is asked", func() bool { return c.standing("call0001") == "held(foreign_id)" })
	c.stops(daemon)
	c.arrived(2)
}
