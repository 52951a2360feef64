package callminer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"ingestd/internal/call"
	"ingestd/internal/senders"
)

// Names in [destination.fields] that stand for members of the session request.
// Every other name is a metadata column of the tenant.
const (
	fieldCaptureDate = "ClientCaptureDate"
	fieldSourceID    = "SourceId"
	fieldVoicePrint  = "VoicePrintIdentifier"

	columnAgent = "Agent"
)

// captureLayout always carries the offset: without one the vendor reads UTC.
const captureLayout = "2006-01-02T15:04:05.000-07:00"

const maxCorrelationID = 128 // bytes; the vendor names no limit

// session is the body of POST /api/session/metadatamedia. AudioDecryptionKey
// and AdditionalMedia are never sent.
type session struct {
	Metadata             []metadata
	TotalMediaLength     int64
	MediaType            string
	ClientCaptureDate    string
	VoicePrintIdentifier string `json:",omitempty"`
	SourceID             string `json:"SourceId"`
	CorrelationID        string `json:"CorrelationId"`
}

type metadata struct{ Key, Value string }

// request is one recording ready to be sent.
type request struct {
	session session
	body    []byte // the session as JSON
	sha256  string
}

// build makes the requests of one recording, or says why the vendor would not
// take it. Plan and Send both start here.
func (c *Client) build(item call.Item) (*request, error) {
	mediaType, err := acceptable(item)
	if err != nil {
		return nil, err
	}
	fields, err := c.deps.Fields(item)
	if err != nil {
		return nil, fieldError("bad_expression", "a field of [destination.fields] could not be computed", err)
	}
	s := session{TotalMediaLength: item.File.Bytes, MediaType: mediaType, SourceID: c.config.SourceID}
	if s.ClientCaptureDate, err = captureDate(item.Call); err != nil {
		return nil, err
	}
	if s.CorrelationID, err = c.correlationID(item); err != nil {
		return nil, err
	}
	s.Metadata = columns(item.Call, fields)
	if len(s.Metadata) == 0 {
		return nil, fieldError("missing_metadata", "CallMiner needs at least one metadata item; map call.agent_name or a column in [destination.fields]", nil)
	}
	if c.config.VoicePrint {
		s.VoicePrintIdentifier = valueOf(s.Metadata, columnAgent)
	}
	if err := s.replace(fields); err != nil {
		return nil, err
	}
	if c.config.VoicePrint && s.VoicePrintIdentifier == "" {
		return nil, fieldError("missing_field", "voice_print is on but there is no Agent to identify", nil)
	}
	body, err := encode(s)
	if err != nil {
		return nil, fieldError("bad_value", "the session request cannot be written as JSON", err)
	}
	return &request{session: s, body: body, sha256: item.File.SHA256}, nil
}

// acceptable looks at what was measured and returns the media type.
func acceptable(item call.Item) (string, error) {
	mediaType := mediaTypeOf(item.Audio)
	switch {
	case mediaType == "":
		return "", fieldError("unsupported_format", fmt.Sprintf("CallMiner takes wav, mp3, ogg, m4a, mp4 and wma; this is %s", nameOf(item.Audio)), nil)
	case item.File.Bytes <= 0:
		return "", fieldError("empty", "the recording has no bytes", nil)
	case item.File.Bytes > maxBytes:
		return "", fieldError("too_large", fmt.Sprintf("CallMiner takes at most 1 GiB; this has %d bytes", item.File.Bytes), nil)
	case item.Audio.DurationSeconds > maxSeconds:
		return "", fieldError("too_long", fmt.Sprintf("CallMiner takes at most 1 h 45 min (6300 s); this lasts %.0f s", item.Audio.DurationSeconds), nil)
	}
	return mediaType, nil
}

// mediaTypeOf follows the guide's appendix C, never the system's MIME table:
// it wants audio/mp3, not audio/mpeg. An mp4 without video goes as m4a.
func mediaTypeOf(a call.Audio) string {
	switch a.Container {
	case "wav":
		return "audio/wav"
	case "mp3":
		return "audio/mp3"
	case "ogg":
		return "audio/ogg"
	case "wma", "asf":
		return "audio/wma"
	case "m4a", "mp4":
		if a.Video {
			return "video/mp4"
		}
		return "audio/m4a"
	}
	return ""
}

func nameOf(a call.Audio) string {
	if a.Container == "" {
		return "an unknown format"
	}
	return a.Container
}

func captureDate(r call.Record) (string, error) {
	if r.StartedAt.IsZero() {
		return "", fieldError("missing_field", "call.started_at is missing; CallMiner needs ClientCaptureDate", nil)
	}
	zone, err := r.Location()
	if err != nil {
		return "", fieldError("bad_time_zone", "call.time_zone is neither an IANA name nor an offset such as +02:00", err)
	}
	return r.StartedAt.In(zone).Format(captureLayout), nil
}

// correlationID is ours to choose and the vendor's only guard against a
// second contact; it stands in paths and logs of theirs, so it is kept plain.
func (c *Client) correlationID(item call.Item) (string, error) {
	compute := c.deps.Texts["correlation_id"]
	if compute == nil {
		return item.Delivery.UUID, nil
	}
	id, err := compute(item)
	if err != nil {
		return "", fieldError("bad_expression", "correlation_id could not be computed", err)
	}
	switch {
	case id == "":
		return "", fieldError("missing_field", "correlation_id is empty for this recording", nil)
	case len(id) > maxCorrelationID, !utf8.ValidString(id), strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", fieldError("bad_value", "correlation_id must be at most 128 bytes without control characters", nil)
	}
	return id, nil
}

// columns are the metadata items in the order of their keys: Agent by
// default, everything else by [destination.fields], where "" takes a default
// away.
func columns(r call.Record, fields map[string]string) []metadata {
	values := map[string]string{columnAgent: r.AgentName}
	if r.AgentName == "" {
		values[columnAgent] = r.AgentID
	}
	for key, value := range fields {
		if !isMember(key) {
			values[key] = value
		}
	}
	var items []metadata
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if values[key] != "" {
			items = append(items, metadata{key, values[key]})
		}
	}
	return items
}

func isMember(key string) bool {
	switch key {
	case fieldCaptureDate, fieldSourceID, fieldVoicePrint:
		return true
	}
	return false
}

func valueOf(items []metadata, key string) string {
	for _, m := range items {
		if m.Key == key {
			return m.Value
		}
	}
	return ""
}

// replace puts what [destination.fields] says in place of the defaults.
func (s *session) replace(fields map[string]string) error {
	for key, target := range map[string]*string{
		fieldCaptureDate: &s.ClientCaptureDate, fieldSourceID: &s.SourceID,
		fieldVoicePrint: &s.VoicePrintIdentifier,
	} {
		if value, ok := fields[key]; ok {
			*target = value
		}
	}
	if s.SourceID == "" {
		return fieldError("missing_field", "SourceId is empty for this recording", nil)
	}
	if _, err := time.Parse(time.RFC3339, s.ClientCaptureDate); err != nil {
		return fieldError("bad_time", "ClientCaptureDate must be a time with an offset, as in 2025-11-20T09:15:02.000+02:00", nil)
	}
	return nil
}

// encode writes <, > and & as they are: the guide wants text unescaped.
func encode(s session) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func fieldError(code, text string, err error) *senders.Error {
	return &senders.Error{Class: senders.Rejected, Code: code, Text: text, Err: err}
}

func (c *Client) sessionURL() string { return c.base + "/api/session/metadatamedia" }
func (c *Client) configURL() string  { return c.base + "/api/info/callmetadataconfig" }

func (c *Client) mediaURL(sessionID string) string {
	return c.base + "/api/media/" + url.PathEscape(sessionID)
}

// Plan implements senders.Sender.
func (c *Client) Plan(item call.Item) (senders.Plan, error) {
	r, err := c.build(item)
	if err != nil {
		return senders.Plan{}, err
	}
	return senders.Plan{Requests: []senders.PlannedRequest{
		{
			Step: "session", Method: http.MethodPost, URL: c.sessionURL(),
			Headers: map[string]string{"Content-Type": "application/json; charset=utf-8"},
			Body:    json.RawMessage(r.body),
		},
		{
			Step: "media", Method: http.MethodPost, URL: c.base + "/api/media/{SessionId}",
			Headers: map[string]string{
				"Content-Type":   r.session.MediaType,
				"Content-Length": strconv.FormatInt(r.session.TotalMediaLength, 10),
			},
			Body: fmt.Sprintf("%d bytes of %s", r.session.TotalMediaLength, r.session.MediaType),
		},
	}}, nil
}
