package sidecar

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

var (
	oneCSV   = Config{Name: "s", Files: []string{"**/*.csv"}, Format: "csv"}
	listCSV  = Config{Name: "s", Files: []string{"**/*.csv"}, Format: "csv", Pair: "key", Key: "row.id", MediaKeyExpr: "file.stem"}
	oneJSON  = Config{Name: "s", Files: []string{"**/*.json"}, Format: "json"}
	oneXML   = Config{Name: "s", Files: []string{"**/*.xml"}, Format: "xml"}
	listXML  = Config{Name: "s", Files: []string{"**/*.xml"}, Format: "xml", Pair: "key", Key: "row.id", MediaKeyExpr: "file.stem", Record: "call"}
	listJSON = Config{Name: "s", Files: []string{"**/*.json"}, Format: "json", Pair: "key", Key: "row.id", MediaKeyExpr: "file.stem"}
)

var growingJSON = with(listJSON, func(c *Config) { c.Growing = true })

func with(c Config, change func(*Config)) Config {
	change(&c)
	return c
}

// rowsOf reads data twice, whole and byte by byte: what a reader returns at
// once must not matter.
func rowsOf(t *testing.T, c Config, data string) ([]Row, *Error) {
	t.Helper()
	rows, bad := rowsFrom(t, strings.NewReader(data), int64(len(data)), c, standard())
	slow, slowBad := rowsFrom(t, iotest.OneByteReader(strings.NewReader(data)), -1, c, standard())
	if len(slow) != len(rows) || codeOf(bad) != codeOf(slowBad) {
		t.Fatalf("whole: %d rows, %v; byte by byte: %d rows, %v", len(rows), bad, len(slow), slowBad)
	}
	return rows, bad
}

func rowsFrom(t *testing.T, r io.Reader, size int64, c Config, lim limits) ([]Row, *Error) {
	t.Helper()
	var rows []Row
	err := read(r, size, c, lim, func(row Row) error {
		if row.Number != len(rows)+1 {
			t.Fatalf("row %d has number %d", len(rows)+1, row.Number)
		}
		if (row.Err == nil) == (row.Value == nil) {
			t.Fatalf("row %d has value %v and error %v", row.Number, row.Value, row.Err)
		}
		rows = append(rows, row)
		return nil
	})
	var bad *Error
	if err != nil && !errors.As(err, &bad) {
		t.Fatalf("got %T %v, want an *Error", err, err)
	}
	return rows, bad
}

func codeOf(e *Error) string {
	if e == nil {
		return ""
	}
	return e.Code
}

// outcome is the codes of the rows ("ok" for a good one), then the error's.
func outcome(rows []Row, bad *Error) string {
	var out []string
	for _, row := range rows {
		if row.Err != nil {
			out = append(out, row.Err.Code)
		} else {
			out = append(out, "ok")
		}
	}
	if bad != nil {
		out = append(out, "!"+bad.Code)
	}
	return strings.Join(out, " ")
}
