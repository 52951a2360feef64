package config_test

import (
	"strconv"
	"strings"
	"testing"

	"ingestd/internal/call"
	"ingestd/internal/config"
	"ingestd/internal/mapping"
)

const aroundPreset = `
[[destination]]
name = "d"
type = "callminer"
region = "us"
client_id = "a"
client_secret = "plain:s"
source_id = "b"
[[source]]
name = "s"
path = "/srv/s"
destinations = ["d"]
time_zone = "Europe/Oslo"
`

// Every preset is a whole configuration but for name, path, destinations and
// zone, and says in its first line what it is for.
func TestPresets(t *testing.T) {
	for _, p := range config.Presets() {
		t.Run(p.Name, func(t *testing.T) {
			c := load(t, aroundPreset+"preset = \""+p.Name+"\"\n")
			if s := c.Sources[0]; s.Mapping == nil || len(s.Call.Fields) == 0 || s.TimeZone != "Europe/Oslo" {
				t.Errorf("%+v", s)
			}
			if !strings.HasPrefix(p.Text, "# "+p.Title+"\n") || strings.Contains(p.Text, "\npath =") {
				t.Errorf("title %q", p.Title)
			}
		})
	}
	if len(config.Presets()) < 14 {
		t.Errorf("%d presets", len(config.Presets()))
	}
}

// A value that an export leaves out costs its own field only: nothing but what
// every record needs may refuse a recording.
func TestPresetsTakeAbsentValues(t *testing.T) {
	for _, p := range config.Presets() {
		s := load(t, aroundPreset+"preset = \""+p.Name+"\"\n").Sources[0]
		for field := range s.Call.Fields {
			if field == "started_at" || field == "direction" {
				continue
			}
			x := s.Mapping.Tracer("call." + field).Recording(mapping.Env{File: call.File{Path: "a/b.wav", Name: "b.wav", Stem: "b"}})
			if last := x.Steps[len(x.Steps)-1]; last.Err != nil {
				t.Errorf("%s: %v", p.Name, last.Err)
			}
		}
	}
}

// What stands in the source's table wins, key by key, and only where it stands.
func TestPresetOverridden(t *testing.T) {
	plain := load(t, aroundPreset+`preset = "nice"`).Sources[0]
	s := load(t, aroundPreset+`preset = "nice"
wait_for_sidecar = "5m"
  [[source.sidecar]]
  name = "calls"
  delimiter = ","
  [[source.sidecar]]
  name = "users"
  files = ["users.csv"]
  pair = "key"
  key = 'row.id'
  media_key = 'calls.CVSAGI'
  [source.call]
  started_at = 'shift(time(calls.CVSSDT, "02/01/2006 15:04:05"), -37)'
  [source.call.custom]
  Site = '"north"'
`).Sources[0]
	if plain.Sidecars[0].Delimiter != ";" || s.Sidecars[0].Delimiter != "," || s.Sidecars[0].Key != plain.Sidecars[0].Key || s.Sidecars[0].Encoding != "utf-16" {
		t.Errorf("changed sidecar: %+v", s.Sidecars[0])
	}
	if len(s.Sidecars) != 2 || s.Sidecars[1].Name != "users" {
		t.Errorf("sidecars: %+v", s.Sidecars)
	}
	if s.WaitForSidecar.String() != "5m0s" || plain.WaitForSidecar.String() != "36h0m0s" {
		t.Errorf("wait: %s and %s", s.WaitForSidecar, plain.WaitForSidecar)
	}
	if s.Call.Fields["agent_name"] != plain.Call.Fields["agent_name"] || s.Call.Fields["started_at"] == plain.Call.Fields["started_at"] || s.Call.Custom["Site"] == "" {
		t.Errorf("call: %v", s.Call)
	}
}

// A defect names the line where the operator can mend it: the line of his own
// table, or that of preset.
func TestPresetDefects(t *testing.T) {
	before := strings.Count(aroundPreset, "\n")
	for _, tt := range []struct {
		text string
		line int
		says string
	}{
		{`preset = "genesis"`, 1, "genesys-cloud"},
		{"preset = 3", 1, "must be a string"},
		{"preset = \"nice\"\n[[source.sidecar]]\nname = \"x\"\nfiles = [\"[\"]", 4, "not a valid pattern"},
		{"preset = \"nice\"\n[[source.sidecar]]\nname = \"calls\"\nkey = 'rows.x'", 4, "unknown name rows"},
		{"preset = \"genesys-cloud\"\n[[source.sidecar]]\nname = \"user\"\nmedia_key = 'sidecars.x'", 4, "unknown name sidecars"},
		{"preset = \"nice\"\n[[source.sidecar]]\nname = \"calls\"\npair = \"stem\"", 2, "is only used with pair"},
	} {
		_, err := config.Load(strings.NewReader(aroundPreset+tt.text+"\n"), "x.toml")
		if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "line "+strconv.Itoa(before+tt.line)) {
			t.Errorf("%q: %v, want line %d and %q", tt.text, err, before+tt.line, tt.says)
		}
	}
}
