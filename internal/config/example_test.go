package config_test

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ingestd/internal/config"
	"ingestd/internal/senders"
)

const example = "../../ingestd.toml.example"

// smallest is a new user's first file.
const smallest = `
[[source]]
name = "genesys"
path = "/srv/drop/genesys"
destinations = ["callminer"]

[[destination]]
name = "callminer"
type = "callminer"
region = "us"
client_id = "acme-recorder"
client_secret = "cred:callminer"
source_id = "AcmeRecorder"
`

func load(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Load(strings.NewReader(text), "/etc/ingestd/ingestd.toml")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The example shows defaults: but for its mapping it equals the smallest file.
func TestExampleShowsDefaults(t *testing.T) {
	shown, err := config.LoadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	for _, side := range shown.Sources[0].Sidecars {
		if side.Format != "auto" || side.Pair != "stem" || side.Required == nil || !*side.Required {
			t.Errorf("sidecar of the example: %+v", side)
		}
	}
	want := load(t, smallest)
	mapped := cmp.Options{
		cmpopts.IgnoreFields(config.Source{}, "Call", "Sidecars", "Mapping", "Zone"),
		cmpopts.IgnoreFields(config.Destination{}, "Fields", "Texts"),
		cmpopts.IgnoreFields(senders.Common{}, "Fields"),
		cmpopts.EquateEmpty(),
	}
	if diff := cmp.Diff(want, shown, mapped); diff != "" {
		t.Errorf("example against defaults (-default +example):\n%s", diff)
	}
	if got := shown.Sources[0].Sidecars; got[0].Name != want.Sources[0].Sidecars[0].Name || !cmp.Equal(got[0].Files, want.Sources[0].Sidecars[0].Files) {
		t.Errorf("sidecar of the example %+v, default %+v", got[0], want.Sources[0].Sidecars[0])
	}
}

// Every key of every table stands in the example, and the lines that are
// switched off are good once they are switched on.
func TestExampleShowsEveryKey(t *testing.T) {
	data, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	shows := func(example string, of reflect.Type) {
		for _, key := range keys(of) {
			if !regexp.MustCompile(`(?m)^\s*(#?` + key + ` = |\[.*\b` + key + `\]\]?)`).MatchString(example) {
				t.Errorf("the example does not show %s", key)
			}
		}
	}
	shows(text, reflect.TypeFor[config.Config]())
	off := regexp.MustCompile(`(?m)^(\s*)#(\w+ = |\[)`)
	text = off.ReplaceAllString(text, "$1$2")
	for _, choice := range [][2]string{
		{`after = "keep"`, `after = "move"`},
		{`preset = "genesys-cloud"`, ``},
		{`region = "us" `, `# `},
		{`pair = "stem"`, `pair = "key"`}, {`suffix = "_metadata.json"`, ``},
		{`header = true`, `header = false`},
	} {
		if !strings.Contains(text, choice[0]) {
			t.Fatalf("the example has no %s", choice[0])
		}
		text = strings.Replace(text, choice[0], choice[1], 1)
	}
	c := load(t, text)
	if c.Sources[0].Archive == "" || c.Destinations[0].Texts["correlation_id"] == nil || c.Sources[0].Zone.String() != "America/Chicago" {
		t.Errorf("switched-off lines were not read: %+v", c)
	}
	for _, d := range c.Destinations {
		shows(text, reflect.TypeOf(d.Vendor))
	}
	if len(c.Destinations) < 5 {
		t.Errorf("%d vendors are shown", len(c.Destinations))
	}
}

// keys lists the toml names of a type, its tables included.
func keys(t reflect.Type) (list []string) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return keys(t.Elem())
	case reflect.Struct:
	default:
		return nil
	}
	if !strings.Contains(t.PkgPath(), "ingestd/") {
		return nil
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if tag := f.Tag.Get("toml"); tag != "-" && f.IsExported() {
			if tag != "" && tag != ",rest" {
				list = append(list, tag)
			}
			if !reflect.PointerTo(f.Type).Implements(reflect.TypeFor[interface{ UnmarshalText([]byte) error }]()) {
				list = append(list, keys(f.Type)...)
			}
		}
	}
	return list
}
