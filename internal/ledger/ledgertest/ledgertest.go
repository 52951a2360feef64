// Package ledgertest opens and fills real ledgers for the tests of other
// rooms. Only test files import it.
package ledgertest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"testing"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/ledger"
)

// Open opens a new ledger in a directory of the test and closes it at its end.
func Open(t testing.TB) *ledger.Ledger {
	t.Helper()
	return OpenAt(t, filepath.Join(t.TempDir(), "ledger.db"), nil)
}

// OpenAt opens the ledger at a path with a clock of the test; nil is the real
// one.
func OpenAt(t testing.TB, path string, now func() time.Time) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(context.Background(), ledger.Options{Path: path, Now: now})
	if err != nil {
		t.Fatalf("open ledger: %v", err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close ledger: %v", err)
		}
	})
	return l
}

// Recording is a ready recording to be seeded. Its content, and with it hash
// and keys, is derived from the path.
type Recording struct {
	Source string // "": "source"
	Path   string
	Size   int64       // 0: 1000
	Call   call.Record // without ids it is known by its path
	// States of its deliveries by destination. Each delivery goes there
	// by the way of a vendor of two steps; Duplicate has no such way.
	States map[string]ledger.State
}

// Seed puts ready recordings into a ledger and returns their ids.
func Seed(t testing.TB, l *ledger.Ledger, recordings ...Recording) []int64 {
	t.Helper()
	ids := make([]int64, len(recordings))
	for i, r := range recordings {
		if r.Source == "" {
			r.Source = "source"
		}
		if r.Size == 0 {
			r.Size = 1000
		}
		ids[i] = seed(t, l, r)
	}
	return ids
}

func seed(t testing.TB, l *ledger.Ledger, r Recording) int64 {
	t.Helper()
	ctx := context.Background()
	now := time.Now()
	look := ledger.Look{Since: now, Looks: 2, Identity: ledger.Identity{Dev: 1, Ino: uint64(len(r.Path)), Size: r.Size, MtimeNS: now.UnixNano(), CtimeNS: now.UnixNano()}}
	if err := l.SeeRecordings(ctx, []ledger.Seen{{Source: r.Source, Path: r.Path, Look: look}}); err != nil {
		t.Fatalf("seed %s: %v", r.Path, err)
	}
	rows, err := l.RecordingsAt(ctx, r.Source, []string{r.Path})
	if err != nil {
		t.Fatalf("seed %s: %v", r.Path, err)
	}
	row := rows[r.Path]
	sum := sha256.Sum256([]byte(r.Path))
	key, named := r.Call.BusinessKey(r.Source, r.Path)
	d := ledger.Decision{State: ledger.Ready, SHA256: hex.EncodeToString(sum[:]), BusinessKey: key, Named: named, Call: &r.Call,
		Audio: &call.Audio{Container: "wav", Codec: "pcm_s16le", SampleRate: 8000, Channels: 1, DurationSeconds: 1, Ext: "wav"}}
	for destination := range r.States {
		d.Deliveries = append(d.Deliveries, ledger.NewDelivery{Destination: destination, State: ledger.Planned,
			IdemKey: call.NewDelivery(destination, key, sum).IdemKey})
	}
	if _, err := l.Decide(ctx, row.ID, row.Ver, d); err != nil {
		t.Fatalf("seed %s: %v", r.Path, err)
	}
	for destination := range r.States {
		walk(t, l, r, row.ID, destination)
	}
	return row.ID
}

// walk takes a planned delivery to a state.
func walk(t testing.TB, l *ledger.Ledger, r Recording, id int64, destination string) {
	t.Helper()
	steps := way(r.States[destination])
	if len(steps) == 0 {
		return
	}
	ctx := context.Background()
	due, err := l.DueDeliveries(ctx, destination, r.Source, time.Now().Add(24*time.Hour), 1<<20)
	if err != nil {
		t.Fatalf("seed %s: %v", r.Path, err)
	}
	for _, d := range due {
		if d.RecordingID != id {
			continue
		}
		if _, err := l.Move(ctx, d.ID, d.Ver, steps...); err != nil {
			t.Fatalf("seed %s at %s: %v", r.Path, destination, err)
		}
	}
}

// way returns the steps from planned to a state.
func way(state ledger.State) []ledger.Step {
	var steps []ledger.Step
	at := ledger.Planned
	step := func(to ledger.State) {
		steps = append(steps, ledger.Step{From: at, To: to, BeginAttempt: at == ledger.Planned})
		at = to
	}
	switch state {
	case ledger.Planned:
		return nil
	case ledger.Rejected, ledger.Held, ledger.Cancelled:
		step(state)
		return steps
	}
	for _, to := range []ledger.State{ledger.Declaring, ledger.Declared, ledger.Sending, ledger.Committing} {
		if at == state {
			return steps
		}
		step(to)
	}
	if state == ledger.Confirmed {
		step(ledger.Accepted)
	}
	if at != state {
		step(state)
	}
	return steps
}
