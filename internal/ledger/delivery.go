package ledger

import "time"

// Delivery is one identity on its way to one destination.
type Delivery struct {
	ID, Ver, RecordingID int64
	Source, Destination  string
	IdemKey              string
	State                State
	Reason, ReasonText   string
	Attempts             int // attempts begun, without those that cost nothing
	Crashes              int // times a start found it in mid-way, or its worker panicked
	NextAttempt          time.Time
	FirstAttempt         time.Time // zero before the first
	DoubtSince           time.Time // zero unless in doubt
	AcceptedAt           time.Time // zero before
	Created, Updated     time.Time
	// IDs are the vendor's ids by snake_case name. A name that begins with
	// "_" is private (a presigned target): the ledger never prints it and
	// erases it when the delivery reaches a final state or waits for a person.
	IDs map[string]string
	// Own: an earlier event of this delivery reached committing, or may have
	// in events that a restored ledger has lost, so that a vendor's duplicate
	// answer means our own recording.
	Own bool
}

// Step is one transition of a delivery.
type Step struct {
	From, To   State
	Class      string // class of the outcome, for the history
	HTTPStatus int    // 0: none
	Reason     string // stable code kept with the delivery; "" clears it
	Text       string // one redacted sentence
	Bytes      int64  // media bytes that left
	// IDs are stored beside those known; an empty value deletes the name.
	IDs map[string]string
	// NextAttempt of planned, declared, in_doubt, and of accepted with the
	// reason Unconfirmed; zero: now.
	NextAttempt  time.Time
	BeginAttempt bool // attempts + 1
	Unburn       bool // attempts - 1: the attempt did not reach the vendor
	Crashed      bool // crashes + 1
}

// Recovery says what a vendor's rows that a crash left in mid-way become; ""
// leaves them for the start that knows the vendor.
type Recovery struct {
	Sending   State // Planned or Declared
	Declaring State // Planned, InDoubt or Held
}

// Recovered counts what Recover found.
type Recovered struct {
	Requeued int // back to planned or declared
	InDoubt  int // the tail may have been sent
	Held     int // by the vendor's shape, or after the third crash
}

// Total is the number of deliveries that were in mid-way.
func (r Recovered) Total() int { return r.Requeued + r.InDoubt + r.Held }

// NewOrder is a person's order, appended by a command.
type NewOrder struct {
	Kind         string // OrderRetry, OrderAccept or OrderCancel
	DeliveryIDs  []int64
	RecordingIDs []int64
	By           string // who ordered it
	Note         string // why, in the person's words
	// IDs are what the vendor calls the one delivery that is accepted.
	IDs map[string]string
}
