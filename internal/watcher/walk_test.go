package watcher

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func walked(t *testing.T, root *Root, dir string) []string {
	t.Helper()
	var paths []string
	err := root.Walk(t.Context(), dir, 7, func(batch []Entry) error {
		if len(batch) == 0 || len(batch) > 7 {
			t.Fatalf("batch of %d", len(batch))
		}
		for _, e := range batch {
			paths = append(paths, e.Kind.String()+" "+e.Path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(paths)
	return paths
}

func TestWalk(t *testing.T) {
	both(t, func(t *testing.T, open func(string) *Root) {
		dir := t.TempDir()
		for _, name := range []string{"x.wav", "a/b/c/x.wav", "a/x.json", "\xff\n/\xfe.wav", ".hidden", "a/x.part", ".git/x", "up.tmp/x"} {
			write(t, filepath.Join(dir, name), "x")
		}
		for _, err := range []error{
			os.Symlink("a", filepath.Join(dir, "linkdir")),
			os.Symlink("..", filepath.Join(dir, "a/up")),
			unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600),
			os.Mkdir(filepath.Join(dir, "empty"), 0o700),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		root := open(dir)
		want := []string{
			"other fifo", "regular \xff\n/\xfe.wav", "regular a/b/c/x.wav", "regular a/x.json",
			"regular x.wav", "symlink a/up", "symlink linkdir",
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, walked(t, root, ".")); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff([]string{"regular a/b/c/x.wav"}, walked(t, root, "a/b")); diff != "" {
			t.Fatal(diff)
		}
		for _, start := range []string{"linkdir", "nothing", "x.wav", ".."} {
			if err := root.Walk(t.Context(), start, 7, nil); err == nil {
				t.Errorf("walk from %q: no error", start)
			}
		}
	})
}

// deep makes a chain of n directories and answers its relative path. It goes
// by descriptor: such a chain can be longer than any path may be.
func deep(t *testing.T, dir, name string, n int) string {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for range n {
		if err == nil {
			err = unix.Mkdirat(fd, name, 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
		next, nerr := unix.Openat(fd, name, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		_ = unix.Close(fd)
		fd, err = next, nerr
	}
	if err != nil {
		t.Fatal(err)
	}
	f, err := unix.Openat(fd, "x.wav", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = unix.Close(f), unix.Close(fd)
	return strings.Repeat(name+"/", n) + "x.wav"
}

func TestWalkDepth200(t *testing.T) {
	dir := t.TempDir()
	path := deep(t, dir, "d", 200)
	root, err := OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	if diff := cmp.Diff([]string{"regular " + path}, walked(t, root, ".")); diff != "" {
		t.Fatal(diff)
	}
}

// A directory deeper than the kernel takes paths is one that even root cannot
// read: it is reported, and the rest goes on.
func TestWalkUnreadable(t *testing.T) {
	dir := t.TempDir()
	deep(t, dir, strings.Repeat("d", 250), 20)
	write(t, filepath.Join(dir, "a.wav"), "x")
	write(t, filepath.Join(dir, "z/z.wav"), "x")
	root, err := OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	var paths []string
	err = root.Walk(t.Context(), ".", 100, func(batch []Entry) error {
		for _, e := range batch {
			paths = append(paths, e.Path)
		}
		return nil
	})
	slices.Sort(paths)
	var bad *Unreadable
	if !errors.As(err, &bad) || bad.Count != 1 || len(bad.Dirs) != 1 || !errors.Is(err, unix.ENAMETOOLONG) {
		t.Fatalf("got %v, want one unreadable directory", err)
	}
	if diff := cmp.Diff([]string{"a.wav", "z/z.wav"}, paths); diff != "" {
		t.Fatal(diff)
	}
}

func TestUnreadableIsBounded(t *testing.T) {
	var w walk
	for i := range 1000 {
		w.note(strconv.Itoa(i), unix.EACCES)
	}
	if w.bad.Count != 1000 || len(w.bad.Dirs) != maxUnreadable || !errors.Is(&w.bad, unix.EACCES) {
		t.Fatalf("%+v", w.bad)
	}
}

func TestWalkChangesMeanwhile(t *testing.T) {
	dir := t.TempDir()
	for i := range 20 {
		write(t, filepath.Join(dir, "d"+strconv.Itoa(i), "x.wav"), "x")
	}
	root, err := OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	var seen int
	err = root.Walk(t.Context(), ".", 1, func(batch []Entry) error {
		seen += len(batch)
		if seen > 1 {
			return nil
		}
		// All the others go while the first is being looked at.
		keep := filepath.Dir(batch[0].Path)
		for i := range 20 {
			if name := "d" + strconv.Itoa(i); name != keep {
				if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
		return nil
	})
	if err != nil || seen != 1 {
		t.Fatalf("seen %d, %v", seen, err)
	}
}

func TestWalkStops(t *testing.T) {
	dir := t.TempDir()
	for i := range 5 {
		write(t, filepath.Join(dir, strconv.Itoa(i)), "x")
	}
	root, err := OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	stop, calls := errors.New("stop"), 0
	err = root.Walk(t.Context(), ".", 2, func([]Entry) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Fatalf("%d calls, %v", calls, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := root.Walk(ctx, ".", 2, func([]Entry) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled: %v", err)
	}
}

// many fills a directory with n empty files.
func many(tb testing.TB, dir string, n int) {
	tb.Helper()
	for i := range n {
		f, err := os.Create(filepath.Join(dir, "recording-"+strconv.Itoa(i)+".wav"))
		if err != nil {
			tb.Fatal(err)
		}
		_ = f.Close()
	}
}

func TestWalkHundredThousand(t *testing.T) {
	dir := inMemory(t)
	const n = 100_000
	many(t, dir, n)
	root, err := OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	seen := make([]bool, n)
	err = root.Walk(t.Context(), ".", 512, func(batch []Entry) error {
		if len(batch) > 512 || cap(batch) > 512 {
			t.Fatalf("batch of %d", len(batch))
		}
		for _, e := range batch {
			i, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(e.Path, "recording-"), ".wav"))
			if err != nil || seen[i] {
				t.Fatalf("%q: %v, seen before: %v", e.Path, err, err == nil)
			}
			seen[i] = true
		}
		return nil
	})
	if err != nil || slices.Contains(seen, false) {
		t.Fatalf("files missed, %v", err)
	}
}

func BenchmarkWalk(b *testing.B) {
	const n = 100_000
	dir := b.TempDir()
	many(b, dir, n)
	root, err := OpenRoot(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	b.ReportAllocs()
	for b.Loop() {
		if err := root.Walk(b.Context(), ".", 512, func([]Entry) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/file")
}
