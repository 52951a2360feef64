package torture

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ingestd/internal/ledger"
	"ingestd/internal/sandbox"
)

// Cells of the start and of the ledger.

// afterOneLife makes a site whose first recordings are delivered and whose
// next ones wait.
func (c *trial) afterOneLife() {
	c.Helper()
	c.begin(settings{})
	c.dropped(2)
	c.heals()
	c.dropped(2)
}

// refuses demands that a start is refused with the words, without a request,
// and that no file of the ledger has changed.
func (c *trial) refuses(words string) {
	c.Helper()
	before, requests := c.stateFiles(), c.vendor.Summary().Requests
	out := c.run(c.T, "run", "--allow-root")
	if out.code != 78 || !strings.Contains(out.output, words) {
		c.Errorf("exit %d, want 78 and %q\n%s", out.code, words, out.output)
	}
	if n := c.vendor.Summary().Requests - requests; n != 0 {
		c.Errorf("%d requests went out", n)
	}
	if after := c.stateFiles(); after != before {
		c.Errorf("the state directory was %s\nand is %s", before, after)
	}
}

// stateFiles are the names and hashes of what the ledger consists of.
func (c *trial) stateFiles() string {
	c.Helper()
	var b strings.Builder
	for _, name := range []string{"ledger.db", "ledger.db-wal", "ledger.id"} {
		sum, err := hashFile(c.path("state", name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			c.Fatal(err)
		}
		fmt.Fprintf(&b, "%s:%.8s ", name, sum)
	}
	return b.String()
}

func ledgerMissing(c *trial) {
	c.afterOneLife()
	c.must(os.Rename(c.path("state", "ledger.db"), c.path("kept")))
	c.refuses("ingestd ledger init --force")
	c.must(os.Rename(c.path("kept"), c.path("state", "ledger.db")))
	c.heals()
}

// Each page in turn loses its type: SQLite then finds the tree broken.
func ledgerCorrupt(step int) func(*trial) {
	return func(c *trial) {
		c.afterOneLife()
		whole, err := os.ReadFile(c.path("state", "ledger.db"))
		c.must(err)
		const page = 4096
		refused := 0
		for at := page; at < len(whole); at += page * step {
			bad := bytes.Clone(whole)
			bad[at] ^= 0xff
			c.must(os.WriteFile(c.path("state", "ledger.db"), bad, 0o600))
			c.refuses("the file is left as it is")
			refused++
		}
		if refused < 4 {
			c.Errorf("only %d pages were tried", refused)
		}
		c.must(os.WriteFile(c.path("state", "ledger.db"), whole, 0o600))
		c.heals()
	}
}

// Yesterday's ledger knows nothing of what was delivered since; the files are
// kept where they are.
func ledgerOlder(c *trial) {
	c.begin(settings{source: map[string]string{"after": `"keep"`, "archive": ""}})
	c.dropped(1)
	c.once(c.T)
	backup := filepath.Join(c.TempDir(), "backup.db")
	if out := c.run(c.T, "ledger", "backup", backup); out.code != 0 {
		c.Fatalf("backup: exit %d\n%s", out.code, out.output)
	}
	c.dropped(2)
	c.once(c.T)
	c.arrived(3)
	c.must(os.Remove(c.path("state", "ledger.db")))
	c.must(copyFile(backup, c.path("state", "ledger.db")))
	out := c.once(c.T)
	c.publishedOnce(3, out)
}

// publishedOnce demands what holds when the ledger's history is not whole:
// every recording published once, whatever was sent again.
func (c *trial) publishedOnce(n int, out outcome) {
	c.Helper()
	var v verdict
	contacts := c.checkVendor(&v)
	c.checkFiles(&v, counts(contacts), exempt{})
	checkLedger(c.Context(), &v, c.path("state", "ledger.db"))
	if v.published != n || len(v.violations) > 0 {
		c.Errorf("%d published, want %d; %v\n%s", v.published, n, v.violations, out.output)
	}
}

// The log of a killed daemon is deleted: its last commits are gone.
func walDeleted(c *trial) {
	c.begin(settings{})
	c.dropped(2)
	m, after := accepting()
	c.struck(when(m, after...))
	c.must(os.Remove(c.path("state", "ledger.db-wal")))
	out := c.once(c.T)
	c.publishedOnce(2, out)
}

func secondInstance(c *trial) {
	c.begin(settings{})
	daemon := startDaemon(c.T, c.site)
	c.says(daemon, "ingestd is running")
	c.dropped(3)
	out := c.run(c.T, "run", "--allow-root")
	if out.code == 0 || !strings.Contains(out.output, "ledger") {
		c.Errorf("the second one ended with %d\n%s", out.code, out.output)
	}
	c.until("all are delivered", func() bool { return len(c.vendor.Contacts()) == 3 })
	c.stops(daemon)
	c.heals()
}

// Many recordings wait when it starts.
func manyWaiting(n int) func(*trial) {
	return func(c *trial) {
		c.begin(settings{})
		for range n {
			wav := makeWAV(400, c.rnd)
			r := c.expect(wav)
			c.must(os.WriteFile(c.path("drop", r.name+".json"), []byte(sidecarOf(r.name)), 0o600))
			c.must(os.WriteFile(c.path("drop", r.name+".wav"), wav, 0o600))
		}
		daemon := startDaemon(c.T, c.site)
		c.eventually("all are delivered", n, func() bool { return int(c.vendor.Summary().Contacts[sandbox.Published]) >= n })
		if peak := c.peakMemory(daemon); peak > 256<<20 {
			c.Errorf("it used %d MiB", peak>>20)
		}
		c.stops(daemon)
		c.heals()
	}
}

// checkpointed is a write to the ledger itself and not to its log.
func checkpointed() moment { return moment{Call: "pwrite64", On: "/state/ledger.db$"} }

func cutInCheckpoint(c *trial) {
	d := c.beginOnDisk(settings{})
	c.dropped(2)
	c.healsFrom(c.cutAt(d, checkpointed(), 2, fileMoved()))
}

// struckInBackup kills or fails a backup at every n-th of its calls.
func struckInBackup(c *trial) {
	c.needs(traceable())
	c.afterOneLife()
	for _, call := range []string{"pwrite64", "fsync", "renameat2"} {
		for n := 1; ; n += 7 {
			target := filepath.Join(c.TempDir(), "backup.db")
			f := fault{moment: moment{Call: call}, N: n}
			l := c.start(c.T, &f, nil, "ledger", "backup", target)
			if out := l.wait(c.T); out.trace.Where == "" {
				break
			}
			if _, err := os.Stat(target); err == nil {
				if rep, err := ledger.Verify(c.Context(), target); err != nil || !rep.OK {
					c.Errorf("%s left a half backup under its final name: %v %v", f, rep, err)
				}
			}
		}
	}
	c.heals()
}

// newer and older programs: the schema's version is the one thing that both
// know.
func schemaNewer(c *trial) {
	c.afterOneLife()
	set := func(version int) {
		_, err := c.openLedger().Exec(fmt.Sprintf("PRAGMA user_version = %d", version))
		c.must(err)
	}
	var version int
	c.must(c.openLedger().QueryRow("PRAGMA user_version").Scan(&version))
	set(version + 1)
	c.refuses("newer")
	set(version)
	c.heals()
}

func killedInCreation(n int) func(*trial) {
	return func(c *trial) {
		c.begin(settings{})
		c.needs(traceable())
		c.dropped(1)
		f := fault{moment: moment{Call: "renameat2"}, N: n}
		out := c.traced(c.T, f)
		if out.trace.Where == "" || c.vendor.Summary().Requests != 0 {
			c.Errorf("met: %q; %d requests went out before the marker\n%s", out.trace.Where, c.vendor.Summary().Requests, out.output)
		}
		c.heals()
	}
}

func cutInCreation(c *trial) {
	d := c.beginOnDisk(settings{})
	c.dropped(1)
	dark := c.cutAt(d, moment{Call: "renameat2", Has: "ledger.id"}, 1)
	if n := c.vendor.Summary().Requests; n != 0 {
		c.Errorf("%d requests went out before the marker", n)
	}
	c.healsFrom(dark)
}

func markerForeign(c *trial) {
	c.afterOneLife()
	own, err := os.ReadFile(c.path("state", "ledger.id"))
	c.must(err)
	c.must(os.WriteFile(c.path("state", "ledger.id"), []byte(strings.Repeat("ab", 16)+"\n"), 0o600))
	c.refuses("belongs elsewhere")
	c.must(os.WriteFile(c.path("state", "ledger.id"), own, 0o600))
	c.heals()
}

// After `ledger init --force` what lies there is sent again under the ids it
// had, so that the vendor publishes none of it twice.
func begunAnew(c *trial) {
	c.begin(settings{source: map[string]string{"after": `"keep"`, "archive": ""}})
	c.dropped(3)
	c.once(c.T)
	c.arrived(3)
	if out := c.run(c.T, "ledger", "init", "--force"); out.code != 0 {
		c.Errorf("exit %d\n%s", out.code, out.output)
	}
	c.publishedOnce(3, c.once(c.T))
}

func emptyState(c *trial) {
	c.begin(settings{})
	c.dropped(3)
	c.heals()
}

func startCells() []cell {
	return []cell{
		{n: 66, what: "ledger missing, its marker there", want: "refuses (78), names init --force; nothing uploaded", run: ledgerMissing},
		{n: 67, what: "ledger corrupt, some pages", want: "refuses; no upload; file left as it is", run: ledgerCorrupt(9)},
		{n: 67, what: "ledger corrupt, each page in turn", want: "refuses; no upload; file left as it is", run: ledgerCorrupt(1), long: true},
		{n: 68, what: "yesterday's ledger", want: "n=1", run: ledgerOlder},
		{n: 69, what: "WAL deleted", want: "n=1", run: walDeleted},
		{n: 70, what: "second instance", want: "exits on the lock; n=1", run: secondInstance},
		{n: 71, what: "500 recordings waiting", want: "bounded memory; n=1 each", run: manyWaiting(500)},
		{n: 71, what: "100,000 recordings waiting", want: "bounded memory; n=1 each", run: manyWaiting(100_000), long: true},
		{n: 72, what: "checkpoint: Kill", want: "integrity ok; n=1", run: struckAtCheckpoint},
		{n: 72, what: "checkpoint: Cut", want: "integrity ok; n=1", run: cutInCheckpoint},
		{n: 73, what: "backup: Kill", want: "no half backup under the final name", run: struckInBackup},
		{n: 90, what: "upgrade or downgrade with a queue", want: "an old program refuses; the new one goes on", run: schemaNewer},
		{n: 91, what: "empty state directory", want: "ledger and ledger.id are made; n=1", run: emptyState},
		{n: 92, what: "creation: Kill before the ledger has its name", want: "completed; no request before the marker", run: killedInCreation(1)},
		{n: 92, what: "creation: Kill between ledger and ledger.id", want: "completed; no request before the marker", run: killedInCreation(2)},
		{n: 92, what: "creation: Cut between ledger and ledger.id", want: "completed; no request before the marker", run: cutInCreation},
		{n: 93, what: "ledger.id names another ledger", want: "refuses; nothing changed", run: markerForeign},
		{n: 94, what: "init --force after a loss", want: "n=1", run: begunAnew},
	}
}

func struckAtCheckpoint(c *trial) {
	c.begin(settings{})
	c.dropped(2)
	f := when(checkpointed(), fileMoved())
	f.N = 2
	c.struck(f)
	c.heals()
}
