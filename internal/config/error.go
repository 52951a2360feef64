package config

import (
	"cmp"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// Error is everything that is wrong with one configuration file. Load never
// stops at the first defect that it can step over: an operator who edits over
// a slow connection sees the whole list at once.
type Error struct {
	File    string
	Defects []Defect // by line, never empty
}

// Defect is one thing that must change before the file can be used. None of
// its texts ever holds a secret.
type Defect struct {
	Line int    // from 1; 0: not known, or not about one line
	Key  string // source[genesys].settle; "" when the file as a whole is meant
	Text string // what is wrong
	Hint string // what would be right; may be empty
}

// Error lists every defect, one per line.
func (e *Error) Error() string {
	name := filepath.Base(e.File)
	if len(e.Defects) == 1 {
		return name + ": " + e.Defects[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d defects", name, len(e.Defects))
	for _, d := range e.Defects {
		b.WriteString("\n  " + d.String())
	}
	return b.String()
}

// String is the defect in one line: where, what, and in brackets what would be
// right. A syntax error keeps its excerpt and caret on further lines.
func (d Defect) String() string {
	var b strings.Builder
	if d.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", d.Line)
	}
	if d.Key != "" {
		b.WriteString(d.Key + ": ")
	}
	text, excerpt, drawn := strings.Cut(d.Text, "\n")
	b.WriteString(text)
	if d.Hint != "" {
		b.WriteString(" (" + d.Hint + ")")
	}
	if drawn {
		b.WriteString("\n" + excerpt)
	}
	return b.String()
}

// defects collects while a file is read and names keys as an operator knows
// them.
type defects struct {
	at    positions
	names map[string]string // source[0] -> source[genesys]
	moved map[string]string // source[0].sidecar[2] -> where it stands in the file, when a preset has tables before it
	half  map[string]bool   // source[0]: its preset is not known, so what it lacks is no defect
	typed map[string]bool   // paths whose value could not even be decoded
	list  []Defect
}

// add records a defect of the key at path ("source[0].settle"), once: some
// keys are read before their table is. A value that could not be decoded is
// reported as that alone: judging its default as well would only confuse.
func (d *defects) add(path, text, hint string) {
	if d.typed[path] || slices.ContainsFunc(d.list, func(o Defect) bool { return o.Key == path && o.Text == text && path != "" }) {
		return
	}
	d.list = append(d.list, Defect{Line: d.at.line(d.stands(path)), Key: path, Text: text, Hint: hint})
}

// stands is the path as the file has it.
func (d *defects) stands(path string) string {
	for merged, own := range d.moved {
		if rest, ok := strings.CutPrefix(path, merged); ok && (rest == "" || rest[0] == '.') {
			if strings.HasSuffix(own, ".preset") {
				return own
			}
			return own + rest
		}
	}
	return path
}

// addf is add with a formatted text and no hint.
func (d *defects) addf(path, format string, args ...any) {
	d.add(path, fmt.Sprintf(format, args...), "")
}

// name remembers what the i-th table at path calls itself, if it does.
func (d *defects) name(path string, i int, name string) {
	table, _, _ := strings.Cut(path, "[")
	if name == "" {
		name = fmt.Sprintf("#%d", i+1)
	}
	d.names[path] = table + "[" + name + "]"
}

// decoded ends the decoding: what was found so far silences later findings
// about the same keys.
func (d *defects) decoded() {
	d.typed = make(map[string]bool, len(d.list))
	for _, found := range d.list {
		d.typed[found.Key] = true
	}
}

// done returns all defects in file order, or nil when there are none.
func (d *defects) done(file string) error {
	if len(d.list) == 0 {
		return nil
	}
	for i := range d.list {
		head, rest, nested := strings.Cut(d.list[i].Key, ".")
		if named, ok := d.names[head]; ok {
			d.list[i].Key = named
			if nested {
				d.list[i].Key += "." + rest
			}
		}
	}
	slices.SortStableFunc(d.list, func(a, b Defect) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key))
	})
	return &Error{File: file, Defects: d.list}
}

// secretValue finds what the parser's excerpt must not repeat: the value of a
// key that sounds like a credential, and anything after "plain:".
var secretValue = regexp.MustCompile(`(?i)(plain:)[^"'\n]*|([\w-]*(?:secret|token|password)[\w-]*["']?\s*=\s*)[^\n]*`)

// syntax turns the parser's error about text into a defect that keeps its
// caret. The parser quotes what it stumbled over, which on the line of a
// credential is the credential.
func syntax(err toml.ParseError, text string) Defect {
	d := Defect{Line: err.Position.Line, Text: err.Message}
	suspect, lines := text, strings.Split(text, "\n")
	drawable := d.Line >= 1 && d.Line <= len(lines) // of some errors on the first line the parser says 0
	if drawable {
		suspect = lines[d.Line-1]
	}
	if mask(suspect) != suspect {
		d.Text, d.Hint = "this value is no TOML", `a string stands in quotes: "cred:callminer"`
	}
	if !drawable {
		d.Line = 0
		return d
	}
	_, excerpt, found := strings.Cut(err.ErrorWithPosition(), "\n\n")
	if _, drawn, ok := strings.Cut(excerpt, "\n\n"); found && ok {
		d.Text += "\n" + strings.TrimRight(mask(drawn), "\n ")
	}
	return d
}

// mask replaces credentials by stars of the same width, so that a caret below
// still points at the right column.
func mask(text string) string {
	return secretValue.ReplaceAllStringFunc(text, func(found string) string {
		groups := secretValue.FindStringSubmatch(found)
		keep := groups[1] + groups[2]
		return keep + strings.Repeat("*", len([]rune(found))-len([]rune(keep)))
	})
}
