package sendertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"ingestd/internal/senders"
)

// boundary of a multipart form, "" for any other body.
func (r Request) boundary() string {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		return ""
	}
	return params["boundary"]
}

// Media is as much of the recording as has arrived: the body itself, or what
// follows the head of the form's file part. The head is searched by hand,
// because a parser holds back what a cut form ends in.
func (r Request) Media() []byte {
	boundary := r.boundary()
	if boundary == "" {
		return r.Body
	}
	_, rest, ok := bytes.Cut(r.Body, []byte("; filename="))
	_, media, whole := bytes.Cut(rest, []byte("\r\n\r\n"))
	if !ok || !whole {
		return nil
	}
	return bytes.TrimSuffix(media, []byte("\r\n--"+boundary+"--\r\n"))
}

// form reads a whole multipart body: the fields, and the file, which must be
// the last part so that the tail is the end of the recording.
func (r Request) form() (fields map[string]string, file []byte, err error) {
	fields = map[string]string{}
	parts := multipart.NewReader(bytes.NewReader(r.Body), r.boundary())
	for {
		part, err := parts.NextRawPart()
		if err == io.EOF && file != nil {
			return fields, file, nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("the form does not end with its file: %w", err)
		}
		if file != nil {
			return nil, nil, fmt.Errorf("part %q follows the file", part.FormName())
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return nil, nil, err
		}
		if part.FileName() != "" {
			file = content
		} else {
			fields[part.FormName()] = string(content)
		}
	}
}

// checkMedia: the recording arrived byte for byte, alone or as the last part
// of a form that ends with it.
func (r *rig) checkMedia(up Request) {
	r.t.Helper()
	media := up.Body
	if boundary := up.boundary(); boundary != "" {
		var err error
		if _, media, err = up.form(); err != nil {
			r.t.Fatal(err)
		}
		if !bytes.HasSuffix(up.Body, []byte("\r\n--"+boundary+"--\r\n")) {
			r.t.Fatal("the form goes on behind its closing delimiter")
		}
	}
	if up.ContentLength != int64(len(up.Body)) || !bytes.Equal(media, r.pinned) {
		r.t.Fatalf("media: Content-Length %d, %d bytes, the recording: %t", up.ContentLength, len(up.Body), bytes.Equal(media, r.pinned))
	}
}

// checkPlanned compares a planned request with the one that was sent: a JSON
// body as a whole, of a form the fields that the plan names.
func (r *rig) checkPlanned(p senders.PlannedRequest, sent Request) {
	r.t.Helper()
	noLeak(r.t, "plan headers", fmt.Sprint(p.Headers))
	if u, err := url.Parse(p.URL); err != nil || !strings.Contains(p.URL, "{") && (u.Path != sent.Path || u.RawQuery != sent.Query) {
		r.t.Fatalf("planned %s, sent %s?%s", p.URL, sent.Path, sent.Query)
	}
	if n := p.Headers["Content-Length"]; n != "" && n != strconv.FormatInt(sent.ContentLength, 10) {
		r.t.Fatalf("planned Content-Length %s, sent %d", n, sent.ContentLength)
	}
	if kind := p.Headers["Content-Type"]; kind != "" && kind != sent.Header.Get("Content-Type") {
		r.t.Fatalf("planned Content-Type %q, sent %q", kind, sent.Header.Get("Content-Type"))
	}
	body, err := json.Marshal(p.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if sent.boundary() == "" {
		if json.Valid(sent.Body) && !sameJSON(body, sent.Body) {
			r.t.Fatalf("planned %s\nsent    %s", body, sent.Body)
		}
		return
	}
	fields, _, err := sent.form()
	var planned map[string]json.RawMessage
	if err != nil || json.Unmarshal(body, &planned) != nil {
		return // a plan in words; the form itself is judged by checkMedia
	}
	for name, value := range fields {
		var text string
		want, named := planned[name]
		if named && !sameJSON(want, []byte(value)) && (json.Unmarshal(want, &text) != nil || text != value) {
			r.t.Fatalf("planned %s = %s\nsent    %s", name, want, value)
		}
	}
}

// runDuplicate: a key that is in use means acceptance if it was ours, and a
// conflict for a person if it was not.
func runDuplicate(t *testing.T, newHarness func(*testing.T) Harness) {
	for _, step := range newHarness(t).Steps {
		if step.Duplicate == nil {
			continue
		}
		for _, early := range []bool{false, true} {
			fault := Fault{Early: early, Reply: step.Duplicate}
			t.Run(fmt.Sprintf("%s, ours, early=%t", step.Name, early), func(t *testing.T) {
				r := newRig(t, newHarness)
				r.own = true
				if r.h.List != nil { // it is listed, too
					r.loses(true)
					r.use(r.pinned)
				}
				before := len(r.vendor.seen(step.Name))
				r.vendor.on(step.Name, 0, fault)
				receipt, err := r.send()
				if err != nil || !receipt.Duplicate || len(receipt.IDs) == 0 || receipt.Text == "" {
					t.Fatalf("%+v, %v, want the receipt of an earlier upload", receipt, err)
				}
				noLeak(t, "receipt", receipt.Text)
				if n := len(r.vendor.seen(step.Name)) - before; n != 1 {
					t.Fatalf("%d uploads in one attempt", n)
				}
			})
			t.Run(fmt.Sprintf("%s, somebody else's, early=%t", step.Name, early), func(t *testing.T) {
				r := newRig(t, newHarness)
				r.vendor.on(step.Name, 0, fault)
				if e := r.fails(senders.Held); e.Code != "duplicate_foreign" {
					t.Fatalf("%v, want duplicate_foreign", e)
				}
			})
		}
	}
}
