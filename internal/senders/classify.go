package senders

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Answer is everything one request came to. Exactly one of Status and Err is
// set: a Status is a complete response head.
type Answer struct {
	Status  int
	Header  http.Header
	Body    []byte // at most 1 MiB
	BodyErr error  // the body was cut short, too long or too slow
	Err     error  // no complete response head; already redacted

	// Connected: a connection was there, so bytes may have left.
	Connected bool
	// Passed: what the request can cause may have been caused. For media it
	// means that the gate let the tail go. A declare whose loss is harmless
	// leaves it false.
	Passed bool
	// Sent counts the body bytes handed to the transport.
	Sent int64
}

// Classify turns an answer that is not the vendor's success into an error. A
// 2xx that comes here is one whose evidence the vendor's sender did not
// accept. Vendors decide first on statuses that mean something special to
// them (a duplicate text, a 403 of object storage); this is the common rest.
func Classify(a Answer, now time.Time) *Error {
	e := &Error{HTTPStatus: a.Status, Bytes: a.Sent, Err: a.Err}
	e.Class, e.Code, e.Text = classify(a)
	if a.Status != 0 {
		if d, ok := ParseRetryAfter(a.Header.Get("Retry-After"), now); ok {
			e.RetryAfter = d
		}
	}
	return e
}

func classify(a Answer) (Class, string, string) {
	s := a.Status
	switch {
	case s == 0 && !a.Connected && errors.Is(a.Err, context.Canceled):
		return NotSent, "cancelled", "stopped before anything was sent"
	case s == 0 && !a.Passed && errors.Is(a.Err, context.Canceled):
		return Incomplete, "cancelled", "stopped before the vendor could have the whole request"
	case s == 0 && !a.Connected:
		return NotSent, "not_connected", "the vendor could not be reached; name resolution, network or TLS failed before anything was sent"
	case s == 0 && !a.Passed:
		return Incomplete, "connection_lost", "the connection failed before the vendor could have the whole request"
	case s == 0:
		return InDoubt, "no_answer", "the whole recording may have arrived but no answer came back"
	case s < 200:
		return unclear(a, "unexpected_status", "the vendor gave an answer that ends nothing")
	case s < 300:
		return unclear(a, "bad_answer", "the vendor's success answer could not be understood; a proxy or a login page may stand in between")
	case s < 400:
		return Held, "unexpected_redirect", "the vendor answered with a redirect, which is never followed; check the configured URL"
	case s == http.StatusUnauthorized:
		return Auth, "auth", "the vendor refused the credentials; check the destination's client id, secret or token"
	case s == http.StatusForbidden:
		return Auth, CodeForbidden, "the credentials are valid but may not do this; ask the vendor to grant access"
	case s == http.StatusTooManyRequests:
		return RateLimited, "rate_limited", "the vendor's request limit is reached; lower the destination's rate if this repeats"
	case s == http.StatusNotFound:
		return Refused, "not_found", "the vendor does not know the address or the id of this request; step 1 is repeated"
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s == 499, s >= 500:
		return unclear(a, "vendor_error", "the vendor or a gateway before it had a fault")
	case s == http.StatusRequestEntityTooLarge:
		return Rejected, "too_large", "the vendor refused the recording as too large"
	case s == http.StatusUnsupportedMediaType:
		return Rejected, "unsupported_format", "the vendor refused the media format"
	default:
		return Rejected, "vendor_refused", "the vendor refused the request; its content must change before it is sent again"
	}
}

// unclear is a status that proves nothing about the bytes: a doubt, but
// harmless while the tail was withheld, because no correct vendor acts on a
// body shorter than its Content-Length. That holds for an early 2xx too.
func unclear(a Answer, code, text string) (Class, string, string) {
	if a.Passed {
		return InDoubt, code, text + "; whether it holds the recording is unknown"
	}
	return Refused, code, text + "; nothing whole was sent, so the step is repeated"
}
