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

// restoreBatch is how many deliveries go in doubt in one transaction.
const restoreBatch = 500

// ReasonRestored is the reason of a delivery that is in doubt because the
// ledger was an older one, or a new one in the place of another.
const ReasonRestored = "restored"

const restoredText = "the ledger is older than what ran here, so this may have been sent already"

// finishRestore puts every delivery of an older ledger in doubt that could
// have been sent in the lost stretch, before anything else is done with it. A
// doubt from before begins anew, because what the vendor answered then says
// nothing about the lost stretch. What a person must decide about stays held.
// Running it again goes on where a crash left it.
func (l *Ledger) finishRestore(ctx context.Context) error {
	total := 0
	for {
		n, done := 0, false
		err := l.w.write(ctx, "put deliveries in doubt", func(t *tx) error {
			restoring, epoch := false, int64(0)
			err := t.row("SELECT restoring, restore_epoch FROM meta", nil, []any{&restoring, &epoch})
			if done = !restoring; err != nil || done {
				return err
			}
			if n, err = t.putInDoubt(epoch); err != nil || n > 0 {
				return err
			}
			done = true
			if err := t.forgetOrders(epoch); err != nil {
				return err
			}
			return t.exec("UPDATE meta SET restoring = 0")
		})
		if err != nil {
			return err
		}
		if total += n; done {
			break
		}
	}
	if total > 0 {
		l.log.Warn("deliveries of an older ledger are in doubt; vendors are asked, or sent the same key again where they refuse duplicates", "deliveries", total)
	}
	return nil
}

// forgetOrders ends the orders from before the epoch that nobody has carried
// out: it may have been done in the lost stretch.
func (t *tx) forgetOrders(epoch int64) error {
	return t.exec("UPDATE orders SET applied_at = ?, result = ? WHERE applied_at IS NULL AND at < ?", t.at,
		"applied to 0; the ledger became an older one after it was given: look where things stand, then order it again", epoch)
}

func (t *tx) putInDoubt(epoch int64) (int, error) {
	var open []shortDelivery
	err := t.rows("SELECT "+shortDeliveryColumns+` FROM deliveries AS d INDEXED BY deliveries_open
		WHERE (state IN ('planned', 'declaring', 'declared', 'sending', 'committing') OR state = 'in_doubt' AND doubt_since < ?)
		AND (`+inOpenStates+") LIMIT ? + 0", []any{epoch, restoreBatch},
		func(row scanner) error {
			var d shortDelivery
			err := row.Scan(d.dest()...)
			open = append(open, d)
			return err
		})
	if err != nil {
		return 0, err
	}
	for _, d := range open {
		err := t.move(d, Step{From: d.State, To: InDoubt, Class: ReasonRestored, Reason: ReasonRestored, Text: restoredText})
		if err == nil {
			err = t.exec("UPDATE deliveries SET doubt_since = max(?1, ?2), next_attempt = ?1 WHERE id = ?3", t.at, epoch, d.ID)
		}
		if err != nil {
			return 0, err
		}
	}
	return len(open), nil
}

// Restored tells what Restore did.
type Restored struct {
	UID        string   `json:"uid"`
	LastEvent  int64    `json:"last_event"` // of the backup
	Recordings int64    `json:"recordings"`
	Deliveries int64    `json:"deliveries"`
	InDoubt    int64    `json:"in_doubt"` // deliveries that the next start puts in doubt
	Aside      []string `json:"aside"`    // the replaced files under their new names
}

// Restore puts a backup in the ledger's place. It needs the lock, so no daemon
// runs. The backup is only read. Its copy is checked, brought to this
// program's version and given a restore epoch before it gets the name; what it
// replaces is moved aside, and nothing is deleted. A crash at any point leaves
// the old ledger, none beside a marker (which refuses to start), or the new
// one with its epoch.
//
// A backup of another ledger than the one that belongs here is refused unless
// other is set.
func Restore(ctx context.Context, path, backup string, other bool, now func() time.Time) (out Restored, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return out, err
	}
	if backup, err = filepath.Abs(backup); err != nil {
		return out, err
	}
	dir := filepath.Dir(path)
	if backup == path {
		return out, &OpenError{Text: "the backup to restore is the ledger itself", Hint: "name a file that `ingestd ledger backup` wrote"}
	}
	if _, err := os.Stat(backup); err != nil {
		return out, fmt.Errorf("restore: %w", err)
	}
	if err := checkDir(dir, false); err != nil {
		return out, err
	}
	lk, err := takeLock(ctx, dir)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, lk.release()) }()
	if err := cleanUp(path); err != nil {
		return out, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, cleanUp(path))
		}
	}()
	found, err := findFiles(path)
	if err != nil {
		return out, err
	}
	s, err := programSchema()
	if err != nil {
		return out, err
	}
	if out, err = prepare(ctx, backup, newName(path), s, now()); err != nil {
		return out, err
	}
	if found.marker && found.uid != out.UID && !other {
		return out, &OpenError{
			Text: fmt.Sprintf("%s is a backup of ledger %q, and %q belongs here", backup, out.UID, found.uid),
			Hint: "restore a backup of this ledger, or say --other if that one is to take its place",
		}
	}
	// The marker stays: without a ledger beside it nothing starts.
	if out.Aside, err = moveAside(now(), path, path+"-wal", path+"-shm", waterPath(path)); err != nil {
		return out, err
	}
	if err := unix.Renameat2(unix.AT_FDCWD, newName(path), unix.AT_FDCWD, path, unix.RENAME_NOREPLACE); err != nil {
		return out, fmt.Errorf("put the backup in place: %w", err)
	}
	return out, writeMarker(dir, out.UID)
}

// prepare makes a ledger out of a backup, under a temporary name and durable.
func prepare(ctx context.Context, backup, name string, s schema, now time.Time) (out Restored, err error) {
	p, err := probeBackup(ctx, backup, s.version)
	if err != nil {
		return out, err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return out, fmt.Errorf("restore: %w", err)
	}
	err = vacuumInto(ctx, backup, backupDSN(backup), name)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return out, fmt.Errorf("restore %s: %w", backup, err)
	}
	if err := verifyCopy(ctx, name, mark{uid: p.uid, lastEvent: p.lastEvent}); err != nil {
		return out, err
	}
	db := connect(name, dsnWrite, 1)
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := s.migrate(ctx, db); err != nil {
		return out, fmt.Errorf("restore %s: %w", backup, err)
	}
	// Without a boot and a mark beside it, it opens as a ledger that was never
	// opened here: the epoch and restoring say all that is to be done.
	if _, err := db.ExecContext(ctx, "UPDATE meta SET restore_epoch = ?, restoring = 1, boot = '', clean = 1", now.UnixMilli()); err != nil {
		return out, fmt.Errorf("restore %s: %w", backup, err)
	}
	out.UID, out.LastEvent = p.uid, p.lastEvent
	err = db.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM recordings), (SELECT count(*) FROM deliveries),
		(SELECT count(*) FROM deliveries WHERE state IN ('planned', 'declaring', 'declared', 'sending', 'committing', 'in_doubt'))`).
		Scan(&out.Recordings, &out.Deliveries, &out.InDoubt)
	if err != nil {
		return out, fmt.Errorf("restore %s: %w", backup, err)
	}
	return out, checkpointAll(ctx, db)
}

// backupDSN opens a backup without leaving anything beside it; a copy that
// has its WAL beside it is read with it.
func backupDSN(backup string) string {
	if walThere(backup) {
		return dsnCopy
	}
	return "mode=ro&immutable=1"
}

// probeBackup looks whether a file is a sound ledger that this program knows.
func probeBackup(ctx context.Context, backup string, newest int) (probed, error) {
	p, err := probeAs(ctx, backup, backupDSN(backup), newest, true)
	var refused *OpenError
	if errors.As(err, &refused) {
		refused.Hint = "nothing was changed; restore another backup"
	}
	return p, err
}
