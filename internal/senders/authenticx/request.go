package authenticx

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"strconv"

	"ingestd/internal/call"
	"ingestd/internal/senders"
)

// request is one recording ready to be sent.
type request struct {
	metadata           metadata
	boundary           string
	prologue, epilogue []byte
	size               int64
	sha256             string
}

// build makes the request of one recording, or says why the vendor would not
// take it. Plan and Send both start here. sent is the FileName of an earlier
// attempt, "" if there was none.
func (c *Client) build(item call.Item, sent string) (*request, error) {
	ext, mediaType, err := acceptable(item)
	if err != nil {
		return nil, err
	}
	m, err := c.describe(item, ext)
	if err != nil {
		return nil, err
	}
	if sent != "" {
		m.FileName = sent
	}
	body, err := encode(m)
	if err != nil {
		return nil, refused("bad_value", "the metadata cannot be written as JSON", err)
	}
	// The key is a hash of the content among others, so the content cannot
	// hold the boundary; and a repeated attempt sends the same bytes.
	r := &request{metadata: m, boundary: "ingestd-" + item.Delivery.IdemKey, size: item.File.Bytes, sha256: item.File.SHA256}
	// metadata is a plain form field, and comes first so that a refusal can.
	r.prologue = fmt.Appendf(nil, "--%s\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n%s\r\n"+
		"--%s\r\nContent-Disposition: form-data; name=\"file\"; filename=\"%s\"\r\nContent-Type: %s\r\n\r\n",
		r.boundary, body, r.boundary, path.Base(m.FileName), mediaType)
	r.epilogue = fmt.Appendf(nil, "\r\n--%s--\r\n", r.boundary)
	return r, nil
}

func (r *request) contentType() string { return "multipart/form-data; boundary=" + r.boundary }

// ids are journalled before the upload: what the vendor is asked with later.
func (r *request) ids() map[string]string {
	return map[string]string{idFileName: r.metadata.FileName, idClientCallID: r.metadata.ClientCallID}
}

// acceptable looks at what was measured and returns the extension and the
// media type of the file part (documentation, media upload format limitations).
func acceptable(item call.Item) (ext, mediaType string, err error) {
	ext = item.Audio.Ext
	if ext == "" {
		ext = item.Audio.Container
	}
	mediaType = map[string]string{
		"wav": "audio/wav", "mp3": "audio/mpeg", "mp4": "audio/mp4", "m4a": "audio/mp4",
		"ogg": "audio/ogg", "opus": "audio/ogg", "zip": "application/zip", "tar": "application/x-tar",
	}[ext]
	if ext == "mp4" && item.Audio.Video {
		mediaType = "video/mp4"
	}
	switch {
	case mediaType == "" && ext == "":
		return "", "", refused("unsupported_format", "AuthenticX takes wav, mp3, mp4, ogg, opus, m4a, and zip or tar for chats; this is an unknown format", nil)
	case mediaType == "":
		return "", "", refused("unsupported_format", "AuthenticX takes wav, mp3, mp4, ogg, opus, m4a, and zip or tar for chats; this is "+ext, nil)
	case item.File.Bytes <= 0:
		return "", "", refused("empty", "the recording has no bytes", nil)
	case item.File.Bytes > maxBytes:
		return "", "", refused("too_large", fmt.Sprintf("AuthenticX takes at most 2.5 GB; this has %d bytes", item.File.Bytes), nil)
	}
	return ext, mediaType, nil
}

// encode writes <, > and & as they are.
func encode(m metadata) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(m); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func refused(code, text string, err error) *senders.Error {
	return &senders.Error{Class: senders.Rejected, Code: code, Text: text, Err: err}
}

func (c *Client) uploadURL() string { return c.base + "/Media/Upload" }

// Plan implements senders.Sender. The body is that of the metadata part.
func (c *Client) Plan(item call.Item) (senders.Plan, error) {
	r, err := c.build(item, "")
	if err != nil {
		return senders.Plan{}, err
	}
	length := int64(len(r.prologue)) + r.size + int64(len(r.epilogue))
	return senders.Plan{Requests: []senders.PlannedRequest{{
		Step: "upload", Method: http.MethodPost, URL: c.uploadURL(),
		Headers: map[string]string{"Content-Type": r.contentType(), "Content-Length": strconv.FormatInt(length, 10)},
		Body: map[string]any{
			"metadata": r.metadata,
			"file":     fmt.Sprintf("%d bytes as %s", r.size, path.Base(r.metadata.FileName)),
		},
	}}}, nil
}
