package voyc

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // G501: what S3 calls the ETag; the proof of content is the gate's SHA-256
	"encoding/hex"
	"encoding/xml"
	"errors"
	"hash"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"regexp"
	"strings"
	"time"

	"ingestd/internal/senders"
)

// upload is step 2 of one attempt.
type upload struct {
	attempt senders.Attempt
	target  *target
	reused  bool              // the target is that of an earlier attempt
	ids     map[string]string // of step 1, to be journalled; empty when reused
}

// upload sends the bytes to the target. S3 stores whole objects or nothing,
// and a second one replaces the first.
func (c *Client) upload(ctx context.Context, up upload, media senders.Media, j senders.Journal) (senders.Receipt, error) {
	a := up.attempt
	summed := &summedMedia{Media: media, sum: md5.New()} //nolint:gosec // G401: as above
	gate := senders.NewBody(summed, a.File.Bytes, a.File.SHA256, j, nil)
	header, err := up.target.frame(gate, fileName(a.Item))
	if err != nil {
		gate.Close()
		return senders.Receipt{}, &senders.Error{Class: senders.Held, Code: "bad_target", Text: "Voyc's upload form cannot be filled in", Err: err, IDs: up.ids}
	}
	if err := j.Sending(up.ids); err != nil {
		gate.Close()
		return senders.Receipt{}, senders.NotJournalled(err, up.ids)
	}
	answer := c.storage.Media(ctx, up.target.Method, up.target.URL, header, gate)
	if err := gate.Err(); err != nil {
		err.Bytes, err.HTTPStatus = answer.Sent, answer.Status
		return senders.Receipt{}, err
	}
	if answer.Passed && answer.Status == up.target.success() {
		return c.readReceipt(answer, up, summed)
	}
	return c.refused(answer, up)
}

// summedMedia computes what S3 calls the ETag of an object that was sent whole.
type summedMedia struct {
	senders.Media
	sum hash.Hash
}

func (m *summedMedia) Read(p []byte) (int, error) {
	n, err := m.Media.Read(p)
	m.sum.Write(p[:n])
	return n, err
}

// frame puts a form around the media: all fields as they came, the file last
// (AWS, "Browser-Based Uploads Using POST": what follows it is ignored). It
// returns the headers. Never a credential: it would contradict the signature.
func (t *target) frame(g *senders.Gate, name string) (http.Header, error) {
	h := http.Header{}
	for _, pair := range t.Headers {
		h.Set(pair[0], pair[1])
	}
	if t.Method == http.MethodPut {
		return h, nil
	}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, f := range t.Fields {
		if err := w.WriteField(f[0], f[1]); err != nil {
			return nil, err
		}
	}
	part := textproto.MIMEHeader{}
	part.Set("Content-Disposition", multipart.FileContentDisposition("file", name))
	part.Set("Content-Type", "application/octet-stream")
	if _, err := w.CreatePart(part); err != nil {
		return nil, err
	}
	prologue := bytes.Clone(b.Bytes())
	b.Reset()
	if err := w.Close(); err != nil {
		return nil, err
	}
	g.Frame(prologue, b.Bytes())
	h.Set("Content-Type", w.FormDataContentType())
	return h, nil
}

// success is the status that says stored (AWS, POST Object).
func (t *target) success() int {
	switch {
	case t.Method == http.MethodPut, t.field("success_action_status") == "200":
		return http.StatusOK
	case t.field("success_action_status") == "201":
		return http.StatusCreated
	}
	return http.StatusNoContent
}

var (
	entityTag = regexp.MustCompile(`^[A-Za-z0-9+/=_.-]{1,128}$`)
	md5Tag    = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// readReceipt looks at the evidence: an ETag, which is the MD5 of the bytes
// unless the storage encrypts with keys of its own.
func (c *Client) readReceipt(a senders.Answer, up upload, media *summedMedia) (senders.Receipt, error) {
	tag := a.Header.Get("ETag")
	if tag == "" && a.Status == http.StatusCreated {
		var body struct{ ETag string }
		if xml.Unmarshal(a.Body, &body) == nil {
			tag = body.ETag
		}
	}
	if tag == "" {
		e := senders.Classify(a, c.deps.Now())
		e.Text = "the storage's answer has no ETag, so it proves nothing; a proxy may stand in between"
		return senders.Receipt{}, e
	}
	tag = strings.Trim(strings.TrimPrefix(tag, "W/"), `"`)
	encrypted := a.Header.Get("X-Amz-Server-Side-Encryption-Customer-Algorithm") != "" ||
		strings.HasPrefix(a.Header.Get("X-Amz-Server-Side-Encryption"), "aws:kms")
	switch {
	case !entityTag.MatchString(tag):
		return senders.Receipt{}, &senders.Error{Class: senders.Held, Code: "bad_remote_id", HTTPStatus: a.Status, Bytes: a.Sent,
			Text: "the storage took the bytes but its ETag is malformed; look the recording up at Voyc"}
	case md5Tag.MatchString(tag) && !encrypted && tag != hex.EncodeToString(media.sum.Sum(nil)):
		return senders.Receipt{}, &senders.Error{Class: senders.Held, Code: "foreign_id", HTTPStatus: a.Status, Bytes: a.Sent,
			Text: "the storage's answer is about other bytes than were sent; look the recording up at Voyc"}
	}
	return receipt(a, up, map[string]string{idETag: tag}, "the storage that Voyc named holds the whole recording"), nil
}

func receipt(a senders.Answer, up upload, ids map[string]string, text string) senders.Receipt {
	for _, known := range []map[string]string{up.attempt.IDs, up.ids} {
		for name, value := range known {
			if !strings.HasPrefix(name, "_") {
				ids[name] = value
			}
		}
	}
	return senders.Receipt{IDs: ids, HTTPStatus: a.Status, Text: text}
}

// refused classifies an answer of S3 that is no success (AWS, "Error
// Responses"). Statuses that it does not use as the common table has them:
// there are no credentials to renew, and no id that could be unknown.
func (c *Client) refused(a senders.Answer, up upload) (senders.Receipt, error) {
	now := c.deps.Now()
	e := senders.Classify(a, now)
	var own *senders.Error
	if errors.As(a.Err, &own) {
		own.Bytes = a.Sent
		return senders.Receipt{}, own
	}
	var body struct {
		XMLName       xml.Name `xml:"Error"`
		Code, Message string
	}
	if a.BodyErr != nil || xml.Unmarshal(a.Body, &body) != nil {
		body.Code = ""
	}
	set := func(class senders.Class, code, text string) { e.Class, e.Code, e.Text = class, code, text }
	const person = "; ask Voyc, then `ingestd retry` makes a new conversation"
	switch {
	case a.Status >= 400 && a.Status < 500 && up.target.ended(body.Code, body.Message, now):
		return senders.Receipt{}, c.over(up, e)
	case a.Status == http.StatusPreconditionFailed && up.reused && up.attempt.Own:
		r := receipt(a, up, map[string]string{}, "the storage has the recording from an earlier upload of ours and takes no second one")
		r.Duplicate = true
		return r, nil
	case a.Status == http.StatusPreconditionFailed:
		set(senders.Held, "duplicate_foreign", "another upload already lies at the place that Voyc named"+person)
	case a.Status == http.StatusConflict:
		set(senders.Refused, "conflict", "the storage is busy with this place; the upload is repeated to it")
	case a.Status == http.StatusBadRequest && (body.Code == "RequestTimeout" || body.Code == "IncompleteBody"):
		set(senders.Refused, "vendor_error", "the storage did not get the whole recording; the upload is repeated to the same place")
	case body.Code == "EntityTooLarge":
		set(senders.Rejected, "too_large", "the storage refused the recording as too large")
	case body.Code == "SignatureDoesNotMatch":
		set(senders.Held, "target_refused", "the storage refused the signature of the target that Voyc gave"+person)
	case a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden, a.Status == http.StatusNotFound:
		set(senders.Held, "target_refused", "the storage refused the target that Voyc gave"+person)
	case a.Status == http.StatusServiceUnavailable && body.Code == "SlowDown":
		set(senders.RateLimited, "rate_limited", "the storage asked for fewer uploads")
	}
	if e.Class == senders.RateLimited {
		e.RetryAfter = max(e.RetryAfter, time.Second)
		c.deps.Lane.Pause(now.Add(e.RetryAfter), e.Code)
	}
	return senders.Receipt{}, e
}

// ended reports whether a refusal says that the target's time is over. S3
// has no code of its own for that: "Request has expired" of a URL and
// "Policy expired" of a form are both AccessDenied.
func (t *target) ended(code, message string, now time.Time) bool {
	switch code {
	case "ExpiredToken", "RequestExpired", "ExpiredPresignRequest":
		return true
	case "AccessDenied":
		return strings.Contains(strings.ToLower(message), "expired") || now.After(t.Expires)
	}
	return false
}
