package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// backedUp is a ledger with a backup, after which a delivery was accepted.
func backedUp(t *testing.T) (s *site, backup string) {
	t.Helper()
	s = newSite(t)
	planned(t, s.l, "a.wav", "a", "", "alpha")
	planned(t, s.l, "b.wav", "b", "", "alpha")
	backup = filepath.Join(t.TempDir(), "backup.db")
	check(t, Backup(t.Context(), s.path, backup))
	walk(t, s.l, deliveryByID(t, s.l, 1), Sending, Committing, Accepted)
	s.c.advance(time.Hour)
	return s, backup
}

func TestRestore(t *testing.T) {
	s, backup := backedUp(t)
	if _, err := Restore(t.Context(), s.path, backup, false, s.c.now); !errors.Is(err, ErrLocked) {
		t.Fatalf("beside a running daemon: %v", err)
	}
	closeOnce(t, s.l)
	before := snapshot(t, filepath.Dir(s.path))
	kept, err := os.ReadFile(backup)
	check(t, err)
	check(t, os.WriteFile(newName(s.path), []byte("left over"), 0o600))

	got := must[Restored](t)(Restore(t.Context(), s.path, backup, false, s.c.now))
	if got.Recordings != 2 || got.Deliveries != 2 || got.InDoubt != 2 || got.UID == "" || got.LastEvent == 0 || len(got.Aside) != 2 {
		t.Errorf("%+v", got)
	}
	for _, name := range got.Aside {
		base, _, _ := strings.Cut(filepath.Base(name), ".aside-")
		if b, err := os.ReadFile(name); err != nil || string(b) != before[base] {
			t.Errorf("%s is not what %s was: %v", name, base, err)
		}
	}
	if now, err := os.ReadFile(backup); err != nil || string(now) != string(kept) {
		t.Errorf("the backup was changed: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(backup), "*")); len(left) != 1 {
		t.Errorf("beside the backup: %v", left)
	}
	if info, err := os.Stat(s.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	s.open()
	for id := range int64(2) {
		if d := deliveryByID(t, s.l, id+1); d.State != InDoubt || d.Reason != ReasonRestored || !d.Own {
			t.Errorf("%+v", d)
		}
	}
	// A recording on disk that the backup does not know.
	_, ds := planned(t, s.l, "unknown.wav", "c", "", "alpha")
	if d := ds[0]; d.State != InDoubt || d.Reason != ReasonRestored {
		t.Errorf("%+v", d)
	}
	verified(t, s.l)
}

func TestRestoreRefuses(t *testing.T) {
	foreign, theirs := backedUp(t)
	closeOnce(t, foreign.l)
	for name, c := range map[string]struct {
		backup func(t *testing.T, s *site, backup string) string
		text   string
	}{
		"a damaged backup": {func(t *testing.T, _ *site, b string) string { damage(t, b); return b }, ""},
		"half a backup":    {func(t *testing.T, _ *site, b string) string { check(t, os.Truncate(b, 8192)); return b }, ""},
		"no database": {func(t *testing.T, _ *site, b string) string {
			check(t, os.WriteFile(b, []byte("text"), 0o600))
			return b
		}, ""},
		"a file that is not there":  {func(_ *testing.T, _ *site, b string) string { return b + ".gone" }, "no such file"},
		"the ledger itself":         {func(_ *testing.T, s *site, _ string) string { return s.path }, "the ledger itself"},
		"another ledger's backup":   {func(*testing.T, *site, string) string { return theirs }, "belongs here"},
		"a newer program's version": {func(t *testing.T, _ *site, b string) string { setVersion(t, b, 99); return b }, "newer ingestd"},
	} {
		t.Run(name, func(t *testing.T) {
			s, backup := backedUp(t)
			closeOnce(t, s.l)
			backup = c.backup(t, s, backup)
			before := snapshot(t, filepath.Dir(s.path))
			_, err := Restore(t.Context(), s.path, backup, false, s.c.now)
			if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v", err)
			}
			if diff := cmp.Diff(before, snapshot(t, filepath.Dir(s.path))); diff != "" {
				t.Errorf("the refusal changed the files (-before +after):\n%s", diff)
			}
		})
	}
	s, _ := backedUp(t)
	closeOnce(t, s.l)
	must[Restored](t)(Restore(t.Context(), s.path, theirs, true, s.c.now))
	s.open()
}

func setVersion(t *testing.T, path string, version int) {
	t.Helper()
	db := connect(path, "mode=rw", 1)
	_, err := db.Exec(fmt.Sprintf("PRAGMA user_version = %d", version))
	check(t, errors.Join(err, db.Close()))
}

// A backup of the version before is brought up to date on its way in; the
// ledger that was lost altogether is replaced as well.
func TestRestoreOlderVersionIntoNothing(t *testing.T) {
	dir := t.TempDir()
	path, backup := filepath.Join(dir, "ledger.db"), filepath.Join(t.TempDir(), "old.db")
	first := must[schema](t)(programSchema())
	check(t, os.WriteFile(backup, nil, 0o600))
	check(t, build(t.Context(), backup, schema{files: onlyFirst{first.files}, version: 1}, "0123456789abcdef", 0, epoch))
	c := newClock()
	must[Restored](t)(Restore(t.Context(), path, backup, false, c.now))
	l := openAt(t, path, c)
	if n := queryInt(t, l, "SELECT restore_epoch FROM meta"); n != c.now().UnixMilli() {
		t.Errorf("restore epoch = %d", n)
	}
	verified(t, l)
}

// A crash between moving the old files aside and the new one's name leaves a
// state in which nothing starts.
func TestCrashInRestoreStartsNothing(t *testing.T) {
	s, backup := backedUp(t)
	closeOnce(t, s.l)
	must[[]string](t)(moveAside(s.c.now(), s.path, s.path+"-wal", s.path+"-shm", waterPath(s.path)))
	var refused *OpenError
	if _, err := Open(t.Context(), Options{Path: s.path, Now: s.c.now}); !errors.As(err, &refused) || !strings.Contains(refused.Hint, "ledger restore") {
		t.Fatalf("%v", err)
	}
	must[Restored](t)(Restore(t.Context(), s.path, backup, false, s.c.now))
	s.open()
}

// One byte flipped in every page in turn, at several places: either the
// ledger is refused and left as it is, or what decides about sending is
// untouched, or `ledger verify` names the damage.
func TestFlippedBytes(t *testing.T) {
	s := newSite(t)
	for i := range 40 {
		_, ds := planned(t, s.l, fmt.Sprintf("%d.wav", i), fmt.Sprint(i), fmt.Sprint(i), "alpha", "beta")
		if i%2 == 0 {
			walk(t, s.l, ds[0], Sending, Committing, Accepted)
		}
	}
	// The size is left out: a wrong one makes the file look changed, so that it
	// is read anew and never sent wrongly.
	decides := func(path string) string {
		r := must[*Reader](t)(OpenReader(t.Context(), path))
		defer r.Close()
		var out string
		check(t, r.db.QueryRowContext(t.Context(), `SELECT (SELECT group_concat(id || source || hex(path) || current || state || coalesce(hex(sha256), '') || coalesce(business_key, '')) FROM recordings) ||
			(SELECT group_concat(id || recording_id || source || destination || idem_key || state || coalesce(duplicate_of, '') || attempts) FROM deliveries)`).Scan(&out))
		return out
	}
	closeOnce(t, s.l)
	whole := decides(s.path)
	intact := s.path
	content, err := os.ReadFile(s.path)
	check(t, err)
	const page = 4096
	var refused, harmless, named int
	for at := int64(0); at < int64(len(content)); at += page {
		for _, off := range []int64{0, 3, 7, 11, 1500, 2500, 3500, page - 40, page - 3} {
			s.path = intact
			s.frozen()
			flip(t, s.path, at+off)
			before := snapshot(t, filepath.Dir(s.path))
			l, err := Open(t.Context(), Options{Path: s.path, Now: s.c.now})
			var no *OpenError
			switch {
			case errors.As(err, &no):
				refused++
				if diff := cmp.Diff(before, snapshot(t, filepath.Dir(s.path))); diff != "" {
					t.Fatalf("page %d, byte %d: the refusal changed the files:\n%s", at/page, off, diff)
				}
			case err != nil:
				t.Errorf("page %d, byte %d: %v", at/page, off, err)
			default:
				rep, verr := Verify(t.Context(), s.path)
				same := decides(s.path) == whole
				switch {
				case verr == nil && rep.OK && !same:
					t.Errorf("page %d, byte %d: opened, verified and different", at/page, off)
				case same:
					harmless++
				default:
					named++
				}
				check(t, l.Close())
			}
		}
	}
	t.Logf("%d flips refused, %d without effect on what is sent, %d named by verify alone", refused, harmless, named)
	if refused == 0 || harmless == 0 {
		t.Error("the flips prove nothing")
	}
}

// No half backup under the final name, also when the disk fills up.
func TestBackupOnAFullDisk(t *testing.T) {
	l, _ := openTest(t)
	check(t, l.w.write(t.Context(), "grow", note(strings.Repeat("x", 4<<20))))
	dir := mountSmall(t, "tmpfs", 2<<20)
	target := filepath.Join(dir, "backup.db")
	if err := Backup(t.Context(), l.path, target); err == nil {
		t.Fatal("a backup of 4 MiB fits in 2")
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
	// What a crash left is taken away by the next attempt.
	half := filepath.Join(t.TempDir(), ".backup.db.new")
	check(t, os.WriteFile(half, []byte("half"), 0o600))
	check(t, Backup(t.Context(), l.path, filepath.Join(filepath.Dir(half), "backup.db")))
	if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// An order that a backup holds and nobody had carried out when it was made was
// carried out since, and its upload is in the lost stretch: it must not be
// carried out again. One that was given after the restore is.
func TestRestoreForgetsOldOrders(t *testing.T) {
	s := newSite(t)
	_, ds := planned(t, s.l, "a.wav", "a", "", "alpha")
	walk(t, s.l, ds[0], Sending, Committing, Held)
	order := func() int64 {
		id, _, err := Order(t.Context(), s.path, NewOrder{Kind: OrderRetry, By: "ann", DeliveryIDs: []int64{1}})
		check(t, err)
		check(t, s.l.w.write(t.Context(), "time of the order", func(t *tx) error { return t.exec("UPDATE orders SET at = ? WHERE id = ?", t.at, id) }))
		return id
	}
	old := order()
	backup := filepath.Join(t.TempDir(), "backup.db")
	check(t, Backup(t.Context(), s.path, backup))
	must[int](t)(s.l.ApplyOrders(t.Context(), running))
	walk(t, s.l, deliveryByID(t, s.l, 1), Sending, Committing, Accepted)
	closeOnce(t, s.l)
	s.c.advance(time.Hour)
	must[Restored](t)(Restore(t.Context(), s.path, backup, false, s.c.now))
	s.open()
	must[int](t)(s.l.ApplyOrders(t.Context(), running))
	if d := deliveryByID(t, s.l, 1); d.State != Held {
		t.Errorf("it is sent a second time on an order that was carried out: %+v", d)
	}
	if applied, result, err := OrderState(t.Context(), s.path, old); !applied || !strings.HasPrefix(result, "applied to 0; ") || err != nil {
		t.Errorf("%v, %q, %v", applied, result, err)
	}
	order()
	must[int](t)(s.l.ApplyOrders(t.Context(), running))
	if d := deliveryByID(t, s.l, 1); d.State != Planned {
		t.Errorf("after the restore: %+v", d)
	}
	verified(t, s.l)
}
