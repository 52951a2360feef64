package torture

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Cells of the upgrade of a ledger that an older program made.

// olderSchema takes a ledger with a delivered history back to the version
// that the first program made.
func (c *trial) olderSchema() {
	c.Helper()
	c.dropped(2)
	c.heals()
	db := c.openLedger()
	for _, statement := range []string{
		"DROP INDEX events_restored", "ALTER TABLE meta DROP COLUMN restoring",
		"DELETE FROM goose_db_version WHERE version_id = 2", "PRAGMA user_version = 1", "PRAGMA wal_checkpoint(TRUNCATE)",
	} {
		_, err := db.Exec(statement)
		c.must(err)
	}
	c.must(db.Close())
}

// upgraded tells the version of the ledger, and demands that it is old or new
// and nothing between, and that a new one has its backup.
func (c *trial) upgraded() (version int) {
	c.Helper()
	db := c.openLedger()
	defer db.Close()
	var column, index int
	var sound string
	c.must(db.QueryRow("PRAGMA user_version").Scan(&version))
	c.must(db.QueryRow("SELECT count(*) FROM pragma_table_info('meta') WHERE name = 'restoring'").Scan(&column))
	c.must(db.QueryRow("SELECT count(*) FROM sqlite_schema WHERE name = 'events_restored'").Scan(&index))
	c.must(db.QueryRow("PRAGMA integrity_check").Scan(&sound))
	if version < 1 || version > 2 || column != version-1 || index != version-1 || sound != "ok" {
		c.Errorf("version %d with %d new columns and %d new indexes; %s", version, column, index, sound)
	}
	backups, err := filepath.Glob(c.path("state", "*.backup"))
	c.must(err)
	if version == 2 && len(backups) == 0 {
		c.Error("it was upgraded without a backup")
	}
	return version
}

// migrationStruck strikes at the writes and syncs of an opening that upgrades.
func migrationStruck(step int) func(*trial) {
	return func(c *trial) {
		c.needs(traceable())
		c.begin(settings{})
		c.olderSchema()
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
				if out := c.once(c.T); out.code != 0 || c.upgraded() != 2 {
					c.Fatalf("%s, and then: exit %d\n%s", f, out.code, out.output)
				}
			}
		}
		if left[1] == 0 || left[2] == 0 {
			c.Errorf("left at version 1: %d times, at 2: %d", left[1], left[2])
		}
		c.dropped(2)
		c.heals()
	}
}

func cutInMigration(c *trial) {
	d := c.beginOnDisk(settings{})
	c.olderSchema()
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
		{n: 74, what: "migration: Kill, ENOSPC, at some calls", want: "old or new version, never between; backup before", run: migrationStruck(11)},
		{n: 74, what: "migration: Kill, ENOSPC, at each call", want: "old or new version, never between; backup before", run: migrationStruck(1), long: true},
		{n: 74, what: "migration: Cut", want: "old or new version, never between; backup before", run: cutInMigration},
	}
}
