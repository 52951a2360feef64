package watcher

import (
	"path"
	"sync"
)

const (
	maxHints    = 8192 // paths that wait for a look
	maxHintDirs = 256  // directories that wait for a scan
	ticks       = 4    // of a coalescing window; also the precision of a look
)

// hints collects events until somebody looks. A path is due when it was quiet
// for one coalescing window, or after fifty windows if it never is; so a
// burst of writes costs one look, shortly after its end. Time is counted in
// ticks of a quarter window.
//
// It is bounded: too many paths become the directories that hold them, too
// many directories become one full scan.
type hints struct {
	mu    sync.Mutex
	paths map[string]hint
	dirs  map[string]hint
	full  bool
	wake  chan struct{} // there is something to do
}

type hint struct{ quiet, age int }

func newHints() *hints {
	return &hints{paths: map[string]hint{}, dirs: map[string]hint{}, wake: make(chan struct{}, 1)}
}

// add takes one hint about the path rel.
func (h *hints) add(rel string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.full {
		return
	}
	if len(h.paths)+len(h.dirs) == 0 {
		signal(h.wake) // else whoever ticks knows that more is waiting
	}
	dir := path.Dir(rel)
	if d, ok := h.dirs[dir]; ok {
		h.dirs[dir] = hint{age: d.age}
		return
	}
	h.paths[rel] = hint{age: h.paths[rel].age}
	if len(h.paths) <= maxHints {
		return
	}
	for p := range h.paths {
		h.dirs[path.Dir(p)] = hint{}
	}
	clear(h.paths)
	if len(h.dirs) > maxHintDirs {
		clear(h.dirs)
		h.full = true
		signal(h.wake)
	}
}

// all asks for a full scan, which makes every other hint superfluous.
func (h *hints) all() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.paths)
	clear(h.dirs)
	h.full = true
	signal(h.wake)
}

// tick lets one quarter window pass. It answers and forgets what is due, and
// says whether more is waiting. Directories wait about twelve windows, at
// most 250: what made them overflow is still going on.
func (h *hints) tick() (paths, dirs []string, full, more bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	full, h.full = h.full, false
	paths = due(h.paths, 1*ticks, 50*ticks)
	dirs = due(h.dirs, 12*ticks, 250*ticks)
	return paths, dirs, full, len(h.paths)+len(h.dirs) > 0
}

func due(m map[string]hint, quiet, age int) (names []string) {
	for name, h := range m {
		h.quiet++
		h.age++
		if h.quiet >= quiet || h.age >= age {
			names = append(names, name)
			delete(m, name)
			continue
		}
		m[name] = h
	}
	return names
}
