package mapping

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"

	"ingestd/internal/call"
)

// SourceConfig is the mapping part of one source, as in the config file.
type SourceConfig struct {
	NamePattern string            // regular expression over the relative path; "": none
	TimeZone    string            // IANA name or fixed offset for times without one; "": such times are refused
	Region      string            // ISO 3166-1 code for phone numbers without +; "": none
	Accept      string            // expression; "": every recording
	Call        map[string]string // canonical field -> expression; empty: see [Source.Call]
	Custom      map[string]string // name of the operator's choice -> expression
	Sidecars    []SidecarExprs    // in the order of the config file
	Integrity   Stated            // expressions for what the metadata says of the file
	Parts       string            // expression: the recordings of the folder that are one call; see [Source.Parts]
}

// SidecarExprs are the expressions of one sidecar; see [Source.RowKeys] and
// the methods beside it. All but Where are empty unless it is paired by key.
type SidecarExprs struct{ Name, Key, MediaKey, Where, Prefer, At, MediaAt string }

// Source maps the recordings of one source. Safe for concurrent use.
type Source struct {
	defaults defaults
	pattern  *regexp.Regexp
	sidecars []string
	accept   *program
	call     map[string]*program // by canonical name; empty: documents carry the names
	custom   map[string]*program
	names    []string               // of custom, sorted
	rows     map[string]rowPrograms // by sidecar
	stated   map[string]*program    // of Integrity, by key
	parts    *program
	texts    map[string]string  // expressions over a recording as configured, by field
	rowTexts map[string]rowText // those over a sidecar's rows
}

// Env is what is known of one recording. A sidecar without an entry in Docs is
// an empty document.
type Env struct {
	Docs  map[string]map[string]any // sidecar name -> normalised document
	Names map[string]string         // from Names
	File  call.File
	Audio call.Audio
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// CompileSource checks everything. The error joins one *CompileError for each
// mistake.
func CompileSource(c SourceConfig) (*Source, error) {
	s := &Source{call: map[string]*program{}, custom: map[string]*program{}, rows: map[string]rowPrograms{}, texts: map[string]string{}, rowTexts: map[string]rowText{}, stated: map[string]*program{}}
	errs := s.settings(c)
	for _, sc := range c.Sidecars {
		s.sidecars = append(s.sidecars, sc.Name)
	}
	comp := newCompiler(sourceTypes(s.sidecars, s.pattern), s.defaults)
	if c.Accept != "" {
		s.texts["accept"] = c.Accept
		s.accept = comp.compile("accept", "accept", c.Accept)
		// The library's own AsBool would turn a missing value into false.
		if s.accept != nil && s.accept.kind != reflect.Bool && s.accept.kind != reflect.Interface {
			comp.fail("accept", c.Accept, 1, 1, "the rule must give true or false; compare the value with something")
		}
	}
	for _, name := range sortedKeys(c.Call) {
		if !isField(name) {
			comp.errs = append(comp.errs, &CompileError{Field: "call." + name, Expr: c.Call[name], Known: fieldNames(),
				Text: fmt.Sprintf("%q is no field of the call record; put values of your own into [source.call.custom]", name)})
			continue
		}
		s.texts["call."+name] = c.Call[name]
		s.call[name] = comp.compile("call."+name, name, c.Call[name])
	}
	for _, name := range []string{"started_at", "direction"} {
		if _, ok := c.Call[name]; !ok && len(c.Call) > 0 {
			comp.fail("call."+name, "", 0, 0, name+" is required in every record; "+
				map[string]string{"started_at": "map it, for example 'time(sidecar.startTime)'", "direction": `map it, or write '"unknown"'`}[name])
		}
	}
	for _, name := range sortedKeys(c.Custom) {
		s.texts["call.custom."+name] = c.Custom[name]
		s.custom[name] = comp.compile("call.custom."+name, "custom."+name, c.Custom[name])
		s.names = append(s.names, name)
	}
	for key, text := range map[string]string{"integrity.bytes": c.Integrity.Bytes, "integrity.sha256": c.Integrity.SHA256, "integrity.md5": c.Integrity.MD5} {
		if text != "" {
			s.texts[key] = text
			s.stated[key] = comp.compile(key, key, text)
		}
	}
	if c.Parts != "" {
		s.texts["legs.parts"] = c.Parts
		s.parts = comp.compile("legs.parts", "legs.parts", c.Parts)
	}
	errs = append(errs, comp.errs...)
	for _, sc := range c.Sidecars {
		errs = append(errs, s.compileRows(sc)...)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return s, nil
}

// settings takes over pattern, zone, region and the names of sidecars.
func (s *Source) settings(c SourceConfig) (errs []error) {
	bad := func(field, value, text string) {
		errs = append(errs, &CompileError{Field: field, Expr: value, Text: text})
	}
	var err error
	if c.NamePattern != "" {
		if s.pattern, err = regexp.Compile(c.NamePattern); err != nil {
			bad("name_pattern", c.NamePattern, err.Error())
			s.pattern = nil
		}
	}
	if c.TimeZone != "" {
		if s.defaults.zone, err = loadZone(c.TimeZone); err != nil {
			bad("time_zone", c.TimeZone, err.Error())
		}
	}
	if s.defaults.region = c.Region; c.Region != "" {
		if err = checkRegion(c.Region); err != nil {
			bad("region", c.Region, err.Error())
		}
	}
	for i, sc := range c.Sidecars {
		switch {
		case !identifier.MatchString(sc.Name):
			bad("sidecar", sc.Name, fmt.Sprintf("the name %q cannot be written in expressions; use letters, digits and _", sc.Name))
		case slices.Contains(reserved, sc.Name):
			bad("sidecar", sc.Name, fmt.Sprintf("the name %q has a meaning in expressions; choose another", sc.Name))
		case slices.ContainsFunc(c.Sidecars[:i], func(o SidecarExprs) bool { return o.Name == sc.Name }):
			bad("sidecar", sc.Name, fmt.Sprintf("the name %q is used twice", sc.Name))
		}
	}
	return errs
}

// Names applies name_pattern to a relative path; groups that take no part are
// left out. Without a pattern there are no names. The error is a *FieldError.
func (s *Source) Names(rel string) (map[string]string, error) {
	names := map[string]string{}
	if s.pattern == nil {
		return names, nil
	}
	found := s.pattern.FindStringSubmatch(rel)
	if found == nil {
		return nil, &FieldError{Field: "name", Code: CodePattern,
			Text: "name: the path does not match name_pattern; if the recorder names its files anew, adapt the pattern"}
	}
	for i, group := range s.pattern.SubexpNames() {
		if group != "" && found[i] != "" {
			names[group] = found[i]
		}
	}
	return names, nil
}

// Accept says whether the source wants this recording. The error is a
// *FieldError.
func (s *Source) Accept(e Env) (bool, error) { return decide(s.accept, s.values(e)) }
