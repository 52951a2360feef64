package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

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
	if o.space == nil {
		o.space = freeSpace
	}
	if o.check == nil {
		o.check = quickCheck
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
	l := &Ledger{path: path, space: o.space, check: o.check, now: o.Now, log: o.Log, boot: randomHex(8), stop: func() {}}
	if l.lock, err = takeLock(ctx, dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.abandon())
		}
	}()
	if err := needSpace(dir, o.space); err != nil {
		return nil, err
	}
	if err := cleanUp(path); err != nil {
		return nil, err
	}
	found, err := l.locate(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := l.openWriter(ctx, s, found); err != nil {
		return nil, err
	}
	if l.reader, err = newReader(ctx, path, dsnRead, 4, s.version); err != nil {
		return nil, err
	}
	l.reader.now = o.Now
	if err := makeBallast(dir, o.space); err != nil {
		l.log.Warn("no ballast beside the ledger", "error", err)
	}
	return l, nil
}

// checkDir refuses a state directory that others may write to, and file
// systems on which the ledger's locks do not hold.
func checkDir(dir string, allowNetwork bool) error {
	info, err := os.Stat(dir)
	if errors.Is(err, os.ErrNotExist) {
		return &OpenError{Text: "the ledger's directory " + dir + " does not exist", Hint: "create it, owned by the service user, mode 0700", Err: err}
	}
	if err != nil {
		return &OpenError{Text: "the ledger's directory " + dir + " cannot be used", Hint: "create it, owned by the service user, mode 0700", Err: err}
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

// located is what locate found.
type located struct {
	probed
	water *waterMark // nil: there is none
	older string     // why the ledger is older than what ran here; "": it is not
}

// locate makes sure that the ledger which belongs here lies here, or creates
// the first one. A ledger that was lost must not look like a first start: the
// whole archive would be sent again.
func (l *Ledger) locate(ctx context.Context, s schema) (out located, err error) {
	found, err := findFiles(l.path)
	if err != nil {
		return out, err
	}
	switch {
	case !found.any():
		l.log.Info("no ledger yet, creating one")
		if err := create(ctx, l.path, 0, l.now); err != nil {
			return out, err
		}
		if found, err = findFiles(l.path); err != nil {
			return out, err
		}
	case !found.ledger:
		return out, lost(l.path)
	}
	if out.probed, err = probe(ctx, l.path, s.version); err != nil {
		return out, err
	}
	if found.marker && found.uid != out.uid {
		return out, elsewhere(l.path, out.uid, found.uid)
	}
	out.water, err = readWater(l.path)
	switch {
	case errors.Is(err, errBadWater):
		out.older = err.Error()
	case err != nil:
		return out, err
	default:
		out.older = out.probed.older(out.water, walThere(l.path))
	}
	if !found.marker {
		if out.boot != "" && out.older == "" {
			out.older = markerName + " beside it is missing"
		}
		l.log.Warn("completing the creation of the ledger: it had no marker")
		return out, writeMarker(filepath.Dir(l.path), out.uid)
	}
	return out, nil
}

// openWriter opens the writing connection, asserts its settings, migrates,
// notes this opening and starts the group commit.
func (l *Ledger) openWriter(ctx context.Context, s schema, found located) (err error) {
	if found.older == "" {
		// Durable before the ledger holds this boot: a crash in between leaves
		// a ledger of the boot before, and the mark says so.
		m := waterMark{UID: found.uid, Boot: l.boot, Before: found.boot, Opening: true}
		if found.water != nil {
			m.Event = found.water.Event
		}
		if l.water, err = createWater(l.path, m); err != nil {
			return err
		}
	}
	l.db = connect(l.path, dsnWrite, 1)
	if err := assertSettings(ctx, l.db); err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Chmod(l.path+suffix, 0o600); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("protect ledger: %w", err)
		}
	}
	if err := s.upgrade(context.WithoutCancel(ctx), l.db, l.path, found.version, l.now()); err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	if err := l.noteOpening(ctx, found); err != nil {
		return err
	}
	conn, err := l.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	l.w = newWriter(conn, l.boot, l.now)
	l.w.reached = l.water.reached
	l.w.makeRoom = func() {
		l.log.Error("the ledger's disk is full, giving the ballast back")
		if err := removeBallast(filepath.Dir(l.path)); err != nil {
			l.log.Error("no ballast to give back", "error", err)
		}
		l.lookAtSpace()
	}
	l.noteHealth(func(h *Health) { h.CheckedAt = l.now() }) // locate has just done it
	l.lookAtSpace()
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	l.wg.Go(l.w.run)
	l.wg.Go(func() { l.watch(watch) })
	l.wg.Go(func() { l.checkDaily(watch) })
	return l.finishRestore(ctx)
}

// noteOpening writes this boot into the ledger, with a new restore epoch if
// the ledger is an older one, and then into the mark that it did so.
func (l *Ledger) noteOpening(ctx context.Context, found located) (err error) {
	at := l.now().UnixMilli()
	_, err = l.db.ExecContext(ctx, `UPDATE meta SET boot = ?1, pid = ?2, since = ?3, clean = 0,
		restore_epoch = CASE WHEN ?4 THEN ?3 ELSE restore_epoch END, restoring = restoring OR ?4`, l.boot, os.Getpid(), at, found.older != "")
	if err != nil {
		return fmt.Errorf("note this opening: %w", err)
	}
	if found.older != "" {
		l.log.Warn("the ledger is older than what ran here: what it calls unsent may have been sent, so it is in doubt now and not sent blindly",
			"why", found.older, "last_event", found.lastEvent)
		// Only now that the epoch is durable may the old mark go.
		if l.water, err = createWater(l.path, waterMark{UID: found.uid, Boot: l.boot}); err != nil {
			return err
		}
	}
	return l.water.opened(found.lastEvent)
}

// Close ends the writes under way, checkpoints, notes that the stop was clean
// and gives the lock back.
//
// After a fence it leaves SQLite's connections to the end of the process:
// closing them would checkpoint data of which the disk may have lost a part.
// It does so too when the clean stop cannot be noted, on a full disk: closing
// would remove the WAL, and the next start would think that it was lost.
func (l *Ledger) Close() error {
	l.stop()
	l.w.close()
	l.wg.Wait()
	if l.w.fenceErr() != nil {
		return errors.Join(l.water.close(), l.lock.release())
	}
	err := l.noteClean()
	errs := []error{err, l.reader.Close()} // readers would hold the checkpoint back
	if err == nil {
		_, err = l.w.conn.ExecContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)")
		errs = append(errs, err, l.w.conn.Close(), l.db.Close())
	}
	if errors.Is(err, sql.ErrConnDone) { // the writer died with its connection: no other one holds the -wal
		errs = append(errs, l.db.Close())
	}
	return errors.Join(append(errs, l.water.close(), l.lock.release())...)
}

func (l *Ledger) noteClean() error {
	_, err := l.w.conn.ExecContext(context.Background(), "UPDATE meta SET clean = 1")
	if err != nil {
		return fmt.Errorf("note the clean stop: %w", err)
	}
	return nil
}

// abandon undoes an opening that failed.
func (l *Ledger) abandon() error {
	var errs []error
	l.stop()
	if l.w != nil {
		l.w.close()
		l.wg.Wait()
		if l.w.fenceErr() != nil || l.noteClean() != nil {
			return errors.Join(l.water.close(), l.lock.release()) // as Close
		}
		errs = append(errs, l.w.conn.Close())
	}
	if l.db != nil {
		errs = append(errs, l.db.Close())
	}
	if l.water != nil {
		errs = append(errs, l.water.close())
	}
	return errors.Join(append(errs, l.lock.release())...)
}
