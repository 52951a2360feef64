package senders

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that is configured as text with a unit.
type Duration time.Duration

// UnmarshalText refuses a number without a unit (which would be nanoseconds)
// and negative values.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	switch {
	case err != nil || !strings.ContainsAny(string(text), "hmsµμn"):
		return fmt.Errorf("%q is not a duration; write a number with a unit, as in %q or %q", text, "10s", "72h")
	case v < 0:
		return fmt.Errorf("%q is negative", text)
	}
	*d = Duration(v)
	return nil
}

func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
func (d Duration) String() string               { return time.Duration(d).String() }

// Rate is a request limit: Count requests per Per. The zero value is "not
// set"; Unlimited is said out loud.
type Rate struct {
	Count     int
	Per       time.Duration
	Unlimited bool
}

// UnmarshalText parses "200/min", "10/s", "5000/h" and "unlimited".
func (r *Rate) UnmarshalText(text []byte) error {
	if string(text) == "unlimited" {
		*r = Rate{Unlimited: true}
		return nil
	}
	count, unit, _ := strings.Cut(string(text), "/")
	n, err := strconv.Atoi(count)
	per := map[string]time.Duration{"s": time.Second, "min": time.Minute, "h": time.Hour}[unit]
	if err != nil || n < 1 || n > 1_000_000 || per == 0 {
		return fmt.Errorf("%q is not a rate; write %q, %q, %q or %q", text, "200/min", "10/s", "5000/h", "unlimited")
	}
	*r = Rate{Count: n, Per: per}
	return nil
}

func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

func (r Rate) String() string {
	if r.Unlimited {
		return "unlimited"
	}
	unit := map[time.Duration]string{time.Second: "s", time.Minute: "min", time.Hour: "h"}[r.Per]
	if unit == "" {
		unit = r.Per.String()
	}
	return strconv.Itoa(r.Count) + "/" + unit
}

// What becomes of a delivery in doubt.
const (
	OnDoubtAuto   = "auto"   // the vendor's oracle or its duplicate refusal decides
	OnDoubtHold   = "hold"   // a person decides
	OnDoubtResend = "resend" // at least once, said out loud
)

// Common holds the configuration keys of every destination. Vendors embed it.
type Common struct {
	Name        string            `toml:"name"`
	Type        string            `toml:"type"`
	Rate        Rate              `toml:"rate"`
	Workers     int               `toml:"workers"`
	OnDoubt     string            `toml:"on_doubt"`
	DoubtSettle Duration          `toml:"doubt_settle"`
	Retry       RetryConfig       `toml:"retry"`
	Fields      map[string]string `toml:"fields"` // vendor field -> expression
	AllowHTTP   bool              `toml:"allow_http"`
}

// DefaultCommon is what a destination has before its table is decoded over
// it; rate is the vendor's documented limit.
func DefaultCommon(rate Rate) Common {
	return Common{
		Rate: rate, Workers: 8, OnDoubt: OnDoubtAuto,
		DoubtSettle: Duration(10 * time.Minute), Retry: DefaultRetry(),
	}
}

var destinationName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Validate returns every defect; each text begins with the key.
func (c *Common) Validate() []error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !destinationName.MatchString(c.Name) {
		bad("name: %q must be 1 to 64 letters, digits, dots, dashes or underscores", c.Name)
	}
	if !c.Rate.Unlimited && (c.Rate.Count < 1 || c.Rate.Per <= 0) {
		bad("rate: missing; write %q or %q", "200/min", "unlimited")
	}
	if c.Workers < 1 || c.Workers > 256 {
		bad("workers: %d is outside 1 to 256", c.Workers)
	}
	switch c.OnDoubt {
	case OnDoubtAuto, OnDoubtHold, OnDoubtResend:
	default:
		bad("on_doubt: %q is none of auto, hold, resend", c.OnDoubt)
	}
	if c.DoubtSettle <= 0 {
		bad("doubt_settle: must be above zero")
	}
	return append(errs, c.Retry.Validate()...)
}

// CheckURL parses a configured URL and applies the rule of every destination:
// https, or plain http to a loopback address or with allow_http; a host; no
// credentials, query or fragment. The error begins with the key.
func CheckURL(key, raw string, allowHTTP bool) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, fmt.Errorf("%s: not a whole URL such as https://host/path", key)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return nil, fmt.Errorf("%s: a user, a query or a fragment does not belong into this URL", key)
	case !safeScheme(u, allowHTTP):
		return nil, fmt.Errorf("%s: must be https (plain http only to a loopback address, or with allow_http = true)", key)
	}
	return u, nil
}

func safeScheme(u *url.URL, allowHTTP bool) bool {
	return u.Scheme == "https" || u.Scheme == "http" && (allowHTTP || IsLoopback(u.Hostname()))
}

// IsLoopback reports whether host is "localhost" or a loopback address.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
