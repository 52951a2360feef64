package torture

import (
	"os"
	"time"

	"ingestd/internal/sandbox"
)

// Cells of the body before the gate.

// bodySize is more than the buffers between the two programs hold, so that a
// body is under way for a while.
const bodySize = 1_000_000

func killedInTheBody(c *trial) {
	c.begin(settings{})
	c.droppedOf(bodySize)
	c.struck(when(bytesSent(), mediaSent())) // the first buffer of 64 KiB
	c.arrived(0)
	c.heals()
	c.arrived(1)
}

func resetInTheBody(c *trial) {
	c.begin(quickly())
	c.misbehave(c.T, first(sandbox.DropMid, sandbox.RouteMedia, reset, func(f *sandbox.Fault) { f.AfterBytes = bodySize / 2 }))
	c.droppedOf(bodySize)
	out := c.once(c.T)
	c.ended(exempt{}, 1, out.output)
	c.arrived(1)
}

// The last buffer but one of a large body is 99 % of the way.
func cutInTheBody(c *trial) {
	d := c.beginOnDisk(settings{})
	c.droppedOf(64 << 10 * 100)
	dark := c.cutAt(d, bytesSent(), 98, mediaSent())
	c.stoodAt("sending")
	c.arrived(0)
	c.healsFrom(dark)
}

// An answer before the body: what was sent for nothing must be little.
func early(status int) sandbox.Fault {
	return sandbox.Fault{Kind: sandbox.Early, Route: sandbox.RouteMedia, Status: status, First: 1}
}

func earlyUnauthorized(c *trial) {
	c.begin(quickly())
	c.misbehave(c.T, early(401))
	c.droppedOf(bodySize)
	out := c.once(c.T)
	c.ended(exempt{}, 1, out.output)
	c.arrived(1)
	tokens, wasted := 0, int64(0)
	for _, r := range c.vendor.Requests() {
		if r.Route == sandbox.RouteToken {
			tokens++
		}
		if r.Status == 401 {
			wasted += r.Bytes
		}
	}
	if tokens != 2 || wasted != 0 {
		c.Errorf("%d tokens were asked for, want 2; %d bytes read for nothing", tokens, wasted)
	}
}

func earlyTooLarge(c *trial) {
	c.begin(quickly())
	c.misbehave(c.T, early(413))
	c.dropped(1)
	out := c.once(c.T)
	c.stands("call0000", "rejected(too_large)")
	c.arrived(0)
	c.ended(exempt{}, 0, out.output)
	if got := c.vendor.Summary().Routes[sandbox.RouteMedia]["413"]; got != 1 {
		c.Errorf("%d media requests, want 1", got)
	}
	if out := c.once(c.T); out.code != 3 || len(c.vendor.Sessions()) != 1 {
		c.Errorf("a second run: exit %d, %d sessions", out.code, len(c.vendor.Sessions()))
	}
}

// whileSent changes the source file when the first bytes of it have been
// written, and lets the attempt go on.
func (c *trial) whileSent(change func(path string)) outcome {
	c.Helper()
	c.begin(settings{source: map[string]string{"wait_for_sidecar": `"300ms"`}})
	r := c.droppedOf(bodySize)
	l := c.heldAt(bytesSent(), 3, mediaSent())
	change(c.path("drop", r.name+".wav"))
	l.free(c.T)
	return l.wait(c.T)
}

// The rest of the file never comes back: what is left is refused as
// truncated, and nothing of it was taken for whole.
func sourceTruncated(c *trial) {
	out := c.whileSent(func(path string) { c.must(os.Truncate(path, bodySize/2)) })
	c.arrived(0)
	c.all[0].durable = time.Time{} // its bytes are gone by the producer's own act
	daemon := startDaemon(c.T, c.site)
	c.until("a person is asked", func() bool { return c.standing("call0000") == "quarantined(truncated)" })
	c.stops(daemon)
	if v := c.checkEnd(c.Context(), exempt{}); len(v.violations) > 0 {
		c.Errorf("%v\n%s", v.violations, out.output)
	}
	whole := makeWAV(bodySize, c.rnd)
	c.all[0].becomes(whole)
	c.must(os.WriteFile(c.path("drop", "call0000.wav"), whole, 0o600))
	c.heals()
	c.arrived(1)
}

// Only the content tells that the file is another one.
func sourceOverwritten(c *trial) {
	c.whileSent(func(path string) {
		info, err := os.Stat(path)
		c.must(err)
		other := makeWAV(bodySize, c.rnd)
		c.all[0].becomes(other)
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		c.must(err)
		_, err = f.Write(other)
		c.must(err)
		c.must(f.Close())
		c.must(os.Chtimes(path, info.ModTime(), info.ModTime()))
	})
	c.heals()
	c.arrived(1)
}

// The descriptor stays valid, so the upload comes to its end.
func sourceDeleted(c *trial) {
	out := c.whileSent(func(path string) { c.must(os.Remove(path)) })
	c.all[0].durable = time.Time{} // deleted by the producer
	if c.once(c.T); len(c.vendor.Contacts()) > 1 {
		c.Errorf("%d complete uploads\n%s", len(c.vendor.Contacts()), out.output)
	}
	var v verdict
	c.checkVendor(&v)
	checkLedger(c.Context(), &v, c.path("state", "ledger.db"))
	if len(v.violations) > 0 {
		c.Errorf("%v\n%s", v.violations, out.output)
	}
	if got := c.standing("call0000"); v.published == 1 && got != "accepted" || v.published == 0 && got != "vanished(vanished)" {
		c.Errorf("%d published and it is %s", v.published, got)
	}
}

// A link in place of the file is never followed, and never moved.
func sourceBecomesLink(c *trial) {
	var secret string
	out := c.whileSent(func(path string) {
		secret = c.path("secret.wav")
		c.must(os.WriteFile(secret, makeWAV(2000, c.rnd), 0o600))
		c.must(os.Remove(path))
		c.must(os.Symlink(secret, path))
	})
	c.all[0].durable = time.Time{} // its name was taken by the producer
	c.once(c.T)
	var v verdict
	c.checkVendor(&v) // every contact must be the recording's own bytes
	checkLedger(c.Context(), &v, c.path("state", "ledger.db"))
	if len(v.violations) > 0 || v.published != 1 {
		c.Errorf("%d published; %v\n%s", v.published, v.violations, out.output)
	}
	if target, err := os.Readlink(c.path("drop", "call0000.wav")); err != nil || target != secret {
		c.Errorf("the link: %q, %v", target, err)
	}
}

func bodyCells() []cell {
	return []cell{
		{n: 25, what: "body at its beginning: Kill", want: "class INCOMPLETE; n=0, then 1", run: killedInTheBody},
		{n: 26, what: "body at 50 %: reset", want: "the same", run: resetInTheBody},
		{n: 27, what: "body at 99 %: Cut", want: "row SENDING, no doubt; n=1", run: cutInTheBody},
		{n: 30, what: "early 401", want: "credential reloaded once, no body wasted", run: earlyUnauthorized},
		{n: 31, what: "early 413", want: "REJECTED(too_large); n=0; no loop", run: earlyTooLarge},
		{n: 33, what: "source truncated", want: "abort before the gate; n=0 for the old content", run: sourceTruncated},
		{n: 34, what: "source overwritten, size and times restored", want: "gate mismatch; n=1 with the new content", run: sourceOverwritten},
		{n: 35, what: "source deleted", want: "n=1, or VANISHED with n=0; never half", run: sourceDeleted},
		{n: 36, what: "source replaced by a symlink", want: "the descriptor is unaffected, the link refused", run: sourceBecomesLink},
	}
}
