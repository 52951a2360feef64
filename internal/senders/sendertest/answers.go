package sendertest

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"ingestd/internal/senders"
)

// commonStatus is what a status proves while the tail is withheld; doubtful
// lists those that prove nothing once it is out.
func commonStatus() map[int]senders.Class {
	return map[int]senders.Class{
		301: senders.Held, 302: senders.Held, 303: senders.Held, 307: senders.Held, 308: senders.Held,
		400: senders.Rejected, 401: senders.Auth, 403: senders.Auth, 404: senders.Refused,
		408: senders.Refused, 409: senders.Rejected, 413: senders.Rejected, 415: senders.Rejected,
		418: senders.Rejected, 422: senders.Rejected, 425: senders.Refused, 429: senders.RateLimited,
		499: senders.Refused, 500: senders.Refused, 502: senders.Refused, 503: senders.Refused, 504: senders.Refused,
	}
}

var doubtful = []int{408, 425, 499, 500, 502, 503, 504}

func wantStatus(s Step, status int, passed bool) senders.Class {
	if class, ok := s.Early[status]; ok && !passed {
		return class
	}
	if class, ok := s.Status[status]; ok {
		return class
	}
	if passed && slices.Contains(doubtful, status) {
		return senders.InDoubt
	}
	return commonStatus()[status]
}

func always(reply Reply) Fault {
	return Fault{Reply: func(Request) Reply { return reply }}
}

// echo is an error answer of a vendor that repeats what it was sent.
func echo(status int, header map[string]string) func(Request) Reply {
	return func(r Request) Reply {
		body := fmt.Sprintf(`{"error":%q,"auth":%q,"query":%q,"body":%q}`, Phone+" "+AgentName+" "+Secret, r.Header.Get("Authorization")+r.Header.Get("X-Auth-Token"), r.Query, r.Body[:min(len(r.Body), 2000)])
		return Reply{Status: status, Header: header, Body: []byte(body)}
	}
}

func runStatus(t *testing.T, newHarness func(*testing.T) Harness) {
	for _, step := range newHarness(t).Steps {
		if step.Phase == Token || step.Phase == Ask {
			continue // their own groups
		}
		for status := range commonStatus() {
			t.Run(fmt.Sprintf("%s answers %d", step.Name, status), func(t *testing.T) {
				r := newRig(t, newHarness)
				header := map[string]string{"Location": r.vendor.base + "/elsewhere", "Set-Cookie": "a=b"}
				r.vendor.on(step.Name, 0, Fault{Reply: echo(status, header)})
				e := r.fails(wantStatus(step, status, step.Phase == Upload))
				if e.HTTPStatus != status {
					t.Fatalf("status %d in the error, want %d", e.HTTPStatus, status)
				}
				r.vendor.settle()
				if n := len(r.vendor.seen("unknown")); n != 0 {
					t.Fatal("the redirect was followed")
				}
				if max := map[bool]int{true: 2, false: 1}[status == 401]; len(r.vendor.seen(step.Name)) > max {
					t.Fatalf("%d requests in one attempt", len(r.vendor.seen(step.Name)))
				}
			})
			if step.Phase != Upload {
				continue
			}
			t.Run(fmt.Sprintf("%s answers %d before the body", step.Name, status), func(t *testing.T) {
				r := newRig(t, newHarness)
				r.vendor.on(step.Name, 0, Fault{Early: true, Reply: echo(status, map[string]string{"Location": "/elsewhere"})})
				if e := r.fails(wantStatus(step, status, false)); e.Bytes != 0 {
					t.Fatalf("%d bytes were sent although the answer came first", e.Bytes)
				}
				if r.trace.has("journal committing") {
					t.Fatal("the gate opened for an attempt that was answered")
				}
			})
		}
		t.Run(step.Name+" Retry-After", func(t *testing.T) { retryAfter(t, newHarness, step) })
	}
}

func retryAfter(t *testing.T, newHarness func(*testing.T) Harness, step Step) {
	for header, want := range map[string][2]time.Duration{
		"7":             {7 * time.Second, 7 * time.Second},
		"-1":            {time.Second, time.Second},
		"1000000000000": {time.Hour, time.Hour},
		"soon":          {0, time.Hour},
		time.Now().UTC().Add(30 * time.Minute).Format(http.TimeFormat): {29 * time.Minute, 30 * time.Minute},
		"Mon, 02 Jan 2006 15:04:05 GMT":                                {time.Second, time.Second},
	} {
		r := newRig(t, newHarness)
		r.vendor.on(step.Name, 0, always(Reply{Status: 429, Header: map[string]string{"Retry-After": header}}))
		if e := r.fails(senders.RateLimited); e.RetryAfter < want[0] || e.RetryAfter > want[1] {
			t.Fatalf("Retry-After %q became %v, want %v", header, e.RetryAfter, want)
		}
	}
}

func runAnswers(t *testing.T, newHarness func(*testing.T) Harness) {
	for _, step := range newHarness(t).Steps {
		if step.Phase == Token || step.Phase == Ask {
			continue
		}
		unclear, lost := []senders.Class{senders.Refused}, []senders.Class{senders.Refused, senders.Incomplete}
		if step.Phase == Upload {
			unclear, lost = []senders.Class{senders.InDoubt}, []senders.Class{senders.InDoubt}
		}
		if class, ok := step.Status[0]; ok {
			lost = []senders.Class{class}
		}
		if class, ok := step.Status[200]; ok {
			unclear = []senders.Class{class}
		}
		if step.Phase == Upload {
			t.Run(step.Name+": success before the body", func(t *testing.T) {
				r := newRig(t, newHarness)
				r.vendor.on(step.Name, 0, Fault{Early: true, Reply: func(q Request) Reply { return step.OK(q, 1) }})
				r.fails(senders.Refused, senders.Held) // what it speaks of cannot be the recording
				r.neverWhole()
			})
		}
		for name, f := range unreadable(statusOf(step)) {
			t.Run(step.Name+": "+name, func(t *testing.T) {
				r := newRig(t, newHarness)
				r.vendor.on(step.Name, 0, f)
				if step.NoBody && (name == "empty" || name == "empty object") {
					r.delivers()
					return
				}
				r.fails(unclear...)
			})
		}
		for name, f := range broken() {
			t.Run(step.Name+": "+name, func(t *testing.T) {
				r := newRig(t, newHarness)
				r.vendor.on(step.Name, 0, f)
				r.fails(lost...)
			})
		}
		for name, reply := range step.Unproven {
			t.Run(step.Name+" without evidence: "+name, func(t *testing.T) {
				r := newRig(t, newHarness)
				r.vendor.on(step.Name, 0, Fault{Reply: reply})
				r.fails(unclear...)
			})
		}
		for name, reply := range step.Refusals {
			t.Run(step.Name+" says that nothing was taken: "+name, func(t *testing.T) {
				r := newRig(t, newHarness)
				r.vendor.on(step.Name, 0, Fault{Reply: reply})
				r.fails(senders.Refused)
			})
		}
		for name, reply := range step.Foreign {
			t.Run(step.Name+" names something else: "+name, func(t *testing.T) {
				r := newRig(t, newHarness)
				r.vendor.on(step.Name, 0, Fault{Reply: reply})
				r.fails(senders.Held)
				if step.Phase == Declare && r.trace.has("journal sending") {
					t.Fatal("media was sent after an answer that cannot be trusted")
				}
			})
		}
	}
}

// unreadable are success statuses whose body says nothing usable.
func unreadable(status int) map[string]Fault {
	html := Reply{Status: status, Header: map[string]string{"Content-Type": "text/html"}, Body: []byte("<html>Please log in " + Phone + "</html>")}
	return map[string]Fault{
		"html":              always(html),
		"empty":             always(Reply{Status: status}),
		"empty object":      always(JSON(status, "{}")),
		"an array":          always(JSON(status, "[]")),
		"null":              always(JSON(status, "null")),
		"an error":          always(JSON(status, `{"error":"`+Phone+`"}`)),
		"cut short":         always(Reply{Raw: []byte(fmt.Sprintf("HTTP/1.1 %d OK\r\nContent-Length: 500\r\n\r\n{\"Cor", status))}),
		"longer than 1 MiB": always(Reply{Status: status, Body: append(append([]byte(`{"x":"`), bytes.Repeat([]byte("a"), 2<<20)...), `"}`...)}),
		"claimed gzip":      always(Reply{Status: status, Header: map[string]string{"Content-Encoding": "gzip"}, Body: []byte("\x1f\x8b\x08\x00")}),
	}
}

// broken are exchanges without a complete response head.
func broken() map[string]Fault {
	return map[string]Fault{
		"no answer":   {Drop: true},
		"half a head": always(Reply{Raw: []byte("HTTP/1.1 20")}),
		"not HTTP":    always(Reply{Raw: []byte("+OK " + Phone + " " + Secret + "\r\n\r\n")}),
		"bad header":  always(Reply{Raw: []byte("HTTP/1.1 200 OK\r\n" + Phone + " " + Secret + "\r\n\r\n")}),
		"huge head":   always(Reply{Raw: append([]byte("HTTP/1.1 200 OK\r\nX: "), bytes.Repeat([]byte("h"), 1<<20)...)}),
	}
}
