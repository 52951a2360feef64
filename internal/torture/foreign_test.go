package torture

import (
	"database/sql"

	_ "github.com/mattn/go-sqlite3" // another program at the ledger
)

// openLedger opens the ledger as a foreign program would.
func (c *trial) openLedger() *sql.DB {
	c.Helper()
	db, err := sql.Open("sqlite3", "file:"+c.path("state", "ledger.db")+"?_busy_timeout=5000")
	c.must(err)
	db.SetMaxOpenConns(1)
	c.Cleanup(func() { db.Close() })
	return db
}

// locksLedger takes the write lock of the ledger until the returned function
// is called.
func (c *trial) locksLedger() (free func()) {
	c.Helper()
	db := c.openLedger()
	_, err := db.Exec("BEGIN IMMEDIATE")
	c.must(err)
	return func() {
		_, err := db.Exec("ROLLBACK")
		c.must(err)
	}
}
