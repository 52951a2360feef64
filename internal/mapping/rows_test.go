package mapping_test

import (
	"slices"
	"testing"
	"time"

	"ingestd/internal/mapping"
)

func rowsSource(t *testing.T, c mapping.SidecarExprs) *mapping.Source {
	t.Helper()
	c.Name = "list"
	return compileSource(t, mapping.SourceConfig{TimeZone: "America/Los_Angeles", NamePattern: `(?P<clock>\d{6})`, Sidecars: []mapping.SidecarExprs{c}})
}

func TestRowKeys(t *testing.T) {
	for _, tt := range []struct {
		key  string
		row  map[string]any
		want []string
		code string
	}{
		{`row.id`, map[string]any{"id": "7"}, []string{"7"}, ""},
		{`row.id`, map[string]any{}, nil, ""},
		{`[row.id, row.ani, row.dnis]`, map[string]any{"id": "7", "ani": "1", "dnis": "1"}, []string{"7", "1"}, ""},
		{`[row.id, row.ani]`, map[string]any{"ani": " "}, nil, ""},
		{`file.stem + "/" + file.ext + "/" + file.name + "/" + file.path`, nil, []string{"list/csv/list.csv/exports/list.csv"}, ""},
		{`list(row.ids)`, map[string]any{"ids": []any{"a", "b"}}, []string{"a", "b"}, ""},
		{`list(row.ids)`, map[string]any{"ids": "a"}, []string{"a"}, ""},
		{`list(row.ids)`, map[string]any{}, nil, ""},
		{`row.id`, map[string]any{"id": true}, nil, "bad_value"},
		{`row.ids`, map[string]any{"ids": make([]any, mapping.MaxKeys)}, nil, ""},
		{`row.ids`, map[string]any{"ids": make([]any, mapping.MaxKeys+1)}, nil, "bad_value"},
	} {
		s := rowsSource(t, mapping.SidecarExprs{Key: tt.key, MediaKey: `file.stem`})
		got, err := s.RowKeys("list", "exports/list.csv", tt.row)
		if tt.code != "" {
			wantFieldError(t, err, "sidecar.list.key", tt.code)
			continue
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s of %v: %q, %v, want %q", tt.key, tt.row, got, err, tt.want)
		}
	}
}

func TestRowWanted(t *testing.T) {
	s := rowsSource(t, mapping.SidecarExprs{Where: `row.datamode == "complete"`})
	for value, want := range map[string]bool{"complete": true, "partial": false} {
		if got, err := s.RowWanted("list", "x.xml", map[string]any{"datamode": value}); got != want || err != nil {
			t.Errorf("%s: %v, %v", value, got, err)
		}
	}
	if got, err := rowsSource(t, mapping.SidecarExprs{}).RowWanted("list", "x.xml", nil); !got || err != nil {
		t.Errorf("without a rule: %v, %v", got, err)
	}
	s = rowsSource(t, mapping.SidecarExprs{Where: `row.n`})
	_, err := s.RowWanted("list", "x.xml", map[string]any{"n": "1"})
	wantFieldError(t, err, "sidecar.list.where", "bad_value")
}

func TestRank(t *testing.T) {
	for _, tt := range []struct {
		prefer     string
		less, more map[string]any
	}{
		{`row.t`, map[string]any{"t": "2026-11-02T15:17:00Z"}, map[string]any{"t": "2026-11-02T16:21:00Z"}},
		{`row.t`, map[string]any{}, map[string]any{"t": "a"}},
		{`number(row.n)`, map[string]any{"n": "9"}, map[string]any{"n": "10"}},
		{`-number(row.n)`, map[string]any{"n": "10"}, map[string]any{"n": "9"}},
		{`row.n`, map[string]any{"n": int64(9)}, map[string]any{"n": 9.5}},
		{`time(row.t)`, map[string]any{"t": "2026-11-02 08:00:00"}, map[string]any{"t": "2026-11-02T17:00:00Z"}},
		{`row.agent != nil`, map[string]any{}, map[string]any{"agent": "x"}},
	} {
		s := rowsSource(t, mapping.SidecarExprs{Key: `row.id`, MediaKey: `file.stem`, Prefer: tt.prefer})
		less, err := s.Rank("list", "x.csv", tt.less)
		if err != nil {
			t.Fatal(err)
		}
		more, err := s.Rank("list", "x.csv", tt.more)
		if err != nil {
			t.Fatal(err)
		}
		if order, ok := more.Compare(less); !ok || order != 1 {
			t.Errorf("%s: %v against %v is %d, %v", tt.prefer, tt.more, tt.less, order, ok)
		}
		if order, ok := less.Compare(more); !ok || order != -1 {
			t.Errorf("%s: %v against %v is %d, %v", tt.prefer, tt.less, tt.more, order, ok)
		}
		if order, ok := more.Compare(more); !ok || order != 0 {
			t.Errorf("%s: %v against itself is %d, %v", tt.prefer, tt.more, order, ok)
		}
	}
	s := rowsSource(t, mapping.SidecarExprs{Key: `row.id`, MediaKey: `file.stem`, Prefer: `row.v`})
	text, _ := s.Rank("list", "x.csv", map[string]any{"v": "a"})
	number, _ := s.Rank("list", "x.csv", map[string]any{"v": int64(1)})
	if _, ok := text.Compare(number); ok {
		t.Error("a text and a number are ordered")
	}
	_, err := s.Rank("list", "x.csv", map[string]any{"v": []any{}})
	wantFieldError(t, err, "sidecar.list.prefer", "bad_value")
}

func TestRowAndMediaTime(t *testing.T) {
	s := rowsSource(t, mapping.SidecarExprs{Key: `row.id`, MediaKey: `file.stem`, At: `time(row.t)`, MediaAt: `time("2026-11-02 " + name.clock, "2006-01-02 150405", "-05:00")`})
	at, err := s.RowTime("list", "x.csv", map[string]any{"t": "2026-11-02 08:00:00"})
	if want := time.Date(2026, 11, 2, 16, 0, 0, 0, time.UTC); err != nil || !at.Equal(want) {
		t.Errorf("row: %v, %v", at, err)
	}
	if at, err = s.RowTime("list", "x.csv", map[string]any{}); err != nil || !at.IsZero() {
		t.Errorf("row without time: %v, %v", at, err)
	}
	at, err = s.MediaTime("list", mapping.Env{Names: map[string]string{"clock": "110000"}})
	if want := time.Date(2026, 11, 2, 16, 0, 0, 0, time.UTC); err != nil || !at.Equal(want) {
		t.Errorf("recording: %v, %v", at, err)
	}
}
