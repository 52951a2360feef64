package senders

import (
	"log/slog"
	"time"

	"ingestd/internal/call"
)

// VendorConfig is what a [[destination]] table of one vendor is decoded over:
// its keys beside those of [Common], and the way from there to a sender.
type VendorConfig interface {
	// Base returns the keys that every destination has.
	Base() *Common
	// Validate returns every defect; each text begins with the key.
	Validate() []error
	// Secrets are the references that must be readable.
	Secrets() []Secret
	// Expressions are the vendor's own keys whose value is an expression of
	// text over call, audio, file and delivery: key -> expression.
	Expressions() map[string]string
	// NewSender makes the sender of a validated configuration.
	NewSender(Deps) (Sender, error)
}

// Deps are what a sender gets from outside. [Deps.WithDefaults] fills in what
// is missing.
type Deps struct {
	// Fields computes [destination.fields]. nil: there are none.
	Fields func(call.Item) (map[string]string, error)
	// Texts computes the keys of [VendorConfig.Expressions].
	Texts map[string]func(call.Item) (string, error)
	// Lane is shared by all requests of the destination. nil: one of its own.
	Lane *Lane
	Log  *slog.Logger     // nil: none
	Now  func() time.Time // nil: time.Now
	Dial Dial             // nil: net.Dialer
}

// WithDefaults returns d without a nil among Fields, Lane, Log and Now; the
// lane of its own has rate r.
func (d Deps) WithDefaults(r Rate) Deps {
	if d.Fields == nil {
		d.Fields = func(call.Item) (map[string]string, error) { return nil, nil }
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Lane == nil {
		d.Lane = NewLane(r, d.Now)
	}
	return d
}

// Base returns c: the keys that a vendor's configuration embeds.
func (c *Common) Base() *Common { return c }
