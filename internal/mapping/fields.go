package mapping

import (
	"errors"
	"maps"

	"ingestd/internal/call"
)

// Fields are the expressions of [destination.fields]. Safe for concurrent use.
type Fields struct {
	names    []string
	texts    map[string]string // as configured
	programs map[string]*program
}

// CompileFields checks every expression over call, file, audio and delivery.
// The error joins one *CompileError for each mistake.
func CompileFields(fields map[string]string) (*Fields, error) {
	f := &Fields{names: sortedKeys(fields), texts: maps.Clone(fields), programs: map[string]*program{}}
	c := newCompiler(itemTypes(), defaults{})
	for _, name := range f.names {
		f.programs[name] = c.compile("fields."+name, "fields."+name, fields[name])
	}
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	return f, nil
}

// Eval gives the vendor's fields as texts. A field whose value is absent is
// left out; one that is "" is there, and means: do not send the default either.
// The error is a *FieldError for the first bad field by name.
func (f *Fields) Eval(item call.Item) (map[string]string, error) {
	out := make(map[string]string, len(f.names))
	env := itemValues(item)
	for _, name := range f.names {
		text, ok, err := f.programs[name].text(env)
		if err != nil {
			return nil, err
		}
		if ok {
			out[name] = text
		}
	}
	return out, nil
}

// Text is a single expression of a destination, such as a correlation id.
// Safe for concurrent use.
type Text struct {
	program *program
	text    string // as configured
}

// CompileText checks one expression over call, file, audio and delivery. The
// error is a *CompileError whose Field is name.
func CompileText(name, expr string) (*Text, error) {
	c := newCompiler(itemTypes(), defaults{})
	p := c.compile(name, name, expr)
	if p == nil {
		return nil, c.errs[0]
	}
	return &Text{p, expr}, nil
}

// Eval gives the text, "" when the value is absent. The error is a *FieldError.
func (t *Text) Eval(item call.Item) (string, error) {
	text, _, err := t.program.text(itemValues(item))
	return text, err
}

// text runs p for a vendor: values as texts, verbatim.
func (p *program) text(env map[string]any) (string, bool, error) {
	v, err := p.run(env)
	if err != nil {
		return "", false, err
	}
	text, ok, err := argText(v)
	if err == nil && len(text) > maxValue {
		err = problemf(CodeValue, "the text has %d bytes, more than the %d that are allowed", len(text), maxValue)
	}
	if err != nil {
		return "", false, fieldError(p.field, err)
	}
	return text, ok, nil
}
