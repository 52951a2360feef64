package senders

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestClassify(t *testing.T) {
	lost := io.ErrUnexpectedEOF
	for _, c := range []struct {
		name string
		a    Answer
		want Class
		code string
	}{
		{"refused connection", Answer{Err: lost}, NotSent, "not_connected"},
		{"cancelled early", Answer{Err: context.Canceled}, NotSent, "cancelled"},
		{"lost before the gate", Answer{Err: lost, Connected: true, Sent: 5}, Incomplete, "connection_lost"},
		{"cancelled before the gate", Answer{Err: context.Canceled, Connected: true}, Incomplete, "cancelled"},
		{"lost after the gate", Answer{Err: lost, Connected: true, Passed: true}, InDoubt, "no_answer"},
		{"cancelled after the gate", Answer{Err: context.Canceled, Connected: true, Passed: true}, InDoubt, "no_answer"},
		{"2xx without evidence, after", Answer{Status: 200, Passed: true}, InDoubt, "bad_answer"},
		{"2xx without evidence, before", Answer{Status: 201}, Refused, "bad_answer"},
		{"101", Answer{Status: 101, Passed: true}, InDoubt, "unexpected_status"},
		{"redirect", Answer{Status: 307}, Held, "unexpected_redirect"},
		{"304 after the gate", Answer{Status: 304, Passed: true}, Held, "unexpected_redirect"},
		{"401 after the gate", Answer{Status: 401, Passed: true}, Auth, "auth"},
		{"403", Answer{Status: 403}, Auth, "forbidden"},
		{"404 after the gate", Answer{Status: 404, Passed: true}, Refused, "not_found"},
		{"408 before", Answer{Status: 408}, Refused, "vendor_error"},
		{"408 after", Answer{Status: 408, Passed: true}, InDoubt, "vendor_error"},
		{"425 after", Answer{Status: 425, Passed: true}, InDoubt, "vendor_error"},
		{"499 after", Answer{Status: 499, Passed: true}, InDoubt, "vendor_error"},
		{"409", Answer{Status: 409, Passed: true}, Rejected, "vendor_refused"},
		{"413", Answer{Status: 413}, Rejected, "too_large"},
		{"415 after", Answer{Status: 415, Passed: true}, Rejected, "unsupported_format"},
		{"422", Answer{Status: 422}, Rejected, "vendor_refused"},
		{"429 after", Answer{Status: 429, Passed: true}, RateLimited, "rate_limited"},
		{"500 before", Answer{Status: 500}, Refused, "vendor_error"},
		{"502 after", Answer{Status: 502, Passed: true}, InDoubt, "vendor_error"},
		{"999 after", Answer{Status: 999, Passed: true}, InDoubt, "vendor_error"},
	} {
		e := Classify(c.a, time.Now())
		if e.Class != c.want || e.Code != c.code || e.Text == "" || e.HTTPStatus != c.a.Status || e.Bytes != c.a.Sent {
			t.Errorf("%s: %+v, want %s %s", c.name, e, c.want, c.code)
		}
		if c.a.Err != nil && !errors.Is(e, c.a.Err) {
			t.Errorf("%s: the cause is lost", c.name)
		}
	}
	now := time.Now()
	if e := Classify(Answer{Status: 503, Header: http.Header{"Retry-After": {"7"}}}, now); e.RetryAfter != 7*time.Second {
		t.Errorf("Retry-After: %v", e.RetryAfter)
	}
	if s := Classify(Answer{Status: 415}, now).Error(); !strings.HasPrefix(s, "unsupported_format: ") || !strings.HasSuffix(s, "(HTTP 415)") {
		t.Error(s)
	}
}
