package mapping_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ingestd/internal/call"
	"ingestd/internal/mapping"
)

func TestNames(t *testing.T) {
	s := compileSource(t, mapping.SourceConfig{NamePattern: `(?P<agent>\w+)_(?P<stamp>\d{14})(?:-(?P<leg>in|out))?\.wav$`})
	got, err := s.Names("2026/sales/jdoe_20261102080506.wav")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"agent": "jdoe", "stamp": "20261102080506"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	_, err = s.Names("2026/Maria Sanchez.wav")
	if fe := wantFieldError(t, err, "name", "name_pattern"); strings.Contains(fe.Text, "Maria") {
		t.Errorf("text %q quotes the path", fe.Text)
	}
	none := compileSource(t, mapping.SourceConfig{})
	if got, err := none.Names("anything \xff"); len(got) != 0 || err != nil {
		t.Errorf("without a pattern: %v, %v", got, err)
	}
}

func TestKeys(t *testing.T) {
	s := compileSource(t, mapping.SourceConfig{
		NamePattern: `(?P<id>\d+)\.wav$`,
		Sidecars: []mapping.SidecarExprs{
			{Name: "meta"},
			{Name: "rows", Key: `replace(row.CVSLCT, "\\", "/")`, MediaKey: `trimPrefix(file.path, "recordings/")`},
			{Name: "users", Key: `row.id`, MediaKey: `meta.userIds[0]`},
			{Name: "numbers", Key: `row.n`, MediaKey: `number(name.id)`},
		},
	})
	rows := []struct {
		sidecar string
		row     map[string]any
		want    string
	}{
		{"rows", map[string]any{"CVSLCT": `2026-11-02\1\CH1.wav`}, "2026-11-02/1/CH1.wav"},
		{"rows", map[string]any{}, ""},
		{"users", map[string]any{"id": "  "}, ""},
		{"users", map[string]any{"id": int64(1234567890123456789)}, "1234567890123456789"},
		{"meta", map[string]any{"id": "x"}, ""},
		{"nobody", map[string]any{"id": "x"}, ""},
	}
	for _, tt := range rows {
		if got, err := rowKey(s, tt.sidecar, tt.row); got != tt.want || err != nil {
			t.Errorf("RowKeys(%s, %v) = %q, %v, want %q", tt.sidecar, tt.row, got, err, tt.want)
		}
	}
	_, err := rowKey(s, "users", map[string]any{"id": map[string]any{"a": "b"}})
	wantFieldError(t, err, "sidecar.users.key", "bad_value")

	env := mapping.Env{File: call.File{Path: "recordings/2026-11-02/1/CH1.wav"}, Names: map[string]string{"id": "007"}}
	for sidecar, want := range map[string]string{"rows": "2026-11-02/1/CH1.wav", "users": "", "meta": "", "numbers": "7"} {
		if got, err := s.MediaKey(sidecar, env); got != want || err != nil {
			t.Errorf("MediaKey(%s) = %q, %v, want %q", sidecar, got, err, want)
		}
	}
	// A document that was found before gives the key of the next.
	env.Docs = map[string]map[string]any{"meta": {"userIds": []any{"u1", "u2"}}}
	if got, err := s.MediaKey("users", env); got != "u1" || err != nil {
		t.Errorf("MediaKey(users) = %q, %v", got, err)
	}
}

func TestAccept(t *testing.T) {
	tests := []struct {
		rule string
		doc  map[string]any
		want bool
		code string
	}{
		{``, nil, true, ""},
		{`doc.mediaType == "Call"`, map[string]any{"mediaType": "Call"}, true, ""},
		{`doc.mediaType == "Call"`, map[string]any{"mediaType": "Screen"}, false, ""},
		{`doc.mediaType == "Call"`, nil, false, ""},
		{`doc.ok`, map[string]any{"ok": true}, true, ""},
		{`doc.ok`, map[string]any{"ok": "yes"}, false, "bad_value"},
		{`doc.ok`, nil, false, "bad_value"},
		{`audio.duration_seconds >= 2 and file.bytes > 1000`, nil, true, ""},
		{`not (file.path matches "(^|/)ivr/")`, nil, true, ""},
		{`doc.n > 5`, map[string]any{"n": "x"}, false, "bad_expression"},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			s := compileSource(t, mapping.SourceConfig{Accept: tt.rule, Sidecars: []mapping.SidecarExprs{{Name: "doc"}}})
			got, err := s.Accept(mapping.Env{Docs: map[string]map[string]any{"doc": tt.doc},
				File: call.File{Path: "a/b.wav", Bytes: 2000}, Audio: call.Audio{DurationSeconds: 2.5}})
			if tt.code != "" {
				wantFieldError(t, err, "accept", tt.code)
				return
			}
			if got != tt.want || err != nil {
				t.Errorf("got %v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

// callOf maps a document that carries canonical names.
func callOf(t *testing.T, c mapping.SourceConfig, a call.Audio, doc map[string]any) (call.Record, error) {
	t.Helper()
	c.Sidecars = []mapping.SidecarExprs{{Name: "other"}, {Name: "doc"}}
	return compileSource(t, c).Call(mapping.Env{Docs: map[string]map[string]any{"doc": doc}, Audio: a})
}

// TestCanonicalDocument: without [source.call] every canonical name is taken
// from the document, and the derived fields are added.
func TestCanonicalDocument(t *testing.T) {
	doc := parseDoc(t, `{
		"call_id": "c1", "recording_id": 1234567890123456789, "segment_index": "2", "segment_count": 3, "leg": "Agent",
		"started_at": "2026-11-02 08:03:17.5", "call_started_at": "2026-11-02T14:02:51Z", "metadata_duration_seconds": "4,25",
		"direction": "INBOUND", "agent_id": 7, "agent_name": "  Whitlock, Dana ", "agent_extension": "4101", "agent_email": "d@example.com",
		"agent_team": "T1", "customer_phone": "tel:(202) 555-0143", "customer_name": "Doe\n\tJane", "customer_email": "j@example.com", "customer_id": "k",
		"ani": "sip:2025550143@198.51.100.7", "dnis": "800", "queue": "Sales", "campaign": "Autumn", "disposition": "Done", "language": "en-US",
		"agent_channel": 1, "unrelated": {"a": 1},
		"custom": {"Department": "D", "score": 2.5, "vip": false, "none": null, "blank": " ", "count": 3, "note": "two\nlines"}}`)
	got, err := callOf(t, mapping.SourceConfig{TimeZone: "America/Chicago", Region: "US"}, call.Audio{Channels: 2, DurationSeconds: 4.236}, doc)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 2, 14, 3, 17, 500e6, time.UTC)
	want := call.Record{CallID: "c1", RecordingID: "1234567890123456789", SegmentIndex: 2, SegmentCount: 3, Leg: "agent",
		StartedAt: at, CallStartedAt: time.Date(2026, 11, 2, 14, 2, 51, 0, time.UTC), EndedAt: at.Add(4236 * time.Millisecond), MetadataDurationSeconds: ptr(4.25),
		TimeZone: "America/Chicago", Direction: "inbound", AgentID: "7", AgentName: "Whitlock, Dana", AgentFirstName: "Dana", AgentLastName: "Whitlock",
		AgentExtension: "4101", AgentEmail: "d@example.com", AgentTeam: "T1", CustomerPhone: "(202) 555-0143", CustomerPhoneE164: "+12025550143",
		CustomerName: "Doe  Jane", CustomerEmail: "j@example.com", CustomerID: "k", ANI: "2025550143", DNIS: "800", Queue: "Sales", Campaign: "Autumn",
		Disposition: "Done", Language: "en-US", AgentChannel: ptr(1), CustomerChannel: ptr(0),
		Custom: map[string]any{"Department": "D", "score": 2.5, "vip": false, "count": int64(3), "note": "two\nlines"},
		Raw: map[string]string{"started_at": "2026-11-02 08:03:17.5", "call_started_at": "2026-11-02T14:02:51Z", "segment_index": "2",
			"metadata_duration_seconds": "4,25", "customer_phone": "tel:(202) 555-0143", "ani": "sip:2025550143@198.51.100.7"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestBadValues(t *testing.T) {
	tests := []struct {
		field string
		value any
		code  string
	}{
		{"started_at", nil, "missing_field"},
		{"started_at", "  ", "missing_field"},
		{"started_at", "02/11/2026 9:45", "bad_time"},
		{"started_at", int64(1793606410), "bad_time"},
		{"direction", nil, "missing_field"},
		{"direction", "sideways", "bad_value"},
		{"direction", int64(1), "bad_value"},
		{"direction", true, "bad_value"},
		{"leg", "both", "bad_value"},
		{"call_id", "NULL", "bad_value"},
		{"call_id", int64(0), "bad_value"},
		{"call_id", "00000000-0000-0000-0000-000000000000", "bad_value"},
		{"call_id", "a\nb", "bad_value"},
		{"recording_id", strings.Repeat("x", 10<<10), "bad_value"},
		{"recording_id", "[None]", "bad_value"},
		{"recording_id", []any{"x"}, "bad_value"},
		{"recording_id", true, "bad_value"},
		{"agent_name", "caf\xe9", "bad_value"},
		{"agent_name", strings.Repeat("x", 5000), "bad_value"},
		{"agent_name", map[string]any{"first": "D"}, "bad_value"},
		{"segment_index", int64(0), "bad_number"},
		{"segment_index", 1.5, "bad_number"},
		{"segment_index", "one", "bad_number"},
		{"segment_count", int64(1e9), "bad_number"},
		{"metadata_duration_seconds", int64(-1), "bad_number"},
		{"metadata_duration_seconds", "1e309", "bad_number"},
		{"metadata_duration_seconds", true, "bad_number"},
		{"time_zone", "EST", "bad_time"},
		{"customer_phone_e164", "202-555-0143", "bad_value"},
		{"agent_channel", int64(-1), "bad_number"},
		{"custom", map[string]any{"list": []any{"x"}}, "bad_value"},
	}
	for _, tt := range tests {
		t.Run(tt.field, func(t *testing.T) {
			doc := map[string]any{"started_at": "2026-11-02T14:00:00Z", "direction": "inbound"}
			doc[tt.field] = tt.value
			_, err := callOf(t, mapping.SourceConfig{TimeZone: "UTC"}, call.Audio{}, doc)
			field := tt.field
			if field == "custom" {
				field = "custom.list"
			}
			wantFieldError(t, err, field, tt.code)
		})
	}
	// No document at all is a missing field like any other.
	_, err := callOf(t, mapping.SourceConfig{}, call.Audio{}, nil)
	wantFieldError(t, err, "started_at", "missing_field")
}

func TestBadDirectionIsNamed(t *testing.T) {
	_, err := callOf(t, mapping.SourceConfig{}, call.Audio{}, map[string]any{"started_at": "2026-11-02T14:00:00Z", "direction": "Inbnd"})
	if fe := wantFieldError(t, err, "direction", "bad_value"); !strings.Contains(fe.Text, `"Inbnd"`) || !strings.Contains(fe.Text, "outbound") {
		t.Errorf("text %q names neither the value nor what is allowed", fe.Text)
	}
}

func TestDerived(t *testing.T) {
	tests := []struct {
		name  string
		doc   map[string]any
		audio call.Audio
		got   func(call.Record) any
		want  any
	}{
		{"ended_at stated", map[string]any{"ended_at": "2026-11-02T14:00:09Z"}, call.Audio{DurationSeconds: 5}, func(r call.Record) any { return r.EndedAt }, time.Date(2026, 11, 2, 14, 0, 9, 0, time.UTC)},
		{"ended_at unknown", nil, call.Audio{}, func(r call.Record) any { return r.EndedAt.IsZero() }, true},
		{"zone of the call", map[string]any{"time_zone": "+0530"}, call.Audio{}, func(r call.Record) any { return r.TimeZone }, "+05:30"},
		{"zone of the source", nil, call.Audio{}, func(r call.Record) any { return r.TimeZone }, "Europe/London"},
		{"extension is no number", map[string]any{"customer_phone": "201"}, call.Audio{}, func(r call.Record) any { return r.CustomerPhone + r.CustomerPhoneE164 }, "201"},
		{"number of the region", map[string]any{"customer_phone": "07700900111"}, call.Audio{}, func(r call.Record) any { return r.CustomerPhoneE164 }, "+447700900111"},
		{"E.164 stated", map[string]any{"customer_phone": "07700900111", "customer_phone_e164": "+442079460123"}, call.Audio{}, func(r call.Record) any { return r.CustomerPhoneE164 }, "+442079460123"},
		{"one-word name", map[string]any{"agent_name": "Prince"}, call.Audio{}, func(r call.Record) any { return [2]string{r.AgentFirstName, r.AgentLastName} }, [2]string{"Prince", ""}},
		{"long name", map[string]any{"agent_name": "Erin “Bee”  O’Dell"}, call.Audio{}, func(r call.Record) any { return [2]string{r.AgentFirstName, r.AgentLastName} }, [2]string{"Erin “Bee”", "O’Dell"}},
		{"stated name", map[string]any{"agent_name": "Mary Jo van Dyk", "agent_last_name": "van Dyk"}, call.Audio{}, func(r call.Record) any { return [2]string{r.AgentFirstName, r.AgentLastName} }, [2]string{"", "van Dyk"}},
		{"stereo", map[string]any{"agent_channel": int64(0)}, call.Audio{Channels: 2}, func(r call.Record) any { return *r.CustomerChannel }, 1},
		{"mono has no second channel", map[string]any{"agent_channel": int64(0)}, call.Audio{Channels: 1}, func(r call.Record) any { return r.CustomerChannel == nil }, true},
		{"measured beats stated", map[string]any{"agent_channel": int64(1)}, call.Audio{Channels: 1}, func(r call.Record) any { return r.AgentChannel == nil }, true},
		{"four channels", map[string]any{"agent_channel": int64(3), "customer_channel": "2"}, call.Audio{Channels: 4}, func(r call.Record) any { return [2]int{*r.AgentChannel, *r.CustomerChannel} }, [2]int{3, 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc := map[string]any{"started_at": "2026-11-02T14:00:00Z", "direction": "inbound"}
			for k, v := range tt.doc {
				doc[k] = v
			}
			r, err := callOf(t, mapping.SourceConfig{TimeZone: "Europe/London", Region: "GB"}, tt.audio, doc)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, tt.got(r)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	_, err := callOf(t, mapping.SourceConfig{}, call.Audio{Channels: 2},
		map[string]any{"started_at": "2026-11-02T14:00:00Z", "direction": "inbound", "agent_channel": int64(0), "customer_channel": int64(0)})
	wantFieldError(t, err, "customer_channel", "bad_value")
}

// TestRaw: the text as exported stays beside every value that was parsed.
func TestRaw(t *testing.T) {
	s := compileSource(t, mapping.SourceConfig{TimeZone: "UTC", NamePattern: `_(?P<n>\d)$`, Sidecars: []mapping.SidecarExprs{{Name: "doc"}},
		Call: map[string]string{
			"started_at":                `shift(time(doc.d + " " + doc.t, "02/01/2006 15:04:05"), -37)`,
			"direction":                 `lower(doc.dir)`,
			"segment_index":             `number(name.n)`,
			"metadata_duration_seconds": `time(doc.end) - time(doc.begin)`,
			"ended_at":                  `epoch_ms(doc.ms)`,
			"agent_channel":             `1`,
		},
		Custom: map[string]string{"talk": `duration(doc.talk)`, "dir": `doc.dir`}})
	r, err := s.Call(mapping.Env{Names: map[string]string{"n": "2"}, Docs: map[string]map[string]any{"doc": {
		"d": "02/11/2026", "t": "09:15:37", "dir": "Inbound", "end": "2026-11-02T09:15:09Z", "begin": "2026-11-02T09:15:00Z", "ms": int64(1793606410250), "talk": "0:43"}}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"started_at": "02/11/2026 09:15:37", "segment_index": "2", "metadata_duration_seconds": "2026-11-02T09:15:09Z; 2026-11-02T09:15:00Z",
		"ended_at": "1793606410250", "custom.talk": "0:43"}
	if diff := cmp.Diff(want, r.Raw); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if *r.MetadataDurationSeconds != 9 || r.Custom["talk"] != 43.0 || !r.StartedAt.Equal(time.Date(2026, 11, 2, 9, 15, 0, 0, time.UTC)) {
		t.Errorf("values: %+v", r)
	}
}

// TestMissingRequired: an expression that gives nothing is a missing field.
func TestMissingRequired(t *testing.T) {
	s := compileSource(t, mapping.SourceConfig{Sidecars: []mapping.SidecarExprs{{Name: "doc"}},
		Call: map[string]string{"started_at": `time(doc.start)`, "direction": `{"1": "inbound"}[doc.dir]`}})
	_, err := s.Call(mapping.Env{Docs: map[string]map[string]any{"doc": {"dir": int64(1)}}})
	wantFieldError(t, err, "started_at", "missing_field")
	_, err = s.Call(mapping.Env{Docs: map[string]map[string]any{"doc": {"start": "2026-11-02T14:00:00Z", "dir": int64(9)}}})
	wantFieldError(t, err, "direction", "missing_field")
}
