package mapping

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm/runtime"
)

const (
	traceName = "$trace" // env entry that parse functions report their raw text to
	fetchName = "$get"   // what a.b, a["b"] and a[0] of a document become
)

// trace collects the texts that were parsed while one field was evaluated.
type trace struct{ texts []string }

func (t *trace) add(text string) { t.texts = append(t.texts, text) }

// traced functions get the trace as a hidden first argument.
var traced = map[string]bool{"time": true, "epoch": true, "epoch_ms": true, "epoch_us": true, "number": true, "duration": true}

// patcher rewrites an expression before its final type check:
//   - steps into documents become absent-safe, so that every level of a
//     missing path is absent, and so is an element beyond a list's end;
//   - parse functions get the trace;
//   - constant layouts, zones, regions and patterns are checked, and zones
//     and patterns are prepared once.
//
// It also refuses $env, which would go round the check of names, and function
// names without a call, which would silently be nil.
type patcher struct {
	bare  []*ast.IdentifierNode // function names seen, calls taken out again
	fault *file.Error
}

func (p *patcher) fail(node ast.Node, format string, args ...any) {
	if p.fault == nil {
		p.fault = &file.Error{Location: node.Location(), Message: fmt.Sprintf(format, args...)}
	}
}

// err is what was found, once compilation went through.
func (p *patcher) err(text string) error {
	for _, node := range p.bare {
		p.fail(node, "%s is a function: write %s(...)", node.Value, node.Value)
	}
	if p.fault == nil {
		return nil
	}
	return p.fault.Bind(file.NewSource(text))
}

// Visit implements ast.Visitor; children come before their parents.
func (p *patcher) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		if n.Value == "$env" || n.Value == traceName {
			p.fail(n, "unknown name %s", n.Value)
		}
		if n.Nature().TypeData != nil && n.Nature().Func != nil {
			p.bare = append(p.bare, n)
		}
	case *ast.MemberNode:
		base := n.Node.Nature()
		if base.Type == nil && !base.Nil || base.Kind == reflect.Interface || base.Kind == reflect.Map && !base.Strict {
			ast.Patch(node, &ast.CallNode{
				Callee:    &ast.IdentifierNode{Value: fetchName},
				Arguments: []ast.Node{n.Node, n.Property},
			})
		}
	case *ast.CallNode:
		p.call(n)
	}
}

func (p *patcher) call(n *ast.CallNode) {
	callee, ok := n.Callee.(*ast.IdentifierNode)
	if !ok {
		return
	}
	p.bare = slices.DeleteFunc(p.bare, func(n *ast.IdentifierNode) bool { return n == callee })
	for i := range n.Arguments {
		if i == 0 {
			continue
		}
		text, ok := n.Arguments[i].(*ast.StringNode)
		if !ok {
			continue
		}
		switch {
		case callee.Value == "time":
			p.timeArgument(&n.Arguments[i], text.Value)
		case callee.Value == "match" && i == 1:
			p.pattern(&n.Arguments[i], text.Value)
		case callee.Value == "phone":
			if err := checkRegion(text.Value); err != nil {
				p.fail(text, "%v", err)
			}
		}
	}
	if traced[callee.Value] {
		n.Arguments = append([]ast.Node{&ast.IdentifierNode{Value: traceName}}, n.Arguments...)
	}
}

func (p *patcher) timeArgument(node *ast.Node, text string) {
	zone, isZone, err := layoutOrZone(text)
	switch {
	case err != nil:
		p.fail(*node, "%v", err)
	case isZone:
		ast.Patch(node, &ast.ConstantNode{Value: zone})
	}
}

func (p *patcher) pattern(node *ast.Node, text string) {
	re, err := regexp.Compile(text)
	if err != nil {
		p.fail(*node, "%v", err)
		return
	}
	ast.Patch(node, &ast.ConstantNode{Value: re})
}

// fetch is one step into a document: a key of a map, an element of a list
// (negative: from the end), or a method of a time. Missing is nil.
func fetch(args ...any) (any, error) {
	base, key := args[0], args[1]
	switch base := base.(type) {
	case nil:
		return nil, nil
	case map[string]any:
		if name, ok := key.(string); ok {
			return base[name], nil
		}
		// A number finds the key of the same text: {"1": "inbound"}[doc.direction].
		name, ok, err := argText(key)
		if err != nil || !ok {
			return nil, err
		}
		return base[name], nil
	}
	if list := reflect.ValueOf(base); list.Kind() == reflect.Slice {
		i := runtime.ToInt(key) // panics for texts; the machine turns that into an error
		if i < 0 {
			i += list.Len()
		}
		if i < 0 || i >= list.Len() {
			return nil, nil
		}
		return list.Index(i).Interface(), nil
	}
	return runtime.Fetch(base, key), nil
}
