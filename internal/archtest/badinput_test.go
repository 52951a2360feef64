package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Every line of the bad-input list has the tests that execute it, or says why
// it has none, and those tests exist.
func TestBadInputIsAccountedFor(t *testing.T) {
	const last = 99
	rooms, seen := map[string]room{}, map[int]bool{}
	for _, row := range badRows() {
		if seen[row.n] || row.n < 1 || row.n > last || row.what == "" || len(row.tests) == 0 && row.note == "" {
			t.Errorf("row %d (%s) is there twice or not complete", row.n, row.what)
		}
		seen[row.n] = true
		for _, name := range row.tests {
			dir, test, _ := strings.Cut(name, " ")
			test, sub, _ := strings.Cut(test, "/")
			if _, ok := rooms[dir]; !ok {
				rooms[dir] = testsOf(t, dir)
			}
			if texts, ok := rooms[dir][test]; !ok {
				t.Errorf("row %d: %s has no %s", row.n, dir, test)
			} else if sub != "" && !texts[sub] {
				t.Errorf("row %d: the file of %s in %s does not say %q", row.n, test, dir, sub)
			}
		}
	}
	for n := 1; n <= last; n++ {
		if !seen[n] {
			t.Errorf("row %d is nowhere", n)
		}
	}
}

// room has the tests of a package, each with the texts of its file.
type room map[string]map[string]bool

func testsOf(t *testing.T, dir string) room {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(top, dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	out := room{}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		texts := map[string]bool{}
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil {
					texts[s] = true
				}
			}
			return true
		})
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
				out[fn.Name.Name] = texts
			}
		}
	}
	return out
}
