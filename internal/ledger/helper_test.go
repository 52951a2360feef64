package ledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"io/fs"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"ingestd/internal/call"
)

// clock is a clock that tests move by hand.
type clock struct{ ms atomic.Int64 }

var epoch = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)

func newClock() *clock {
	c := &clock{}
	c.ms.Store(epoch.UnixMilli())
	return c
}

func (c *clock) now() time.Time          { return time.UnixMilli(c.ms.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// open opens a new ledger in a directory of the test.
func openTest(t testing.TB) (*Ledger, *clock) {
	t.Helper()
	c := newClock()
	return openAt(t, filepath.Join(t.TempDir(), "ledger.db"), c), c
}

func openAt(t testing.TB, path string, c *clock) *Ledger {
	t.Helper()
	l, err := Open(context.Background(), Options{Path: path, Now: c.now})
	if err != nil {
		t.Fatalf("open ledger: %v", err)
	}
	t.Cleanup(func() { closeOnce(t, l) })
	return l
}

// closeOnce closes a ledger that the test may have closed already.
func closeOnce(t testing.TB, l *Ledger) {
	t.Helper()
	select {
	case <-l.w.stopped:
		return
	default:
	}
	if err := l.Close(); err != nil {
		t.Errorf("close ledger: %v", err)
	}
}

// crash ends a ledger as SIGKILL would: no clean flag, no checkpoint.
func crash(t testing.TB, l *Ledger) {
	t.Helper()
	l.w.fence(errClosed) // Close then leaves SQLite alone
	if err := l.Close(); err != nil {
		t.Fatalf("crash: %v", err)
	}
	t.Cleanup(func() { l.reader.Close(); l.w.conn.Close(); l.db.Close() })
}

func must[T any](t testing.TB) func(v T, err error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sumOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

func lookOf(ino uint64) Look {
	return Look{Identity: Identity{Dev: 1<<63 + 5, Ino: ino, Size: 1000, MtimeNS: epoch.UnixNano(), CtimeNS: epoch.UnixNano()}, Since: epoch, Looks: 1}
}

// see makes a settling recording and returns it.
func see(t testing.TB, l *Ledger, source, path string) Recording {
	t.Helper()
	check(t, l.SeeRecordings(t.Context(), []Seen{{Source: source, Path: path, Look: lookOf(uint64(len(path)))}}))
	return at(t, l, source, path)
}

func at(t testing.TB, l *Ledger, source, path string) Recording {
	t.Helper()
	m := must[map[string]Recording](t)(l.RecordingsAt(t.Context(), source, []string{path}))
	if _, ok := m[path]; !ok {
		t.Fatalf("no current recording at %s", path)
	}
	full := must[[]Recording](t)(l.recordings(t.Context(), "SELECT "+fullColumns+" FROM recordings WHERE id = ?", true, m[path].ID))
	return full[0]
}

// ready is a decision for a recording with the given content and key.
func ready(content, recorderID string, destinations ...string) Decision {
	record := call.Record{CallID: "call-" + content, RecordingID: recorderID, StartedAt: epoch}
	key, named := record.BusinessKey("s", content)
	var sum [32]byte
	must32(sumOf(content), &sum)
	d := Decision{State: Ready, SHA256: sumOf(content), BusinessKey: key, Named: named, Call: &record,
		Audio: &call.Audio{Container: "wav", Codec: "pcm_s16le", SampleRate: 8000, Channels: 2, DurationSeconds: 1.5, Ext: "wav"}}
	for _, name := range destinations {
		d.Deliveries = append(d.Deliveries, NewDelivery{Destination: name, IdemKey: call.NewDelivery(name, key, sum).IdemKey, State: Planned})
	}
	return d
}

func must32(s string, sum *[32]byte) {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	copy(sum[:], b)
}

// planned sees and decides a recording and returns it with its deliveries.
func planned(t testing.TB, l *Ledger, path, content, recorderID string, destinations ...string) (Recording, []Delivery) {
	t.Helper()
	r := see(t, l, "s", path)
	must[Decided](t)(l.Decide(t.Context(), r.ID, r.Ver, ready(content, recorderID, destinations...)))
	r = at(t, l, "s", path)
	return r, deliveriesOf(t, l, r.ID)
}

func deliveriesOf(t testing.TB, l *Ledger, recording int64) []Delivery {
	t.Helper()
	return must[[]Delivery](t)(l.deliveries(t.Context(), "SELECT "+deliveryColumns+" FROM deliveries AS d WHERE recording_id = ? ORDER BY id", recording))
}

func deliveryByID(t testing.TB, l *Ledger, id int64) Delivery {
	t.Helper()
	d, _, err := l.Job(t.Context(), id)
	check(t, err)
	return d
}

// walk moves a delivery along states.
func walk(t testing.TB, l *Ledger, d Delivery, states ...State) Delivery {
	t.Helper()
	for _, to := range states {
		step := Step{From: d.State, To: to, BeginAttempt: d.State == Planned && to != Planned}
		ver, err := l.Move(t.Context(), d.ID, d.Ver, step)
		check(t, err)
		d.Ver, d.State = ver, to
	}
	return deliveryByID(t, l, d.ID)
}

// verified fails unless the ledger's own check is content.
func verified(t testing.TB, l *Ledger) Report {
	t.Helper()
	rep := must[Report](t)(Verify(t.Context(), l.path))
	if !rep.OK {
		t.Fatalf("verify: %q", rep.Problems)
	}
	return rep
}

func queryInt(t testing.TB, l *Ledger, query string, args ...any) int64 {
	t.Helper()
	var n sql.NullInt64
	check(t, l.reader.db.QueryRowContext(t.Context(), query, args...).Scan(&n))
	return n.Int64
}

// onlyFirst shows the first migration alone.
type onlyFirst struct{ fs.FS }

func (f onlyFirst) ReadDir(name string) ([]fs.DirEntry, error) {
	all, err := fs.ReadDir(f.FS, name)
	return all[:1], err
}
