package watcher

import (
	"errors"
	"io/fs"
	"strings"
	"sync"
	"syscall"
)

// watches is what is watched: one watch per directory, remembered with the
// directory's inode, because a watch belongs to the inode and not to the path
// it was made by. A directory that was renamed, or replaced by another of the
// same name, would otherwise report under a name that is no longer its own.
type watches struct {
	events Events
	root   string

	mu     sync.Mutex
	byPath map[string]watch // relative path
	byID   map[inode]string
}

type watch struct {
	id   inode
	pass uint64 // the last full scan that saw it
}

func newWatches(events Events, root string) *watches {
	return &watches{events: events, root: root, byPath: map[string]watch{}, byID: map[inode]string{}}
}

// ensure watches the directory rel. A directory that is gone, or that cannot
// be watched for a reason of its own, is left to the scans; an error means
// that no more watches can be had.
func (w *watches) ensure(rel string, id inode, pass uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if have, ok := w.byPath[rel]; ok {
		if have.id == id {
			w.byPath[rel] = watch{id, pass}
			return nil
		}
		w.forget(rel)
	}
	if old, ok := w.byID[id]; ok {
		w.forget(old)
	}
	err := w.events.Add(w.abs(rel))
	switch {
	case err == nil:
		w.byPath[rel] = watch{id, pass}
		w.byID[id] = rel
		return nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission),
		errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENAMETOOLONG):
		return nil
	}
	return err
}

// has says whether rel is watched and still the same directory.
func (w *watches) has(rel string, id inode) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	have, ok := w.byPath[rel]
	return ok && have.id == id
}

// gone ends the watches of rel and of everything below it, if it was a
// watched directory. This must happen as the event is taken: a watch that is
// still there when the directory comes back under a new name would answer to
// the old one.
func (w *watches) gone(rel string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.byPath[rel]; !ok {
		return
	}
	for path := range w.byPath {
		if path == rel || strings.HasPrefix(path, rel+"/") {
			w.forget(path)
		}
	}
}

// refresh forgets the watches that the kernel has dropped, so that the next
// scan places them again.
func (w *watches) refresh() {
	alive := map[string]bool{}
	for _, dir := range w.events.Watched() {
		alive[dir] = true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for path := range w.byPath {
		if !alive[w.abs(path)] {
			w.forget(path)
		}
	}
}

// prune ends the watches that a whole full scan did not come across.
func (w *watches) prune(pass uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for path, have := range w.byPath {
		if have.pass != pass {
			w.forget(path)
		}
	}
}

func (w *watches) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.byPath)
}

// forget needs mu. A failed Remove leaves a watch that is gone already.
func (w *watches) forget(rel string) {
	id := w.byPath[rel].id
	delete(w.byPath, rel)
	if w.byID[id] == rel {
		delete(w.byID, id)
	}
	_ = w.events.Remove(w.abs(rel))
}

func (w *watches) abs(rel string) string {
	if rel == "." {
		return w.root
	}
	return strings.TrimSuffix(w.root, "/") + "/" + rel
}

// rel is the path below the root that an event names; the root itself is ".".
func (w *watches) rel(abs string) (string, bool) {
	if abs == w.root {
		return ".", true
	}
	return strings.CutPrefix(abs, strings.TrimSuffix(w.root, "/")+"/")
}
