package behavioralsignals

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"ingestd/internal/call"
)

const fieldEmbeddings = "embeddings"

// maxMeta is ours; the vendor names no limit. The list of processes carries
// every meta back, so a large one makes every look into it slow.
const maxMeta = 16 << 10 // bytes

// v5Request builds POST /clients/{cid}/processes/audio. The prose of the
// documentation calls the fields query parameters; its samples and the SDK
// send a form, and so does this.
func (c *client) v5Request(item call.Item) (*request, error) {
	r, err := newRequest(item)
	if err != nil {
		return nil, err
	}
	fields, err := c.fields(item)
	if err != nil {
		return nil, err
	}
	name, err := label(fields, item.Delivery.IdemKey)
	if err != nil {
		return nil, err
	}
	embeddings := "false"
	if v := fields[fieldEmbeddings]; v != "" {
		embeddings = v
	}
	if embeddings != "true" && embeddings != "false" {
		return nil, rejected("bad_value", "embeddings must be true or false", nil)
	}
	meta, err := v5Meta(item, fields)
	if err != nil {
		return nil, err
	}
	r.url = c.processesURL() + "/audio"
	r.fields = []part{{Name: fieldName, Value: name}, {Name: fieldEmbeddings, Value: embeddings}, {Name: "meta", Value: meta}}
	return r, nil
}

func (c *client) processesURL() string {
	return c.base + "/clients/" + url.PathEscape(c.config.Client) + "/processes"
}

type member struct {
	key   string
	value any
}

// v5Meta is the JSON text of the form field meta: v5 has no other place for
// what the call record says. The key comes first. Phone numbers and names are
// in it only if [destination.fields] puts them there.
func v5Meta(item call.Item, fields map[string]string) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for i, m := range v5Members(item, fields) {
		b.WriteByte("{,"[min(i, 1)])
		if err := e.Encode(m.key); err != nil {
			return "", rejected("bad_value", "meta cannot be written as JSON", err)
		}
		b.WriteByte(':')
		if err := e.Encode(m.value); err != nil {
			return "", rejected("bad_value", "meta cannot be written as JSON", err)
		}
	}
	b.WriteByte('}')
	var text bytes.Buffer
	if err := json.Compact(&text, b.Bytes()); err != nil { // the encoder ends each value with a line feed
		return "", rejected("bad_value", "meta cannot be written as JSON", err)
	}
	if text.Len() > maxMeta {
		return "", rejected("too_large_meta", fmt.Sprintf("meta would have %d bytes, the most is %d; leave fields out in [destination.fields]", text.Len(), maxMeta), nil)
	}
	return text.String(), nil
}

func v5Members(item call.Item, fields map[string]string) []member {
	r := item.Call
	list := []member{{fieldKey, item.Delivery.IdemKey}}
	known := map[string]bool{fieldName: true, fieldEmbeddings: true}
	add := func(key string, present bool, value any) {
		known[key] = true
		if own, given := fields[key]; given {
			present, value = own != "", own
		}
		if present {
			list = append(list, member{key, value})
		}
	}
	text := func(key, value string) { add(key, value != "", value) }

	text("call_id", r.CallID)
	text("recording_id", r.RecordingID)
	add("segment_index", r.SegmentIndex > 0, r.SegmentIndex)
	add("started_at", !r.StartedAt.IsZero(), r.StartedAt.UTC().Format(time.RFC3339Nano))
	text("direction", r.Direction)
	text("agent_id", r.AgentID)
	text("agent_team", r.AgentTeam)
	text("queue", r.Queue)
	text("campaign", r.Campaign)
	text("customer_id", r.CustomerID)
	text("language", r.Language)
	add("channels", item.Audio.Channels > 0, item.Audio.Channels)
	add("agent_channel", r.AgentChannel != nil, r.AgentChannel)
	add("custom", len(r.Custom) > 0, r.Custom)
	for _, key := range sortedKeys(fields) {
		if !known[key] {
			text(key, "")
		}
	}
	return list
}
