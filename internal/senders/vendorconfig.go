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

// Deps are what a sender gets from outside. All may be nil but Lane.
type Deps struct {
	// Fields computes [destination.fields].
	Fields func(call.Item) (map[string]string, error)
	// Texts computes the keys of [VendorConfig.Expressions].
	Texts map[string]func(call.Item) (string, error)
	Lane  *Lane
	Log   *slog.Logger
	Now   func() time.Time
	Dial  Dial
}

// Base returns c: the keys that a vendor's configuration embeds.
func (c *Common) Base() *Common { return c }
