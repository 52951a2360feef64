package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestBackupWhileWriting(t *testing.T) {
	l, _ := openTest(t)
	dir := t.TempDir()
	planned(t, l, "first.wav", "first", "", "alpha")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				planned(t, l, fmt.Sprintf("%d.wav", i), fmt.Sprint(i), "", "alpha", "beta")
			}
		}
	})
	for i := range 3 {
		target := filepath.Join(dir, fmt.Sprintf("backup-%d.db", i))
		before := queryInt(t, l, "SELECT max(id) FROM events")
		check(t, Backup(context.Background(), l.path, target))
		info, err := os.Stat(target)
		check(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("mode %#o", info.Mode().Perm())
		}
		rep := must[Report](t)(Verify(t.Context(), target))
		if !rep.OK || rep.LastEvent < before {
			t.Errorf("backup up to event %d, want at least %d: %q", rep.LastEvent, before, rep.Problems)
		}
	}
	close(stop)
	wg.Wait()
	if left, _ := filepath.Glob(filepath.Join(dir, ".*.new")); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestBackupRefuses(t *testing.T) {
	path := made(t)
	target := filepath.Join(t.TempDir(), "backup.db")
	check(t, os.WriteFile(target, []byte("precious"), 0o600))
	if err := Backup(t.Context(), path, target); err == nil {
		t.Error("an existing file was overwritten")
	}
	if b, _ := os.ReadFile(target); string(b) != "precious" {
		t.Errorf("the target holds %q", b)
	}
	nowhere := filepath.Join(t.TempDir(), "ledger.db")
	if err := Backup(t.Context(), nowhere, target+"2"); !errors.Is(err, ErrMissing) {
		t.Errorf("%v", err)
	}
	damage(t, path)
	if err := Backup(t.Context(), path, target+"3"); err == nil {
		t.Error("a damaged ledger was backed up as if it were whole")
	}
	if entries, _ := os.ReadDir(filepath.Dir(target)); len(entries) != 1 {
		t.Errorf("left over: %v", entries)
	}
}

func TestVacuum(t *testing.T) {
	path := made(t)
	check(t, Vacuum(t.Context(), path))
	l := openAt(t, path, newClock())
	at(t, l, "s", "a.wav")
	if err := Vacuum(t.Context(), filepath.Join(t.TempDir(), "ledger.db")); !errors.Is(err, ErrMissing) {
		t.Errorf("%v", err)
	}
}

// Verify sees what should never happen.
func TestVerifyFinds(t *testing.T) {
	for want, statement := range map[string]string{
		"a row was removed":                "DELETE FROM recordings WHERE path = x'62'",
		"counters are wrong":               "UPDATE counts SET n = n + 1 WHERE kind = 'delivery'",
		"does not end at the delivery":     "UPDATE deliveries SET state = 'cancelled'",
		"does not end at the recording":    "UPDATE recordings SET state = 'vanished' WHERE path = x'62'",
		"a ready recording has no deliver": "UPDATE recordings SET state = 'ready', sha256 = zeroblob(32) WHERE path = x'62'",
		"no time of acceptance":            "UPDATE deliveries SET state = 'accepted'",
		"that a delivery still needs":      "UPDATE recordings SET state = 'done' WHERE state = 'ready'",
		"refers to a missing row":          "UPDATE deliveries SET recording_id = 99",
		"is not that of its recording":     "UPDATE deliveries SET idem_key = 'another'",
		"begins anew":                      "INSERT INTO events SELECT NULL, at, boot, recording_id, delivery_id, NULL, to_state, 0, '', NULL, NULL, '', '' FROM events WHERE delivery_id = 1",
		"goes from sending, where it was":  "INSERT INTO events SELECT NULL, at, boot, recording_id, delivery_id, 'sending', 'planned', 0, '', NULL, NULL, '', '' FROM events WHERE delivery_id = 1",
		"goes from planned to accepted":    "INSERT INTO events SELECT NULL, at, boot, recording_id, delivery_id, 'planned', 'accepted', 0, '', NULL, NULL, '', '' FROM events WHERE delivery_id = 1",
		"older than what ran here":         "UPDATE meta SET uid = 'another'",
	} {
		t.Run(want, func(t *testing.T) {
			l, _ := openTest(t)
			planned(t, l, "a", "x", "", "alpha")
			see(t, l, "s", "b")
			verified(t, l)
			db := connect(l.path, "mode=rw&_foreign_keys=off", 1)
			for _, s := range []string{"DELETE FROM recording_keys", statement} {
				_, err := db.Exec(s)
				check(t, err)
			}
			check(t, db.Close())
			rep := must[Report](t)(Verify(t.Context(), l.path))
			if rep.OK || !strings.Contains(strings.Join(rep.Problems, "\n"), want) {
				t.Errorf("problems = %q", rep.Problems)
			}
		})
	}
}

func TestVerifyBalances(t *testing.T) {
	l, _ := openTest(t)
	for i, state := range []State{Planned, Held, Cancelled, Rejected} {
		_, ds := planned(t, l, fmt.Sprint(i), fmt.Sprint(i), fmt.Sprint(i), "alpha")
		walk(t, l, ds[0], state)
	}
	_, ds := planned(t, l, "a", "a", "a", "alpha")
	walk(t, l, ds[0], Sending, Committing, Accepted, Confirmed)
	planned(t, l, "b", "a", "a", "alpha")
	rep := verified(t, l)
	want := Balance{Destination: "alpha", Seen: 6, Accepted: 1, Duplicate: 1, Rejected: 1, Held: 1, Cancelled: 1, Pending: 1}
	if len(rep.Balances) != 1 || rep.Balances[0] != want {
		t.Fatalf("balances = %+v, want %+v", rep.Balances, want)
	}
	see(t, l, "s", "settling.wav")
	rep = verified(t, l)
	if want := (SourceBalance{Source: "s", Seen: 7, Settling: 1, Ready: 6}); len(rep.Sources) != 1 || rep.Sources[0] != want {
		t.Fatalf("sources = %+v, want %+v", rep.Sources, want)
	}
}
