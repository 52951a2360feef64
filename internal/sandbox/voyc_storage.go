package sandbox

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // G501: what S3 calls the ETag
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// voycTarget is one presigned place, as a form and as a URL.
type voycTarget struct {
	conversation string
	formURL, url string
	fields       [][2]string
	expires      time.Time
}

const voycAmzTime = "20060102T150405Z"

func (v *Voyc) sign(text string) string {
	h := hmac.New(sha256.New, v.key)
	h.Write([]byte(text))
	return hex.EncodeToString(h.Sum(nil))
}

// newTarget signs a place. Names and formats are those of S3; the signature
// is the sandbox's own, because nobody but itself has to check it.
func (v *Voyc) newTarget(conversation, host string) *voycTarget {
	now := v.bench.now().UTC().Truncate(time.Second)
	t := &voycTarget{conversation: conversation, expires: now.Add(v.o.Voyc.TargetLife)}
	base := "http://" + host + voycStorage + conversation
	policy := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"expiration":%q,"conditions":[{"key":"audio"}]}`, t.expires.Format(time.RFC3339)))
	t.formURL = base
	t.fields = [][2]string{{"key", "audio"}, {"x-amz-algorithm", "AWS4-HMAC-SHA256"}, {"x-amz-credential", "sandbox"}, {"x-amz-date", now.Format(voycAmzTime)}}
	if s := v.o.Voyc.SuccessStatus; s != 0 {
		t.fields = append(t.fields, [2]string{"success_action_status", strconv.Itoa(s)})
	}
	t.fields = append(t.fields, [2]string{"policy", policy}, [2]string{"x-amz-signature", v.sign(policy)})

	signed := "host"
	if v.o.Voyc.WriteOnce {
		signed += ";if-none-match"
	}
	q := url.Values{
		"X-Amz-Algorithm": {"AWS4-HMAC-SHA256"}, "X-Amz-Credential": {"sandbox"}, "X-Amz-SignedHeaders": {signed},
		"X-Amz-Date": {now.Format(voycAmzTime)}, "X-Amz-Expires": {strconv.Itoa(int(v.o.Voyc.TargetLife.Seconds()))},
	}
	q.Set("X-Amz-Signature", v.sign(base+"/audio?"+q.Encode()))
	t.url = base + "/audio?" + q.Encode()
	return t
}

// s3Error answers as S3 does.
func (x *exchange) s3Error(status int, code, message string) {
	body, _ := xml.Marshal(struct {
		XMLName       xml.Name `xml:"Error"`
		Code, Message string
	}{Code: code, Message: message})
	x.line.Note = code + ": " + message
	x.last = x.line.Bytes != x.r.ContentLength
	x.write(status, "application/xml", append([]byte(xml.Header), body...))
	x.b.log.Info("request refused", "method", x.line.Method, "route", x.line.Route, "status", status, "why", x.line.Note)
}

// storage takes the bytes at a presigned place: PUT with the signed URL, or
// POST with the signed form.
func (v *Voyc) storage(x *exchange, place string) {
	id, object, _ := strings.Cut(place, "/")
	v.mu.Lock()
	c, t := v.byID[id], v.targets[id]
	v.mu.Unlock()
	switch {
	case c == nil:
		x.s3Error(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist.")
	case x.r.Header.Get("Authorization") != "":
		x.s3Error(http.StatusBadRequest, "InvalidArgument", "Only one auth mechanism allowed.")
	case x.r.Method == http.MethodPut && object == "audio":
		v.put(x, c, t)
	case x.r.Method == http.MethodPost && object == "":
		v.post(x, c, t)
	default:
		x.s3Error(http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource.")
	}
}

func (v *Voyc) put(x *exchange, c *Conversation, t *voycTarget) {
	switch _, query, _ := strings.Cut(t.url, "?"); {
	case x.r.URL.RawQuery != query:
		x.s3Error(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")
		return
	case v.o.Voyc.WriteOnce && x.r.Header.Get("If-None-Match") != "*":
		x.s3Error(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")
		return
	case v.bench.now().After(t.expires):
		x.s3Error(http.StatusForbidden, "AccessDenied", "Request has expired")
		return
	case x.r.ContentLength < 0 || x.r.Header.Get("Content-Length") == "":
		x.s3Error(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
		return
	}
	if !x.meet(c.Key) {
		return
	}
	if v.o.Voyc.WriteOnce && v.written(c) {
		x.s3Error(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
		return
	}
	in, err := v.newBody()
	object := newObject(in)
	if err == nil {
		err = in.close(x.receive(object))
	}
	v.end(x, c, object, err, http.StatusOK)
}

// post takes a form: all fields as they were given out, the file last and
// nothing behind it.
func (v *Voyc) post(x *exchange, c *Conversation, t *voycTarget) {
	boundary, bad := x.formBoundary()
	if bad != nil {
		x.s3Error(bad.status, "MalformedPOSTRequest", bad.text)
		return
	}
	if !x.meet(c.Key) {
		return
	}
	in, err := v.newBody()
	object := newObject(in)
	if err == nil {
		err = in.close(x.receiveForm(boundary, v.formReader(t, object)))
	}
	if err == nil && !object.begun {
		err = s3Refused{http.StatusBadRequest, "InvalidArgument", "POST requires exactly one file upload per request."}
	}
	status := http.StatusNoContent
	if s := v.o.Voyc.SuccessStatus; s != 0 {
		status = s
	}
	v.end(x, c, object, err, status)
}

// s3Refused is an answer that the storage gives when it has seen the form.
type s3Refused struct {
	status        int
	code, message string
}

func (e s3Refused) Error() string { return e.code + ": " + e.message }

// formReader takes the parts in their order. The fields are judged when the
// file begins, as S3 does.
func (v *Voyc) formReader(t *voycTarget, object *s3Object) func(*multipart.Part) error {
	var given [][2]string
	return func(p *multipart.Part) error {
		switch {
		case object.begun:
			return s3Refused{http.StatusBadRequest, "InvalidArgument", "Something follows the file."}
		case p.FormName() != "file":
			text, err := field(p)
			given = append(given, [2]string{p.FormName(), text})
			return err
		}
		object.begun = true
		if err := v.judge(t, given); err != nil {
			return err
		}
		_, err := io.Copy(object, p)
		return err
	}
}

func (v *Voyc) judge(t *voycTarget, given [][2]string) error {
	form := map[string]string{}
	for _, f := range given {
		form[f[0]] = f[1]
	}
	for _, f := range t.fields {
		if form[f[0]] != f[1] {
			return s3Refused{http.StatusForbidden, "SignatureDoesNotMatch", "Field " + f[0] + " is not the one that was signed."}
		}
	}
	switch {
	case len(given) != len(t.fields):
		return s3Refused{http.StatusForbidden, "AccessDenied", "Invalid according to Policy: Extra input fields."}
	case v.bench.now().After(t.expires):
		return s3Refused{http.StatusForbidden, "AccessDenied", "Invalid according to Policy: Policy expired."}
	}
	return nil
}

// s3Object takes the bytes of one upload.
type s3Object struct {
	*body
	md5   hash.Hash
	begun bool
}

func newObject(in *body) *s3Object {
	return &s3Object{body: in, md5: md5.New()} //nolint:gosec // G401: what S3 calls the ETag
}

func (o *s3Object) Write(p []byte) (int, error) {
	o.md5.Write(p)
	return o.body.Write(p)
}

func (v *Voyc) written(c *Conversation) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return c.Writes > 0
}

// end stores what arrived whole, unless the fault loses it, and answers.
func (v *Voyc) end(x *exchange, c *Conversation, o *s3Object, err error, status int) {
	var refused s3Refused
	switch {
	case errors.Is(err, errCut):
		x.line.Note = errCut.Error()
		x.abandon()
	case errors.As(err, &refused):
		x.s3Error(refused.status, refused.code, refused.message)
		return
	case err != nil:
		x.s3Error(http.StatusBadRequest, "MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.")
		return
	}
	if x.loses() {
		x.lose()
		return
	}
	if x.fault.Kind == StatusLate {
		time.AfterFunc(time.Duration(x.fault.Delay), func() { v.store(c, o) })
		x.answerStatus()
		return
	}
	v.store(c, o)
	switch x.fault.Kind {
	case "", Slow, ShortLength:
		x.delay()
		x.w.Header().Set("ETag", `"`+hex.EncodeToString(o.md5.Sum(nil))+`"`)
		x.write(status, "", nil)
	case IDOther, IDHuge, IDPath, IDCRLF:
		// A header cannot hold a line break or a megabyte.
		x.w.Header().Set("ETag", `"`+clip(strings.ReplaceAll(forgeID(x.fault.Kind, "0", strings.Repeat("0a", 16)), "\r\n", "<>"), 1000)+`"`)
		x.write(status, "", nil)
	default:
		x.answer(status, map[string]string{})
	}
}

func (v *Voyc) store(c *Conversation, o *s3Object) {
	v.mu.Lock()
	c.Writes++
	c.Bytes, c.SHA256, c.ReceivedAt = o.bytes, hex.EncodeToString(o.sum.Sum(nil)), v.now()
	stored := c.stored()
	v.mu.Unlock()
	if v.o.OnStored != nil {
		v.o.OnStored(stored)
	}
}
