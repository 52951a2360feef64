package watcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	maxBatch      = 512 // entries handed over at once
	maxUnreadable = 20  // directories named in a report
)

// Unreadable is the error of a walk that skipped directories; everything else
// was walked. Dirs names the first 20, Err is the first cause.
type Unreadable struct {
	Dirs  []string
	Count int
	Err   error
}

func (u *Unreadable) Error() string {
	return fmt.Sprintf("%d unreadable directories, the first: %v", u.Count, u.Err)
}

func (u *Unreadable) Unwrap() error { return u.Err }

// Walk calls fn with every entry below dir ("." is the whole root) that is
// not a directory and whose name is not Ignored, at most batch at a time. The
// slice is valid during the call only. Symbolic links are reported, not
// followed; entries that disappear meanwhile are left out.
//
// It is iterative and holds one batch and the directories still to be read.
// A directory that cannot be read is skipped and reported at the end as an
// *Unreadable; if dir itself cannot be read, that is the error. An error of
// fn or of the context ends the walk.
func (r *Root) Walk(ctx context.Context, dir string, batch int, fn func([]Entry) error) error {
	w := walk{root: r, batch: batch, emit: fn}
	return w.run(ctx, dir)
}

// walk is one pass. The hooks let the watcher place its watch on a directory
// before the directory is read, and serve events during a long pass.
type walk struct {
	root    *Root
	batch   int
	emit    func([]Entry) error
	enter   func(rel string, id inode)      // before rel is read
	descend func(rel string, id inode) bool // nil: always
	step    func(flush func() error) error  // after each piece of a directory; flush hands over what was seen so far

	entries []Entry
	todo    []string
	bad     Unreadable
}

func (w *walk) run(ctx context.Context, start string) error {
	start = filepath.Clean(start)
	w.batch = max(w.batch, 1)
	w.entries = make([]Entry, 0, w.batch)
	w.todo = append(w.todo, start)
	for len(w.todo) > 0 {
		dir := w.todo[len(w.todo)-1]
		w.todo = w.todo[:len(w.todo)-1]
		unreadable, err := w.dir(ctx, dir)
		if err != nil {
			return err
		}
		switch {
		case unreadable == nil:
		case dir == start:
			return unreadable
		case !errors.Is(unreadable, fs.ErrNotExist): // else it went away: nothing to say
			w.note(dir, unreadable)
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	if w.bad.Count > 0 {
		return &w.bad
	}
	return nil
}

func (w *walk) note(dir string, err error) {
	if w.bad.Count == 0 {
		w.bad.Err = err
	}
	w.bad.Count++
	if len(w.bad.Dirs) < maxUnreadable {
		w.bad.Dirs = append(w.bad.Dirs, dir)
	}
}

// dir reads one directory. The first error is about this directory, the
// second ends the walk.
func (w *walk) dir(ctx context.Context, rel string) (unreadable, fatal error) {
	fd, err := w.root.openat(rel, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return pathError("open directory", rel, err), nil
	}
	f := os.NewFile(uintptr(fd), rel)
	defer func() { _ = f.Close() }()
	if w.enter != nil {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return pathError("stat", rel, err), nil
		}
		w.enter(rel, inode{uint64(st.Dev), st.Ino})
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		names, err := f.Readdirnames(maxBatch)
		for _, name := range names {
			unreadableEntry, fatal := w.name(fd, rel, name)
			if fatal != nil {
				return nil, fatal
			}
			if unreadable == nil {
				unreadable = unreadableEntry
			}
		}
		if w.step != nil {
			if err := w.step(w.flush); err != nil {
				return nil, err
			}
		}
		if errors.Is(err, io.EOF) {
			return unreadable, nil
		}
		if err != nil {
			return err, nil
		}
	}
}

// name looks at one entry of the open directory fd.
func (w *walk) name(fd int, dir, name string) (unreadable, fatal error) {
	if Ignored(name) {
		return nil, nil
	}
	var st unix.Stat_t
	// Relative to the descriptor: one lookup, however deep the directory is.
	err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	path := join(dir, name)
	if err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}, nil
	}
	e := entry(path, &st)
	if e.Kind == Dir {
		if w.descend == nil || w.descend(path, inode{e.Identity.Dev, e.Identity.Ino}) {
			w.todo = append(w.todo, path)
		}
		return nil, nil
	}
	w.entries = append(w.entries, e)
	if len(w.entries) < w.batch {
		return nil, nil
	}
	return nil, w.flush()
}

func (w *walk) flush() error {
	if len(w.entries) == 0 {
		return nil
	}
	err := w.emit(w.entries)
	w.entries = w.entries[:0]
	return err
}

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}
