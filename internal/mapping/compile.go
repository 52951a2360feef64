package mapping

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"
)

// maxExpr bounds an expression's length in bytes: the parser recurses.
const maxExpr = 16 << 10

// program is one compiled expression. Safe for concurrent use.
type program struct {
	field string // as FieldError.Field
	vm    *vm.Program
	kind  reflect.Kind // of the result; Interface when only a recording can tell
}

// compiler compiles the expressions of one place: all of a source's fields,
// or a destination's. It collects every mistake.
type compiler struct {
	env   types.Map
	funcs []expr.Option
	names []string // top-level names, for the hint
	errs  []error
}

func newCompiler(env types.Map, d defaults) *compiler {
	c := &compiler{env: env, funcs: functions(d)}
	for name := range env {
		c.names = append(c.names, name)
	}
	slices.Sort(c.names)
	c.env[traceName] = types.TypeOf((*trace)(nil))
	return c
}

// compile returns nil after it has noted the mistake. field names the place
// in the configuration, run the name that errors of single recordings carry.
func (c *compiler) compile(field, run, text string) (p *program) {
	defer func() {
		if r := recover(); r != nil { // the library folds constants while it compiles
			p = nil
			c.fail(field, text, 1, 1, "the expression cannot be compiled")
		}
	}()
	if strings.TrimSpace(text) == "" {
		c.fail(field, text, 0, 0, `the expression is empty; remove the key, or write '""' for an empty text`)
		return nil
	}
	if len(text) > maxExpr {
		c.fail(field, "", 0, 0, fmt.Sprintf("the expression is longer than %d bytes", maxExpr))
		return nil
	}
	patch := &patcher{}
	opts := append([]expr.Option{expr.Env(c.env), expr.Patch(patch), expr.DisableBuiltin("now"), expr.DisableBuiltin("date"), expr.DisableBuiltin("repeat")}, c.funcs...)
	compiled, err := expr.Compile(text, opts...)
	if err == nil {
		err = patch.err(text)
	}
	var at *file.Error
	switch {
	case errors.As(err, &at):
		c.fail(field, text, at.Line, at.Column+1, c.hint(at.Message))
		return nil
	case err != nil:
		c.fail(field, text, 1, 1, err.Error())
		return nil
	}
	return &program{field: run, vm: compiled, kind: compiled.Node().Type().Kind()}
}

// hint adds to a message of the parser or the type checker what would be right.
func (c *compiler) hint(message string) string {
	switch name, ok := strings.CutPrefix(message, "unknown name "); {
	case message == "invalid char escape":
		return message + `; inside the quotes of an expression a backslash is written twice: "\\d+"`
	case strings.HasPrefix(message, "unexpected token EOF"):
		return "the expression ends too early"
	case strings.HasPrefix(message, "unexpected token Identifier"):
		return message + `; a name with blanks or signs stands in brackets: row["Start Time"]`
	case !ok:
		return message
	case name == "now":
		return message + "; a call's time comes from its documents, never from the clock"
	case name == "date":
		return message + "; use time(text[, layout][, zone])"
	case name == "repeat":
		return message + "; nothing in a call repeats a text, and a document could make it huge"
	default:
		return message + "; known here: " + strings.Join(c.names, ", ")
	}
}

func (c *compiler) fail(field, text string, line, column int, message string) {
	c.errs = append(c.errs, &CompileError{Field: field, Expr: text, Line: line, Column: column, Text: strings.TrimSpace(message)})
}

// run evaluates p. The error is a *FieldError.
func (p *program) run(env map[string]any) (any, error) {
	v, err := vm.Run(p.vm, env)
	if err == nil {
		return v, nil
	}
	return nil, p.explain(err)
}

// explain words a failure without the library's text, which quotes values.
func (p *program) explain(err error) error {
	var known *problem
	if errors.As(err, &known) {
		return fieldError(p.field, known)
	}
	column, text := 1, "the expression does not fit these values (types, or a value that is no number)"
	var at *file.Error
	if errors.As(err, &at) {
		column = at.Column + 1
		switch {
		case strings.Contains(at.Message, "<nil>"), strings.Contains(at.Message, "is nil"):
			text = "a value that the expression uses is missing; give another one with ??"
		case strings.Contains(at.Message, "memory budget exceeded"):
			text = "the expression needs too much memory"
		}
	}
	return &FieldError{Field: p.field, Code: CodeExpression,
		Text: fmt.Sprintf("%s cannot be computed (column %d): %s", p.field, column, text)}
}

// fieldError attaches a refusal to its field.
func fieldError(field string, err error) *FieldError {
	var known *problem
	if !errors.As(err, &known) {
		known = &problem{CodeExpression, "the value cannot be used"}
	}
	return &FieldError{Field: field, Code: known.code, Text: field + ": " + known.text}
}
