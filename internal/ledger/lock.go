package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lockName     = "ledger.lock"
	lockPatience = 2 * time.Second // readers probe the lock for a moment
)

// lock is the single-instance lock: an flock on a file beside the ledger, so
// that the kernel releases it at death. The ledger file itself is never
// locked: SQLite's own locks live there. The lock file is never deleted.
type lock struct {
	path string
	file *os.File
}

// takeLock takes the lock of a directory or returns ErrLocked.
func takeLock(ctx context.Context, dir string) (*lock, error) {
	l := &lock{path: filepath.Join(dir, lockName)}
	give := time.NewTimer(lockPatience)
	defer give.Stop()
	for {
		f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open lock file: %w", err)
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			l.file = f
			if err = l.check(); err == nil {
				return l, nil
			}
		}
		f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, errLockLost) {
			return nil, fmt.Errorf("lock %s: %w", l.path, err)
		}
		select {
		case <-give.C:
			return nil, fmt.Errorf("%w (%s)", ErrLocked, l.path)
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

var errLockLost = errors.New("the lock file was removed or replaced")

// check tells whether the locked descriptor still is the file at the path:
// a second daemon could otherwise lock a new file of that name.
func (l *lock) check() error {
	held, err := l.file.Stat()
	if err != nil {
		return fmt.Errorf("stat lock: %w", err)
	}
	named, err := os.Stat(l.path)
	if errors.Is(err, os.ErrNotExist) || err == nil && !os.SameFile(held, named) {
		return errLockLost
	}
	if err != nil {
		return fmt.Errorf("stat lock file: %w", err)
	}
	return nil
}

func (l *lock) release() error { return l.file.Close() }

// lockHeld tells whether some process holds the lock of a directory. It takes
// the lock shared and without waiting, and gives it back at once.
func lockHeld(dir string) (bool, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open lock file: %w", err)
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("probe lock: %w", err)
	}
	return false, nil
}
