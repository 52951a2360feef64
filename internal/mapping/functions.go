package mapping

import (
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/builtin"
	"golang.org/x/text/unicode/norm"
)

// defaults are what a source gives to functions that are called without it.
type defaults struct {
	zone   *time.Location // nil: times without offset are refused
	region string         // ISO 3166-1 alpha-2; "": only numbers with + are known
}

type function = func(args ...any) (any, error)

// functions are the names that expressions may call beyond the language's own.
// All share one rule: a first argument that is absent gives an absent result.
func functions(d defaults) []expr.Option {
	list := []expr.Option{
		expr.Function(fetchName, fetch, new(func(any, any) any)),
		expr.Function("time", d.time, new(func(*trace, any, ...any) any)),
		expr.Function("epoch", epoch(time.Second), new(func(*trace, any) any)),
		expr.Function("epoch_ms", epoch(time.Millisecond), new(func(*trace, any) any)),
		expr.Function("epoch_us", epoch(time.Microsecond), new(func(*trace, any) any)),
		expr.Function("number", parsed(parseNumber), new(func(*trace, any) any)),
		expr.Function("duration", parsed(parseDuration), new(func(*trace, any) any)),
		expr.Function("shift", shift, new(func(any, any) any)),
		expr.Function("phone", d.phone, new(func(any, ...any) any)),
		expr.Function("match", match, new(func(any, any, ...any) any)),
		expr.Function("list", list, new(func(any) any)),
		expr.Function("first", first, new(func(...any) any)),
		expr.Function("join", join, new(func(any, ...string) any)),
		expr.Function("uri_user", ofText(uriUser), new(func(any) any)),
		expr.Function("urldecode", ofText(urlDecode), new(func(any) any)),
		expr.Function("nfc", ofText(func(s string) (any, error) { return norm.NFC.String(s), nil }), new(func(any) any)),
		expr.Function("string", ofText(func(s string) (any, error) { return s, nil }), new(func(any) any)),
	}
	for _, name := range []string{"lower", "upper", "trim", "trimPrefix", "trimSuffix", "split"} {
		list = append(list, expr.Function(name, absentSafe(name), new(func(any, ...any) any)))
	}
	return append(list, expr.Function("replace", boundedReplace(), new(func(any, string, string, ...int) any)))
}

// boundedReplace keeps two long texts of a document from becoming one that no
// machine can hold: the language counts memory for lists, not for texts.
func boundedReplace() function {
	replace := absentSafe("replace")
	return func(args ...any) (any, error) {
		text, _ := args[0].(string)
		old, with := args[1].(string), args[2].(string)
		if len(with) > 0 && strings.Count(text, old) > maxValue/len(with) {
			return nil, problemf(CodeValue, "replace() would make the text too long")
		}
		return replace(args...)
	}
}

// absentSafe is the language's own text function with the rule above.
func absentSafe(name string) function {
	own := builtin.Builtins[builtin.Index[name]]
	call := own.Func
	if call == nil {
		call = func(args ...any) (any, error) { return own.Fast(args[0]), nil }
	}
	return func(args ...any) (any, error) {
		text, ok, err := argText(args[0])
		if err != nil || !ok {
			return nil, err
		}
		return call(append([]any{text}, args[1:]...)...)
	}
}

// list makes a list of what may be one or many: XML tells only by the number
// of elements.
func list(args ...any) (any, error) {
	switch v := args[0].(type) {
	case nil:
		return []any{}, nil
	case []any:
		return v, nil
	default:
		return []any{v}, nil
	}
}

// ofText makes a function of one text.
func ofText(fn func(string) (any, error)) function {
	return func(args ...any) (any, error) {
		text, ok, err := argText(args[0])
		if err != nil || !ok {
			return nil, err
		}
		return fn(text)
	}
}

// parsed makes a traced function of one number or text.
func parsed(fn func(string) (any, error)) function {
	return func(args ...any) (any, error) {
		if kind := args[1]; isNumber(kind) {
			return kind, nil
		}
		text, ok, err := argText(args[1])
		if text = strings.TrimSpace(text); err != nil || !ok || text == "" {
			return nil, err
		}
		args[0].(*trace).add(text)
		return fn(text)
	}
}

// time is time(text[, layout...][, zone]).
func (d defaults) time(args ...any) (any, error) {
	switch args[1].(type) {
	case nil, time.Time:
		return args[1], nil
	case string:
	default:
		return nil, problemf(CodeTime, "time() got a value that is no text; numbers need epoch(), epoch_ms() or epoch_us()")
	}
	text := strings.TrimSpace(args[1].(string))
	if text == "" {
		return nil, nil
	}
	args[0].(*trace).add(text)
	zone := d.zone
	var layouts []string
	for _, arg := range args[2:] {
		switch arg := arg.(type) {
		case nil: // an absent zone: the default holds
		case *time.Location:
			zone = arg
		case string:
			other, isZone, err := layoutOrZone(arg)
			switch {
			case err != nil: // without its words: they quote the value, which comes from a document
				return nil, problemf(CodeTime, "time() got a computed argument that is neither a layout with date and time of day nor a zone (letter zones like EST are ambiguous)")
			case isZone:
				zone = other
			default:
				layouts = append(layouts, arg)
			}
		default:
			return nil, problemf(CodeTime, "time() takes layouts and a zone as texts")
		}
	}
	return orError(parseTime(text, layouts, zone))
}

func epoch(unit time.Duration) function {
	return func(args ...any) (any, error) {
		text, ok, err := argText(args[1])
		if text = strings.TrimSpace(text); err != nil || !ok || text == "" {
			return nil, err
		}
		args[0].(*trace).add(text)
		t, ok, err := parseEpoch(text, unit)
		if err != nil || !ok {
			return nil, err
		}
		return t, nil
	}
}

// shift moves a time by seconds: the correction of a recorder's clock.
func shift(args ...any) (any, error) {
	if args[0] == nil {
		return nil, nil
	}
	t, ok := args[0].(time.Time)
	if !ok {
		return nil, problemf(CodeTime, "shift() needs a time; write shift(time(...), seconds)")
	}
	seconds, err := numberOf(args[1])
	if err != nil || seconds < -1e9 || seconds > 1e9 {
		return nil, problemf(CodeNumber, "shift() needs a number of seconds")
	}
	return t.Add(time.Duration(seconds * float64(time.Second))), nil
}

// match is the part of a text that a pattern finds: the given group (number or
// name), else group 1, else the whole match. No match is absent.
func match(args ...any) (any, error) {
	text, ok, err := argText(args[0])
	if err != nil || !ok {
		return nil, err
	}
	re, ok := args[1].(*regexp.Regexp)
	if !ok {
		pattern, isText := args[1].(string)
		if re, err = regexp.Compile(pattern); err != nil || !isText {
			return nil, problemf(CodeValue, "match() got an unusable pattern")
		}
	}
	group := min(re.NumSubexp(), 1)
	if len(args) > 2 {
		switch g := args[2].(type) {
		case int:
			group = g
		case string:
			group = re.SubexpIndex(g)
		default:
			group = -1
		}
	}
	if group < 0 || group > re.NumSubexp() || len(args) > 3 {
		return nil, problemf(CodeValue, "match() asks for a group that its pattern does not have")
	}
	found := re.FindStringSubmatch(text)
	if found == nil || found[group] == "" {
		return nil, nil
	}
	return found[group], nil
}

// first is the first argument, or element of a list, that is not empty.
func first(args ...any) (any, error) {
	for _, arg := range args {
		for _, v := range elements(arg) {
			if text, isText := v.(string); v != nil && (!isText || strings.TrimSpace(text) != "") {
				return v, nil
			}
		}
	}
	return nil, nil
}

// join puts the elements that are there together; none at all is absent.
func join(args ...any) (any, error) {
	var texts []string
	for _, v := range elements(args[0]) {
		text, ok, err := argText(v)
		if err != nil {
			return nil, err
		}
		if text = strings.TrimSpace(text); ok && text != "" {
			texts = append(texts, text)
		}
	}
	if len(texts) == 0 {
		return nil, nil
	}
	glue := ""
	if len(args) > 1 {
		glue = args[1].(string)
	}
	return strings.Join(texts, glue), nil
}

func elements(v any) []any {
	switch v := v.(type) {
	case []any:
		return v
	case []string:
		list := make([]any, len(v))
		for i := range v {
			list[i] = v[i]
		}
		return list
	}
	return []any{v}
}

// urlDecode resolves %xx and keeps +, which is part of phone numbers.
func urlDecode(text string) (any, error) {
	plain, err := url.PathUnescape(text)
	if err != nil {
		return nil, problemf(CodeValue, "urldecode() got a text with a broken %%xx escape")
	}
	return plain, nil
}

// orError keeps a failed call from returning a value beside its error.
func orError[T any](v T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}
