package sandbox

import (
	"crypto/rand"
	"iter"
	"net/http"
	"strings"
	"sync"
	"time"
)

// VoycUnknowns are the questions that Voyc's public text leaves open: it ends
// in the field table of step 1.
type VoycUnknowns struct {
	// Shape of the answer of step 1; "" is VoycForm.
	Shape VoycShape
	// TargetLife is how long an upload target is good; 0 is one hour.
	TargetLife time.Duration
	// SuccessStatus is what a form asks S3 to answer: 200 or 201; 0: nothing,
	// which means 204.
	SuccessStatus int
	// WriteOnce signs If-None-Match: *, so that a second write is refused.
	WriteOnce bool
}

// VoycShape is a form of the answer of step 1.
type VoycShape string

// The shapes: the first three can be used, the others must be held.
const (
	VoycForm        VoycShape = "form"        // url and fields, nested
	VoycFormTop     VoycShape = "form_top"    // the same at the top level
	VoycURL         VoycShape = "url"         // one signed URL
	VoycCredentials VoycShape = "credentials" // temporary credentials for S3
	VoycOther       VoycShape = "other"       // nothing that could be used
	VoycHTML        VoycShape = "html"        // a login page with status 200
)

// Paths of the fake: the API, and its object storage, which in the world is
// another host.
const (
	voycOrganisation = "4711"
	voycPath         = "/api/v2/workspace/" + voycOrganisation + "/conversation/upload_data/"
	voycStorage      = "/storage/"
)

// Conversation is what step 1 makes, before there is any audio.
type Conversation struct {
	ID         string         `json:"id"`
	Key        string         `json:"key,omitempty"` // its extra key ingestd_key
	Metadata   map[string]any `json:"metadata"`
	CreatedAt  time.Time      `json:"created_at"`
	Writes     int            `json:"writes"` // complete objects at its place; each one replaced the former
	Bytes      int64          `json:"bytes,omitempty"`
	SHA256     string         `json:"sha256,omitempty"` // hex, of the last one
	ReceivedAt time.Time      `json:"received_at,omitzero"`
}

// Voyc is a fake Voyc: step 1 of conversation upload API v2, an object
// storage that knows the targets which step 1 gave out, and the test view
// under /_sandbox/. It is safe for concurrent use.
type Voyc struct {
	o Options
	*bench
	view http.Handler
	key  []byte // signs targets

	mu            sync.Mutex
	conversations []*Conversation
	byID          map[string]*Conversation
	targets       map[string]*voycTarget // by conversation
	latest        *voycTarget
}

var _ Vendor = (*Voyc)(nil)

// NewVoyc makes a fake Voyc. It panics when Options.Faults holds a fault that
// SetFaults would refuse.
func NewVoyc(o Options) *Voyc {
	if o.RatePerMinute == 0 {
		o.RatePerMinute = -1 // no limit is documented
	}
	if o.Voyc.TargetLife == 0 {
		o.Voyc.TargetLife = time.Hour
	}
	if o.ID == nil {
		o.ID = randomUUID
	}
	v := &Voyc{
		o: o, bench: newBench(o, RouteDeclare, RouteMedia), key: make([]byte, 32),
		byID: map[string]*Conversation{}, targets: map[string]*voycTarget{},
	}
	rand.Read(v.key)
	v.view = newView(v.bench, map[string]iter.Seq[any]{
		"conversations": anySeq(v.Conversations), "requests": anySeq(v.Requests),
	}, func() any { return v.Summary() })
	return v
}

// VoycSummary counts everything since the start.
type VoycSummary struct {
	Conversations int `json:"conversations"`
	WithAudio     int `json:"with_audio"`
	Orphans       int `json:"orphans"`    // without audio
	Overwrites    int `json:"overwrites"` // writes beyond the first of a place
	Counters
}

// Summary returns the counters.
func (v *Voyc) Summary() VoycSummary {
	s := VoycSummary{Counters: v.Counters()}
	for _, c := range v.Conversations() {
		s.Conversations++
		if c.Writes == 0 {
			s.Orphans++
			continue
		}
		s.WithAudio++
		s.Overwrites += c.Writes - 1
	}
	return s
}

// Conversations returns all conversations in the order they were made.
func (v *Voyc) Conversations() []Conversation {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make([]Conversation, len(v.conversations))
	for i, c := range v.conversations {
		out[i] = *c
	}
	return out
}

// Stored returns the conversations with audio.
func (v *Voyc) Stored() []Stored {
	var out []Stored
	for _, c := range v.Conversations() {
		if c.Writes > 0 {
			out = append(out, c.stored())
		}
	}
	return out
}

func (c *Conversation) stored() Stored {
	return Stored{Key: c.Key, ID: c.ID, Effect: true, State: "has_audio", Bytes: c.Bytes, SHA256: c.SHA256, ReceivedAt: c.ReceivedAt}
}

// Settings are the lines of a destination that reaches this fake.
func (v *Voyc) Settings(base, secret string) []string {
	return []string{
		`type = "voyc"`,
		`base_url = "` + base + `"`,
		`organisation_id = "` + voycOrganisation + `"`,
		`token = "` + secret + `"`,
		`channel_id = "12"`,
	}
}

// ServeHTTP answers as Voyc, as its object storage, or as the test view.
func (v *Voyc) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, viewPrefix) {
		v.view.ServeHTTP(w, r)
		return
	}
	x := v.begin(w, r)
	defer x.end()
	// The end of a target is told by this clock, so clients may compare them.
	w.Header().Set("Date", v.bench.now().UTC().Format(http.TimeFormat))
	if place, ok := strings.CutPrefix(r.URL.Path, voycStorage); ok {
		x.line.Route = RouteMedia
		v.storage(x, place)
		return
	}
	if r.URL.EscapedPath() != voycPath {
		// Also without the trailing slash.
		x.reject(http.StatusNotFound, "no such path", map[string]string{"detail": "Not found."})
		return
	}
	x.line.Route = RouteDeclare
	if !v.rate.take() {
		x.reject(http.StatusTooManyRequests, "rate limit", voycError("client_error", "throttled", "Request was throttled.", ""))
		return
	}
	// Credentials come before the method, and their lack is a 403.
	if given := bearer(r.Header.Get("Authorization")); given == "" || v.o.ClientSecret != "" && given != v.o.ClientSecret {
		x.reject(http.StatusForbidden, "credentials", voycError("client_error", "not_authenticated", "Authentication credentials were not provided.", ""))
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST, OPTIONS")
		x.reject(http.StatusMethodNotAllowed, "method", voycError("client_error", "method_not_allowed", "Method not allowed.", ""))
		return
	}
	v.uploadData(x)
}

// voycError is the platform's error envelope.
func voycError(kind, code, detail, attr string) any {
	type one struct {
		Code   string  `json:"code"`
		Detail string  `json:"detail"`
		Attr   *string `json:"attr"`
	}
	e := one{Code: code, Detail: detail}
	if attr != "" {
		e.Attr = &attr
	}
	return struct {
		Type   string `json:"type"`
		Errors []one  `json:"errors"`
	}{kind, []one{e}}
}
