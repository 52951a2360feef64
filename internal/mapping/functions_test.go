package mapping_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func instant(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return at.UTC()
}

func TestFunctions(t *testing.T) {
	doc := map[string]any{
		"blank": "  ", "whole": int64(12345678901234567), "part": 2.5, "yes": true,
		"list": []any{"", nil, "b", "c"}, "empty": []any{}, "one": int64(1),
		"tags": []any{map[string]any{"key": "q", "value": "Sales"}},
	}
	tests := []struct {
		expr string
		want any
	}{
		{`epoch("1793606410")`, "2026-11-02T08:00:10Z"},
		{`epoch(1793606410)`, "2026-11-02T08:00:10Z"},
		{`epoch(1793606410.25)`, "2026-11-02T08:00:10.25Z"},
		{`epoch("1793606410.000000001")`, "2026-11-02T08:00:10.000000001Z"},
		{`epoch_ms("1793606410250")`, "2026-11-02T08:00:10.25Z"},
		{`epoch_us("1793606410250001")`, "2026-11-02T08:00:10.250001Z"},
		{`epoch("0")`, nil},
		{`epoch_ms(0)`, nil},
		{`epoch(doc.missing)`, nil},

		{`shift(time("2026-11-02 09:00:37"), -37)`, "2026-11-02T15:00:00Z"},
		{`shift(time("2026-11-02 09:00:00"), "1.5")`, "2026-11-02T15:00:01.5Z"},
		{`shift(doc.missing, 5)`, nil},

		{`duration("0:43")`, 43.0},
		{`duration("2:05")`, 125.0},
		{`duration("90:00")`, 5400.0},
		{`duration("01:02:03")`, 3723.0},
		{`duration("00:00:03.250")`, 3.25},
		{`duration("2,5")`, 2.5},
		{`duration("0,250")`, 0.25},
		{`duration("12")`, 12.0},
		{`duration(12)`, 12},
		{`duration(doc.missing)`, nil},
		{`duration(doc.blank)`, nil},

		{`number("42")`, int64(42)},
		{`number(" -7 ")`, int64(-7)},
		{`number("2,3")`, 2.3},
		{`number("2.50")`, 2.5},
		{`number("0,250")`, 0.25},
		{`number(doc.part)`, 2.5},
		{`number(doc.missing)`, nil},

		{`phone("(202) 555-0111")`, "+12025550111"},
		{`phone("1-202-555-0113")`, "+12025550113"},
		{`phone("tel:+12025550143")`, "+12025550143"},
		{`phone("sip:+12025550151@carrier.example.net")`, "+12025550151"},
		{`phone("07700900111", "GB")`, "+447700900111"},
		{`phone("02079460123", "GB")`, "+442079460123"},
		{`phone("03023125111", "DE")`, "+493023125111"},
		{`phone("0049 30 23125111", "DE")`, "+493023125111"},
		{`phone("+44 20 7946 0900")`, "+442079460900"},
		{`phone("201", "GB")`, nil},
		{`phone("1001", "DE")`, nil},
		{`phone("5550111")`, nil},
		{`phone("911")`, nil},
		{`phone("Anonymous")`, nil},
		{`phone("call 2025550143 now")`, nil},
		{`phone("202555014320255501432025550143")`, nil},
		{`phone(doc.missing)`, nil},

		{`uri_user("tel:+12025550143")`, "+12025550143"},
		{`uri_user("SIP:70012@pbx.example.com;user=phone")`, "70012"},
		{`uri_user("sips:%2B4930@example.com")`, "+4930"},
		{`uri_user("tel:+1-202;ext=5")`, "+1-202"},
		{`uri_user("dreyes@example.com")`, "dreyes@example.com"},
		{`uri_user("07700900111")`, "07700900111"},
		{`uri_user(doc.missing)`, nil},

		{`match("3344556677_2", "_(\\d+)$")`, "2"},
		{`match("3344556677_2", "^\\d+")`, "3344556677"},
		{`match("a1b2", "([a-z])(\\d)", 2)`, "1"},
		{`match("a1b2", "([a-z])(\\d)", 0)`, "a1"},
		{`match("a1b2", "(?P<l>[a-z])(?P<d>\\d)", "d")`, "1"},
		{`match("abc", "\\d")`, nil},
		{`match("abc", doc.list[2])`, "b"},
		{`match(doc.missing, "x")`, nil},

		{`first(doc.missing, doc.blank, "", "x", "y")`, "x"},
		{`first(doc.list)`, "b"},
		{`first(doc.empty, doc.missing)`, nil},
		{`first(doc.missing, 0)`, 0},

		{`join(["Ada", doc.missing, "Lovelace"], " ")`, "Ada Lovelace"},
		{`join(doc.list, "+")`, "b+c"},
		{`join([doc.missing, doc.blank], " ")`, nil},
		{`join(["a", 1])`, "a1"},
		{`join(split("a-b", "-"), "/")`, "a/b"},

		{`urldecode("Gr%C3%BCn%20%26%20S%C3%B6hne")`, "Grün & Söhne"},
		{`urldecode("+49 30%2B1")`, "+49 30+1"},
		{`urldecode(doc.missing)`, nil},

		{`nfc("e` + "\u0301" + `")`, "é"},
		{`string(doc.whole)`, "12345678901234567"},
		{`string(doc.part)`, "2.5"},
		{`string(1e21)`, "1000000000000000000000"},
		{`string(doc.missing)`, nil},
		{`string(time("2026-11-02 09:00:00"))`, "2026-11-02T15:00:00Z"},

		{`lower("ABC")`, "abc"},
		{`upper(doc.missing)`, nil},
		{`trim(doc.whole)`, "12345678901234567"},
		{`trim("-a-", "-")`, "a"},
		{`trimPrefix("9555", "9")`, "555"},
		{`trimSuffix("a_x", "_x")`, "a"},
		{`replace("a\\b", "\\", "/")`, "a/b"},
		{`replace(doc.missing, "a", "b")`, nil},
		{`split("1001@acme.example.org", "@")[0]`, "1001"},
		{`split("1001", "@")[1]`, nil},
		{`split(doc.missing, "@")[0]`, nil},

		// Paths: every missing step is absent, and ?? gives another value.
		{`doc.a.b.c`, nil},
		{`doc.a.b.c ?? "none"`, "none"},
		{`doc.a?.b.c ?? "none"`, "none"},
		{`doc["a"]["b"]`, nil},
		{`doc.empty[0]`, nil},
		{`doc.list[-1]`, "c"},
		{`doc.list[9]`, nil},
		{`find(doc.tags, .key == "q").value`, "Sales"},
		{`find(doc.tags, .key == "none").value`, nil},
		{`{"1": "inbound"}[doc.one]`, "inbound"},
		{`{"1": "inbound"}[doc.missing]`, nil},
		{`{"1": "inbound"}[doc.list[2]]`, nil},

		// Times keep their methods.
		{`time("2026-11-02 09:00:00").Format("Jan 2")`, "Nov 2"},
		{`time("2026-11-02 09:00:03") - time("2026-11-02 09:00:00")`, 3.0},
		{`time("2026-11-02 09:00:00").Unix()`, int64(1793631600)},
		{`doc.yes`, true},
	}
	for _, tt := range tests {
		t.Run(tt.expr, func(t *testing.T) {
			got, err := eval(t, tt.expr, doc)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.want
			if at, ok := got.(time.Time); ok {
				text, _ := want.(string)
				want = instant(t, text)
				got = at
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestFunctionErrors(t *testing.T) {
	doc := map[string]any{"list": []any{"a"}, "word": "abc", "n": int64(5), "big": "99999999999999999999", "re": "(", "region": int64(1)}
	tests := []struct{ expr, code string }{
		{`epoch("soon")`, "bad_time"},
		{`epoch("1e9")`, "bad_time"},
		{`epoch("-5")`, "bad_time"},
		{`epoch("1793606410250")`, "bad_time"}, // milliseconds
		{`epoch_ms("1793606410")`, "bad_time"}, // seconds: 1970
		{`epoch("999999999999999999")`, "bad_time"},
		{`epoch(doc.list)`, "bad_value"},
		{`shift("2026-11-02 09:00:00", 1)`, "bad_time"},
		{`shift(time("2026-11-02 09:00:00"), doc.word)`, "bad_number"},
		{`shift(time("2026-11-02 09:00:00"), 1e12)`, "bad_number"},
		{`duration("abc")`, "bad_number"},
		{`duration("1:60")`, "bad_number"},
		{`duration("1:75:00")`, "bad_number"},
		{`duration("1:5:00")`, "bad_number"},
		{`duration("1:5")`, "bad_number"},
		{`number("1e309")`, "bad_number"},
		{`number("NaN")`, "bad_number"},
		{`number("0x10")`, "bad_number"},
		{`number("1_000")`, "bad_number"},
		{`number("1,234")`, "bad_number"},
		{`number("1.234,5")`, "bad_number"},
		{`number(doc.big)`, "bad_number"},
		{`phone("2025550143", doc.region)`, "bad_value"},
		{`match("a", doc.re)`, "bad_value"},
		{`match("a", "a", 1)`, "bad_value"},
		{`match("a", "a", "name")`, "bad_value"},
		{`match("a", "a", doc.list)`, "bad_value"},
		{`match(doc.list, "a")`, "bad_value"},
		{`join([doc.list])`, "bad_value"},
		{`urldecode("%zz")`, "bad_value"},
		{`lower(doc.list)`, "bad_value"},
		{`doc.list`, "bad_value"},
		{`doc.word.x`, "bad_expression"},
		{`doc.list.x`, "bad_expression"},
		{`doc.word + 1`, "bad_expression"},
		{`doc.missing + "x"`, "bad_expression"},
		{`"x" + doc.missing`, "bad_expression"},
		{`doc.word()`, "bad_expression"},
		{`doc.missing()`, "bad_expression"},
		{`not doc.word`, "bad_expression"},
		{`int(doc.word)`, "bad_expression"},
	}
	for _, tt := range tests {
		t.Run(tt.expr, func(t *testing.T) {
			got, err := eval(t, tt.expr, doc)
			if err == nil {
				t.Fatalf("got %v, want an error", got)
			}
			wantFieldError(t, err, "custom.x", tt.code)
		})
	}
}
