package sandbox

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Facts of the Behavioral Signals documentation and command lines.
const (
	behavioralV5Path     = "/v5"
	behavioralLegacyRate = 47 * 60 // requests a minute that its command line allows itself per route
	behavioralMaxPage    = 1000
)

// BehavioralSignals is a fake Behavioral Signals, of API v5 or of the older
// one (legacy). It takes one multipart request per recording and compares
// nothing: every whole upload is a new process and a charge.
//
// It is safe for concurrent use. A fault's CorrelationID cannot be used with
// v5, where the client's name for a recording is known only from the body.
type BehavioralSignals struct {
	o      Options
	u      BehavioralUnknowns
	legacy bool
	*bench
	view http.Handler
	base string

	mu        sync.Mutex
	processes []*Process // in order of insertion
	byPID     map[int64]*Process
	last      int64 // pid
	uploads   int64
}

var _ Vendor = (*BehavioralSignals)(nil)

// BehavioralUnknowns are the questions that no public document of Behavioral
// Signals settles, and what its samples show both ways. The zero value is the
// answer of most samples; a test suite passes under each.
type BehavioralUnknowns struct {
	// ListingDelay is how long a new process is missing from the list.
	ListingDelay time.Duration
	// ListingMost is the most that a page of the list holds, whatever is
	// asked for; 0: 1000.
	ListingMost int
	// Busy is how many processes of another client of the project appear
	// after each answer of the list, Cleaned how many of the oldest go.
	Busy, Cleaned int
	// Zone is that of the days which the list filters by; nil: UTC.
	Zone *time.Location
	// MetaRewritten gives meta back as a parser would write it.
	MetaRewritten bool
	// CIDText gives cid as text, PlainTimes gives times without a zone.
	CIDText, PlainTimes bool
	// IDForPID answers the legacy upload with id instead of pid.
	IDForPID bool
	// ProcessFor is how long a process takes; FailAs, when not 0, is its
	// status then: -1, -2 or -3.
	ProcessFor time.Duration
	FailAs     int
}

// NewBehavioralSignals makes a fake of API v5. It panics when Options.Faults
// holds a fault that SetFaults would refuse.
func NewBehavioralSignals(o Options) *BehavioralSignals {
	if o.RatePerMinute == 0 {
		o.RatePerMinute = -1
	}
	if o.BasePath == "" {
		o.BasePath = behavioralV5Path
	}
	return newBehavioral(o, false, RouteConfig, RouteMedia, RouteList, RouteStatus)
}

// NewBehavioralSignalsLegacy makes a fake of the older API: what belongs to a
// call travels in the query, and nothing lists what was taken.
func NewBehavioralSignalsLegacy(o Options) *BehavioralSignals {
	if o.RatePerMinute == 0 {
		o.RatePerMinute = behavioralLegacyRate
	}
	return newBehavioral(o, true, RouteConfig, RouteMedia, RouteStatus)
}

func newBehavioral(o Options, legacy bool, routes ...string) *BehavioralSignals {
	v := &BehavioralSignals{
		o: o, u: o.BehavioralSignals, legacy: legacy, bench: newBench(o, routes...),
		base: strings.TrimSuffix(o.BasePath, "/"), byPID: map[int64]*Process{}, last: 5_000_000_000,
	}
	if v.u.Zone == nil {
		v.u.Zone = time.UTC
	}
	if v.u.ListingMost == 0 {
		v.u.ListingMost = behavioralMaxPage
	}
	v.view = newView(v.bench, v.lists(), func() any { return v.Summary() })
	return v
}

// ServeHTTP answers as Behavioral Signals, or as the test view under
// /_sandbox/.
func (v *BehavioralSignals) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, viewPrefix) {
		v.view.ServeHTTP(w, r)
		return
	}
	x := v.begin(w, r)
	x.shape = behavioralError
	defer x.end()
	path, ours := strings.CutPrefix(r.URL.EscapedPath(), v.base+"/")
	var method, cid string
	var serve func(*exchange, string)
	if ours {
		method, cid, serve = v.route(x, path)
	}
	switch {
	case !v.rate.take():
		if v.o.RetryAfter != "" {
			w.Header().Set("Retry-After", v.o.RetryAfter)
		}
		x.vendorRefuses(&refusal{http.StatusTooManyRequests, "Too many requests."})
	case serve == nil:
		x.vendorRefuses(&refusal{http.StatusNotFound, "There is nothing at this path."})
	case r.Method != method:
		w.Header().Set("Allow", method)
		x.vendorRefuses(&refusal{http.StatusMethodNotAllowed, "This route takes " + method + " only."})
	default:
		if bad := v.authorised(x, cid); bad != nil {
			x.vendorRefuses(bad)
			return
		}
		serve(x, cid)
	}
}

// route finds what serves a path below the base; nil if nothing does. The two
// generations differ in the number of their nouns.
func (v *BehavioralSignals) route(x *exchange, path string) (method, cid string, serve func(*exchange, string)) {
	parts := strings.Split(path, "/")
	if !v.legacy && path == "auth" {
		x.line.Route = RouteConfig
		return http.MethodGet, x.r.Header.Get("X-Auth-Client"), v.credentials
	}
	clients, processes := "clients", "processes"
	if v.legacy {
		clients, processes = "client", "process"
	}
	if len(parts) < 2 || parts[0] != clients {
		return "", "", nil
	}
	cid, err := url.PathUnescape(parts[1])
	if err != nil || cid == "" {
		return "", "", nil
	}
	rest := parts[2:]
	switch {
	case len(rest) == 0 && v.legacy:
		x.line.Route = RouteConfig
		return http.MethodGet, cid, v.credentials
	case len(rest) == 0 || rest[0] != processes:
		return "", "", nil
	case len(rest) == 1 && !v.legacy:
		x.line.Route = RouteList
		return http.MethodGet, cid, v.list
	case len(rest) == 2 && rest[1] == "audio":
		x.line.Route = RouteMedia
		return http.MethodPost, cid, v.upload
	case len(rest) == 2:
		x.line.Route = RouteStatus
		return http.MethodGet, cid, func(x *exchange, cid string) { v.status(x, cid, rest[1]) }
	}
	return "", "", nil
}

// authorised refuses a missing or unknown token, and a project that is not the
// token's.
func (v *BehavioralSignals) authorised(x *exchange, cid string) *refusal {
	token := x.r.Header.Values("X-Auth-Token")
	switch {
	case len(token) != 1 || token[0] == "" || v.o.ClientSecret != "" && token[0] != v.o.ClientSecret:
		return &refusal{http.StatusUnauthorized, "X-Auth-Token is missing or unknown."}
	case cid == "" || v.o.ClientID != "" && cid != v.o.ClientID:
		return &refusal{http.StatusUnauthorized, "The token is not one of this client."}
	}
	return nil
}

// credentials is GET /auth, and legacy GET /client/{cid}.
func (v *BehavioralSignals) credentials(x *exchange, cid string) {
	v.tell(x, map[string]any{"cid": v.cid(cid)})
}

// tell answers a request that has no effect.
func (v *BehavioralSignals) tell(x *exchange, body any) {
	if !x.meet("") {
		return
	}
	if x.loses() {
		x.lose()
		return
	}
	x.answer(http.StatusOK, body)
}

// cid as the samples show it: a number, or text.
func (v *BehavioralSignals) cid(cid string) any {
	if n, err := strconv.ParseInt(cid, 10, 64); err == nil && !v.u.CIDText {
		return n
	}
	return cid
}

// behavioralError is the vendor's error object. Of its 503 the documents show
// the words, by which alone it differs from a gateway's.
func behavioralError(status int, text string) any {
	if status == http.StatusServiceUnavailable {
		text = "The service is not available at the moment. Please try again later."
	}
	return map[string]any{"code": status, "message": text}
}

// vendorRefuses answers with the error in the vendor's own shape.
func (x *exchange) vendorRefuses(bad *refusal) {
	x.reject(bad.status, bad.text, x.shape(bad.status, bad.text))
}
