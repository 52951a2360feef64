package sandbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"
)

var (
	voycDate = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`)
	voycTime = regexp.MustCompile(`^\d{2}:\d{2}:\d{2}$`)
)

// uploadData is step 1. The conversation exists from here on, with or without
// audio.
func (v *Voyc) uploadData(x *exchange) {
	f, bad := readFields(x)
	if bad != nil {
		x.reject(bad.status, bad.text, voycError("client_error", "parse_error", bad.text, ""))
		return
	}
	c := &Conversation{Metadata: map[string]any{}}
	for name, raw := range f {
		var value any
		_ = json.Unmarshal(raw, &value) // it came out of whole JSON
		c.Metadata[name] = value
	}
	if attr, why := voycMetadata(c.Metadata); attr != "" {
		x.reject(http.StatusBadRequest, attr+": "+why, voycError("validation_error", "invalid", why, attr))
		return
	}
	c.Key, _ = c.Metadata["ingestd_key"].(string)
	if !x.meet(c.Key) {
		return
	}
	if x.loses() {
		x.lose()
		return
	}
	t, former := v.open(c, x.r.Host)
	if x.fault.Kind == IDOther && former != nil {
		t = former
	}
	v.answerTarget(x, c, t)
}

// voycMetadata checks the four fields that must be there, and the formats.
func voycMetadata(m map[string]any) (attr, why string) {
	for _, name := range []string{"channel_id", "call_date", "call_time", "agent"} {
		text, isText := m[name].(string)
		_, isNumber := m[name].(float64)
		switch {
		case m[name] == nil || isText && text == "":
			return name, "This field is required."
		case !isText && (!isNumber || name != "channel_id"):
			return name, "Not a valid string."
		}
	}
	date, clock := m["call_date"].(string), m["call_time"].(string)
	if _, err := time.Parse(time.DateOnly, date); err != nil || !voycDate.MatchString(date) {
		return "call_date", "Date has wrong format. Use YYYY-MM-DD."
	}
	if _, err := time.Parse(time.TimeOnly, clock); err != nil || !voycTime.MatchString(clock) {
		return "call_time", "Time has wrong format. Use hh:mm:ss."
	}
	if d, there := m["direction"]; there && d != "inbound" && d != "outbound" && d != "internal" {
		return "direction", "Not a valid choice."
	}
	if n, there := m["speakers"]; there {
		if speakers, ok := n.(float64); !ok || speakers < 1 || speakers != float64(int(speakers)) {
			return "speakers", "A valid integer is required."
		}
	}
	return "", ""
}

// open makes the conversation and its target, and returns the target before.
func (v *Voyc) open(c *Conversation, host string) (t, former *voycTarget) {
	c.ID, c.CreatedAt = v.o.ID("conversation"), v.now()
	t = v.newTarget(c.ID, host)
	v.mu.Lock()
	defer v.mu.Unlock()
	former, v.latest = v.latest, t
	v.conversations = append(v.conversations, c)
	v.byID[c.ID], v.targets[c.ID] = c, t
	return t, former
}

// answerTarget answers step 1 in the shape that is switched on.
func (v *Voyc) answerTarget(x *exchange, c *Conversation, t *voycTarget) {
	id := forgeID(x.fault.Kind, c.ID, c.ID)
	switch v.o.Voyc.Shape {
	case VoycHTML:
		x.write(http.StatusOK, "text/html; charset=utf-8", []byte("<!DOCTYPE html><title>Sign in</title>\n"))
	case VoycOther:
		x.answer(http.StatusCreated, map[string]any{"status": "created", "result": map[string]string{"conversation": id}})
	case VoycCredentials:
		x.answer(http.StatusCreated, map[string]string{"AccessKeyId": "ASIASANDBOX", "SecretAccessKey": "sandbox", "SessionToken": "sandbox", "bucket": "calls"})
	case VoycURL:
		x.answer(http.StatusCreated, map[string]string{"id": id, "upload_url": t.url})
	case VoycFormTop:
		x.answer(http.StatusCreated, json.RawMessage(fmt.Sprintf(`{"id":%s,%s}`, encode(id), t.form())))
	default:
		x.answer(http.StatusCreated, json.RawMessage(fmt.Sprintf(`{"id":%s,"upload":{%s}}`, encode(id), t.form())))
	}
}

// form is the target as boto3 prints it: url, then fields in their order.
func (t *voycTarget) form() string {
	var fields []string
	for _, f := range t.fields {
		fields = append(fields, string(encode(f[0]))+":"+string(encode(f[1])))
	}
	return `"url":` + string(encode(t.formURL)) + `,"fields":{` + strings.Join(fields, ",") + `}`
}
