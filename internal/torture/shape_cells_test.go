package torture

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"ingestd/internal/ledger"
	"ingestd/internal/sandbox"
)

// shapeCell is a cell of the matrix that every vendor it makes sense for is
// driven through.
type shapeCell struct {
	n    int // its number in the matrix
	what string
	fits func(shape) bool
	run  func(*shaped)
	one  int              // the short slice runs one of so many such cells; 0: all
	slow func(shape) bool // too slow for the short slice at these vendors
}

// The vendors that a cell may make sense for.
func every(shape) bool      { return true }
func declares(s shape) bool { return s.declare != "" }
func oneStep(s shape) bool  { return s.declare == "" }
func asked(s shape) bool    { return s.ask != "" }
func named(n string) func(shape) bool {
	return func(s shape) bool { return s.name == n }
}

// wideBody is more than all buffers between the two programs hold, so that a
// fault in the first megabyte of it is one before the gate.
const wideBody, earlyIn = 16_000_000, 1_000_000

// resetBeforeTheGate resets the connection before the gate.
func resetBeforeTheGate(c *shaped) {
	c.begins(nil)
	c.misbehave(c.T, first(sandbox.DropMid, sandbox.RouteMedia, reset, func(f *sandbox.Fault) { f.AfterBytes = earlyIn }))
	c.droppedOf(wideBody)
	c.ends(once1)
	c.met()
}

// meets lets the vendor misbehave once, and demands how it ends.
func meets(kind sandbox.Kind, want func(shape) ending, change ...func(*sandbox.Fault)) func(*shaped) {
	return func(c *shaped) {
		c.begins(nil)
		c.misbehave(c.T, first(kind, sandbox.RouteMedia, change...))
		c.dropped(1)
		c.ends(want(c.shape))
		c.met()
	}
}

// declareMeets is the same for the first of two steps.
func declareMeets(kind sandbox.Kind, want func(shape) ending, change ...func(*sandbox.Fault)) func(*shaped) {
	return func(c *shaped) {
		c.begins(nil)
		c.misbehave(c.T, first(kind, c.declare, change...))
		c.dropped(1)
		c.ends(want(c.shape))
		c.met()
	}
}

func arrives(shape) ending { return once1 }
func always(e ending) func(shape) ending {
	return func(shape) ending { return e }
}

// doubtful is a lost answer: to a vendor that has it, or has not.
func doubtful(effects int) func(shape) ending {
	return func(s shape) ending { return s.doubt(effects) }
}

// declaredTwice is a lost answer to a declare.
func declaredTwice(s shape) ending {
	if s.onlyOnce {
		return ending{"held(declare_in_doubt)", 0}
	}
	return once1
}

// unreadableDeclare is an answer to the declare of another form.
func unreadableDeclare(s shape) ending {
	if s.onlyOnce {
		return ending{"held(unknown_answer)", 0}
	}
	return once1
}

// namesAnother: the second upload gets the id of the first.
func namesAnother(c *shaped) {
	c.begins(nil)
	daemon := startDaemon(c.T, c.site)
	c.dropped(1)
	c.until("the first is accepted", func() bool { return c.standing("call0000") == "accepted" })
	c.misbehave(c.T, first(sandbox.IDOther, sandbox.RouteMedia))
	c.dropped(1)
	c.until("the second is settled", func() bool {
		return strings.HasPrefix(c.standing("call0001"), "held") || c.standing("call0001") == "accepted"
	})
	c.until("the first is archived", func() bool { _, err := os.Stat(c.path("archive", "call0000.wav")); return err == nil })
	c.stops(daemon)
	c.checkShape(daemon.log.String(), once1, ending{"held(foreign_id)", 1})
}

// storedLater: a proxy gives up, and the vendor stores after all, before the
// settle time is over.
func storedLater(c *shaped) {
	c.begins(nil, `doubt_settle = "6s"`)
	c.misbehave(c.T, first(sandbox.StatusLate, sandbox.RouteMedia, status(502), func(f *sandbox.Fault) { f.Delay = sandbox.Duration(time.Second) }))
	c.dropped(1)
	c.once(c.T)
	c.until("the late effect has come", func() bool { _, n := c.effects(); return n > 0 })
	c.heals(c.doubt(1))
}

// killedAt kills the daemon while the vendor holds a request back.
func killedAt(kind sandbox.Kind, route func(shape) string, want func(shape) ending) func(*shaped) {
	return func(c *shaped) {
		c.begins(nil)
		c.strandedAt(kind, route(c.shape))
		c.heals(want(c.shape))
	}
}

// strandedAt kills the daemon at a request that the vendor holds back, and
// checks what that left.
func (c *shaped) strandedAt(kind sandbox.Kind, route string, before ...sandbox.Fault) {
	c.Helper()
	f := sandbox.Fault{Kind: kind, Route: route, Delay: sandbox.Duration(hang)}
	size := 2000
	if kind == sandbox.Stall { // the vendor notices after a while that nobody is there
		f.AfterBytes, f.Delay, size = earlyIn, sandbox.Duration(2*time.Second), wideBody
	}
	c.misbehave(c.T, append(before, f)...)
	c.droppedOf(size)
	l := c.start(c.T, nil, nil, once()...)
	c.until("the vendor holds a request", func() bool {
		faults := c.fake.Faults()
		_, n := c.effects()
		stored := kind != sandbox.Slow || route != sandbox.RouteMedia || n > 0
		return faults[len(faults)-1].Applied > 0 && stored
	})
	l.kill()
	c.soundShape(l.log.String())
}

// soundShape checks what lies there while nothing runs.
func (c *shaped) soundShape(output string) {
	c.Helper()
	var v verdict
	effects, _ := c.effects()
	c.checkFiles(&v, effects, exempt{})
	if db := c.snapshot(c.T); db != "" {
		checkLedger(c.Context(), &v, db)
	}
	for _, p := range v.violations {
		c.Errorf("after the fault: %s\n%s", p, output)
	}
}

func media(shape) string       { return sandbox.RouteMedia }
func declaring(s shape) string { return s.declare }

// killedWhileAsked: an answer was lost, and the daemon dies as it asks.
func killedWhileAsked(c *shaped) {
	c.begins(nil)
	c.strandedAt(sandbox.Slow, c.ask, first(sandbox.DropStored, sandbox.RouteMedia))
	if got := c.leftIn(); got != string(ledger.InDoubt) {
		c.Errorf("the kill left it %s", got)
	}
	c.heals(once1)
}

// expiredInDoubt: the answer is lost, and when the daemon is there again the
// place it sent to is no longer one that a second upload would only replace.
func expiredInDoubt(c *shaped) {
	c.begins(func(o *sandbox.Options) { o.Voyc.TargetLife = 64 * time.Second })
	c.strandedAt(sandbox.Slow, sandbox.RouteMedia)
	<-time.After(5 * time.Second) // less than a minute is left of the target
	c.heals(ending{"held(in_doubt)", 1})
}

// killedAtSync kills the daemon at the N-th sync of the ledger: each of its
// durable steps is one.
func killedAtSync(n int) func(*shaped) {
	return func(c *shaped) {
		c.needs(traceable())
		c.begins(nil)
		c.dropped(1)
		f := when(ledgerSynced())
		f.N = n
		out := c.traced(c.T, f)
		c.soundShape(out.output)
		_, effects := c.effects()
		if out.trace.Where == "" { // it has no such step
			c.ends(once1)
			return
		}
		c.heals(c.crashed(c.leftIn(), effects))
	}
}

// syncsOfALife is more than the steps that one recording takes.
const syncsOfALife = 24

func mediaFaults() []shapeCell {
	cell := func(n int, what string, run func(*shaped)) shapeCell {
		return shapeCell{n: n, what: what, fits: every, run: run}
	}
	// This vendor may be asked twice a minute, and absence is an answer twice.
	asks := func(n int, what string, run func(*shaped)) shapeCell {
		return shapeCell{n: n, what: what, fits: every, run: run, slow: named("elevateai")}
	}
	list := []shapeCell{
		cell(26, "reset before the body", meets(sandbox.Refuse, arrives, reset)),
		asks(26, "reset in the body", resetBeforeTheGate),
		cell(31, "early 413", meets(sandbox.Early, always(ending{"rejected(too_large)", 0}), status(413))),
		cell(32, "early 429", meets(sandbox.Early, arrives, status(429), func(f *sandbox.Fault) { f.RetryAfter = "1" })),
		cell(42, "answer lost, stored", meets(sandbox.DropStored, doubtful(1))),
		asks(45, "reset after the body, not stored", meets(sandbox.DropLost, doubtful(0), reset)),
		cell(46, "500 after storing", meets(sandbox.StatusStored, doubtful(1), status(500))),
		asks(47, "500 without storing", meets(sandbox.Status, doubtful(0), status(500))),
		asks(48, "a proxy's 502, stored later", storedLater),
		asks(25, "in the body: Kill", killedAt(sandbox.Stall, media, arrives)),
		cell(42, "stored, not yet answered: Kill", killedAt(sandbox.Slow, media, doubtful(1))),
	}
	for _, kind := range []sandbox.Kind{sandbox.HTML, sandbox.Truncated, sandbox.BrokenJSON, sandbox.OtherJSON} {
		list = append(list, cell(49, "answer: "+string(kind), meets(kind, doubtful(1))))
	}
	return list
}

func otherFaults() []shapeCell {
	list := []shapeCell{
		// What the object storage thinks of a target is no matter of credentials.
		{n: 30, what: "early 401", fits: func(s shape) bool { return s.name != "voyc" }, run: meets(sandbox.Early, arrives, status(401))},
		{n: 30, what: "early 401 to the declare", fits: declares, run: declareMeets(sandbox.Early, arrives, status(401))},
		{n: 32, what: "early 429 to the declare", fits: declares, run: declareMeets(sandbox.Early, arrives, status(429))},
		{n: 50, what: "answer that names another upload", fits: oneStep, run: namesAnother},
		{n: 15, what: "declare answered by 503", fits: declares, run: declareMeets(sandbox.Status, declaredTwice, status(503))},
		{n: 17, what: "answer to the declare lost", fits: declares, run: declareMeets(sandbox.DropStored, declaredTwice)},
		{n: 18, what: "answer to the declare: html", fits: declares, run: declareMeets(sandbox.HTML, unreadableDeclare)},
		{n: 18, what: "answer to the declare: truncated", fits: declares, run: declareMeets(sandbox.Truncated, declaredTwice)},
		{n: 19, what: "answer to the declare: id_path", fits: func(s shape) bool { return declares(s) && s.name != "voyc" }, // its id gets into no URL
			run: declareMeets(sandbox.IDPath, always(ending{"held(bad_remote_id)", 0}))},
		{n: 20, what: "declare under way: Kill", fits: declares, run: killedAt(sandbox.Slow, declaring, declaredTwice)},
		{n: 60, what: "asked about a doubt: Kill", fits: asked, run: killedWhileAsked},
		{n: 42, what: "in doubt until the target expired", fits: named("voyc"), run: expiredInDoubt},
	}
	for n := 1; n <= syncsOfALife; n++ {
		list = append(list, shapeCell{n: 65, what: fmt.Sprintf("sync %d of the ledger: Kill", n), fits: every, run: killedAtSync(n), one: 8, slow: named("elevateai")})
	}
	return list
}

func shapeCells() []shapeCell { return slices.Concat(mediaFaults(), otherFaults()) }
