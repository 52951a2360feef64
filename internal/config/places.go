package config

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// places refuses directories that lie in each other: a file would belong to
// two sources, or be found again where it was archived.
func (c *Config) places(d *defects) {
	for i, s := range c.Sources {
		path := fmt.Sprintf("source[%d]", i)
		if s.Path == "" {
			continue
		}
		if inside(c.Ledger.Path, s.Path) {
			d.add("ledger.path", fmt.Sprintf("lies inside the watched directory %q", s.Path), "keep the ledger out of every source")
		}
		for _, o := range c.Sources[:i] {
			if o.Path != "" && (inside(s.Path, o.Path) || inside(o.Path, s.Path)) {
				d.add(path+".path", fmt.Sprintf("%q overlaps with %q of source %q", s.Path, o.Path, o.Name),
					"every file belongs to one source; use include and exclude within one")
			}
		}
		for _, o := range c.Sources {
			if s.Archive != "" && o.Path != "" && mayLieInside(s.Archive, s.Name, o.Path) {
				d.add(path+".archive", fmt.Sprintf("lies inside the watched directory %q", o.Path), "archived files would be taken again")
			}
		}
	}
}

// inside reports whether path is dir or lies below it. Both are clean.
func inside(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

var placeholder = regexp.MustCompile(`\{[^{}]*\}`)

// archive checks the template of a source.
func (s *Source) archive(d *defects, path string) {
	path += ".archive"
	switch {
	case s.After == "move" && s.Archive == "":
		d.add(path, `is missing, but after = "move"`, `as in "/srv/archive/{source}/{year}/{month}/{day}"`)
	case s.After != "move" && s.Archive != "":
		d.add(path, fmt.Sprintf("is set, but after = %q does not use it", s.After), `set after = "move", or remove it`)
	}
	for _, p := range placeholder.FindAllString(s.Archive, -1) {
		switch p {
		case "{source}", "{year}", "{month}", "{day}", "{hour}":
		default:
			d.add(path, fmt.Sprintf("unknown placeholder %s", p), "known: {source}, {year}, {month}, {day}, {hour}")
		}
	}
	if strings.ContainsAny(placeholder.ReplaceAllString(s.Archive, ""), "{}") {
		d.add(path, "has a brace without its partner", "known: {source}, {year}, {month}, {day}, {hour}")
	}
}

// mayLieInside reports whether some expansion of an archive template lies in
// dir: every element of dir must be met by one of the template's, where a date
// can be any digits.
func mayLieInside(archive, source, dir string) bool {
	dir = strings.TrimSuffix(dir, string(filepath.Separator))
	have := strings.Split(strings.ReplaceAll(archive, "{source}", source), "/")
	want := strings.Split(dir, "/")
	if len(have) < len(want) {
		return false
	}
	for i, element := range want {
		pattern := regexp.QuoteMeta(placeholder.ReplaceAllString(have[i], "\x00"))
		ok, err := regexp.MatchString("^"+strings.ReplaceAll(pattern, "\x00", `\d+`)+"$", element)
		if err != nil || !ok {
			return false
		}
	}
	return true
}
