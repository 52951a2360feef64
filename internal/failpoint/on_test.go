//go:build torture

package failpoint

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		spec, name string
		want       order
		err        string
	}{
		{spec: ""},
		{spec: "committing.after=panic", name: "committing.after", want: order{action: "panic", at: 1}},
		{spec: "gate.before-tail=kill", name: "gate.before-tail", want: order{action: "kill", at: 1}},
		{spec: "accepted.before=error@3", name: "accepted.before", want: order{action: "error", at: 3}},
		{spec: "in_doubt.before=exit@2+", name: "in_doubt.before", want: order{action: "exit", at: 2, sticky: true}},
		{spec: "a=kill,b=sleep:2s@2", name: "b", want: order{action: "sleep", at: 2, sleep: 2 * time.Second}},
		{spec: "a", err: "want point=action"},
		{spec: "=kill", err: "want point=action"},
		{spec: "A b=kill", err: "want point=action"},
		{spec: "a=kill,", err: "want point=action"},
		{spec: "a=burn", err: "is no action"},
		{spec: "a=kill@0", err: "not a number above 0"},
		{spec: "a=kill@", err: "not a number above 0"},
		{spec: "a=kill@x+", err: "not a number above 0"},
		{spec: "a=sleep", err: "belongs to sleep"},
		{spec: "a=kill:2s", err: "belongs to sleep"},
		{spec: "a=sleep:soon", err: "not a duration"},
		{spec: "a=sleep:-1s", err: "not a duration"},
	} {
		s, err := parse(tt.spec)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: %v, want %q", tt.spec, err, tt.err)
			}
			continue
		}
		if err != nil || tt.name != "" && (len(s.plan[tt.name]) != 1 || s.plan[tt.name][0] != tt.want) {
			t.Errorf("%q: %+v, %v", tt.spec, s, err)
		}
	}
}

func TestHit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := parse("a=error@2,b=error@2+,c=sleep:3s,d=panic")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for range 3 {
			for _, name := range []string{"a", "b"} {
				if err := s.hit(name); err != nil {
					got = append(got, name)
				}
			}
		}
		if strings.Join(got, "") != "abb" {
			t.Errorf("errors at %v", got)
		}
		began := time.Now()
		if err := s.hit("c"); err != nil || time.Since(began) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		_ = s.hit("d")
	})
}

// A process of its own, because its environment is read once.
func TestProcess(t *testing.T) {
	if os.Getenv(specEnv) != "" || os.Getenv(traceEnv) != "" {
		_ = Hit("there")
		_ = Hit("here")
		return
	}
	for _, tt := range []struct {
		spec, says, trace string
		code              int
	}{
		{"", "", "there here", 0},
		{"here=kill", "", "there here", -1},
		{"here=exit", "", "there here", 1},
		{"here=panic", "panic: failpoint here", "there here", 2},
		{"here", "correct or unset", "", 78},
	} {
		trace := filepath.Join(t.TempDir(), "trace")
		c := exec.Command(os.Args[0], "-test.run=^TestProcess$")
		c.Env = append(os.Environ(), specEnv+"="+tt.spec, traceEnv+"="+trace)
		out, _ := c.CombinedOutput()
		lines, _ := os.ReadFile(trace)
		if code := c.ProcessState.ExitCode(); code != tt.code || !strings.Contains(string(out), tt.says) || strings.Join(strings.Fields(string(lines)), " ") != tt.trace {
			t.Errorf("%q: exit %d, want %d; trace %q; it says\n%s", tt.spec, code, tt.code, lines, out)
		}
	}
}
