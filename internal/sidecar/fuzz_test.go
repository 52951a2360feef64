package sidecar

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// seeds are the fixtures and whatever the bad-input tables hold in short.
func seeds(f *testing.F, more ...string) {
	names, err := filepath.Glob("testdata/*.*")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		for i := range byte(4) {
			f.Add([]byte(fixture(f, filepath.Base(name))), i)
		}
	}
	for _, s := range more {
		for i := range byte(4) {
			f.Add([]byte(s), i)
		}
	}
}

// promises checks what holds for every input.
func promises(t *testing.T, data []byte, c Config, lim limits) []Row {
	var rows []Row
	err := read(bytes.NewReader(data), int64(len(data)), c, lim, func(row Row) error {
		rows = append(rows, row)
		if row.Number != len(rows) || (row.Err == nil) == (row.Value == nil) || (row.Err != nil && !c.isList()) {
			t.Fatalf("row %d: number %d, value %v, error %v", len(rows), row.Number, row.Value, row.Err)
		}
		return nil
	})
	var bad *Error
	if err != nil && (!errors.As(err, &bad) || bad.Code == "" || bad.Text == "") {
		t.Fatalf("got %#v, want an *Error", err)
	}
	if err == nil && len(rows) == 0 {
		t.Fatal("neither row nor error")
	}
	if len(rows) > lim.rows {
		t.Fatalf("%d rows", len(rows))
	}
	return rows
}

func FuzzCSV(f *testing.F) {
	seeds(f, "id,a\n1,2\n", "\ufeff\"id\",a\r\n1,\"2\n3\"\r\n", "id;a\n1;\"x\"\"y\"\n", "id\ra\r", "id,a,\n#x\n1,2,\n\"", "a,A\n", "a\n\x00\n", "a\n\xff\n", "\xff\xfea\x00\n\x00")
	f.Fuzz(func(t *testing.T, data []byte, mode byte) {
		c := oneCSV
		if mode&1 != 0 {
			c = listCSV
		}
		if mode&2 != 0 {
			c.Delimiter, c.Encoding, c.Comment, c.Null = ";", "windows-1252", "#", []string{""}
		}
		lim := limits{document: 4096, list: 8192, row: 256, field: 64, columns: 8, rows: 50, depth: 4}
		for _, row := range promises(t, data, c, lim) {
			if len(row.Value) > lim.columns {
				t.Fatalf("%d columns", len(row.Value))
			}
			for name, v := range row.Value {
				s, ok := v.(string)
				if !ok || len(s) > lim.field || !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\r\x1b\x7f") {
					t.Fatalf("%q has value %#v", name, v)
				}
				if name == "" || name != strings.TrimSpace(name) {
					t.Fatalf("column name %q", name)
				}
			}
		}
	})
}

func FuzzJSON(f *testing.F) {
	seeds(f, `{"a":1,"b":[null,true,"x\ud83d\ude00",2.5,{"c":{}}]}`, `[{"a":1},{"A":1,"a":2},3]`, `{"a":"\ud800"}`, "\ufeff{}", `{}{}`, `[[[[[[]]]]]]`,
		`{"a":12345678901234567890,"b":1e309,"c":-0.0}`, `[{"a":1} {"b"`, "{\"a\":\"\xff\"}")
	f.Fuzz(func(t *testing.T, data []byte, mode byte) {
		c := oneJSON
		if mode&1 != 0 {
			c = listJSON
		}
		lim := limits{document: 4096, list: 8192, rows: 50, depth: 6}
		for _, row := range promises(t, data, c, lim) {
			if row.Err != nil {
				continue
			}
			if d := depthOf(row.Value); d > lim.depth {
				t.Fatalf("depth %d", d)
			}
			text, err := json.Marshal(row.Value)
			if err != nil {
				t.Fatal(err)
			}
			// What was read says the same when it is written and read again.
			rows, bad := rowsFrom(t, bytes.NewReader(text), -1, oneJSON, standard())
			if bad != nil || len(rows) != 1 {
				t.Fatalf("%s: %v", text, bad)
			}
			again, err := json.Marshal(rows[0].Value)
			if err != nil || !bytes.Equal(text, again) {
				t.Fatalf("%s became %s: %v", text, again, err)
			}
		}
	})
}

func depthOf(v any) int {
	deepest := 0
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			deepest = max(deepest, depthOf(e))
		}
	case []any:
		for _, e := range v {
			deepest = max(deepest, depthOf(e))
		}
	default:
		return 0
	}
	return deepest + 1
}
