package torture

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"ingestd/internal/ledger"
)

// trial is one cell under way: a site, and the words in which cells are told.
type trial struct {
	*testing.T
	*site
	rnd    *rand.Rand
	cannot string // why this machine cannot run the cell
}

// errCannot ends a cell that this machine cannot run.
var errCannot = errors.New("this machine cannot run the cell")

// needs ends the cell, without a failure, where the machine lacks something.
func (c *trial) needs(err error) {
	if err != nil {
		c.cannot = err.Error()
		panic(errCannot)
	}
}

func (c *trial) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// begin makes the site of the cell.
func (c *trial) begin(set settings) {
	c.Helper()
	c.site = newSiteWith(c.T, c.TempDir(), set)
}

// beginOnDisk makes the site on a file system of its own, whose power can be
// cut and which can be frozen.
func (c *trial) beginOnDisk(set settings) *disk {
	c.Helper()
	d, err := newDisk(c.T)
	c.needs(err)
	c.site = newSiteWith(c.T, d.at, set)
	c.must(errors.Join(syncDirectory(c.dir), command("sync", "-f", c.path("ingestd.toml"))))
	return d
}

// dropped brings so many small recordings.
func (c *trial) dropped(n int) {
	c.Helper()
	for range n {
		c.must(c.drop(c.rnd))
	}
}

// droppedOf brings one recording of about so many bytes.
func (c *trial) droppedOf(bytes int) *recording {
	c.Helper()
	wav := makeWAV(bytes, c.rnd)
	r := c.expect(wav)
	c.must(writeDurably(c.path("drop", r.name+".json"), []byte(sidecarOf(r.name))))
	c.must(writeDurably(c.path("drop", r.name+".wav"), wav))
	r.durable = time.Now()
	return r
}

// The moments at which a cell may strike.
func tokenAsked() moment { return moment{Call: "write", On: "socket:", Has: "POST /connect/token"} }
func declareSent() moment {
	return moment{Call: "write", On: "socket:", Has: "POST /ingestion/api/session"}
}
func mediaSent() moment {
	return moment{Call: "write", On: "socket:", Has: "POST /ingestion/api/media"}
}
func bytesSent() moment     { return moment{Call: "write", On: "socket:"} }
func ledgerWritten() moment { return moment{Call: "pwrite64", On: "ledger.db-wal"} }
func ledgerSynced() moment  { return moment{Call: "fsync", On: "ledger.db-wal"} }
func rowWritten() moment    { return moment{Call: "pwrite64", On: "ledger.db-wal", Has: "call0000.wav"} }
func fileMoved() moment     { return moment{Call: "renameat2", Has: "call0000.wav"} }

// when is a SIGKILL at the first m after the others.
func when(m moment, after ...moment) fault { return fault{moment: m, After: after, N: 1} }

func (f fault) fails(e syscall.Errno) fault { f.Errno = int(e); return f }
func (f fault) holds() fault                { f.Hold = true; return f }

// struck runs until the fault has come, and demands that it came and left
// nothing lost, doubled or unsound.
func (c *trial) struck(f fault) outcome {
	c.Helper()
	c.needs(traceable())
	out := c.traced(c.T, f)
	if out.trace.Where == "" {
		c.Fatalf("the moment of the cell did not come (%d calls)\n%s", out.trace.Seen, out.output)
	}
	if f.Errno != 0 && out.code == 0 && !f.harmless() {
		c.Errorf("%s: it ended with 0\n%s", f, out.output)
	}
	c.sound(exempt{}, out.output)
	return out
}

// harmless faults need not end the program.
func (f fault) harmless() bool {
	return f.Errno == int(syscall.ENOSPC) && !f.Sticky || f.Call == "renameat2"
}

// heldAt starts a run and waits until the moment is held.
func (c *trial) heldAt(m moment, n int, after ...moment) *life {
	c.Helper()
	c.needs(traceable())
	f := when(m, after...).holds()
	f.N = n
	l := c.start(c.T, &f, nil, once()...)
	l.held(c.T)
	return l
}

// sound checks what lies there while nothing runs.
func (c *trial) sound(e exempt, output string) {
	c.Helper()
	for _, p := range c.checkCrashed(c.Context(), c.snapshot(c.T), e).violations {
		c.Errorf("after the fault: %s\n%s", p, output)
	}
}

// cutAt cuts the power at the moment, kills the daemon and mounts again.
func (c *trial) cutAt(d *disk, m moment, n int, after ...moment) exempt {
	c.Helper()
	return c.cutNow(d, c.heldAt(m, n, after...))
}

func (c *trial) cutNow(d *disk, l *life) exempt {
	c.Helper()
	dark := exempt{from: time.Now()}
	c.must(d.cut())
	l.kill()
	dark.to = time.Now()
	c.must(d.remount())
	c.sound(dark, l.log.String())
	return dark
}

// heals lets the vendor behave, runs until nothing moves, and demands that
// every recording was published once.
func (c *trial) heals() verdict {
	c.Helper()
	return c.healsFrom(exempt{})
}

func (c *trial) healsFrom(e exempt) verdict {
	c.Helper()
	c.misbehave(c.T)
	out := c.once(c.T)
	if out.code != 0 {
		c.Errorf("at the end: exit %d\n%s", out.code, out.output)
	}
	return c.ended(e, len(c.all), out.output)
}

// ended checks everything after a run that came to its end: so many
// recordings published, the others kept with a reason.
func (c *trial) ended(e exempt, published int, output string) verdict {
	c.Helper()
	v := c.checkEnd(c.Context(), e)
	for _, p := range v.violations {
		c.Errorf("at the end: %s\n%s", p, output)
	}
	if v.published != published || len(v.kept) != len(c.all)-published {
		c.Errorf("at the end: %d published, want %d of %d; kept: %q\n%s", v.published, published, len(c.all), v.kept, output)
	}
	return v
}

// arrived demands so many complete media objects at the vendor (n).
func (c *trial) arrived(n int) {
	c.Helper()
	if got := len(c.vendor.Contacts()); got != n {
		c.Errorf("the vendor has %d complete recordings, want %d", got, n)
	}
}

// stands demands where the delivery of a recording (or the recording itself)
// is, as in "held(bad_remote_id)".
func (c *trial) stands(name, want string) {
	c.Helper()
	if got := c.standing(name); got != want {
		c.Errorf("%s is %s, want %s", name, got, want)
	}
}

// standing asks the ledger beside the daemon, or without one.
func (c *trial) standing(name string) string {
	c.Helper()
	state := "unknown"
	for _, row := range c.rows() {
		if row.Path != name+".wav" {
			continue
		}
		state = row.State
		if row.Reason != nil && *row.Reason != "" {
			state += "(" + *row.Reason + ")"
		}
	}
	return state
}

// rows lists the ledger; none where there is no ledger yet.
func (c *trial) rows() (out []ledger.Row) {
	c.Helper()
	r, err := ledger.OpenReader(c.Context(), c.path("state", "ledger.db"))
	if err != nil {
		return nil
	}
	defer r.Close()
	if err := r.List(c.Context(), ledger.Filter{}, func(row ledger.Row) error { out = append(out, row); return nil }); err != nil {
		c.Fatal(err)
	}
	return out
}

// until waits for a condition.
func (c *trial) until(what string, ask func() bool) {
	c.Helper()
	c.eventually(what, 0, ask)
}

// eventually waits longer where there is much to do.
func (c *trial) eventually(what string, recordings int, ask func() bool) {
	c.Helper()
	limit := hang + time.Duration(recordings)*20*time.Millisecond
	end := time.After(limit)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ask() {
		select {
		case <-end:
			c.Fatalf("%s: not within %s", what, limit)
		case <-tick.C:
		}
	}
}

// says waits until the daemon has logged the words.
func (c *trial) says(l *life, words string) {
	c.Helper()
	c.until("the daemon says "+words, func() bool {
		select {
		case <-l.ended:
			if !strings.Contains(l.log.String(), words) {
				c.Fatalf("it ended and did not say %q:\n%s", words, &l.log)
			}
		default:
		}
		return strings.Contains(l.log.String(), words)
	})
}

// stops ends a daemon in order.
func (c *trial) stops(l *life) outcome {
	c.Helper()
	l.signal(c.T, syscall.SIGTERM)
	return l.wait(c.T)
}

// root ends the cell where only root can do what it needs.
func (c *trial) root() {
	if os.Geteuid() != 0 {
		c.needs(errors.New("only root can make the mounts it needs"))
	}
}

// aWhile is a time in which something must not happen.
func aWhile() <-chan time.Time { return time.After(1500 * time.Millisecond) }

// peakMemory of a running daemon in bytes.
func (c *trial) peakMemory(l *life) int64 {
	c.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", l.pid(c.T)))
	c.must(err)
	for line := range strings.Lines(string(raw)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	c.Fatal("no VmHWM")
	return 0
}
