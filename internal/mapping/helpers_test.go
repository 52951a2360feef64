package mapping_test

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"

	"ingestd/internal/mapping"
)

// parseDoc reads JSON as the sidecar room hands it over: whole numbers as int64.
func parseDoc(t testing.TB, text string) map[string]any {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v map[string]any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("test document: %v", err)
	}
	return normal(v).(map[string]any)
}

func normal(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = normal(v[k])
		}
	case []any:
		for i := range v {
			v[i] = normal(v[i])
		}
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return v.String()
	}
	return v
}

func compileSource(t testing.TB, c mapping.SourceConfig) *mapping.Source {
	t.Helper()
	s, err := mapping.CompileSource(c)
	if err != nil {
		t.Fatalf("CompileSource: %v", err)
	}
	return s
}

// required makes any document one that maps without [source.call].
var required = map[string]any{"started_at": "2026-11-02T14:00:00Z", "direction": "inbound"}

// eval computes one expression over the document doc, in America/Chicago and
// for US numbers.
func eval(t testing.TB, expression string, doc map[string]any) (any, error) {
	t.Helper()
	s := compileSource(t, mapping.SourceConfig{TimeZone: "America/Chicago", Region: "US",
		Sidecars: []mapping.SidecarExprs{{Name: "doc"}}, Custom: map[string]string{"x": expression}})
	full := maps.Clone(required)
	maps.Copy(full, doc)
	r, err := s.Call(mapping.Env{Docs: map[string]map[string]any{"doc": full}})
	return r.Custom["x"], err
}

// wantFieldError checks field and code, and that the text names the field.
func wantFieldError(t testing.TB, err error, field, code string) *mapping.FieldError {
	t.Helper()
	var fe *mapping.FieldError
	if !errors.As(err, &fe) {
		t.Fatalf("error = %v, want a *FieldError", err)
	}
	if fe.Field != field || fe.Code != code {
		t.Fatalf("error = %+v, want field %q and code %q", fe, field, code)
	}
	if !strings.Contains(fe.Text, field) {
		t.Fatalf("text %q does not name the field %q", fe.Text, field)
	}
	return fe
}

// rowKey is the one key of a row; "" if it has none.
func rowKey(s *mapping.Source, sidecar string, row map[string]any) (string, error) {
	keys, err := s.RowKeys(sidecar, "exports/list.csv", row)
	return strings.Join(keys, " and "), err
}
