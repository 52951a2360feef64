package watcher

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inMemory is a directory on a tmpfs.
func inMemory(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "ingestd-")
	if err != nil {
		tb.Fatalf("needs a tmpfs at /dev/shm: %v", err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// otherFS is a directory that is not on the file system of dir.
func otherFS(t *testing.T, dir string) string {
	t.Helper()
	other := inMemory(t)
	a, aerr := statMount(dir)
	b, berr := statMount(other)
	if aerr != nil || berr != nil || a == b {
		t.Fatalf("needs /dev/shm and %s on different file systems: %v, %v", dir, aerr, berr)
	}
	return other
}

func TestMove(t *testing.T) {
	for _, across := range []bool{false, true} {
		t.Run(map[bool]string{false: "rename", true: "copy"}[across], func(t *testing.T) {
			dir, archive := t.TempDir(), t.TempDir()
			if across {
				archive = otherFS(t, dir)
			}
			content := string(bytes.Repeat([]byte("recording"), 100_000))
			then := time.Date(2001, 2, 3, 4, 5, 6, 123456789, time.UTC)
			root, err := OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = root.Close() }()
			target := filepath.Join(archive, "2026/03/29/x.wav")
			for i, want := range []string{"x.wav", "x-2.wav", "x-3.wav"} {
				path := filepath.Join(dir, "in/x.wav")
				write(t, path, content+strconv.Itoa(i))
				if err := errors.Join(os.Chtimes(path, then, then), os.Chmod(path, 0o640)); err != nil {
					t.Fatal(err)
				}
				final, err := root.Move("in/x.wav", target, identityOf(root, "in/x.wav"))
				if err != nil || final != filepath.Join(filepath.Dir(target), want) {
					t.Fatalf("moved to %q, %v", final, err)
				}
				got, err := os.ReadFile(final)
				if err != nil || string(got) != content+strconv.Itoa(i) {
					t.Fatalf("content differs, %v", err)
				}
				st, err := os.Stat(final)
				if err != nil || !st.ModTime().Equal(then) || st.Mode().Perm() != 0o640 {
					t.Fatalf("mtime %v mode %v, %v", st.ModTime(), st.Mode(), err)
				}
				if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
					t.Fatalf("the source is still there: %v", err)
				}
			}
			left, err := os.ReadDir(filepath.Dir(target))
			if err != nil || len(left) != 3 {
				t.Fatalf("%d files in the archive, %v", len(left), err)
			}
			st, err := os.Stat(filepath.Join(archive, "2026"))
			if err != nil || st.Mode().Perm() != 0o700 {
				t.Fatalf("archive directory %v, %v", st.Mode(), err)
			}
		})
	}
}

// Whatever goes wrong, the source stays.
func TestMoveFails(t *testing.T) {
	dir := t.TempDir()
	shm := otherFS(t, dir)
	write(t, filepath.Join(dir, "x.wav"), "x")
	write(t, filepath.Join(dir, "d/y.wav"), "y")
	write(t, filepath.Join(shm, "file"), "not a directory")
	if err := os.Symlink("x.wav", filepath.Join(dir, "link.wav")); err != nil {
		t.Fatal(err)
	}
	root, err := OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	for rel, target := range map[string]string{
		"x.wav": shm + "/file/x.wav", "./x.wav": "relative/x.wav", "link.wav": shm + "/link.wav", "d": shm + "/d",
		"nothing": shm + "/nothing", "../x": shm + "/x", "d/y.wav": shm + "/" + strings.Repeat("n", 256),
	} {
		if final, err := root.Move(rel, target, identityOf(root, rel)); err == nil || final != "" {
			t.Errorf("%s to %s: %q, %v", rel, target, final, err)
		}
	}
	for _, rel := range []string{"x.wav", "d/y.wav"} {
		if _, err := root.Stat(rel); err != nil {
			t.Errorf("%s is gone: %v", rel, err)
		}
	}
	left, err := os.ReadDir(shm)
	if err != nil || len(left) != 1 {
		t.Fatalf("left behind in the archive: %v, %v", left, err)
	}
}

// A copy that a crash left in the archive is written over, not kept.
func TestMoveAfterCrash(t *testing.T) {
	dir := t.TempDir()
	archive := otherFS(t, dir)
	write(t, filepath.Join(dir, "x.wav"), "whole")
	root, err := OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	e, err := root.Stat("x.wav")
	if err != nil {
		t.Fatal(err)
	}
	temp := ".ingestd-" + strconv.FormatUint(e.Identity.Dev, 16) + "-" + strconv.FormatUint(e.Identity.Ino, 16) + ".tmp"
	write(t, filepath.Join(archive, temp), "half of something longer than the file")
	final, err := root.Move("x.wav", filepath.Join(archive, "x.wav"), identityOf(root, "x.wav"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(final)
	left, lerr := os.ReadDir(archive)
	if err != nil || lerr != nil || string(got) != "whole" || len(left) != 1 {
		t.Fatalf("%q, %d files, %v, %v", got, len(left), err, lerr)
	}
}

// The copy is judged by what it was when the copy began.
func TestCopyOfChangedFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.wav")
	changes := map[string]string{"longer": "longer", "shorter": "s", "as long": "xxxxx"}
	for name, content := range changes {
		t.Run(name, func(t *testing.T) {
			write(t, path, "whole")
			root, err := OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = root.Close() }()
			in, e, err := root.Open("x.wav")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = in.Close() }()
			write(t, path, content)
			// The kernel's time stamps are coarser than this test is fast.
			if err := os.Chtimes(path, time.Time{}, time.Unix(0, e.Identity.MtimeNS+1)); err != nil {
				t.Fatal(err)
			}
			dst, err := os.Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = dst.Close() }()
			if err := copyVerified(in, e, dst, "copy"); err == nil {
				t.Fatal("a changed file was copied")
			}
		})
	}
}

func TestRenameReserved(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), "a")
	write(t, filepath.Join(dir, "b"), "b")
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	fd := int(d.Fd())
	if err := renameReserved(fd, "a", fd, "b"); !errors.Is(err, unix.EEXIST) {
		t.Fatalf("over an existing file: %v", err)
	}
	if err := renameReserved(fd, "nothing", fd, "c"); !errors.Is(err, unix.ENOENT) {
		t.Fatalf("a missing file: %v", err)
	}
	if err := renameReserved(fd, "a", fd, "c"); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	got, rerr := os.ReadFile(filepath.Join(dir, "c"))
	if err != nil || rerr != nil || len(left) != 2 || string(got) != "a" {
		t.Fatalf("%v %q, %v, %v", left, got, err, rerr)
	}
}

func TestNumbered(t *testing.T) {
	long := strings.Repeat("n", 251) + ".wav"
	for _, tt := range []struct {
		base string
		n    int
		want string
	}{
		{"x.wav", 1, "x.wav"},
		{"x.wav", 2, "x-2.wav"},
		{"x", 13, "x-13"},
		{long, 1, long},
		{long, 2, strings.Repeat("n", 249) + "-2.wav"},
	} {
		if got := numbered(tt.base, tt.n); got != tt.want {
			t.Errorf("%q, %d: %q", tt.base, tt.n, got)
		}
	}
}

func TestRemove(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "d/x.wav"), "x")
	root, err := OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	if err := root.Remove("d", identityOf(root, "d")); err == nil {
		t.Fatal("a directory was removed")
	}
	if err := root.Remove("d/x.wav", identityOf(root, "d/x.wav")); err != nil {
		t.Fatal(err)
	}
	if err := root.Remove("d/x.wav", identityOf(root, "d/x.wav")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("again: %v", err)
	}
	for _, rel := range []string{".", "..", "../x", "d/.."} {
		if err := root.Remove(rel, identityOf(root, rel)); err == nil {
			t.Errorf("%q was removed", rel)
		}
	}
}

// identityOf is what a caller pinned; a file that is not there has none.
func identityOf(r *Root, rel string) Identity {
	e, err := r.Stat(rel)
	if err != nil {
		return Identity{}
	}
	return e.Identity
}

// A file that took the name after the look is never moved or removed.
func TestReplacedStays(t *testing.T) {
	dir, archive := t.TempDir(), t.TempDir()
	root, err := OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	path := filepath.Join(dir, "x.wav")
	write(t, path, "first")
	pinned := identityOf(root, "x.wav")
	write(t, filepath.Join(dir, "y"), "another")
	if err := os.Rename(filepath.Join(dir, "y"), path); err != nil {
		t.Fatal(err)
	}
	if final, err := root.Move("x.wav", filepath.Join(archive, "x.wav"), pinned); !errors.Is(err, ErrReplaced) || final != "" {
		t.Errorf("moved to %q, %v", final, err)
	}
	if err := root.Remove("x.wav", pinned); !errors.Is(err, ErrReplaced) {
		t.Errorf("removed: %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "another" {
		t.Errorf("%q, %v", got, err)
	}
	// A removal that a crash cut in two is finished by the next.
	mine := filepath.Join(dir, ".ingestd-"+strconv.FormatUint(identityOf(root, "x.wav").Dev, 16)+"-"+strconv.FormatUint(identityOf(root, "x.wav").Ino, 16)+".tmp")
	pinned = identityOf(root, "x.wav")
	if err := os.Rename(path, mine); err != nil {
		t.Fatal(err)
	}
	if err := root.Remove("x.wav", pinned); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A mount may get another device number while the ledger remembers the old one.
func TestMoveFromAnotherDeviceNumber(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "x.wav"), "recording")
	root, err := OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	e, err := root.Stat("x.wav")
	if err != nil {
		t.Fatal(err)
	}
	e.Identity.Dev++
	if _, err := root.Move("x.wav", filepath.Join(dir, "y.wav"), e.Identity); err != nil {
		t.Error(err)
	}
	e.Identity.Ino++
	if _, err := root.Move("y.wav", filepath.Join(dir, "x.wav"), e.Identity); !errors.Is(err, ErrReplaced) {
		t.Errorf("another inode: %v", err)
	}
}
