package ledger

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Options of the daemon's ledger.
type Options struct {
	Path string           // the SQLite file; lock, marker and ballast live beside it
	Now  func() time.Time // nil: time.Now
	Log  *slog.Logger     // nil: nothing is logged
	// AllowNetworkFS opens a ledger on NFS, SMB or FUSE in spite of the risk:
	// WAL and its locks need one host's memory and POSIX locks that work.
	AllowNetworkFS bool

	space func(dir string) (free, size uint64, err error)                       // nil: freeSpace
	check func(ctx context.Context, path string) (problems []string, err error) // nil: quickCheck
}

// Errors of the ledger. Compare with errors.Is.
var (
	// ErrNotFound: no such row.
	ErrNotFound = errors.New("not in the ledger")
	// ErrStale: the row changed since it was read; nothing was written.
	ErrStale = errors.New("changed since it was read")
	// ErrMove: the transition is not in the table of docs/states.md; nothing
	// was written. It is a defect of the caller.
	ErrMove = errors.New("no such transition")
	// ErrUnknown: the commit hangs. The write may still happen; that is decided
	// before anything of a later one is.
	ErrUnknown = errors.New("the commit hangs, its outcome is unknown")
	// ErrFenced: an earlier write failed in a way that leaves the ledger
	// unknown. The process must end and read everything anew.
	ErrFenced = errors.New("ledger is fenced")
	// ErrLocked: another process holds the ledger's lock.
	ErrLocked = errors.New("another ingestd holds the lock")
	// ErrMissing: there is no ledger at the path.
	ErrMissing = errors.New("no ledger here")
)

// OpenError is a refusal to open: what is wrong, and what the operator can do
// (exit code 78, so that a service manager does not loop).
type OpenError struct {
	Text string
	Hint string
	Err  error // may be nil
}

func (e *OpenError) Error() string {
	if e.Err != nil {
		return e.Text + ": " + e.Err.Error()
	}
	return e.Text
}

// Unwrap returns the cause.
func (e *OpenError) Unwrap() error { return e.Err }

// Ledger is the daemon's open ledger. Its methods may be called from many
// goroutines.
type Ledger struct {
	path     string
	now      func() time.Time
	log      *slog.Logger
	boot     string
	lock     *lock
	water    *highWater
	db       *sql.DB // one connection, owned by the writer
	w        *writer
	reader   *Reader
	space    func(dir string) (free, size uint64, err error)
	check    func(ctx context.Context, path string) (problems []string, err error)
	low      atomic.Bool // less than the watermark is free
	healthMu sync.Mutex
	health   Health             // without its Trouble
	stop     context.CancelFunc // ends the watch and the daily check
	wg       sync.WaitGroup
}

// BootID names this opening of the ledger; every event carries it.
func (l *Ledger) BootID() string { return l.boot }

// Reader is the read side over its own read-only connections. It is closed
// with the ledger.
func (l *Ledger) Reader() *Reader { return l.reader }

// Fenced is closed when the ledger no longer takes writes.
func (l *Ledger) Fenced() <-chan struct{} { return l.w.fenced }

// FenceErr returns why the ledger fenced, or nil.
func (l *Ledger) FenceErr() error { return l.w.fenceErr() }

// Identity is what the file system says about a file; equal identities at two
// looks mean that nothing happened to it in between.
type Identity struct {
	Dev, Ino         uint64
	Size             int64 // bytes
	MtimeNS, CtimeNS int64 // nanoseconds since 1970
}

// Look is the last look at a settling file.
type Look struct {
	Identity Identity
	Since    time.Time // first look with this identity
	Looks    int       // looks with this identity so far
}
