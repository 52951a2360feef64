package torture

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing/fstest"

	"github.com/pressly/goose/v3"
	"golang.org/x/sys/unix"
)

// Cells of the upgrade of a ledger that an older program made.

// migrated makes a database with the first so many migrations of the program,
// and returns how many there are.
func (c *trial) migrated(path string, version int) (all int) {
	c.Helper()
	names, err := filepath.Glob("../ledger/migrations/*.sql")
	c.must(err)
	files := fstest.MapFS{}
	for _, name := range names[:min(version, len(names))] {
		raw, err := os.ReadFile(name)
		c.must(err)
		files[filepath.Base(name)] = &fstest.MapFile{Data: raw}
	}
	db, err := sql.Open("sqlite3", "file:"+path+"?_journal_mode=WAL")
	c.must(err)
	defer db.Close()
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	c.must(err)
	_, err = p.Up(c.Context())
	c.must(err)
	return len(names)
}

// olderLedger puts a ledger of the first program in place.
func (c *trial) olderLedger() {
	c.Helper()
	c.migrated(c.path("state", "ledger.db"), 1)
	db := c.openLedger()
	const uid = "0123456789abcdef0123456789abcdef"
	_, err := db.Exec("INSERT INTO meta (id, uid, created_at) VALUES (1, ?, 1)", uid)
	c.must(err)
	c.must(db.Close())
	c.must(os.WriteFile(c.path("state", "ledger.id"), []byte(uid+"\n"), 0o600))
}

// schemaOf is everything that migrations make, and the version.
func (c *trial) schemaOf(path string) (text string, version int) {
	c.Helper()
	db, err := sql.Open("sqlite3", "file:"+path)
	c.must(err)
	defer db.Close()
	var sound string
	c.must(db.QueryRow("SELECT group_concat(sql, char(10)) FROM (SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name)").Scan(&text))
	c.must(db.QueryRow("PRAGMA user_version").Scan(&version))
	c.must(db.QueryRow("PRAGMA integrity_check").Scan(&sound))
	if sound != "ok" {
		c.Errorf("%s: %s", path, sound)
	}
	return text, version
}

// upgraded demands that the ledger is of one version as a whole, and has its
// backup unless it is the old one.
func (c *trial) upgraded() (version int) {
	c.Helper()
	got, version := c.schemaOf(c.path("state", "ledger.db"))
	whole := filepath.Join(c.TempDir(), "whole.db")
	c.migrated(whole, version)
	if want, _ := c.schemaOf(whole); got != want {
		c.Errorf("version %d is not whole:\n%s\nwant:\n%s", version, got, want)
	}
	backups, err := filepath.Glob(c.path("state", "*.backup"))
	c.must(err)
	if version > 1 && len(backups) == 0 {
		c.Error("it was upgraded without a backup")
	}
	return version
}

// migrationStruck strikes at the writes and syncs of an opening that upgrades.
func migrationStruck(step int) func(*trial) {
	return func(c *trial) {
		c.needs(traceable())
		c.begin(settings{})
		c.olderLedger()
		newest := c.migrated(filepath.Join(c.TempDir(), "newest.db"), 1)
		old := filepath.Join(c.TempDir(), "old")
		c.must(os.CopyFS(old, os.DirFS(c.path("state"))))
		left := map[int]int{}
		for _, f := range []fault{
			{moment: moment{Call: "pwrite64"}}, {moment: moment{Call: "fsync"}}, {moment: moment{Call: "renameat2"}},
			{moment: moment{Call: "pwrite64"}, Errno: int(unix.ENOSPC)},
		} {
			for f.N = 1; ; f.N += step {
				c.must(os.RemoveAll(c.path("state")))
				c.must(os.CopyFS(c.path("state"), os.DirFS(old)))
				c.must(os.Chmod(c.path("state"), 0o700))
				if out := c.traced(c.T, f); out.trace.Where == "" {
					break
				}
				left[c.upgraded()]++
				if out := c.once(c.T); out.code != 0 || c.upgraded() != newest {
					c.Fatalf("%s, and then: exit %d\n%s", f, out.code, out.output)
				}
			}
		}
		// Strikes at some calls only need not meet the last step of the upgrade.
		if left[1] == 0 || len(left) < 2 || step == 1 && left[newest] == 0 {
			c.Errorf("how often it was left at which version: %v", left)
		}
		c.dropped(2)
		c.heals()
	}
}

func cutInMigration(c *trial) {
	d := c.beginOnDisk(settings{})
	c.olderLedger()
	c.must(command("sync", "-f", c.dir))
	c.dropped(1)
	// The first sync of the log comes when the backup has its name.
	l := c.heldAt(ledgerSynced(), 1, moment{Call: "renameat2", Has: ".backup"})
	c.must(d.cut())
	l.kill()
	c.must(d.remount())
	c.upgraded()
	c.heals()
}

func migrationCells() []cell {
	return []cell{
		{n: 74, what: "migration: Kill, ENOSPC, at some calls", want: "old or new version, never between; backup before", run: migrationStruck(41)},
		{n: 74, what: "migration: Kill, ENOSPC, at each call", want: "old or new version, never between; backup before", run: migrationStruck(1), long: true},
		{n: 74, what: "migration: Cut", want: "old or new version, never between; backup before", run: cutInMigration},
	}
}
