package ledger

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

const (
	lookEvery = time.Second // space, trouble and the mark
	lockCheck = time.Minute // how often the lock file is compared with what is locked, and the WAL measured
	walLarge  = 64 << 20    // bytes: journal_size_limit; beyond it a reader holds the WAL
)

// Health is how the open ledger is. Times are zero before the first check.
type Health struct {
	Trouble   *Trouble  // nil: none
	FreeBytes uint64    // for ordinary users on its file system
	WALBytes  int64     // of the -wal file
	CheckedAt time.Time // end of the last quick_check beside the work, or of the one at the opening
}

// Health returns the last look at the ledger's surroundings; it asks nobody.
func (l *Ledger) Health() Health {
	l.healthMu.Lock()
	h := l.health
	l.healthMu.Unlock()
	h.Trouble = l.Trouble()
	return h
}

func (l *Ledger) noteHealth(note func(*Health)) {
	l.healthMu.Lock()
	defer l.healthMu.Unlock()
	note(&l.health)
}

// Trouble tells why no new work should begin, or nil. It costs nothing.
func (l *Ledger) Trouble() *Trouble {
	code := l.w.waitsFor()
	if code == "" && l.low.Load() {
		code = TroubleSpace
	}
	return troubleOf(code, filepath.Dir(l.path))
}

// monitor is the goroutine that looks after the ledger beside the writer.
type monitor struct {
	l        *Ledger
	told     string // code of the trouble that was logged
	walLarge int64  // bytes
	walTold  bool
	looks    int
}

// watch looks at space and trouble every second and at the rest every minute.
func (l *Ledger) watch(ctx context.Context) {
	m := &monitor{l: l, walLarge: walLarge}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		m.look()
		if m.looks++; m.looks%int(lockCheck/lookEvery) != 0 {
			continue
		}
		if err := l.lock.check(); err != nil {
			l.log.Error("another ingestd may run on this ledger, so this one stops; never remove ledger.lock", "error", err)
			l.w.fence(err)
			return
		}
		m.minutely()
	}
}

// look notes how much space is left, tells trouble once when it begins and
// once when it ends, and makes the mark durable.
func (m *monitor) look() {
	l := m.l
	l.lookAtSpace()
	code := ""
	if t := l.Trouble(); t != nil {
		code = t.Code
		if m.told != code {
			l.log.Error("the ledger is in trouble: "+t.Text, "code", code, "hint", t.Hint)
		}
	} else if m.told != "" {
		l.log.Info("the ledger is out of its trouble; work goes on", "code", m.told)
	}
	m.told = code
	l.water.trouble(code)
	if err := l.water.sync(); err != nil {
		l.log.Warn("an older ledger put in place now would not be noticed", "error", err)
	}
}

// lookAtSpace sets the watermark's verdict. Work goes on only when an eighth
// more than the watermark is free, so that it does not flicker.
func (l *Ledger) lookAtSpace() {
	free, size, err := l.space(filepath.Dir(l.path))
	if err != nil {
		return // the next commit tells
	}
	low := lowMark(size)
	if l.low.Load() {
		low += low / 8
	}
	l.low.Store(free < low)
	l.noteHealth(func(h *Health) { h.FreeBytes = free })
}

func (m *monitor) minutely() {
	l := m.l
	if err := makeBallast(filepath.Dir(l.path), l.space); err != nil {
		l.log.Warn("no ballast beside the ledger", "error", err)
	}
	size := int64(0)
	if info, err := os.Stat(l.path + "-wal"); err == nil {
		size = info.Size()
	}
	l.noteHealth(func(h *Health) { h.WALBytes = size })
	large := size > m.walLarge
	if large && !m.walTold {
		l.log.Warn("the ledger's -wal grows because a reader keeps a transaction open; end it (lsof names who has the ledger open)", "bytes", size)
	}
	m.walTold = large
}
