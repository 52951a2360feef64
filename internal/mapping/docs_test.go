package mapping_test

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ingestd/internal/call"
	"ingestd/internal/mapping"
)

// docBlocks are the fenced blocks of the operators' page, by language.
func docBlocks(t *testing.T) map[string][]string {
	t.Helper()
	page, err := os.ReadFile("../../docs/mapping.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string][]string{}
	for _, m := range regexp.MustCompile("(?s)```(\\w+)\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		blocks[m[1]] = append(blocks[m[1]], m[2])
	}
	return blocks
}

func TestDocumentedExamples(t *testing.T) {
	blocks := docBlocks(t)
	if len(blocks["json"]) != 1 || len(blocks["expr"]) < 4 {
		t.Fatalf("the page has %d documents and %d blocks of examples", len(blocks["json"]), len(blocks["expr"]))
	}
	for _, block := range blocks["expr"] {
		for line := range strings.Lines(block) {
			expression, want, ok := strings.Cut(line, "=>")
			if !ok {
				t.Fatalf("line %q is no example", line)
			}
			expression, want = strings.TrimSpace(expression), strings.TrimSpace(want)
			t.Run(expression, func(t *testing.T) {
				got, err := evalExample(t, expression, parseDoc(t, blocks["json"][0]))
				if code, refused := strings.CutPrefix(want, "refused: "); refused {
					if err == nil {
						t.Fatalf("got %v", got)
					}
					wantFieldError(t, err, "custom.x", code)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if shown := asExample(t, got); shown != want {
					t.Errorf("got %s, want %s", shown, want)
				}
			})
		}
	}
}

func evalExample(t *testing.T, expression string, doc map[string]any) (any, error) {
	t.Helper()
	s := compileSource(t, mapping.SourceConfig{TimeZone: "America/Chicago", Region: "US", Sidecars: []mapping.SidecarExprs{{Name: "sidecar"}},
		Call:   map[string]string{"started_at": `time("2026-11-02T14:00:00Z")`, "direction": `"unknown"`},
		Custom: map[string]string{"x": expression}})
	r, err := s.Call(mapping.Env{Docs: map[string]map[string]any{"sidecar": doc}})
	return r.Custom["x"], err
}

func asExample(t *testing.T, v any) string {
	t.Helper()
	switch v := v.(type) {
	case nil:
		return "absent"
	case time.Time:
		return v.Format(time.RFC3339Nano)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestEveryFunctionIsDocumented: the page has an example of each.
func TestEveryFunctionIsDocumented(t *testing.T) {
	examples := strings.Join(docBlocks(t)["expr"], "")
	for _, name := range []string{"time", "epoch", "epoch_ms", "epoch_us", "shift", "duration", "number", "phone", "uri_user", "match", "first", "join",
		"urldecode", "nfc", "string", "lower", "upper", "trim", "trimPrefix", "trimSuffix", "replace", "split"} {
		if !regexp.MustCompile(`(^|[^\w])` + name + `\(`).MatchString(examples) {
			t.Errorf("no example of %s()", name)
		}
	}
}

// docTable reads `key = 'expression'` lines of one table from the page's
// configuration examples.
func docTable(t *testing.T, table string) map[string]string {
	t.Helper()
	exprs, in := map[string]string{}, false
	for line := range strings.Lines(strings.Join(docBlocks(t)["toml"], "\n")) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			in = line == "["+table+"]"
			continue
		}
		if key, value, ok := strings.Cut(line, "="); ok && in {
			exprs[strings.TrimSpace(key)] = strings.Trim(strings.TrimSpace(value), "'")
		}
	}
	return exprs
}

func TestDocumentedConfiguration(t *testing.T) {
	s := compileSource(t, mapping.SourceConfig{TimeZone: "America/Chicago", Region: "US", Sidecars: []mapping.SidecarExprs{{Name: "sidecar"}},
		Call: docTable(t, "source.call"), Custom: docTable(t, "source.call.custom")})
	r, err := s.Call(mapping.Env{Docs: map[string]map[string]any{"sidecar": parseDoc(t, docBlocks(t)["json"][0])}, Audio: call.Audio{Channels: 2}})
	if err != nil {
		t.Fatal(err)
	}
	fields, err := mapping.CompileFields(docTable(t, "destination.fields"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := fields.Eval(call.Item{Call: r})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"Agent": "Dana Whitlock", "ANI": "+12025550111", "Department": "Sales", "LocalStart": "2026-11-02 08:05:06", "Queue": ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if r.CallID != "12345678901234567" || r.Direction != call.Inbound || *r.CustomerChannel != 0 {
		t.Errorf("record: %+v", r)
	}
}

// The page lists the fields that can be mapped, all of them and no others.
func TestDocumentedFields(t *testing.T) {
	page, err := os.ReadFile("../../docs/mapping.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n| field | |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var listed []string
	for row := range strings.Lines(table) {
		names, _, _ := strings.Cut(strings.TrimPrefix(row, "|"), "|")
		for _, m := range regexp.MustCompile("`([a-z0-9_]+)`").FindAllStringSubmatch(names, -1) {
			listed = append(listed, m[1])
		}
	}
	_, err = mapping.CompileSource(mapping.SourceConfig{Call: map[string]string{"nobody": "1", "started_at": "1", "direction": "1"}})
	var refused *mapping.CompileError
	if !errors.As(err, &refused) || len(refused.Known) == 0 {
		t.Fatalf("got %v", err)
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(refused.Known)), slices.Sorted(slices.Values(listed))); diff != "" {
		t.Errorf("the page has other fields (-there are +listed):\n%s", diff)
	}
}
