package behavioralsignals

import (
	"bytes"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"ingestd/internal/senders"
)

// process is the vendor's object, as far as it is used. Samples show cid as a
// number and as text, and name and meta as text, "" and null.
type process struct {
	PID    *opaque `json:"pid"`
	ID     *opaque `json:"id"` // what the legacy page calls the pid
	CID    *opaque `json:"cid"`
	Name   text    `json:"name"`
	Meta   text    `json:"meta"`
	Status *int    `json:"status"`
}

// opaque takes an id given as text or as a whole number.
type opaque string

func (o *opaque) UnmarshalJSON(b []byte) error {
	if b[0] == '"' {
		return json.Unmarshal(b, (*string)(o))
	}
	var n json.Number
	err := json.Unmarshal(b, &n)
	*o = opaque(n)
	return err
}

// text takes text, null as "", and anything else as its JSON.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case '"':
		return json.Unmarshal(b, (*string)(t))
	case 'n':
		*t = ""
	default:
		*t = text(b)
	}
	return nil
}

// processNumber is what a pid may look like: a positive 64-bit number. It goes
// into a URL, the ledger and a terminal.
var processNumber = regexp.MustCompile(`^[1-9][0-9]{0,18}$`)

// key is the delivery's key that the process carries: in meta, else in the
// last word of name. A server may have reformatted meta, or cut it short.
func (p process) key() string {
	var meta struct {
		Key *string `json:"ingestd_key"`
	}
	if json.Unmarshal([]byte(p.Meta), &meta) == nil && meta.Key != nil {
		return *meta.Key
	}
	name := string(p.Name)
	return name[strings.LastIndexByte(name, ' ')+1:]
}

// readReceipt checks the evidence in a 200. Without a pid the recording stays
// in doubt; an answer about something else means that this one cannot be
// believed either.
func (c *client) readReceipt(a senders.Answer, key string) (senders.Receipt, error) {
	var got process
	if a.BodyErr != nil || json.Unmarshal(a.Body, &got) != nil {
		return senders.Receipt{}, c.failed(a)
	}
	if got.PID == nil && c.config.API == APILegacy {
		got.PID = got.ID
	}
	if got.PID == nil {
		return senders.Receipt{}, c.failed(a)
	}
	pid := string(*got.PID)
	echoed := got.key()
	switch {
	case !processNumber.MatchString(pid):
		return senders.Receipt{}, held(a, "bad_remote_id", "Behavioral Signals answered with a process number that is none; look the key up in its portal")
	case got.CID != nil && string(*got.CID) != c.config.Client:
		return senders.Receipt{}, held(a, "foreign_id", "Behavioral Signals answered for another project; look the key up in its portal")
	case echoed != "" && !strings.Contains(echoed, key):
		return senders.Receipt{}, held(a, "foreign_id", "Behavioral Signals answered with the process of another recording; look the key up in its portal")
	case !c.given.first(pid):
		return senders.Receipt{}, held(a, "foreign_id", "Behavioral Signals answered with the process number of another upload; look the key up in its portal")
	}
	return senders.Receipt{
		IDs: map[string]string{"pid": pid}, HTTPStatus: a.Status,
		Text: "Behavioral Signals took the recording and gave it a process number",
	}, nil
}

func held(a senders.Answer, code, text string) *senders.Error {
	return &senders.Error{Class: senders.Held, Code: code, Text: text, HTTPStatus: a.Status, Bytes: a.Sent}
}

// pauseWithoutWord is how long a 429 without Retry-After holds the
// destination: the vendor's command line counts per second.
const pauseWithoutWord = 10 * time.Second

// failed classifies an answer that is no success.
func (c *client) failed(a senders.Answer) *senders.Error {
	e := senders.Classify(a, c.deps.Now())
	switch {
	case a.Status == http.StatusServiceUnavailable && notQueued(a):
		e.Class, e.Code, e.Text = senders.Refused, "not_queued", "Behavioral Signals says that it could not queue the recording now; it is sent again later"
	case a.Status == http.StatusNotFound:
		// The path is fixed, so no recording is to blame.
		e.Class, e.Code, e.Text = senders.Auth, "wrong_address", "Behavioral Signals does not know the address; check api, base_url and client"
	case e.Class == senders.RateLimited && e.RetryAfter == 0:
		e.RetryAfter = pauseWithoutWord
	}
	return e
}

// notQueued recognises the vendor's own 503, which promises that nothing was
// taken. Any other 503 may be a gateway's, of the same form, and promises
// nothing: only the documented words do.
func notQueued(a senders.Answer) bool {
	var got struct {
		Code    int
		Message string
	}
	return a.BodyErr == nil && json.Unmarshal(bytes.TrimSpace(a.Body), &got) == nil &&
		got.Code == http.StatusServiceUnavailable && strings.Contains(strings.ToLower(got.Message), "not available")
}

// pids remembers the last process numbers that were given out, to notice one
// that comes twice: an answer from a cache. The zero value is ready.
type pids struct {
	mu   sync.Mutex
	seen map[string]bool
	ring [4096]string
	next int
}

// first reports whether pid has not been seen lately, and remembers it.
func (p *pids) first(pid string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen[pid] {
		return false
	}
	if p.seen == nil {
		p.seen = make(map[string]bool)
	}
	delete(p.seen, p.ring[p.next])
	p.seen[pid], p.ring[p.next] = true, pid
	p.next = (p.next + 1) % len(p.ring)
	return true
}
