package sandbox

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Facts of the AcxAPI documentation.
const (
	acxScope    = "acxapi"
	acxTokenEnd = 3600 * time.Second
	acxMaxBytes = 2_500_000_000 // of one file
	acxEnglish  = 1033
	acxSpanish  = 2058
)

// AuthenticX is a fake AuthenticX: POST /connect/token, POST /Media/Upload, GET
// /Metadata, GET /Hierarchy/All, and the test view under /_sandbox/. Every
// other route answers 404.
//
// It writes as the vendor does: uploads are answered in PascalCase, lists in
// camelCase, refusals are a plain English sentence. A fault is chosen before an
// upload is read, so it may meet one that is then refused; a fault that names a
// recording (by FileName) is chosen when it has been read.
//
// It is safe for concurrent use. Faults and limits are described at Fault and
// Options.
type AuthenticX struct {
	o Options
	*bench
	identity *identity
	view     http.Handler

	mu           sync.Mutex
	interactions []*Interaction  // in order of arrival
	taken        map[string]bool // file names
	refused      int64           // uploads under a name that was taken
}

var _ Vendor = (*AuthenticX)(nil)

// AuthenticXOptions are what an AuthenticX organisation has, and the questions
// that the vendor's documents leave open. The zero value is the answer that
// the sender's reference assumes; a test suite passes under both.
type AuthenticXOptions struct {
	// Hierarchies of the organisation; nil is DefaultHierarchies(), an empty
	// list none at all.
	Hierarchies []Hierarchy
	// QuotedErrors writes the sentence of a 400 as a JSON string.
	QuotedErrors bool
	// CamelCase answers uploads as the OpenAPI description has it.
	CamelCase bool
	// TakenAtStart takes the file name as soon as the metadata has arrived,
	// although the upload may yet be cut; otherwise when the upload is whole.
	TakenAtStart bool
	// LooseNames lets the name of the file part differ from FileName in all
	// but the extension.
	LooseNames bool
	// ListingDelay is how long after its arrival an upload is listed.
	ListingDelay time.Duration
}

// Hierarchy is a node of the organisation's tree.
type Hierarchy struct {
	ID             string      `json:"id"`
	IsActive       bool        `json:"isActive"`
	Name           string      `json:"name"`
	Code           string      `json:"code"`
	HierarchyCodes []string    `json:"hierarchyCodes"`
	Children       []Hierarchy `json:"children"`
}

// DefaultHierarchies is a small contact centre.
func DefaultHierarchies() []Hierarchy {
	return []Hierarchy{{
		ID: "10b2fb81-ba0a-413a-89ee-4d1bef20e86e", IsActive: true, Name: "Contact centre", Code: "CC", HierarchyCodes: []string{},
		Children: []Hierarchy{
			{ID: "10b2fb81-ba0a-413a-89ee-4d1bef20e86f", IsActive: true, Name: "Billing", Code: "Billing", HierarchyCodes: []string{"BIL"}, Children: []Hierarchy{}},
			{ID: "10b2fb81-ba0a-413a-89ee-4d1bef20e870", IsActive: true, Name: "Sales", Code: "Sales", HierarchyCodes: []string{}, Children: []Hierarchy{}},
		},
	}}
}

// NewAuthenticX makes a fake AuthenticX. It panics when Options.Faults holds a
// fault that SetFaults would refuse. The vendor's rate is not published, so
// there is none unless Options names one.
func NewAuthenticX(o Options) *AuthenticX {
	o.TokenLife = cmp.Or(o.TokenLife, acxTokenEnd)
	o.RatePerMinute = cmp.Or(o.RatePerMinute, -1)
	if o.ID == nil {
		o.ID = randomUUID
	}
	if o.AuthenticX.Hierarchies == nil {
		o.AuthenticX.Hierarchies = DefaultHierarchies()
	}
	b := newBench(o, RouteToken, RouteMedia, RouteList, RouteConfig)
	c := &AuthenticX{o: o, bench: b, identity: newIdentity(b, o, acxScope), taken: map[string]bool{}}
	c.view = newView(b, c.lists(), func() any { return c.Summary() })
	return c
}

// ExpireTokens ends every token issued so far.
func (c *AuthenticX) ExpireTokens() { c.identity.tokens.expireAll() }

// ServeHTTP answers as AuthenticX, or as the test view under /_sandbox/.
func (c *AuthenticX) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, viewPrefix) {
		c.view.ServeHTTP(w, r)
		return
	}
	x := c.begin(w, r)
	defer x.end()
	path := strings.TrimPrefix(r.URL.EscapedPath(), strings.TrimSuffix(c.o.BasePath, "/"))
	method, serve := c.route(x, path)
	switch {
	case serve == nil:
		x.rejectAs(http.StatusNotFound, "no such route", "", nil)
	case r.Method != method:
		x.w.Header().Set("Allow", method)
		x.rejectAs(http.StatusMethodNotAllowed, "another method", "", nil)
	case x.line.Route == RouteToken:
		serve(x)
	case !c.identity.good(r):
		x.w.Header().Set("WWW-Authenticate", "Bearer")
		x.rejectAs(http.StatusUnauthorized, "the access token is missing, unknown or expired", "", nil)
	case !c.rate.take():
		if c.o.RetryAfter != "" {
			x.w.Header().Set("Retry-After", c.o.RetryAfter)
		}
		x.rejectAs(http.StatusTooManyRequests, "rate limit exceeded", "", nil)
	default:
		serve(x)
	}
}

// route finds what serves a path; nil if nothing does. The vendor's server
// does not mind the case of a path.
func (c *AuthenticX) route(x *exchange, path string) (method string, serve func(*exchange)) {
	switch strings.ToLower(path) {
	case "/connect/token":
		x.line.Route = RouteToken
		return http.MethodPost, c.identity.token
	case "/media/upload":
		x.line.Route = RouteMedia
		return http.MethodPost, c.upload
	case "/metadata":
		x.line.Route = RouteList
		return http.MethodGet, c.list
	case "/hierarchy/all":
		x.line.Route = RouteConfig
		return http.MethodGet, c.hierarchies
	}
	return "", nil
}

// sentence refuses as the vendor does: a plain English sentence, no code.
func (c *AuthenticX) sentence(x *exchange, text string) {
	if c.o.AuthenticX.QuotedErrors {
		x.rejectAs(http.StatusBadRequest, text, "application/json; charset=utf-8", encode(text))
		return
	}
	x.rejectAs(http.StatusBadRequest, text, "text/plain; charset=utf-8", []byte(text))
}

// hierarchies is GET /Hierarchy/All.
func (c *AuthenticX) hierarchies(x *exchange) {
	if len(c.o.AuthenticX.Hierarchies) == 0 {
		x.rejectAs(http.StatusNotFound, "the organisation has no hierarchies", "", nil)
		return
	}
	if !x.meet("") {
		return
	}
	if x.loses() {
		x.lose()
		return
	}
	c.identity.answer(x, http.StatusOK, c.o.AuthenticX.Hierarchies)
}

// knowsHierarchy looks an id or a code up in the whole tree.
func knowsHierarchy(tree []Hierarchy, id, code string) bool {
	return slices.ContainsFunc(tree, func(h Hierarchy) bool {
		return id != "" && strings.EqualFold(h.ID, id) ||
			code != "" && (h.Code == code || slices.Contains(h.HierarchyCodes, code)) ||
			knowsHierarchy(h.Children, id, code)
	})
}
