package sandbox_test

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ingestd/internal/sandbox"

	"github.com/google/go-cmp/cmp"
)

// TestFaultsOnMedia puts every kind in the way of one upload and looks at it
// from both sides: what the client could see, and what the view knows.
func TestFaultsOnMedia(t *testing.T) {
	dropped := func(t *testing.T, a answer) {
		if a.err == nil {
			t.Fatalf("want a lost connection, got %+v", a)
		}
	}
	status := func(want int) func(*testing.T, answer) {
		return func(t *testing.T, a answer) {
			if a.err != nil || a.status != want {
				t.Fatalf("want status %d, got %+v", want, a)
			}
		}
	}
	body := func(check func(string) bool) func(*testing.T, answer) {
		return func(t *testing.T, a answer) {
			if a.err != nil || a.status != 201 || !check(a.body) {
				t.Fatalf("got %+v", a)
			}
		}
	}
	mining := func(check func(string) bool) func(*testing.T, answer) {
		return func(t *testing.T, a answer) {
			if a.status != 201 || !check(a.field(t, "MiningId")) {
				t.Fatalf("got %+v", a)
			}
		}
	}
	data := sound(10_000)
	none, whole := int64(0), int64(len(data))
	for _, tc := range []struct {
		name   string
		fault  sandbox.Fault
		client func(*testing.T, answer)
		stored bool
		state  sandbox.SessionState
		bytes  int64
	}{
		{"refuse", sandbox.Fault{Kind: sandbox.Refuse}, dropped, false, sandbox.SessionOpen, none},
		{"refuse with reset", sandbox.Fault{Kind: sandbox.Refuse, Reset: true}, dropped, false, sandbox.SessionOpen, none},
		{"early 401", sandbox.Fault{Kind: sandbox.Early, Status: 401}, status(401), false, sandbox.SessionOpen, none},
		{"early 413", sandbox.Fault{Kind: sandbox.Early, Status: 413}, status(413), false, sandbox.SessionOpen, none},
		{"drop before the first byte", sandbox.Fault{Kind: sandbox.DropMid}, dropped, false, sandbox.SessionOpen, none},
		{"drop in the middle", sandbox.Fault{Kind: sandbox.DropMid, AfterBytes: 5000}, dropped, false, sandbox.SessionIncomplete, 5000},
		{"drop in the middle, reset", sandbox.Fault{Kind: sandbox.DropMid, AfterBytes: 5000, Reset: true}, dropped, false, sandbox.SessionIncomplete, 5000},
		{"drop at the last byte", sandbox.Fault{Kind: sandbox.DropMid, AfterBytes: 1 << 40}, dropped, false, sandbox.SessionIncomplete, whole - 1},
		{"stall", sandbox.Fault{Kind: sandbox.Stall, AfterBytes: 300, Delay: sandbox.Duration(time.Millisecond)}, dropped, false, sandbox.SessionIncomplete, 300},
		{"silent, not stored", sandbox.Fault{Kind: sandbox.DropLost}, dropped, false, sandbox.SessionLost, whole},
		{"silent, stored", sandbox.Fault{Kind: sandbox.DropStored}, dropped, true, sandbox.SessionComplete, whole},
		{"reset, stored", sandbox.Fault{Kind: sandbox.DropStored, Reset: true}, dropped, true, sandbox.SessionComplete, whole},
		{"500, not stored", sandbox.Fault{Kind: sandbox.Status, Status: 500}, status(500), false, sandbox.SessionLost, whole},
		{"504, stored", sandbox.Fault{Kind: sandbox.StatusStored, Status: 504}, status(504), true, sandbox.SessionComplete, whole},
		{"slow", sandbox.Fault{Kind: sandbox.Slow, Delay: 1, BytesPerSecond: 1 << 30}, status(201), true, sandbox.SessionComplete, whole},
		{"short length", sandbox.Fault{Kind: sandbox.ShortLength, ShortBy: 24}, body(func(s string) bool {
			return strings.Contains(s, `"CurrentMediaLength":9976,"TotalMediaLength":10000`)
		}), true, sandbox.SessionComplete, whole},
		{"broken JSON", sandbox.Fault{Kind: sandbox.BrokenJSON}, body(func(s string) bool {
			return strings.HasPrefix(s, `{"CurrentMediaLength"`) && !json.Valid([]byte(s))
		}), true, sandbox.SessionComplete, whole},
		{"other JSON", sandbox.Fault{Kind: sandbox.OtherJSON}, body(func(s string) bool {
			return s == `{"ok":true}`
		}), true, sandbox.SessionComplete, whole},
		{"html", sandbox.Fault{Kind: sandbox.HTML}, body(func(s string) bool {
			return strings.HasPrefix(s, "<!DOCTYPE html>")
		}), true, sandbox.SessionComplete, whole},
		{"empty", sandbox.Fault{Kind: sandbox.Empty}, body(func(s string) bool { return s == "" }), true, sandbox.SessionComplete, whole},
		{"truncated", sandbox.Fault{Kind: sandbox.Truncated}, func(t *testing.T, a answer) {
			if a.status != 201 || a.err == nil || !strings.HasPrefix(a.body, "{") || json.Valid([]byte(a.body)) {
				t.Fatalf("want a head and half a body, got %+v", a)
			}
		}, true, sandbox.SessionComplete, whole},
		{"id of another", sandbox.Fault{Kind: sandbox.IDOther}, mining(func(s string) bool { return s == "mining-2" }), true, sandbox.SessionComplete, whole},
		{"huge id", sandbox.Fault{Kind: sandbox.IDHuge}, mining(func(s string) bool { return len(s) == 1<<20 }), true, sandbox.SessionComplete, whole},
		{"climbing id", sandbox.Fault{Kind: sandbox.IDPath}, mining(func(s string) bool { return strings.HasPrefix(s, "../") }), true, sandbox.SessionComplete, whole},
		{"CRLF id", sandbox.Fault{Kind: sandbox.IDCRLF}, mining(func(s string) bool { return strings.Contains(s, "\r\n") }), true, sandbox.SessionComplete, whole},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var ids atomic.Int64
			l := newLab(t, sandbox.Options{ID: func(kind string) string {
				return fmt.Sprintf("%s-%d", kind, ids.Add(1))
			}})
			l.firstContact() // takes session-1 and mining-2
			tc.fault.Route = sandbox.RouteMedia
			l.faults(tc.fault)
			tc.client(t, l.send("c-1", data))
			l.quiet()
			want := []string{"first:published"}
			if tc.stored {
				want = append(want, "c-1:published")
			}
			if d := cmp.Diff(want, l.states()); d != "" {
				t.Fatalf("contacts (-want +got):\n%s", d)
			}
			if s := l.lastSession(); s.State != tc.state || s.Bytes != tc.bytes {
				t.Fatalf("session %s with %d bytes, want %s with %d", s.State, s.Bytes, tc.state, tc.bytes)
			}
			reqs := l.c.Requests()
			if last := reqs[len(reqs)-1]; last.Fault != tc.fault.Kind || last.Bytes != tc.bytes {
				t.Fatalf("request = %+v", last)
			}
			if n := l.c.Summary().FaultsApplied; n != 1 {
				t.Fatalf("faults applied = %d, want 1", n)
			}
		})
	}
}

// firstContact stores one good recording of another correlation id.
func (l *lab) firstContact() {
	l.t.Helper()
	if a := l.send("first", []byte("abc")); a.status != 201 {
		l.t.Fatalf("first: %+v", a)
	}
}

func TestFaultsOnSession(t *testing.T) {
	status := func(want int) func(*lab, answer) bool {
		return func(_ *lab, a answer) bool { return a.status == want }
	}
	dropped := func(_ *lab, a answer) bool { return a.err != nil }
	id := func(check func(l *lab, id string) bool) func(*lab, answer) bool {
		return func(l *lab, a answer) bool { return a.status == 200 && check(l, a.field(l.t, "SessionId")) }
	}
	for _, tc := range []struct {
		fault  sandbox.Fault
		client func(*lab, answer) bool
		opened bool
	}{
		{sandbox.Fault{Kind: sandbox.Refuse}, dropped, false},
		{sandbox.Fault{Kind: sandbox.DropMid}, dropped, false},
		{sandbox.Fault{Kind: sandbox.Stall, Delay: 1}, dropped, false},
		{sandbox.Fault{Kind: sandbox.DropLost}, dropped, false},
		{sandbox.Fault{Kind: sandbox.DropStored}, dropped, true},
		{sandbox.Fault{Kind: sandbox.Early, Status: 429, RetryAfter: "999999"}, func(_ *lab, a answer) bool {
			return a.status == 429 && a.header.Get("Retry-After") == "999999"
		}, false},
		{sandbox.Fault{Kind: sandbox.Status, Status: 307, Location: "/elsewhere"}, func(_ *lab, a answer) bool {
			return a.status == 404 // the client followed, to nowhere
		}, false},
		{sandbox.Fault{Kind: sandbox.Status, Status: 503}, status(503), false},
		{sandbox.Fault{Kind: sandbox.StatusStored, Status: 500}, status(500), true},
		{sandbox.Fault{Kind: sandbox.HTML}, func(_ *lab, a answer) bool { return strings.Contains(a.header.Get("Content-Type"), "html") }, true},
		{sandbox.Fault{Kind: sandbox.Empty}, func(_ *lab, a answer) bool { return a.status == 200 && a.body == "" }, true},
		{sandbox.Fault{Kind: sandbox.Truncated}, func(_ *lab, a answer) bool { return a.status == 200 && a.err != nil }, true},
		{sandbox.Fault{Kind: sandbox.IDOther}, id(func(l *lab, id string) bool { return id == l.c.Sessions()[0].SessionID }), true},
		{sandbox.Fault{Kind: sandbox.IDHuge}, id(func(_ *lab, id string) bool { return len(id) == 1<<20 }), true},
		{sandbox.Fault{Kind: sandbox.IDPath}, id(func(_ *lab, id string) bool { return strings.HasPrefix(id, "../") }), true},
		{sandbox.Fault{Kind: sandbox.IDCRLF}, id(func(_ *lab, id string) bool { return strings.Contains(id, "\r\n") }), true},
		{sandbox.Fault{Kind: sandbox.CorrelationOther}, func(l *lab, a answer) bool {
			return a.status == 200 && a.field(l.t, "CorrelationId") != "c-1"
		}, true},
	} {
		t.Run(string(tc.fault.Kind), func(t *testing.T) {
			l := newLab(t, sandbox.Options{})
			l.firstContact()
			tc.fault.Route = sandbox.RouteSession
			l.faults(tc.fault)
			if a := l.json("session/metadatamedia", sessionBody("c-1", 5)); !tc.client(l, a) {
				t.Fatalf("client saw %.300v", a)
			}
			l.quiet()
			if opened := len(l.c.Sessions()) == 2; opened != tc.opened {
				t.Fatalf("opened = %v, want %v", opened, tc.opened)
			}
		})
	}
}

func TestFaultsOnOtherRoutes(t *testing.T) {
	l := newLab(t, sandbox.Options{})
	l.firstContact()
	update := object{"CorrelationId": "first", "SourceId": "recorder-a", "Metadata": []object{{"Key": "Agent", "Value": "B"}}}
	for _, f := range []sandbox.Fault{
		{Kind: sandbox.Status, Status: 500}, {Kind: sandbox.HTML}, {Kind: sandbox.DropLost},
	} {
		l.faults(f) // no route: all of them
		token := l.form(tokenForm(), nil)
		config := l.do("GET", "/ingestion/api/info/callmetadataconfig", map[string]string{"Authorization": "Bearer " + l.token}, nil, 0)
		change := l.json("session/metadata", update)
		for name, a := range map[string]answer{"token": token, "config": config, "metadata": change} {
			ok := a.err != nil
			switch f.Kind {
			case sandbox.Status:
				ok = a.status == 500
			case sandbox.HTML:
				ok = a.status == 200 && strings.HasPrefix(a.body, "<!")
			}
			if !ok {
				t.Errorf("%s on %s: %+v", f.Kind, name, a)
			}
		}
		want := map[sandbox.Kind]string{sandbox.Status: "A. Agent", sandbox.HTML: "B", sandbox.DropLost: "B"}[f.Kind]
		if got := l.c.Contacts()[0].Metadata["Agent"]; got != want {
			t.Errorf("after %s: Agent = %q, want %q", f.Kind, got, want)
		}
	}
}

func TestTokenEndsBetweenSteps(t *testing.T) {
	l := newLab(t, sandbox.Options{})
	l.faults(sandbox.Fault{Kind: sandbox.ExpireToken, Route: sandbox.RouteSession, First: 1})
	s := l.open("c-1", 3)
	if a := l.media(s, []byte("abc")); a.status != 401 {
		t.Fatalf("step 2: %+v", a)
	}
	l.token = l.newToken()
	if a := l.media(s, []byte("abc")); a.status != 201 {
		t.Fatalf("step 2 with a new token: %+v", a)
	}
	if d := cmp.Diff([]string{"c-1:published"}, l.states()); d != "" {
		t.Fatalf("contacts (-want +got):\n%s", d)
	}
}

func TestIDOfAnotherSessionCorruptsIt(t *testing.T) {
	l := newLab(t, sandbox.Options{})
	l.firstContact()
	l.faults(sandbox.Fault{Kind: sandbox.IDOther, Route: sandbox.RouteSession})
	s := l.json("session/metadatamedia", sessionBody("c-1", 3)).field(t, "SessionId")
	l.media(s, []byte("abc"))
	if d := cmp.Diff([]string{"first:corrupt"}, l.states()); d != "" {
		t.Fatalf("contacts (-want +got):\n%s", d)
	}
}

func TestFaultCounts(t *testing.T) {
	for name, tc := range map[string]struct {
		fault sandbox.Fault
		want  string // one letter per request: . good, x met
	}{
		"for ever":    {sandbox.Fault{}, "xxxxxx"},
		"first two":   {sandbox.Fault{First: 2}, "xx...."},
		"every third": {sandbox.Fault{Every: 3}, "..x..x"},
		"skip one":    {sandbox.Fault{Skip: 1, First: 2}, ".xx..."},
		"all three":   {sandbox.Fault{Skip: 1, Every: 2, First: 1}, "..x..."},
		"contact":     {sandbox.Fault{CorrelationID: "c-3"}, "...x.."},
		"other":       {sandbox.Fault{CorrelationID: "c-9"}, "......"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, sandbox.Options{})
			tc.fault.Kind, tc.fault.Status, tc.fault.Route = sandbox.Status, 503, sandbox.RouteMedia
			l.faults(tc.fault)
			got := ""
			for i := range 6 {
				if a := l.send("c-"+string(rune('0'+i)), []byte("abc")); a.status == 503 {
					got += "x"
				} else {
					got += "."
				}
			}
			if got != tc.want {
				t.Fatalf("met %s, want %s", got, tc.want)
			}
		})
	}
}

func TestFaultsSpareRefusedRequests(t *testing.T) {
	l := newLab(t, sandbox.Options{})
	l.faults(sandbox.Fault{Kind: sandbox.Status, Status: 503, First: 1},
		sandbox.Fault{Kind: sandbox.Status, Status: 504, First: 1})
	l.media("unknown", []byte("abc"))
	l.json("session/metadatamedia", object{})
	if a := l.json("session/metadatamedia", sessionBody("c", 3)); a.status != 503 {
		t.Fatalf("first good request: %+v", a)
	}
	if a := l.json("session/metadatamedia", sessionBody("c", 3)); a.status != 504 {
		t.Fatalf("second good request: %+v", a)
	}
	got := l.c.Faults()
	if got[0].Seen != 2 || got[0].Applied != 1 || got[1].Seen != 1 || got[1].Applied != 1 {
		t.Fatalf("faults = %+v", got)
	}
}

// TestEarlyAnswerBeforeBody answers while the client still holds half of its
// body back. A reset behind the answer could overtake it, so the end must be
// orderly.
func TestEarlyAnswerBeforeBody(t *testing.T) {
	for _, size := range []int{1000, 1 << 20} {
		l := newLab(t, sandbox.Options{})
		s := l.open("c-1", size)
		l.faults(sandbox.Fault{Kind: sandbox.Early, Status: 413, Route: sandbox.RouteMedia})
		got, err := io.ReadAll(l.raw(s, size, sound(size/2)))
		if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 413 ") {
			t.Fatalf("%d bytes: %q, %v; want 413 and an orderly end", size, got, err)
		}
		l.quiet()
		if got := l.lastSession(); got.State != sandbox.SessionOpen || got.Bytes != 0 {
			t.Fatalf("session = %+v", got)
		}
	}
}

// TestRefusalBeforeBody is the same for the vendor's own refusals.
func TestRefusalBeforeBody(t *testing.T) {
	l := newLab(t, sandbox.Options{})
	got, err := io.ReadAll(l.raw("unknown", 1<<20, sound(1<<19)))
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 404 ") {
		t.Fatalf("%q, %v; want 404 and an orderly end", got, err)
	}
}

// TestDropComesBeforeTheRest closes although the client holds the rest of a
// short body back.
func TestDropComesBeforeTheRest(t *testing.T) {
	l := newLab(t, sandbox.Options{})
	s := l.open("c-1", 1000)
	l.faults(sandbox.Fault{Kind: sandbox.DropMid, AfterBytes: 500, Route: sandbox.RouteMedia})
	if got, err := io.ReadAll(l.raw(s, 1000, sound(500))); err != nil || len(got) > 0 {
		t.Fatalf("got %q, %v; want an orderly end", got, err)
	}
}

func TestCloseEndsStall(t *testing.T) {
	l := newLab(t, sandbox.Options{})
	s := l.open("c-1", 1000)
	l.faults(sandbox.Fault{Kind: sandbox.Stall, AfterBytes: 1, Route: sandbox.RouteMedia})
	ended := make(chan answer)
	go func() { ended <- l.media(s, sound(1000)) }()
	for l.lastSession().State != sandbox.SessionIncomplete {
		select {
		case a := <-ended:
			t.Fatalf("not stalled: %+v", a)
		default:
		}
	}
	l.c.Close()
	if a := <-ended; a.err == nil {
		t.Fatalf("after Close: %+v", a)
	}
}

func TestBadFaults(t *testing.T) {
	l := newLab(t, sandbox.Options{})
	l.faults(sandbox.Fault{Kind: sandbox.HTML})
	for want, f := range map[string]sandbox.Fault{
		`kind "explode" is not one`:         {Kind: "explode"},
		`route "medias" is not one`:         {Kind: sandbox.HTML, Route: "medias"},
		"needs a status":                    {Kind: sandbox.Early},
		"has no status":                     {Kind: sandbox.HTML, Status: 200},
		"needs route media":                 {Kind: sandbox.ShortLength, Route: sandbox.RouteSession},
		"needs route session":               {Kind: sandbox.CorrelationOther},
		"needs route config or session":     {Kind: sandbox.ExpireToken, Route: sandbox.RouteToken},
		"delay is below zero":               {Kind: sandbox.Slow, Delay: -1},
		"fault 1: bytes_per_second is belo": {Kind: sandbox.Slow, BytesPerSecond: -1},
	} {
		if err := l.c.SetFaults(f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", f, err, want)
		}
	}
	if got := l.c.Faults(); len(got) != 1 || got[0].Kind != sandbox.HTML {
		t.Fatalf("a refused list replaced the old one: %+v", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("NewCallMiner took a bad fault")
		}
	}()
	sandbox.NewCallMiner(sandbox.Options{Faults: []sandbox.Fault{{Kind: "explode"}}})
}
