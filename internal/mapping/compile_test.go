package mapping_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ingestd/internal/call"
	"ingestd/internal/mapping"
)

// mistakes unwraps what CompileSource and CompileFields join.
func mistakes(t *testing.T, err error) []*mapping.CompileError {
	t.Helper()
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("error %v joins nothing", err)
	}
	var list []*mapping.CompileError
	for _, e := range joined.Unwrap() {
		var ce *mapping.CompileError
		if !errors.As(e, &ce) {
			t.Fatalf("error %v is no *CompileError", e)
		}
		list = append(list, ce)
	}
	return list
}

// TestSourceMistakes: every mistake of one configuration is reported at once.
func TestSourceMistakes(t *testing.T) {
	_, err := mapping.CompileSource(mapping.SourceConfig{
		NamePattern: `(?P<agent>\w+)_(?P<stamp>\d{14})`,
		TimeZone:    "EST",
		Region:      "USA",
		Accept:      `sidecar.mediaType`,
		Call: map[string]string{
			"started_at":     `time(sidcar.startTime)`,
			"direction":      `sidecar.direction ??`,
			"call_id":        `name.agnet`,
			"agent_name":     `file.nmae`,
			"agent_id":       `audio.chanels + 1`,
			"queue":          `lowercase(sidecar.queue)`,
			"customer":       `sidecar.customer`,
			"dnis":           `row.dnis`,
			"ani":            ` `,
			"ended_at":       `now()`,
			"agent_team":     `time(sidecar.x, "15:04")`,
			"agent_email":    "sidecar.a +\n  sidcar.b",
			"disposition":    `match(sidecar.x, "(")`,
			"campaign":       `call.queue`,
			"customer_phone": `phone(sidecar.x, "Germany")`,
			"language":       `date("2026-11-02")`,
			"agent_channel":  `$env.sidecar`,
			"customer_name":  `trim`,
			"customer_email": `time(sidecar.x, "2006-01-02 15:04:05 MST")`,
			"customer_id":    `time(sidecar.x, "2006-01-02T15:04:05Z")`,
			"segment_index":  `time(sidecar.x, "Mars/Olympus")`,
			"segment_count":  `number(sidecar.a, 2)`,
		},
		Custom:   map[string]string{"Dept": `sidecar.dept.`, "Half": `sidecar.dept +`, "Digit": `match(sidecar.dept, "\d")`, "Blank": `sidecar.Media Ref`},
		Sidecars: []mapping.SidecarExprs{{Name: "sidecar", Key: `sidecar.id`, MediaKey: `sidecar.id`}},
	})
	if err == nil {
		t.Fatal("no error")
	}
	type at struct {
		line, column int
		text         string // part of the message
	}
	want := map[string]at{
		"time_zone":                 {0, 0, "letter zones"},
		"region":                    {0, 0, "two-letter"},
		"call.started_at":           {1, 6, "unknown name sidcar; known here: audio, file, name, sidecar"},
		"call.direction":            {1, 20, "ends too early"},
		"call.call_id":              {1, 6, "unknown field agnet"},
		"call.agent_name":           {1, 6, "unknown field nmae"},
		"call.agent_id":             {1, 7, "unknown field chanels"},
		"call.queue":                {1, 1, "unknown name lowercase"},
		"call.customer":             {0, 0, "no field of the call record"},
		"call.dnis":                 {1, 1, "unknown name row"},
		"call.ani":                  {0, 0, "empty"},
		"call.ended_at":             {1, 1, "never from the clock"},
		"call.agent_team":           {1, 17, "date and time of day"},
		"call.agent_email":          {2, 3, "unknown name sidcar"},
		"call.disposition":          {1, 18, "missing closing )"},
		"call.campaign":             {1, 1, "unknown name call"},
		"call.customer_phone":       {1, 18, "two-letter"},
		"call.language":             {1, 1, "use time("},
		"call.agent_channel":        {1, 1, "unknown name $env"},
		"call.customer_name":        {1, 1, "trim(...)"},
		"call.customer_email":       {1, 17, "-0700"},
		"call.customer_id":          {1, 17, "Z07:00"},
		"call.segment_index":        {1, 17, "unknown"},
		"call.segment_count":        {1, 1, "too many arguments"},
		"call.custom.Dept":          {1, 13, "unexpected"},
		"call.custom.Half":          {1, 14, "ends too early"},
		"call.custom.Digit":         {1, 23, `written twice: "\\d+"`},
		"call.custom.Blank":         {1, 15, `row["Start Time"]`},
		"sidecar.sidecar.key":       {1, 1, "unknown name sidecar; known here: file, row"},
		"sidecar.sidecar.media_key": {1, 1, "unknown name sidecar; known here: audio, file, name"},
	}
	for _, ce := range mistakes(t, err) {
		w, ok := want[ce.Field]
		if !ok {
			t.Errorf("unexpected: %v", ce)
			continue
		}
		delete(want, ce.Field)
		if got := (at{ce.Line, ce.Column, w.text}); got != w || !strings.Contains(ce.Text, w.text) {
			t.Errorf("%s: line %d, column %d, %q; want %+v", ce.Field, ce.Line, ce.Column, ce.Text, w)
		}
		if !strings.HasPrefix(ce.Error(), ce.Field) {
			t.Errorf("message %q does not begin with the field", ce.Error())
		}
	}
	for field := range want {
		t.Errorf("%s: no error", field)
	}
}

func TestSourceSettings(t *testing.T) {
	tests := []struct {
		name  string
		c     mapping.SourceConfig
		field string
	}{
		{"pattern", mapping.SourceConfig{NamePattern: "("}, "name_pattern"},
		{"zone of this machine", mapping.SourceConfig{TimeZone: "Local"}, "time_zone"},
		{"offset", mapping.SourceConfig{TimeZone: "+15:00"}, "time_zone"},
		{"required", mapping.SourceConfig{Call: map[string]string{"direction": `"inbound"`}}, "call.started_at"},
		{"required too", mapping.SourceConfig{Call: map[string]string{"started_at": `time("2026-11-02T10:00:00Z")`}}, "call.direction"},
		{"accept is text", mapping.SourceConfig{Accept: `"yes"`}, "accept"},
		{"sidecar name", mapping.SourceConfig{Sidecars: []mapping.SidecarExprs{{Name: "my-sidecar"}}}, "sidecar"},
		{"sidecar reserved", mapping.SourceConfig{Sidecars: []mapping.SidecarExprs{{Name: "file"}}}, "sidecar"},
		{"sidecar keyword", mapping.SourceConfig{Sidecars: []mapping.SidecarExprs{{Name: "in"}}}, "sidecar"},
		{"sidecar twice", mapping.SourceConfig{Sidecars: []mapping.SidecarExprs{{Name: "a"}, {Name: "a"}}}, "sidecar"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := mapping.CompileSource(tt.c)
			if err == nil {
				t.Fatal("no error")
			}
			list := mistakes(t, err)
			if len(list) != 1 || list[0].Field != tt.field {
				t.Fatalf("got %v, want one mistake at %s", err, tt.field)
			}
		})
	}
}

func TestFieldMistakes(t *testing.T) {
	_, err := mapping.CompileFields(map[string]string{
		"Agent": `call.agent_nmae`, "Good": `call.agent_name ?? "none"`, "Key": `delivery.key`,
		"Doc": `sidecar.x`, "Seg": `call.custom.anything.goes`, "Bytes": `file.bytes + "x"`,
	})
	got := map[string]int{}
	for _, ce := range mistakes(t, err) {
		got[ce.Field] = ce.Column
	}
	want := map[string]int{"fields.Agent": 6, "fields.Key": 10, "fields.Doc": 1, "fields.Bytes": 12}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if _, err := mapping.CompileText("correlation_id", `delivery.uid`); err == nil || !strings.HasPrefix(err.Error(), "correlation_id, column 10: ") {
		t.Errorf("CompileText: %v", err)
	}
}

// TestHostile: an expression may be refused at compile time or on a
// recording, but it neither panics nor eats the machine.
func TestHostile(t *testing.T) {
	doc := map[string]any{"zero": int64(0), "text": "x", "many": strings.Repeat("a", 1<<20), "nest": nested(200)}
	tests := []struct{ name, expr string }{
		{"repeat", `repeat("x", 1000000000)`},
		{"replace", `replace(doc.many, "", doc.many)`},
		{"range", `len(1..1000000000)`},
		{"nested ranges", `sum(map(1..999999, sum(map(1..999999, # * 2))))`},
		{"division", `1 / 0`},
		{"division by a document", `10 / doc.zero`},
		{"nothing by nothing", `0 / doc.zero`},
		{"modulo", `1 % 0`},
		{"modulo by a document", `1 % doc.zero`},
		{"power", `10.0 ** 1000`},
		{"parentheses", strings.Repeat("(", 8000) + "1" + strings.Repeat(")", 8000)},
		{"signs", strings.Repeat("-", 16000) + "1"},
		{"too long", `"` + strings.Repeat("x", 20000) + `"`},
		{"lists", strings.Repeat("[", 5000) + strings.Repeat("]", 5000)},
		{"wrong type", `doc.text.text.text`},
		{"wrong call", `doc.text("x")`},
		{"wrong list", `map(doc.text, # + 1)`},
		{"index", `[1, 2][doc.text]`},
		{"slice", `doc.text[5:doc.text]`},
		{"from JSON", `fromJSON(doc.text)`},
		{"long result", `doc.many + doc.many`},
		{"deep document", `doc.nest`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := mapping.CompileSource(mapping.SourceConfig{Sidecars: []mapping.SidecarExprs{{Name: "doc"}},
				Call: map[string]string{"started_at": `time("2026-11-02T14:00:00Z")`, "direction": `"unknown"`, "agent_name": tt.expr}})
			if err != nil {
				list := mistakes(t, err)
				if list[0].Field != "call.agent_name" {
					t.Errorf("mistake at %q", list[0].Field)
				}
				if tt.name == "too long" && !strings.Contains(list[0].Text, "longer than") {
					t.Errorf("mistake %q", list[0].Text)
				}
				return
			}
			r, err := s.Call(mapping.Env{Docs: map[string]map[string]any{"doc": doc}})
			if tt.name == "too long" || tt.name == "repeat" {
				t.Fatal("compiled")
			}
			var fe *mapping.FieldError
			if tt.name == "parentheses" && err == nil && r.AgentName == "1" {
				return // harmless after all
			}
			if !errors.As(err, &fe) || fe.Field != "agent_name" {
				t.Fatalf("got %.40q, %v, want a *FieldError", r.AgentName, err)
			}
			if len(fe.Text) > 300 {
				t.Errorf("the text has %d bytes", len(fe.Text))
			}
		})
	}
}

func nested(depth int) any {
	var v any = "x"
	for range depth {
		v = map[string]any{"a": v}
	}
	return v
}

// TestHints: the operator reads what to do, and where.
func TestHints(t *testing.T) {
	for expression, want := range map[string]string{
		`doc.first + " " + doc.last`:  "(column 11): a value that the expression uses is missing; give another one with ??",
		`"x" + doc.last`:              "with ??",
		`hasPrefix(doc.last, "x")`:    "with ??",
		`len(map(1..2000000, # + 1))`: "too much memory",
		`1 % doc.zero`:                "(column 3)",
	} {
		_, err := eval(t, expression, map[string]any{"zero": int64(0)})
		if fe := wantFieldError(t, err, "custom.x", "bad_expression"); !strings.Contains(fe.Text, want) {
			t.Errorf("%s: %q does not say %q", expression, fe.Text, want)
		}
	}
}

// TestNoPersonalData: texts of errors never quote names and numbers.
func TestNoPersonalData(t *testing.T) {
	doc := map[string]any{"name": "Maria Sanchez Lopez", "phone": "+1 (202) 555-0143", "list": []any{"Maria"}, "digits": "2025550143"}
	for _, expression := range []string{
		`time(doc.name)`, `time(doc.phone)`, `time(doc.digits)`, `time(doc.phone, doc.name)`, `time("2026-11-02 10:00:00", doc.phone)`,
		`epoch(doc.phone)`, `epoch(doc.name)`, `number(doc.phone)`, `duration(doc.name)`, `int(doc.name)`, `float(doc.phone)`, `fromJSON(doc.name)`,
		`match(doc.name, doc.phone)`, `doc.list[doc.name]`, `doc.name.x`, `doc.phone + 1`, `shift(time("2026-11-02 10:00:00"), doc.phone)`,
		`{"a": 1}[doc.list]`, `urldecode(doc.name + "%zz")`, `doc.name matches doc.phone`, `timezone(doc.name)`, `fromBase64(doc.phone)`,
	} {
		_, err := eval(t, expression, doc)
		if err == nil {
			t.Errorf("%s: no error", expression)
			continue
		}
		for _, part := range []string{"Maria", "Sanchez", "Lopez", "555", "0143", "202"} {
			if text := strings.ReplaceAll(err.Error(), "2026", ""); strings.Contains(text, part) {
				t.Errorf("%s: %q leaks %q", expression, err, part)
			}
		}
	}
	for field, value := range map[string]string{"direction": "Maria Sanchez", "leg": "2025550143", "time_zone": "Sanchez",
		"customer_phone_e164": "202-555-0143", "segment_index": "2025550143", "agent_channel": "Maria"} {
		s := compileSource(t, mapping.SourceConfig{Sidecars: []mapping.SidecarExprs{{Name: "doc"}}})
		doc := map[string]any{"started_at": "2026-11-02T14:00:00Z", "direction": "inbound", field: value}
		_, err := s.Call(mapping.Env{Docs: map[string]map[string]any{"doc": doc}})
		if err == nil || strings.Contains(err.Error(), value) || strings.Contains(err.Error(), "Sanchez") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// TestConcurrent runs one compiled source and one set of fields from many
// goroutines; the race detector watches.
func TestConcurrent(t *testing.T) {
	s := compileSource(t, mapping.SourceConfig{TimeZone: "Europe/Berlin", Region: "DE", Sidecars: []mapping.SidecarExprs{{Name: "doc"}},
		Call: map[string]string{"started_at": `time(doc.at)`, "direction": `"inbound"`, "customer_phone": `doc.phone`}})
	f, err := mapping.CompileFields(map[string]string{"When": `call.started_at`, "ANI": `call.customer_phone_e164`})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan string)
	for range 8 {
		go func() {
			r, err := s.Call(mapping.Env{Docs: map[string]map[string]any{"doc": {"at": "2026-11-02 10:00:00", "phone": "03023125111"}}})
			if err != nil {
				done <- err.Error()
				return
			}
			out, err := f.Eval(call.Item{Call: r})
			if err != nil {
				done <- err.Error()
				return
			}
			done <- out["When"] + " " + out["ANI"] + " " + r.Raw["started_at"]
		}()
	}
	for range 8 {
		if got, want := <-done, "2026-11-02T09:00:00Z +493023125111 2026-11-02 10:00:00"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
