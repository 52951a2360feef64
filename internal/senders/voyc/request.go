package voyc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/senders"
)

// The reserved keywords of upload_data (API v2, "Request Data").
const (
	fieldChannel   = "channel_id"
	fieldDate      = "call_date"
	fieldTime      = "call_time"
	fieldAgent     = "agent"
	fieldDirection = "direction"
	fieldLanguage  = "language"
	fieldSpeakers  = "speakers"
)

// Our extra keys: people and exports find a recording by them.
const (
	keyOurs   = "ingestd_key"
	keyCallID = "call_id"
)

// maxBytes is what S3 takes in one request (AWS, PutObject).
const maxBytes = 5 << 30

// request is one recording ready to be declared.
type request struct {
	data map[string]any
	body []byte // data as JSON
}

// build makes step 1 of one recording, or says why it cannot be sent. Plan
// and Send both start here.
func (c *Client) build(item call.Item) (*request, error) {
	if err := acceptable(item); err != nil {
		return nil, err
	}
	data := map[string]any{}
	if err := c.extraKeys(item, data); err != nil {
		return nil, err
	}
	values, err := c.reserved(item)
	if err != nil {
		return nil, err
	}
	fields, err := c.deps.Fields(item)
	if err != nil {
		return nil, fieldError("bad_expression", "a field of [destination.fields] could not be computed", err)
	}
	for key, value := range fields {
		if isReserved(key) {
			values[key] = value
		} else if data[key] = value; value == "" {
			delete(data, key)
		}
	}
	if err := check(values, data); err != nil {
		return nil, err
	}
	body, err := encode(data)
	if err != nil {
		return nil, fieldError("bad_value", "the metadata cannot be written as JSON", err)
	}
	return &request{data: data, body: body}, nil
}

func acceptable(item call.Item) error {
	switch {
	case item.File.Bytes <= 0:
		return fieldError("empty", "the recording has no bytes", nil)
	case item.File.Bytes > maxBytes:
		return fieldError("too_large", fmt.Sprintf("S3 takes at most 5 GiB in one upload; this has %d bytes", item.File.Bytes), nil)
	}
	return nil
}

// extraKeys are kept by the vendor as free metadata: the documented list is
// called "reserved keywords", which implies that there are others.
func (c *Client) extraKeys(item call.Item, data map[string]any) error {
	if !c.config.ExtraKeys {
		return nil
	}
	for key, value := range item.Call.Custom {
		if isReserved(key) {
			return fieldError("reserved_name", fmt.Sprintf("the custom value %q has the name of a reserved key; rename it in [source.call.custom], or set it in [destination.fields]", key), nil)
		}
		data[key] = value
	}
	data[keyOurs] = item.Delivery.IdemKey
	if item.Call.CallID != "" {
		data[keyCallID] = item.Call.CallID
	}
	return nil
}

// reserved are the defaults of the reserved keys; "" is not sent.
func (c *Client) reserved(item call.Item) (map[string]string, error) {
	r := item.Call
	values := map[string]string{
		fieldAgent:    firstOf(r.AgentName, r.AgentEmail, r.AgentID, r.AgentExtension),
		fieldLanguage: r.Language,
	}
	if slices.Contains([]string{call.Inbound, call.Outbound, call.Internal}, r.Direction) {
		values[fieldDirection] = r.Direction
	}
	if !r.StartedAt.IsZero() {
		zone, err := r.Location()
		if err != nil {
			return nil, fieldError("bad_time_zone", "call.time_zone is neither an IANA name nor an offset such as +02:00", err)
		}
		at := r.StartedAt.In(zone)
		values[fieldDate], values[fieldTime] = at.Format(time.DateOnly), at.Format(time.TimeOnly)
	}
	channel := c.config.ChannelID
	if compute := c.deps.Texts["channel_id"]; compute != nil {
		var err error
		if channel, err = compute(item); err != nil {
			return nil, fieldError("bad_expression", "channel_id could not be computed", err)
		}
	}
	values[fieldChannel] = channel
	return values, nil
}

// check puts the reserved values into data, in the form the vendor wants.
func check(values map[string]string, data map[string]any) error {
	for _, key := range []string{fieldChannel, fieldDate, fieldTime} {
		if values[key] == "" {
			return fieldError("missing_field", fmt.Sprintf("%s is empty for this recording; Voyc needs it", key), nil)
		}
	}
	if values[fieldAgent] == "" {
		return &senders.Error{Class: senders.Held, Code: "no_agent",
			Text: `the call names no agent and Voyc needs one; map call.agent_name, or set a placeholder such as agent = 'call.agent_name ?? "unknown"' in [destination.fields]`}
	}
	// Voyc's SFTP sheets write the time with dashes, its API wants colons.
	values[fieldTime] = strings.ReplaceAll(values[fieldTime], "-", ":")
	for key, layout := range map[string]string{fieldDate: time.DateOnly, fieldTime: time.TimeOnly} {
		if _, err := time.Parse(layout, values[key]); err != nil || len(values[key]) != len(layout) {
			return fieldError("bad_time", fmt.Sprintf("%s must have the form %s", key, map[string]string{fieldDate: "YYYY-MM-DD", fieldTime: "hh:mm:ss"}[key]), nil)
		}
	}
	for key, value := range values {
		if value != "" {
			data[key] = value
		}
	}
	// The vendor does not say whether an id is a number: one that looks like a
	// number is sent as one.
	if n, err := strconv.ParseInt(values[fieldChannel], 10, 53); err == nil && strconv.FormatInt(n, 10) == values[fieldChannel] {
		data[fieldChannel] = n
	}
	if text := values[fieldSpeakers]; text != "" {
		n, err := strconv.ParseInt(text, 10, 16)
		if err != nil || n < 1 {
			return fieldError("bad_value", "speakers must be a whole number above zero", nil)
		}
		data[fieldSpeakers] = n
	}
	return nil
}

func isReserved(key string) bool { return slices.Contains(reservedFields, key) }

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

func encode(data map[string]any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(data); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// fileName is what a presigned form sees as the file's name.
func fileName(item call.Item) string {
	ext := firstOf(item.Audio.Ext, item.File.Ext, "bin")
	return item.Delivery.IdemKey + "." + ext
}

func fieldError(code, text string, err error) *senders.Error {
	return &senders.Error{Class: senders.Rejected, Code: code, Text: text, Err: err}
}

// Plan implements senders.Sender. Where the bytes go, and how, is known only
// when step 1 was answered.
func (c *Client) Plan(item call.Item) (senders.Plan, error) {
	r, err := c.build(item)
	if err != nil {
		return senders.Plan{}, err
	}
	return senders.Plan{Requests: []senders.PlannedRequest{
		{
			Step: stepDeclare, Method: http.MethodPost, URL: c.config.uploadDataURL(),
			Headers: map[string]string{"Content-Type": "application/json; charset=utf-8"},
			Body:    json.RawMessage(r.body),
		},
		{
			Step: stepUpload, Method: "POST or PUT", URL: "{the presigned target that Voyc answers}",
			Body: fmt.Sprintf("%d bytes as %s", item.File.Bytes, fileName(item)),
		},
	}}, nil
}
