package authenticx

import "ingestd/internal/senders"

var _ senders.VendorConfig = (*Config)(nil)

// Secrets implements [senders.VendorConfig].
func (c *Config) Secrets() []senders.Secret { return []senders.Secret{c.ClientSecret} }

// Expressions implements [senders.VendorConfig].
func (c *Config) Expressions() map[string]string { return nil }

// NewSender implements [senders.VendorConfig].
func (c *Config) NewSender(d senders.Deps) (senders.Sender, error) {
	return New(*c, d)
}
