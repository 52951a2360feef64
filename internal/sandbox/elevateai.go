package sandbox

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Facts of the ElevateAI documentation.
const (
	elevateBasePath  = "/v1"
	elevateRetention = 45 * 24 * time.Hour // of results, and so of what can be asked
	elevatePoll      = 30 * time.Second    // at most so often, for one interaction
)

// ElevateAI is a fake ElevateAI: POST /interactions, POST
// /interactions/{id}/upload, GET /interactions/{id} and its /status, DELETE
// /interactions/{id}, and the test view under /_sandbox/. Every other route
// answers 404: there is no list and no search.
//
// It matches the names of a declare without case, takes in and processes a
// file some time after its 201, and writes times with three to seven digits of
// a second. Faults know a recording by its externalIdentifier.
//
// It is safe for concurrent use. Faults and limits are described at Fault and
// Options.
type ElevateAI struct {
	o Options
	*bench
	view http.Handler
	base string

	mu           sync.Mutex
	interactions []*ElevateInteraction // in order of declaring
	byID         map[string]*ElevateInteraction
	uploads      []*elevateUpload // in order of arrival
	asked        map[string]time.Time
	fastPolls    int64 // status questions within 30 s of the last
	times        int   // printed so far: the next has other digits
}

var _ Vendor = (*ElevateAI)(nil)

// What a second upload to an interaction meets.
const (
	SecondConflict = "conflict" // 409
	SecondAgain    = "again"    // taken and processed once more
	SecondIgnored  = "ignored"  // success, and nothing else
)

// ElevateAIOptions are what an ElevateAI account has, and the questions that
// the vendor's documents leave open. The zero value is the answer that the
// sender's reference assumes; a test suite passes under each.
type ElevateAIOptions struct {
	// Explore takes metadata; without it a declare with metadata is refused.
	Explore bool
	// Uploaded200 answers a good upload with 200, as one SDK expects, instead
	// of the 201 of the documents.
	Uploaded200 bool
	// SecondUpload is one of SecondConflict (also ""), SecondAgain and
	// SecondIgnored.
	SecondUpload string
	// UploadedAfter and ProcessedAfter are how long after its 201 a file shows
	// as uploaded and as processed.
	UploadedAfter, ProcessedAfter time.Duration
	// ProcessingFails ends every processing in processingFailed.
	ProcessingFails bool
	// CutFails ends the interaction of a cut upload in fileUploadFailed;
	// otherwise it goes on waiting for a file.
	CutFails bool
	// MaxBytes of one form; 0: no limit. The vendor publishes none.
	MaxBytes int64
	// MonthlyQuota of declares, refused with 429 beyond; 0: none. The vendor
	// documents a quota and no answer.
	MonthlyQuota int
	// Retention after which an interaction is unknown; 0: 45 days.
	Retention time.Duration
}

// NewElevateAI makes a fake ElevateAI. It panics when Options.Faults holds a
// fault that SetFaults would refuse. Options.ClientSecret is the API token;
// "" takes any.
func NewElevateAI(o Options) *ElevateAI {
	o.RatePerMinute = cmp.Or(o.RatePerMinute, -1)
	o.BasePath = cmp.Or(o.BasePath, elevateBasePath)
	o.ElevateAI.Retention = cmp.Or(o.ElevateAI.Retention, elevateRetention)
	if o.ID == nil {
		o.ID = randomUUID
	}
	b := newBench(o, RouteDeclare, RouteMedia, RouteStatus)
	c := &ElevateAI{
		o: o, bench: b, base: strings.TrimSuffix(o.BasePath, "/") + "/interactions",
		byID: map[string]*ElevateInteraction{}, asked: map[string]time.Time{},
	}
	c.view = newView(b, c.lists(), func() any { return c.Summary() })
	return c
}

// elevateError is the shape of every refusal.
func elevateError(_ int, text string) any { return map[string]string{"errorMessage": text} }

func (c *ElevateAI) no(x *exchange, status int, text string) {
	x.reject(status, text, elevateError(status, text))
}

// ServeHTTP answers as ElevateAI, or as the test view under /_sandbox/.
func (c *ElevateAI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, viewPrefix) {
		c.view.ServeHTTP(w, r)
		return
	}
	x := c.begin(w, r)
	x.shape = elevateError
	defer x.end()
	method, serve := c.route(x, r.URL.EscapedPath())
	token := r.Header.Get("X-Api-Token")
	switch {
	case token == "" || c.o.ClientSecret != "" && token != c.o.ClientSecret:
		c.no(x, http.StatusUnauthorized, "The API token is missing or unknown.")
	case serve == nil:
		c.no(x, http.StatusNotFound, "There is no such route.")
	case r.Method != method:
		x.w.Header().Set("Allow", method)
		c.no(x, http.StatusMethodNotAllowed, "This route takes another method.")
	case !c.rate.take():
		if c.o.RetryAfter != "" {
			x.w.Header().Set("Retry-After", c.o.RetryAfter)
		}
		c.no(x, http.StatusTooManyRequests, "Too many requests.")
	default:
		serve(x)
	}
}

// route finds what serves a path; nil if nothing does.
func (c *ElevateAI) route(x *exchange, path string) (method string, serve func(*exchange)) {
	rest, ok := strings.CutPrefix(path, c.base)
	if ok && (rest == "" || rest == "/") { // the vendor's Python SDK ends it with a slash
		x.line.Route = RouteDeclare
		return http.MethodPost, c.declare
	}
	escaped, action, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	id, err := url.PathUnescape(escaped)
	if !ok || err != nil || id == "" || !strings.HasPrefix(rest, "/") {
		return "", nil
	}
	switch {
	case action == "upload":
		x.line.Route = RouteMedia
		return http.MethodPost, func(x *exchange) { c.upload(x, id) }
	case action == "status":
		x.line.Route = RouteStatus
		return http.MethodGet, func(x *exchange) { c.status(x, id) }
	case action == "" && x.r.Method == http.MethodDelete:
		return http.MethodDelete, func(x *exchange) { c.remove(x, id) }
	case action == "":
		return http.MethodGet, func(x *exchange) { c.parameters(x, id) }
	}
	return "", nil
}

// known finds an interaction that was not forgotten.
func (c *ElevateAI) known(id string) *ElevateInteraction {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.byID[strings.ToLower(id)]
	if i == nil || i.deleted || c.bench.now().Sub(i.DeclaredAt) >= c.o.ElevateAI.Retention {
		return nil
	}
	return i
}

// declare is POST /interactions.
func (c *ElevateAI) declare(x *exchange) {
	f, bad := readFields(x)
	if bad != nil {
		c.no(x, bad.status, bad.text)
		return
	}
	i, bad := c.readDeclare(f)
	switch {
	case bad != nil:
		c.no(x, bad.status, bad.text)
		return
	case !x.meet(i.ExternalIdentifier):
		return
	case x.loses():
		x.lose()
		return
	}
	i.ID, i.DeclaredAt = c.o.ID("interaction"), c.now()
	c.mu.Lock()
	other := "00000000-0000-4000-8000-000000000000"
	if n := len(c.interactions); n > 0 {
		other = c.interactions[n-1].ID
	}
	if quota := c.o.ElevateAI.MonthlyQuota; quota > 0 && len(c.interactions) >= quota {
		c.mu.Unlock()
		c.no(x, http.StatusTooManyRequests, "The monthly request quota is used up.")
		return
	}
	c.interactions = append(c.interactions, i)
	c.byID[strings.ToLower(i.ID)] = i
	c.mu.Unlock()
	x.line.SessionID = i.ID
	c.log.Info("interaction declared", "id", i.ID, "external_identifier", i.ExternalIdentifier)
	x.answer(http.StatusCreated, map[string]string{"interactionIdentifier": forgeID(x.fault.Kind, i.ID, other)})
}

// readDeclare checks a declare. Unknown members are taken and dropped.
func (c *ElevateAI) readDeclare(raw fields) (*ElevateInteraction, *refusal) {
	f := make(fields, len(raw)) // names are matched without case
	for name, value := range raw {
		f[strings.ToLower(name)] = value
	}
	i := &ElevateInteraction{}
	var kind, vertical, mode, model, download string
	for _, bad := range []*refusal{
		f.required("type", &kind), f.required("languagetag", &i.LanguageTag), f.required("vertical", &vertical),
		f.text("audiotranscriptionmode", &mode), f.text("model", &model), f.text("downloaduri", &download),
		f.text("originalfilename", &i.OriginalFilename), f.text("externalidentifier", &i.ExternalIdentifier),
	} {
		if bad != nil {
			return nil, bad
		}
	}
	switch {
	case kind != "audio":
		return nil, badRequest("The sandbox takes the type audio only.")
	case vertical != "default":
		return nil, badRequest("vertical must be default.")
	case mode != "" && mode != "highAccuracy" && mode != "highSpeed":
		return nil, badRequest("audioTranscriptionMode must be highAccuracy or highSpeed.")
	case model != "" && model != "echo" && model != "cx":
		return nil, badRequest("model must be echo or cx.")
	case f.has("includeairesults") && json.Unmarshal(f["includeairesults"], new(bool)) != nil:
		return nil, badRequest("includeAiResults must be true or false.")
	case download != "":
		return nil, badRequest("The sandbox does not fetch from a downloadUri.")
	case !f.has("metadata"):
		return i, nil
	case !c.o.ElevateAI.Explore:
		return nil, badRequest("Metadata is for accounts with Explore.")
	}
	var metadata map[string]any
	if json.Unmarshal(f["metadata"], &metadata) != nil || !allTexts(metadata) {
		return nil, badRequest("metadata must be an object in which every value is a string.")
	}
	i.Metadata = f["metadata"]
	return i, nil
}

func allTexts(v any) bool {
	object, ok := v.(map[string]any)
	if !ok {
		_, ok = v.(string)
		return ok
	}
	for _, member := range object {
		if !allTexts(member) {
			return false
		}
	}
	return true
}
