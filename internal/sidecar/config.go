package sidecar

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"
)

// Values of Config.Format.
const (
	formatAuto = "auto"
	formatCSV  = "csv"
	formatJSON = "json"
	formatXML  = "xml"
)

// Values of Config.Pair: how a recording finds its document.
const (
	PairStem   = "stem"   // same folder, same name before the last extension
	PairSuffix = "suffix" // the recording's whole name, then Config.Suffix
	PairKey    = "key"    // a value in the row equals a value of the recording
	PairFolder = "folder" // same folder, any names
)

// Config is one [[source.sidecar]]: which files are documents of this kind,
// how they are written, and how a recording finds its own.
type Config struct {
	Name   string   `toml:"name"`   // name of the document in expressions
	Files  []string `toml:"files"`  // globs on the path below the source, compared without case
	Format string   `toml:"format"` // json, csv, xml, auto (default): by the extension
	Pair   string   `toml:"pair"`   // stem (default), suffix, key, folder
	Suffix string   `toml:"suffix"` // pair = suffix: what follows the recording's whole name
	Key    string   `toml:"key"`    // pair = key: expression over row
	// MediaKeyExpr is, with pair = key, an expression over file, name and the
	// documents found before; MediaKey is the method of the other pairings.
	MediaKeyExpr string `toml:"media_key"`
	Required     *bool  `toml:"required"` // default true: a recording waits for it

	// Expressions over row and file (the document's own name), all optional.
	Where  string `toml:"where"`  // false: the row, or the document, counts as not there
	Prefer string `toml:"prefer"` // pair = key: of the rows that share a key, the one with the greatest value
	// At and MediaAt (this one over what media_key sees) are instants: of the
	// rows that share a key the nearest within Window belongs to the recording,
	// and every row to one recording only.
	At      string `toml:"at"`
	MediaAt string `toml:"media_at"`
	Window  string `toml:"window"` // largest distance, such as "3m"

	Record  string `toml:"record"`  // xml with pair = key: the element that is one document
	Growing bool   `toml:"growing"` // a list that is never finished: what is behind its last whole record is left alone

	Delimiter string   `toml:"delimiter"` // csv: one character or "tab"; default ","
	Header    *bool    `toml:"header"`    // csv: the first row names the columns; default true
	Columns   []string `toml:"columns"`   // csv: the names, with header = false
	Encoding  string   `toml:"encoding"`  // of files without a byte-order mark; default utf-8
	Null      []string `toml:"null"`      // csv: a value equal to one of these is absent
	Comment   string   `toml:"comment"`   // csv: lines that begin with this character are skipped
}

// Validate returns every defect of c; each text begins with the key it is
// about and says what would be right.
func (c Config) Validate() []error {
	var d defects
	if !isName(c.Name) {
		d.add("name", "must be a word of letters, digits and _ that expressions can use, not %q", c.Name)
	} else if slices.Contains([]string{"row", "name", "file", "audio", "call", "delivery"}, c.Name) {
		d.add("name", "%q already means something else in expressions; choose another word", c.Name)
	}
	c.validateFiles(&d)
	switch c.Format {
	case "", formatAuto, formatCSV, formatJSON, formatXML:
	default:
		d.add("format", "%q is unknown; allowed: json, csv, xml, auto", c.Format)
	}
	c.validatePair(&d)
	if _, err := lookupEncoding(c.Encoding); err != nil {
		d.add("encoding", "%v", err)
	}
	c.validateCSV(&d)
	c.validateList(&d)
	c.validateChoice(&d)
	return d
}

func (c Config) validateFiles(d *defects) {
	if len(c.Files) == 0 {
		d.add("files", `must have at least one pattern, for example ["**/*.json"]`)
	}
	for _, pattern := range c.Files {
		switch {
		case pattern == "" || !doublestar.ValidatePattern(pattern):
			d.add("files", "%q is not a valid pattern", pattern)
		case path.IsAbs(pattern) || slices.Contains(strings.Split(pattern, "/"), ".."):
			d.add("files", "%q must be relative to the source's path", pattern)
		case c.isAuto() && !extensionTells(pattern):
			d.add("format", "auto knows only .json, .csv and .xml, but files has %q; set format to one of them", pattern)
		}
	}
}

func (c Config) validatePair(d *defects) {
	switch c.Pair {
	case "", PairStem, PairFolder:
	case PairSuffix:
		if c.Suffix == "" {
			d.add("suffix", `is needed with pair = "suffix", for example "_metadata.json"`)
		} else if strings.Contains(c.Suffix, "/") {
			d.add("suffix", "%q must not contain /", c.Suffix)
		}
	case PairKey:
		if c.Key == "" {
			d.add("key", `is needed with pair = "key", for example 'row.recording_id'`)
		}
		if c.MediaKeyExpr == "" {
			d.add("media_key", `is needed with pair = "key", for example 'file.stem'`)
		}
	default:
		d.add("pair", "%q is unknown; allowed: stem, suffix, key, folder", c.Pair)
		return
	}
	if c.Suffix != "" && c.Pair != PairSuffix {
		d.add("suffix", `is only used with pair = "suffix"`)
	}
	if c.Key != "" && c.Pair != PairKey {
		d.add("key", `is only used with pair = "key"`)
	}
	if c.MediaKeyExpr != "" && c.Pair != PairKey {
		d.add("media_key", `is only used with pair = "key"`)
	}
}

func (c Config) validateCSV(d *defects) {
	if c.Format == formatJSON || c.Format == formatXML {
		for _, set := range []struct {
			key string
			is  bool
		}{
			{"delimiter", c.Delimiter != ""}, {"header", c.Header != nil}, {"columns", c.Columns != nil},
			{"null", c.Null != nil}, {"comment", c.Comment != ""},
		} {
			if set.is {
				d.add(set.key, "is only used for csv, but format is %s", c.Format)
			}
		}
		return
	}
	if _, ok := oneRune(c.Delimiter); c.Delimiter != "" && c.Delimiter != "tab" && !ok {
		d.add("delimiter", `must be one character or "tab", and no quote or line end; not %q`, c.Delimiter)
	}
	if comment, ok := oneRune(c.Comment); c.Comment != "" && (!ok || comment == c.delimiter()) {
		d.add("comment", "must be one character that is neither quote, line end nor the delimiter; not %q", c.Comment)
	}
	switch {
	case c.hasHeader() && len(c.Columns) > 0:
		d.add("columns", "is only used with header = false; with a header the file names its columns")
	case !c.hasHeader() && len(c.Columns) == 0:
		d.add("columns", "is needed with header = false: the names of all columns, in order")
	case !c.hasHeader():
		if bad := checkNames(trimmed(c.Columns), standard().columns); bad != nil {
			d.add("columns", "%s", bad.Text)
		}
	}
}

// validateList checks the keys of files that describe many recordings.
func (c Config) validateList(d *defects) {
	if c.Record != "" && (c.Format == formatCSV || c.Format == formatJSON) {
		d.add("record", "is only used for xml, but format is %s", c.Format)
	}
	if c.Record != "" && !c.isList() {
		d.add("record", `is only used with pair = "key"; elsewhere the whole file is the document`)
	}
	if c.Growing && !c.isList() {
		d.add("growing", `is only used with pair = "key": one recording's document must be whole`)
	}
	if c.Growing && c.Format == formatXML {
		d.add("growing", "cannot be used for xml: an unfinished XML file is no document")
	}
}

// validateChoice checks how one row is chosen among several.
func (c Config) validateChoice(d *defects) {
	for _, set := range []struct{ key, value string }{{"prefer", c.Prefer}, {"at", c.At}, {"media_at", c.MediaAt}, {"window", c.Window}} {
		if set.value != "" && !c.isList() {
			d.add(set.key, `is only used with pair = "key"; elsewhere a recording has one document`)
		}
	}
	if c.At == "" && c.MediaAt == "" && c.Window == "" {
		return
	}
	for _, set := range []struct{ key, value, example string }{
		{"at", c.At, `'time(row.START)'`}, {"media_at", c.MediaAt, `'time(name.clock, "150405")'`}, {"window", c.Window, `"3m"`},
	} {
		if set.value == "" {
			d.add(set.key, "is needed to find the nearest row: at, media_at and window belong together; for example %s", set.example)
		}
	}
	if _, err := c.nearest(); c.Window != "" && err != nil {
		d.add("window", `%q is no duration above zero; write a number with a unit, as in "3m"`, c.Window)
	}
}

func (c Config) nearest() (time.Duration, error) {
	window, err := time.ParseDuration(c.Window)
	if err == nil && window <= 0 {
		err = errors.New("not above zero")
	}
	return window, err
}

// Nearest is the largest distance in time between a recording and its row; 0
// when rows are not chosen by time.
func (c Config) Nearest() time.Duration {
	window, err := c.nearest()
	if err != nil {
		return 0 // Validate refuses it
	}
	return window
}

// WithDefaults returns c with an unset Format and Pair filled in.
func (c Config) WithDefaults() Config {
	c.Format = cmp.Or(c.Format, formatAuto)
	c.Pair = cmp.Or(c.Pair, PairStem)
	return c
}

// IsRequired reports whether a recording waits for this document.
func (c Config) IsRequired() bool { return c.Required == nil || *c.Required }

// For returns c with a Format of auto settled by the extension of the file at
// rel; a file whose extension tells nothing keeps auto, which [Read] refuses.
func (c Config) For(rel string) Config {
	if !c.isAuto() {
		return c
	}
	switch strings.ToLower(path.Ext(rel)) {
	case ".json":
		c.Format = formatJSON
	case ".csv":
		c.Format = formatCSV
	case ".xml":
		c.Format = formatXML
	}
	return c
}

func (c Config) isAuto() bool { return c.Format == "" || c.Format == formatAuto }

// isList reports whether one file may describe many recordings. Only then can
// a bad row be passed over: elsewhere it is the only row there is.
func (c Config) isList() bool { return c.Pair == PairKey }

func (c Config) hasHeader() bool { return c.Header == nil || *c.Header }

func (c Config) delimiter() rune {
	switch c.Delimiter {
	case "":
		return ','
	case "tab":
		return '\t'
	}
	r, _ := utf8.DecodeRuneInString(c.Delimiter)
	return r
}

// oneRune accepts what encoding/csv can use as delimiter or comment mark.
func oneRune(s string) (rune, bool) {
	r, n := utf8.DecodeRuneInString(s)
	return r, n == len(s) && r != utf8.RuneError && !strings.ContainsRune("\x00\"\r\n", r)
}

// extensionTells is false for a pattern whose matches all have an extension
// that auto does not know.
func extensionTells(pattern string) bool {
	ext := strings.ToLower(path.Ext(pattern))
	return ext == "" || ext == ".json" || ext == ".csv" || ext == ".xml" || strings.ContainsAny(ext, `*?[{}\`)
}

func isName(s string) bool {
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

type defects []error

func (d *defects) add(key, format string, args ...any) {
	*d = append(*d, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
}
