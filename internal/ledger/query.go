package ledger

import (
	"time"

	"ingestd/internal/call"
)

// Filter selects rows of List. Empty fields select all.
type Filter struct {
	States       []string // of the delivery, or of a recording without one
	Sources      []string
	Destinations []string
	Since, Until time.Time // first seen at or after, and before
	CallID       string    // the call's or the recorder's own id
	Reason       string    // stable code
	Limit        int       // rows; 0: all
}

// Row is the JSON contract of `ingestd list`: one delivery, or one recording
// that has none. Absent values are null; times are RFC 3339 UTC.
type Row struct {
	ID             int64             `json:"id"`
	DeliveryID     *int64            `json:"delivery_id"`
	Source         string            `json:"source"`
	Path           string            `json:"path"`
	Size           int64             `json:"size"` // bytes
	SHA256         *string           `json:"sha256"`
	CallID         *string           `json:"call_id"`
	RecordingID    *string           `json:"recording_id"` // the recorder's own
	StartedAt      *time.Time        `json:"started_at"`
	Destination    *string           `json:"destination"`
	State          string            `json:"state"`
	Reason         *string           `json:"reason"`
	ReasonText     *string           `json:"reason_text"`
	Attempts       int               `json:"attempts"`
	IdempotencyKey *string           `json:"idempotency_key"`
	IDs            map[string]string `json:"ids"`
	FirstSeenAt    time.Time         `json:"first_seen_at"`
	AcceptedAt     *time.Time        `json:"accepted_at"`
	NextAttemptAt  *time.Time        `json:"next_attempt_at"`
	UpdatedAt      time.Time         `json:"updated_at"`
}

// Shown is the JSON contract of `ingestd show`: one recording with all that is
// known about it.
type Shown struct {
	Recording  ShownRecording `json:"recording"`
	Deliveries []Row          `json:"deliveries"`
	History    []Event        `json:"history"`
}

// ShownRecording is the recording of Shown.
type ShownRecording struct {
	ID          int64          `json:"id"`
	Source      string         `json:"source"`
	Path        string         `json:"path"`
	State       string         `json:"state"`
	Reason      *string        `json:"reason"`
	ReasonText  *string        `json:"reason_text"`
	Size        int64          `json:"size"`
	SHA256      *string        `json:"sha256"`
	Sidecars    []ShownSidecar `json:"sidecars"`
	Parts       []ShownPart    `json:"parts,omitempty"` // the files that were merged into it, by channel
	Call        *call.Record   `json:"call"`
	Audio       *call.Audio    `json:"audio"`
	FirstSeenAt time.Time      `json:"first_seen_at"`
	MovedTo     *string        `json:"moved_to"`
}

// ShownPart is one file of a merged recording.
type ShownPart struct {
	Path    string  `json:"path"`
	Size    int64   `json:"size"`
	SHA256  string  `json:"sha256"`
	MovedTo *string `json:"moved_to"`
}

// ShownSidecar is one document row that a recording was paired with.
type ShownSidecar struct {
	Name string `json:"name"`
	Path string `json:"path"`
	Row  int    `json:"row"` // from 1
}

// Event is one line of a recording's history.
type Event struct {
	At          time.Time `json:"at"`
	Destination *string   `json:"destination"` // null: about the recording itself
	From        *string   `json:"from"`        // null: it begins here
	To          *string   `json:"to"`
	Attempt     *int      `json:"attempt"`
	Class       *string   `json:"class"`
	HTTPStatus  *int      `json:"http_status"`
	Text        *string   `json:"text"`
}

// Status is the JSON contract of `ingestd status`, with what needs a person.
type Status struct {
	Sources         map[string]map[string]int64 `json:"sources"`      // name -> every state -> recordings
	Destinations    map[string]map[string]int64 `json:"destinations"` // name -> state -> deliveries
	OldestPendingAt *time.Time                  `json:"oldest_pending_at"`
	Daemon          Daemon                      `json:"daemon"`
	NeedsPerson     map[string]int64            `json:"needs_person"` // reason -> deliveries and recordings
	LastErrors      []LastError                 `json:"last_errors"`  // the newest of each destination
	// By destination: deliveries that the vendor took and could not process,
	// and step-1 requests that may have had an effect which nobody uses.
	ProcessingFailed map[string]int64 `json:"processing_failed"`
	OrphanDeclares   map[string]int64 `json:"orphan_declares"`
}

// Daemon tells whether a daemon holds the ledger.
type Daemon struct {
	Running bool       `json:"running"`
	PID     *int       `json:"pid"`     // of the running daemon
	Since   *time.Time `json:"since"`   // of the running daemon
	Trouble *Trouble   `json:"trouble"` // why the running daemon begins nothing new; null: none
}

// LastError is the newest failure of a destination.
type LastError struct {
	Destination string    `json:"destination"`
	RecordingID int64     `json:"recording_id"`
	DeliveryID  int64     `json:"delivery_id"`
	At          time.Time `json:"at"`
	Class       string    `json:"class"`
	Reason      string    `json:"reason"`
	HTTPStatus  *int      `json:"http_status"`
	Text        string    `json:"text"`
}

// Kinds of orphans.
const (
	RecordingWithoutSidecar  = "recording_without_sidecar"
	DocumentWithoutRecording = "document_without_recording"
	RowWithoutRecording      = "row_without_recording"
	BadDocument              = "bad_document"
)

// Orphan is one half of a pair whose other half is not there.
type Orphan struct {
	Kind   string    `json:"kind"`
	Source string    `json:"source"`
	Path   string    `json:"path"`
	Row    *int      `json:"row"` // of a manifest
	Key    *string   `json:"key"` // what the other half would have to carry
	Since  time.Time `json:"since"`
	Text   string    `json:"text"`
}

// Report is what Verify found.
type Report struct {
	OK         bool            `json:"ok"`
	Problems   []string        `json:"problems"` // at most 100
	Recordings int64           `json:"recordings"`
	Deliveries int64           `json:"deliveries"`
	Events     int64           `json:"events"`
	LastEvent  int64           `json:"last_event"`
	UID        string          `json:"uid"`
	Sources    []SourceBalance `json:"sources"`
	Balances   []Balance       `json:"balances"`
}

// SourceBalance is the counting rule of one source: Seen equals the sum of the
// others.
type SourceBalance struct {
	Source      string `json:"source"`
	Seen        int64  `json:"seen"`
	Settling    int64  `json:"settling"`
	Waiting     int64  `json:"waiting"`
	Ready       int64  `json:"ready"`
	Done        int64  `json:"done"`
	Skipped     int64  `json:"skipped"`
	Quarantined int64  `json:"quarantined"`
	Vanished    int64  `json:"vanished"`
}

// Balance is the counting rule of one destination: Seen equals the sum of the
// others.
type Balance struct {
	Destination string `json:"destination"`
	Seen        int64  `json:"seen"`
	Accepted    int64  `json:"accepted"` // including confirmed
	Duplicate   int64  `json:"duplicate"`
	Rejected    int64  `json:"rejected"`
	Held        int64  `json:"held"`
	Cancelled   int64  `json:"cancelled"`
	Pending     int64  `json:"pending"` // including in doubt
}
