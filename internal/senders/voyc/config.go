package voyc

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"ingestd/internal/senders"
)

// defaultRate: the vendor names no limit. This keeps a backlog from being a
// flood, and no contact centre records faster.
var defaultRate = senders.Rate{Count: 10, Per: time.Second}

// storageHost ends the hosts of S3. Voyc's guide to the upload API v2 calls
// what step 1 answers a "secure S3 upload token", and names no bucket.
const storageHost = "amazonaws.com"

// Config is the table of a destination with type = "voyc".
type Config struct {
	senders.Common

	BaseURL        string         `toml:"base_url"`
	OrganisationID string         `toml:"organisation_id"`
	Token          senders.Secret `toml:"token"`
	ChannelID      string         `toml:"channel_id"` // an id, or an expression: see ChannelExpression
	ExtraKeys      bool           `toml:"extra_keys"` // send keys beyond the reserved ones
	// UploadHosts are the hosts, each with all below it, that an answer of
	// step 1 may send recordings to. Not asked in a rehearsal.
	UploadHosts []string `toml:"upload_hosts"`
}

// DefaultConfig is what the table is decoded over.
func DefaultConfig() Config {
	return Config{Common: senders.DefaultCommon(defaultRate), ExtraKeys: true, UploadHosts: []string{storageHost}}
}

var (
	plainID        = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	extraKey       = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,63}$`)
	reservedFields = []string{fieldChannel, fieldDate, fieldTime, fieldAgent, fieldDirection, fieldLanguage, fieldSpeakers}
)

// ChannelExpression returns channel_id when it is an expression, and "" when
// it is an id: letters, digits, dashes and underscores only.
func (c *Config) ChannelExpression() string {
	if plainID.MatchString(c.ChannelID) {
		return ""
	}
	return c.ChannelID
}

// Validate returns every defect; each text begins with the key.
func (c *Config) Validate() []error {
	errs := c.Common.Validate()
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.BaseURL == "" {
		bad(`base_url: missing; "https://api." and the host of your login page, as in https://api.app.voyc.ai`)
	} else if _, err := senders.CheckURL("base_url", c.BaseURL, c.AllowHTTP); err != nil {
		errs = append(errs, err)
	}
	switch {
	case c.OrganisationID == "":
		bad("organisation_id: missing; Voyc's support names it")
	case !plainID.MatchString(c.OrganisationID):
		bad("organisation_id: must be at most 64 letters, digits, dashes or underscores")
	}
	if c.Token.IsZero() {
		bad("token: missing; a reference such as %q", "cred:voyc")
	}
	if _, set := c.Fields[fieldChannel]; c.ChannelID == "" && !set {
		bad("channel_id: missing; the id of a channel, or an expression that gives one")
	} else if c.ChannelID != "" && set {
		errs = append(errs, errors.New("fields.channel_id: contradicts channel_id; keep one of them"))
	}
	if len(c.UploadHosts) == 0 {
		bad("upload_hosts: names no host; leave the key out for %q", storageHost)
	}
	for _, host := range c.UploadHosts {
		if plainHost(host) == "" {
			bad("upload_hosts: %q is no host name; write the end of one, such as %q", host, "bucket.s3.eu-west-1.amazonaws.com")
		}
	}
	for key := range c.Fields {
		switch {
		case isReserved(key):
		case !c.ExtraKeys:
			bad("fields.%s: is no reserved key, and extra_keys = false sends only those", key)
		case !extraKey.MatchString(key):
			bad("fields.%s: an extra key must begin with a letter and have at most 64 letters, digits, dots, dashes or underscores", key)
		}
	}
	return errs
}

func (c *Config) uploadDataURL() string {
	// The trailing slash belongs to the path; without it the server redirects.
	return strings.TrimRight(c.BaseURL, "/") + "/api/v2/workspace/" + c.OrganisationID + "/conversation/upload_data/"
}
