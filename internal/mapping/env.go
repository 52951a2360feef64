package mapping

import (
	"maps"
	"regexp"
	"slices"

	"github.com/expr-lang/expr/types"

	"ingestd/internal/call"
)

// reserved names cannot be names of sidecars: the other objects, and the words
// of the language.
var reserved = []string{"row", "name", "file", "audio", "call", "delivery",
	"and", "or", "not", "in", "matches", "contains", "startsWith", "endsWith", "let", "if", "else", "true", "false", "nil"}

// Every field that can be absent has the type any, so that it can be nil and
// ?? works on it; the names are still checked.
var (
	fileTypes = types.Map{"path": types.String, "name": types.String, "stem": types.String, "ext": types.String,
		"bytes": types.Int64, "sha256": types.String, "modified_at": types.Any}
	audioTypes = types.Map{"container": types.Any, "codec": types.Any, "sample_rate": types.Any, "channels": types.Any,
		"duration_seconds": types.Any, "ext": types.Any}
	document = types.TypeOf(map[string]any(nil))
)

// sourceTypes declares what expressions of a source see.
func sourceTypes(sidecars []string, pattern *regexp.Regexp) types.Map {
	names := types.Map{}
	if pattern != nil {
		for _, group := range pattern.SubexpNames() {
			if group != "" {
				names[group] = types.Any
			}
		}
	}
	env := types.Map{"name": names, "file": fileTypes, "audio": audioTypes}
	for _, name := range sidecars {
		env[name] = document
	}
	return env
}

// values are what sourceTypes declares, for one recording.
func (s *Source) values(e Env) map[string]any {
	names := make(map[string]any, len(e.Names))
	for group, text := range e.Names {
		names[group] = orNil(text)
	}
	env := map[string]any{"name": names, "file": fileValues(e.File), "audio": audioValues(e.Audio), traceName: &trace{}}
	for _, name := range s.sidecars {
		doc := e.Docs[name]
		if doc == nil {
			doc = map[string]any{}
		}
		env[name] = doc
	}
	return env
}

// itemTypes declares what expressions of a destination see.
func itemTypes() types.Map {
	record := types.Map{"custom": document}
	for _, f := range fields {
		record[f.name] = types.Any
	}
	return types.Map{"call": record, "file": fileTypes, "audio": audioTypes,
		"delivery": types.Map{"idem_key": types.String, "uuid": types.String}}
}

// itemValues are what itemTypes declares, for one recording at one destination.
func itemValues(item call.Item) map[string]any {
	record := make(map[string]any, len(fields)+1)
	for _, f := range fields {
		if v := f.get(&item.Call); v != nil {
			record[f.name] = v
		}
	}
	custom := item.Call.Custom
	if custom == nil {
		custom = map[string]any{}
	}
	record["custom"] = custom
	return map[string]any{"call": record, "file": fileValues(item.File), "audio": audioValues(item.Audio),
		"delivery": map[string]any{"idem_key": item.Delivery.IdemKey, "uuid": item.Delivery.UUID}, traceName: &trace{}}
}

func fileValues(f call.File) map[string]any {
	v := map[string]any{"path": f.Path, "name": f.Name, "stem": f.Stem, "ext": f.Ext, "bytes": f.Bytes, "sha256": f.SHA256}
	if !f.ModifiedAt.IsZero() {
		v["modified_at"] = f.ModifiedAt
	}
	return v
}

func audioValues(a call.Audio) map[string]any {
	return map[string]any{"container": orNil(a.Container), "codec": orNil(a.Codec), "sample_rate": orNil(a.SampleRate),
		"channels": orNil(a.Channels), "duration_seconds": orNil(a.DurationSeconds), "ext": orNil(a.Ext)}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
