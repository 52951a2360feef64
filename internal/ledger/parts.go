package ledger

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
)

// Part is one file of a recording that is sent merged.
type Part struct {
	RecordingID int64  // the part's own row; 0: not known
	Path        string // relative to the source, raw bytes
	Identity    Identity
	SHA256      string // of the file, lower-case hex
	MovedTo     string // where it is now
}

// Merge says what a recording is made of when it is sent as one with others:
// its Look is of its own file, its SHA256 of the merged bytes.
type Merge struct {
	Size  int64  // bytes that are sent
	Parts []Part // by channel; one is the recording itself
}

// Awaited is a recording of the same group as it was looked up under its
// name: ID and Ver are 0 when there was none.
type Awaited struct {
	Name    string // path below the source, with or without its extension
	ID, Ver int64
}

// partKey is the name under which recording_keys holds the parts that a
// recording waits for. No sidecar can be called so.
const partKey = "(part)"

// namedParts finds the current recordings with a name: it is their path, or
// their path without its extension.
const namedParts = ` FROM recordings INDEXED BY recordings_current WHERE current = 1 AND source = ?1 AND state <> 'vanished' AND (path = ?2
	OR path >= ?3 AND path < ?4 AND instr(substr(path, length(?3) + 1), x'2E') = 0 AND instr(substr(path, length(?3) + 1), x'2F') = 0)`

func namedArgs(source, name string) []any {
	return []any{source, []byte(name), []byte(name + "."), []byte(name + "/")} // '/' is the byte behind '.'
}

// PartsNamed returns the current recordings of a source whose path, with or
// without its extension, is name. Call and Audio are not loaded.
func (l *Ledger) PartsNamed(ctx context.Context, source, name string) ([]Recording, error) {
	return l.recordings(ctx, "SELECT "+recordingColumns+namedParts+" ORDER BY path LIMIT 3", false, namedArgs(source, name)...)
}

// PartsOf returns the files that a merged recording is made of, by channel;
// none for any other recording.
func (l *Ledger) PartsOf(ctx context.Context, recordingID int64) ([]Part, error) {
	return l.reader.partsOf(ctx, recordingID)
}

func (r *Reader) partsOf(ctx context.Context, recordingID int64) ([]Part, error) {
	var out []Part
	err := r.rows(ctx, `SELECT coalesce(part_id, 0), path, dev, ino, size, mtime_ns, ctime_ns, sha256, moved_to FROM recording_parts
		WHERE recording_id = ?1 AND EXISTS (SELECT 1 FROM recordings WHERE id = ?1 AND merged_size IS NOT NULL) ORDER BY channel`, []any{recordingID}, func(rows *sql.Rows) error {
		var p Part
		var name, sum, moved []byte
		var dev, ino int64
		id := &p.Identity
		if err := rows.Scan(&p.RecordingID, &name, &dev, &ino, &id.Size, &id.MtimeNS, &id.CtimeNS, &sum, &moved); err != nil {
			return err
		}
		id.Dev, id.Ino = uint64(dev), uint64(ino)
		p.Path, p.SHA256, p.MovedTo = string(name), hex.EncodeToString(sum), string(moved)
		out = append(out, p)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the parts of recording %d: %w", recordingID, err)
	}
	return out, nil
}

// PartMoved records where a part of a merged recording lies now.
func (l *Ledger) PartMoved(ctx context.Context, recordingID int64, p Part, movedTo string) error {
	return l.w.write(ctx, "part moved", func(t *tx) error {
		err := t.exec("UPDATE recording_parts SET moved_to = ? WHERE recording_id = ? AND path = ?", []byte(movedTo), recordingID, []byte(p.Path))
		if err != nil || p.RecordingID == 0 {
			return err
		}
		return t.exec("UPDATE recordings SET moved_to = ?, ver = ver + 1, updated = ? WHERE id = ? AND state = 'skipped'", []byte(movedTo), t.at, p.RecordingID)
	})
}

// SegmentsBefore counts the instants before a time at which recordings of a
// call began that the source knows of.
func (l *Ledger) SegmentsBefore(ctx context.Context, source, callID string, before time.Time) (n int, err error) {
	err = l.reader.row(ctx, `SELECT count(DISTINCT started_at) FROM recordings INDEXED BY recordings_call
		WHERE call_id = ? AND source = ? AND started_at < ? AND state IN ('waiting', 'ready', 'done')`,
		[]any{callID, source, before.UnixMilli()}, []any{&n})
	if err != nil {
		return 0, fmt.Errorf("count the segments of a call: %w", err)
	}
	return n, nil
}

// unmoved fails with ErrStale if one of the group is not as it was when the
// decision was made: of two parts that are decided side by side, the second
// then sees the first.
func (t *tx) unmoved(r shortRecording, group []Awaited) error {
	for _, a := range group {
		var id, ver int64
		err := t.row("SELECT id, ver"+namedParts+" ORDER BY path LIMIT 1", namedArgs(r.Source, a.Name), []any{&id, &ver})
		if errors.Is(err, sql.ErrNoRows) {
			err = nil
		}
		if err != nil {
			return err
		}
		if id != a.ID || ver != a.Ver {
			return fmt.Errorf("recording %d, part %d: %w", r.ID, id, ErrStale)
		}
	}
	return nil
}

// wakeGroup makes those due that wait for this recording as a part of theirs.
func (t *tx) wakeGroup(r shortRecording) error {
	name := string(r.Path)
	return t.exec(`UPDATE recordings SET due_at = ?1, ver = ver + 1, updated = ?1 WHERE state = 'waiting' AND coalesce(due_at, ?1 + 1) > ?1
		AND source = ?2 AND id <> ?3 AND id IN (SELECT recording_id FROM recording_keys WHERE sidecar = ?4 AND key IN (?5, ?6))`,
		t.at, r.Source, r.ID, partKey, name, strings.TrimSuffix(name, path.Ext(name)))
}

// merge records what a recording is made of and ends the rows of its other
// parts: they are sent with it.
func (t *tx) merge(r shortRecording, m *Merge) error {
	if err := t.drop("recording_parts WHERE recording_id = ?", r.ID); err != nil {
		return err
	}
	for channel, p := range m.Parts {
		sum, err := digest(p.SHA256)
		if err != nil {
			return err
		}
		var part any
		if p.RecordingID != 0 {
			part = p.RecordingID
		}
		id := p.Identity
		err = t.exec(`INSERT INTO recording_parts (recording_id, channel, part_id, path, dev, ino, size, mtime_ns, ctime_ns, sha256)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			r.ID, channel, part, []byte(p.Path), int64(id.Dev), int64(id.Ino), id.Size, id.MtimeNS, id.CtimeNS, sum)
		if err != nil {
			return err
		}
		if p.RecordingID != 0 && p.RecordingID != r.ID {
			if err := t.merged(p.RecordingID, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// Merged is the reason of a recording that is sent as a part of another one.
const Merged = "merged"

// MergedInto is the sentence beside Merged.
func MergedInto(recording int64) string {
	return fmt.Sprintf("it is sent as a part of recording %d", recording)
}

func (t *tx) merged(id int64, into shortRecording) error {
	part, err := t.recording(id)
	if err != nil || part.State != Waiting && (part.State != Skipped || part.Reason != Merged) {
		return err // its own decision follows
	}
	err = t.one("UPDATE recordings SET state = 'skipped', reason = ?, reason_text = ?, due_at = NULL, ver = ver + 1, updated = ? WHERE id = ?",
		Merged, MergedInto(into.ID), t.at, id)
	if err != nil {
		return err
	}
	if part.State == Waiting {
		err = t.event(event{recording: id, from: string(part.State), to: string(Skipped), reason: Merged, text: MergedInto(into.ID)})
	}
	return errors.Join(err, t.forgetKeys(id))
}
