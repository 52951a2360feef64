package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Backup writes a consistent, verified copy of a ledger beside the running
// daemon or without one. The target must not exist; it gets its name only
// when it is whole and durable, with mode 0600.
func Backup(ctx context.Context, path, target string) (err error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("back up %s: %w", path, ErrMissing)
	}
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	if target, err = filepath.Abs(target); err != nil {
		return err
	}
	name := filepath.Join(filepath.Dir(target), "."+filepath.Base(target)+".new")
	if err := removeHalf(name); err != nil {
		return fmt.Errorf("remove an earlier half backup: %w", err)
	}
	// SQLite takes an empty file as target; its own would follow the umask.
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("create backup: %w", err)
	}
	defer f.Close()
	defer func() {
		if err != nil {
			err = errors.Join(err, removeHalf(name))
		}
	}()
	before, err := copyLedger(ctx, path, name)
	if err != nil {
		return err
	}
	// SQLite does not sync what VACUUM INTO wrote.
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync backup: %w", err)
	}
	if err := verifyCopy(ctx, name, before); err != nil {
		return err
	}
	if err := unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, target, unix.RENAME_NOREPLACE); err != nil {
		return fmt.Errorf("give the backup its name %s: %w", target, err)
	}
	return syncDir(filepath.Dir(target))
}

// removeHalf removes what a backup that was cut short left: SQLite may have
// been writing it with a journal.
func removeHalf(name string) error {
	var errs []error
	for _, suffix := range []string{"", "-journal", "-wal", "-shm"} {
		if err := os.Remove(name + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// mark identifies a ledger and a point in its history.
type mark struct {
	uid       string
	lastEvent int64
}

const markQuery = "SELECT uid, (SELECT coalesce(max(id), 0) FROM events) FROM meta"

// copyLedger copies through SQLite and returns the mark from just before.
func copyLedger(ctx context.Context, path, name string) (m mark, err error) {
	db := connect(path, dsnCopy, 1)
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.QueryRowContext(ctx, markQuery).Scan(&m.uid, &m.lastEvent); err != nil {
		return m, fmt.Errorf("back up %s: %w", path, err)
	}
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", name); err != nil {
		return m, fmt.Errorf("back up %s: %w", path, err)
	}
	return m, nil
}

// vacuumInto copies a ledger into an empty file through SQLite.
func vacuumInto(ctx context.Context, path, params, name string) (err error) {
	db := connect(path, params, 1)
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", name)
	return err
}

// verifyCopy opens a finished copy and compares it with what it must hold.
func verifyCopy(ctx context.Context, name string, before mark) (err error) {
	db := connect(name, dsnImmutable, 1)
	defer func() { err = errors.Join(err, db.Close()) }()
	problems, err := integrity(ctx, db, true)
	if err != nil {
		return fmt.Errorf("verify backup: %w", err)
	}
	if len(problems) > 0 {
		return fmt.Errorf("verify backup: the copy is damaged: %s", problems[0])
	}
	var m mark
	if err := db.QueryRowContext(ctx, markQuery).Scan(&m.uid, &m.lastEvent); err != nil {
		return fmt.Errorf("verify backup: %w", err)
	}
	if m.uid != before.uid || m.lastEvent < before.lastEvent {
		return fmt.Errorf("verify backup: the copy holds ledger %q up to event %d, want %q up to at least %d", m.uid, m.lastEvent, before.uid, before.lastEvent)
	}
	return nil
}

// Vacuum rewrites the ledger without its free pages. It needs the lock.
func Vacuum(ctx context.Context, path string) (err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("vacuum %s: %w", path, ErrMissing)
	}
	lk, err := takeLock(ctx, filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lk.release()) }()
	s, err := programSchema()
	if err != nil {
		return err
	}
	p, err := probe(ctx, path, s.version)
	if err != nil {
		return err
	}
	m, err := readWater(path)
	if why := p.older(m, walThere(path)); err != nil || why != "" {
		// Closing would remove the WAL, and with it what tells that.
		return &OpenError{Text: "the ledger is older than what ran here: " + why, Hint: "start ingestd once, which deals with it, then vacuum", Err: err}
	}
	db := connect(path, dsnWrite, 1)
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := assertSettings(ctx, db); err != nil {
		return fmt.Errorf("vacuum: %w", err)
	}
	for _, statement := range []string{"VACUUM", "UPDATE meta SET clean = 1", "PRAGMA wal_checkpoint(TRUNCATE)"} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("vacuum %s: %w", path, err)
		}
	}
	return nil
}
