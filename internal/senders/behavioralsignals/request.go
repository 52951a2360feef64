package behavioralsignals

import (
	"bytes"
	"fmt"
	"maps"
	"mime/multipart"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"ingestd/internal/call"
	"ingestd/internal/senders"
)

const (
	fieldName = "name"

	// fieldKey is the member of meta that carries the delivery's key.
	fieldKey = "ingestd_key"
)

// part is one form field of the upload.
type part struct {
	Name     string `json:"name"`
	Value    string `json:"value,omitempty"`
	FileName string `json:"filename,omitempty"`
	Bytes    int64  `json:"bytes,omitempty"`
}

// request is one recording ready to be sent.
type request struct {
	url      string
	fields   []part // ahead of the file, which is last: its end is the tail
	fileName string
	bytes    int64
	sha256   string
	boundary string
}

// newRequest looks at what was measured. Documented are wav, mp3 "or other
// non-proprietary audio encoding formats", and no limits.
func newRequest(item call.Item) (*request, error) {
	a := item.Audio
	switch {
	case a.Container == "":
		return nil, rejected("unsupported_format", "Behavioral Signals takes wav, mp3 and other open audio formats; this is of an unknown format", nil)
	case a.Container == "wma" || a.Container == "asf":
		return nil, rejected("unsupported_format", "Behavioral Signals takes wav, mp3 and other open audio formats, not "+a.Container, nil)
	case a.Video:
		return nil, rejected("unsupported_format", "Behavioral Signals takes audio; this file holds a video", nil)
	case item.File.Bytes <= 0:
		return nil, rejected("empty", "the recording has no bytes", nil)
	}
	key := item.Delivery.IdemKey
	return &request{
		fileName: key + "." + extension(a), bytes: item.File.Bytes, sha256: item.File.SHA256,
		// It depends on the content through the key, so no recording can hold it.
		boundary: "ingestd-" + key,
	}, nil
}

// extension belongs to the content, whatever suffix the file happened to have.
func extension(a call.Audio) string {
	if a.Ext != "" {
		return a.Ext
	}
	return a.Container
}

func (r *request) contentType() string { return "multipart/form-data; boundary=" + r.boundary }

// frame is what stands before and behind the media.
func (r *request) frame() (prologue, epilogue []byte) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b) // a buffer takes everything: no error below
	_ = w.SetBoundary(r.boundary)
	for _, f := range r.fields {
		_ = w.WriteField(f.Name, f.Value)
	}
	_, _ = w.CreateFormFile("file", r.fileName)
	n := b.Len()
	_ = w.Close()
	return b.Bytes()[:n:n], b.Bytes()[n:]
}

func (r *request) planned() senders.PlannedRequest {
	prologue, epilogue := r.frame()
	return senders.PlannedRequest{
		Step: "upload", Method: http.MethodPost, URL: r.url,
		Headers: map[string]string{
			"Content-Type":   r.contentType(),
			"Content-Length": strconv.FormatInt(int64(len(prologue)+len(epilogue))+r.bytes, 10),
		},
		Body: map[string]any{"parts": append(slices.Clone(r.fields), part{Name: "file", FileName: r.fileName, Bytes: r.bytes})},
	}
}

// label is the process's name at the vendor: the key, or what
// [destination.fields] says with the key behind it, because the key is looked
// for there when meta does not come back.
func label(fields map[string]string, key string) (string, error) {
	own, given := fields[fieldName]
	if !given || own == "" {
		return key, nil
	}
	if len(own) > 200 || !printable(own) {
		return "", rejected("bad_value", "name must be at most 200 bytes without control characters", nil)
	}
	return own + " " + key, nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

func (c *client) fields(item call.Item) (map[string]string, error) {
	fields, err := c.deps.Fields(item)
	if err != nil {
		return nil, rejected("bad_expression", "a field of [destination.fields] could not be computed", err)
	}
	return fields, nil
}

func rejected(code, text string, err error) *senders.Error {
	return &senders.Error{Class: senders.Rejected, Code: code, Text: text, Err: err}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func missing(field string) *senders.Error {
	return rejected("missing_field", fmt.Sprintf("%s is missing and Behavioral Signals needs it", field), nil)
}
