package status_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ingestd/internal/status"
)

func TestHealthz(t *testing.T) {
	s := newScene(t)
	now := s.options().Now()
	for name, c := range map[string]struct {
		beat  func() time.Time
		after time.Duration
		code  int
		text  string
	}{
		"progress":      {func() time.Time { return now.Add(-time.Minute + 1) }, time.Minute, 200, "ok\n"},
		"stuck":         {func() time.Time { return now.Add(-time.Minute) }, time.Minute, 503, "no progress since 2025-01-02 10:59:00Z: "},
		"not begun":     {func() time.Time { return time.Unix(0, 0) }, time.Minute, 503, "starting"},
		"no beat":       {nil, time.Minute, 200, "ok\n"},
		"never stuck":   {func() time.Time { return now.Add(-time.Hour) }, 0, 200, "ok\n"},
		"clock set ago": {func() time.Time { return now.Add(time.Hour) }, time.Minute, 200, "ok\n"},
	} {
		o := s.options()
		o.LastBeat, o.StuckAfter = c.beat, c.after
		a := get(t, status.New(o), "/healthz")
		wantCode(t, name, a, c.code, c.text)
		if strings.Count(a.body, "\n") != 1 {
			t.Errorf("%s: %q is not one line", name, a.body)
		}
	}
}

// Readiness is the ledger's alone; without it nothing else hangs or lies.
func TestLedgerGone(t *testing.T) {
	s := newScene(t)
	o := s.options()
	o.Reader = s.reader(t)
	h := status.New(o)
	wantCode(t, "readyz", get(t, h, "/readyz"), 200, "ok\n")
	if err := o.Reader.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/readyz", "/", "/api/v1/status", "/api/v1/list", "/api/v1/show?id=1"} {
		wantCode(t, path, get(t, h, path), 503, "the ledger cannot be read")
	}
	wantCode(t, "healthz", get(t, h, "/healthz"), 200, "ok\n")
	a := get(t, h, "/metrics")
	wantCode(t, "metrics", a, 200, "ingestd_ledger_up 0\n")
	if !strings.Contains(a.body, "ingestd_source_up") || strings.Contains(a.body, "ingestd_recordings{") {
		t.Errorf("metrics without a ledger:\n%s", a.body)
	}
}

func TestHostNames(t *testing.T) {
	o := newScene(t).options()
	for _, c := range []struct {
		listen, local, host string
		code                int
	}{
		{"127.0.0.1:9780", "127.0.0.1:9780", "localhost:9780", 200},
		{"127.0.0.1:9780", "127.0.0.1:9780", "LOCALHOST", 200},
		{"127.0.0.1:9780", "127.0.0.1:9780", "127.0.0.1:9780", 200},
		{"127.0.0.1:9780", "127.0.0.1:9780", "127.3.2.1", 200},
		{"[::1]:9780", "[::1]:9780", "[::1]:9780", 200},
		{"[::1]:9780", "[::1]:9780", "[::1]", 200},
		{"0.0.0.0:9780", "192.0.2.7:9780", "192.0.2.7:9780", 200},
		{":9780", "[::ffff:192.0.2.7]:9780", "192.0.2.7:9780", 200},
		{":9780", "[fe80::7%eth0]:9780", "[fe80::7]:9780", 200},
		{"ingest1.example:9780", "192.0.2.7:9780", "Ingest1.example:9780", 200},
		{"", "", "localhost", 200},
		{"127.0.0.1:9780", "127.0.0.1:9780", "evil.example:9780", 403},
		{"127.0.0.1:9780", "127.0.0.1:9780", "localhost.evil.example", 403},
		{"127.0.0.1:9780", "127.0.0.1:9780", "127.0.0.1.evil.example", 403},
		{"127.0.0.1:9780", "127.0.0.1:9780", "192.0.2.7", 403},
		{"ingest1.example:9780", "192.0.2.7:9780", "evil.example", 403},
		{":9780", "192.0.2.7:9780", "", 403},
		{"", "", "", 403},
		{"", "", "192.0.2.7", 403},
	} {
		o.Listen = c.listen
		r := httptest.NewRequest(http.MethodGet, "/healthz", nil)
		r.Host = c.host
		if c.local != "" {
			addr, err := net.ResolveTCPAddr("tcp", c.local)
			if err != nil {
				t.Fatal(err)
			}
			r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, addr))
		}
		w := httptest.NewRecorder()
		status.New(o).ServeHTTP(w, r)
		if w.Code != c.code {
			t.Errorf("listening on %q at %q, Host %q: %d", c.listen, c.local, c.host, w.Code)
		}
	}
}

func TestMethodsAndHeaders(t *testing.T) {
	s := newScene(t)
	srv := httptest.NewServer(status.New(s.options()))
	defer srv.Close()
	for _, path := range []string{"/", "/healthz", "/readyz", "/metrics", "/api/v1/status", "/api/v1/list", "/api/v1/show?id=1", "/nowhere"} {
		found := 200
		if path == "/nowhere" {
			found = 404
		}
		for method, code := range map[string]int{"GET": found, "HEAD": found, "POST": 405, "PUT": 405, "DELETE": 405, "OPTIONS": 405, "TRACE": 405} {
			if code == 405 && found == 404 {
				code = 404
			}
			a, err := fetch(t.Context(), method, srv.URL+path)
			if err != nil || a.code != code {
				t.Errorf("%s %s: %d, %v; want %d", method, path, a.code, err, code)
			}
			if method == "HEAD" && a.body != "" {
				t.Errorf("HEAD %s has a body", path)
			}
			if code == 405 && a.header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s allows %q", method, path, a.header.Get("Allow"))
			}
			for name, want := range map[string]string{
				"Content-Security-Policy": "default-src 'none'; ", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
				"Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin", "Cache-Control": "no-store",
			} {
				if !strings.HasPrefix(a.header.Get(name), want) {
					t.Errorf("%s %s: %s is %q", method, path, name, a.header.Get(name))
				}
			}
		}
	}
}
