package sandbox

import (
	"log/slog"
	"time"
)

// Options configure a fake vendor. The zero value is a working sandbox.
type Options struct {
	// Now is the clock of tokens, rates and time stamps; nil is time.Now.
	// Delays always use package time, which testing/synctest controls.
	Now func() time.Time
	// ID makes ids; kind is "session", "mining" or "correlation". It must not
	// repeat a value and is called by several goroutines. Nil: random UUIDs.
	ID func(kind string) string

	// ClientID and ClientSecret are the only credentials that get a token.
	// With both empty every non-empty pair does.
	ClientID, ClientSecret string
	// TokenLife is how long a token is good; 0 is 3600 s.
	TokenLife time.Duration
	// RatePerMinute is how many API requests a minute may hold; 0 is the
	// vendor's default (CallMiner 200), below 0 means no limit. Token requests
	// do not count.
	RatePerMinute int
	// RetryAfter is the Retry-After header of an answer 429 to too many
	// requests; "" sends none, as the CallMiner guide names none.
	RetryAfter string

	// BasePath precedes the API routes; "" is the vendor's own (CallMiner
	// "/ingestion"), "/" is none.
	BasePath string
	// Sources are the ingestion sources the tenant knows; empty accepts any
	// name.
	Sources []string
	// Columns are the tenant's metadata columns; nil is DefaultColumns().
	Columns []Column
	// Unknowns choose between behaviours that no public document settles.
	Unknowns Unknowns
	// AuthenticX is what only that vendor has, and its open questions.
	AuthenticX AuthenticXOptions
	// BehavioralSignals are the same for that vendor.
	BehavioralSignals BehavioralUnknowns
	// ElevateAI are the same for that vendor.
	ElevateAI ElevateAIOptions
	// Voyc are the open questions of that vendor.
	Voyc VoycUnknowns

	// Faults are switched on from the start. The constructor panics on a fault
	// that SetFaults would refuse.
	Faults []Fault

	// KeepDir is a directory where every body is kept as a file; "" keeps
	// none. A cut body stays there with the ending .part.
	KeepDir string
	// RequestLog is how many requests the view remembers; 0 is 10,000.
	RequestLog int
	// Log gets one line per event, without metadata values; nil is silent.
	Log *slog.Logger
	// OnStored is called with every recording that arrived whole, and again
	// when what became of it changes. It may be called by several goroutines
	// at once.
	OnStored func(Stored)
}

// Unknowns are the questions CallMiner's guide leaves open. The zero value is
// the answer the sender's reference assumes; a test suite passes under both.
type Unknowns struct {
	// SessionLife ends a session that got no media in time (404); 0: never.
	SessionLife time.Duration
	// TokenCheckedAtEnd asks for a valid token again when the body has
	// arrived, so that a long upload can outlive its token (401, not stored).
	TokenCheckedAtEnd bool
	// SourceCheckedInMining accepts an unknown SourceId over HTTP and fails
	// the contact in mining.
	SourceCheckedInMining bool
	// FailedMiningBurnsID uses a CorrelationId up although its contact failed
	// in mining.
	FailedMiningBurnsID bool
	// UpdateWithoutContact answers 200 to a metadata update whose contact does
	// not exist, and forgets it; otherwise 404.
	UpdateWithoutContact bool
}
