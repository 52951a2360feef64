package authenticx_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ingestd/internal/call"
	"ingestd/internal/senders"
	"ingestd/internal/senders/authenticx"
)

func sender(t *testing.T, c authenticx.Config, d senders.Deps) *authenticx.Client {
	t.Helper()
	s, err := authenticx.New(c, d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func constant(fields map[string]string) func(call.Item) (map[string]string, error) {
	return func(call.Item) (map[string]string, error) { return fields, nil }
}

func TestPlanIsTheExactRequest(t *testing.T) {
	c := config(t, "http://127.0.0.1:1/")
	c.FileNamePrefix = "acme/calls"
	s := sender(t, c, senders.Deps{Fields: constant(map[string]string{
		"HierarchyCode": "Billing", "ApplyHierarchyToAgent": "true", "Zone": "a<b>&\"c\" 😀", "ExtendedMetadataValues.FileName": "",
		"ExtendedMetadataValues.Phone": "ext", "Phone": "", "CallId": "other",
	})})
	i := item()
	i.Call.Language, i.Call.SegmentIndex, i.Call.AgentID, i.Call.AgentExtension = "es-MX", 2, "", "2207"
	i.Call.Custom = map[string]any{"Count": 12.0, "VIP": true, "Due": time.Date(2025, 1, 2, 3, 4, 5, 600e6, time.UTC), "Zone": "overridden"}
	plan, err := s.Plan(i)
	if err != nil {
		t.Fatal(err)
	}
	got := plan.Requests[0]
	body, err := json.Marshal(got.Body.(map[string]any)["metadata"])
	if err != nil {
		t.Fatal(err)
	}
	want := `{"FileName":"acme/calls/` + key + `.wav","UploadType":"Audio","CallDirection":"Inbound",` +
		`"AgentFirstName":"Canary","AgentLastName":"Quill","AgentCode":"2207","InteractionDate":"2025-11-20T07:15:02.000Z",` +
		`"ExtendedMetadataValues":{"CallId":"other","Count":"12","Due":"2025-01-02T03:04:05.6Z","Language":"es-MX","Phone":"ext","RecordingId":"r1","Segment":"2","VIP":"true","Zone":"a\u003cb\u003e\u0026\"c\" 😀"},` +
		`"HierarchyCode":"Billing","ApplyHierarchyToAgent":true,"LocaleId":2058,"ClientCallId":"` + key + `"}`
	if diff := cmp.Diff(want, string(body)); diff != "" {
		t.Error(diff)
	}
	if got.URL != "http://127.0.0.1:1/Media/Upload" || got.Method != "POST" || got.Headers["Content-Type"] != "multipart/form-data; boundary=ingestd-"+key {
		t.Errorf("%+v", got)
	}
}

// planned returns the metadata, or the code of the refusal.
func planned(t *testing.T, s *authenticx.Client, i call.Item) (map[string]any, string) {
	t.Helper()
	plan, err := s.Plan(i)
	if err != nil {
		var e *senders.Error
		if !errors.As(err, &e) || e.Class != senders.Rejected || e.Text == "" {
			t.Fatalf("%v is no rejection", err)
		}
		return nil, e.Code
	}
	raw, err := json.Marshal(plan.Requests[0].Body.(map[string]any)["metadata"])
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	return m, ""
}

func TestFormats(t *testing.T) {
	s := sender(t, config(t, "http://127.0.0.1:1"), senders.Deps{})
	for ext, want := range map[string]string{
		"wav": "Audio", "mp3": "Audio", "mp4": "Audio", "m4a": "Audio", "ogg": "Audio", "opus": "Audio", "zip": "Chat", "tar": "Chat",
		"wma": "", "flac": "", "amr": "", "w64": "", "gz": "", "": "",
	} {
		i := item()
		i.Audio = call.Audio{Container: ext, Ext: ext}
		m, code := planned(t, s, i)
		if want == "" && code != "unsupported_format" || want != "" && (m["UploadType"] != want || m["FileName"] != key+"."+ext) {
			t.Errorf("%q: %v, %q", ext, m, code)
		}
	}
}

func TestDefaultsAndFields(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*call.Item)
		fields map[string]string
		want   map[string]any // nil values are absent
		code   string
	}{
		{name: "2.5 GB", change: func(i *call.Item) { i.File.Bytes = 2_500_000_000 }},
		{name: "and a byte", change: func(i *call.Item) { i.File.Bytes = 2_500_000_001 }, code: "too_large"},
		{name: "no bytes", change: func(i *call.Item) { i.File.Bytes = 0 }, code: "empty"},
		{name: "outbound", change: func(i *call.Item) { i.Call.Direction = call.Outbound }, want: map[string]any{"CallDirection": "Outbound"}},
		{name: "internal", change: func(i *call.Item) { i.Call.Direction = call.Internal }, want: map[string]any{"CallDirection": nil}},
		{name: "odd direction", fields: map[string]string{"CallDirection": "inbound"}, code: "bad_value"},
		{name: "customer", change: func(i *call.Item) {
			i.Call.CustomerName, i.Call.CustomerEmail, i.Call.CustomerPhoneE164 = "Ann", "ann@example.com", "+1555"
		}, want: map[string]any{"Name": "Ann", "Email": "ann@example.com", "Phone": "+1555"}},
		{name: "raw phone", change: func(i *call.Item) { i.Call.CustomerPhone = "0555" }, want: map[string]any{"Phone": "0555"}},
		{name: "agent", change: func(i *call.Item) { i.Call.AgentID, i.Call.AgentExtension = "a7", "22" }, want: map[string]any{"AgentCode": "a7"}},
		{name: "no start", change: func(i *call.Item) { i.Call.StartedAt = time.Time{} }, want: map[string]any{"InteractionDate": nil}},
		{name: "own date", fields: map[string]string{"InteractionDate": "2025-11-20T09:15:02+02:00"}, want: map[string]any{"InteractionDate": "2025-11-20T09:15:02+02:00"}},
		{name: "odd date", fields: map[string]string{"InteractionDate": "20.11.2025"}, code: "bad_time"},
		{name: "no language", want: map[string]any{"LocaleId": nil}},
		{name: "English", change: func(i *call.Item) { i.Call.Language = "en-GB" }, want: map[string]any{"LocaleId": 1033.0}},
		{name: "Spanish", change: func(i *call.Item) { i.Call.Language = "ES" }, want: map[string]any{"LocaleId": 2058.0}},
		{name: "German", change: func(i *call.Item) { i.Call.Language = "de-DE" }, code: "unsupported_language"},
		{name: "Estonian is not Spanish", change: func(i *call.Item) { i.Call.Language = "est" }, code: "unsupported_language"},
		{name: "German as English", change: func(i *call.Item) { i.Call.Language = "de" }, fields: map[string]string{"LocaleId": "1033"}, want: map[string]any{"LocaleId": 1033.0}},
		{name: "no locale", change: func(i *call.Item) { i.Call.Language = "de" }, fields: map[string]string{"LocaleId": ""}, want: map[string]any{"LocaleId": nil}},
		{name: "odd locale", fields: map[string]string{"LocaleId": "1031"}, code: "unsupported_language"},
		{name: "hierarchy", fields: map[string]string{"HierarchyId": anID, "ApplyHierarchyToAgent": "true"}, want: map[string]any{"HierarchyId": anID, "ApplyHierarchyToAgent": true}},
		{name: "hierarchy is no GUID", fields: map[string]string{"HierarchyId": "Billing"}, code: "unknown_hierarchy"},
		{name: "none to apply", fields: map[string]string{"ApplyHierarchyToAgent": "true"}, want: map[string]any{"ApplyHierarchyToAgent": nil}},
		{name: "not applied", fields: map[string]string{"HierarchyCode": "B", "ApplyHierarchyToAgent": "false"}, want: map[string]any{"ApplyHierarchyToAgent": nil}},
		{name: "odd apply", fields: map[string]string{"ApplyHierarchyToAgent": "yes"}, code: "bad_value"},
		{name: "own call id", fields: map[string]string{"ClientCallId": "5CD1S"}, want: map[string]any{"ClientCallId": "5CD1S"}},
		{name: "two call ids", fields: map[string]string{"ClientCallId": "a,b"}, code: "bad_value"},
		{name: "file name kept", want: map[string]any{"ExtendedMetadataValues": map[string]any{"FileName": "x.wav", "CallId": "c1", "RecordingId": "r1"}}},
	} {
		i := item()
		if c.change != nil {
			c.change(&i)
		}
		s := sender(t, config(t, "http://127.0.0.1:1"), senders.Deps{Fields: constant(c.fields)})
		m, code := planned(t, s, i)
		if code != c.code {
			t.Errorf("%s: %q, want %q", c.name, code, c.code)
		}
		for name, want := range c.want {
			if diff := cmp.Diff(want, m[name]); diff != "" {
				t.Errorf("%s: %s: %s", c.name, name, diff)
			}
		}
		if c.code == "" {
			continue
		}
		// Send refuses the same before it touches journal or network: a nil
		// journal would panic, a request would fail otherwise.
		_, err := s.Send(t.Context(), senders.Attempt{Item: i}, nil)
		if e := new(senders.Error); !errors.As(err, &e) || e.Code != c.code {
			t.Errorf("%s: Send says %v", c.name, err)
		}
	}
	boom := func(call.Item) (map[string]string, error) { return nil, errors.New("boom") }
	if _, code := planned(t, sender(t, config(t, "http://127.0.0.1:1"), senders.Deps{Fields: boom}), item()); code != "bad_expression" {
		t.Errorf("%q", code)
	}
}

func TestConfigValidate(t *testing.T) {
	environment := func(name string) func(*authenticx.Config) {
		return func(c *authenticx.Config) { c.BaseURL, c.TokenURL, c.Environment = "", "", name }
	}
	field := func(name string) func(*authenticx.Config) {
		return func(c *authenticx.Config) { c.Fields = map[string]string{name: "1"} }
	}
	for _, c := range []struct {
		name   string
		change func(*authenticx.Config)
		want   string // "" = fine
	}{
		{"as it is", func(*authenticx.Config) {}, ""},
		{"production", environment("production"), ""}, {"staging", environment("staging"), ""}, {"none", environment(""), ""},
		{"unknown", environment("test"), `environment: "test" is none of production, staging`},
		{"both", func(c *authenticx.Config) { c.Environment = "staging" }, "base_url: contradicts environment"},
		{"base_url alone", func(c *authenticx.Config) { c.TokenURL = "" }, "token_url: missing"},
		{"open http", func(c *authenticx.Config) { c.BaseURL = "http://vendor.example" }, "base_url: must be https"},
		{"open token url", func(c *authenticx.Config) { c.TokenURL = "http://vendor.example" }, "token_url: must be https"},
		{"open http allowed", func(c *authenticx.Config) { c.BaseURL, c.AllowHTTP = "http://vendor.example", true }, ""},
		{"client_id", func(c *authenticx.Config) { c.ClientID = "" }, "client_id: missing"},
		{"client_secret", func(c *authenticx.Config) { c.ClientSecret = senders.Secret{} }, "client_secret: missing"},
		{"prefix", func(c *authenticx.Config) { c.FileNamePrefix = "acme/2025_1.x" }, ""},
		{"prefix climbs", func(c *authenticx.Config) { c.FileNamePrefix = "a/../b" }, "file_name_prefix:"},
		{"prefix quotes", func(c *authenticx.Config) { c.FileNamePrefix = `a"b` }, "file_name_prefix:"},
		{"prefix with an end", func(c *authenticx.Config) { c.FileNamePrefix = "a/" }, "file_name_prefix:"},
		{"long prefix", func(c *authenticx.Config) { c.FileNamePrefix = strings.Repeat("a", 129) }, "file_name_prefix:"},
		{"FileName", field("FileName"), "fields.FileName:"}, {"UploadType", field("UploadType"), "fields.UploadType:"},
		{"ExtendedMetadata", field("ExtendedMetadata"), "fields.ExtendedMetadata:"}, {"signedUrl", field("signedUrl"), "fields.signedUrl:"},
		{"extended", field("ExtendedMetadataValues.FileName"), ""},
		{"common", func(c *authenticx.Config) { c.Workers = 0 }, "workers:"},
	} {
		cfg := config(t, "http://127.0.0.1:1")
		c.change(&cfg)
		errs := cfg.Validate()
		if got := fmt.Sprint(errs); c.want == "" && len(errs) > 0 || !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want %q", c.name, got, c.want)
		}
	}
	if _, err := authenticx.New(authenticx.Config{}, senders.Deps{}); err == nil {
		t.Error("New took an empty table")
	}
}

func TestEnvironments(t *testing.T) {
	for name, want := range map[string]string{
		"": "https://api.beauthenticx.com", "production": "https://api.beauthenticx.com", "staging": "https://api.authcx.com",
	} {
		c := config(t, "")
		c.BaseURL, c.TokenURL, c.Environment = "", "", name
		plan, err := sender(t, c, senders.Deps{}).Plan(item())
		if err != nil || plan.Requests[0].URL != want+"/Media/Upload" {
			t.Errorf("%q: %v, %v", name, plan, err)
		}
	}
}

// Every documented text of a 400 has its own code; another one is held.
func TestRefusalTexts(t *testing.T) {
	texts := map[string]string{
		"You must upload a file with one of the specified allowed extensions.": "unsupported_format",
		"You must upload metadata in the request form.":                        "bad_request",
		"Unable to properly parse metadata to chat or audio.":                  "bad_metadata",
		"You must upload valid data in your metadata request form payload.":    "bad_metadata",
		"Invalid metadata form object.":                                        "bad_metadata",
		"You must upload a valid file name with a valid file extension.":       "bad_file_name",
		"File extension in metadata file name and upload file must match!":     "bad_file_name",
		"Unsupported locale id provided.":                                      "unsupported_language",
		"Invalid Hierarchy Id/Code!":                                           "unknown_hierarchy",
		"An interaction with this file name already exists.":                   "duplicate_foreign",
		"Something else: an interaction with this file name already exists.":   "unknown_refusal",
		"An interaction": "unknown_refusal", " ": "unknown_refusal", "{}": "unknown_refusal",
		`{"title":"An interaction with this file name already exists."}`: "unknown_refusal",
	}
	for text, code := range maps.All(texts) {
		for _, form := range []string{text, fmt.Sprintf("%q", text), "\ufeff" + text + "\r\n", strings.ToUpper(text)} {
			v := newTenant(t)
			v.refuse = form
			_, err := v.send(t, sender(t, config(t, v.url), senders.Deps{}), senders.Attempt{Item: v.item()})
			want := senders.Rejected
			if code == "duplicate_foreign" || code == "unknown_refusal" {
				want = senders.Held
			}
			e := new(senders.Error)
			if !errors.As(err, &e) || e.Code != code || e.Class != want || e.HTTPStatus != 400 {
				t.Errorf("%q: %v, want %s", form, err, code)
			}
		}
	}
}
