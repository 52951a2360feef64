package behavioralsignals

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"ingestd/internal/senders"
)

// The vendor's two API generations: Config.API.
const (
	APIv5     = "v5"
	APILegacy = "legacy"
)

// v5URL is the vendor's own (its SDK, configuration.py).
const v5URL = "https://api.behavioralsignals.com/v5"

// defaultRate stays well below what the vendor's command line for the legacy
// API allows itself per route (47 a second); v5 documents no limit.
var defaultRate = senders.Rate{Count: 20, Per: time.Second}

// Config is the table of a destination with type = "behavioralsignals".
type Config struct {
	senders.Common

	API     string         `toml:"api"`
	BaseURL string         `toml:"base_url"` // v5: with its /v5; legacy: the "apiurl" that the vendor issued
	Client  string         `toml:"client"`   // project id, the vendor's "cid"
	Token   senders.Secret `toml:"token"`
}

// DefaultConfig is what the table is decoded over.
func DefaultConfig() Config {
	return Config{Common: senders.DefaultCommon(defaultRate)}
}

var clientID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// base is where requests go.
func (c *Config) base() string {
	if c.BaseURL == "" && c.API == APIv5 {
		return v5URL
	}
	return strings.TrimRight(c.BaseURL, "/")
}

// Validate returns every defect; each text begins with the key.
func (c *Config) Validate() []error {
	errs := c.Common.Validate()
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	switch c.API {
	case APIv5, APILegacy:
	case "":
		bad("api: missing; %q, or %q for a tenant that has no v5 (there, a lost answer cannot be looked up)", APIv5, APILegacy)
	default:
		bad("api: %q is none of %s, %s", c.API, APIv5, APILegacy)
	}
	if c.BaseURL == "" && c.API == APILegacy {
		bad("base_url: missing; the address that Behavioral Signals issued for the legacy API (its \"apiurl\")")
	}
	if c.BaseURL != "" {
		u, err := senders.CheckURL("base_url", c.BaseURL, c.AllowHTTP)
		switch {
		case err != nil:
			errs = append(errs, err)
		case c.API == APIv5 && !strings.HasSuffix(strings.TrimRight(u.Path, "/"), "/v5"):
			// Other branches of the same host take the same uploads.
			bad("base_url: must end in /v5, such as %s", v5URL)
		}
	}
	if !clientID.MatchString(c.Client) {
		bad("client: must be the project id (cid) from the vendor's portal, letters and digits")
	}
	if c.Token.IsZero() {
		bad("token: missing; a reference such as %q", "cred:behavioralsignals")
	}
	for _, key := range sortedKeys(c.Fields) {
		if why := c.refusesField(key); why != "" {
			bad("fields.%s: %s", key, why)
		}
	}
	return errs
}

// refusesField says why a name cannot stand in [destination.fields].
func (c *Config) refusesField(key string) string {
	switch {
	case key == "file" || key == "cid" || key == fieldKey:
		return "is decided by ingestd"
	case c.API == APIv5 && key == "meta":
		return "cannot be set as a whole; every other name here is a member of it"
	case c.API == APILegacy && !slices.Contains(legacyFields(), key):
		return "the legacy API has no such parameter; it has " + strings.Join(legacyFields(), ", ")
	}
	return ""
}
