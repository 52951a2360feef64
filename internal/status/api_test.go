package status_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ingestd/internal/ledger"
	"ingestd/internal/status"
)

// decode reads one JSON object per line and nothing else.
func decode[T any](t *testing.T, body string) []T {
	t.Helper()
	var out []T
	for line := range strings.Lines(body) {
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		var v T
		if err := d.Decode(&v); err != nil || !strings.HasSuffix(line, "\n") {
			t.Fatalf("%q: %v", line, err)
		}
		out = append(out, v)
	}
	return out
}

func TestStatusIsTheContract(t *testing.T) {
	s := newScene(t)
	a := get(t, status.New(s.options()), "/api/v1/status")
	want, err := s.Reader().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := decode[ledger.Status](t, a.body); a.header.Get("Content-Type") != "application/json" || len(got) != 1 || !cmp.Equal(want, got[0]) {
		t.Errorf("%v %s", a.header, cmp.Diff([]ledger.Status{want}, got))
	}
}

func TestList(t *testing.T) {
	s := newScene(t)
	h := status.New(s.options())
	for query, want := range map[string]ledger.Filter{
		"":                                   {},
		"limit=2":                            {Limit: 2},
		"limit=10000&state=&call_id=&since=": {},
		"state=held,planned&state=in_doubt":  {States: []string{"held", "planned", "in_doubt"}},
		"state=quarantined":                  {States: []string{"quarantined"}},
		"source=nice":                        {Sources: []string{"nice"}},
		"source=nobody":                      {Sources: []string{"nobody"}},
		"destination=alpha&destination=beta": {Destinations: []string{"alpha", "beta"}},
		"reason=not_audio":                   {Reason: "not_audio"},
		"call_id=call-1":                     {CallID: "call-1"},
		"since=1h":                           {Since: epoch},
		"since=59m":                          {Since: epoch.Add(time.Minute)},
		"until=2025-01-02T10:00:00Z":         {Until: epoch},
		"until=2025-01-02T11:00:01%2B01:00":  {Until: epoch.Add(time.Second)},
		"until=2025-01-02T11:00:01+01:00":    {Until: epoch.Add(time.Second)},
		"since=2025-01-02&until=2025-01-03":  {Since: epoch.Truncate(24 * time.Hour), Until: epoch.Add(24 * time.Hour).Truncate(24 * time.Hour)},
		"since=2025-01-02T10:01":             {Since: epoch.Add(time.Minute)},
	} {
		a := get(t, h, "/api/v1/list?"+query)
		if a.code != 200 || a.header.Get("Content-Type") != "application/x-ndjson" {
			t.Errorf("%q: %d %s %s", query, a.code, a.header.Get("Content-Type"), a.body)
			continue
		}
		if diff := cmp.Diff(s.rows(t, want), decode[ledger.Row](t, a.body)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", query, diff)
		}
	}
}

// A browser shows what it would else download.
func TestListForABrowser(t *testing.T) {
	a := get(t, status.New(newScene(t).options()), "/api/v1/list", "Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	if a.header.Get("Content-Type") != "text/plain; charset=utf-8" || a.header.Get("Vary") != "Accept" {
		t.Errorf("%v", a.header)
	}
}

func TestListRefuses(t *testing.T) {
	h := status.New(newScene(t).options())
	for query, part := range map[string]string{
		"stat=held":          "no parameter",
		"State=held":         "no parameter",
		"state=helt":         `there is no state \"helt\"`,
		"limit=0":            "1 to 10000",
		"limit=10001":        "1 to 10000",
		"limit=-1":           "1 to 10000",
		"limit=many":         "1 to 10000",
		"since=yesterday":    "a time is",
		"until=2025-13-01":   "a time is",
		"reason=a&reason=b":  "reason is given twice",
		"limit=5&limit=6":    "limit is given twice",
		"since=%zz":          "not URL-encoded",
		"state=held;limit=1": "not URL-encoded",
	} {
		a := get(t, h, "/api/v1/list?"+query)
		wantCode(t, query, a, 400, part)
		if got := decode[map[string]string](t, a.body); len(got) != 1 || got[0]["code"] != "bad_query" || len(got[0]) != 2 {
			t.Errorf("%q: %v", query, got)
		}
	}
}

func TestListLimits(t *testing.T) {
	s := newScene(t)
	var seen []ledger.Seen
	for i := range 1001 {
		seen = append(seen, ledger.Seen{Source: "many", Path: fmt.Sprintf("%d.wav", i), Look: ledger.Look{Since: epoch, Looks: 1}})
	}
	if err := s.SeeRecordings(t.Context(), seen); err != nil {
		t.Fatal(err)
	}
	h := status.New(s.options())
	for query, want := range map[string]int{"source=many": 1000, "source=many&limit=1001": 1001, "source=many&limit=1": 1} {
		if got := strings.Count(get(t, h, "/api/v1/list?"+query).body, "\n"); got != want {
			t.Errorf("%s: %d rows, want %d", query, got, want)
		}
	}
}

// What a terminal would obey or an eye misread arrives escaped, and unharmed.
func TestInvisibleCharactersAreEscaped(t *testing.T) {
	s := newScene(t)
	a := get(t, status.New(s.options()), "/api/v1/list?call_id=call-2")
	for _, r := range a.body {
		if r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || r == '\u202e' {
			t.Errorf("%q is there as it is in %q", r, a.body)
		}
	}
	if rows := decode[ledger.Row](t, a.body); len(rows) != 1 || rows[0].Path != hostile+".wav" {
		t.Errorf("%+v", rows)
	}
}

func TestShow(t *testing.T) {
	s := newScene(t)
	h := status.New(s.options())
	for _, id := range []string{fmt.Sprint(s.ids[0]), "call-1", canary + "_" + phone + ".wav", " call-1 "} {
		a := get(t, h, "/api/v1/show?id="+url.QueryEscape(id))
		want, err := s.Reader().Show(t.Context(), strings.TrimSpace(id))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, decode[ledger.Shown](t, a.body)); a.code != 200 || diff != "" {
			t.Errorf("%q: %d (-want +got):\n%s", id, a.code, diff)
		}
	}
	wantCode(t, "unknown", get(t, h, "/api/v1/show?id=nobody"), 404, `"code":"not_found"`)
	for _, query := range []string{"", "?id=", "?id=+", "?id=1&id=2", "?id=1&x=2", "?call=1", "?id=%zz"} {
		wantCode(t, query, get(t, h, "/api/v1/show"+query), 400, `"code":"bad_query"`)
	}
}

// brakes is a reader of an answer that does something at its first bytes.
type brakes struct {
	*httptest.ResponseRecorder
	first func()
}

func (b *brakes) Write(p []byte) (int, error) {
	if b.first != nil {
		b.first()
		b.first = nil
	}
	return b.ResponseRecorder.Write(p)
}

// A list that breaks off must not look like a whole one.
func TestBrokenListIsCut(t *testing.T) {
	s := newScene(t)
	var seen []ledger.Seen
	for i := range 1000 { // more than the ledger reads at once
		seen = append(seen, ledger.Seen{Source: "many", Path: fmt.Sprintf("%d.wav", i), Look: ledger.Look{Since: epoch, Looks: 1}})
	}
	if err := s.SeeRecordings(t.Context(), seen); err != nil {
		t.Fatal(err)
	}
	o := s.options()
	o.Reader = s.reader(t)
	rec := &brakes{ResponseRecorder: httptest.NewRecorder(), first: func() { o.Reader.Close() }}
	r := httptest.NewRequest(http.MethodGet, "/api/v1/list", nil)
	r.Host = "localhost"
	defer func() {
		if end := recover(); end != http.ErrAbortHandler || rec.Body.Len() == 0 {
			t.Errorf("a broken list ended with %v after %d bytes", end, rec.Body.Len())
		}
	}()
	status.New(o).ServeHTTP(rec, r)
}

// Long queries take turns; short answers do not wait for them.
func TestLongQueriesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		h := status.New(s.options())
		reading, goOn := make(chan struct{}), make(chan struct{})
		first := &brakes{ResponseRecorder: httptest.NewRecorder(), first: func() { close(reading); <-goOn }}
		done := make(chan struct{})
		go func() {
			defer close(done)
			r := httptest.NewRequest(http.MethodGet, "/api/v1/list", nil)
			r.Host = "localhost"
			h.ServeHTTP(first, r)
		}()
		<-reading
		begun := time.Now()
		for _, path := range []string{"/", "/healthz", "/readyz", "/metrics", "/api/v1/status"} {
			wantCode(t, path, get(t, h, path), 200, "")
		}
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("short answers waited %s", waited)
		}
		a := get(t, h, "/api/v1/show?id=1")
		wantCode(t, "show", a, 503, `"code":"busy"`)
		if waited := time.Since(begun); waited != 5*time.Second || a.header.Get("Retry-After") != "5" {
			t.Errorf("refused after %s with %v", waited, a.header)
		}
		second := make(chan answer)
		go func() { second <- get(t, h, "/api/v1/show?id=1") }()
		synctest.Wait()
		close(goOn)
		wantCode(t, "in turn", <-second, 200, "call-1")
		<-done
	})
}
