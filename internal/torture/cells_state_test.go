package torture

import (
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ingestd/internal/sandbox"
)

// Cells of crashes that repeat, of others at the ledger, and of a full disk.

// A panic in one worker is a crash of one delivery, and the others go on.
func panicInWorker(c *trial) {
	program, err := failing()
	c.must(err)
	c.begin(settings{})
	c.dropped(3)
	out := c.runWith(c.T, program, []string{"INGESTD_FAILPOINTS=send.before=panic"}, once()...)
	if out.code != 0 || strings.Count(out.output, "sender panicked") != 1 {
		c.Errorf("exit %d\n%s", out.code, out.output)
	}
	c.ended(exempt{}, 3, out.output)
	c.arrived(3)
}

// A recording that makes its worker panic every time is held at the third.
func panicEveryTime(c *trial) {
	program, err := failing()
	c.must(err)
	c.begin(settings{})
	c.dropped(1)
	out := c.runWith(c.T, program, []string{"INGESTD_FAILPOINTS=send.before=panic@1+"}, once()...)
	if out.code != 3 || strings.Count(out.output, "sender panicked") != 3 {
		c.Errorf("exit %d, want 3 after three panics\n%s", out.code, out.output)
	}
	c.stands("call0000", "held(poison)")
	c.ended(exempt{}, 0, out.output)
	if out := c.run(c.T, "retry", "--all"); out.code != 0 {
		c.Errorf("retry: exit %d\n%s", out.code, out.output)
	}
	c.heals()
}

// What kills the program three times is held; what was beside it is not.
func poison(c *trial) {
	c.begin(settings{})
	c.dropped(1)
	for range 3 {
		c.struck(when(mediaSent()))
	}
	out := c.once(c.T)
	if out.code != 3 {
		c.Errorf("exit %d, want 3\n%s", out.code, out.output)
	}
	c.stands("call0000", "held(poison)")
	c.arrived(0)
	c.ended(exempt{}, 0, out.output)
}

// Readers beside the daemon: `status` again and again, and one that holds its
// view for a while, so that the log of the ledger cannot shrink meanwhile.
func readersBeside(long time.Duration) func(*trial) {
	return func(c *trial) {
		daemon := c.running(settings{})
		c.dropped(1)
		c.until("it is accepted", func() bool { return c.standing("call0000") == "accepted" })
		db := c.openLedger()
		_, err := db.Exec("BEGIN")
		c.must(err)
		var n int
		c.must(db.QueryRow("SELECT count(*) FROM events").Scan(&n))
		for end := time.Now().Add(long); time.Now().Before(end); {
			c.dropped(2)
			if out := c.run(c.T, "status"); out.code != 0 && out.code != 3 {
				c.Errorf("status: exit %d\n%s", out.code, out.output)
			}
		}
		_, err = db.Exec("COMMIT")
		c.must(err)
		c.delivers(daemon)
		if info, err := os.Stat(c.path("state", "ledger.db-wal")); err == nil && info.Size() > 0 {
			c.Errorf("the log has %d bytes after the end", info.Size())
		}
	}
}

// The lock file is removed and a second instance starts: the first one
// notices within its check and writes nothing more.
func lockRemoved(c *trial) {
	daemon := c.running(settings{})
	c.must(os.Remove(c.path("state", "ledger.lock")))
	second := startDaemon(c.T, c.site)
	c.dropped(4)
	c.until("the first one ends", func() bool {
		select {
		case <-daemon.ended:
			return true
		case <-second.ended:
			return true
		default:
			return false
		}
	})
	if out := daemon.wait(c.T); out.code == 0 || !strings.Contains(out.output, "lock") {
		c.Errorf("the first one ended with %d\n%s", out.code, out.output)
	}
	c.until("all are published", func() bool { return int(c.vendor.Summary().Contacts[sandbox.Published]) >= len(c.all) })
	c.stops(second)
	c.heals()
}

// smallState puts the state on a disk that can be filled up.
func (c *trial) smallState(set settings, size int64) (fill, empty func()) {
	c.Helper()
	c.root()
	c.begin(set)
	d, err := newDiskAt(c.T, c.path("state"), size)
	c.needs(err)
	name := c.path("state", "filler")
	fill = func() {
		f, err := os.Create(name)
		c.must(err)
		// What is reserved for root must go as well.
		if _, err := io.Copy(f, zeros{}); !errors.Is(err, unix.ENOSPC) {
			c.Errorf("filling up: %v", err)
		}
		f.Close()
	}
	_ = d
	return fill, func() { c.must(os.Remove(name)) }
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// The disk of the ledger is full when new recordings come.
func diskFull(c *trial) {
	fill, empty := c.smallState(settings{}, 96<<20)
	daemon := startDaemon(c.T, c.site)
	c.says(daemon, "ingestd is running")
	fill()
	c.dropped(4)
	<-time.After(30 * time.Second) // longer than a full disk was ever waited for
	select {
	case <-daemon.ended:
		c.Errorf("it ended with the disk full\n%s", &daemon.log)
	default:
	}
	c.sound(exempt{}, daemon.log.String())
	empty()
	c.delivers(daemon)
}

// The disk is full and the index of the log is gone when it starts.
func diskFullAtStart(c *trial) {
	fill, empty := c.smallState(settings{}, 96<<20)
	c.dropped(2)
	m, after := accepting()
	c.struck(when(m, after...))
	c.must(os.Remove(c.path("state", "ledger.db-shm")))
	fill()
	out := c.run(c.T, once()...)
	// What is kept back for such a day may be enough to go on.
	if out.code == -1 || out.code != 0 && !strings.Contains(out.output, "MiB are free") {
		c.Errorf("exit %d\n%s", out.code, out.output)
	}
	c.sound(exempt{}, out.output)
	empty()
	c.heals()
}

func fullAtGate(c *trial) {
	c.begin(settings{})
	c.dropped(1)
	c.needs(traceable())
	c.traced(c.T, when(ledgerWritten(), mediaSent()).fails(unix.ENOSPC))
	c.sound(exempt{}, "")
	c.heals()
}

// The run that recovers is killed as well, at other moments.
func killedInRecovery(c *trial) {
	for n := 1; n <= 5; n += 2 {
		c.begin(settings{})
		c.dropped(1)
		m, after := tailSent()
		c.struck(when(m, after...))
		f := when(ledgerWritten())
		f.N = n
		c.struck(f)
		c.heals()
	}
}

func stateCells() []cell {
	return []cell{
		{n: 8, what: "item COMMIT: disk full", want: "intake paused, no crash loop; with space again n=1", run: diskFull, long: true},
		{n: 38, what: "gate: COMMITTING commit: ENOSPC, once", want: "recovers; n=1", run: fullAtGate},
		{n: 65, what: "recovery: Kill at each step", want: "I14", run: killedInRecovery},
		{n: 88, what: "panic in one worker", want: "crash count + 1; others go on; n=1", run: panicInWorker},
		{n: 88, what: "panic in one worker, every time", want: "at 3: HELD(poison)", run: panicEveryTime},
		{n: 88, what: "three crashes of the program", want: "HELD(poison)", run: poison},
		{n: 95, what: "status in a loop, a reader holds its view", want: "daemon unaffected; the log shrinks again; n=1", run: readersBeside(2 * time.Second)},
		{n: 95, what: "the same for 10 min", want: "daemon unaffected; the log shrinks again; n=1", run: readersBeside(10 * time.Minute), long: true},
		{n: 96, what: "start: disk full, no -shm", want: "no SIGBUS; refused, or the ballast is enough; n=1", run: diskFullAtStart},
		{n: 97, what: "lock file removed, then a second start", want: "the first one fences; n=1", run: lockRemoved, long: true},
	}
}
