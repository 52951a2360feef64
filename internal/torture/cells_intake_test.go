package torture

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Cells of writing, scanning and pairing.

// writes writes the recording in parts, as a slow producer would.
func (c *trial) writes(r *recording, parts [][]byte, between func(part int)) {
	c.Helper()
	c.must(os.WriteFile(c.path("drop", r.name+".json"), []byte(sidecarOf(r.name)), 0o600))
	f, err := os.Create(c.path("drop", r.name+".wav"))
	c.must(err)
	defer f.Close()
	for i, part := range parts {
		between(i)
		_, err := f.Write(part)
		c.must(err)
	}
	c.must(f.Sync())
	r.durable = time.Now()
}

func split(b []byte, n int) (parts [][]byte) {
	for i := range n {
		parts = append(parts, b[i*len(b)/n:(i+1)*len(b)/n])
	}
	return parts
}

func killedWhileWritten(c *trial) {
	c.begin(settings{source: map[string]string{"settle": `"200ms"`}})
	wav := makeWAV(400_000, c.rnd)
	r := c.expect(wav)
	daemon := startDaemon(c.T, c.site)
	c.writes(r, split(wav, 20), func(part int) {
		<-time.After(50 * time.Millisecond) // the pace of the writer
		if part == 10 {
			daemon.kill()
			daemon = startDaemon(c.T, c.site)
		}
		c.arrived(0)
	})
	c.until("it is delivered", func() bool { return len(c.vendor.Contacts()) > 0 })
	c.stops(daemon)
	c.heals()
}

// The writer keeps the file open and stands still for much longer than the
// settle time.
func writerPauses(c *trial) {
	c.begin(settings{})
	wav := makeWAV(400_000, c.rnd)
	r := c.expect(wav)
	daemon := startDaemon(c.T, c.site)
	c.writes(r, split(wav, 2), func(part int) {
		if part == 1 {
			<-aWhile()
			c.arrived(0)
		}
	})
	c.stops(daemon)
	c.heals()
}

// The file looked whole and is being sent when the writer goes on.
func writerGoesOn(c *trial) {
	c.begin(settings{})
	r := c.droppedOf(1_000_000)
	l := c.heldAt(bytesSent(), 2, mediaSent())
	longer := makeWAV(1_500_000, c.rnd)
	r.becomes(longer)
	c.must(os.WriteFile(c.path("drop", r.name+".wav"), longer, 0o600))
	l.free(c.T)
	l.wait(c.T)
	c.heals()
	c.arrived(1)
}

func killedBeforeItsRow(c *trial) {
	c.begin(settings{})
	c.dropped(1)
	c.struck(when(rowWritten()))
	c.arrived(0)
	c.heals()
}

func cutBeforeItsRow(c *trial) {
	d := c.beginOnDisk(settings{})
	c.dropped(1)
	c.healsFrom(c.cutAt(d, rowWritten(), 1))
}

func hashed() moment { return moment{Call: "read", On: "call0000.wav"} }

func killedWhileHashed(c *trial) {
	c.begin(settings{})
	c.droppedOf(1_000_000)
	f := when(hashed())
	f.N = 10 // of about 30 reads: some are for the header
	c.struck(f)
	c.arrived(0)
	c.heals()
}

// One file cannot be read: it is tried again, then a person must look; the
// others go on.
func unreadableFile(c *trial) {
	c.begin(settings{source: map[string]string{"wait_for_sidecar": `"1s"`}})
	c.dropped(3)
	f := when(hashed()).fails(unix.EIO)
	f.Sticky = true
	c.needs(traceable())
	l := c.start(c.T, &f, nil, "run", "--allow-root")
	c.until("the others are delivered", func() bool { return len(c.vendor.Contacts()) == 2 })
	c.until("a person is asked", func() bool { return c.standing("call0000") == "quarantined(io_error)" })
	l.kill()
	c.ended(exempt{}, 2, l.log.String())
}

func rowNotSynced(c *trial) {
	c.begin(settings{})
	c.dropped(1)
	c.struck(when(ledgerSynced(), rowWritten()).fails(unix.EIO))
	if n := c.vendor.Summary().Requests; n != 0 {
		c.Errorf("%d requests went out", n)
	}
	c.heals()
}

// Another program holds the ledger's write lock.
func ledgerLocked(c *trial) {
	c.begin(settings{})
	daemon := startDaemon(c.T, c.site)
	c.says(daemon, "ingestd is running")
	free := c.locksLedger()
	c.dropped(2)
	<-aWhile()
	c.arrived(0)
	free()
	c.until("both are delivered", func() bool { return len(c.vendor.Contacts()) == 2 })
	c.stops(daemon)
	c.heals()
	if rows := c.rows(); len(rows) != 2 {
		c.Errorf("%d rows, want 2", len(rows))
	}
}

func killedWhileWaiting(c *trial) {
	c.begin(settings{})
	wav := makeWAV(5000, c.rnd)
	r := c.expect(wav)
	c.must(writeDurably(c.path("drop", r.name+".wav"), wav))
	r.durable = time.Now()
	var seen [2]time.Time
	for i := range seen {
		daemon := startDaemon(c.T, c.site)
		c.says(daemon, "ingestd is running")
		c.until("it waits", func() bool { return strings.HasPrefix(c.standing(r.name), "waiting") })
		seen[i] = c.rows()[0].FirstSeenAt
		daemon.kill()
	}
	if !seen[0].Equal(seen[1]) {
		c.Errorf("first seen %s, after a restart %s", seen[0], seen[1])
	}
	c.must(writeDurably(c.path("drop", r.name+".json"), []byte(sidecarOf(r.name))))
	c.heals()
}

// Sidecars come just before, at and just after the end of the waiting.
func sidecarAtTheEnd(c *trial) {
	const wait = 600 * time.Millisecond
	c.begin(settings{source: map[string]string{"wait_for_sidecar": fmt.Sprintf("%q", wait), "on_missing_sidecar": `"quarantine"`}})
	daemon := startDaemon(c.T, c.site)
	c.says(daemon, "ingestd is running")
	for range 12 {
		wav := makeWAV(3000, c.rnd)
		c.must(writeDurably(c.path("drop", c.expect(wav).name+".wav"), wav))
	}
	<-time.After(wait - 60*time.Millisecond)
	for _, r := range c.all {
		<-time.After(10 * time.Millisecond)
		c.must(writeDurably(c.path("drop", r.name+".json"), []byte(sidecarOf(r.name))))
		r.durable = time.Now()
	}
	c.until("all are decided", func() bool {
		decided := 0
		for _, row := range c.rows() {
			if row.State == "accepted" || row.State == "quarantined" {
				decided++
			}
		}
		return decided == len(c.all)
	})
	c.stops(daemon)
	// Those that were given up are not sent by themselves.
	c.once(c.T)
	v := c.checkEnd(c.Context(), exempt{})
	if v.published+len(v.kept) != len(c.all) || len(v.violations) > 0 {
		c.Errorf("%d published, %d kept of %d; %v", v.published, len(v.kept), len(c.all), v.violations)
	}
}
