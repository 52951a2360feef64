package watcher

import (
	"context"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// placed are the watches that exist, in the order they were placed.
type placed struct {
	dirs []string
	adds int
	err  error
}

func (p *placed) Add(dir string) error {
	p.adds++
	if p.err == nil {
		p.dirs = append(p.dirs, dir)
	}
	return p.err
}

func (p *placed) Remove(dir string) error {
	p.dirs = slices.DeleteFunc(p.dirs, func(d string) bool { return d == dir })
	return nil
}

func (p *placed) Watched() []string { return p.dirs }

func (p *placed) Recv(ctx context.Context) (Event, error) {
	<-ctx.Done()
	return Event{}, ctx.Err()
}

func (p *placed) Close() error { return nil }

func TestWatches(t *testing.T) {
	p := &placed{}
	w := newWatches(p, "/r")
	ensure := func(rel string, ino, pass uint64) {
		t.Helper()
		if err := w.ensure(rel, inode{1, ino}, pass); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string, dirs ...string) {
		t.Helper()
		slices.Sort(p.dirs)
		if diff := cmp.Diff(dirs, p.dirs); diff != "" || w.count() != len(dirs) {
			t.Fatalf("%s: %d watches\n%s", what, w.count(), diff)
		}
	}
	for i, rel := range []string{".", "a", "a/b", "ab", "c"} {
		ensure(rel, uint64(i), 1)
		ensure(rel, uint64(i), 1)
	}
	want("placed once", "/r", "/r/a", "/r/a/b", "/r/ab", "/r/c")
	w.gone("a/file")
	w.gone("a")
	want("a directory takes those below it along", "/r", "/r/ab", "/r/c")
	ensure("new", 4, 1)
	want("an inode under a new name loses the old", "/r", "/r/ab", "/r/new")
	adds := p.adds
	ensure("new", 9, 1)
	if p.adds != adds+1 {
		t.Fatal("a new directory under an old name keeps the old watch")
	}
	if w.has("new", inode{1, 4}) || !w.has("new", inode{1, 9}) {
		t.Fatal("a name with a new inode is taken for the old directory")
	}
	ensure("again", 4, 2)
	ensure(".", 0, 2)
	w.prune(2)
	want("what a scan did not see goes", "/r", "/r/again")
	p.dirs = []string{"/r"}
	w.refresh()
	want("what the kernel dropped is forgotten", "/r")

	for _, err := range []error{syscall.ENOENT, syscall.ENOTDIR, syscall.EACCES, syscall.ENAMETOOLONG} {
		p.err = err
		ensure("bad", 11, 2)
	}
	p.err = syscall.ENOSPC
	if err := w.ensure("bad", inode{1, 11}, 2); limit(err) == "" {
		t.Fatalf("limit: %v", err)
	}
	want("a failed watch is none", "/r")
}

func TestWatchesOfSlash(t *testing.T) {
	w := newWatches(&placed{}, "/")
	for rel, abs := range map[string]string{".": "/", "a/b": "/a/b"} {
		back, ok := w.rel(abs)
		if w.abs(rel) != abs || !ok || back != rel {
			t.Errorf("%q: %q and back %q", rel, w.abs(rel), back)
		}
	}
	if rel, ok := newWatches(&placed{}, "/drop").rel("/dropped/x"); ok {
		t.Errorf("a neighbour's file is %q here", rel)
	}
}
