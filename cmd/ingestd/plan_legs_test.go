package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// plan shows the merged file, its parts and the request about it, whichever of
// the parts it is asked for; and it says when nobody knows who is the agent.
func TestPlanOfMergedLegs(t *testing.T) {
	c := replayCase{system: "siprec", config: "siprec_merged", way: atOnce, files: unpackExports(t, "siprec")}
	if err := json.Unmarshal(c.files["EXPECTED.json"], &c.want); err != nil {
		t.Fatal(err)
	}
	want := mergedUploads(t, c)[0]
	r := newReplayRig(t, c.system, c.config)
	for _, s := range c.onceEach() {
		r.put(t, s)
	}
	other := c.want.Merged[0].Parts[1]
	for _, arg := range []string{"", want.Audio, other} {
		all := r.plan(t, arg)
		if one := all[want.Audio]; arg != other {
			if one.State != "ready" || len(one.Parts) != 2 || one.Parts[1].Path != other || one.Audio.Channels != 2 || *one.Call.AgentChannel != 1 || len(one.Notes) > 0 {
				t.Errorf("plan %s: %+v", arg, one)
			}
			body, err := json.Marshal(one.Deliveries[0].Request)
			if err != nil || !strings.Contains(string(body), `"TotalMediaLength":42818`) || want.Bytes != 42818 {
				t.Errorf("plan %s: the request is not about %d bytes: %s", arg, want.Bytes, body)
			}
		}
		if one := all[other]; arg != want.Audio && (one.State != "skipped" || deref(one.Reason) != "merged") {
			t.Errorf("plan %s: %+v", arg, one)
		}
	}
}

func TestPlanNotesUnknownAgent(t *testing.T) {
	files := unpackExports(t, "puzzel")
	r := newReplayRig(t, "puzzel", "puzzel")
	for name, content := range files {
		if strings.HasPrefix(name, "3344556690") {
			r.put(t, dropStep{path: name, content: content})
		}
	}
	if one := r.plan(t, "")["3344556690_1.wav"]; one.State != "ready" || len(one.Notes) != 0 {
		t.Errorf("%+v", one)
	}
	r.text += "\n[source.call]\nagent_channel = 'nil'\n"
	if one := r.plan(t, "")["3344556690_1.wav"]; one.State != "ready" || len(one.Notes) != 1 || !strings.Contains(one.Notes[0], "agent_channel") {
		t.Errorf("%+v", one)
	}
}

// plan runs the command, on one file or on all, and returns its JSON by path.
func (r *replayRig) plan(t *testing.T, rel string) map[string]planned {
	t.Helper()
	var out bytes.Buffer
	a := &app{ui: newUI(&out, &out), now: time.Now, hard: t.Context(), json: true, configPath: filepath.Join(t.TempDir(), "plan.toml")}
	if err := os.WriteFile(a.configPath, []byte(r.text), 0o600); err != nil {
		t.Fatal(err)
	}
	var args []string
	if rel != "" {
		args = []string{filepath.Join(r.root, filepath.FromSlash(rel))}
	}
	if err := a.plan(t.Context(), args, planView{verbose: true}); err != nil {
		t.Fatal(err)
	}
	all := map[string]planned{}
	for line := range strings.Lines(out.String()) {
		var one planned
		if err := json.Unmarshal([]byte(line), &one); err == nil && one.Path != "" {
			all[one.Path] = one
		}
	}
	return all
}
