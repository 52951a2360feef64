package mapping

import (
	"slices"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"

	"ingestd/internal/call"
)

// Explanation shows how one expression came to its value.
type Explanation struct {
	Field string // as asked for
	Expr  string // as configured
	Steps []Part // the parts of the expression, inner ones first; the last is the whole
}

// Part is one part of an expression and what it gives for a recording.
type Part struct {
	Expr  string
	Value any   // nil: absent
	Err   error // why there is none
}

// Tracer evaluates every part of one expression. Parts that stand for no value
// of their own (what a predicate says of each element, what follows a let) are
// left out. Safe for concurrent use.
type Tracer struct {
	field, text string
	parts       []tracedPart
	source      *Source // whose recordings the expression sees; nil: rows or items
}

type tracedPart struct {
	text string
	*program
}

// newTracer compiles the parts of an expression that was compiled before, each
// as the whole was. Compilers collect mistakes, so every part has its own.
func newTracer(field, text string, compiler func() *compiler) *Tracer {
	t := &Tracer{field: field, text: text}
	tree, err := parser.Parse(text)
	if err != nil {
		return t // it was compiled before: cannot happen
	}
	collected := &parts{}
	collected.add(tree.Node)
	// The whole stands last as it was written, not as the parser spells it.
	inner := slices.DeleteFunc(collected.texts, func(part string) bool { return part == tree.Node.String() })
	for _, part := range append(inner, text) {
		if p := compiler().compile(field, field, part); p != nil { // else no value of its own, such as the name of a variable
			t.parts = append(t.parts, tracedPart{part, p})
		}
	}
	return t
}

// Expr is the expression as configured.
func (t *Tracer) Expr() string { return t.text }

func (t *Tracer) over(values map[string]any) Explanation {
	out := Explanation{Field: t.field, Expr: t.text}
	for _, p := range t.parts {
		v, err := p.run(values)
		out.Steps = append(out.Steps, Part{p.text, v, err})
	}
	return out
}

// Fields returns the names by which [Source.Tracer] knows expressions over a
// recording: "accept", "call.started_at", "sidecar.users.media_key".
func (s *Source) Fields() []string { return sortedKeys(s.texts) }

// RowFields returns those over the rows of a sidecar, such as
// "sidecar.users.key", and their sidecars.
func (s *Source) RowFields() map[string]string {
	out := make(map[string]string, len(s.rowTexts))
	for field, t := range s.rowTexts {
		out[field] = t.sidecar
	}
	return out
}

// Tracer of one of the source's expressions; nil when there is no such one.
func (s *Source) Tracer(field string) *Tracer {
	if row, ok := s.rowTexts[field]; ok {
		return newTracer(field, row.text, func() *compiler { return newCompiler(rowTypes(), s.defaults) })
	}
	text, ok := s.texts[field]
	if !ok {
		return nil
	}
	t := newTracer(field, text, func() *compiler { return newCompiler(sourceTypes(s.sidecars, s.pattern), s.defaults) })
	t.source = s
	return t
}

// Recording traces over a recording; the expression is one of [Source.Fields].
func (t *Tracer) Recording(e Env) Explanation { return t.over(t.source.values(e)) }

// Row traces over a row of the document file; the expression is one of
// [Source.RowFields].
func (t *Tracer) Row(file string, row map[string]any) Explanation {
	return t.over(rowValues(file, row))
}

// Item traces over a recording at a destination; the expression is one of the
// destination's.
func (t *Tracer) Item(item call.Item) Explanation { return t.over(itemValues(item)) }

// Names are the vendor's fields, sorted.
func (f *Fields) Names() []string { return slices.Clone(f.names) }

// Tracer of one field; field is what the explanation calls it.
func (f *Fields) Tracer(field, name string) *Tracer {
	return newTracer(field, f.texts[name], func() *compiler { return newCompiler(itemTypes(), defaults{}) })
}

// Tracer of the expression; field is what the explanation calls it.
func (t *Text) Tracer(field string) *Tracer {
	return newTracer(field, t.text, func() *compiler { return newCompiler(itemTypes(), defaults{}) })
}

// parts collects the texts of an expression's parts, inner ones first.
type parts struct{ texts []string }

func (p *parts) add(n ast.Node) {
	switch n := n.(type) {
	case *ast.ChainNode:
		p.add(n.Node)
		return
	case *ast.MemberNode:
		p.index(n)
	case *ast.CallNode:
		for _, a := range n.Arguments {
			p.add(a)
		}
	case *ast.BuiltinNode:
		for _, a := range n.Arguments {
			p.add(a)
		}
	case *ast.BinaryNode:
		p.add(n.Left)
		p.add(n.Right)
	case *ast.UnaryNode:
		p.add(n.Node)
	case *ast.ConditionalNode:
		p.add(n.Cond)
		p.add(n.Exp1)
		p.add(n.Exp2)
	case *ast.ArrayNode:
		for _, e := range n.Nodes {
			p.add(e)
		}
	case *ast.SliceNode:
		p.add(n.Node)
	case *ast.VariableDeclaratorNode:
		p.add(n.Value)
		return // what follows knows the variable, its parts alone do not
	default:
		return // constants, names, predicates
	}
	if text := n.String(); !slices.Contains(p.texts, text) {
		p.texts = append(p.texts, text)
	}
}

// index adds what a member access computes its name from, and what it takes
// the member of when that is more than a path.
func (p *parts) index(n *ast.MemberNode) {
	switch n.Property.(type) {
	case *ast.StringNode, *ast.IntegerNode:
	default:
		p.add(n.Property)
	}
	switch inner := n.Node.(type) {
	case *ast.MemberNode:
		p.index(inner)
	case *ast.ChainNode, *ast.IdentifierNode:
	default:
		p.add(inner)
	}
}
