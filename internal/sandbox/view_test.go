package sandbox_test

import (
	"bufio"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"ingestd/internal/sandbox"

	"github.com/google/go-cmp/cmp"
)

// lines reads a list of the view.
func lines[T any](t *testing.T, l *lab, name string) []T {
	t.Helper()
	a := l.do("GET", "/_sandbox/"+name, nil, nil, 0)
	if a.status != 200 {
		t.Fatalf("%s: %+v", name, a)
	}
	var out []T
	for in := bufio.NewScanner(strings.NewReader(a.body)); in.Scan(); {
		var v T
		if err := json.Unmarshal(in.Bytes(), &v); err != nil {
			t.Fatalf("%s: %q: %v", name, in.Text(), err)
		}
		out = append(out, v)
	}
	return out
}

func TestView(t *testing.T) {
	now := newClock() // wall time only, so that JSON gives back the same
	l := newLab(t, sandbox.Options{Now: now.Now})
	l.send("c-1", []byte("abc"))
	l.send("c-1", []byte("abc"))
	l.media("nope", []byte("abc"))
	l.quiet()
	if d := cmp.Diff(l.c.Contacts(), lines[sandbox.Contact](t, l, "contacts")); d != "" {
		t.Errorf("contacts (-method +view):\n%s", d)
	}
	if d := cmp.Diff(l.c.Sessions(), lines[sandbox.Session](t, l, "sessions")); d != "" {
		t.Errorf("sessions (-method +view):\n%s", d)
	}
	reqs := lines[sandbox.Request](t, l, "requests")
	if d := cmp.Diff(l.c.Requests(), reqs); d != "" {
		t.Errorf("requests (-method +view):\n%s", d)
	}
	if n := len(reqs); n != 6 || reqs[5].Status != 404 || reqs[5].Note == "" || reqs[4].Bytes != 3 ||
		reqs[4].CorrelationID != "c-1" || reqs[4].SessionID == "" || reqs[4].Route != "media" || reqs[4].Method != "POST" {
		t.Errorf("requests = %+v", reqs)
	}
	var sum sandbox.Summary
	if err := json.Unmarshal([]byte(l.do("GET", "/_sandbox/summary", nil, nil, 0).body), &sum); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(l.c.Summary(), sum); d != "" {
		t.Errorf("summary (-method +view):\n%s", d)
	}
	want := map[string]map[string]int64{"token": {"200": 1}, "session": {"200": 2}, "media": {"201": 2, "404": 1}}
	if d := cmp.Diff(want, sum.Routes); d != "" {
		t.Errorf("routes (-want +got):\n%s", d)
	}
	raw := l.do("GET", "/_sandbox/contacts", nil, nil, 0).body
	for _, key := range []string{"correlation_id", "session_id", "mining_id", "state", "bytes", "sha256", "media_type",
		"source_id", "client_capture_date", "metadata", "received_at"} {
		if !strings.Contains(raw, `"`+key+`":`) {
			t.Errorf("contacts have no %s", key)
		}
	}
	if a := l.do("POST", "/_sandbox/contacts", nil, nil, 0); a.status != 405 {
		t.Errorf("POST contacts: %d", a.status)
	}
	if a := l.do("GET", "/_sandbox/nothing", nil, nil, 0); a.status != 404 {
		t.Errorf("unknown view: %d", a.status)
	}
}

func TestFaultsOverHTTP(t *testing.T) {
	l := newLab(t, sandbox.Options{})
	put := func(body string) answer {
		return l.do("PUT", "/_sandbox/faults", nil, strings.NewReader(body), int64(len(body)))
	}
	a := put(`[{"kind":"status","route":"media","status":429,"retry_after":"7","first":1,"delay":"1ms"}]`)
	if a.status != 200 {
		t.Fatalf("PUT: %+v", a)
	}
	if a := l.send("c-1", []byte("abc")); a.status != 429 || a.header.Get("Retry-After") != "7" {
		t.Fatalf("media: %+v", a)
	}
	var states []sandbox.FaultState
	if err := json.Unmarshal([]byte(l.do("GET", "/_sandbox/faults", nil, nil, 0).body), &states); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(l.c.Faults(), states); d != "" || states[0].Applied != 1 {
		t.Fatalf("faults (-method +view):\n%s", d)
	}
	for _, bad := range []string{``, `{}`, `[{"kind":"explode"}]`, `[{"kind":"html","rout":"media"}]`,
		`[{"kind":"slow","delay":5}]`, `[{"kind":"slow","delay":"5"}]`, `[] []`} {
		if a := put(bad); a.status != 400 || a.field(t, "error") == "" {
			t.Errorf("PUT %s: %+v", bad, a)
		}
	}
	if len(l.c.Faults()) != 1 {
		t.Fatal("a bad PUT replaced the faults")
	}
	if a := l.do("DELETE", "/_sandbox/faults", nil, nil, 0); a.status != 204 || len(l.c.Faults()) != 0 {
		t.Fatalf("DELETE: %+v", a)
	}
}

func TestRequestRing(t *testing.T) {
	l := newLab(t, sandbox.Options{RequestLog: 3})
	for range 6 { // with the token 7: the ring has turned and starts in its middle
		l.media("nope", []byte("abc"))
	}
	l.quiet()
	got := []int64{}
	for _, r := range l.c.Requests() {
		got = append(got, r.Seq)
	}
	if d := cmp.Diff([]int64{5, 6, 7}, got); d != "" {
		t.Fatalf("remembered (-want +got):\n%s", d)
	}
	if s := l.c.Summary(); s.Requests != 7 || s.Routes["media"]["404"] != 6 {
		t.Fatalf("summary = %+v", s)
	}
}

func TestLogKeepsSecrets(t *testing.T) {
	var buf syncBuffer
	l := newLab(t, sandbox.Options{Log: slog.New(slog.NewTextHandler(&buf, nil))})
	l.send("c-1", []byte("abc"))
	l.media("nope", []byte("abc"))
	l.quiet()
	out := buf.String()
	for _, want := range []string{"contact published", "c-1", "request refused"} {
		if !strings.Contains(out, want) {
			t.Errorf("log has no %q:\n%s", want, out)
		}
	}
	for _, secret := range []string{l.token, "A. Agent", "s3cret"} {
		if strings.Contains(out, secret) {
			t.Errorf("log holds %q", secret)
		}
	}
}
