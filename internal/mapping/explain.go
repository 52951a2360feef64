package mapping

import (
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"
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

// Explainable returns the fields whose expressions [Source.Explain] knows.
func (s *Source) Explainable() []string { return sortedKeys(s.texts) }

// Explain evaluates every part of one of the source's expressions over a
// recording: "accept", "call.started_at", "call.custom.Site",
// "sidecar.users.media_key". Parts that stand for no value of their own (what a
// predicate says of each element, what follows a let) are left out.
func (s *Source) Explain(field string, e Env) (Explanation, error) {
	text, ok := s.texts[field]
	if !ok {
		return Explanation{}, fmt.Errorf("there is no expression %q; there are %s", field, strings.Join(s.Explainable(), ", "))
	}
	out := Explanation{Field: field, Expr: text}
	tree, err := parser.Parse(text)
	if err != nil {
		return out, err // it was compiled before: cannot happen
	}
	collected := &parts{}
	collected.add(tree.Node)
	// The whole stands last as it was written, not as the parser spells it.
	inner := slices.DeleteFunc(collected.texts, func(part string) bool { return part == tree.Node.String() })
	for _, part := range append(inner, text) {
		comp := newCompiler(sourceTypes(s.sidecars, s.pattern), s.defaults)
		p := comp.compile(field, field, part)
		if p == nil {
			continue // no value of its own, such as the name of a variable
		}
		v, err := p.run(s.values(e))
		out.Steps = append(out.Steps, Part{part, v, err})
	}
	return out, nil
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
