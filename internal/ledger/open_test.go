package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// snapshot returns the content of every file of a directory but the lock and
// SQLite's shared memory.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	entries, err := os.ReadDir(dir)
	check(t, err)
	for _, e := range entries {
		if e.Name() == lockName || strings.HasSuffix(e.Name(), "-shm") || e.Name() == ballastName {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		check(t, err)
		if strings.HasSuffix(e.Name(), "-wal") && len(b) == 0 {
			continue // what a read-only look leaves behind
		}
		out[e.Name()] = string(b)
	}
	return out
}

// made makes a closed ledger with one recording and returns its path.
func made(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := openAt(t, path, newClock())
	see(t, l, "s", "a.wav")
	closeOnce(t, l)
	return path
}

// The table of the reference: what `run` finds and what it does.
func TestOpenFinds(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, path string)
		refuses string // text, "" if it opens
		hint    string
	}{
		"ledger and marker": {prepare: func(t *testing.T, path string) {}},
		"nothing": {prepare: func(t *testing.T, path string) {
			for _, name := range []string{path, waterPath(path), filepath.Join(filepath.Dir(path), markerName)} {
				check(t, os.Remove(name))
			}
		}},
		"marker alone": {prepare: func(t *testing.T, path string) { check(t, os.Remove(path)) },
			refuses: "is missing", hint: "ledger init --force"},
		"stray wal alone": {prepare: func(t *testing.T, path string) {
			check(t, os.Remove(path))
			check(t, os.Remove(filepath.Join(filepath.Dir(path), markerName)))
			check(t, os.Remove(waterPath(path)))
			check(t, os.WriteFile(path+"-wal", []byte("frames"), 0o600))
		}, refuses: "is missing", hint: "ledger init --force"},
		"high-water mark alone": {prepare: func(t *testing.T, path string) {
			check(t, os.Remove(path))
			check(t, os.Remove(filepath.Join(filepath.Dir(path), markerName)))
		}, refuses: "is missing", hint: "ledger init --force"},
		"ledger without marker": {prepare: func(t *testing.T, path string) {
			check(t, os.Remove(filepath.Join(filepath.Dir(path), markerName)))
		}},
		"another file without marker": {prepare: func(t *testing.T, path string) {
			check(t, os.Remove(filepath.Join(filepath.Dir(path), markerName)))
			check(t, os.WriteFile(path, nil, 0o600))
		}, refuses: "not a ledger of ingestd", hint: "left as it is"},
		"marker of another ledger": {prepare: func(t *testing.T, path string) {
			check(t, os.WriteFile(filepath.Join(filepath.Dir(path), markerName), []byte("another\n"), 0o600))
		}, refuses: "belongs elsewhere", hint: "restore a backup"},
		"not a database": {prepare: func(t *testing.T, path string) {
			check(t, os.WriteFile(path, []byte(strings.Repeat("no database ", 100)), 0o600))
		}, refuses: "cannot be read as a ledger", hint: "left as it is"},
		"damaged": {prepare: damage, refuses: "", hint: "left as it is"},
		"database of somebody else": {prepare: func(t *testing.T, path string) {
			check(t, os.Remove(path))
			check(t, os.WriteFile(path, nil, 0o600))
			db := connect(path, "mode=rw", 1)
			_, err := db.Exec("CREATE TABLE theirs (x)")
			check(t, errors.Join(err, db.Close()))
		}, refuses: "not a ledger of ingestd", hint: "left as it is"},
		"written by a newer program": {prepare: func(t *testing.T, path string) {
			db := connect(path, dsnWrite, 1)
			_, err := db.Exec("PRAGMA user_version = 99")
			check(t, errors.Join(err, db.Close()))
		}, refuses: "newer ingestd", hint: "newer program"},
		"a symbolic link": {prepare: func(t *testing.T, path string) {
			check(t, os.Rename(path, path+".real"))
			check(t, os.Symlink(path+".real", path))
		}, refuses: "not a regular file", hint: "another path"},
		"left-overs of a creation": {prepare: func(t *testing.T, path string) {
			check(t, os.WriteFile(newName(path), []byte("half"), 0o600))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			path := made(t)
			c.prepare(t, path)
			before := snapshot(t, filepath.Dir(path))
			l, err := Open(t.Context(), Options{Path: path})
			if c.hint == "" {
				check(t, err)
				check(t, l.Close())
				if _, err := os.Stat(newName(path)); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("left-overs are still there: %v", err)
				}
				return
			}
			var refused *OpenError
			if !errors.As(err, &refused) {
				t.Fatalf("opened, or %v", err)
			}
			if !strings.Contains(refused.Error(), c.refuses) || !strings.Contains(refused.Hint, c.hint) {
				t.Errorf("refused with %q, hint %q", refused.Error(), refused.Hint)
			}
			if diff := cmp.Diff(before, snapshot(t, filepath.Dir(path))); diff != "" {
				t.Errorf("the refusal changed the files (-before +after):\n%s", diff)
			}
		})
	}
}

// damage overwrites the middle of the ledger's pages.
func damage(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	check(t, err)
	info, err := f.Stat()
	check(t, err)
	for at := int64(8192); at < info.Size(); at += 4096 {
		_, err := f.WriteAt([]byte(strings.Repeat("\xa5", 512)), at)
		check(t, err)
	}
	check(t, f.Close())
}

func TestSecondOpenIsLockedOut(t *testing.T) {
	l, _ := openTest(t)
	before := snapshot(t, filepath.Dir(l.path))
	if _, err := Open(t.Context(), Options{Path: l.path}); !errors.Is(err, ErrLocked) {
		t.Fatalf("second open: %v", err)
	}
	if err := Vacuum(t.Context(), l.path); !errors.Is(err, ErrLocked) {
		t.Fatalf("vacuum beside the daemon: %v", err)
	}
	if err := Init(t.Context(), l.path, true, l.now); !errors.Is(err, ErrLocked) {
		t.Fatalf("init beside the daemon: %v", err)
	}
	if diff := cmp.Diff(before, snapshot(t, filepath.Dir(l.path))); diff != "" {
		t.Fatalf("the second touched the files (-before +after):\n%s", diff)
	}
	see(t, l, "s", "a.wav") // the first goes on
}

func TestRemovedLockFileFences(t *testing.T) {
	l, _ := openTest(t)
	check(t, l.lock.check())
	check(t, os.Remove(l.lock.path))
	if err := l.lock.check(); !errors.Is(err, errLockLost) {
		t.Fatalf("a removed lock file: %v", err)
	}
	check(t, os.WriteFile(l.lock.path, nil, 0o600))
	if err := l.lock.check(); !errors.Is(err, errLockLost) {
		t.Fatalf("a replaced lock file: %v", err)
	}
}

func TestUnusableDirectories(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	writable := t.TempDir()
	check(t, os.Chmod(writable, 0o777))
	for name, dir := range map[string]string{"missing": filepath.Join(t.TempDir(), "nowhere"), "a file": file, "others may write": writable} {
		var refused *OpenError
		if _, err := Open(t.Context(), Options{Path: filepath.Join(dir, "ledger.db")}); !errors.As(err, &refused) || refused.Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if kind, err := networkFS("/"); err != nil || kind != "" {
		t.Errorf("/ is on %q, %v", kind, err)
	}
}

func TestFileModes(t *testing.T) {
	l, _ := openTest(t)
	see(t, l, "s", "a.wav")
	for _, name := range []string{"ledger.db", "ledger.db-wal", "ledger.db-shm", lockName, markerName, ballastName} {
		info, err := os.Stat(filepath.Join(filepath.Dir(l.path), name))
		check(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %#o", name, info.Mode().Perm())
		}
	}
}

func TestBallast(t *testing.T) {
	dir := t.TempDir()
	check(t, makeBallast(dir, freeSpace))
	if info, err := os.Stat(filepath.Join(dir, ballastName)); err != nil || info.Size() != ballastSize {
		t.Fatalf("ballast: %v, %v", info, err)
	}
	// Nearly full: giving the ballast back is enough.
	free := func(string) (uint64, uint64, error) {
		if _, err := os.Stat(filepath.Join(dir, ballastName)); err == nil {
			return 1 << 20, 1 << 40, nil
		}
		return 33 << 20, 1 << 40, nil
	}
	check(t, needSpace(dir, free))
	if _, err := os.Stat(filepath.Join(dir, ballastName)); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("the ballast was not given back")
	}
	// Full: refused.
	var refused *OpenError
	if err := needSpace(dir, func(string) (uint64, uint64, error) { return 1 << 20, 1 << 40, nil }); !errors.As(err, &refused) || !strings.Contains(refused.Text, "1 MiB") {
		t.Fatalf("full: %v", err)
	}
}

func TestUncleanStopIsCheckedFully(t *testing.T) {
	c := newClock()
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := openAt(t, path, c)
	see(t, l, "s", "a.wav")
	crash(t, l)
	// A missing parent is what only the full check finds.
	db := connect(path, "mode=rw&_foreign_keys=off", 1)
	_, err := db.Exec("INSERT INTO recording_keys VALUES (99, 'm', 'k')")
	check(t, errors.Join(err, db.Close()))
	if _, err := Open(t.Context(), Options{Path: path}); err == nil || !strings.Contains(err.Error(), "missing row") {
		t.Fatalf("opened after an unclean stop: %v", err)
	}
	db = connect(path, "mode=rw", 1)
	_, err = db.Exec("UPDATE meta SET clean = 1")
	check(t, errors.Join(err, db.Close()))
	openAt(t, path, c)
}

func TestCloseIsClean(t *testing.T) {
	path := made(t)
	if info, err := os.Stat(path + "-wal"); err == nil && info.Size() > 0 {
		t.Errorf("a clean stop leaves %d bytes of WAL", info.Size())
	}
	r := must[*Reader](t)(OpenReader(t.Context(), path))
	defer r.Close()
	clean := false
	check(t, r.row(t.Context(), "SELECT clean FROM meta", nil, []any{&clean}))
	if !clean {
		t.Error("a clean stop is not noted")
	}
}

// oneMore is the schema of a newer program; its migration ends with bad.
func oneMore(t *testing.T, bad string) schema {
	s := must[schema](t)(programSchema())
	files := fstest.MapFS{}
	for _, name := range must[[]string](t)(fs.Glob(s.files, "*.sql")) {
		files[name] = &fstest.MapFile{Data: must[[]byte](t)(fs.ReadFile(s.files, name))}
	}
	s.version++
	s.files = files
	files[fmt.Sprintf("%05d_more.sql", s.version)] = &fstest.MapFile{
		Data: fmt.Appendf(nil, "-- +goose Up\nALTER TABLE meta ADD COLUMN more TEXT;\nPRAGMA user_version = %d;\n%s", s.version, bad),
	}
	return s
}

// A newer program backs an older ledger up before it migrates it.
func TestMigrationBacksUpFirst(t *testing.T) {
	path := made(t)
	s := oneMore(t, "")
	l, err := open(context.Background(), Options{Path: path}, s)
	check(t, err)
	check(t, l.w.write(t.Context(), "use it", func(x *tx) error { return x.exec("UPDATE meta SET more = 'x'") }))
	l.reader.Close()
	check(t, l.Close())
	backups, err := filepath.Glob(fmt.Sprintf("%s.v%d-*.backup", path, s.version-1))
	check(t, err)
	if len(backups) != 1 {
		t.Fatalf("backups = %v", backups)
	}
	rep := must[Report](t)(Verify(t.Context(), backups[0]))
	if !rep.OK || rep.Recordings != 1 {
		t.Fatalf("the backup: %+v", rep)
	}
	var refused *OpenError
	if _, err := Open(t.Context(), Options{Path: path}); !errors.As(err, &refused) || !strings.Contains(refused.Text, "newer") {
		t.Fatalf("the older program opened it: %v", err)
	}
}

// A migration that fails leaves the ledger at its version.
func TestFailedMigration(t *testing.T) {
	path := made(t)
	s := oneMore(t, "NO SQL;\n")
	if _, err := open(context.Background(), Options{Path: path}, s); err == nil {
		t.Fatal("opened after a failed migration")
	}
	l := openAt(t, path, newClock())
	if n := queryInt(t, l, "SELECT count(*) FROM pragma_table_info('meta') WHERE name = 'more'"); n != 0 {
		t.Fatal("half a migration stayed")
	}
}

func TestInit(t *testing.T) {
	c := newClock()
	path := filepath.Join(t.TempDir(), "ledger.db")
	check(t, Init(t.Context(), path, false, c.now))
	var refused *OpenError
	if err := Init(t.Context(), path, false, c.now); !errors.As(err, &refused) {
		t.Fatalf("init over a ledger: %v", err)
	}
	before := snapshot(t, filepath.Dir(path))
	check(t, Init(t.Context(), path, true, c.now))
	after := snapshot(t, filepath.Dir(path))
	aside := 0
	for name, content := range after {
		if base, _, found := strings.Cut(name, ".aside-"); found {
			aside++
			if content != before[base] {
				t.Errorf("%s is not what %s was", name, base)
			}
		}
	}
	if aside != 2 {
		t.Errorf("%d files were moved aside, want ledger and marker", aside)
	}
	l := openAt(t, path, c)
	if epoch := queryInt(t, l, "SELECT restore_epoch FROM meta"); epoch != c.now().UnixMilli() {
		t.Errorf("restore epoch = %d", epoch)
	}
	// Where nothing was, force has no reason to doubt anything.
	fresh := filepath.Join(t.TempDir(), "ledger.db")
	check(t, Init(t.Context(), fresh, true, c.now))
	if epoch := queryInt(t, openAt(t, fresh, c), "SELECT restore_epoch FROM meta"); epoch != 0 {
		t.Errorf("restore epoch = %d in a first ledger", epoch)
	}
}

func TestSettingsAreAsserted(t *testing.T) {
	path := made(t)
	for name, params := range map[string]string{
		"journal mode": "mode=rw&_txlock=immediate&_busy_timeout=5000&_jounal_mode=WAL&_foreign_keys=on&_secure_delete=on",
		"foreign keys": "mode=rw&_txlock=immediate&_busy_timeout=5000&_journal_mode=WAL&_synchronous=FULL&_secure_delete=on",
	} {
		db := connect(path, params, 1)
		if err := assertSettings(t.Context(), db); err == nil {
			t.Errorf("%s: a wrong setting was believed", name)
		}
		check(t, db.Close())
	}
	// A path that needs escaping reaches SQLite whole.
	odd := filepath.Join(t.TempDir(), "a ?%#b")
	check(t, os.Mkdir(odd, 0o700))
	openAt(t, filepath.Join(odd, "ledger.db"), newClock())
	if _, err := os.Stat(filepath.Join(odd, "ledger.db")); err != nil {
		t.Error(err)
	}
}
