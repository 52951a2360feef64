package ledger

import (
	"context"
	"fmt"
	"time"
)

const (
	checkEvery = 24 * time.Hour   // quick_check beside the work
	checkLook  = time.Minute      // how often it is asked whether one is due
	checkQuiet = time.Minute      // without a commit: a quiet moment
	checkLimit = 10 * time.Minute // a check that takes longer is given up: its read transaction holds the WAL
)

// checkDaily is the goroutine that runs SQLite's quick_check once a day, at a
// quiet moment if there is one. It is alone, because it may take minutes.
func (l *Ledger) checkDaily(ctx context.Context) {
	checked, quietSince, commits := l.now(), l.now(), int64(0)
	tick := time.NewTicker(checkLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := l.now()
		if n := l.w.commits.Load(); n != commits {
			commits, quietSince = n, now
		}
		if over := now.Sub(checked); over >= checkEvery && now.Sub(quietSince) >= checkQuiet || over >= 2*checkEvery {
			l.checkNow(ctx)
			checked = l.now()
		}
	}
}

// checkNow makes one check. Damage fences: what is sent on the word of a
// damaged ledger may be wrong.
func (l *Ledger) checkNow(ctx context.Context) {
	began := l.now()
	limited, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	problems, err := l.check(limited, l.path)
	ended := l.now()
	l.noteHealth(func(h *Health) { h.CheckedAt = ended })
	switch {
	case ctx.Err() != nil:
	case err != nil && broken(err) && !transient(err):
		l.w.fence(fmt.Errorf("daily check: %w", err))
	case err != nil:
		l.log.Warn("the daily check of the ledger did not finish", "error", err)
	case len(problems) > 0:
		l.log.Error("the ledger is damaged; the daemon stops: keep the file and restore the last good backup", "problem", problems[0])
		l.w.fence(fmt.Errorf("daily check: the ledger is damaged: %s", problems[0]))
	default:
		l.log.Info("the ledger is sound", "took", ended.Sub(began))
	}
}

// quickCheck runs on a connection of its own, so that no query of the daemon
// waits for it.
func quickCheck(ctx context.Context, path string) ([]string, error) {
	db := connect(path, dsnRead, 1)
	defer db.Close()
	return integrity(ctx, db, false)
}
