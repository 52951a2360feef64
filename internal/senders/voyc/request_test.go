package voyc_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ingestd/internal/call"
	"ingestd/internal/senders"
	"ingestd/internal/senders/voyc"
)

func constant(values map[string]string) func(call.Item) (map[string]string, error) {
	return func(call.Item) (map[string]string, error) { return values, nil }
}

func TestRequest(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*voyc.Config, *call.Item)
		fields map[string]string
		want   string // JSON, or the code of the refusal
	}{
		"defaults": {nil, nil, `{"channel_id":12,"call_date":"2025-11-21","call_time":"00:15:02","agent":"Canary Quill","direction":"inbound","ingestd_key":"abcdefghijklmnopqrstuvwxyz","call_id":"c1"}`},
		"no extra keys": {func(c *voyc.Config, i *call.Item) { c.ExtraKeys = false; i.Call.Custom = map[string]any{"a": 1} }, nil,
			`{"channel_id":12,"call_date":"2025-11-21","call_time":"00:15:02","agent":"Canary Quill","direction":"inbound"}`},
		"everything": {func(c *voyc.Config, i *call.Item) {
			c.ChannelID = "007"
			i.Call.TimeZone, i.Call.Language, i.Call.Direction = "America/Chicago", "en-US", call.DirectionUnknown
			i.Call.Custom = map[string]any{"Team": "x", "N": 1.5, "OK": true, "At": time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)}
		}, map[string]string{"speakers": "3", "Branch": "b", "call_id": "", "call_time": "01-02-03"},
			`{"channel_id":"007","call_date":"2025-11-20","call_time":"01:02:03","agent":"Canary Quill","language":"en-US","speakers":3,"ingestd_key":"abcdefghijklmnopqrstuvwxyz","Team":"x","N":1.5,"OK":true,"At":"2025-01-02T03:04:05Z","Branch":"b"}`},
		"agent by mail": {func(_ *voyc.Config, i *call.Item) {
			i.Call.AgentName, i.Call.AgentEmail, i.Call.AgentID = "", "a@b", "7"
		}, map[string]string{"ingestd_key": "", "call_id": "", "direction": ""}, `{"channel_id":12,"call_date":"2025-11-21","call_time":"00:15:02","agent":"a@b"}`},
		"no agent":             {func(_ *voyc.Config, i *call.Item) { i.Call.AgentName = "" }, nil, "no_agent"},
		"no start":             {func(_ *voyc.Config, i *call.Item) { i.Call.StartedAt = time.Time{} }, nil, "missing_field"},
		"bad zone":             {func(_ *voyc.Config, i *call.Item) { i.Call.TimeZone = "Mars" }, nil, "bad_time_zone"},
		"date of another form": {nil, map[string]string{"call_date": "20.11.2025"}, "bad_time"},
		"time of another form": {nil, map[string]string{"call_time": "9:15:02"}, "bad_time"},
		"speakers":             {nil, map[string]string{"speakers": "two"}, "bad_value"},
		"channel taken away":   {func(c *voyc.Config, _ *call.Item) { c.ChannelID = "" }, map[string]string{"channel_id": ""}, "missing_field"},
		"reserved name":        {func(_ *voyc.Config, i *call.Item) { i.Call.Custom = map[string]any{"agent": "x"} }, nil, "reserved_name"},
		"empty":                {func(_ *voyc.Config, i *call.Item) { i.File.Bytes = 0 }, nil, "empty"},
		"too large":            {func(_ *voyc.Config, i *call.Item) { i.File.Bytes = 5<<30 + 1 }, nil, "too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, i := config(t, "https://api.app.voyc.ai/"), item()
			if c.change != nil {
				c.change(&cfg, &i)
			}
			if _, set := c.fields["channel_id"]; set {
				cfg.Fields = c.fields
			}
			p, err := sender(t, cfg, senders.Deps{Fields: constant(c.fields)}).Plan(i)
			if e := new(senders.Error); errors.As(err, &e) {
				if e.Code != c.want {
					t.Fatalf("%v, want %s", err, c.want)
				}
				return
			}
			var got, want any
			if json.Unmarshal(p.Requests[0].Body.(json.RawMessage), &got) != nil || json.Unmarshal([]byte(c.want), &want) != nil {
				t.Fatalf("%s, want %s", p.Requests[0].Body, c.want)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if url := p.Requests[0].URL; url != "https://api.app.voyc.ai/api/v2/workspace/4711/conversation/upload_data/" {
				t.Error(url)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*voyc.Config)
		want   string // beginning of the one defect; "" is none
	}{
		"good":                {func(*voyc.Config) {}, ""},
		"expression":          {func(c *voyc.Config) { c.ChannelID = "call.queue" }, ""},
		"no base_url":         {func(c *voyc.Config) { c.BaseURL = "" }, "base_url: missing"},
		"plain http":          {func(c *voyc.Config) { c.BaseURL = "http://api.app.voyc.ai" }, "base_url: must be https"},
		"no organisation":     {func(c *voyc.Config) { c.OrganisationID = "" }, "organisation_id: missing"},
		"organisation a path": {func(c *voyc.Config) { c.OrganisationID = "a/b" }, "organisation_id: must be"},
		"no token":            {func(c *voyc.Config) { c.Token = senders.Secret{} }, "token: missing"},
		"no channel":          {func(c *voyc.Config) { c.ChannelID = "" }, "channel_id: missing"},
		"two channels":        {func(c *voyc.Config) { c.Fields = map[string]string{"channel_id": "1"} }, "fields.channel_id: contradicts"},
		"extra key":           {func(c *voyc.Config) { c.Fields = map[string]string{"Branch": "1"} }, ""},
		"extra key off":       {func(c *voyc.Config) { c.ExtraKeys, c.Fields = false, map[string]string{"Branch": "1", "agent": "2"} }, "fields.Branch: is no reserved"},
		"extra key odd":       {func(c *voyc.Config) { c.Fields = map[string]string{"a b": "1"} }, "fields.a b: an extra key"},
	} {
		cfg := config(t, "https://api.app.voyc.ai")
		c.change(&cfg)
		errs := cfg.Validate()
		if c.want == "" && len(errs) != 0 || c.want != "" && (len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, errs, c.want)
		}
	}
	if c := config(t, ""); c.ChannelExpression() != "" {
		t.Error("an id was taken for an expression")
	}
}
