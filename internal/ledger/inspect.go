package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Inspection is what a look at a ledger tells without opening it for use.
type Inspection struct {
	Version, Newest int  // of its schema, and the newest that this program knows
	Clean           bool // it was closed in order
	Running         bool // a process holds its lock
	// Open counts, by destination, the deliveries that can still move by
	// themselves; nil: not looked at, in another version or after a crash.
	Open map[string]int64
}

// Inspect looks at the ledger that a configuration names and changes nothing,
// not even beside it: nothing is migrated, recovered or locked. It returns
// ErrMissing where none was ever made, and *OpenError where an opening would
// be refused by what a short look can tell; damage is for Verify.
func Inspect(ctx context.Context, path string) (in Inspection, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return in, err
	}
	found, err := findFiles(path)
	switch {
	case err != nil:
		return in, err
	case !found.any():
		return in, fmt.Errorf("%s: %w", path, ErrMissing)
	case !found.ledger:
		return in, lost(path)
	}
	if err := unix.Access(path, unix.R_OK); err != nil { // SQLite would say no more than that it cannot
		return in, &OpenError{Text: path + " may not be read", Hint: "run it as the service user", Err: err}
	}
	s, err := programSchema()
	if err != nil {
		return in, err
	}
	if in.Running, err = lockHeld(filepath.Dir(path)); err != nil {
		return in, err
	}
	// A reader would make the -shm that a stopped ledger has not.
	params := dsnImmutable
	if in.Running {
		params = dsnRead
	}
	whole := in.Running || immutable(path)
	db := connect(path, params, 1)
	defer func() { err = errors.Join(err, db.Close()) }()
	p, err := identify(ctx, db, path, s.version)
	if err != nil {
		return in, err
	}
	if found.marker && found.uid != p.uid {
		return in, elsewhere(path, p.uid, found.uid)
	}
	in.Version, in.Newest, in.Clean = p.version, s.version, p.clean && whole
	if !whole || p.version != s.version {
		return in, nil
	}
	in.Open, err = openDeliveries(ctx, db)
	return in, err
}

func openDeliveries(ctx context.Context, db querier) (map[string]int64, error) {
	rows, err := db.QueryContext(ctx, "SELECT scope, sum(n) FROM counts AS d WHERE kind = 'delivery' AND n > 0 AND ("+inPendingStates+") GROUP BY scope")
	if err != nil {
		return nil, fmt.Errorf("count deliveries: %w", err)
	}
	open := map[string]int64{}
	return open, each(rows, func(rows *sql.Rows) error {
		var destination string
		var n int64
		err := rows.Scan(&destination, &n)
		open[destination] = n
		return err
	})
}

// lost is the refusal of a place whose ledger is gone.
func lost(path string) error {
	return &OpenError{
		Text: "the ledger that belongs at " + path + " is missing",
		Hint: "restore a backup with `ingestd ledger restore FILE`, or run `ingestd ledger init --force`",
	}
}

// elsewhere is the refusal of a ledger that its marker does not name.
func elsewhere(path, uid, marker string) error {
	return &OpenError{
		Text: fmt.Sprintf("the ledger at %s belongs elsewhere: it is %q, %s names %q", path, uid, markerName, marker),
		Hint: "put the right ledger back, or restore a backup",
	}
}
