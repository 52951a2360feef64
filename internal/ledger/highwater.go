package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// The high-water mark is a small file beside the ledger that tells how far
// the ledger has come here. A ledger that has not come so far is an older one:
// its WAL was deleted or torn, a copy of yesterday was put in place, or its
// files were rolled back. Everything it calls unsent may have been sent.
//
// The rule: the mark never runs ahead of the ledger. After a commit has
// returned durable, and before anybody who waits for it is answered, the id of
// its last event is written into the mark, in place and without a sync; once
// a second, and at the stop, the mark is synced. So it costs a commit one
// small write and no fsync, and
//
//   - it raises no false alarm: what is in the mark was durable in the ledger
//     before, whatever the kernel wrote back first;
//   - after a killed program it is exact: the page cache outlives a process,
//     and no effect follows a commit whose mark was not written;
//   - after a power cut it may lag by what was not synced, a second at most. A
//     ledger that was not closed in order must therefore still have its WAL,
//     which SQLite removes only at a clean stop; and it must be of the boot
//     that ran last.
//
// A snapshot of the whole directory takes the mark back with the ledger, and
// nothing beside the ledger can tell.
type highWater struct {
	mu    sync.Mutex
	file  *os.File
	mark  waterMark
	buf   bytes.Buffer
	dirty bool  // written since the last sync
	err   error // the first failure to write it
}

// waterMark is the content of the file: one line of JSON, padded so that it
// is written in place and lies within one sector.
type waterMark struct {
	UID     string `json:"uid"`
	Boot    string `json:"boot"`              // the last opening for writing
	Before  string `json:"before,omitempty"`  // the boot that the ledger holds until this opening is noted in it
	Opening bool   `json:"opening,omitempty"` // Before counts: nothing was written under Boot yet
	Event   int64  `json:"event"`             // the ledger was durable up to this event
	Trouble string `json:"trouble,omitempty"` // code of what the daemon waits for, for `status`
}

const (
	waterSuffix = "-mark"
	waterSize   = 256 // bytes
)

func waterPath(path string) string { return path + waterSuffix }

// readWater reads the mark of a ledger; a missing one is nil. An error of the
// kind errBadWater means that there is a mark which says nothing.
func readWater(path string) (*waterMark, error) {
	f, err := os.OpenFile(waterPath(path), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the high-water mark: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, waterSize+1))
	if err != nil {
		return nil, fmt.Errorf("read the high-water mark: %w", err)
	}
	var m waterMark
	if err := json.Unmarshal(raw, &m); err != nil || m.UID == "" {
		return nil, errBadWater
	}
	return &m, nil
}

var errBadWater = errors.New("the high-water mark cannot be read")

// older says in words why a ledger is older than what ran here, or "" if it
// is not.
func (p probed) older(m *waterMark, wal bool) string {
	switch {
	case m == nil && (p.boot == "" || p.version < waterVersion):
		return "" // never opened for writing, or by a program that kept no mark
	case m == nil:
		return "its high-water mark is missing"
	case m.UID != p.uid:
		return "the high-water mark beside it is of another ledger"
	case p.lastEvent < m.Event:
		return fmt.Sprintf("it ends at event %d, and event %d was written here", p.lastEvent, m.Event)
	case p.boot != m.Boot && (!m.Opening || p.boot != m.Before):
		return "another start of ingestd wrote here after it"
	case !p.clean && !m.Opening && !wal:
		return "it was not closed in order and its -wal is missing"
	}
	return ""
}

// waterVersion is the first version of the schema whose programs keep a mark.
const waterVersion = 2

// walThere tells that a WAL with a header lies beside the ledger.
func walThere(path string) bool {
	info, err := os.Stat(path + "-wal")
	return err == nil && info.Size() >= 32
}

// createWater makes a mark durable under its name and keeps it open.
func createWater(path string, m waterMark) (_ *highWater, err error) {
	h := &highWater{mark: m}
	name := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+waterSuffix+".new")
	h.file, err = os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write the high-water mark: %w", err)
	}
	h.write()
	err = errors.Join(h.err, h.file.Sync())
	if err == nil {
		err = os.Rename(name, waterPath(path))
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write the high-water mark: %w", err), h.file.Close())
	}
	h.dirty = false
	return h, nil
}

// write puts the mark into its place. Its error is kept for sync to tell:
// no commit fails because of the mark.
func (h *highWater) write() {
	h.buf.Reset()
	err := json.NewEncoder(&h.buf).Encode(h.mark)
	if pad := waterSize - h.buf.Len(); err == nil && pad >= 0 {
		h.buf.Truncate(h.buf.Len() - 1)
		h.buf.Write(bytes.Repeat([]byte{' '}, pad))
		h.buf.WriteByte('\n')
		_, err = h.file.WriteAt(h.buf.Bytes(), 0)
	}
	if err != nil && h.err == nil {
		h.err = fmt.Errorf("write the high-water mark: %w", err)
	}
	h.dirty = true
}

// reached notes that the ledger is durable up to an event; 0: no new one.
func (h *highWater) reached(event int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if event > h.mark.Event {
		h.mark.Event = event
		h.write()
	}
}

// opened ends the opening: the ledger holds this boot and ends at the event.
// It may take the mark back, after a restore.
func (h *highWater) opened(event int64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mark.Opening, h.mark.Before, h.mark.Event = false, "", event
	h.write()
	return errors.Join(h.err, h.file.Sync())
}

// trouble notes what the daemon waits for.
func (h *highWater) trouble(code string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mark.Trouble != code {
		h.mark.Trouble = code
		h.write()
	}
}

// sync makes the mark durable if it moved, and tells once that it could not
// be written.
func (h *highWater) sync() error {
	h.mu.Lock()
	dirty, err := h.dirty, h.err
	h.dirty, h.err = false, nil
	h.mu.Unlock()
	if dirty {
		err = errors.Join(err, h.file.Sync())
	}
	return err
}

func (h *highWater) close() error {
	h.trouble("")
	return errors.Join(h.sync(), h.file.Close())
}
