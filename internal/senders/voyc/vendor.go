package voyc

import "ingestd/internal/senders"

var _ senders.VendorConfig = (*Config)(nil)

// Secrets implements [senders.VendorConfig].
func (c *Config) Secrets() []senders.Secret { return []senders.Secret{c.Token} }

// Expressions implements [senders.VendorConfig].
func (c *Config) Expressions() map[string]string {
	if text := c.ChannelExpression(); text != "" {
		return map[string]string{"channel_id": text}
	}
	return nil
}

// NewSender implements [senders.VendorConfig].
func (c *Config) NewSender(d senders.Deps) (senders.Sender, error) {
	return New(*c, d)
}
