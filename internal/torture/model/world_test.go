package model

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// world is everything outside of the program: the files, the vendors, and
// what is known to be true about them.
type world struct {
	t       *testing.T
	dir     string
	set     setup
	began   time.Time
	vendors map[string]*vendor
	run     *run   // nil: the program does not run
	state   string // directory of the ledger
	runs    int
	look    look // what the checks saw last

	mu      sync.Mutex
	log     []string
	broken  string // the first violation, in words that do not change
	healed  bool
	parts   map[string]*part // destination, identity
	whole   map[string]bool  // hashes of every content that was dropped whole
	files   map[string]*file // in the drop directories, as far as the test put them there
	calls   map[string]bool  // path, content, call id: pairs that were ever dropped together
	away    string           // source whose drop directory is not there
	touched int              // makes modification times unique
}

// setup is drawn once for a history.
type setup struct {
	Sources   []string
	Shapes    []shape
	Workers   int
	After     string
	OnMissing string
	Jitter    float64
	Quiet     time.Duration // that a file must be still; 0 is quiet
}

// file is a recording in a drop directory.
type file struct {
	source, stem string
	call         string // id in the sidecar
	sum          string
	bytes        []byte
	sidecar      sidecarKind
	modified     time.Time
}

type sidecarKind string

const (
	withSidecar sidecarKind = "with sidecar"
	lateSidecar sidecarKind = "sidecar later"
	badSidecar  sidecarKind = "bad sidecar"
)

func (f *file) path() string { return filepath.Join(f.source, f.stem+".wav") }

// note adds a line to the history.
func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteLocked(format, args...)
}

func (w *world) noteLocked(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%9s ", time.Since(w.began).Round(time.Millisecond))+fmt.Sprintf(format, args...))
}

// violate records that an invariant is broken; the first one counts.
func (w *world) violate(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.violateLocked(format, args...)
}

func (w *world) violateLocked(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.noteLocked("VIOLATION %s", text)
	if w.broken == "" {
		// Rapid shrinks only towards failures that say the same.
		w.broken = format
	}
}

func (w *world) violation() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.broken
}

func (w *world) history() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.log, "\n")
}

// audio is the n-th content: a WAV of a length and samples of its own. Some
// are shorter than the tail.
func audio(n int) []byte {
	size := 1200 + 400*(n%5)
	if n%4 == 3 {
		size = 600
	}
	b := make([]byte, 44+size)
	copy(b, "RIFF----WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data----")
	binary.LittleEndian.PutUint32(b[4:], uint32(36+size))
	binary.LittleEndian.PutUint32(b[40:], uint32(size))
	for i := 44; i < len(b); i++ {
		b[i] = byte(i*7 + n*31)
	}
	return b
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// drop puts a recording into its place, by rename as careful exporters do or
// over what is there.
func (w *world) drop(f *file, inPlace bool) {
	w.mu.Lock()
	w.whole[f.sum] = true
	w.calls[pair(f.stem+".wav", f.sum, f.call)] = true
	old := w.files[f.path()]
	w.files[f.path()] = f
	w.mu.Unlock()
	w.note("drop %s call %s content %.8s, %s, in place %v", f.path(), f.call, f.sum, f.sidecar, inPlace && old != nil)
	if f.sidecar == lateSidecar {
		os.Remove(w.at(f.source, f.stem+".json"))
	} else {
		w.writeSidecar(f)
	}
	if inPlace && old != nil {
		w.write(f.path(), f.bytes, f)
		return
	}
	w.write(f.path()+".tmp", f.bytes, f)
	if err := os.Rename(w.at(f.path()+".tmp"), w.at(f.path())); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) writeSidecar(f *file) {
	content, err := json.Marshal(map[string]string{"call_id": f.call, "started_at": "2026-11-02T14:05:06Z", "direction": "inbound"})
	if err != nil {
		w.t.Fatal(err)
	}
	if f.sidecar == badSidecar {
		content = content[:len(content)/2]
	}
	w.write(filepath.Join(f.source, f.stem+".json"), content, nil)
}

// rewrite gives a recording other content of the same length, and on demand
// its old modification time.
func (w *world) rewrite(path string, restoreTime bool) {
	w.mu.Lock()
	f := w.files[path]
	if f == nil || f.source == w.away {
		w.mu.Unlock()
		return
	}
	g := *f
	g.bytes = append([]byte(nil), f.bytes...)
	for i := 44; i < len(g.bytes); i++ {
		g.bytes[i] ^= 0x5a
	}
	g.sum = sum(g.bytes)
	if restoreTime {
		g.modified = f.modified
	} else {
		g.modified = time.Time{}
	}
	w.whole[g.sum] = true
	w.calls[pair(g.stem+".wav", g.sum, g.call)] = true
	w.files[path] = &g
	w.noteLocked("rewrite %s as content %.8s, time restored %v", path, g.sum, restoreTime)
	w.mu.Unlock()
	if _, err := os.Stat(w.at(path)); err == nil {
		w.write(path, g.bytes, &g)
	}
}

// write writes a file with a modification time in fake time; f, if any, keeps
// the time it has or remembers the new one.
func (w *world) write(rel string, content []byte, f *file) {
	w.mu.Lock()
	w.touched++
	at := time.Now().Add(time.Duration(w.touched) * time.Microsecond)
	if f != nil {
		if f.modified.IsZero() {
			f.modified = at
		}
		at = f.modified
	}
	w.mu.Unlock()
	if err := os.WriteFile(w.at(rel), content, 0o600); err != nil {
		w.t.Error(err)
	}
	if err := os.Chtimes(w.at(rel), at, at); err != nil {
		w.t.Error(err)
	}
}

func (w *world) at(rel ...string) string {
	return filepath.Join(append([]string{w.dir, "drop"}, rel...)...)
}

// pair names a recording and the sidecar that lay beside it.
func pair(path, sum, call string) string { return path + " " + sum + " " + call }

// unmount takes a drop directory away with all that is in it, as a file
// system that is not mounted, and brings it back after a while. Nobody may
// conclude from that that the recordings are gone; that one was rewritten may
// still show in a descriptor that is open.
func (w *world) unmount(source string, d time.Duration) {
	aside := filepath.Join(w.dir, "aside")
	w.note("the drop directory %s is away for %s", source, d)
	w.mu.Lock()
	w.away = source
	w.mu.Unlock()
	w.carry(w.at(source), aside)
	w.wait(d)
	w.reap()
	if w.run != nil {
		gone := w.ids(`SELECT e.id FROM events AS e JOIN recordings AS r ON r.id = e.recording_id WHERE e.id > ? AND r.source = ?
			AND e.delivery_id IS NULL AND to_state = 'vanished' AND e.reason <> 'replaced'`, w.look.last, source)
		if len(gone) > 0 {
			w.violate("P1: events %v say that recordings of %s vanished while the directory was away", gone, source)
		}
	}
	w.carry(aside, w.at(source))
	w.mu.Lock()
	w.away = ""
	w.mu.Unlock()
}

// carry moves a directory's content into a new one, so that a held
// descriptor of the old one shows an empty directory.
func (w *world) carry(from, to string) {
	if err := os.Mkdir(to, 0o700); err != nil {
		w.t.Fatal(err)
	}
	names, err := os.ReadDir(from)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, n := range names {
		if err := os.Rename(filepath.Join(from, n.Name()), filepath.Join(to, n.Name())); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := os.Remove(from); err != nil {
		w.t.Fatal(err)
	}
}

// identity names what the scripts of a recording are found by.
func identity(destination, call, sum string) string { return destination + " " + call + " " + sum }

// wait lets time pass.
func (w *world) wait(d time.Duration) {
	w.note("wait %s", d)
	time.Sleep(d)
	synctest.Wait()
}
