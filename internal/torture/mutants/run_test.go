//go:build torture

package mutants

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// limit is the longest that one hunt may take; one that does not come back
// has caught its mutant as well, but that is not how it should be found.
const limit = 8 * time.Minute

// result is one line of the report.
type result struct {
	mutant mutant
	by     string // the test that turned red, "" if none did
	says   string // its first complaint
	took   time.Duration
	err    error
}

// TestMutants builds every defect in and demands that the harness finds it.
// INGESTD_MUTANT names one to look at.
func TestMutants(t *testing.T) {
	all := table()
	if os.Getenv("INGESTD_MUTANT") == "" {
		control(t)
	}
	if only := os.Getenv("INGESTD_MUTANT"); only != "" {
		all = slices.DeleteFunc(all, func(m mutant) bool { return !slices.Contains(strings.Split(only, ","), m.name) })
	}
	results := make([]result, len(all))
	few(len(all), func(i int) {
		results[i] = all[i].hunt(t)
		fmt.Println(results[i])
	})
	var report strings.Builder
	report.WriteString("\n| mutant | what it breaks | caught by | after |\n|---|---|---|---|\n")
	for _, r := range results {
		fmt.Fprintf(&report, "| %s | %s | `%s` | %.0f s |\n", r.mutant.name, r.mutant.breaks, r.by, r.took.Seconds())
		switch {
		case r.err != nil:
			t.Errorf("%s: %v", r.mutant.name, r.err)
		case r.by == "":
			t.Errorf("%s: NOT CAUGHT", r.mutant.name)
		}
	}
	t.Log(report.String())
}

// control demands that every hunt is green without a defect: one that is red
// anyhow would catch everything.
func control(t *testing.T) {
	names := slices.Sorted(maps.Keys(hunts()))
	few(len(names), func(i int) {
		began := time.Now()
		by, says, err := hunts()[names[i]].look(t.Context(), "")
		if by != "" || err != nil {
			t.Errorf("%q is red without a mutant: %s: %s, %v", names[i], by, says, err)
		}
		fmt.Printf("%q without a mutant: %.0f s\n", names[i], time.Since(began).Seconds())
	})
	if t.Failed() {
		t.FailNow()
	}
}

// few calls fn for 0 to n-1, two at a time.
func few(n int, fn func(i int)) {
	var wait sync.WaitGroup
	free := make(chan struct{}, 2)
	for i := range n {
		wait.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			fn(i)
		})
	}
	wait.Wait()
}

func (r result) String() string {
	if r.err != nil {
		return fmt.Sprintf("%s: %v", r.mutant.name, r.err)
	}
	return fmt.Sprintf("%s: caught by %q after %.0f s: %s", r.mutant.name, r.by, r.took.Seconds(), r.says)
}

// hunt runs the mutant's hunts until one turns red.
func (m mutant) hunt(t *testing.T) result {
	r := result{mutant: m}
	overlay, err := m.overlay(t.TempDir())
	if err != nil {
		r.err = err
		return r
	}
	began := time.Now()
	for _, name := range m.caught {
		r.by, r.says, r.err = hunts()[name].look(t.Context(), overlay)
		r.took = time.Since(began)
		if r.by != "" || r.err != nil {
			return r
		}
	}
	return r
}

// overlay writes the changed file and what `go -overlay` wants to know of it.
func (m mutant) overlay(dir string) (string, error) {
	text, err := m.apply()
	if err != nil {
		return "", err
	}
	changed := filepath.Join(dir, "mutant.go")
	if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
		return "", err
	}
	original, err := filepath.Abs(filepath.Join(top, filepath.FromSlash(m.file)))
	if err != nil {
		return "", err
	}
	raw, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, raw, 0o600)
}

var (
	red       = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
	complaint = regexp.MustCompile(`(?m)^\s+\w+_test\.go:\d+: (.*)`)
	violation = regexp.MustCompile(`(?m) VIOLATION (.*)`)
	unbuilt   = regexp.MustCompile(`\[(build|setup) failed\]`)
)

// look runs the hunt with the overlay, also for the daemons that its tests
// build. It returns the innermost test that turned red, if any.
func (h hunt) look(ctx context.Context, overlay string) (by, says string, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	args := append([]string{"test", "-tags", "sqlite_omit_load_extension torture", "-count=1", "-timeout", limit.String(), "-run", h.run, h.pkg}, h.arg...)
	c := exec.CommandContext(ctx, "go", args...)
	c.Dir = top
	c.Env = append(os.Environ(), h.env...)
	if overlay != "" {
		c.Env = append(c.Env, "GOFLAGS=-overlay="+overlay)
	}
	c.WaitDelay = time.Second
	raw, runErr := c.CombinedOutput()
	out := string(raw)
	switch {
	case runErr == nil && !strings.Contains(out, "no tests to run"):
		return "", "", nil
	case unbuilt.MatchString(out) || strings.Contains(out, "build the daemon") || strings.Contains(out, "no tests to run"):
		return "", "", fmt.Errorf("the hunt did not begin: %v\n%s", runErr, out)
	}
	for _, m := range red.FindAllStringSubmatch(out, -1) {
		if by == "" || strings.Count(m[1], "/") > strings.Count(by, "/") {
			by = m[1]
		}
	}
	if m := violation.FindStringSubmatch(out); m != nil {
		says = m[1]
	} else if m := complaint.FindStringSubmatch(out); m != nil {
		says = m[1]
	}
	if by == "" {
		return "", "", fmt.Errorf("no test turned red and yet: %w\n%s", runErr, out)
	}
	return by, says, nil
}
