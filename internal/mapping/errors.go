package mapping

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// Codes of a FieldError. They are stable: operators filter by them.
const (
	CodeMissing    = "missing_field"  // a required value is absent
	CodeTime       = "bad_time"       // not one instant
	CodeNumber     = "bad_number"     // not a number, or out of its range
	CodeValue      = "bad_value"      // wrong type, unknown word, unusable text
	CodeExpression = "bad_expression" // the expression fails on this recording
	CodePattern    = "name_pattern"   // the path does not match name_pattern
)

// FieldError says which field of which recording could not be filled. Text is
// one sentence for the operator; it contains Field and no personal data.
type FieldError struct {
	Field string // as in the config: "started_at", "custom.Department", "accept", "fields.ANI"
	Code  string
	Text  string
}

func (e *FieldError) Error() string { return e.Text + " (" + e.Code + ")" }

// CompileError is a mistake in the configuration.
type CompileError struct {
	Field  string // key below the table that is compiled: "call.started_at", "sidecar.users.key", "fields.ANI"
	Expr   string
	Line   int // from 1, within Expr; 0 when the whole value is wrong
	Column int // from 1, in characters
	Text   string
	Known  []string // the names there are, where Field ends in one that does not exist
}

func (e *CompileError) Error() string {
	switch {
	case e.Line > 1:
		return fmt.Sprintf("%s, line %d, column %d: %s", e.Field, e.Line, e.Column, e.Text)
	case e.Line == 1:
		return fmt.Sprintf("%s, column %d: %s", e.Field, e.Column, e.Text)
	default:
		return fmt.Sprintf("%s: %s", e.Field, e.Text)
	}
}

// problem is why a value is refused, before it is known for which field.
type problem struct{ code, text string }

func (p *problem) Error() string { return p.text }

func problemf(code, format string, args ...any) error {
	return &problem{code: code, text: fmt.Sprintf(format, args...)}
}

// dateLike texts may be shown: a date with separators, with or without clock.
var dateLike = regexp.MustCompile(`^\d{1,4}[/.-]\d{1,2}[/.-]\d{2,4}([ T]\d{1,2}[:.-]\d{2}[0-9A-Za-z:+. -]{0,16})?$`)

// code-like texts are enum values that an export really uses ("Inbnd", "3").
var codeLike = regexp.MustCompile(`^([A-Za-z_-]{1,16}|\d{1,2})$`)

// shown quotes a text for an error: in clear when it fits the pattern, else
// as its shape, because it may be anybody's name or number.
func shown(text string, clear *regexp.Regexp) string {
	if clear.MatchString(text) {
		return fmt.Sprintf("%q", text)
	}
	return shapeOf(text)
}

func shapeOf(text string) string {
	shape := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsDigit(r):
			return '9'
		case unicode.IsLetter(r):
			return 'a'
		case unicode.IsControl(r), r == unicode.ReplacementChar:
			return '?'
		}
		return r
	}, text)
	if runes := []rune(shape); len(runes) > 40 {
		shape = string(runes[:40]) + "..."
	}
	return fmt.Sprintf("of the shape %q", shape)
}
