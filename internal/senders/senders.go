// Package senders says what a sender is, and owns what every vendor needs:
// error classes, secrets, the HTTP client, the rate lane, the gate that
// withholds the last bytes, and the retry delay.
//
// It promises that no network effect of a delivery happens without its
// durable row: a sender asks the [Journal] before every step, and the journal
// answers only after the commit. It never stores anything itself, never
// retries a delivery by itself, and never names a vendor; those live in the
// folders below.
package senders

import (
	"context"
	"io"
	"time"

	"ingestd/internal/call"
)

// Sender delivers recordings to one destination of one vendor.
//
// Implementations are safe for concurrent use by several workers.
type Sender interface {
	// Plan builds the exact requests that Send would make, without any
	// network. It refuses what the vendor would not take (format, size,
	// length, missing field) with an *Error of class Rejected or Held:
	// Send calls the same code first, so plan and daemon cannot disagree.
	Plan(call.Item) (Plan, error)

	// Send makes one attempt. It may be called again after a crash with the
	// ids that were journalled; it does not keep the media reader after it
	// returns; it waits for the request body's Close before it classifies.
	// Every failure is an *Error.
	Send(context.Context, Attempt, Journal) (Receipt, error)

	// Traits tell the pipeline how this vendor recovers.
	Traits() Traits
}

// Reconciler is implemented by senders whose vendor can be asked what became
// of a delivery after a lost answer. An *Error of class Held says that asking
// again cannot help; any other leaves the doubt as it is.
type Reconciler interface {
	Reconcile(context.Context, Attempt) (Verdict, error)
}

// Perishable is implemented by senders whose step-1 ids are good for a time
// only (a presigned target). While they are usable, a second complete upload
// replaces the first with the same bytes, so a doubt is settled by sending
// again after the retry delay: to wait for doubt_settle would use the time up.
// Once they are not, a doubt is held, whatever on_doubt says.
type Perishable interface {
	Usable(Attempt) bool
}

// Confirmer is implemented by senders whose vendor tells later that an
// accepted recording was processed: Present when it was, Unknown while it is
// not yet, Void when it never will be. An *Error of class Held says that
// asking again cannot help. Nothing of it ever leads to another upload.
type Confirmer interface {
	Confirm(context.Context, Attempt) (Verdict, error)
}

// Checker is implemented by senders that can test credentials and vendor-side
// configuration without sending a recording. It returns findings in words; an
// error means the check itself could not be made.
type Checker interface {
	Check(context.Context) ([]Finding, error)
}

// Finding is one result of a Check.
type Finding struct {
	OK   bool
	Stop bool   // not OK, and nothing would be accepted like this: credentials, address
	Text string // what was looked at and, when not OK, what to do
}

// Traits of a vendor shape (see docs/states.md).
type Traits struct {
	// TwoStep: a declare precedes the media.
	TwoStep bool
	// ReuseDeclared: a step-1 id may be used again after a send that was cut
	// short, until an Error.IDs or a Void says otherwise. False sends the
	// delivery back to planned and repeats step 1.
	ReuseDeclared bool
	// DeclareOnce: a declare whose answer was lost must not simply be
	// repeated, because the first may have had an effect.
	DeclareOnce bool
	// ResendSafe: the vendor takes a second complete upload under the same
	// key without a second effect, so a doubt is settled by sending again.
	ResendSafe bool
	// Archives: the vendor takes zip and tar archives of chats beside audio.
	Archives bool
	// MaxBytes is the largest recording, in bytes, that Plan does not refuse
	// as too_large; 0: the vendor names no limit. It is asked before a file is
	// read.
	MaxBytes int64
}

// Attempt is one try to deliver one recording.
type Attempt struct {
	call.Item
	Number int // from 1
	// Began: no request of this delivery was made earlier, by this machine's
	// clock. A vendor's list is searched from here.
	Began time.Time
	// IDs are the vendor ids journalled by earlier steps, in snake_case. A
	// name that begins with "_" is a secret (a presigned target): it is never
	// shown, and erased when the delivery ends or waits for a person.
	IDs map[string]string
	// Own: an earlier attempt of this delivery reached committing, so a
	// duplicate answer means our own recording.
	Own bool
	// Open opens the recording's bytes; nil in Reconcile and Confirm.
	Open func() (Media, error)
}

// Media is an open recording. Verify looks again at the open descriptor and
// fails if size or modification time are no longer the pinned ones.
type Media interface {
	io.ReadCloser
	Verify() error
}

// Journal makes the steps of one attempt durable. Every method returns only
// after the ledger has committed; when one fails, the sender must not make
// the network effect that would have followed.
type Journal interface {
	// Declaring precedes the first byte of step 1.
	Declaring() error
	// Declared stores the step-1 ids.
	Declared(ids map[string]string) error
	// Sending precedes the first byte of media. With ids (may be nil) it
	// stores them and DECLARED in the same transaction.
	Sending(ids map[string]string) error
	// Committing precedes the withheld tail. The gate calls it.
	Committing() error
}

// Receipt is the positive evidence of an accepted recording.
type Receipt struct {
	IDs        map[string]string // vendor ids in snake_case: correlation_id, session_id, mining_id, ...
	HTTPStatus int
	Text       string // one redacted sentence for the history
	Duplicate  bool   // the vendor refused our own second upload: accepted earlier
}

// Plan is the list of requests one delivery consists of.
type Plan struct {
	Requests []PlannedRequest
}

// PlannedRequest shows one request: what `ingestd plan` prints.
type PlannedRequest struct {
	Step    string            `json:"step"`   // "session", "media", ...
	Method  string            `json:"method"` // "POST or PUT" where an earlier answer decides
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers,omitempty"` // without credentials
	Body    any               `json:"body,omitempty"`    // marshals to the exact JSON body; for media a short description
}

// Verdict of a vendor that was asked about a doubt.
type Verdict struct {
	Outcome Outcome
	IDs     map[string]string // changes of the vendor ids; "" deletes a name
	Text    string
	// Duplicates counts what the vendor holds beyond the one that Present
	// names: the pipeline raises the alarm duplicate_detected.
	Duplicates int
}

// Outcome of asking.
type Outcome int

const (
	// Unknown: the vendor gave no usable answer; ask again later.
	Unknown Outcome = iota
	// Present: the vendor holds the recording.
	Present
	// Absent: the vendor says it does not. The pipeline believes it only
	// when it stands for doubt_settle.
	Absent
	// Void: the vendor says that what was sent under the step-1 ids came to
	// nothing and never will. Step 1 is repeated at once, unless the ledger is
	// a restored one: then the ids may be older than the vendor's newest.
	Void
)
