package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

const lockCheck = time.Minute // how often the lock file is compared with what is locked

// Open opens the ledger for writing, creating it only where there has never
// been one. The order is that of a careful stranger: directory, lock, free
// space, what lies there, a read-only look, and only then the opening itself.
//
// It returns ErrLocked when another process holds the lock, and *OpenError
// when the operator must act first.
func Open(ctx context.Context, o Options) (*Ledger, error) {
	s, err := programSchema()
	if err != nil {
		return nil, err
	}
	return open(ctx, o, s)
}

func open(ctx context.Context, o Options, s schema) (_ *Ledger, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	if err := checkDir(dir, o.AllowNetworkFS); err != nil {
		return nil, err
	}
	l := &Ledger{path: path, now: o.Now, log: o.Log, boot: randomHex(8), stop: func() {}}
	if l.lock, err = takeLock(ctx, dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.abandon())
		}
	}()
	if err := needSpace(dir, freeSpace); err != nil {
		return nil, err
	}
	if err := cleanUp(path); err != nil {
		return nil, err
	}
	if err := l.locate(ctx, s); err != nil {
		return nil, err
	}
	if err := l.openWriter(ctx, s); err != nil {
		return nil, err
	}
	if l.reader, err = newReader(ctx, path, dsnRead, 4, s.version); err != nil {
		return nil, err
	}
	l.reader.now = o.Now
	if err := makeBallast(dir); err != nil {
		l.log.Warn("no ballast beside the ledger", "error", err)
	}
	return l, nil
}

// checkDir refuses a state directory that others may write to, and file
// systems on which the ledger's locks do not hold.
func checkDir(dir string, allowNetwork bool) error {
	info, err := os.Stat(dir)
	if err != nil {
		return &OpenError{Text: "the ledger's directory cannot be used", Hint: "create it, owned by the service user, mode 0700", Err: err}
	}
	if !info.IsDir() {
		return &OpenError{Text: dir + " is not a directory", Hint: "name another path in [ledger]"}
	}
	if info.Mode().Perm()&0o002 != 0 {
		return &OpenError{Text: fmt.Sprintf("others may write to the ledger's directory %s (mode %#o)", dir, info.Mode().Perm()), Hint: "chmod 0700 " + dir}
	}
	kind, err := networkFS(dir)
	if err != nil {
		return err
	}
	if kind != "" && !allowNetwork {
		return &OpenError{
			Text: fmt.Sprintf("the ledger's directory %s is on %s", dir, kind),
			Hint: "put the ledger on a local file system: SQLite's locks and shared memory do not hold there",
		}
	}
	return nil
}

// locate makes sure that the ledger which belongs here lies here, or creates
// the first one. A ledger that was lost must not look like a first start: the
// whole archive would be sent again.
func (l *Ledger) locate(ctx context.Context, s schema) error {
	found, err := findFiles(l.path)
	if err != nil {
		return err
	}
	switch {
	case !found.any():
		l.log.Info("no ledger yet, creating one")
		return create(ctx, l.path, 0, l.now)
	case !found.ledger:
		return &OpenError{
			Text: "the ledger that belongs at " + l.path + " is missing",
			Hint: "restore a backup, or run `ingestd ledger init --force`",
		}
	}
	p, err := probe(ctx, l.path, s.version)
	if err != nil {
		return err
	}
	if !found.marker {
		l.log.Warn("completing the creation of the ledger: it had no marker")
		return writeMarker(filepath.Dir(l.path), p.uid)
	}
	if found.uid != p.uid {
		return &OpenError{
			Text: fmt.Sprintf("the ledger at %s belongs elsewhere: it is %q, %s names %q", l.path, p.uid, markerName, found.uid),
			Hint: "put the right ledger back, or restore a backup",
		}
	}
	return nil
}

// openWriter opens the writing connection, asserts its settings, migrates,
// notes this opening and starts the group commit.
func (l *Ledger) openWriter(ctx context.Context, s schema) error {
	l.db = connect(l.path, dsnWrite, 1)
	if err := assertSettings(ctx, l.db); err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Chmod(l.path+suffix, 0o600); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("protect ledger: %w", err)
		}
	}
	var version int
	if err := l.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	if err := s.upgrade(context.WithoutCancel(ctx), l.db, l.path, version, l.now()); err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	if _, err := l.db.ExecContext(ctx, "UPDATE meta SET boot = ?, pid = ?, since = ?, clean = 0", l.boot, os.Getpid(), l.now().UnixMilli()); err != nil {
		return fmt.Errorf("note this opening: %w", err)
	}
	conn, err := l.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	l.w = newWriter(conn, l.boot, l.now)
	l.w.makeRoom = func() {
		l.log.Error("the ledger's disk is full, giving the ballast back")
		if err := removeBallast(filepath.Dir(l.path)); err != nil {
			l.log.Error("no ballast to give back", "error", err)
		}
	}
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	l.wg.Go(l.w.run)
	l.wg.Go(func() { l.watchLock(watch) })
	return nil
}

// watchLock fences when the lock file is no longer the one that is locked: a
// second daemon could be running.
func (l *Ledger) watchLock(ctx context.Context) {
	tick := time.NewTicker(lockCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := l.lock.check(); err != nil {
				l.w.fence(err)
				return
			}
			if err := makeBallast(filepath.Dir(l.path)); err != nil {
				l.log.Warn("no ballast beside the ledger", "error", err)
			}
		}
	}
}

// Close ends the writes under way, checkpoints, notes that the stop was clean
// and gives the lock back.
//
// After a fence it leaves SQLite's connections to the end of the process:
// closing them would checkpoint data of which the disk may have lost a part.
func (l *Ledger) Close() error {
	l.stop()
	l.w.close()
	l.wg.Wait()
	if l.w.fenceErr() != nil {
		return l.lock.release()
	}
	ctx := context.Background()
	_, err := l.w.conn.ExecContext(ctx, "UPDATE meta SET clean = 1")
	errs := []error{err, l.reader.Close()} // readers would hold the checkpoint back
	_, err = l.w.conn.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	return errors.Join(append(errs, err, l.w.conn.Close(), l.db.Close(), l.lock.release())...)
}

// abandon undoes an opening that failed.
func (l *Ledger) abandon() error {
	var errs []error
	l.stop()
	if l.w != nil {
		l.w.close()
		l.wg.Wait()
		errs = append(errs, l.w.conn.Close())
	}
	if l.db != nil {
		errs = append(errs, l.db.Close())
	}
	return errors.Join(append(errs, l.lock.release())...)
}
