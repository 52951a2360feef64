package sandbox

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Facts of the CallMiner Media Ingestion API v2 guide.
const (
	callMinerBasePath = "/ingestion"
	callMinerScope    = "https://callminer.net/auth/platform-ingestion"
	callMinerTokenEnd = 3600 * time.Second
	callMinerRate     = 200                // requests a minute and tenant
	callMinerMaxBytes = 1 << 30            // of metadata or media in one request
	callMinerMaxAudio = 6300 * time.Second // 1 h 45 min for one contact
)

// CallMiner is a fake CallMiner: identity provider (POST /connect/token),
// Media Ingestion API v2 (the audio routes and the metadata routes that need
// no search, under Options.BasePath) and the test view under /_sandbox/. Every
// other route answers 404.
//
// It is safe for concurrent use. Faults and limits are described at Fault and
// Options.
type CallMiner struct {
	o Options
	*bench
	identity *identity
	columns  map[string]Column
	view     http.Handler
	base     string

	mu         sync.Mutex
	sessions   []*session // in order of opening
	bySession  map[string]*session
	contacts   []*Contact          // in order of arrival
	published  map[string]*Contact // the contact that owns a CorrelationId
	burnt      map[string]bool     // ids used up by a failed mining
	secondPost int64
}

var _ Vendor = (*CallMiner)(nil)

// NewCallMiner makes a fake CallMiner. It panics when Options.Faults holds a
// fault that SetFaults would refuse.
func NewCallMiner(o Options) *CallMiner {
	if o.TokenLife == 0 {
		o.TokenLife = callMinerTokenEnd
	}
	if o.RatePerMinute == 0 {
		o.RatePerMinute = callMinerRate
	}
	if o.BasePath == "" {
		o.BasePath = callMinerBasePath
	}
	if o.Columns == nil {
		o.Columns = DefaultColumns()
	}
	if o.ID == nil {
		o.ID = randomUUID
	}
	b := newBench(o, RouteToken, RouteConfig, RouteSession, RouteMedia, RouteMetadata)
	c := &CallMiner{
		o: o, bench: b,
		identity:  newIdentity(b, o, callMinerScope),
		columns:   make(map[string]Column, len(o.Columns)),
		base:      strings.TrimSuffix(o.BasePath, "/") + "/api/",
		bySession: map[string]*session{},
		published: map[string]*Contact{},
		burnt:     map[string]bool{},
	}
	for _, col := range o.Columns {
		c.columns[col.ColumnName] = col
	}
	c.view = newView(b, c.lists(), func() any { return c.Summary() })
	return c
}

// ExpireTokens ends every token issued so far.
func (c *CallMiner) ExpireTokens() { c.identity.tokens.expireAll() }

// ServeHTTP answers as CallMiner, or as the test view under /_sandbox/.
func (c *CallMiner) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, viewPrefix) {
		c.view.ServeHTTP(w, r)
		return
	}
	x := c.begin(w, r)
	defer x.end()
	if r.URL.EscapedPath() == "/connect/token" {
		if x.line.Route = RouteToken; c.allowed(x, http.MethodPost) {
			c.identity.token(x)
		}
		return
	}
	if rest, ok := strings.CutPrefix(r.URL.EscapedPath(), c.base); ok {
		c.api(x, rest)
		return
	}
	x.refuse(http.StatusNotFound, "There is nothing at this path; the API lives under "+c.base+".")
}

// api serves one request of the Media Ingestion API; path is escaped and
// relative to /api/. Every request counts for the rate, whatever becomes of it.
func (c *CallMiner) api(x *exchange, path string) {
	method, serve := c.route(x, path)
	if !c.rate.take() {
		if c.o.RetryAfter != "" {
			x.w.Header().Set("Retry-After", c.o.RetryAfter)
		}
		x.refuse(http.StatusTooManyRequests, "Rate limit exceeded.")
		return
	}
	if serve == nil {
		x.refuse(http.StatusNotFound, "The sandbox has no such route.")
		return
	}
	if c.allowed(x, method) && c.authorised(x) {
		serve(x)
	}
}

// route finds what serves a path; nil if nothing does.
func (c *CallMiner) route(x *exchange, path string) (method string, serve func(*exchange)) {
	switch path {
	case "info/callmetadataconfig":
		x.line.Route = RouteConfig
		return http.MethodGet, c.columnList
	case "session/metadatamedia":
		x.line.Route = RouteSession
		return http.MethodPost, c.openSession
	case "session/metadatamedia/segments":
		x.line.Route = RouteSession
		return http.MethodPost, c.openSegments
	case "session/metadata":
		x.line.Route = RouteMetadata
		return http.MethodPost, c.updateMetadata
	}
	escaped, ok := strings.CutPrefix(path, "media/")
	id, err := url.PathUnescape(escaped)
	if !ok || err != nil || escaped == "" || strings.Contains(escaped, "/") {
		return "", nil
	}
	x.line.Route = RouteMedia
	return http.MethodPost, func(x *exchange) { c.media(x, id) }
}

// allowed refuses other methods than the route's own.
func (c *CallMiner) allowed(x *exchange, method string) bool {
	if x.r.Method == method {
		return true
	}
	x.w.Header().Set("Allow", method)
	x.refuse(http.StatusMethodNotAllowed, "This route takes "+method+" only.")
	return false
}

// authorised refuses a missing, unknown or ended bearer token.
func (c *CallMiner) authorised(x *exchange) bool {
	if c.identity.good(x.r) {
		return true
	}
	x.w.Header().Set("WWW-Authenticate", "Bearer")
	x.refuse(http.StatusUnauthorized, "The access token is missing, unknown or expired.")
	return false
}

// columnList is GET /api/info/callmetadataconfig.
func (c *CallMiner) columnList(x *exchange) {
	if !x.meet("") {
		return
	}
	if x.loses() {
		x.lose()
		return
	}
	c.identity.answer(x, http.StatusOK, c.o.Columns)
}
