package config

import (
	"encoding"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// table is one TOML table whose values are not decoded yet. Decoding value by
// value is what lets one run report every wrong type and every unknown key.
type table = map[string]toml.Primitive

// decoder fills structs from tables by their toml tags. Keys must be spelled
// exactly; embedded structs are part of their parent; a map field tagged
// ",rest" takes every key that no other field has.
type decoder struct {
	md *toml.MetaData
	*defects
}

// fill sets the fields of the struct dst and reports the keys it has no field
// for.
func (d *decoder) fill(path string, t table, dst reflect.Value) {
	fields, rest := map[string]reflect.Value{}, reflect.Value{}
	collect(dst, fields, &rest)
	for _, key := range sorted(t) {
		at := under(path, key)
		if field, ok := fields[key]; ok {
			d.value(at, t[key], field)
		} else if rest.IsValid() {
			d.entry(at, key, t[key], rest)
		} else {
			d.add(at, "unknown key", meant(key, sorted(fields)))
		}
	}
}

// collect finds the fields of a struct by their keys.
func collect(v reflect.Value, fields map[string]reflect.Value, rest *reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		tag := f.Tag.Get("toml")
		switch {
		case tag == "-" || !f.IsExported():
		case tag == ",rest":
			*rest = v.Field(i)
		case f.Anonymous && f.Type.Kind() == reflect.Struct:
			collect(v.Field(i), fields, rest)
		case tag != "":
			fields[tag] = v.Field(i)
		}
	}
}

// value decodes one value into a field of any kind.
func (d *decoder) value(path string, p toml.Primitive, dst reflect.Value) {
	_, text := dst.Addr().Interface().(encoding.TextUnmarshaler)
	t := dst.Type()
	switch {
	case text:
		d.leaf(path, p, dst)
	case t.Kind() == reflect.Struct:
		var sub table
		if d.shape(path, p, &sub, "one table: ["+unindexed(path)+"]") {
			d.fill(path, sub, dst)
		}
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		subs := d.tables(path, p)
		dst.Set(reflect.MakeSlice(t, len(subs), len(subs)))
		for i, sub := range subs {
			d.fill(fmt.Sprintf("%s[%d]", path, i), sub, dst.Index(i))
		}
	case t.Kind() == reflect.Map:
		var sub table
		if d.shape(path, p, &sub, "one table: ["+unindexed(path)+"]") {
			for _, key := range sorted(sub) {
				d.entry(under(path, key), key, sub[key], dst)
			}
		}
	default:
		d.leaf(path, p, dst)
	}
}

// entry adds one decoded value to a map with string values.
func (d *decoder) entry(path, key string, p toml.Primitive, dst reflect.Value) {
	v := reflect.New(dst.Type().Elem()).Elem()
	if !d.leaf(path, p, v) {
		return
	}
	if dst.IsNil() {
		dst.Set(reflect.MakeMap(dst.Type()))
	}
	dst.SetMapIndex(reflect.ValueOf(key), v)
}

// tables decodes a list of tables.
func (d *decoder) tables(path string, p toml.Primitive) []table {
	var list []table
	d.shape(path, p, &list, "a list of tables, each under a double-bracket header: [["+unindexed(path)+"]]")
	return list
}

// shape decodes into a table or a list of tables. It looks for itself whether
// the value is one: the library leaves the table empty, without an error, when
// a plain value stands in its place.
func (d *decoder) shape(path string, p toml.Primitive, dst any, wanted string) bool {
	var raw any
	err := d.md.PrimitiveDecode(p, &raw)
	ok := false
	switch v := raw.(type) {
	case map[string]any:
		_, ok = dst.(*table)
	case []map[string]any:
		_, ok = dst.(*[]table)
	case []any: // written in one line
		_, ok = dst.(*[]table)
		ok = ok && !slices.ContainsFunc(v, func(e any) bool { _, is := e.(map[string]any); return !is })
	}
	if err != nil || !ok || d.md.PrimitiveDecode(p, dst) != nil {
		d.addf(path, "is %s, but must be %s", d.kind(p), wanted)
		return false
	}
	return true
}

// leaf decodes a value that is not a table.
func (d *decoder) leaf(path string, p toml.Primitive, dst reflect.Value) bool {
	err := d.md.PrimitiveDecode(p, dst.Addr().Interface())
	if err == nil {
		return true
	}
	var parse toml.ParseError
	switch {
	case errors.As(err, &parse): // from the type's own UnmarshalText
		d.add(path, parse.Message, "")
	case dst.Kind() == reflect.String && strings.Contains(path, ".call."):
		d.add(path, "is "+d.kind(p)+", but must be a string", "every value here is an expression: put it in quotes")
	default:
		d.addf(path, "is %s, but must be %s", d.kind(p), wanted(dst.Type()))
	}
	return false
}

// unindexed is a path as a header spells it.
func unindexed(path string) string { return elementIndex.ReplaceAllString(path, "") }

var elementIndex = regexp.MustCompile(`\[\d+\]`)

// kind names the TOML type of a value in words.
func (d *decoder) kind(p toml.Primitive) string {
	var v any
	if err := d.md.PrimitiveDecode(p, &v); err != nil {
		return "of another type"
	}
	switch list := v.(type) {
	case string:
		return "a string"
	case int64:
		return "an integer"
	case float64:
		return "a number with a fraction"
	case bool:
		return "true or false"
	case time.Time:
		return "a date"
	case map[string]any:
		return "a table"
	case []any:
		if len(list) == 0 {
			return "an empty list"
		}
		return "a list of other values"
	default:
		return "a list of tables"
	}
}

func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return `a list of strings: ["..."]`
	case reflect.Int, reflect.Int64:
		return "an integer"
	default:
		return "a string"
	}
}

// meant suggests the nearest known key, if one is near enough to be meant.
func meant(key string, candidates []string) string {
	if best := nearest(key, candidates); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	if len(candidates) == 0 {
		return "" // what is missing altogether is a defect of its own
	}
	return "known here: " + strings.Join(candidates, ", ")
}

// nearest is the candidate that a misspelt key is near enough to, or "".
func nearest(key string, candidates []string) string {
	key = strings.ToLower(key)
	best, least := "", 2*(len(key)/3+2)
	for _, known := range candidates {
		n := 2 * distance(key, known)
		if strings.HasPrefix(known, key[:min(1, len(key))]) {
			n-- // of two equally near ones, people get the first letter right
		}
		if n < least {
			best, least = known, n
		}
	}
	return best
}

// distance is the number of letters to insert, delete or replace between two
// keys.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
