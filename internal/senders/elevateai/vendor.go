package elevateai

import "ingestd/internal/senders"

var _ senders.VendorConfig = (*Config)(nil)

// Secrets implements [senders.VendorConfig].
func (c *Config) Secrets() []senders.Secret { return []senders.Secret{c.Token} }

// Expressions implements [senders.VendorConfig].
func (c *Config) Expressions() map[string]string { return nil }

// NewSender implements [senders.VendorConfig].
func (c *Config) NewSender(d senders.Deps) (senders.Sender, error) {
	return New(*c, d)
}

// Confirms tells that accepted recordings are asked about until the vendor has
// processed them.
func (c *Config) Confirms() bool { return c.Confirm }
