package ledger

import "slices"

// RecordingState is where a recording's file stands.
type RecordingState string

// States of a recording (docs/states.md).
const (
	Settling    RecordingState = "settling"    // seen, not yet known to be complete
	Waiting     RecordingState = "waiting"     // complete, its sidecar is not there
	Ready       RecordingState = "ready"       // pinned, its deliveries are rows
	Done        RecordingState = "done"        // every delivery accepted, file disposed of
	Skipped     RecordingState = "skipped"     // a rule of the source said no
	Quarantined RecordingState = "quarantined" // bad input: a person must look
	Vanished    RecordingState = "vanished"    // the file is gone, or another took its name
)

// DocumentState is where a sidecar document stands.
type DocumentState string

// States of a document (docs/states.md).
const (
	DocumentSettling DocumentState = "settling" // seen, not yet known to be complete
	DocumentIndexed  DocumentState = "indexed"  // its rows can be looked up
	DocumentBad      DocumentState = "bad"      // it cannot be read; lookups find the reason
	DocumentGone     DocumentState = "gone"     // the file is gone; lookups do not find it
)

// State is where one recording stands on its way to one destination.
type State string

// States of a delivery (docs/states.md).
const (
	Planned    State = "planned"    // nothing was sent, or all that was sent is proven absent
	Declaring  State = "declaring"  // step 1 may have been sent
	Declared   State = "declared"   // the step-1 ids are known
	Sending    State = "sending"    // media may have been sent, its tail has not
	Committing State = "committing" // the tail may have been sent
	InDoubt    State = "in_doubt"   // the outcome is not known
	Accepted   State = "accepted"   // positive evidence of the vendor
	Confirmed  State = "confirmed"  // the vendor processed it
	Rejected   State = "rejected"   // refused for good
	Held       State = "held"       // a person must decide
	Duplicate  State = "duplicate"  // another delivery carries this identity
	Cancelled  State = "cancelled"  // will not be sent
)

// recordingMoves is the table of docs/states.md: from -> to.
var recordingMoves = map[RecordingState][]RecordingState{
	Settling:    {Settling, Waiting, Ready, Skipped, Quarantined, Vanished},
	Waiting:     {Settling, Waiting, Ready, Skipped, Quarantined, Vanished},
	Ready:       {Settling, Ready, Done, Vanished},
	Done:        {Done},
	Skipped:     {Settling, Vanished},
	Quarantined: {Settling, Vanished},
	Vanished:    {Settling, Vanished},
}

// moves is the table of docs/states.md: from -> to. A state that leads to
// itself may be noted again (another look at a doubt, another question about
// an acceptance, an attempt that ended before its first step).
var moves = map[State][]State{
	Planned:    {Planned, Declaring, Sending, InDoubt, Rejected, Held, Cancelled},
	Declaring:  {Declaring, Planned, Declared, InDoubt, Accepted, Rejected, Held},
	Declared:   {Planned, Declaring, Declared, Sending, InDoubt, Rejected, Held, Cancelled},
	Sending:    {Planned, Declared, Committing, InDoubt, Accepted, Rejected, Held},
	Committing: {Planned, Declared, InDoubt, Accepted, Rejected, Held},
	InDoubt:    {Planned, Declared, InDoubt, Accepted, Held, Cancelled},
	Accepted:   {Accepted, Confirmed},
	Confirmed:  {},
	Rejected:   {Planned, Cancelled},
	Held:       {Planned, InDoubt, Accepted, Cancelled},
	Duplicate:  {Duplicate},
	Cancelled:  {Planned, InDoubt, Rejected, Held},
}

// Reasons of an accepted delivery whose vendor is asked what became of it.
const (
	Unconfirmed      = "unconfirmed"       // not known yet; NextAttempt is the next question
	ProcessingFailed = "processing_failed" // the vendor has it and could not process it
	Unconfirmable    = "unconfirmable"     // asking again cannot help
)

// RecordingStates returns all states of a recording, in the order of its way.
func RecordingStates() []RecordingState {
	return []RecordingState{Settling, Waiting, Ready, Done, Skipped, Quarantined, Vanished}
}

// DocumentStates returns all states of a document.
func DocumentStates() []DocumentState {
	return []DocumentState{DocumentSettling, DocumentIndexed, DocumentBad, DocumentGone}
}

// States returns all states of a delivery, in the order of its way.
func States() []State {
	return []State{Planned, Declaring, Declared, Sending, Committing, InDoubt, Accepted, Confirmed, Rejected, Held, Duplicate, Cancelled}
}

// CanMove tells whether a delivery may go from one state to another.
func CanMove(from, to State) bool { return slices.Contains(moves[from], to) }

func canMoveRecording(from, to RecordingState) bool {
	return slices.Contains(recordingMoves[from], to)
}
