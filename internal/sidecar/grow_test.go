package sidecar

import (
	"reflect"
	"strings"
	"testing"
)

func readOn(t *testing.T, text string, from Place, c Config) (rows []Row, to Place) {
	t.Helper()
	to = from
	err := ReadOn(strings.NewReader(text), int64(len(text)), from, c, func(r Row, p Place) error {
		rows = append(rows, r)
		to = p
		return nil
	})
	if err != nil {
		t.Fatalf("%q from %+v: %v", text, from, err)
	}
	return rows, to
}

// Wherever a list is cut off, reading its begin and later the rest gives what
// reading it at once gives: the same rows, with their numbers and lines.
func TestReadOnAtEveryByte(t *testing.T) {
	bare := Config{Name: "m", Format: "csv", Pair: PairKey, Growing: true, Columns: []string{"id", "note"}, Header: new(bool), Comment: "#"}
	head := Config{Name: "m", Format: "csv", Pair: PairKey, Growing: true}
	lines := Config{Name: "m", Format: "json", Pair: PairKey, Growing: true}
	for _, test := range []struct {
		name, text string
		c          Config
	}{
		{"csv", "1,a\n# said\n2,\"b\nc\"\n3\n\n4,\"d \"\"e\"\"\"\n5,é\n", bare},
		{"csv with CR LF", "1,a\r\n2,\"b\r\nc\"\r\n3\r\n4,d\r\n", bare},
		{"csv with a mark", "\ufeff1,a\n2,b\n3\n4,d\n", bare},
		{"csv with a header", "id,note\n1,a\n2,\"b\nc\"\n3\n4,d\n", head},
		{"csv with a header and a mark", "\ufeff\"id\",\"note\nmore\"\n", bare},
		{"csv with a mark and a header", "\ufeffid,note\r\n1,a\r\n2\r\n3,c\r\n", head},
		{"json lines", " {\"id\": 1}\n{\"id\": 2, \"a\": {\"b\": [1, 2]}}\n\n{\"id\": 3}{\"id\": 4}\n", lines},
		{"json with a mark", "\ufeff{\"id\": 1}\n{\"id\": 2}\n", lines},
	} {
		t.Run(test.name, func(t *testing.T) {
			want, end := readOn(t, test.text, Place{}, test.c)
			if len(want) == 0 || end.End == 0 || end.Rows != len(want) {
				t.Fatalf("%d rows, at %+v", len(want), end)
			}
			for cut := range len(test.text) {
				if strings.HasPrefix("\ufeff", test.text[:cut]) && cut > 0 {
					continue // half a mark is no text; no writer leaves it
				}
				rows, place := readOn(t, test.text[:cut], Place{}, test.c)
				if place.End > int64(cut) {
					t.Fatalf("cut at %d: read up to %d", cut, place.End)
				}
				rest, last := readOn(t, test.text, ParsePlace(place.String()), test.c)
				if got := append(rows, rest...); !reflect.DeepEqual(got, want) {
					t.Fatalf("cut at %d:\n%+v\nwant\n%+v", cut, got, want)
				}
				if len(rest) > 0 && last != end {
					t.Fatalf("cut at %d: ends at %+v, want %+v", cut, last, end)
				}
			}
		})
	}
}

// Where no place can be told, there is none, and the list is read anew.
func TestReadOnWithoutPlace(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		c    Config
	}{
		"another encoding": {"id,note\n1,caf\xe9\n", Config{Format: "csv", Pair: PairKey, Growing: true, Encoding: "windows-1252"}},
		"one list":         {`[{"id": 1}]`, Config{Format: "json", Pair: PairKey, Growing: true}},
	} {
		if rows, place := readOn(t, test.text, Place{}, test.c); len(rows) != 1 || place != (Place{}) {
			t.Errorf("%s: %d rows, place %+v", name, len(rows), place)
		}
	}
}

// A place vouches for both ends of what was read, and for nothing behind it.
func TestPlaceHolds(t *testing.T) {
	text := strings.Repeat("1234567,abcdefgh\n", 5000)
	place, err := Place{End: int64(len(text)), Rows: 5000}.Vouch(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	place = ParsePlace(place.String())
	for name, test := range map[string]struct {
		text string
		want bool
	}{
		"the same":         {text, true},
		"grown":            {text + "1,b\n", true},
		"cut":              {text[:len(text)-1], false},
		"another begin":    {"x" + text[1:], false},
		"another end":      {text[:len(text)-2] + "x\n", false},
		"another, shorter": {"1,b\n", false},
	} {
		if holds, err := place.Holds(strings.NewReader(test.text), int64(len(test.text))); err != nil || holds != test.want {
			t.Errorf("%s: %v, %v", name, holds, err)
		}
	}
	for _, never := range []Place{{}, {End: 4}, ParsePlace("{"), ParsePlace("")} {
		if holds, err := never.Holds(strings.NewReader(text), int64(len(text))); err != nil || holds {
			t.Errorf("%+v: %v, %v", never, holds, err)
		}
	}
}
