package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// parsed is one package with its syntax trees.
type parsed struct {
	pkg
	fset  *token.FileSet
	files map[string]*ast.File
}

func parse(t *testing.T, p pkg) parsed {
	t.Helper()
	out := parsed{pkg: p, fset: token.NewFileSet(), files: map[string]*ast.File{}}
	for _, name := range append(p.GoFiles, p.CgoFiles...) {
		f, err := parser.ParseFile(out.fset, filepath.Join(p.Dir, name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		out.files[name] = f
	}
	return out
}

func (p parsed) where(n ast.Node) string {
	return p.room() + "/" + filepath.Base(p.fset.Position(n.Pos()).Filename)
}

func TestEveryPackageHasOneComment(t *testing.T) {
	for _, p := range packages(t) {
		q := parse(t, p)
		var with []string
		for name, f := range q.files {
			if f.Doc != nil {
				with = append(with, name)
			}
		}
		if len(q.files) > 0 && len(with) != 1 {
			t.Errorf("%s has package comments in %v, want exactly one", p.room(), with)
		}
	}
}

func TestNothingHappensOnImport(t *testing.T) {
	for _, p := range packages(t) {
		q := parse(t, p)
		for _, f := range q.files {
			for _, found := range inits(f) {
				t.Errorf("%s: %s", q.where(f), found)
			}
		}
	}
}

// inits finds init functions.
func inits(f *ast.File) (found []string) {
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			found = append(found, "func init: let the caller decide when")
		}
	}
	return found
}

func TestNoMutablePackageState(t *testing.T) {
	for _, p := range packages(t) {
		if p.helper() {
			continue
		}
		q := parse(t, p)
		for _, found := range q.mutable() {
			t.Error(found)
		}
	}
}

// mutable finds package variables that hold state: of a type that exists to
// be changed, never given a value, or changed by any statement of the package.
// Errors, tables and compiled patterns that are only read pass. main.version,
// which the linker sets, passes as well.
func (p parsed) mutable() (found []string) {
	specs := map[string]*ast.ValueSpec{}
	for _, f := range p.files {
		for _, d := range f.Decls {
			gen, ok := d.(*ast.GenDecl)
			if !ok || gen.Tok != token.VAR {
				continue
			}
			for _, s := range gen.Specs {
				spec := s.(*ast.ValueSpec)
				embedded := strings.Contains(comment(gen.Doc)+comment(spec.Doc), "//go:embed")
				for _, name := range spec.Names {
					specs[name.Name] = spec
					if name.Name != "_" && !embedded && (len(spec.Values) == 0 || stateful(spec)) {
						found = append(found, fmt.Sprintf("%s: package variable %s is there to be changed", p.where(name), name.Name))
					}
				}
			}
		}
	}
	for _, f := range p.files {
		ast.Inspect(f, func(n ast.Node) bool {
			for _, target := range changed(n) {
				name := root(target)
				if name == nil || name.Name == "_" {
					continue
				}
				spec, ok := specs[name.Name]
				// Obj is nil for a name of another file, and points to the
				// declaration for one of this file; a local of the same name
				// points elsewhere.
				if ok && (name.Obj == nil || name.Obj.Decl == spec) {
					found = append(found, fmt.Sprintf("%s: package variable %s is changed", p.where(n), name.Name))
				}
			}
			return true
		})
	}
	return found
}

// stateful reports types of sync and sync/atomic, and channels.
func stateful(spec *ast.ValueSpec) bool {
	state := false
	look := func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.SelectorExpr:
			if pkg, ok := x.X.(*ast.Ident); ok && (pkg.Name == "sync" || pkg.Name == "atomic") {
				state = true
			}
		case *ast.ChanType:
			state = true
		}
		return true
	}
	if spec.Type != nil {
		ast.Inspect(spec.Type, look)
	}
	for _, v := range spec.Values {
		ast.Inspect(v, look)
	}
	return state
}

// changed lists what a statement or expression changes, or lets others change
// by taking its address.
func changed(n ast.Node) []ast.Expr {
	switch x := n.(type) {
	case *ast.AssignStmt:
		if x.Tok != token.DEFINE {
			return x.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{x.X}
	case *ast.UnaryExpr:
		if x.Op == token.AND {
			return []ast.Expr{x.X}
		}
	case *ast.CallExpr:
		if fn, ok := x.Fun.(*ast.Ident); ok && (fn.Name == "delete" || fn.Name == "clear") && len(x.Args) > 0 {
			return x.Args[:1]
		}
	}
	return nil
}

// root is the variable that an expression such as v.f[i] belongs to.
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

func comment(g *ast.CommentGroup) string {
	if g == nil {
		return ""
	}
	var b strings.Builder
	for _, c := range g.List {
		b.WriteString(c.Text + "\n")
	}
	return b.String()
}

// The rules above are themselves tested, on a small bad package.
func TestRulesSeeWhatTheyForbid(t *testing.T) {
	const bad = `package bad
import ("errors"; "sync"; "embed")
//go:embed x.sql
var files embed.FS
var ErrFine = errors.New("fine")
var table = map[string]int{"fine": 1}
var _ error = ErrFine
var _, ignored = f(nil), 0
var mu sync.Mutex
var counter int
var cache = map[string]int{}
var list = []int{1}
var lent = 1
func init() {}
func f(table map[string]int) *int {
	cache["a"] = 1
	list = append(list, 2)
	table["local"] = 1
	_ = list
	list := []int{}
	list[0] = 1
	return &lent
}`
	q := parsed{pkg: pkg{ImportPath: module + "/internal/bad"}, fset: token.NewFileSet(), files: map[string]*ast.File{}}
	f, err := parser.ParseFile(q.fset, "bad.go", bad, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	q.files["bad.go"] = f
	if got := inits(f); len(got) != 1 {
		t.Errorf("inits: %v", got)
	}
	got := strings.Join(q.mutable(), "\n")
	want := strings.Join([]string{
		"internal/bad/bad.go: package variable mu is there to be changed",
		"internal/bad/bad.go: package variable counter is there to be changed",
		"internal/bad/bad.go: package variable cache is changed",
		"internal/bad/bad.go: package variable list is changed",
		"internal/bad/bad.go: package variable lent is changed",
	}, "\n")
	if got != want {
		t.Errorf("mutable:\n%s\nwant:\n%s", got, want)
	}
}
