package config

import (
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"ingestd/internal/senders"
	"ingestd/internal/watcher"
)

// longest is the most that any waiting time may be: a year is a typing error
// that never ends.
const longest = senders.Duration(366 * 24 * time.Hour)

var sourceName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// validate reports everything that is wrong and compiles what is right.
func (c *Config) validate(d *defects) {
	if c.Ledger.Path == "" {
		d.add("ledger.path", "is empty", "leave it out for /var/lib/ingestd/ledger.db")
	}
	if c.HTTP.Listen != "" {
		host, port, err := net.SplitHostPort(c.HTTP.Listen)
		n, portErr := strconv.ParseUint(port, 10, 16)
		if err != nil || portErr != nil || n == 0 || strings.ContainsAny(host, " /") {
			d.add("http.listen", fmt.Sprintf("%q is not an address", c.HTTP.Listen), `write "127.0.0.1:9780", or "" to switch it off`)
		}
	}
	d.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	d.oneOf("log.format", c.Log.Format, "auto", "text", "json", "journal")
	if len(c.Sources) == 0 {
		d.add("source", "there is none", "add [[source]] with name, path and destinations")
	}
	if len(c.Destinations) == 0 {
		d.add("destination", "there is none", "add [[destination]] with name and type")
	}
	for i := range c.Destinations {
		c.destination(d, i)
	}
	for i := range c.Sources {
		c.source(d, i)
	}
	c.places(d)
}

func (c *Config) destination(d *defects, i int) {
	path := fmt.Sprintf("destination[%d]", i)
	dest := &c.Destinations[i]
	for j := range i {
		if dest.Common.Name != "" && strings.EqualFold(c.Destinations[j].Common.Name, dest.Common.Name) {
			d.addf(path+".name", "%q is used twice", dest.Common.Name)
		}
	}
	if dest.Vendor == nil {
		return // reported already
	}
	d.rooms(path, dest.Vendor.Validate())
	dest.compile(d, path)
}

func (c *Config) source(d *defects, i int) {
	path := fmt.Sprintf("source[%d]", i)
	s := &c.Sources[i]
	switch {
	case s.Name == "":
		d.add(path+".name", "is missing", "a short word that never changes: it names the source in the ledger")
	case !sourceName.MatchString(s.Name):
		d.addf(path+".name", "%q must be 1 to 64 letters, digits, dashes or underscores", s.Name)
	case slices.ContainsFunc(c.Sources[:i], func(o Source) bool { return strings.EqualFold(o.Name, s.Name) }):
		d.addf(path+".name", "%q is used twice", s.Name)
	}
	if s.Path == "" {
		d.add(path+".path", "is missing", "the directory in which recordings arrive")
	}
	c.references(d, path, s)
	if d.half[path] {
		return // what is missing may be what it would have given
	}
	s.globs(d, path)
	s.times(d, path)
	d.oneOf(path+".on_missing_sidecar", s.OnMissingSidecar, "hold", "send", "quarantine")
	d.oneOf(path+".on_duration_mismatch", s.OnDurationMismatch, "warn", "hold")
	s.lateChange(d, path)
	d.oneOf(path+".after", s.After, "keep", "move", "delete")
	d.oneOf(path+".legs.merge", s.Legs.Merge, "none", "agent_left", "agent_right")
	if s.Legs.Merge != "none" && s.Legs.Parts == "" {
		d.add(path+".legs.merge", "needs parts", "an expression that names the two files of a call, as in 'map(list(session.stream), .label)'")
	}
	if s.Legs.Merge != "none" && len(s.Call.Fields) > 0 && s.Call.Fields["leg"] == "" {
		d.add(path+".legs.merge", "needs call.leg", `map it under [source.call] to "agent" and "customer": without it nobody knows who is in which file`)
	}
	s.archive(d, path)
	for j, side := range s.Sidecars {
		d.rooms(fmt.Sprintf("%s.sidecar[%d]", path, j), side.Validate())
	}
	s.compile(d, path)
}

// lateChange checks what happens when metadata changes after it was sent. No
// vendor's sender can change what it has sent.
func (s *Source) lateChange(d *defects, path string) {
	d.oneOf(path+".on_late_change", s.OnLateChange, "ignore", "hold", "update")
	if s.OnLateChange != "update" {
		return
	}
	for _, name := range s.Destinations {
		d.add(path+".on_late_change", fmt.Sprintf("destination %q cannot change metadata that it was sent", name),
			`"hold" asks a person, "ignore" notes the change in the history`)
	}
}

// references checks the names of a source's destinations.
func (c *Config) references(d *defects, path string, s *Source) {
	var known []string
	for _, dest := range c.Destinations {
		known = append(known, dest.Common.Name)
	}
	if len(s.Destinations) == 0 {
		d.add(path+".destinations", "is missing", "name at least one [[destination]]")
	}
	for i, name := range s.Destinations {
		if slices.Contains(s.Destinations[:i], name) {
			d.addf(path+".destinations", "%q stands there twice", name)
		} else if !slices.Contains(known, name) {
			d.add(path+".destinations", fmt.Sprintf("no [[destination]] is called %q", name), meant(name, known))
		}
	}
}

func (s *Source) globs(d *defects, path string) {
	if len(s.Include) == 0 {
		d.add(path+".include", "is empty, so no file would ever be taken", "leave it out for all common audio files")
	}
	for _, set := range []struct {
		key   string
		globs []string
	}{{"include", s.Include}, {"exclude", s.Exclude}, {"copies", s.Copies}} {
		for _, glob := range set.globs {
			switch {
			case glob == "" || !doublestar.ValidatePattern(glob):
				d.add(path+"."+set.key, fmt.Sprintf("%q is not a valid pattern", glob), `as in "**/*.wav" or "2026/**/*.{wav,mp3}"`)
			case filepath.IsAbs(glob) || slices.Contains(strings.Split(glob, "/"), ".."):
				d.add(path+"."+set.key, fmt.Sprintf("%q leads out of the source", glob), "patterns are relative to the source's path")
			}
		}
	}
}

// times checks durations, zone and completion rule, and fills Zone and Rule.
func (s *Source) times(d *defects, path string) {
	for _, t := range []struct {
		key      string
		value    senders.Duration
		min, max senders.Duration
	}{
		{"settle", s.Settle, senders.Duration(time.Millisecond), senders.Duration(24 * time.Hour)},
		{"scan_every", s.ScanEvery, senders.Duration(100 * time.Millisecond), senders.Duration(24 * time.Hour)},
		{"wait_for_sidecar", s.WaitForSidecar, 0, longest},
		{"wait_for_copy", s.WaitForCopy, 0, longest},
		{"duration_tolerance", s.DurationTolerance, 0, longest},
	} {
		if t.value < t.min || t.value > t.max {
			d.addf(path+"."+t.key, "%s is outside %s to %s", t.value, t.min, t.max)
		}
	}
	var err error
	if s.Zone, err = zone(s.TimeZone); err != nil {
		d.add(path+".time_zone", fmt.Sprintf("no time zone is called %q", s.TimeZone), `an IANA name such as "America/Chicago", or an offset such as "+02:00"`)
	}
	complete, err := watcher.ParseComplete(s.Complete)
	if err != nil {
		d.add(path+".complete", strings.TrimPrefix(err.Error(), "complete "), "")
	}
	s.Rule = watcher.Rule{Quiet: time.Duration(s.Settle), Complete: complete}
}

// zone loads an IANA zone or a fixed offset; "" is UTC. "Local" is refused:
// the same file must mean the same instants on every machine.
func zone(name string) (*time.Location, error) {
	if t, err := time.Parse("-07:00", name); err == nil {
		_, offset := t.Zone()
		return time.FixedZone(name, offset), nil
	}
	if name == "Local" {
		return nil, fmt.Errorf("%q depends on the machine", name)
	}
	return time.LoadLocation(name)
}

// oneOf refuses any other word.
func (d *defects) oneOf(path, value string, words ...string) {
	if !slices.Contains(words, value) {
		d.add(path, fmt.Sprintf("%q is unknown", value), "one of "+strings.Join(words, ", "))
	}
}

// rooms takes over what another room's Validate found: texts that begin with
// the key.
func (d *defects) rooms(path string, errs []error) {
	for _, err := range errs {
		key, text, ok := strings.Cut(err.Error(), ": ")
		if !ok {
			d.add(path, err.Error(), "")
			continue
		}
		d.add(under(path, key), text, "")
	}
}
