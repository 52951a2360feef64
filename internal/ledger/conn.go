package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/mattn/go-sqlite3"
)

// Ways to open the SQLite file. Nothing else of the program opens it: closing
// any other descriptor of the file would drop SQLite's own locks. SQLite's
// own mutex around a connection is left out: database/sql lets one goroutine
// at a time use it.
const (
	dsnWrite     = "mode=rw&_txlock=immediate&_busy_timeout=5000&_journal_mode=WAL&_synchronous=FULL&_foreign_keys=on&_secure_delete=on&_mutex=no"
	dsnRead      = "mode=ro&_query_only=1&_busy_timeout=5000&_foreign_keys=on&_mutex=no"
	dsnCopy      = "mode=ro&_busy_timeout=5000" // VACUUM INTO fails under query_only
	dsnImmutable = "mode=ro&immutable=1&_query_only=1"
)

const (
	applicationID = 1768843108 // "ingd", set by the first migration
	sqliteFloor   = 3051003    // 3.51.3: older versions have the WAL-reset bug
)

// connector opens connections of one data source name with the pragmas that
// the driver has no key for. It keeps the driver out of the global register.
type connector struct {
	driver *sqlite3.SQLiteDriver
	dsn    string
}

func (c connector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }
func (c connector) Driver() driver.Driver                        { return c.driver }

// connect prepares a pool on the file; the first use opens it.
func connect(path, params string, conns int) *sql.DB {
	// Without "file:" and the escapes SQLite would not see the parameters.
	name := "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path) + "?" + params
	db := sql.OpenDB(connector{dsn: name, driver: &sqlite3.SQLiteDriver{ConnectHook: setPragmas}})
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db
}

func setPragmas(c *sqlite3.SQLiteConn) error {
	for _, p := range []string{
		"PRAGMA trusted_schema = OFF",
		"PRAGMA cell_size_check = ON",
		"PRAGMA mmap_size = 0", // an I/O error must be an error, not a signal
		"PRAGMA journal_size_limit = 67108864",
	} {
		if _, err := c.Exec(p, nil); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}

// assertSettings reads every setting back: the driver ignores unknown keys in
// silence, so nothing is believed because it was asked for.
func assertSettings(ctx context.Context, db *sql.DB) error {
	if _, n, _ := sqlite3.Version(); n < sqliteFloor {
		return fmt.Errorf("SQLite %d is older than 3.51.3, which fixed the WAL-reset bug", n)
	}
	for _, want := range []struct{ name, value string }{
		{"journal_mode", "wal"}, {"synchronous", "2"}, {"locking_mode", "normal"}, {"foreign_keys", "1"},
		{"trusted_schema", "0"}, {"secure_delete", "1"}, {"cell_size_check", "1"}, {"busy_timeout", "5000"},
		{"journal_size_limit", "67108864"},
	} {
		var got string
		if err := db.QueryRowContext(ctx, "PRAGMA "+want.name).Scan(&got); err != nil {
			return fmt.Errorf("read back %s: %w", want.name, err)
		}
		if got != want.value {
			return fmt.Errorf("SQLite setting %s is %q, want %q", want.name, got, want.value)
		}
	}
	return nil
}

// sqliteCode returns SQLite's primary result code, or false for an error of
// another kind.
func sqliteCode(err error) (sqlite3.ErrNo, bool) {
	var e sqlite3.Error
	if !errors.As(err, &e) {
		return 0, false
	}
	return e.Code, true
}

// transient tells that waiting may cure the error.
func transient(err error) bool {
	code, ok := sqliteCode(err)
	return ok && (code == sqlite3.ErrFull || code == sqlite3.ErrBusy || code == sqlite3.ErrLocked)
}

// broken tells that the error is about the ledger as a whole, not about one
// statement's data: the transaction it happened in cannot be trusted.
func broken(err error) bool {
	code, ok := sqliteCode(err)
	if !ok {
		return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone)
	}
	switch code {
	case sqlite3.ErrConstraint, sqlite3.ErrError, sqlite3.ErrMismatch, sqlite3.ErrRange, sqlite3.ErrTooBig, sqlite3.ErrMisuse:
		return false
	default:
		return true
	}
}
