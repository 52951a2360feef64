// Package status is the read side over HTTP: a page for people, /api/v1 with
// the same JSON contracts as the commands, /metrics for Prometheus, /healthz
// and /readyz for supervisors.
//
// It promises that every answer comes from the ledger at the time of the
// request, in bounded memory; that a long query never keeps the ledger from a
// short one; and that nobody reads it through a browser's back door: only
// expected Host names are answered, nothing is cached, framed, or run as
// script.
//
// It never changes anything, never answers another method than GET and HEAD,
// and never puts a path, a name or a number of a call into a metric. It asks
// for no password: what it shows is personal data, so it belongs on loopback
// or behind a proxy that does ask.
package status

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"ingestd/internal/ledger"
)

const (
	// queryTime bounds the work for one request.
	queryTime = 30 * time.Second
	// turnTime is how long a list or show waits for the one before it.
	turnTime = 5 * time.Second
)

// Options of the handler. Reader is required. It should be one of its own
// (ledger.OpenReader), so that no request waits for the pipeline's queries or
// makes them wait.
type Options struct {
	Reader     *ledger.Reader
	Version    string
	Now        func() time.Time      // nil: time.Now
	Health     func() []SourceHealth // nil: not known
	Ledger     func() ledger.Health  // of the open ledger; nil: not known
	LastBeat   func() time.Time      // last sign of progress; nil: not known
	StuckAfter time.Duration         // without progress for so long, /healthz answers 503; 0: never
	// Listen is http.listen of the configuration; its host is a good Host
	// header, as loopback names and the address that was called always are.
	Listen string
}

// SourceHealth tells how a source is being watched. Why and Lost are
// sentences for the operator.
type SourceHealth struct {
	Name     string
	Mode     string    // "events" or "poll"; empty before the first scan
	Why      string    // of Mode "poll"
	Lost     string    // why the directory cannot be read; empty: it can
	LastScan time.Time // end of the last full scan; zero: none yet
}

// server is the handler's state: nothing but its options and the turn.
type server struct {
	Options
	turn  chan struct{} // holds one token while a list or show runs
	style string        // the hash by which the page's style is known
}

// New makes the handler. It opens nothing and starts nothing.
func New(o Options) http.Handler {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Health == nil {
		o.Health = func() []SourceHealth { return nil }
	}
	s := &server{Options: o, turn: make(chan struct{}, 1), style: hashOf(pageStyle)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", metrics(s))
	mux.HandleFunc("GET /api/v1/status", s.apiStatus)
	mux.HandleFunc("GET /api/v1/list", s.apiList)
	mux.HandleFunc("GET /api/v1/show", s.apiShow)
	mux.HandleFunc("GET /{$}", s.page)
	return s.guard(mux)
}

// guard sets the headers of every answer and refuses unexpected Host names: a
// page of another site could give its own name our address (DNS rebinding)
// and would then read us as its own.
func (s *server) guard(next http.Handler) http.Handler {
	csp := "default-src 'none'; style-src '" + s.style + "'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", csp)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer") // links carry ids
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !s.expected(r) {
			http.Error(w, "this host name is not answered: use localhost, the address itself, or the name in http.listen", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// expected tells whether a request names us in a way that no stranger's DNS
// can: as localhost, by the address it reached, or as configured.
func (s *server) expected(r *http.Request) bool {
	host := hostname(r.Host)
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return strings.EqualFold(host, "localhost") || host != "" && strings.EqualFold(host, hostname(s.Listen))
	}
	if ip.IsLoopback() {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	reached, err := netip.ParseAddrPort(local.String())
	return err == nil && reached.Addr().Unmap().WithZone("") == ip.Unmap().WithZone("")
}

// hostname cuts a port off and unwraps an IPv6 address.
func hostname(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
}

// healthz answers 200 while the process makes progress, else 503 and why not.
func (s *server) healthz(w http.ResponseWriter, _ *http.Request) {
	if why := s.stuck(); why != "" {
		http.Error(w, why, http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// stuck says in a sentence why the process makes no progress; empty: it does.
func (s *server) stuck() string {
	if s.LastBeat == nil || s.StuckAfter <= 0 {
		return ""
	}
	beat := s.LastBeat()
	switch {
	case beat.Unix() <= 0:
		return "the daemon is starting: it has made no progress yet"
	case s.Now().Sub(beat) >= s.StuckAfter:
		return "no progress since " + clock(beat) + ": look at the log, and restart the service if it stays so"
	}
	return ""
}

// readyz answers 200 while the ledger can be read and takes new work.
func (s *server) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), queryTime)
	defer cancel()
	err := s.Reader.List(ctx, ledger.Filter{Limit: 1}, func(ledger.Row) error { return nil })
	if err != nil {
		http.Error(w, unreadable(err), http.StatusServiceUnavailable)
		return
	}
	if s.Ledger != nil {
		if t := s.Ledger().Trouble; t != nil {
			http.Error(w, "degraded: "+t.Text+"\n"+t.Hint, http.StatusServiceUnavailable)
			return
		}
	}
	fmt.Fprintln(w, "ok")
}

// unreadable is the sentence for a ledger that does not answer.
func unreadable(err error) string {
	return "the ledger cannot be read (" + err.Error() + "): check its disk, then `ingestd ledger verify`"
}

// clock prints an instant for people, in UTC as everywhere else here.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
