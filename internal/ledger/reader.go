package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Reader is the read side: its own read-only connections, beside a running
// daemon or without one. It uses short transactions, because a long one would
// hold checkpoints back. Its methods may be called from many goroutines.
type Reader struct {
	path  string
	now   func() time.Time
	db    *sql.DB
	mu    sync.Mutex
	stmts map[string]*sql.Stmt
}

// OpenReader opens a ledger for the querying commands. It returns ErrMissing
// when there is none, and *OpenError when the file is not a ledger that this
// program can read.
func OpenReader(ctx context.Context, path string) (*Reader, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, ErrMissing)
	}
	s, err := programSchema()
	if err != nil {
		return nil, err
	}
	r, err := newReader(ctx, path, dsnRead, 2, s.version)
	if err != nil && immutable(path) {
		// A full disk, or a directory that we may not write: SQLite cannot
		// make its -shm, but the file is whole and nobody changes it.
		if r, again := newReader(ctx, path, dsnImmutable, 2, s.version); again == nil {
			return r, nil
		}
	}
	return r, err
}

// immutable tells that a ledger may be read as a file that does not change:
// no daemon, and no -wal whose commits would be missed.
func immutable(path string) bool {
	held, err := lockHeld(filepath.Dir(path))
	if held || err != nil {
		return false
	}
	wal, err := os.Stat(path + "-wal")
	return errors.Is(err, os.ErrNotExist) || err == nil && wal.Size() == 0
}

func newReader(ctx context.Context, path, params string, conns, newest int) (*Reader, error) {
	r := &Reader{path: path, db: connect(path, params, conns), now: time.Now, stmts: map[string]*sql.Stmt{}}
	app, version := 0, 0
	err := r.db.QueryRowContext(ctx, "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version)").Scan(&app, &version)
	switch {
	case err != nil:
		err = fmt.Errorf("open ledger for reading: %w", err)
	case app != applicationID:
		err = &OpenError{Text: path + " is not a ledger of ingestd", Hint: "name the ledger's path in [ledger]"}
	case version > newest:
		err = &OpenError{Text: path + " was written by a newer ingestd", Hint: "use the newer program"}
	case version < newest:
		err = &OpenError{Text: path + " was written by an older ingestd", Hint: "start the daemon once: it brings the ledger up to date after a backup"}
	}
	if err != nil {
		return nil, errors.Join(err, r.db.Close())
	}
	return r, nil
}

// Close closes the connections.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.stmts {
		s.Close()
	}
	clear(r.stmts)
	return r.db.Close()
}

// stmt prepares a query once. Only constant texts may be passed; what is said
// about LIMIT at writer.stmt holds here too.
func (r *Reader) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s, ok := r.stmts[query]; ok {
		return s, nil
	}
	s, err := r.db.PrepareContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	r.stmts[query] = s
	return s, nil
}

// begin looks at ctx once, before a short query: watching it during the query
// costs database/sql and the driver a goroutine each, and more than a row.
func begin(ctx context.Context) (context.Context, error) {
	return context.WithoutCancel(ctx), ctx.Err()
}

// row reads one row into dest; none is sql.ErrNoRows.
func (r *Reader) row(ctx context.Context, query string, args, dest []any) error {
	ctx, err := begin(ctx)
	if err != nil {
		return err
	}
	s, err := r.stmt(ctx, query)
	if err != nil {
		return err
	}
	return s.QueryRowContext(ctx, args...).Scan(dest...)
}

// rows calls fn for every row.
func (r *Reader) rows(ctx context.Context, query string, args []any, fn func(*sql.Rows) error) error {
	ctx, err := begin(ctx)
	if err != nil {
		return err
	}
	s, err := r.stmt(ctx, query)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	return each(rows, fn)
}
