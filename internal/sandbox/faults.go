package sandbox

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kind names what a Fault does. "Stored" means the effect of the request
// happened at the vendor, whatever the client was told.
type Kind string

const (
	// Refuse closes the connection before a byte of the body is read.
	Refuse Kind = "refuse"
	// Early answers Status before a byte of the body is read.
	Early Kind = "early"
	// DropMid closes the connection after AfterBytes of the body.
	DropMid Kind = "drop_mid"
	// Stall reads AfterBytes of the body and then nothing until Delay (default
	// 1 h) has passed or the sandbox ends (Close, or Serve's context); then it
	// closes. What the client does meanwhile shows only to a reader, so a
	// client that leaves is not noticed before that.
	Stall Kind = "stall"
	// DropLost reads the whole body, stores nothing and closes in silence.
	DropLost Kind = "drop_lost"
	// Status reads the whole body, stores nothing and answers Status.
	Status Kind = "status"
	// DropStored stores and closes in silence. The client cannot tell it from
	// DropLost.
	DropStored Kind = "drop_stored"
	// StatusStored stores and answers Status: 500 or 504 after accepting.
	StatusStored Kind = "status_stored"
	// StatusLate answers Status at once and stores only after Delay: a proxy
	// that gave up on a vendor that did not. Media only.
	StatusLate Kind = "status_late"
	// Slow does everything right, with Delay before the answer and the body
	// read at BytesPerSecond. (Both may be set with every other kind too.)
	Slow Kind = "slow"
	// ShortLength stores and reports fewer bytes than arrived. Media only.
	ShortLength Kind = "short_length"
	// BrokenJSON stores and answers 2xx with a whole message of half a JSON.
	BrokenJSON Kind = "broken_json"
	// OtherJSON stores and answers 2xx with JSON of another shape.
	OtherJSON Kind = "other_json"
	// HTML stores and answers 2xx with a login page, as a proxy would.
	HTML Kind = "html"
	// Empty stores and answers 2xx without a body.
	Empty Kind = "empty"
	// Truncated stores and closes in the middle of the answer's JSON.
	Truncated Kind = "truncated"
	// IDOther stores and answers with an id that belongs to another session or
	// contact (or to none, when there is no other).
	IDOther Kind = "id_other"
	// IDHuge stores and answers with an id of 1 MiB.
	IDHuge Kind = "id_huge"
	// IDPath stores and answers with an id that climbs directories.
	IDPath Kind = "id_path"
	// IDCRLF stores and answers with an id that holds a header injection.
	IDCRLF Kind = "id_crlf"
	// CorrelationOther stores and answers with a CorrelationId that was not
	// sent. Session only.
	CorrelationOther Kind = "correlation_other"
	// ExpireToken answers well and ends the token of the request, so that the
	// next step meets 401.
	ExpireToken Kind = "expire_token"
)

// Routes a fault can name.
const (
	RouteToken    = "token"
	RouteConfig   = "config"   // list of metadata columns
	RouteSession  = "session"  // both ways to open a session
	RouteDeclare  = "declare"  // step 1 of a vendor that has no sessions
	RouteMedia    = "media"    // the bytes
	RouteMetadata = "metadata" // later change of metadata
	RouteStatus   = "status"   // what became of one recording
	RouteList     = "list"     // what the vendor holds
)

// Fault is one switched-on misbehaviour. It meets only requests that would
// otherwise have succeeded, so a count is never used up by a client's mistake.
// Small JSON bodies are always read before a fault is chosen.
type Fault struct {
	Kind Kind `json:"kind"`
	// Route the fault is for; "" is every route.
	Route string `json:"route,omitempty"`
	// CorrelationID limits the fault to one recording, by the client's key of
	// it (CallMiner's CorrelationId, a file name, ...); "" is any.
	CorrelationID string `json:"correlation_id,omitempty"`

	// Of the requests that match, Skip pass first; of the rest only every
	// Every-th is met, and at most First are. Zero means no such bound, so the
	// zero values of all three are "for ever".
	Skip  int64 `json:"skip,omitempty"`
	First int64 `json:"first,omitempty"`
	Every int64 `json:"every,omitempty"`

	// Status of Early, Status, StatusStored, StatusLate.
	Status int `json:"status,omitempty"`
	// RetryAfter is the Retry-After header of that answer, sent as it is.
	RetryAfter string `json:"retry_after,omitempty"`
	// Location is the Location header of that answer, for a 3xx.
	Location string `json:"location,omitempty"`
	// AfterBytes of the body before DropMid and Stall act; at most one less
	// than the body has.
	AfterBytes int64 `json:"after_bytes,omitempty"`
	// Delay before the answer or the silent end.
	Delay Duration `json:"delay,omitempty"`
	// BytesPerSecond at which a media body is read; 0 is full speed.
	BytesPerSecond int64 `json:"bytes_per_second,omitempty"`
	// ShortBy is how many bytes ShortLength takes off; 0 is 1.
	ShortBy int64 `json:"short_by,omitempty"`
	// Reset ends a closed connection with a TCP reset where the connection
	// has one, instead of an orderly end.
	Reset bool `json:"reset,omitempty"`
}

// Duration is a time.Duration that reads and prints as text ("1m30s").
type Duration time.Duration

// MarshalText prints the duration as package time does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration reads; bare numbers are refused.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("duration %q: write a number with a unit, as in \"90s\"", text)
	}
	*d = Duration(v)
	return nil
}

// bound lists the kinds that make sense on some routes only.
func (k Kind) bound() []string {
	switch k {
	case StatusLate, ShortLength:
		return []string{RouteMedia}
	case CorrelationOther:
		return []string{RouteSession, RouteDeclare}
	case IDOther, IDHuge, IDPath, IDCRLF:
		return []string{RouteSession, RouteDeclare, RouteMedia}
	case ExpireToken:
		return []string{RouteConfig, RouteSession, RouteDeclare, RouteMedia, RouteMetadata, RouteStatus, RouteList}
	}
	return nil
}

// Kinds returns every kind of fault.
func Kinds() []Kind {
	return []Kind{
		Refuse, Early, DropMid, Stall, DropLost, Status, DropStored, StatusStored, StatusLate,
		Slow, ShortLength, BrokenJSON, OtherJSON, HTML, Empty, Truncated,
		IDOther, IDHuge, IDPath, IDCRLF, CorrelationOther, ExpireToken,
	}
}

// KindNames lists every kind of fault in words.
func KindNames() string {
	var names []string
	for _, k := range Kinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

// answersStatus reports whether the kind answers the fault's Status.
func (k Kind) answersStatus() bool {
	return k == Early || k == Status || k == StatusStored || k == StatusLate
}

// validate reports everything that is wrong with the fault at a vendor that
// has the given routes.
func (f Fault) validate(routes []string) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !slices.Contains(Kinds(), f.Kind) {
		bad("kind %q is not one of %s", f.Kind, KindNames())
	}
	if f.Route != "" && !slices.Contains(routes, f.Route) {
		bad("route %q is not one of %s", f.Route, strings.Join(routes, ", "))
	}
	if b := f.Kind.bound(); b != nil && !slices.Contains(b, f.Route) {
		b = slices.DeleteFunc(b, func(route string) bool { return !slices.Contains(routes, route) })
		bad("kind %q needs route %s", f.Kind, strings.Join(b, " or "))
	}
	if f.Kind.answersStatus() && (f.Status < 200 || f.Status > 599) {
		bad("kind %q needs a status from 200 to 599, not %d", f.Kind, f.Status)
	}
	if !f.Kind.answersStatus() && (f.Status != 0 || f.RetryAfter != "" || f.Location != "") {
		bad("kind %q has no status, retry_after or location", f.Kind)
	}
	for name, v := range map[string]int64{
		"skip": f.Skip, "first": f.First, "every": f.Every, "after_bytes": f.AfterBytes,
		"delay": int64(f.Delay), "bytes_per_second": f.BytesPerSecond, "short_by": f.ShortBy,
	} {
		if v < 0 {
			bad("%s is below zero", name)
		}
	}
	return errors.Join(errs...)
}
