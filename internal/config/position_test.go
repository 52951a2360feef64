package config

import (
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// Each key's value is the line on which it stands, so the text proves itself.
const laidOut = `# comment = [ "
[ledger] # [not."a".table]
path = 3
  [[source]]
  name = 5
  include = [ # [[
    "a]", # ]
    'b#["',
  ]
  note = """ = [[
name = 99
\""" still """
  after = 13
  raw = '''
[[source]]
'''
  "quoted key".'x.y' = 17
  [[ source . sidecar ]]
  name = 19
  [[source.sidecar]]
  name = 21
  [source.call]
  inline = { a = "}", b = [1,
    2] }
  last = 25
[[source]]
[source.call.custom]
name = 28
[[source.sidecar]]
name = 30
`

func TestIndexFindsEveryKeysLine(t *testing.T) {
	p := index(laidOut)
	for path, want := range map[string]int{
		"ledger": 2, "ledger.path": 3,
		"source[0]": 4, "source[0].name": 5, "source[0].include": 6, "source[0].note": 10, "source[0].after": 13,
		"source[0].raw": 14, "source[0].quoted key.x.y": 17,
		"source[0].sidecar[0]": 18, "source[0].sidecar[0].name": 19, "source[0].sidecar[1].name": 21,
		"source[0].call": 22, "source[0].call.inline": 23, "source[0].call.last": 25,
		"source[1]": 26, "source[1].call.custom.name": 28, "source[1].sidecar[0].name": 30,
		// not written down: the nearest table around
		"source[0].call.inline.b": 23, "source[1].path": 26, "source[1].sidecar[0].files[0]": 29, "ledger.size": 2,
		"destination": 0, "": 0,
	} {
		if got := p.line(path); got != want {
			t.Errorf("%s is on line %d, want %d", path, got, want)
		}
	}
	if _, invented := p["source[2]"]; invented {
		t.Error("a header inside a string was taken for one")
	}
}

func TestMaskKeepsColumns(t *testing.T) {
	for in, want := range map[string]string{
		`client_secret = "abc" # x`:     `client_secret = *********`,
		`"api-Token"= 'ü'`:              `"api-Token"= ***`,
		`x = { password = "p" }`:        `x = { password = *****`,
		`url = "plain:ab" # c`:          `url = "plain:**" # c`,
		`source_id = "Acme" # no token`: `source_id = "Acme" # no token`,
	} {
		if got := mask(in); got != want {
			t.Errorf("mask(%s) = %s, want %s", in, got, want)
		}
	}
}

// Whatever the text, Load answers, and every line it names exists.
func FuzzLoad(f *testing.F) {
	f.Add(laidOut)
	f.Add("[[source]]\nname=\"a\"\n[[source.sidecar]]\nname=\"b\"\n[[destination]]\ntype=\"callminer\"\n")
	f.Add("source = [{name = 1}]\n\"a\".\"\" = '''\n'''\n")
	f.Fuzz(func(t *testing.T, text string) {
		_, err := Load(strings.NewReader(text), "fuzz.toml")
		defects, ok := err.(*Error)
		if !ok {
			if err != nil {
				t.Fatalf("error of another type: %v", err)
			}
			return
		}
		for _, d := range defects.Defects {
			if d.Line < 0 || d.Line > strings.Count(text, "\n")+1 || d.Text == "" {
				t.Fatalf("defect %+v", d)
			}
		}
	})
}

// The index reads what the library accepts: a key it finds is there.
func FuzzIndex(f *testing.F) {
	f.Add(laidOut)
	f.Fuzz(func(t *testing.T, text string) {
		text = unmarked(text)
		var v map[string]any
		if _, err := toml.Decode(text, &v); err != nil {
			return
		}
		for path := range index(text) {
			top := strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' })
			if _, ok := v[first(top)]; !ok && !strings.ContainsAny(text, `"'\`) {
				t.Fatalf("path %q is not in the text", path)
			}
		}
	})
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}
