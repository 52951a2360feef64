package sidecar

import (
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/japanese"
)

// utf16le is s in UTF-16, little endian, without a mark.
func utf16le(s string) string {
	var b strings.Builder
	for _, u := range utf16.Encode([]rune(s)) {
		b.WriteByte(byte(u))
		b.WriteByte(byte(u >> 8))
	}
	return b.String()
}

func utf16be(s string) string {
	var b strings.Builder
	for _, u := range utf16.Encode([]rune(s)) {
		b.WriteByte(byte(u >> 8))
		b.WriteByte(byte(u))
	}
	return b.String()
}

func encoded(name string) func(*Config) { return func(c *Config) { c.Encoding = name } }

func noHeader(columns ...string) func(*Config) {
	return func(c *Config) { c.Header, c.Columns = new(bool), columns }
}

// The names begin with the line of the bad-input list that they prove.
func TestBadCSV(t *testing.T) {
	shiftJIS, err := japanese.ShiftJIS.NewEncoder().String("id,名前\n1,田中\n")
	if err != nil {
		t.Fatal(err)
	}
	jis := with(oneCSV, encoded("shift_jis"))
	for _, test := range []struct {
		name   string
		config Config
		data   string
		want   string // as outcome
		value  map[string]any
	}{
		{"43 mark", oneCSV, "\ufeffid,a\n1,2\n", "ok", map[string]any{"id": "1", "a": "2"}},
		{"43 mark before a quoted header", oneCSV, "\ufeff\"id\",a\n1,2\n", "ok", map[string]any{"id": "1", "a": "2"}},
		{"43 mark wins over the configuration", with(oneCSV, encoded("windows-1252")), "\ufeffid\né\n", "ok", map[string]any{"id": "é"}},
		{"43 two marks", oneCSV, "\ufeff\ufeffid\n1\n", "!header", nil},
		{"44 utf-16le with mark", oneCSV, "\xff\xfe" + utf16le("id,a\n1,é\n"), "ok", map[string]any{"id": "1", "a": "é"}},
		{"44 utf-16be with mark", oneCSV, "\xfe\xff" + utf16be("id,a\n1,é\n"), "ok", map[string]any{"id": "1", "a": "é"}},
		{"44 utf-16le without mark", oneCSV, utf16le("id,a\n1,2\n"), "!encoding", nil},
		{"44 utf-16be without mark", oneCSV, utf16be("id,a\n1,2\n"), "!encoding", nil},
		{"44 utf-16le configured", with(oneCSV, encoded("utf-16le")), utf16le("id,a\n1,é\n"), "ok", map[string]any{"id": "1", "a": "é"}},
		{"44 utf-16be configured", with(oneCSV, encoded("UTF-16BE")), utf16be("id,a\n1,é\n"), "ok", map[string]any{"id": "1", "a": "é"}},
		{"44 utf-16 needs its mark", with(oneCSV, encoded("utf-16")), utf16le("id,a\n1,2\n"), "!encoding", nil},
		{"44 utf-16 with its mark", with(oneCSV, encoded("utf-16")), "\xff\xfe" + utf16le("id\n1\n"), "ok", map[string]any{"id": "1"}},
		{"44 utf-16 of odd length", oneCSV, "\xff\xfe" + utf16le("id\n1") + "x", "!encoding", nil},
		{"44 utf-16 with half a pair", oneCSV, "\xff\xfe" + utf16le("id\n") + "\x00\xd8" + utf16le("1\n"), "!encoding", nil},
		{"44 latin-1", oneCSV, "id,a\n1,Jos\xe9\n", "!encoding", nil},
		{"44 latin-1 header", oneCSV, "id,pr\xe9nom\n1,a\n", "!encoding", nil},
		{"44 latin-1 row of a list", listCSV, "id,a\n1,Jos\xe9\n2,Ann\n", "encoding ok", nil},
		{"44 latin-1 configured", with(oneCSV, encoded("iso-8859-1")), "id\nJos\xe9\n", "ok", map[string]any{"id": "José"}},
		{"44 windows-1252 configured", with(oneCSV, encoded("windows-1252")), "id\n\x93Jos\xe9\x94\n", "ok", map[string]any{"id": "“José”"}},
		{"44 windows-1252 taken for latin-1", with(oneCSV, encoded("iso-8859-1")), "id\n\x93Jos\xe9\x94\n", "!control_char", nil},
		{"44 shift-jis", oneCSV, shiftJIS, "!encoding", nil},
		{"44 shift-jis configured", jis, shiftJIS, "ok", map[string]any{"id": "1", "名前": "田中"}},
		{"44 damaged shift-jis", jis, "id\n\x81\n", "!encoding", nil},
		{"44 damage that was exported", oneCSV, "id\nJos\ufffd\n", "ok", map[string]any{"id": "Jos\ufffd"}},
		{"45 semicolon", oneCSV, "id;a\n1;2\n", "!header", nil},
		{"45 tab", oneCSV, "id\ta\n1\t2\n", "!header", nil},
		{"45 comma", with(oneCSV, func(c *Config) { c.Delimiter = ";" }), "id,a\n1,2\n", "!header", nil},
		{"45 semicolon configured", with(oneCSV, func(c *Config) { c.Delimiter = ";" }), "id;a\n1;2,5\n", "ok", map[string]any{"id": "1", "a": "2,5"}},
		{"45 tab configured", with(oneCSV, func(c *Config) { c.Delimiter = "tab" }), "id\ta\n1\t2\n", "ok", map[string]any{"id": "1", "a": "2"}},
		{"46 carriage returns", oneCSV, "id,a\r1,2\r", "!csv_syntax", nil},
		{"46 many carriage returns", oneCSV, strings.Repeat("id,a\r", 10_000), "!csv_syntax", nil},
		{"46 carriage return in one row", listCSV, "id,a\n1,b\rc\n2,d\n", "csv_syntax ok", nil},
		{"46 carriage return in quotes", listCSV, "id,a\n1,\"b\rc\"\n2,d\n", "csv_syntax ok", nil},
		{"46 carriage returns without header", with(listCSV, noHeader("id", "a")), "1,2\r3,4\r", "csv_syntax", nil},
		{"46 both line ends", oneCSV, "id,a\r\n1,2\n", "ok", map[string]any{"id": "1", "a": "2"}},
		{"47 NUL", oneCSV, "id,a\n1,b\x00\n", "!control_char", nil},
		{"47 NUL in the header", oneCSV, "id,a\x00\n1,b\n", "!control_char", nil},
		{"47 NUL in one row", listCSV, "id,a\n1,b\x00\n2,c\n", "control_char ok", nil},
		{"48 duplicate", oneCSV, "id,a,id\n1,2,3\n", "!duplicate_header", nil},
		{"48 duplicate but for case", oneCSV, "id,a,ID\n1,2,3\n", "!duplicate_header", nil},
		{"48 duplicate but for blanks", oneCSV, "id,a, id \n1,2,3\n", "!duplicate_header", nil},
		{"48 blanks around names", oneCSV, " id ,a\n1, 2\n", "ok", map[string]any{"id": "1", "a": " 2"}},
		{"48 no names", oneCSV, ",,\n1,2,3\n", "!header", nil},
		{"48 delimiter at the end", oneCSV, "id,a,\n1,2,\n", "ok", map[string]any{"id": "1", "a": "2"}},
		{"48 value under no name", listCSV, "id,a,\n1,2,3\n4,5,\n", "fields ok", nil},
		{"48 line end in a name", oneCSV, "id,\"a\nb\"\n1,2\n", "!header", nil},
		{"49 short", oneCSV, "id,a\n1\n", "!fields", nil},
		{"49 long", oneCSV, "id,a\n1,2,3\n", "!fields", nil},
		{"49 in a list", listCSV, "id,a\n1\n2,b\n3,c,d\n", "fields ok fields", nil},
		{"49 without header", with(listCSV, noHeader("id", "a")), "1\n2,b\n", "fields ok", nil},
		{"50 never closed", oneCSV, "id,a\n1,\"b\n", "!csv_syntax", nil},
		{"50 swallows the file", oneCSV, "id,a\n1,\"" + strings.Repeat("b\n", 1<<19), "!too_large", nil},
		{"50 swallows a list", listCSV, "id,a\n1,\"" + strings.Repeat("b\n", 1<<19), "!too_large", nil},
		{"50 field", oneCSV, "id,a\n1,\"" + strings.Repeat("b", 64<<10) + "c\"\n", "!too_large", nil},
		{"50 field in a list", listCSV, "id,a\n1,\"" + strings.Repeat("b", 64<<10) + "c\"\n2,b\n", "too_large ok", nil},
		{"51 columns", listCSV, strings.Repeat(",", 999_999) + "\n", "!limits", nil},
		{"51 named columns", listCSV, strings.Repeat("column,", 1_000_000) + "\n", "!limits", nil},
		{"51 quoted columns", listCSV, strings.Repeat(`"",`, 1000) + "\n", "!limits", nil},
		{"51 columns without header", with(listCSV, noHeader("id", "a")), strings.Repeat(",", 999_999) + "\n", "!limits", nil},
		{"51 a wide row", listCSV, "id,a\n" + strings.Repeat(",", 9_999) + "\n1,2\n", "fields ok", nil},
		{"51 delimiters in a value", oneCSV, "id\n\"" + strings.Repeat(",", 9_999) + "\"\n", "ok", nil},
		{"51 quotes", listCSV, "id,a\n" + strings.Repeat(`"`, 1<<20+1), "!too_large", nil},
		{"52 empty", oneCSV, "", "!no_record", nil},
		{"52 mark only", oneCSV, "\ufeff", "!no_record", nil},
		{"52 blank lines", oneCSV, "\n\r\n\n", "!no_record", nil},
		{"52 header only", oneCSV, "id,a\n", "!no_record", nil},
		{"52 header only, list", listCSV, "id,a", "!no_record", nil},
		{"52 no header, no row", with(listCSV, noHeader("id")), "", "!no_record", nil},
		{"53 several rows", oneCSV, "id,a\n1,2\n3,4\n", "ok ok", nil},
		{"53 a bad row among good ones", listCSV, "id,a\n1,2\n3,x\"y\n5,\"6\"7\n8,9\n", "ok csv_syntax csv_syntax ok", nil},
		{"53 a bad row where there is one", oneCSV, "id,a\n3,x\"y\n5,6\n", "!csv_syntax", nil},
		// 54 to 56 and 58 to 60 are decided by those who know what a column
		// means; what this room owes them is the exact text.
		{"54 path", oneCSV, "file\n../../etc/shadow\n", "ok", map[string]any{"file": "../../etc/shadow"}},
		{"54 path with NUL", oneCSV, "file\na\x00b\n", "!control_char", nil},
		{"55 other file", oneCSV, "file\nother.wav\n", "ok", map[string]any{"file": "other.wav"}},
		{"56 formula", oneCSV, "a,b,c\n\"=HYPERLINK(\"\"x\"\")\",@SUM,+cmd\n", "ok", map[string]any{"a": `=HYPERLINK("x")`, "b": "@SUM", "c": "+cmd"}},
		{"57 quoted line end", oneCSV, "a,b\r\n\"1\r\n2\",3\r\n", "ok", map[string]any{"a": "1\n2", "b": "3"}},
		{"57 tab", oneCSV, "a\n1\t2\n", "ok", map[string]any{"a": "1\t2"}},
		{"57 escape", oneCSV, "a\n\x1b]0;x\x07\n", "!control_char", nil},
		{"57 delete", oneCSV, "a\n1\x7f\n", "!control_char", nil},
		{"57 C1", oneCSV, "a\n1\u0085\n", "!control_char", nil},
		{"58 date", oneCSV, "a\n2026-02-30 24:00:60\n", "ok", map[string]any{"a": "2026-02-30 24:00:60"}},
		{"59 numbers", oneCSV, "a,b,c,d\n1e309,NaN,0x10,12345678901234567890\n", "ok",
			map[string]any{"a": "1e309", "b": "NaN", "c": "0x10", "d": "12345678901234567890"}},
		{"60 keys", oneCSV, "a,b,c\n, ,NULL\n", "ok", map[string]any{"a": "", "b": " ", "c": "NULL"}},
		{"60 null literals", with(oneCSV, func(c *Config) { c.Null = []string{"NULL", "", `\N`} }), "a,b,c,d\n,\\N,NULL,0\n", "ok", map[string]any{"d": "0"}},
	} {
		t.Run(test.name, func(t *testing.T) { checkOutcome(t, test.config, test.data, test.want, test.value) })
	}
}

func TestBadJSON(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 10_001) + "1" + strings.Repeat("}", 10_001)
	for _, test := range []struct {
		name   string
		config Config
		data   string
		want   string
		value  map[string]any
	}{
		{"61 same key", oneJSON, `{"a":1,"a":2}`, "!duplicate_key", nil},
		{"61 same key but for case", oneJSON, `{"A":1,"a":2}`, "!duplicate_key", nil},
		{"61 same key written with an escape", oneJSON, `{"a":1,"\u0061":2}`, "!duplicate_key", nil},
		{"61 same key as encoding/json folds", oneJSON, `{"K":1,"k":2}`, "!duplicate_key", nil},
		{"61 same key below", oneJSON, `{"x":[{"a":1,"a":2}]}`, "!duplicate_key", nil},
		{"61 same key in two objects", oneJSON, `{"a":{"b":1},"c":{"b":2}}`, "ok",
			map[string]any{"a": map[string]any{"b": int64(1)}, "c": map[string]any{"b": int64(2)}}},
		{"61 in a list", listJSON, `[{"a":1,"A":2},{"a":3}]`, "duplicate_key ok", nil},
		{"62 two documents", oneJSON, `{"a":1}{"a":2}`, "!trailing", nil},
		{"62 two lines", oneJSON, "{\"a\":1}\n{\"a\":2}\n", "!trailing", nil},
		{"62 lines of a list", listJSON, "{\"a\":1}\n{\"a\":2}\n", "ok ok", map[string]any{"a": int64(1)}},
		{"62 objects back to back", listJSON, `{"a":1}{"a":2} {"a":3}`, "ok ok ok", map[string]any{"a": int64(1)}},
		{"62 one bad object between", listJSON, `{"a":1}{"a":2,"a":3}{"a":4}`, "ok duplicate_key ok", nil},
		{"62 objects cut off", listJSON, `{"a":1}{"a":`, "ok !json_syntax", nil},
		{"62 objects cut off while growing", growingJSON, `{"a":1}{"a":`, "ok", nil},
		{"62 rubbish while growing", growingJSON, `{"a":1} x`, "ok !json_syntax", nil},
		{"62 nothing yet", growingJSON, ``, "", nil},
		{"62 rubbish", oneJSON, `{"a":1} x`, "!trailing", nil},
		{"62 bracket", oneJSON, `{"a":1}}`, "!trailing", nil},
		{"62 two lists", listJSON, `[{"a":1}][{"a":2}]`, "ok !trailing", nil},
		{"62 rubbish after a list", listJSON, `[{"a":1}] x`, "ok !trailing", nil},
		{"62 blanks are nothing", oneJSON, " {\"a\":1} \r\n\t", "ok", map[string]any{"a": int64(1)}},
		{"63 objects", oneJSON, deep, "!depth", nil},
		{"63 arrays", oneJSON, strings.Repeat("[", 10_001), "!depth", nil},
		{"63 list", listJSON, strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001), "depth", nil},
		{"63 element", listJSON, `[{"a":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `},{"a":1}]`, "depth ok", nil},
		{"63 depth of the standard library in an element", listJSON, `[{"a":1},` + deep + "]", "ok !depth", nil},
		{"63 many beside each other", listJSON, `[{"a":[` + strings.Repeat("{},[],", 50) + `0]},{}]`, "ok ok", nil},
		{"64 text", oneJSON, `{"a":"` + strings.Repeat("x", 1<<20) + `"}`, "!too_large", nil},
		{"64 text in a list", listJSON, `[{"a":"` + strings.Repeat("x", 2<<20) + `"}]`, "!too_large", nil},
		{"64 keys", oneJSON, "{" + strings.Repeat(`"a":1,`, 1_000_000) + `"b":1}`, "!too_large", nil},
		{"65 numbers", oneJSON, `{"a":12345678901234567890,"b":1234567890123456789,"c":2.5}`, "ok",
			map[string]any{"a": "12345678901234567890", "b": int64(1234567890123456789), "c": 2.5}},
		{"66 lone surrogate", oneJSON, `{"a":"\ud800"}`, "!encoding", nil},
		{"66 lone surrogate as key", oneJSON, `{"\udc00":1}`, "!encoding", nil},
		{"66 surrogates in the wrong order", oneJSON, `{"a":"\udc00\ud800"}`, "!encoding", nil},
		{"66 lone surrogate in a list", listJSON, `[{"a":"\uD800x"},{"a":"b"}]`, "encoding ok", nil},
		{"66 pair", oneJSON, `{"a":"\ud83d\ude00\ud83d\ude00"}`, "ok", map[string]any{"a": "😀😀"}},
		{"66 backslash before u", oneJSON, `{"a":"\\ud800"}`, "ok", map[string]any{"a": `\ud800`}},
		{"66 escaped U+FFFD", oneJSON, `{"a":"\ufffd"}`, "ok", map[string]any{"a": "\ufffd"}},
		{"66 invalid UTF-8", oneJSON, "{\"a\":\"Jos\xe9\"}", "!encoding", nil},
		{"66 invalid UTF-8 in a list", listJSON, "[{\"a\":\"Jos\xe9\"},{\"a\":1}]", "encoding ok", nil},
		{"66 windows-1252 configured", with(oneJSON, encoded("windows-1252")), "{\"a\":\"Jos\xe9\"}", "ok", map[string]any{"a": "José"}},
		{"67 mark", oneJSON, "\ufeff{\"a\":1}", "ok", map[string]any{"a": int64(1)}},
		{"67 utf-16 mark", oneJSON, "\xff\xfe" + utf16le(`{"a":"é"}`), "ok", map[string]any{"a": "é"}},
		{"68 null", oneJSON, "null", "!type", nil},
		{"68 text", oneJSON, `"a"`, "!type", nil},
		{"68 number", oneJSON, "12", "!type", nil},
		{"68 array", oneJSON, `[{"a":1}]`, "!type", nil},
		{"68 array of a list", listJSON, `[{"a":1},{"a":2}]`, "ok ok", nil},
		{"68 object of a list", listJSON, `{"a":1}`, "ok", map[string]any{"a": int64(1)}},
		{"68 null of a list", listJSON, "null", "type", nil},
		{"68 elements", listJSON, `[null,1,"a",[],{"a":1}]`, "type type type type ok", nil},
		{"68 empty file", oneJSON, "", "!no_record", nil},
		{"68 blanks", listJSON, " \n", "!no_record", nil},
		{"68 empty list", listJSON, "[]", "!no_record", nil},
		{"68 empty object", oneJSON, "{}", "ok", map[string]any{}},
		{"68 cut off", oneJSON, `{"a":"b`, "!json_syntax", nil},
		{"68 cut off list", listJSON, `[{"a":1},{"a`, "ok !json_syntax", nil},
		{"68 list without end", listJSON, `[{"a":1}`, "ok !json_syntax", nil},
		{"68 list with a gap", listJSON, `[{"a":1} {"a":2}]`, "ok !json_syntax", nil},
		{"68 list with a comma too many", listJSON, `[{"a":1},]`, "ok !json_syntax", nil},
		{"68 comma too many", oneJSON, `{"a":1,}`, "!json_syntax", nil},
		{"68 key without quotes", oneJSON, `{a:1}`, "!json_syntax", nil},
		{"68 page", oneJSON, `<html>`, "!json_syntax", nil},
		// 69 and 70 are decided by the mapping; nothing is dropped or converted here.
		{"69 unknown fields", oneJSON, `{"x":{"y":[1,null,{"z":true}]},"":"e"}`, "ok",
			map[string]any{"x": map[string]any{"y": []any{int64(1), nil, map[string]any{"z": true}}}, "": "e"}},
		{"70 types", oneJSON, `{"n":"12","b":"yes","e":[],"f":false}`, "ok", map[string]any{"n": "12", "b": "yes", "e": []any{}, "f": false}},
		{"71 hostile text", oneJSON, `{"__proto__":{"x":"<script>"},"q":"'; DROP TABLE x;--","t":"{{.}}","j":"${jndi:ldap://x}"}`, "ok",
			map[string]any{"__proto__": map[string]any{"x": "<script>"}, "q": "'; DROP TABLE x;--", "t": "{{.}}", "j": "${jndi:ldap://x}"}},
	} {
		t.Run(test.name, func(t *testing.T) { checkOutcome(t, test.config, test.data, test.want, test.value) })
	}
}

func checkOutcome(t *testing.T, c Config, data, want string, value map[string]any) {
	t.Helper()
	rows, bad := rowsOf(t, c, data)
	if got := outcome(rows, bad); got != want {
		t.Fatalf("got %q (%v), want %q", got, bad, want)
	}
	if value != nil {
		if diff := cmp.Diff(value, rows[0].Value); diff != "" {
			t.Fatalf("value (-want +got):\n%s", diff)
		}
	}
}

// Row 51 in full: ten million rows are refused at the cap, quickly.
func TestTenMillionRows(t *testing.T) {
	r := &generated{head: "id,a\n", row: "1,2\n", rows: 10_000_000}
	n := 0
	err := Read(r, -1, listCSV, func(Row) error { n++; return nil })
	if bad, ok := err.(*Error); !ok || bad.Code != "limits" || n != standard().rows {
		t.Fatalf("%d rows, then %v", n, err)
	}
}

func TestErrorsNameLines(t *testing.T) {
	for _, test := range []struct {
		config Config
		data   string
		line   int
	}{
		{oneCSV, "id,id\n", 1},
		{oneCSV, "id;a\n", 1},
		{oneCSV, "\n\nid,a\n\n1\n", 5},
		{oneCSV, "id,a\n1\x00,2\n", 2},
		{oneCSV, "id,a\n1,\"2\n3\n", 2},
		{listCSV, "id,a\n1,\"2\n3\"\n4,\"" + strings.Repeat("b\n", 1<<19), 4},
		{listCSV, "id,a\n1,\"2\n3\"x\n4,\"" + strings.Repeat("b\n", 1<<19), 4},
		{oneJSON, "{\n\"a\":1,\n\"a\":2}", 3},
		{oneJSON, "{\n\"a\":\n\"\\ud800\"}", 3},
	} {
		if _, bad := rowsOf(t, test.config, test.data); bad == nil || bad.Line != test.line {
			t.Errorf("%q: got %v, want line %d", test.data, bad, test.line)
		}
	}
	rows, _ := rowsOf(t, listCSV, "id,a\n1,\"2\n3\"\n4\n")
	if len(rows) != 2 || rows[1].Err == nil || rows[1].Err.Line != 4 {
		t.Errorf("row after a quoted line end: %v", rows)
	}
}

// Whatever is wrong, the sentence must not repeat what the file says.
func TestErrorsKeepContentsToThemselves(t *testing.T) {
	const secret = "Zq0"
	for _, data := range []string{
		secret + "," + secret + "\n1,2\n", secret + ";b\n", "a,b\n" + secret + "\n", "a,b\n" + secret + "\"x,1\n", "a\n\"" + secret + "\"x\n",
		"a\n" + secret + "\x00\n", "a\n" + secret + "\xff\n", "a\n" + secret + "\rx\n", "a,\n1," + secret + "\n",
		`{"` + secret + `":1,"` + secret + `":2}`, secret, `{"a":` + secret + `}`, `{"a":1}` + secret, `"` + secret + `"`, `{"a":"` + secret + `\ud800"}`,
	} {
		c := oneCSV
		if strings.ContainsAny(data[:1], `{"`) || data == secret {
			c = oneJSON
		}
		_, bad := rowsOf(t, c, data)
		if bad == nil || strings.Contains(bad.Error(), "Zq") || bad.Text == "" {
			t.Errorf("%q: %v", data, bad)
		}
	}
}
