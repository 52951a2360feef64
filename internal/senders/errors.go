package senders

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"time"
)

// Class says what a failed attempt proves and so what may be done next. The
// rules behind each class are those of [Classify].
type Class string

const (
	// NotSent: no byte of this attempt that could matter reached the vendor.
	NotSent Class = "not_sent"
	// Incomplete: media may have left, the withheld tail has not.
	Incomplete Class = "incomplete"
	// Auth: the credentials were refused. The whole destination waits, the
	// recording is not to blame.
	Auth Class = "auth"
	// RateLimited: the vendor asked for fewer requests.
	RateLimited Class = "rate_limited"
	// Refused: a definite refusal that a repetition may cure.
	Refused Class = "refused"
	// Rejected: a definite refusal that no repetition cures.
	Rejected Class = "rejected"
	// Held: a person must look before anything else is sent.
	Held Class = "held"
	// InDoubt: the tail may have left and no usable answer came back.
	InDoubt Class = "in_doubt"
	// Changed: the source file is not the one that was pinned; the tail did
	// not leave.
	Changed Class = "changed"
)

// Error is the outcome of an attempt without a receipt.
//
// Code is stable (snake_case). Text is one sentence for the operator; neither
// it nor Err ever holds a credential, a URL, personal data or text that the
// vendor wrote.
type Error struct {
	Class      Class
	Code       string
	Text       string
	HTTPStatus int           // 0: no answer
	RetryAfter time.Duration // 0: the vendor asked for nothing
	Bytes      int64         // request body bytes handed to the transport
	Err        error         // cause; may be nil
	// IDs are changes of the vendor ids that are stored with the outcome (""
	// deletes a name). When one is deleted, the step-1 ids are void, and the next attempt
	// begins with step 1.
	IDs IDs
}

// CodeOrphanDeclare is the code of a step 1 that may have had an effect which
// nobody will use, because its answer was lost. The ledger counts them.
const CodeOrphanDeclare = "orphan_declare"

// CodeForbidden is the code of a 403: the credentials are good, and may not do
// what was asked for.
const CodeForbidden = "forbidden"

// IDs are vendor ids by name. Printed, they show the names only: those that
// begin with "_" are secrets.
type IDs map[string]string

// Format prints the sorted names in every format.
func (ids IDs) Format(f fmt.State, _ rune) {
	fmt.Fprint(f, slices.Sorted(maps.Keys(ids)))
}

func (e *Error) Error() string {
	s := e.Code + ": " + e.Text
	if e.HTTPStatus != 0 {
		s += " (HTTP " + strconv.Itoa(e.HTTPStatus) + ")"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// NotOpened is the outcome of an attempt whose recording could not be opened.
func NotOpened(err error) error {
	var own *Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, fs.ErrNotExist):
		return &Error{Class: Changed, Code: "file_changed", Text: "the recording is gone from its place", Err: err}
	}
	return &Error{Class: NotSent, Code: "source_unreadable", Text: "the recording could not be opened; check its permissions and disk", Err: err}
}

// NotJournalled is the outcome of an attempt that stopped because its next
// step could not be made durable. ids may be nil; see [Error.IDs].
func NotJournalled(err error, ids IDs) error {
	return &Error{Class: NotSent, Code: "ledger", Text: "the ledger could not record the step, so it was not made", IDs: ids, Err: err}
}
