package main

import (
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ingestd/internal/config"
	"ingestd/internal/sandbox"
)

// The README's configuration loads as it is.
func TestReadmeConfiguration(t *testing.T) {
	for _, block := range fenced(t, "README.md", "toml") {
		if _, err := config.Load(strings.NewReader(block), "/etc/ingestd/ingestd.toml"); err != nil {
			t.Errorf("%v\n%s", err, block)
		}
	}
}

// So do those on the vendors' pages, and each page names its vendor's type.
func TestVendorPages(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join("..", "..", "docs", "vendors", "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatal(pages, err)
	}
	for _, page := range pages {
		name := "docs/vendors/" + filepath.Base(page)
		for _, block := range fenced(t, name, "toml") {
			cfg, err := config.Load(strings.NewReader(block), "/etc/ingestd/ingestd.toml")
			if err != nil {
				t.Errorf("%s: %v\n%s", name, err, block)
			} else if kind := cfg.Destinations[0].Common.Type; kind+".md" != filepath.Base(page) {
				t.Errorf("%s configures %q", name, kind)
			}
		}
	}
}

// The faults that the sandbox's page shows are taken, and every kind and
// route it names exists.
func TestSandboxPage(t *testing.T) {
	cm := sandbox.NewCallMiner(sandbox.Options{})
	for _, block := range fenced(t, "docs/sandbox.md", "json") {
		var list []sandbox.Fault
		if err := json.Unmarshal([]byte(block), &list); err != nil {
			t.Fatal(err)
		}
		if err := cm.SetFaults(list...); err != nil {
			t.Error(err)
		}
	}
	page := readDoc(t, "docs/sandbox.md")
	_, kinds, _ := strings.Cut(page, "| kind | the vendor |")
	for _, k := range sandbox.Kinds() {
		if !strings.Contains(kinds, "`"+string(k)+"`") {
			t.Errorf("the page says nothing of %s", k)
		}
	}
	for _, name := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(kinds, -1) {
		if name[1] == "status" || name[1] == "after_bytes" || name[1] == "delay" {
			continue // also fields
		}
		f := sandbox.Fault{Kind: sandbox.Kind(name[1]), Route: sandbox.RouteMedia, Status: 500}
		if f.Kind == sandbox.CorrelationOther {
			f.Route = sandbox.RouteSession
		}
		if !needsStatus(f.Kind) {
			f.Status = 0
		}
		if err := cm.SetFaults(f); err != nil {
			t.Errorf("%s: %v", name[1], err)
		}
	}
}

// Every command that the documents and the texts of the program name exists.
func TestNamedCommandsExist(t *testing.T) {
	known := map[string]bool{"completion": true, "help": true}
	root := (&app{ui: newUI(io.Discard, io.Discard)}).root()
	for _, c := range root.Commands() {
		known[c.Name()] = true
	}
	named := regexp.MustCompile("`ingestd ([a-z]+)")
	found := 0
	top := filepath.Join("..", "..")
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "bin" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		switch filepath.Ext(path) {
		case ".md", ".go", ".html", ".toml", ".service", ".example":
		default:
			return nil
		}
		raw, err := os.ReadFile(path)
		for _, m := range named.FindAllStringSubmatch(string(raw), -1) {
			if found++; !known[m[1]] {
				t.Errorf("%s names ingestd %s, which there is not", path, m[1])
			}
		}
		return err
	})
	if err != nil || found < 50 {
		t.Fatalf("%d commands found, %v", found, err)
	}
}

func needsStatus(k sandbox.Kind) bool {
	switch k {
	case sandbox.Early, sandbox.Status, sandbox.StatusStored, sandbox.StatusLate:
		return true
	default:
		return false
	}
}

func readDoc(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// fenced returns the blocks of one language, without their indentation.
func fenced(t *testing.T, name, language string) []string {
	t.Helper()
	var blocks []string
	for _, m := range regexp.MustCompile("(?ms)^ *```"+language+"$(.*?)^ *```$").FindAllStringSubmatch(readDoc(t, name), -1) {
		blocks = append(blocks, m[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no %s block", name, language)
	}
	return blocks
}
