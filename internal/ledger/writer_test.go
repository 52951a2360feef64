package ledger

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
)

// 16 workers with 200 moves each share their commits.
func TestGroupCommit(t *testing.T) {
	l, _ := openTest(t)
	const workers, moves = 16, 200
	var ds []Delivery
	for i := range workers {
		_, d := planned(t, l, fmt.Sprintf("%d.wav", i), fmt.Sprint(i), "", "alpha")
		ds = append(ds, d...)
	}
	before := l.w.commits.Load()
	var wg sync.WaitGroup
	for _, d := range ds {
		wg.Go(func() {
			ver := d.Ver
			for range moves {
				var err error
				if ver, err = l.Move(context.Background(), d.ID, ver, Step{From: Planned, To: Planned}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	commits := l.w.commits.Load() - before
	t.Logf("%d moves in %d commits", workers*moves, commits)
	if commits > workers*moves/2 {
		t.Errorf("%d commits for %d moves: they do not share", commits, workers*moves)
	}
	if n := queryInt(t, l, "SELECT count(*) FROM events WHERE from_state = 'planned'"); n != workers*moves {
		t.Errorf("%d events, want %d", n, workers*moves)
	}
}

// together runs writes in one transaction: the first holds the writer until
// the others wait behind it.
func together(t *testing.T, l *Ledger, fns ...func(*tx) error) []error {
	t.Helper()
	entered, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = l.w.write(context.Background(), "hold", func(*tx) error {
			close(entered)
			<-release
			return nil
		})
	})
	<-entered
	errs := make([]error, len(fns))
	for i, fn := range fns {
		wg.Go(func() { errs[i] = l.w.write(context.Background(), "one of many", fn) })
	}
	for len(l.w.ops) < len(fns) {
		runtime.Gosched() // until they are in the queue
	}
	close(release)
	wg.Wait()
	return errs
}

func note(o string) func(*tx) error {
	return func(x *tx) error {
		return x.exec("INSERT INTO orders (at, kind, delivery_ids, recording_ids, ordered_by, note) VALUES (0, 'test', '[]', '[]', '', ?)", o)
	}
}

func TestOneErrorSpoilsNobodyElse(t *testing.T) {
	l, _ := openTest(t)
	broke := errors.New("on purpose")
	before := l.w.commits.Load()
	errs := together(t, l,
		note("a"),
		func(x *tx) error { return errors.Join(note("b")(x), broke) },
		func(x *tx) error { return errors.Join(note("c")(x), x.exec("INSERT INTO meta (id) VALUES (7)")) }, // a constraint
		note("d"))
	if commits := l.w.commits.Load() - before; commits != 2 {
		t.Errorf("%d commits, want one of the holder and one for all others", commits)
	}
	if errs[0] != nil || !errors.Is(errs[1], broke) || errs[2] == nil || errs[3] != nil {
		t.Fatalf("%v", errs)
	}
	if n := queryInt(t, l, "SELECT count(*) FROM orders WHERE note IN ('a', 'd')"); n != 2 {
		t.Errorf("%d of the two good writes are there", n)
	}
	if n := queryInt(t, l, "SELECT count(*) FROM orders"); n != 2 {
		t.Errorf("%d writes are there, want the good ones alone", n)
	}
	if l.FenceErr() != nil {
		t.Errorf("fenced: %v", l.FenceErr())
	}
}

// A shutdown cancels contexts; what happened outside must still be recorded.
func TestWriteSurvivesCancelledContext(t *testing.T) {
	l, _ := openTest(t)
	_, ds := planned(t, l, "a.wav", "x", "", "alpha")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	must[int64](t)(l.Move(ctx, ds[0].ID, ds[0].Ver, Step{From: Planned, To: Sending}))
	if d := deliveryByID(t, l, ds[0].ID); d.State != Sending {
		t.Fatalf("%+v", d)
	}
}

// A commit that failed in a way that leaves its outcome unknown fences.
func TestFence(t *testing.T) {
	for name, cause := range map[string]error{
		"i/o error": sqlite3.Error{Code: sqlite3.ErrIoErr, ExtendedCode: sqlite3.ErrIoErrFsync},
		"corrupt":   sqlite3.Error{Code: sqlite3.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			l, _ := openTest(t)
			_, ds := planned(t, l, "a.wav", "x", "", "alpha")
			l.w.commit = func() error { return cause }
			if _, err := l.Move(t.Context(), ds[0].ID, ds[0].Ver, Step{From: Planned, To: Sending}); !errors.Is(err, ErrFenced) {
				t.Fatalf("the write returned %v", err)
			}
			select {
			case <-l.Fenced():
			default:
				t.Fatal("Fenced is not closed")
			}
			var got sqlite3.Error
			if !errors.As(l.FenceErr(), &got) || got.Code != cause.(sqlite3.Error).Code {
				t.Fatalf("fence error = %v", l.FenceErr())
			}
			l.w.commit = func() error { t.Error("a fenced ledger commits"); return nil }
			if _, err := l.Move(t.Context(), ds[0].ID, ds[0].Ver, Step{From: Planned, To: Sending}); !errors.Is(err, ErrFenced) {
				t.Fatalf("a later write returned %v", err)
			}
			t.Cleanup(func() { l.reader.Close(); l.w.conn.Close(); l.db.Close() })
		})
	}
}

// Errors inside a write that are about the whole ledger fence too.
func TestBrokenStatementFences(t *testing.T) {
	l, _ := openTest(t)
	err := l.w.write(t.Context(), "read a bad page", func(*tx) error { return sqlite3.Error{Code: sqlite3.ErrCorrupt} })
	if !errors.Is(err, ErrFenced) || l.FenceErr() == nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() { l.reader.Close(); l.w.conn.Close(); l.db.Close() })
}

// A full disk and a foreign lock are waited for; the ballast helps once.
func TestTransientErrorsAreRetried(t *testing.T) {
	l, _ := openTest(t)
	_, ds := planned(t, l, "a.wav", "x", "", "alpha")
	commit, room, failures := l.w.commit, 0, 0
	l.w.pauses = []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond}
	l.w.makeRoom = func() { room++ }
	l.w.commit = func() error {
		if failures++; failures <= 2 {
			return sqlite3.Error{Code: sqlite3.ErrFull}
		}
		return commit()
	}
	must[int64](t)(l.Move(t.Context(), ds[0].ID, ds[0].Ver, Step{From: Planned, To: Sending}))
	if room != 1 {
		t.Errorf("the ballast was given back %d times", room)
	}
	if n := queryInt(t, l, "SELECT count(*) FROM events WHERE to_state = 'sending'"); n != 1 {
		t.Errorf("%d events of one move", n)
	}
	if l.FenceErr() != nil || l.Trouble() != nil {
		t.Errorf("afterwards: %v, %+v", l.FenceErr(), l.Trouble())
	}
}

// A caller does not wait for ever behind a frozen disk, and a write that was
// given up before it began never happens.
func TestWriteTimeout(t *testing.T) {
	l, _ := openTest(t)
	entered, release := make(chan struct{}), make(chan struct{})
	held := make(chan error, 1)
	go func() {
		held <- l.w.write(context.Background(), "frozen", func(*tx) error { close(entered); <-release; return nil })
	}()
	<-entered
	l.w.timeout = 20 * time.Millisecond
	err := l.w.write(t.Context(), "behind it", note("never"))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "not written") {
		t.Errorf("%v", err)
	}
	close(release)
	check(t, <-held)
	l.w.timeout = time.Minute
	check(t, l.w.write(t.Context(), "after it", note("always")))
	if n := queryInt(t, l, "SELECT count(*) FROM orders WHERE note = 'never'"); n != 0 {
		t.Error("a write that was given up happened")
	}
}

func TestWriteAfterClose(t *testing.T) {
	l := openAt(t, filepath.Join(t.TempDir(), "ledger.db"), newClock())
	closeOnce(t, l)
	if err := l.w.write(t.Context(), "late", note("late")); !errors.Is(err, errClosed) {
		t.Fatalf("%v", err)
	}
}
