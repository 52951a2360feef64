// Package config reads ingestd's one TOML file: default, decode, refuse what
// is not known, resolve, validate, compile.
//
// It promises that a [Config] it returns can be run as it is: every name it
// mentions exists, every expression compiles against its room, no two settings
// contradict each other. It reports all defects of a file at once, each with
// its line and what would be right, and never repeats a secret.
//
// It never looks at the machine beyond the file itself: whether directories
// exist and credentials can be read is asked by the check command and by the
// daemon when it starts.
package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"ingestd/internal/mapping"
	"ingestd/internal/senders"
	"ingestd/internal/senders/authenticx"
	"ingestd/internal/senders/behavioralsignals"
	"ingestd/internal/senders/callminer"
	"ingestd/internal/senders/elevateai"
	"ingestd/internal/senders/voyc"
	"ingestd/internal/sidecar"
	"ingestd/internal/watcher"
)

// maxBytes of a configuration file; a real one has a few thousand.
const maxBytes = 1 << 20

// Config is one file, defaults filled in, relative paths resolved against the
// file's own directory, everything validated and compiled.
type Config struct {
	Ledger       Ledger
	HTTP         HTTP
	Log          Log
	Sources      []Source
	Destinations []Destination
}

// Ledger is [ledger].
type Ledger struct {
	Path string `toml:"path"` // absolute; must be on a local file system
}

// HTTP is [http].
type HTTP struct {
	Listen string `toml:"listen"` // host:port; "" switches the status page off
}

// Log is [log].
type Log struct {
	Level  string `toml:"level"`  // debug, info, warn, error
	Format string `toml:"format"` // auto, text, json, journal
}

// Source is one [[source]]: a drop directory and what its files mean.
type Source struct {
	Name             string           `toml:"name"`
	Preset           string           `toml:"preset"` // a shipped configuration that this table completes and changes; see [Presets]
	Path             string           `toml:"path"`   // absolute
	Destinations     []string         `toml:"destinations"`
	Include          []string         `toml:"include"` // doublestar globs below Path, compared without case
	Exclude          []string         `toml:"exclude"`
	NamePattern      string           `toml:"name_pattern"`
	TimeZone         string           `toml:"time_zone"` // as written; see Zone
	Region           string           `toml:"region"`    // ISO 3166-1 alpha-2, for phone numbers without country code
	Settle           senders.Duration `toml:"settle"`
	ScanEvery        senders.Duration `toml:"scan_every"`
	Complete         string           `toml:"complete"` // as written; see Rule
	Accept           string           `toml:"accept"`
	WaitForSidecar   senders.Duration `toml:"wait_for_sidecar"`
	OnMissingSidecar string           `toml:"on_missing_sidecar"` // hold, send, quarantine
	After            string           `toml:"after"`              // keep, move, delete
	Archive          string           `toml:"archive"`            // absolute template with {source} {year} {month} {day} {hour}
	Copies           []string         `toml:"copies"`             // globs, best first: which of several copies of a recording is sent
	WaitForCopy      senders.Duration `toml:"wait_for_copy"`
	// DurationTolerance is how far the measured length may be from the one that
	// the metadata states; 0: never compared.
	DurationTolerance  senders.Duration `toml:"duration_tolerance"`
	OnDurationMismatch string           `toml:"on_duration_mismatch"` // warn, hold
	OnLateChange       string           `toml:"on_late_change"`       // ignore, hold, update
	Integrity          Integrity        `toml:"integrity"`
	NumberSegments     bool             `toml:"number_segments"` // number the recordings of a call by their start
	Legs               Legs             `toml:"legs"`
	Sidecars           []sidecar.Config `toml:"sidecar"` // never empty
	Call               Call             `toml:"call"`

	Zone    *time.Location  `toml:"-"` // UTC when TimeZone is ""
	Rule    watcher.Rule    `toml:"-"` // from Settle and Complete
	Mapping *mapping.Source `toml:"-"` // every expression of the source, compiled
}

// Integrity is [source.integrity]: expressions for what the metadata states of
// the file itself.
type Integrity struct {
	Bytes  string `toml:"bytes"`
	SHA256 string `toml:"sha256"` // hex
	MD5    string `toml:"md5"`    // hex
}

// Legs is [source.legs]: calls that are recorded in several files.
type Legs struct {
	Parts string `toml:"parts"` // expression: the names of the files of one folder that make up one call
	Merge string `toml:"merge"` // none, agent_left, agent_right
}

// Call is [source.call]: expressions by call record field.
type Call struct {
	Fields map[string]string `toml:",rest"`
	Custom map[string]string `toml:"custom"`
}

// Destination is one [[destination]]: the keys that all vendors share, and the
// vendor's own.
type Destination struct {
	Common senders.Common
	Vendor senders.VendorConfig // nil only beside a defect

	Fields *mapping.Fields          // [destination.fields], compiled; nil when there are none
	Texts  map[string]*mapping.Text // the vendor's own expressions by key, compiled
}

// LoadFile loads the file at path. Every error about the file, also that it
// cannot be read, is an *Error.
func LoadFile(path string) (*Config, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("locate configuration %q: %w", path, err)
	}
	f, err := os.Open(abs)
	if err != nil {
		hint := "write it (ingestd.toml.example shows every key), or name another file with --config or INGESTD_CONFIG"
		if errors.Is(err, fs.ErrPermission) {
			hint = "run as a user who may read it, root or the group ingestd"
		}
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, &Error{File: abs, Defects: []Defect{{Text: fmt.Sprintf("the configuration cannot be opened: %v", err), Hint: hint}}}
	}
	defer f.Close()
	return Load(f, abs)
}

// Load reads a configuration from r. The name is for messages, and its
// directory is where relative paths in the file begin. Defects of the file are
// one *Error; any other error is from r.
func Load(r io.Reader, name string) (*Config, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration %q: %w", name, err)
	}
	if len(data) > maxBytes {
		return nil, &Error{File: name, Defects: []Defect{{Text: fmt.Sprintf("is larger than %d bytes", maxBytes), Hint: "is this the right file?"}}}
	}
	text := unmarked(string(data))
	if line := tooDeep(text); line > 0 {
		return nil, &Error{File: name, Defects: []Defect{{Line: line, Text: "is nested far deeper than any configuration", Hint: "is this the right file?"}}}
	}
	var root table
	md, err := toml.Decode(text, &root)
	if err != nil {
		var parse toml.ParseError
		if errors.As(err, &parse) {
			return nil, &Error{File: name, Defects: []Defect{syntax(parse, text)}}
		}
		return nil, &Error{File: name, Defects: []Defect{{Text: err.Error()}}}
	}
	d := &decoder{md: &md, defects: &defects{at: index(text), names: map[string]string{}, moved: map[string]string{}, half: map[string]bool{}}}
	c := d.config(root)
	d.decoded()
	c.resolve(filepath.Dir(name))
	c.validate(d.defects)
	if err := d.done(name); err != nil {
		return nil, err
	}
	return c, nil
}

// config decodes the whole file over the defaults.
func (d *decoder) config(root table) *Config {
	c := &Config{
		Ledger: Ledger{Path: "/var/lib/ingestd/ledger.db"},
		HTTP:   HTTP{Listen: "127.0.0.1:9780"},
		Log:    Log{Level: "info", Format: "auto"},
	}
	for _, key := range sorted(root) {
		switch key {
		case "ledger":
			d.value(key, root[key], reflect.ValueOf(&c.Ledger).Elem())
		case "http":
			d.value(key, root[key], reflect.ValueOf(&c.HTTP).Elem())
		case "log":
			d.value(key, root[key], reflect.ValueOf(&c.Log).Elem())
		case "source":
			for i, t := range d.tables(key, root[key]) {
				c.Sources = append(c.Sources, d.source(i, t))
			}
		case "destination":
			for i, t := range d.tables(key, root[key]) {
				c.Destinations = append(c.Destinations, d.destination(i, t))
			}
		default:
			d.add(key, "unknown key", meant(key, []string{"destination", "http", "ledger", "log", "source"}))
		}
	}
	return c
}

// defaultInclude takes what recorders write, also the containers that no
// vendor accepts: those are then refused visibly instead of never noticed.
const defaultInclude = "**/*.{wav,wave,mp3,ogg,oga,opus,m4a,mp4,aac,wma,asf,amr,awb,3gp,flac,webm,w64,au,gsm,vox}"

func (d *decoder) source(i int, t table) Source {
	path := fmt.Sprintf("source[%d]", i)
	s := Source{
		Include:          []string{defaultInclude},
		Settle:           senders.Duration(10 * time.Second),
		ScanEvery:        senders.Duration(time.Minute),
		Complete:         "settle",
		WaitForSidecar:   senders.Duration(15 * time.Minute),
		OnMissingSidecar: "hold",
		WaitForCopy:      senders.Duration(10 * time.Minute),

		OnDurationMismatch: "warn",
		Legs:               Legs{Merge: "none"},
		OnLateChange:       "ignore",
		After:              "keep",
	}
	d.preset(path, t, &s)
	if p, given := t["sidecar"]; given {
		d.sidecars(path, p, &s)
		t = maps.Clone(t)
		delete(t, "sidecar")
	}
	d.fill(path, t, reflect.ValueOf(&s).Elem())
	if s.Sidecars == nil {
		s.Sidecars = []sidecar.Config{{Name: "sidecar", Files: []string{"**/*.json", "**/*.csv"}}}
	}
	d.name(path, i, s.Name)
	return s
}

// vendors are the types that a destination may name, each with its defaults:
// the place where a further vendor is added.
func vendors() map[string]func() senders.VendorConfig {
	return map[string]func() senders.VendorConfig{
		"authenticx":        func() senders.VendorConfig { c := authenticx.DefaultConfig(); return &c },
		"behavioralsignals": func() senders.VendorConfig { c := behavioralsignals.DefaultConfig(); return &c },
		"callminer":         func() senders.VendorConfig { c := callminer.DefaultConfig(); return &c },
		"elevateai":         func() senders.VendorConfig { c := elevateai.DefaultConfig(); return &c },
		"voyc":              func() senders.VendorConfig { c := voyc.DefaultConfig(); return &c },
	}
}

func (d *decoder) destination(i int, t table) Destination {
	path := fmt.Sprintf("destination[%d]", i)
	var typ, name string
	if p, ok := t["type"]; ok {
		d.leaf(under(path, "type"), p, reflect.ValueOf(&typ).Elem())
	}
	if p, ok := t["name"]; ok {
		d.leaf(under(path, "name"), p, reflect.ValueOf(&name).Elem())
	}
	d.name(path, i, name)
	if vendor, ok := vendors()[typ]; ok {
		c := vendor()
		d.fill(path, t, reflect.ValueOf(c).Elem())
		return Destination{Common: *c.Base(), Vendor: c}
	}
	text := "is missing"
	if typ != "" {
		text = fmt.Sprintf("no vendor is called %q", typ)
	}
	d.add(under(path, "type"), text, "known: "+strings.Join(sorted(vendors()), ", "))
	// Without a vendor nobody knows its keys; the name alone lets sources
	// refer to it.
	return Destination{Common: senders.Common{Name: name}}
}

// resolve makes every path absolute.
func (c *Config) resolve(dir string) {
	absolute := func(path *string) {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
		if *path != "" {
			*path = filepath.Clean(*path)
		}
	}
	absolute(&c.Ledger.Path)
	for i := range c.Sources {
		absolute(&c.Sources[i].Path)
		absolute(&c.Sources[i].Archive)
	}
}
