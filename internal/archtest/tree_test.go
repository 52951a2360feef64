package archtest

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// top is the module's own directory.
const top = "../.."

// texts calls fn for every text file of the tree.
func texts(t *testing.T, fn func(rel string, text []byte)) {
	t.Helper()
	seen := 0
	err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, name)
		if err != nil {
			return err
		}
		if d.IsDir() && (rel == ".git" || rel == "bin" || rel == "dist") {
			return filepath.SkipDir
		}
		if !d.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if !bytes.ContainsRune(text[:min(len(text), 8000)], 0) {
			seen++
			fn(filepath.ToSlash(rel), text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 20 {
		t.Fatalf("looked at %d files only", seen)
	}
}

// cited is a place in the source by its line, which the next edit moves.
var cited = regexp.MustCompile(`\w\.(go|md|sql|toml|service|sh)(:|#L)\d+\b`)

func TestDocsCiteNamesNotLines(t *testing.T) {
	if !cited.MatchString("see "+"retry.go"+":17") || cited.MatchString("see retry.go: 3 attempts") {
		t.Fatal("the pattern is wrong")
	}
	texts(t, func(rel string, text []byte) {
		comments := strings.HasSuffix(rel, ".go") && !strings.HasSuffix(rel, "_test.go")
		if !comments && !strings.HasSuffix(rel, ".md") {
			return
		}
		if found := cited.Find(text); found != nil {
			t.Errorf("%s cites %q: name a function or a section instead", rel, found)
		}
	})
}

// homes are directories that only exist on somebody's machine.
var homes = regexp.MustCompile(`(^|["'\x60\s=(:])/(home|Users|root|work)/[\w.-]+`)

func TestNoPathsOfOneMachine(t *testing.T) {
	if !homes.MatchString("open \"/"+"home/ann/x\"") || homes.MatchString("https://x/home/ann") {
		t.Fatal("the pattern is wrong")
	}
	texts(t, func(rel string, text []byte) {
		if rel == ".git" || strings.Contains(rel, "testdata/") { // .git is a file in a linked checkout
			return // recorders' own exports do name directories of theirs
		}
		if found := homes.Find(text); found != nil {
			t.Errorf("%s names %q", rel, found)
		}
	})
}

// Every module that our code or tests import is explained, and nothing else.
func TestDependenciesAreExplained(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join(top, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join(top, "docs", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	required := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\s*(?:require )?(\S+\.\S+) v\d`).FindAllStringSubmatch(string(mod), -1) {
		required[m[1]] = true
	}
	direct := map[string]bool{}
	for _, p := range packages(t) {
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			for prefix := imported; prefix != "."; prefix = path.Dir(prefix) {
				if required[prefix] {
					direct[prefix] = true
				}
			}
		}
	}
	for m := range direct {
		if !strings.Contains(string(doc), "| `"+m+"` |") {
			t.Errorf("docs/dependencies.md does not say why %s is there", m)
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(string(doc), -1) {
		if !direct[row[1]] {
			t.Errorf("docs/dependencies.md explains %s, which nothing imports", row[1])
		}
	}
}

// A test that sleeps outside a bubble waits for luck.
func TestOnlyBubblesSleep(t *testing.T) {
	texts(t, func(rel string, text []byte) {
		sleeps := bytes.Contains(text, []byte("time.Sl"+"eep("))
		if sleeps && strings.HasSuffix(rel, "_test.go") && !bytes.Contains(text, []byte(`"testing/synctest"`)) {
			t.Errorf("%s sleeps without testing/synctest", rel)
		}
	})
}
