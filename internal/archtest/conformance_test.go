package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// conformant is how many harnesses of each sender the suite must be given.
func conformant() map[string]int {
	return map[string]int{"authenticx": 1, "behavioralsignals": 2, "callminer": 1, "elevateai": 1, "voyc": 1}
}

// Every sender passes one suite. Its groups are the same for all: Run takes a
// harness and nothing to choose by, and a group that finds nothing to try in a
// harness is one whose step the vendor does not have.
func TestSendersRunOneSuite(t *testing.T) {
	want := conformant()
	for _, p := range packages(t) {
		name, ok := strings.CutPrefix(p.room(), "internal/senders/")
		if !ok || name == "sendertest" {
			continue
		}
		if got := suites(t, p.Dir); got == 0 || got != want[name] {
			t.Errorf("sender %s runs the suite %d times, want %d", name, got, want[name])
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("there is no sender %s", name)
	}
}

// suites counts the calls of sendertest.Run in the tests of a directory.
func suites(t *testing.T, dir string) (n int) {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(node ast.Node) bool {
			if call, ok := node.(*ast.CallExpr); ok {
				if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Run" {
					if x, ok := sel.X.(*ast.Ident); ok && x.Name == "sendertest" {
						n++
					}
				}
			}
			return true
		})
	}
	return n
}
