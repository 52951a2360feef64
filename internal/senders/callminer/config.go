package callminer

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"ingestd/internal/senders"
)

// The vendor's documented limits (Developer's Guide v2, sections 1.4 and
// appendix D).
const (
	maxBytes   = 1 << 30
	maxSeconds = 6300 // 1 h 45 min
)

// defaultRate is what a tenant has unless the vendor grants more.
var defaultRate = senders.Rate{Count: 200, Per: time.Minute}

// scope of the token: a name, not an address that is called.
const scope = "https://callminer.net/auth/platform-ingestion"

// Config is the table of a destination with type = "callminer".
type Config struct {
	senders.Common

	Region   string `toml:"region"`
	BaseURL  string `toml:"base_url"`
	TokenURL string `toml:"token_url"` // whole, with its path

	ClientID     string         `toml:"client_id"`
	ClientSecret senders.Secret `toml:"client_secret"`
	SourceID     string         `toml:"source_id"`

	CorrelationID string `toml:"correlation_id"` // expression; "": delivery.uuid
	VoicePrint    bool   `toml:"voice_print"`
	KeepAlive     bool   `toml:"keep_alive"`
}

// DefaultConfig is what the table is decoded over.
func DefaultConfig() Config {
	return Config{Common: senders.DefaultCommon(defaultRate)}
}

type site struct{ api, idp string }

// region looks up a location of the guide's appendices A and B.
func region(name string) (site, bool) {
	s, ok := regions()[name]
	return s, ok
}

func regions() map[string]site {
	return map[string]site{
		"us":       {"https://api.callminer.net/ingestion", "https://idp.callminer.net"},
		"us-fisma": {"https://apif.callminer.net/ingestion", "https://idpf.callminer.net"},
		"uk":       {"https://apiuk.callminer.net/ingestion", "https://idpuk.callminer.net"},
		"au":       {"https://apiaus.callminer.net/ingestion", "https://idpaus.callminer.net"},
		"ca":       {"https://apica.callminer.net/ingestion", "https://idpca.callminer.net"},
		// The guide prints apieuw and idpew; where a tenant finds it otherwise,
		// base_url and token_url say so.
		"eu": {"https://apieuw.callminer.net/ingestion", "https://idpew.callminer.net"},
	}
}

// urls returns where requests go: the region's, or what stands in its place.
func (c *Config) urls() (base, token string) {
	s, _ := region(c.Region)
	base, token = s.api, s.idp+"/connect/token"
	if c.BaseURL != "" {
		base = c.BaseURL
	}
	if c.TokenURL != "" {
		token = c.TokenURL
	}
	return strings.TrimRight(base, "/"), token
}

// Validate returns every defect; each text begins with the key.
func (c *Config) Validate() []error {
	errs := c.Common.Validate()
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	names := strings.Join(slices.Sorted(maps.Keys(regions())), ", ")
	switch _, known := region(c.Region); {
	case c.Region == "" && c.BaseURL == "":
		bad("region: missing; one of %s, or base_url with token_url", names)
	case c.Region != "" && !known:
		bad("region: %q is none of %s", c.Region, names)
	case c.Region != "" && c.BaseURL != "":
		bad("base_url: contradicts region; keep one of them")
	case c.BaseURL != "" && c.TokenURL == "":
		bad("token_url: missing; it cannot be guessed from base_url and is the whole URL, such as https://idp.callminer.net/connect/token")
	}
	for _, u := range []struct{ key, value string }{{"base_url", c.BaseURL}, {"token_url", c.TokenURL}} {
		if u.value != "" {
			if _, err := senders.CheckURL(u.key, u.value, c.AllowHTTP); err != nil {
				errs = append(errs, err)
			}
		}
	}
	if c.ClientID == "" {
		bad("client_id: missing; CallMiner's support issues it")
	}
	if c.ClientSecret.IsZero() {
		bad("client_secret: missing; a reference such as %q", "cred:callminer")
	}
	if c.SourceID == "" && c.Fields[fieldSourceID] == "" {
		bad("source_id: missing; the name of an ingestion source of the tenant")
	}
	for _, key := range []string{"TotalMediaLength", "MediaType", "CorrelationId", "Metadata", "AudioDecryptionKey", "AdditionalMedia"} {
		if _, ok := c.Fields[key]; ok {
			errs = append(errs, errors.New("fields."+key+": cannot be set here; it is decided by ingestd or never sent (for CorrelationId there is correlation_id)"))
		}
	}
	return errs
}
