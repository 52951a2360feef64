package voyc

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"ingestd/internal/senders"
)

// target is a presigned place for one upload. Whoever has it may write there,
// so it is stored only under a private name and never shown.
type target struct {
	Method  string      `json:"method"` // POST: a form of Fields; PUT: the raw bytes
	URL     string      `json:"url"`
	Fields  [][2]string `json:"fields,omitempty"`  // in the order received
	Headers [][2]string `json:"headers,omitempty"` // PUT: those that were signed
	Expires time.Time   `json:"expires"`           // by this machine's clock
}

func (t *target) String() string   { return "<target>" }
func (t *target) GoString() string { return "<target>" }

func (t *target) store() string {
	b, _ := json.Marshal(t) // texts and a time: it cannot fail
	return string(b)
}

// storedTarget reads what store wrote; nil when there is none.
func storedTarget(raw string) *target {
	var t target
	if raw == "" || json.Unmarshal([]byte(raw), &t) != nil || t.URL == "" {
		return nil
	}
	return &t
}

func (t *target) field(name string) string {
	for _, f := range t.Fields {
		if strings.EqualFold(f[0], name) {
			return f[1]
		}
	}
	return ""
}

// place is where the object will lie: two targets with one place would
// replace each other's recording.
func (t *target) place(fileName string) string {
	u, err := url.Parse(t.URL)
	if err != nil {
		return t.URL
	}
	return u.Host + u.EscapedPath() + " " + strings.ReplaceAll(t.field("key"), "${filename}", fileName)
}

// Bounds of a target; real ones have a dozen fields and 2 KiB.
const (
	maxURL    = 8 << 10
	maxFields = 64
	maxForm   = 64 << 10
)

// findTarget recognises a presigned target in the answer of step 1: an object
// with url and fields (the vendor's platform is written in Python, where boto3
// makes exactly that), else one signed URL. nil: nothing, or more than one.
func findTarget(root *node) *target {
	var forms, urls []*target
	for _, o := range root.objects() {
		if t := form(o); t != nil {
			forms = append(forms, t)
		}
		for _, key := range []string{"url", "upload_url", "presigned_url", "signed_url"} {
			if t := signedURL(o, key); t != nil {
				urls = append(urls, t)
			}
		}
	}
	switch {
	case len(forms) == 1:
		return forms[0]
	case len(forms) == 0 && len(urls) == 1:
		return urls[0]
	}
	return nil
}

func form(o *node) *target {
	u, fields := o.get("url"), o.get("fields")
	if u == nil || u.kind != text || fields == nil || fields.kind != object || !method(o, http.MethodPost) {
		return nil
	}
	t := &target{Method: http.MethodPost, URL: u.text}
	var ok bool
	if t.Fields, ok = pairs(fields); !ok || !policyEnd(t) {
		return nil
	}
	return t
}

func signedURL(o *node, key string) *target {
	v := o.get(key)
	if v == nil || v.kind != text || o.get("fields") != nil || !method(o, http.MethodPut) {
		return nil
	}
	u, err := url.Parse(v.text)
	if err != nil {
		return nil
	}
	t := &target{Method: http.MethodPut, URL: v.text}
	if h := o.get("headers"); h != nil {
		var ok bool
		if t.Headers, ok = pairs(h); !ok {
			return nil
		}
	}
	if !queryEnd(t, u.Query()) || !signedHeaders(t, u.Query()) {
		return nil
	}
	return t
}

// method reports whether the answer, if it names a method, names this one.
func method(o *node, want string) bool {
	for _, key := range []string{"method", "http_method", "verb"} {
		if m, ok := o.get(key).scalar(); ok && !strings.EqualFold(m, want) {
			return false
		}
	}
	return true
}

var token = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`)

// pairs reads an object of texts and numbers.
func pairs(o *node) ([][2]string, bool) {
	if o.kind != object || len(o.keys) > maxFields {
		return nil, false
	}
	var out [][2]string
	size := 0
	for i, key := range o.keys {
		value, ok := o.values[i].scalar()
		if size += len(key) + len(value); !ok || size > maxForm || !token.MatchString(key) {
			return nil, false
		}
		out = append(out, [2]string{key, value})
	}
	return out, true
}

// policyEnd reads the end of a form's life out of its policy. A form that
// brings a file of its own, or wants the answer to be a redirect, is not one
// that can be filled in here.
func policyEnd(t *target) bool {
	if t.field("file") != "" || t.field("success_action_redirect") != "" || t.field("redirect") != "" || t.field("key") == "" {
		return false
	}
	raw, err := base64.StdEncoding.DecodeString(t.field("policy"))
	if err != nil {
		return false
	}
	var policy struct{ Expiration time.Time }
	if json.Unmarshal(raw, &policy) != nil || policy.Expiration.IsZero() {
		return false
	}
	t.Expires = policy.Expiration
	return true
}

const amzTime = "20060102T150405Z"

// queryEnd reads the end of a URL's life: signature version 4 of Amazon or
// Google, or version 2.
func queryEnd(t *target, q url.Values) bool {
	for _, prefix := range []string{"X-Amz-", "X-Goog-"} {
		begin, err1 := time.Parse(amzTime, q.Get(prefix+"Date"))
		seconds, err2 := strconv.ParseInt(q.Get(prefix+"Expires"), 10, 32)
		if q.Get(prefix+"Signature") != "" && err1 == nil && err2 == nil {
			t.Expires = begin.Add(time.Duration(seconds) * time.Second)
			return true
		}
	}
	seconds, err := strconv.ParseInt(q.Get("Expires"), 10, 64)
	if q.Get("Signature") == "" || err != nil {
		return false
	}
	t.Expires = time.Unix(seconds, 0)
	return true
}

// signedHeaders makes sure that every header in the signature can be sent,
// and that none is sent that would break the request.
func signedHeaders(t *target, q url.Values) bool {
	for _, h := range t.Headers {
		switch http.CanonicalHeaderKey(h[0]) {
		case "Authorization", "Host", "Cookie", "Content-Length", "Transfer-Encoding", "Connection", "Expect", "Te", "Trailer", "Upgrade":
			return false
		}
		if strings.ContainsFunc(h[1], func(r rune) bool { return r < ' ' || r > '~' }) {
			return false
		}
	}
	for name := range strings.SplitSeq(q.Get("X-Amz-SignedHeaders")+q.Get("X-Goog-SignedHeaders"), ";") {
		switch {
		case name == "", name == "host", name == "content-length":
		case slices.ContainsFunc(t.Headers, func(h [2]string) bool { return strings.EqualFold(h[0], name) }):
		case name == "if-none-match": // has one sensible value: write only once
			t.Headers = append(t.Headers, [2]string{"If-None-Match", "*"})
		default:
			return false
		}
	}
	return true
}

// What is wrong with the address of a target.
const (
	notPlain  = "that is not plain https to a public host"
	notListed = "on a host that upload_hosts does not name"
)

// wrong applies the rule for addresses that an answer names: https on its
// usual port, to a host that is named plainly and is one of hosts or lies
// below one. "" is a good one. Where the name leads is looked at when it is
// dialled. A rehearsal may lead anywhere.
func (t *target) wrong(rehearsal bool, hosts []string) string {
	u, err := url.Parse(t.URL)
	if err != nil || len(t.URL) > maxURL || u.Host == "" || u.Opaque != "" || u.User != nil || u.Fragment != "" {
		return notPlain
	}
	if rehearsal && (u.Scheme == "https" || u.Scheme == "http") {
		return ""
	}
	host := plainHost(u.Hostname())
	if u.Scheme != "https" || u.Port() != "" && u.Port() != "443" || host == "" || strings.HasSuffix(u.Hostname(), ".") {
		return notPlain
	}
	if !slices.ContainsFunc(hosts, func(allowed string) bool {
		allowed = plainHost(allowed)
		return allowed != "" && (host == allowed || strings.HasSuffix(host, "."+allowed))
	}) {
		return notListed
	}
	return ""
}

// hostName has a dot and a letter at its end: no number in one of the many
// spellings of an address, and no letters beyond ASCII.
var hostName = regexp.MustCompile(`^([A-Za-z0-9_-]{1,63}\.)+[A-Za-z][A-Za-z0-9-]{0,62}$`)

// plainHost is the host in its one spelling, lower case without a dot at its
// end; "" when it is named otherwise than plainly.
func plainHost(host string) string {
	host = strings.TrimSuffix(host, ".")
	if len(host) > 253 || !hostName.MatchString(host) {
		return ""
	}
	return strings.ToLower(host) // after the look: other alphabets have letters that become these
}

// lasts reports whether the target outlives an upload that begins now and is
// as slow as one may be.
func (t *target) lasts(now time.Time, size int64) bool {
	return t.Expires.Sub(now) >= senders.Longest(size)
}
