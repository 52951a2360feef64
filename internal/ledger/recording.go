package ledger

import (
	"time"

	"ingestd/internal/call"
)

// Recording is one file that was seen at one path. A path that gets other
// content after the row was settled gets a new row; only the newest is
// current.
type Recording struct {
	ID, Ver            int64
	Source, Path       string // the path is relative to the source, raw bytes
	State              RecordingState
	Reason             string // stable code, "" if none
	ReasonText         string // one sentence for the operator
	Look               Look
	DueAt              time.Time // next look; zero: only an outside event wakes it
	WaitUntil          time.Time // end of the wait for a sidecar
	SHA256             string    // lower-case hex, "" before ready
	BusinessKey        string
	Call               *call.Record // nil where the method says it is not loaded
	Audio              *call.Audio
	MergedSize         int64  // bytes that are sent of a recording that is merged with others; 0: it is sent as it is
	MoveTo             string // where it is being moved: the intent
	MovedTo            string // where it is now
	FirstSeen, Updated time.Time
}

// Size is the bytes that are sent of it.
func (r Recording) Size() int64 {
	if r.MergedSize > 0 {
		return r.MergedSize
	}
	return r.Look.Identity.Size
}

// Seen is a file that the ledger does not know yet.
type Seen struct {
	Source, Path string
	Look         Look
	Due          time.Time      // next look; zero: at once
	State        RecordingState // "" or Settling; Quarantined with a reason. Ignored for documents.
	Reason       string
	ReasonText   string
}

// Relook is a further look at a known file.
type Relook struct {
	ID, Ver int64
	Look    Look
	Due     time.Time // next look; zero: at once
	Why     string    // why it still settles ("busy", "short", ...), or ""
	Text    string    // the same in a sentence for the operator
}

// Decision is what became of a complete recording.
type Decision struct {
	State      RecordingState
	Reason     string
	ReasonText string
	Look       *Look     // nil: as stored
	Due        time.Time // next look of a waiting row, zero: only its sidecar wakes it; of a ready row: not disposed of earlier
	WaitUntil  time.Time // zero: as stored
	SHA256     string    // lower-case hex; "": as stored
	// BusinessKey is the recorder's name for the recording; Named tells that
	// the export gave it (it is then unique within the source).
	BusinessKey string
	Named       bool
	Call        *call.Record      // nil: as stored
	Audio       *call.Audio       // nil: as stored
	Keys        map[string]string // sidecar -> key that a waiting recording waits for
	// Group is what the decision rests on beyond the recording itself, Part
	// the name of another recording that it waits for.
	Group []Awaited
	Part  string
	// WakeGroup makes those due that wait for this recording, if it changes
	// its state.
	WakeGroup  bool
	Merge      *Merge // it is sent merged with others
	Documents  []DocumentUse
	Deliveries []NewDelivery
	// Copies: the source keeps several copies of a recording, of which one is
	// sent. Instead are those that were taken and give way to this one.
	Copies  bool
	Instead []int64
}

// DocumentUse names the document row that a recording was paired with.
type DocumentUse struct {
	Sidecar           string
	DocumentID, RowID int64
	Path              string // relative to the source, raw bytes
	Row               int    // from 1
	Rule              string // the pairing rule; see [RuleTime]
	SHA256            string // of the document as paired, lower-case hex; "" for a growing list
	Key               string // under which the row was found
	Digest            int64  // of what the row says; 0: not known
	Newest            int64  // id of the newest row that the lookup found: newer ones came since
}

// NewDelivery is a delivery to be planned with a decision.
type NewDelivery struct {
	Destination, IdemKey string
	State                State // Planned, Held, Rejected or InDoubt
	Reason, ReasonText   string
}

// Decided counts what became of a decision's deliveries.
type Decided struct {
	Duplicates int // another delivery carries the identity already
	Conflicts  int // held: another recording has this business key and other content
}
