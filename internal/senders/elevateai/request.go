package elevateai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/senders"
)

// Members of the declare, as the vendor spells them. downloadUri is not among
// them: an unused declare with it would be fetched, processed and billed.
const (
	fieldLanguageTag       = "languageTag"
	fieldVertical          = "vertical"
	fieldTranscriptionMode = "audioTranscriptionMode"
	fieldAIResults         = "includeAiResults"
	fieldModel             = "model"
	fieldFilename          = "originalFilename"
	fieldExternal          = "externalIdentifier"

	metadataPrefix = "metadata."
)

// declaration is the body of POST /interactions.
type declaration struct {
	Type                   string         `json:"type"`
	LanguageTag            string         `json:"languageTag"`
	Vertical               string         `json:"vertical"`
	AudioTranscriptionMode string         `json:"audioTranscriptionMode,omitempty"`
	IncludeAiResults       *bool          `json:"includeAiResults,omitempty"`
	Model                  string         `json:"model,omitempty"`
	OriginalFilename       string         `json:"originalFilename,omitempty"`
	ExternalIdentifier     string         `json:"externalIdentifier,omitempty"`
	Metadata               map[string]any `json:"metadata,omitempty"`
}

// request is one recording ready to be sent.
type request struct {
	declaration declaration
	body        []byte // the declaration as JSON
	fileName    string // of the upload: its extension tells the codec
	bytes       int64
	sha256      string
}

// build makes the requests of one recording, or says why they cannot be made.
// Plan and Send both start here.
func (c *Client) build(item call.Item) (*request, error) {
	if item.File.Bytes <= 0 {
		return nil, rejected("empty", "the recording has no bytes", nil)
	}
	ext := strings.ToLower(item.Audio.Ext)
	if ext == "" {
		ext = strings.ToLower(item.File.Ext)
	}
	if !plainName(ext) || !plainName(item.Delivery.IdemKey) {
		return nil, rejected("unsupported_format", "the recording is of no known format, and ElevateAI goes by the extension of the file name", nil)
	}
	fields, err := c.deps.Fields(item)
	if err != nil {
		return nil, rejected("bad_expression", "a field of [destination.fields] could not be computed", err)
	}
	yes := true
	d := declaration{
		Type: "audio", LanguageTag: c.config.LanguageTag, Vertical: c.config.Vertical, IncludeAiResults: &yes,
		OriginalFilename: item.File.Name, ExternalIdentifier: item.Delivery.IdemKey,
	}
	if item.Call.Language != "" {
		d.LanguageTag = strings.ToLower(item.Call.Language)
	}
	if err := d.replace(fields); err != nil {
		return nil, err
	}
	if c.config.SendMetadata {
		if d.Metadata, err = metadata(item.Call, fields); err != nil {
			return nil, err
		}
	}
	r := &request{declaration: d, fileName: item.Delivery.IdemKey + "." + ext, bytes: item.File.Bytes, sha256: item.File.SHA256}
	if r.body, err = encode(d); err != nil {
		return nil, rejected("bad_value", "the declare cannot be written as JSON", err)
	}
	return r, nil
}

// plainName tells whether a text needs no quoting in a header.
func plainName(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// replace puts what [destination.fields] says in place of the defaults.
func (d *declaration) replace(fields map[string]string) error {
	for key, target := range map[string]*string{
		fieldLanguageTag: &d.LanguageTag, fieldVertical: &d.Vertical, fieldTranscriptionMode: &d.AudioTranscriptionMode,
		fieldModel: &d.Model, fieldFilename: &d.OriginalFilename, fieldExternal: &d.ExternalIdentifier,
	} {
		if value, ok := fields[key]; ok {
			*target = value
		}
	}
	if d.LanguageTag == "" || d.Vertical == "" {
		return rejected("missing_field", "languageTag or vertical is empty for this recording", nil)
	}
	if value, ok := fields[fieldAIResults]; ok {
		d.IncludeAiResults = nil
		if value != "" {
			b, err := strconv.ParseBool(value)
			if err != nil {
				return rejected("bad_value", "includeAiResults must be true or false", nil)
			}
			d.IncludeAiResults = &b
		}
	}
	return nil
}

// metadata of the account's Explore. All values are texts, also the numbers.
func metadata(r call.Record, fields map[string]string) (map[string]any, error) {
	values := map[string]string{
		"direction": r.Direction, "audio.extension": r.AgentExtension, "audio.dnis": r.DNIS,
		"agent.id": r.AgentID, "agent.name": r.AgentName, "agent.group.name": r.AgentTeam,
	}
	if !r.StartedAt.IsZero() {
		values["recorded"] = r.StartedAt.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	for key, value := range fields {
		if path, ok := strings.CutPrefix(key, metadataPrefix); ok {
			values[path] = value
		}
	}
	out := map[string]any{}
	for _, path := range slices.Sorted(maps.Keys(values)) {
		if values[path] == "" {
			continue
		}
		if why := misfit(path, values[path]); why != "" {
			return nil, rejected("bad_value", "metadata."+path+" "+why, nil)
		}
		if !put(out, strings.Split(path, "."), values[path]) {
			return nil, rejected("bad_value", "metadata."+path+" is a value and a group at once", nil)
		}
	}
	return out, nil
}

// misfit says why a value does not fit its typed slot, without repeating it.
func misfit(path, value string) string {
	var err error
	switch {
	case path == "recorded", strings.HasPrefix(path, "custom.datetimes."):
		if _, err = time.Parse(time.RFC3339, value); err != nil {
			return "must be a time such as 2025-11-20T09:15:02Z"
		}
	case strings.HasPrefix(path, "custom.integers."):
		if _, err = strconv.ParseInt(value, 10, 64); err != nil {
			return "must be a whole number"
		}
	case strings.HasPrefix(path, "custom.decimals."):
		// Only digits, sign and point: ParseFloat also takes hexadecimal and inf.
		if _, err = strconv.ParseFloat(value, 64); err != nil || strings.Trim(value, "+-.0123456789") != "" {
			return "must be a number"
		}
	}
	return ""
}

// put sets a value below nested objects; false when a value stands in the way.
func put(in map[string]any, path []string, value string) bool {
	for ; len(path) > 1; path = path[1:] {
		if in[path[0]] == nil {
			in[path[0]] = map[string]any{}
		}
		next, ok := in[path[0]].(map[string]any)
		if !ok {
			return false
		}
		in = next
	}
	if _, group := in[path[0]]; group {
		return false
	}
	in[path[0]] = value
	return true
}

// encode writes <, > and & as they are.
func encode(d declaration) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(d); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// frame is the multipart form around the media: one file part whose name, too,
// is the file name, because the vendor's documents and SDKs differ on it.
func (r *request) frame() (contentType string, prologue, epilogue []byte, err error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	// The key is a hash over the content, so no content can hold it.
	if err := w.SetBoundary("ingestd-" + strings.TrimSuffix(r.fileName, path.Ext(r.fileName))); err != nil {
		return "", nil, nil, err
	}
	_, err = w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {fmt.Sprintf(`form-data; name="%s"; filename="%s"`, r.fileName, r.fileName)},
		"Content-Type":        {"application/octet-stream"},
	})
	if err != nil {
		return "", nil, nil, err
	}
	head := b.Len()
	if err := w.Close(); err != nil {
		return "", nil, nil, err
	}
	return w.FormDataContentType(), b.Bytes()[:head:head], b.Bytes()[head:], nil
}

func rejected(code, text string, err error) *senders.Error {
	return &senders.Error{Class: senders.Rejected, Code: code, Text: text, Err: err}
}

func (c *Client) declareURL() string { return c.base + "/interactions" }

func (c *Client) uploadURL(id string) string {
	return c.base + "/interactions/" + url.PathEscape(id) + "/upload"
}

func (c *Client) statusURL(id string) string {
	return c.base + "/interactions/" + url.PathEscape(id) + "/status"
}

// Plan implements senders.Sender.
func (c *Client) Plan(item call.Item) (senders.Plan, error) {
	r, err := c.build(item)
	if err != nil {
		return senders.Plan{}, err
	}
	contentType, prologue, epilogue, err := r.frame()
	if err != nil {
		return senders.Plan{}, rejected("bad_value", "the form cannot be written", err)
	}
	return senders.Plan{Requests: []senders.PlannedRequest{
		{
			Step: "declare", Method: http.MethodPost, URL: c.declareURL(),
			Headers: map[string]string{"Content-Type": "application/json; charset=utf-8"},
			Body:    json.RawMessage(r.body),
		},
		{
			Step: "upload", Method: http.MethodPost, URL: c.base + "/interactions/{interactionIdentifier}/upload",
			Headers: map[string]string{
				"Content-Type":   contentType,
				"Content-Length": strconv.FormatInt(int64(len(prologue)+len(epilogue))+r.bytes, 10),
			},
			Body: fmt.Sprintf("one file part %s with %d bytes", r.fileName, r.bytes),
		},
	}}, nil
}
