package authenticx

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"ingestd/internal/senders"
)

// maxBytes is the vendor's limit of 2.5 GB for one file (documentation, media
// upload format limitations).
const maxBytes = 2_500_000_000

// scope of the token.
const scope = "acxapi"

// Config is the table of a destination with type = "authenticx".
type Config struct {
	senders.Common

	Environment string `toml:"environment"` // production (default), staging
	BaseURL     string `toml:"base_url"`
	TokenURL    string `toml:"token_url"` // whole, with its path

	ClientID     string         `toml:"client_id"`
	ClientSecret senders.Secret `toml:"client_secret"`

	FileNamePrefix string `toml:"file_name_prefix"` // folder before every FileName
}

// DefaultConfig is what the table is decoded over. The vendor publishes no
// request limit; a 429 makes the destination wait.
func DefaultConfig() Config {
	return Config{Common: senders.DefaultCommon(senders.Rate{Unlimited: true})}
}

// environments are the vendor's two hosts. The one printed on its reference
// page is staging; a client of one gets no token from the other.
func environments() map[string]string {
	return map[string]string{
		"production": "https://api.beauthenticx.com",
		"staging":    "https://api.authcx.com",
	}
}

// urls returns where requests go: the environment's, or what stands in its
// place.
func (c *Config) urls() (base, token string) {
	base = c.BaseURL
	if base == "" {
		env := c.Environment
		if env == "" {
			env = "production"
		}
		base = environments()[env]
	}
	base = strings.TrimRight(base, "/")
	if token = c.TokenURL; token == "" {
		token = base + "/connect/token"
	}
	return base, token
}

// folder is what a prefix may look like; the vendor names no characters.
var folder = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$`)

const maxPrefix = 128 // bytes

// Validate returns every defect; each text begins with the key.
func (c *Config) Validate() []error {
	errs := c.Common.Validate()
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	_, known := environments()[c.Environment]
	switch {
	case c.Environment != "" && !known:
		bad("environment: %q is none of %s", c.Environment, strings.Join(slices.Sorted(maps.Keys(environments())), ", "))
	case c.Environment != "" && c.BaseURL != "":
		bad("base_url: contradicts environment; keep one of them")
	case c.BaseURL != "" && c.TokenURL == "":
		bad("token_url: missing; it is not guessed from base_url and is the whole URL, such as https://api.beauthenticx.com/connect/token")
	}
	for _, u := range []struct{ key, value string }{{"base_url", c.BaseURL}, {"token_url", c.TokenURL}} {
		if u.value != "" {
			if _, err := senders.CheckURL(u.key, u.value, c.AllowHTTP); err != nil {
				errs = append(errs, err)
			}
		}
	}
	if c.ClientID == "" {
		bad("client_id: missing; AuthenticX issues it")
	}
	if c.ClientSecret.IsZero() {
		bad("client_secret: missing; a reference such as %q", "cred:authenticx")
	}
	if p := c.FileNamePrefix; p != "" && (len(p) > maxPrefix || !folder.MatchString(p)) {
		bad("file_name_prefix: must be folders of letters, digits, dots, dashes and underscores, as in %q", "acme/recordings")
	}
	for _, key := range []string{"FileName", "UploadType", "ExtendedMetadata", "ExtendedMetadataValues", "signedUrl"} {
		if _, ok := c.Fields[key]; ok {
			errs = append(errs, errors.New("fields."+key+": cannot be set here; it is decided by ingestd or never sent (extended values have names of their own)"))
		}
	}
	return errs
}
