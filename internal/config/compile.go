package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"ingestd/internal/mapping"
)

// compile turns the expressions of a source into its Mapping.
func (s *Source) compile(d *defects, path string) {
	c := mapping.SourceConfig{
		NamePattern: s.NamePattern, Region: s.Region, Accept: s.Accept,
		Call: s.Call.Fields, Custom: s.Call.Custom,
		Parts:     s.Legs.Parts,
		Integrity: mapping.Stated{Bytes: s.Integrity.Bytes, SHA256: s.Integrity.SHA256, MD5: s.Integrity.MD5},
	}
	if s.Zone != nil { // else the zone is reported already
		c.TimeZone = s.TimeZone
	}
	for _, side := range s.Sidecars {
		c.Sidecars = append(c.Sidecars, mapping.SidecarExprs{Name: side.Name, Key: side.Key, MediaKey: side.MediaKeyExpr,
			Where: side.Where, Prefer: side.Prefer, At: side.At, MediaAt: side.MediaAt})
	}
	var err error
	s.Mapping, err = mapping.CompileSource(c)
	d.expressions(err, func(c *mapping.CompileError) string {
		rest, ok := strings.CutPrefix(c.Field, "sidecar")
		if !ok {
			return path + "." + c.Field
		}
		// "sidecar" is about a name itself, "sidecar.users.key" about one key.
		name, key := c.Expr, "name"
		if rest != "" {
			name, key, _ = strings.Cut(rest[1:], ".")
		}
		for i := len(s.Sidecars) - 1; i >= 0; i-- { // of two equal names, the second is wrong
			if s.Sidecars[i].Name == name {
				return fmt.Sprintf("%s.sidecar[%d].%s", path, i, key)
			}
		}
		return path + ".sidecar"
	})
}

// compile turns the expressions of a destination into Fields and Texts.
func (dest *Destination) compile(d *defects, path string) {
	here := func(c *mapping.CompileError) string { return path + "." + c.Field }
	var err error
	if len(dest.Common.Fields) > 0 {
		dest.Fields, err = mapping.CompileFields(dest.Common.Fields)
		d.expressions(err, here)
	}
	exprs := dest.Vendor.Expressions()
	dest.Texts = make(map[string]*mapping.Text, len(exprs))
	for _, key := range sorted(exprs) {
		if dest.Texts[key], err = mapping.CompileText(key, exprs[key]); err != nil {
			delete(dest.Texts, key)
			d.expressions(err, here)
		}
	}
}

// expressions reports what the mapping room refused; path finds the key. Where
// another room has refused the same value already, its word stands alone.
func (d *defects) expressions(err error, path func(*mapping.CompileError) string) {
	if err == nil {
		return
	}
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	for _, err := range list {
		var c *mapping.CompileError
		if !errors.As(err, &c) {
			d.add("", err.Error(), "")
			continue
		}
		key := path(c)
		if slices.ContainsFunc(d.list, func(o Defect) bool { return o.Key == key }) {
			continue
		}
		at := ""
		if c.Line > 1 {
			at = fmt.Sprintf("line %d, ", c.Line)
		}
		if c.Line > 0 {
			at = fmt.Sprintf("%scolumn %d of the expression: ", at, c.Column)
		}
		hint := ""
		if best := nearest(c.Field[strings.LastIndexByte(c.Field, '.')+1:], c.Known); best != "" {
			hint = fmt.Sprintf("did you mean %q?", best)
		}
		d.add(key, at+c.Text, hint)
	}
}
