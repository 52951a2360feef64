package ledger

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	lookColumns      = "dev, ino, size, mtime_ns, ctime_ns, quiet_since, looks, due_at"
	recordingColumns = "id, ver, source, path, state, reason, reason_text, " + lookColumns +
		", wait_until, sha256, business_key, merged_size, move_to, moved_to, first_seen, updated"
	fullColumns = recordingColumns + ", call_json, audio_json"
)

// scannedLook takes lookColumns.
type scannedLook struct {
	dev, ino, quiet int64
	due             sql.NullInt64
	look            Look
}

func (s *scannedLook) dest() []any {
	id := &s.look.Identity
	return []any{&s.dev, &s.ino, &id.Size, &id.MtimeNS, &id.CtimeNS, &s.quiet, &s.look.Looks, &s.due}
}

// value: device and inode are unsigned, SQLite's integers are not: the bits
// are kept.
func (s *scannedLook) value() Look {
	l := s.look
	l.Identity.Dev, l.Identity.Ino = uint64(s.dev), uint64(s.ino)
	l.Since = time.UnixMilli(s.quiet).UTC()
	return l
}

func lookArgs(l Look) []any {
	id := l.Identity
	return []any{int64(id.Dev), int64(id.Ino), id.Size, id.MtimeNS, id.CtimeNS, l.Since.UnixMilli(), l.Looks}
}

// scannedRecording takes recordingColumns, or fullColumns with call and audio.
type scannedRecording struct {
	r                        Recording
	look                     scannedLook
	path, sum, moveTo, moved []byte
	callJSON, audioJSON      []byte
	wait, firstSeen, updated sql.NullInt64
	merged                   sql.NullInt64
	business                 sql.NullString
}

func (s *scannedRecording) dest(full bool) []any {
	r := &s.r
	dest := append([]any{&r.ID, &r.Ver, &r.Source, &s.path, &r.State, &r.Reason, &r.ReasonText}, s.look.dest()...)
	dest = append(dest, &s.wait, &s.sum, &s.business, &s.merged, &s.moveTo, &s.moved, &s.firstSeen, &s.updated)
	if full {
		dest = append(dest, &s.callJSON, &s.audioJSON)
	}
	return dest
}

func (s *scannedRecording) value(full bool) (Recording, error) {
	r := s.r
	r.Path, r.MoveTo, r.MovedTo = string(s.path), string(s.moveTo), string(s.moved)
	r.Look, r.DueAt, r.WaitUntil = s.look.value(), instant(s.look.due), instant(s.wait)
	r.SHA256, r.BusinessKey, r.MergedSize = hex.EncodeToString(s.sum), s.business.String, s.merged.Int64
	r.FirstSeen, r.Updated = instant(s.firstSeen), instant(s.updated)
	if !full {
		return r, nil
	}
	var err1, err2 error
	r.Call, err1 = decodeCall(s.callJSON)
	r.Audio, err2 = decodeAudio(s.audioJSON)
	return r, errors.Join(err1, err2)
}

func scanRecording(row interface{ Scan(...any) error }, full bool) (Recording, error) {
	var s scannedRecording
	if err := row.Scan(s.dest(full)...); err != nil {
		return s.r, err
	}
	return s.value(full)
}

// RecordingsAt returns the current row of every path that has one. A rescan
// asks for every file there is, so only ID, Ver, Source, Path, State, Look,
// DueAt and MovedTo are loaded.
func (l *Ledger) RecordingsAt(ctx context.Context, source string, paths []string) (map[string]Recording, error) {
	out := make(map[string]Recording, len(paths))
	var path, moved sql.RawBytes
	var look scannedLook
	r := Recording{Source: source}
	dest := append([]any{&r.ID, &r.Ver, &path, &r.State, &moved}, look.dest()...)
	err := l.reader.atPaths(ctx, "SELECT id, ver, path, state, moved_to, "+lookColumns+" FROM recordings WHERE current = 1 AND source = ? AND path IN (",
		source, paths, func(rows *sql.Rows) error {
			if err := rows.Scan(dest...); err != nil {
				return err
			}
			r.Path, r.MovedTo, r.Look, r.DueAt = string(path), string(moved), look.value(), instant(look.due)
			out[r.Path] = r
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("look recordings up: %w", err)
	}
	return out, nil
}

// pathsAtOnce is how many paths one query asks for.
const pathsAtOnce = 256

// atPaths runs a query that ends in an open list of paths. The list is padded
// to a power of two, so that few texts need preparing.
func (r *Reader) atPaths(ctx context.Context, query, source string, paths []string, fn func(*sql.Rows) error) error {
	for chunk := range slices.Chunk(paths, pathsAtOnce) {
		size := 1
		for size < len(chunk) {
			size *= 2
		}
		args := make([]any, 0, size+1)
		args = append(args, source)
		for i := range size {
			args = append(args, []byte(chunk[min(i, len(chunk)-1)]))
		}
		if err := r.rows(ctx, query+"?"+strings.Repeat(",?", size-1)+")", args, fn); err != nil {
			return err
		}
	}
	return nil
}
