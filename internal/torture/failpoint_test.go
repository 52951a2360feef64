//go:build torture

package torture

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ingestd/internal/sandbox"
)

// play is a scenario whose last life is the one that points fail in.
type play struct {
	name  string
	begin func(t *testing.T, s *site)
}

// plays reach the points between them. The recordings of each must all be
// published once in the end, whatever failed.
func plays() []play {
	before := func(spec string) func(*testing.T, *site) {
		return func(t *testing.T, s *site) {
			if life := s.failing(t, spec, ""); life.code != -1 {
				t.Fatalf("%s: exit %d\n%s", spec, life.code, life.output)
			}
		}
	}
	return []play{
		{"clean", func(*testing.T, *site) {}},
		{"doubt", func(t *testing.T, s *site) {
			must(t, s.vendor.SetFaults(
				sandbox.Fault{Kind: sandbox.Status, Route: sandbox.RouteSession, Status: 503, First: 1},
				sandbox.Fault{Kind: sandbox.DropMid, Route: sandbox.RouteMedia, AfterBytes: 300, First: 1},
				sandbox.Fault{Kind: sandbox.DropStored, Route: sandbox.RouteMedia, First: 1},
				sandbox.Fault{Kind: sandbox.DropLost, Route: sandbox.RouteMedia, First: 1}))
		}},
		{"crash", before("committing.after=kill@2")},
		{"interrupted move", before("rename.after=kill@2")},
	}
}

// failing runs `ingestd once` under the orders. trace, if not empty, gets a
// line for every point that is hit.
func (s *site) failing(t *testing.T, spec, trace string) outcome {
	t.Helper()
	path, err := failing()
	if err != nil {
		t.Fatal(err)
	}
	return s.runWith(t, path, []string{"INGESTD_FAILPOINTS=" + spec, "INGESTD_FAILPOINTS_TRACE=" + trace}, "once", "--timeout", "60s")
}

// staged makes a site and brings it to where the play's last life begins.
func (p play) staged(t *testing.T, seed uint64) *site {
	t.Helper()
	s := scenario(t, seed)
	raw, err := os.ReadFile(s.path("ingestd.toml"))
	must(t, err)
	text := string(raw) + "[destination.retry]\ninitial = \"100ms\"\nmax = \"1s\"\n"
	must(t, os.WriteFile(s.path("ingestd.toml"), []byte(text), 0o600))
	p.begin(t, s)
	return s
}

// reached runs the play without a fault and returns how often each point was
// hit in its last life.
func (p play) reached(t *testing.T) map[string]int {
	t.Helper()
	s := p.staged(t, 0)
	trace := filepath.Join(t.TempDir(), "trace")
	life := s.failing(t, "", trace)
	if v := s.checkEnd(t.Context(), exempt{}); life.code != 0 || len(v.violations)+len(v.kept) > 0 {
		t.Fatalf("play %q without a fault: exit %d, %+v\n%s", p.name, life.code, v, life.output)
	}
	raw, err := os.ReadFile(trace)
	must(t, err)
	hits := map[string]int{}
	for _, name := range strings.Fields(string(raw)) {
		hits[name]++
	}
	return hits
}

// strikePoint runs the play with its last life under the orders, then without
// any, and checks after every step.
func strikePoint(t *testing.T, sum *tally, p play, spec string, seed uint64) {
	s := p.staged(t, seed)
	out := figures{runs: 1}
	defer func() { sum.add(out) }()
	trace := filepath.Join(t.TempDir(), "trace")
	life := s.failing(t, spec, trace)
	report := func(step string, life outcome, problems ...string) {
		for _, problem := range problems {
			out.violations++
			t.Errorf("play %q, seed %d, %s, %s: %s\n%s", p.name, seed, spec, step, problem, life.output)
		}
	}
	point, action, _ := strings.Cut(spec, "=")
	if raw, _ := os.ReadFile(trace); bytes.Contains(raw, []byte(point+"\n")) {
		out.hit = 1
	}
	if life.code != 0 {
		out.refusals = 1
	}
	report("under the fault", life, unexpected(action, life)...)
	report("after the fault", life, s.checkCrashed(t.Context(), s.snapshot(t), exempt{}).violations...)
	if life.code == 0 { // it claims that it got over it
		report("after exit 0", life, s.checkEnd(t.Context(), exempt{}).violations...)
	}
	last := s.once(t)
	end := s.checkEnd(t.Context(), exempt{})
	out.kept, out.seconds = len(end.kept), end.seconds
	report("at the end", last, append(end.violations, end.kept...)...)
	if last.code != 0 || end.published != len(s.all) {
		report("at the end", last, fmt.Sprintf("exit code %d, %d of %d published", last.code, end.published, len(s.all)))
	}
}

// unexpected says how a run ended that its failpoint does not explain. A kill
// must look like one; only a panic may say so; an error or a pause never ends
// the program by a signal.
func unexpected(action string, life outcome) (problems []string) {
	action, _, _ = strings.Cut(action, "@")
	if life.code == -1 && action != "kill" {
		problems = append(problems, "it died of a signal")
	}
	for _, word := range []string{"fatal error:", "all goroutines are asleep", "panic:"} {
		if strings.Contains(life.output, word) && (action != "panic" || word != "panic:") {
			problems = append(problems, "it says "+word)
		}
	}
	if action == "sleep:300ms" && life.code != 0 {
		problems = append(problems, fmt.Sprintf("a pause made it end with %d", life.code))
	}
	return problems
}

var actions = []string{"panic", "error", "sleep:300ms", "kill"}

// pointOrder is one row of the matrix.
type pointOrder struct {
	play play
	spec string
}

// matrix asks the daemon itself which points the plays reach, and crosses
// them with the actions. A point that is hit more than once fails at its
// first hit and at a random later one.
func matrix(t *testing.T, rnd *rand.Rand) (orders []pointOrder, points map[string]bool) {
	points = map[string]bool{}
	for _, p := range plays() {
		hits := p.reached(t)
		for _, name := range slices.Sorted(maps.Keys(hits)) {
			points[name] = true
			for _, action := range actions {
				orders = append(orders, pointOrder{p, name + "=" + action})
				if n := hits[name]; n > 1 {
					orders = append(orders, pointOrder{p, fmt.Sprintf("%s=%s@%d", name, action, 2+rnd.IntN(n-1))})
				}
			}
		}
	}
	return orders, points
}

func runPoints(t *testing.T, orders []pointOrder, seed uint64, atOnce int) {
	var sum tally
	each(t, 0, 1, len(orders), atOnce, func(t *testing.T, i int) bool {
		if i >= len(orders) {
			return false
		}
		strikePoint(t, &sum, orders[i].play, orders[i].spec, seed+uint64(i))
		return true
	})
	sum.log(t, "failpoints")
	if sum.hit < len(orders)*9/10 {
		t.Errorf("only %d of %d points were met", sum.hit, len(orders))
	}
}

// TestFailpoints makes every point fail in every way.
func TestFailpoints(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	orders, points := matrix(t, rand.New(rand.NewPCG(seed, 0)))
	t.Logf("%d points, %d rows", len(points), len(orders))
	runPoints(t, orders, seed, 12)
}

// TestFailpointSample makes a few points fail, others in every run.
func TestFailpointSample(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 0))
	orders, _ := matrix(t, rnd)
	rnd.Shuffle(len(orders), func(i, j int) { orders[i], orders[j] = orders[j], orders[i] })
	runPoints(t, orders[:24], seed, 6)
}

// The daemon that is shipped holds none of it, and the other one refuses
// orders that it cannot read before it does anything.
func TestFailpointsOnlyWithTheTag(t *testing.T) {
	t.Parallel()
	tagged, err := failing()
	must(t, err)
	for path, want := range map[string]bool{daemonPath: false, tagged: true} {
		program, err := os.ReadFile(path)
		must(t, err)
		for _, word := range []string{"INGESTD_FAILPOINTS", "ingestd/internal/failpoint", "gate.before-tail", "answer.read"} {
			if bytes.Contains(program, []byte(word)) != want {
				t.Errorf("%s: %q in it: %v, want %v", filepath.Base(path), word, !want, want)
			}
		}
	}
	s := scenario(t, 1)
	if life := s.failing(t, "committing.after=burn", ""); life.code != 78 || !strings.Contains(life.output, "is no action") || len(s.vendor.Requests()) != 0 {
		t.Errorf("exit %d\n%s", life.code, life.output)
	}
}
