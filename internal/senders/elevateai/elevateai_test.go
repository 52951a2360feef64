package elevateai_test

import (
	"encoding/json"
	"errors"
	"mime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ingestd/internal/call"
	"ingestd/internal/senders"
	"ingestd/internal/senders/elevateai"
)

func sender(t *testing.T, c elevateai.Config, fields map[string]string) *elevateai.Client {
	t.Helper()
	s, err := elevateai.New(c, senders.Deps{Fields: func(call.Item) (map[string]string, error) { return fields, nil }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// planned returns the body of the declare, or the code of the refusal, which
// Send must give too before it touches journal or network.
func planned(t *testing.T, s *elevateai.Client, i call.Item) (body, code string) {
	t.Helper()
	plan, err := s.Plan(i)
	if err == nil {
		return string(plan.Requests[0].Body.(json.RawMessage)), ""
	}
	var e *senders.Error
	if !errors.As(err, &e) || e.Class != senders.Rejected || e.Text == "" {
		t.Fatalf("%v is no rejection", err)
	}
	code = e.Code
	if _, err := s.Send(t.Context(), senders.Attempt{Item: i}, nil); !errors.As(err, &e) || e.Code != code {
		t.Errorf("Plan says %s, Send %v", code, err)
	}
	return "", code
}

func TestDeclare(t *testing.T) {
	key := item().Delivery.IdemKey
	for _, c := range []struct {
		name   string
		change func(*call.Item)
		config func(*elevateai.Config)
		fields map[string]string
		want   string // the JSON, or a code
	}{
		{name: "defaults", want: `{"type":"audio","languageTag":"en-us","vertical":"default","includeAiResults":true,"originalFilename":"+15550199321.wave","externalIdentifier":"` + key + `"}`},
		{name: "the call's language", change: func(i *call.Item) { i.Call.Language = "es-419" }, fields: map[string]string{"originalFilename": "", "externalIdentifier": ""},
			want: `{"type":"audio","languageTag":"es-419","vertical":"default","includeAiResults":true}`},
		{name: "in lower case", change: func(i *call.Item) { i.Call.Language = "pt-BR" }, fields: map[string]string{"originalFilename": "", "externalIdentifier": "x<&>"},
			want: `{"type":"audio","languageTag":"pt-br","vertical":"default","includeAiResults":true,"externalIdentifier":"x<&>"}`},
		{name: "every field", fields: map[string]string{
			"languageTag": "ja", "vertical": "v", "audioTranscriptionMode": "highAccuracy", "includeAiResults": "false", "model": "echo", "originalFilename": "a", "externalIdentifier": "b",
		}, want: `{"type":"audio","languageTag":"ja","vertical":"v","audioTranscriptionMode":"highAccuracy","includeAiResults":false,"model":"echo","originalFilename":"a","externalIdentifier":"b"}`},
		{name: "no AI results named", fields: map[string]string{"includeAiResults": "", "originalFilename": "", "externalIdentifier": ""},
			want: `{"type":"audio","languageTag":"en-us","vertical":"default"}`},
		{name: "metadata", config: func(c *elevateai.Config) { c.SendMetadata = true },
			change: func(i *call.Item) { i.Call.AgentTeam, i.Call.AgentExtension = "Sales", "201" },
			fields: map[string]string{
				"originalFilename": "", "externalIdentifier": "", "metadata.agent.name": "", "metadata.category": "c",
				"metadata.agent.supervisor.id": "s1", "metadata.custom.integers.integer8": "-12", "metadata.custom.decimals.decimal1": "1.50",
				"metadata.custom.datetimes.datetime45": "2025-11-20T09:15:02Z", "metadata.custom.texts.text165": "x",
			},
			want: `{"type":"audio","languageTag":"en-us","vertical":"default","includeAiResults":true,"metadata":{` +
				`"agent":{"group":{"name":"Sales"},"id":"a7","supervisor":{"id":"s1"}},"audio":{"dnis":"4711","extension":"201"},"category":"c",` +
				`"custom":{"datetimes":{"datetime45":"2025-11-20T09:15:02Z"},"decimals":{"decimal1":"1.50"},"integers":{"integer8":"-12"},"texts":{"text165":"x"}},` +
				`"direction":"inbound","recorded":"2025-11-20T07:15:02.000Z"}}`},
		{name: "local time", config: func(c *elevateai.Config) { c.SendMetadata = true },
			change: func(i *call.Item) {
				i.Call = call.Record{StartedAt: i.Call.StartedAt.In(time.FixedZone("", 7200))}
			},
			fields: map[string]string{"originalFilename": "", "externalIdentifier": ""},
			want:   `{"type":"audio","languageTag":"en-us","vertical":"default","includeAiResults":true,"metadata":{"recorded":"2025-11-20T07:15:02.000Z"}}`},

		{name: "no bytes", change: func(i *call.Item) { i.File.Bytes = 0 }, want: "empty"},
		{name: "no extension", change: func(i *call.Item) { i.Audio.Ext, i.File.Ext = "", "" }, want: "unsupported_format"},
		{name: "an odd extension", change: func(i *call.Item) { i.Audio.Ext, i.File.Ext = "", `w"v` }, want: "unsupported_format"},
		{name: "no language", fields: map[string]string{"languageTag": ""}, want: "missing_field"},
		{name: "no vertical", fields: map[string]string{"vertical": ""}, want: "missing_field"},
		{name: "odd AI results", fields: map[string]string{"includeAiResults": "perhaps"}, want: "bad_value"},
		{name: "no integer", config: func(c *elevateai.Config) { c.SendMetadata = true }, fields: map[string]string{"metadata.custom.integers.integer1": "1.5"}, want: "bad_value"},
		{name: "no decimal", config: func(c *elevateai.Config) { c.SendMetadata = true }, fields: map[string]string{"metadata.custom.decimals.decimal1": "inf"}, want: "bad_value"},
		{name: "no time", config: func(c *elevateai.Config) { c.SendMetadata = true }, fields: map[string]string{"metadata.custom.datetimes.datetime1": "20.11.2025"}, want: "bad_value"},
		{name: "value and group", change: func(i *call.Item) { i.Call.AgentTeam = "Sales" }, config: func(c *elevateai.Config) { c.SendMetadata = true }, fields: map[string]string{"metadata.agent.group": "x"}, want: "bad_value"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, i := config(t, "http://127.0.0.1:1"), item()
			if c.config != nil {
				c.config(&cfg)
			}
			if c.change != nil {
				c.change(&i)
			}
			body, code := planned(t, sender(t, cfg, c.fields), i)
			if diff := cmp.Diff(c.want, body+code); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The extension of what the probe measured tells the codec, not that of the
// dropped file; and nothing else of the name is sent as a file name.
func TestUploadPlan(t *testing.T) {
	for _, c := range []struct{ audio, file, want string }{{"wav", "wave", "wav"}, {"", "MP3", "mp3"}} {
		i := item()
		i.Audio.Ext, i.File.Ext = c.audio, c.file
		plan, err := sender(t, config(t, "http://127.0.0.1:1"), nil).Plan(i)
		if err != nil {
			t.Fatal(err)
		}
		up := plan.Requests[1]
		if _, params, err := mime.ParseMediaType(up.Headers["Content-Type"]); err != nil || params["boundary"] != "ingestd-"+i.Delivery.IdemKey {
			t.Errorf("%v, %v", up.Headers, err)
		}
		if text, _ := up.Body.(string); !strings.Contains(text, i.Delivery.IdemKey+"."+c.want+" ") || up.URL != "http://127.0.0.1:1/v1/interactions/{interactionIdentifier}/upload" {
			t.Errorf("%+v", up)
		}
	}
}

func TestConfig(t *testing.T) {
	meta := func(key string) func(*elevateai.Config) {
		return func(c *elevateai.Config) { c.SendMetadata, c.Fields = true, map[string]string{key: "'x'"} }
	}
	field := func(key string) func(*elevateai.Config) {
		return func(c *elevateai.Config) { c.Fields = map[string]string{key: "'x'"} }
	}
	for name, c := range map[string]struct {
		change func(*elevateai.Config)
		want   string // how the one defect begins; "": none
	}{
		"good":                {func(*elevateai.Config) {}, ""},
		"no token":            {func(c *elevateai.Config) { c.Token = senders.Secret{} }, "token: "},
		"plain http":          {func(c *elevateai.Config) { c.BaseURL = "http://api.elevateai.com/v1" }, "base_url: "},
		"plain http, allowed": {func(c *elevateai.Config) { c.BaseURL, c.AllowHTTP = "http://api.elevateai.com/v1", true }, ""},
		"no language":         {func(c *elevateai.Config) { c.LanguageTag = "" }, "language_tag: "},
		"no vertical":         {func(c *elevateai.Config) { c.Vertical = "" }, "vertical: "},
		"a field":             {field("model"), ""},
		"never a download":    {field("downloadUri"), "fields.downloadUri: is never sent"},
		"nor its old name":    {field("downloadUrl"), "fields.downloadUrl: is never sent"},
		"type":                {field("type"), "fields.type: cannot"},
		"misspelt":            {field("externalidentifier"), "fields.externalidentifier: ElevateAI has no such field"},
		"metadata, off":       {field("metadata.agent.id"), "fields.metadata.agent.id: is metadata"},
		"metadata":            {meta("metadata.agent.supervisor.name"), ""},
		"slot":                {meta("metadata.custom.texts.text165"), ""},
		"beyond the slots":    {meta("metadata.custom.texts.text166"), "fields.metadata.custom.texts.text166: texts has slots 1 to 165"},
		"slot zero":           {meta("metadata.custom.texts.text0"), "fields.metadata.custom.texts.text0: is no custom slot"},
		"no such group":       {meta("metadata.custom.words.word1"), "fields.metadata.custom.words.word1: is no custom slot"},
		"no such member":      {meta("metadata.agents.id"), "fields.metadata.agents.id: ElevateAI knows"},
		"a group":             {meta("metadata.agent"), "fields.metadata.agent: names a group"},
		"below a value":       {meta("metadata.direction.x"), "fields.metadata.direction.x: metadata.direction has nothing"},
		"no path":             {meta("metadata.agent..id"), "fields.metadata.agent..id: is no path"},
	} {
		cfg := config(t, "https://api.elevateai.com")
		c.change(&cfg)
		errs := cfg.Validate()
		if c.want == "" && len(errs) != 0 || c.want != "" && (len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, errs, c.want)
		}
		if _, err := elevateai.New(cfg, senders.Deps{}); (err == nil) != (c.want == "") {
			t.Errorf("%s: New says %v", name, err)
		}
	}
	d := elevateai.DefaultConfig()
	if d.BaseURL != "https://api.elevateai.com/v1" || d.SendMetadata || d.Confirm {
		t.Errorf("defaults %+v", d)
	}
}
