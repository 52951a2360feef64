package model

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	_ "github.com/mattn/go-sqlite3" // the checks read the ledger by themselves

	"ingestd/internal/ledger"
	"ingestd/internal/mapping"
	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
	"ingestd/internal/sidecar"
	"ingestd/internal/watcher"
)

// run is one life of the program.
type run struct {
	w     *world
	dir   string // its ledger
	next  string // directory of the copy that a kill makes
	led   *ledger.Ledger
	db    *sql.DB // read-only, for the checks
	stop  context.CancelFunc
	cut   context.CancelFunc
	ended chan error

	live   atomic.Bool  // the ledger's writer runs
	left   atomic.Int64 // commits until the kill; negative: no kill
	killed atomic.Bool  // the copy is made
	dying  bool         // guarded by the world's mutex: the vendors ignore it
}

const dbName = "ledger.db"

// start begins a life on the ledger as the last one left it; it is killed at
// a commit if kill is not negative.
func (w *world) start(kill int) {
	w.runs++
	r := &run{w: w, dir: w.state, next: filepath.Join(w.dir, fmt.Sprintf("state-%d", w.runs)), ended: make(chan error, 1)}
	w.note("start %d, kill at commit %d", w.runs, kill)
	r.left.Store(-1)
	ctx := context.Background()
	log := slog.New(slog.DiscardHandler)
	var err error
	r.led, err = ledger.Open(ctx, ledger.Options{Path: filepath.Join(r.dir, dbName), Now: r.now, Log: log})
	if err != nil {
		w.violate("I13: the ledger does not open: %v", err)
		return
	}
	r.db = openDB(r.dir)
	p, err := pipeline.New(w.options(r, log))
	if err != nil {
		w.violate("the pipeline cannot be built: %v", err)
		return
	}
	var soft, hard context.Context
	soft, r.stop = context.WithCancel(ctx)
	hard, r.cut = context.WithCancel(ctx)
	r.left.Store(int64(kill))
	r.live.Store(true)
	w.run = r
	go func() { r.ended <- p.Run(soft, hard) }()
}

func openDB(dir string) *sql.DB {
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, dbName)+"?mode=ro&_query_only=1&_busy_timeout=5000")
	if err != nil {
		panic(err) // only the name of the driver can be wrong
	}
	db.SetMaxOpenConns(2)
	return db
}

func (w *world) options(r *run, log *slog.Logger) pipeline.Options {
	o := pipeline.Options{Ledger: r.led, Log: log, Poll: true, Random: func() float64 { return w.set.Jitter }}
	var names []string
	for _, s := range w.set.Shapes {
		names = append(names, s.name)
		o.Destinations = append(o.Destinations, pipeline.Destination{
			Name: s.name, Sender: w.vendors[s.name].sender(r), Workers: w.set.Workers, OnDoubt: s.onDoubt, DoubtSettle: doubtSettle,
			Lane: senders.NewLane(senders.Rate{Unlimited: true}, time.Now),
			Retry: senders.RetryConfig{
				Initial: senders.Duration(2 * time.Second), Max: senders.Duration(time.Minute), GiveUp: senders.Duration(time.Hour),
			},
		})
	}
	m, err := mapping.CompileSource(mapping.SourceConfig{Sidecars: []mapping.SidecarExprs{{Name: "sidecar"}}})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, name := range w.set.Sources {
		o.Sources = append(o.Sources, pipeline.Source{
			Name: name, Path: w.at(name), Destinations: names, Include: []string{"**/*.wav"},
			ScanEvery: scanEvery, Rule: watcher.Rule{Quiet: cmp.Or(w.set.Quiet, quiet)},
			Sidecars: []sidecar.Config{{Name: "sidecar", Files: []string{"**/*.json"}, Pair: sidecar.PairStem}},
			Mapping:  m, WaitForSidecar: sidecarWait, OnMissing: w.set.OnMissing,
			After: w.set.After, Archive: filepath.Join(w.dir, "archive", "{source}"), Zone: time.UTC,
		})
	}
	return o
}

// now is the ledger's clock. The writer reads it once per transaction, just
// after BEGIN IMMEDIATE: there the program can be killed at an exact commit.
func (r *run) now() time.Time {
	if r.live.Load() && inWriter() && r.left.Load() >= 0 && r.left.Add(-1) < 0 {
		r.die()
	}
	return time.Now()
}

// inWriter tells whether the caller's caller is the ledger's writer: others
// read its clock too, and they must not be ended.
func inWriter() bool {
	pc := make([]uintptr, 8)
	frames := runtime.CallersFrames(pc[:runtime.Callers(2, pc)])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, "(*writer).commitBatch") {
			return true
		}
		if !more {
			return false
		}
	}
}

// die ends the program inside a transaction: what is committed is copied
// while the write lock is held, and the writer ends, so that every further
// write of this life fails.
func (r *run) die() {
	r.w.mu.Lock()
	r.dying = true
	r.w.noteLocked("KILLED")
	r.w.mu.Unlock()
	if err := copyLedger(r.dir, r.next); err != nil {
		r.w.t.Error(err)
	}
	r.killed.Store(true)
	r.stop()
	r.cut()
	runtime.Goexit()
}

// kill ends the program before anything else is committed.
func (r *run) kill() {
	r.w.mu.Lock()
	r.dying = true
	r.w.mu.Unlock()
	r.left.Store(0)
}

// copyLedger copies what a kill leaves: the mark (first: it never runs ahead of
// the file), the file, the log and the marker.
// The index of the log is rebuilt by whoever opens it first after a death.
func copyLedger(from, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	for _, name := range []string{dbName + "-mark", dbName, dbName + "-wal", "ledger.id"} {
		if err := copyFile(filepath.Join(from, name), filepath.Join(to, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// reap cleans up after a killed run. The next one starts from the copy.
func (w *world) reap() {
	r := w.run
	if r == nil || !r.killed.Load() {
		return
	}
	<-r.ended
	w.end(r)
	// The ballast is not part of the ledger; making it anew costs time.
	if err := os.Rename(filepath.Join(r.dir, "ledger.ballast"), filepath.Join(r.next, "ledger.ballast")); err != nil && !errors.Is(err, os.ErrNotExist) {
		w.t.Error(err)
	}
	if err := os.RemoveAll(r.dir); err != nil {
		w.t.Error(err)
	}
	w.state = r.next
	w.checkRecovery()
}

func (w *world) end(r *run) {
	r.live.Store(false)
	r.stop()
	r.cut()
	// Killing the writer in the middle of a batch took its connection along.
	if err := errors.Join(r.db.Close(), r.led.Close()); err != nil && !r.killed.Load() {
		w.t.Error(err)
	}
	w.run = nil
}

// rest stops the program in order; with a limit attempts under way are cut
// off after it.
func (w *world) rest(limit time.Duration) {
	r := w.run
	if r == nil {
		return
	}
	w.note("stop, attempts are cut off after %s", limit)
	r.stop()
	timer := time.AfterFunc(limit, r.cut)
	err := <-r.ended
	timer.Stop()
	if r.killed.Load() {
		r.ended <- nil
		w.reap()
		return
	}
	if err != nil {
		w.violate("the program ended with %v", err)
	}
	w.end(r)
}
