package config

import (
	"embed"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"ingestd/internal/sidecar"
)

// presetFiles are what a recorder's documented export needs: each file is one
// [[source]] as an operator could write it, without name, path and
// destinations.
//
//go:embed presets/*.toml
var presetFiles embed.FS

// Preset is a shipped configuration of a recorder's export.
type Preset struct {
	Name  string // as in preset = "..."
	Title string // its first line: what it is for
	Text  string // the whole file
}

// Presets returns the shipped presets by name.
func Presets() []Preset {
	entries, err := presetFiles.ReadDir("presets")
	if err != nil {
		panic("config: " + err.Error()) // built in: cannot happen
	}
	var out []Preset
	for _, e := range entries {
		text, err := presetFiles.ReadFile(path.Join("presets", e.Name()))
		if err != nil {
			panic("config: " + err.Error())
		}
		title, _, _ := strings.Cut(string(text), "\n")
		out = append(out, Preset{Name: strings.TrimSuffix(e.Name(), ".toml"), Title: strings.TrimPrefix(title, "# "), Text: string(text)})
	}
	return out
}

// fill sets what the preset says in s.
func (p Preset) fill(s *Source) error {
	var root struct {
		Source []table `toml:"source"`
	}
	md, err := toml.Decode(p.Text, &root)
	if err != nil {
		return err
	}
	if len(root.Source) != 1 {
		return fmt.Errorf("%d sources", len(root.Source))
	}
	d := &decoder{md: &md, defects: &defects{names: map[string]string{}}}
	d.fill("source[0]", root.Source[0], reflect.ValueOf(s).Elem())
	return d.done(p.Name + ".toml")
}

// preset fills s from the preset that the source's table names, if it names
// one; the table itself is decoded over it afterwards, key by key.
func (d *decoder) preset(path string, t table, s *Source) {
	given, ok := t["preset"]
	if !ok {
		return
	}
	source := path
	path = under(path, "preset")
	var name string
	if !d.leaf(path, given, reflect.ValueOf(&name).Elem()) {
		d.half[source] = true
		return
	}
	all := Presets()
	i := slices.IndexFunc(all, func(p Preset) bool { return p.Name == name })
	if i < 0 {
		d.add(path, fmt.Sprintf("there is no preset %q", name), presetMeant(name, all))
		d.half[source] = true
		return
	}
	if err := all[i].fill(s); err != nil {
		d.add(path, err.Error(), "")
	}
}

// presetMeant suggests a preset by its name, or by the first word of it.
func presetMeant(name string, all []Preset) string {
	var names, words []string
	for _, p := range all {
		word, _, _ := strings.Cut(p.Name, "-")
		names, words = append(names, p.Name), append(words, word)
	}
	i := slices.Index(names, nearest(name, names))
	if i < 0 {
		i = slices.Index(words, nearest(name, words))
	}
	if i < 0 {
		return "`ingestd presets` lists them: " + strings.Join(names, ", ")
	}
	return fmt.Sprintf("did you mean %q? `ingestd presets` lists all", names[i])
}

// sidecars decodes the source's sidecar tables over those of its preset: a
// table with the name of one of them changes the keys it gives, any other is
// added behind them.
func (d *decoder) sidecars(path string, p toml.Primitive, s *Source) {
	at := under(path, "sidecar")
	tables := d.tables(at, p)
	if len(s.Sidecars) == 0 {
		s.Sidecars = make([]sidecar.Config, len(tables))
		for i, t := range tables {
			d.fill(fmt.Sprintf("%s[%d]", at, i), t, reflect.ValueOf(&s.Sidecars[i]).Elem())
		}
		return
	}
	for i := range s.Sidecars {
		d.moved[fmt.Sprintf("%s[%d]", at, i)] = under(path, "preset")
	}
	for i, t := range tables {
		var name string
		if p, ok := t["name"]; ok {
			d.leaf(fmt.Sprintf("%s[%d].name", at, i), p, reflect.ValueOf(&name).Elem())
		}
		to := slices.IndexFunc(s.Sidecars, func(c sidecar.Config) bool { return c.Name == name })
		if to < 0 {
			to = len(s.Sidecars)
			s.Sidecars = append(s.Sidecars, sidecar.Config{})
		}
		merged := fmt.Sprintf("%s[%d]", at, to)
		d.moved[merged] = fmt.Sprintf("%s[%d]", at, i)
		d.fill(merged, t, reflect.ValueOf(&s.Sidecars[to]).Elem())
	}
}
