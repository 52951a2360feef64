package watcher

import (
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// after counts the ticks until the hints answer something.
func after(t *testing.T, h *hints, each func()) (n int, paths, dirs []string, full bool) {
	t.Helper()
	for n = 1; n < 10_000; n++ {
		each()
		paths, dirs, full, _ = h.tick()
		if full || len(paths)+len(dirs) > 0 {
			return n, paths, dirs, full
		}
	}
	t.Fatal("no hint is ever due")
	return 0, nil, nil, false
}

func TestHintsCoalesce(t *testing.T) {
	h := newHints()
	if _, _, _, more := h.tick(); more || len(h.wake) != 0 {
		t.Fatal("nothing happened, but something waits")
	}
	h.add("a")
	if len(h.wake) != 1 {
		t.Fatal("nobody is woken")
	}
	n, paths, _, _ := after(t, h, func() {})
	if n != ticks || !slices.Equal(paths, []string{"a"}) {
		t.Fatalf("quiet path due after %d ticks: %q", n, paths)
	}
	// A path that is never quiet is looked at all the same.
	n, paths, _, _ = after(t, h, func() { h.add("a") })
	if n != 50*ticks || !slices.Equal(paths, []string{"a"}) {
		t.Fatalf("busy path due after %d ticks: %q", n, paths)
	}
	if _, _, _, more := h.tick(); more {
		t.Fatal("a path that was answered waits again")
	}
}

func TestHintsBounded(t *testing.T) {
	h := newHints()
	for i := range maxHints + 1000 {
		h.add("d" + strconv.Itoa(i%3) + "/" + strconv.Itoa(i))
		if len(h.paths) > maxHints || len(h.dirs) > maxHintDirs {
			t.Fatalf("%d paths, %d directories", len(h.paths), len(h.dirs))
		}
	}
	h.add("other/x")
	_, paths, dirs, full := after(t, h, func() {})
	if !slices.Equal(paths, []string{"other/x"}) || len(dirs) != 0 || full {
		t.Fatalf("%q %q %v", paths, dirs, full)
	}
	_, paths, dirs, full = after(t, h, func() {})
	slices.Sort(dirs)
	if diff := cmp.Diff([]string{"d0", "d1", "d2"}, dirs); diff != "" || len(paths) != 0 || full {
		t.Fatalf("%s %q %v", diff, paths, full)
	}

	for i := range maxHints + 1 {
		h.add("d" + strconv.Itoa(i) + "/x")
	}
	h.add("y")
	paths, dirs, full, more := h.tick()
	if !full || more || len(paths)+len(dirs) != 0 {
		t.Fatalf("too many directories: full=%v more=%v %q %q", full, more, paths, dirs)
	}
	h.add("z")
	if _, _, full, more := h.tick(); full || !more {
		t.Fatal("after the full scan hints do not start anew")
	}
}
