package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"ingestd/internal/call"
)

// Foreseen is what another ledger would record of a file: what `ingestd plan`
// asks about.
type Foreseen struct {
	Source, Path string
	SHA256       string // lower-case hex; "": not read
	Size         int64  // bytes of the file itself
	MtimeNS      int64
	Call         *call.Record // nil: not decided
	Copies       bool         // its source keeps several copies of a recording
}

// AtPath is the recording that a ledger knows at a path.
type AtPath struct {
	ID      int64
	State   RecordingState
	Call    *call.Record
	Moved   bool // its file was moved away: what lies there now came later
	Changed bool // what lies there now has other content
}

// KnownAt finds what the ledger has at a file's path, and whether the file has
// changed since: by its content where both were read, else by size and time.
// ErrNotFound: it has nothing there.
func (r *Reader) KnownAt(ctx context.Context, f Foreseen) (AtPath, error) {
	id := int64(0)
	err := r.row(ctx, "SELECT id FROM recordings INDEXED BY recordings_current WHERE source = ? AND path = ? AND current = 1",
		[]any{f.Source, []byte(f.Path)}, []any{&id})
	if errors.Is(err, sql.ErrNoRows) {
		return AtPath{}, ErrNotFound
	}
	if err != nil {
		return AtPath{}, fmt.Errorf("look up %s: %w", f.Path, err)
	}
	rec, err := scanRecordingRow(ctx, r, id)
	if err != nil {
		return AtPath{}, err
	}
	at := AtPath{ID: id, State: rec.State, Call: rec.Call, Moved: rec.MovedTo != ""}
	if f.SHA256 != "" && rec.SHA256 != "" {
		at.Changed = f.SHA256 != rec.SHA256
	} else {
		at.Changed = f.Size != rec.Look.Identity.Size || f.MtimeNS != rec.Look.Identity.MtimeNS
	}
	return at, nil
}

// Unlike Carrier, SentUnder finds the delivery of a recording at a
// destination, whatever its key. ErrNotFound: there is none.
func (r *Reader) SentUnder(ctx context.Context, recording int64, destination string) (state State, err error) {
	err = r.row(ctx, "SELECT state FROM deliveries INDEXED BY deliveries_recording WHERE recording_id = ? AND destination = ? ORDER BY id DESC LIMIT 1",
		[]any{recording, destination}, []any{&state})
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	return state, err
}

// Conflict finds the recording because of which a file would be held, or, as a
// copy of it, skipped: its export gives it the id of one with other content. 0: none. A recording that
// the file replaces before it was finished does not count, as in Decide.
func (r *Reader) Conflict(ctx context.Context, f Foreseen) (id int64, err error) {
	if f.Call == nil {
		return 0, nil
	}
	key, named := f.Call.BusinessKey(f.Source, f.Path)
	sum, err := digest(f.SHA256)
	if err != nil || !named || f.SHA256 == "" {
		return 0, err
	}
	which := inTheWay
	if f.Copies {
		which = isTaken
	}
	err = r.row(ctx, "SELECT id"+conflicting+"(CASE WHEN current = 1 AND path = ? AND state <> 'done' THEN 'vanished' ELSE state END "+which+") ORDER BY id LIMIT 1",
		[]any{f.Source, key, 0, sum, []byte(f.Path)}, []any{&id})
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return id, err
}
