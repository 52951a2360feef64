package mutants

import (
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// top is the module's own directory.
const top = "../../.."

// apply returns the file of a mutant with its defect.
func (m mutant) apply() (string, error) {
	raw, err := os.ReadFile(filepath.Join(top, filepath.FromSlash(m.file)))
	if err != nil {
		return "", err
	}
	text := string(raw)
	for _, e := range m.edits {
		if n := strings.Count(text, e.old); n != 1 {
			return "", fmt.Errorf("%s has %d times, want once: %q", m.file, n, e.old)
		}
		text = strings.Replace(text, e.old, e.new, 1)
	}
	if text == string(raw) {
		return "", fmt.Errorf("%s: nothing is changed", m.file)
	}
	return text, nil
}

// Every defect has its place, once; what it makes of the file is Go; and
// somebody hunts it.
func TestTableIsUpToDate(t *testing.T) {
	names, used := map[string]bool{}, map[string]bool{}
	for _, m := range table() {
		text, err := m.apply()
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
		} else if _, err := parser.ParseFile(token.NewFileSet(), m.file, text, 0); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
		if names[m.name] || m.breaks == "" || len(m.edits) == 0 || len(m.caught) == 0 {
			t.Errorf("%s: its row is not complete, or there are two", m.name)
		}
		names[m.name] = true
		for _, h := range m.caught {
			used[h] = true
			if _, ok := hunts()[h]; !ok {
				t.Errorf("%s: there is no hunt %q", m.name, h)
			}
		}
	}
	for h := range hunts() {
		if !used[h] {
			t.Errorf("nothing is hunted by %q", h)
		}
	}
	if len(names) < 20 {
		t.Errorf("%d mutants only", len(names))
	}
}

// A place that moved, or that is there twice, is an error.
func TestApplySeesWhatMoved(t *testing.T) {
	const file = "internal/torture/mutants/doc.go"
	for _, e := range []edit{{"nowhere to be found here", "x"}, {"the", "x"}, {"package mutants", "package mutants"}} {
		if _, err := (mutant{file: file, edits: []edit{e}}).apply(); err == nil {
			t.Errorf("%q was replaced", e.old)
		}
	}
}
