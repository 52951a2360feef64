package ledger

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const markerName = "ledger.id"

// Init creates a ledger (`ingestd ledger init`). With force also where one
// was: what is found is moved aside, nothing is deleted, and a restore epoch
// is set, because what lies in the drop directories may have been sent under
// the ledger that is gone.
func Init(ctx context.Context, path string, force bool, now func() time.Time) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if err := checkDir(filepath.Dir(path), false); err != nil {
		return err
	}
	lk, err := takeLock(ctx, filepath.Dir(path))
	if err != nil {
		return err
	}
	defer lk.release()
	found, err := findFiles(path)
	if err != nil {
		return err
	}
	epoch := int64(0)
	if found.any() {
		if !force {
			return &OpenError{
				Text: "there is or was a ledger at " + path,
				Hint: "restore a backup, or run `ingestd ledger init --force` to begin anew: it moves the old files aside",
			}
		}
		epoch = now().UnixMilli()
		marker := filepath.Join(filepath.Dir(path), markerName)
		if _, err := moveAside(now(), path, path+"-wal", path+"-shm", waterPath(path), marker); err != nil {
			return err
		}
	}
	return create(ctx, path, epoch, now)
}

// files tells what lies in the state directory.
type files struct {
	ledger, wal bool
	water       bool // the high-water mark
	marker      bool
	uid         string // in the marker
}

func (f files) any() bool { return f.ledger || f.wal || f.water || f.marker }

func findFiles(path string) (files, error) {
	var f files
	for name, there := range map[string]*bool{path: &f.ledger, path + "-wal": &f.wal, waterPath(path): &f.water} {
		info, err := os.Lstat(name)
		if err == nil && !info.Mode().IsRegular() {
			return f, &OpenError{Text: name + " is not a regular file", Hint: "remove it, or name another path in [ledger]"}
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return f, fmt.Errorf("look for the ledger: %w", err)
		}
		*there = err == nil
	}
	uid, err := os.ReadFile(filepath.Join(filepath.Dir(path), markerName))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return f, fmt.Errorf("read %s: %w", markerName, err)
	}
	f.marker, f.uid = err == nil, strings.TrimSpace(string(uid))
	return f, nil
}

// moveAside gives what lies at the names a dated name and returns the new
// names of what there was.
func moveAside(now time.Time, names ...string) (aside []string, err error) {
	suffix := ".aside-" + now.UTC().Format("20060102T150405.000Z")
	for _, name := range names {
		err := unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, name+suffix, unix.RENAME_NOREPLACE)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return aside, fmt.Errorf("move %s aside: %w", name, err)
		}
		aside = append(aside, name+suffix)
	}
	return aside, syncDir(filepath.Dir(names[0]))
}

// newName is the temporary name of a ledger that is being created.
func newName(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
}

// cleanUp removes what a creation that was cut short left under its temporary
// names.
func cleanUp(path string) error {
	if err := removeHalf(newName(path)); err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	return nil
}

// create builds a ledger under a temporary name, puts it in place and then
// writes its marker: a crash in between leaves a ledger without marker, which
// the next start completes.
func create(ctx context.Context, path string, epoch int64, now func() time.Time) (err error) {
	s, err := programSchema()
	if err != nil {
		return err
	}
	if err := cleanUp(path); err != nil {
		return err
	}
	name := newName(path)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) // SQLite would use the umask
	if err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	uid := randomHex(16)
	if err := build(ctx, name, s, uid, epoch, now()); err != nil {
		return errors.Join(fmt.Errorf("create ledger: %w", err), cleanUp(path))
	}
	if err := unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE); err != nil {
		return fmt.Errorf("put the new ledger in place: %w", err)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return err
	}
	return writeMarker(filepath.Dir(path), uid)
}

// build migrates an empty file. Closing it checkpoints and removes the WAL.
func build(ctx context.Context, name string, s schema, uid string, epoch int64, now time.Time) (err error) {
	db := connect(name, dsnWrite, 1)
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := s.migrate(ctx, db); err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "INSERT INTO meta (id, uid, created_at, restore_epoch) VALUES (1, ?, ?, ?)", uid, now.UnixMilli(), epoch)
	if err != nil {
		return err
	}
	return checkpointAll(ctx, db)
}

// checkpointAll takes all of the WAL into a ledger that is about to be put in
// place. Closing would do it too, but says nothing when it fails, and the file
// would then be put in place without what is still in its WAL.
func checkpointAll(ctx context.Context, db *sql.DB) error {
	var busy, frames, moved int
	if err := db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if busy != 0 {
		return errors.New("checkpoint: somebody else has the new ledger open")
	}
	return nil
}

// writeMarker writes ledger.id: temporary name, fsync, rename, fsync of the
// directory. No network effect happens before it is durable.
func writeMarker(dir, uid string) (err error) {
	name := filepath.Join(dir, "."+markerName+".new")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", markerName, err)
	}
	_, err = f.WriteString(uid + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(name, filepath.Join(dir, markerName))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", markerName, err)
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails: it ends the program instead
	return hex.EncodeToString(b)
}
