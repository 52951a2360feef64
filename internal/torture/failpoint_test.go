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
	"strconv"
	"strings"
	"testing"
	"time"

	"ingestd/internal/ledger"
	"ingestd/internal/sandbox"
)

// play is a scenario whose last life is the one that points fail in.
type play struct {
	name  string
	begin func(t *testing.T, s *site)
	mixed bool // not every recording is to be published
}

// plays reach the points between them. Whatever fails, each must end as it
// ends without a failure: with every recording published once, unless it is
// mixed.
func plays() []play {
	before := func(spec string) func(*testing.T, *site) {
		return func(t *testing.T, s *site) {
			if life := s.failing(t, spec, ""); life.code != -1 {
				t.Fatalf("%s: exit %d\n%s", spec, life.code, life.output)
			}
		}
	}
	return []play{
		{name: "clean", begin: func(*testing.T, *site) {}},
		{name: "doubt", begin: func(t *testing.T, s *site) {
			must(t, s.vendor.SetFaults(
				sandbox.Fault{Kind: sandbox.Status, Route: sandbox.RouteSession, Status: 503, First: 1},
				sandbox.Fault{Kind: sandbox.DropMid, Route: sandbox.RouteMedia, AfterBytes: 300, First: 1},
				sandbox.Fault{Kind: sandbox.DropStored, Route: sandbox.RouteMedia, First: 1},
				sandbox.Fault{Kind: sandbox.DropLost, Route: sandbox.RouteMedia, First: 1}))
		}},
		{name: "crash", begin: before("committing.after=kill@2")},
		{name: "interrupted move", begin: before("rename.after=kill@2")},
		{name: "refusals", begin: refusals, mixed: true},
		{name: "orders", begin: orders, mixed: true},
	}
}

// refusals brings every way in which a recording is not published.
func refusals(t *testing.T, s *site) {
	rnd := rand.New(rand.NewPCG(6, 6))
	for range 3 {
		must(t, s.drop(rnd))
	}
	write := func(name, text string) { must(t, os.WriteFile(s.path("drop", name), []byte(text), 0o600)) }
	must(t, s.vendor.SetFaults(
		sandbox.Fault{Kind: sandbox.Early, Route: sandbox.RouteMedia, Status: 413, CorrelationID: s.all[1].correlation},
		sandbox.Fault{Kind: sandbox.Early, Route: sandbox.RouteMedia, Status: 302, CorrelationID: s.all[2].correlation}))
	write("call0003.json", "{") // bad
	write("call0004.json", `{"call_id": "call0004", "started_at": "2026-11-02T14:05:06Z", "direction": "outbound"}`)
	must(t, os.Remove(s.path("drop", "call0005.json")))
	raw, err := os.ReadFile(s.path("ingestd.toml"))
	must(t, err)
	text := strings.Replace(string(raw), "settle = \"20ms\"\n", "settle = \"20ms\"\nwait_for_sidecar = \"1s\"\naccept = \"sidecar.direction != 'outbound'\"\n", 1)
	must(t, os.WriteFile(s.path("ingestd.toml"), []byte(text), 0o600))
}

// orders lets a person try again what the refusals left, after two of the
// files were taken away.
func orders(t *testing.T, s *site) {
	refusals(t, s)
	if life := s.once(t); life.code != 3 {
		t.Fatalf("refusals: exit %d\n%s", life.code, life.output)
	}
	must(t, s.vendor.SetFaults())
	// The same call comes again under another name.
	for _, ext := range []string{".json", ".wav"} {
		must(t, copyFile(s.path("archive", "call0000"+ext), s.path("drop", "again"+ext)))
	}
	for _, i := range []int{5, 2} {
		must(t, os.Remove(s.path("drop", s.all[i].name+".wav")))
		s.all = slices.Delete(s.all, i, i+1)
	}
	if life := s.run(t, "retry", "--all", "--note", "proof"); life.code != 0 {
		t.Fatalf("retry: exit %d\n%s", life.code, life.output)
	}
}

// ends tells how every recording and delivery ended, in an order that does
// not depend on which of two files came first.
func (s *site) ends(t *testing.T) string {
	t.Helper()
	histories, err := readHistories(t.Context(), s.path("state", "ledger.db"))
	must(t, err)
	var lines []string
	for _, rows := range histories {
		for _, row := range rows {
			line := row.Recording.State
			for _, d := range row.Deliveries {
				line += " " + d.State
			}
			lines = append(lines, line+"\n")
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
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
func (p play) reached(t *testing.T) (map[string]int, string) {
	t.Helper()
	s := p.staged(t, 0)
	trace := filepath.Join(t.TempDir(), "trace")
	life := s.failing(t, "", trace)
	if v := s.checkEnd(t.Context(), exempt{}); len(v.violations) > 0 || !p.mixed && (life.code != 0 || len(v.kept) > 0) {
		t.Fatalf("play %q without a fault: exit %d, %+v\n%s", p.name, life.code, v, life.output)
	}
	raw, err := os.ReadFile(trace)
	must(t, err)
	hits := map[string]int{}
	for _, name := range strings.Fields(string(raw)) {
		hits[name]++
	}
	return hits, s.ends(t)
}

// strikePoint runs the play with its last life under the orders, then without
// any, and checks after every step.
func strikePoint(t *testing.T, sum *tally, o pointOrder, seed uint64) {
	p, spec := o.play, o.spec
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
	if raw, _ := os.ReadFile(trace); met(string(raw), point, action) {
		out.hit = 1
	} else {
		point, action = "", "" // nothing failed
	}
	if life.code != 0 {
		out.refusals = 1
	}
	report("under the fault", life, unexpected(point, action, life)...)
	report("after the fault", life, s.checkCrashed(t.Context(), s.snapshot(t), exempt{}).violations...)
	if life.code == 0 && !s.moveDeferred(t) { // it claims that it got over it
		report("after exit 0", life, s.checkEnd(t.Context(), exempt{}).violations...)
	}
	last := s.once(t)
	if s.moveDeferred(t) {
		<-time.After(time.Minute) // the daemon tries a failed move again so often
		last = s.once(t)
	}
	end := s.checkEnd(t.Context(), exempt{})
	out.kept, out.seconds = len(end.kept), end.seconds
	report("at the end", last, end.violations...)
	if p.mixed {
		if ends := s.ends(t); o.ends != "" && ends != o.ends {
			report("at the end", last, "it ends with\n"+ends+"and without a failure with\n"+o.ends)
		}
		return
	}
	report("at the end", last, end.kept...)
	if last.code != 0 || end.published != len(s.all) {
		report("at the end", last, fmt.Sprintf("exit code %d, %d of %d published", last.code, end.published, len(s.all)))
	}
}

// moveDeferred tells whether an accepted file still waits for its move.
func (s *site) moveDeferred(t *testing.T) bool {
	t.Helper()
	histories, err := readHistories(t.Context(), s.path("state", "ledger.db"))
	if err != nil {
		return false // there is none yet
	}
	for _, rows := range histories {
		for _, row := range rows {
			if why := row.Recording.Reason; row.Recording.State == string(ledger.Ready) && why != nil && *why == "disposal_failed" {
				return true
			}
		}
	}
	return false
}

// met tells whether the point was hit as often as its order says.
func met(trace, point, action string) bool {
	n := 1
	if _, at, counted := strings.Cut(action, "@"); counted {
		n, _ = strconv.Atoi(strings.TrimSuffix(at, "+"))
	}
	hits := 0
	for _, name := range strings.Fields(trace) {
		if name == point {
			hits++
		}
	}
	return hits >= n
}

// unexpected says how a run ended that its failpoint does not explain. A kill
// must look like one; only a panic may say so; an error or a pause never ends
// the program by a signal.
func unexpected(point, action string, life outcome) (problems []string) {
	action, _, _ = strings.Cut(action, "@")
	state, when, _ := strings.Cut(point, ".")
	if commit := when == "before" || when == "after"; commit && transition(state) && action == "error" && life.code == 0 {
		problems = append(problems, "a commit failed and it went on (I2)")
	}
	if life.code == -1 && action != "kill" {
		problems = append(problems, "it died of a signal")
	}
	for _, word := range []string{"fatal error:", "all goroutines are asleep", "panic:"} {
		if strings.Contains(life.output, word) && (action != "panic" || word != "panic:") {
			problems = append(problems, "it says "+word)
		}
	}
	if action == "sleep:300ms" && life.code != 0 && life.code != 3 {
		problems = append(problems, fmt.Sprintf("a pause made it end with %d", life.code))
	}
	return problems
}

// transition tells whether a point is around a commit of the ledger.
func transition(state string) bool {
	return slices.Contains(ledger.States(), ledger.State(state)) || slices.Contains(ledger.RecordingStates(), ledger.RecordingState(state)) ||
		slices.Contains(ledger.DocumentStates(), ledger.DocumentState(state)) || state == "disposing"
}

var actions = []string{"panic", "error", "sleep:300ms", "kill"}

// pointOrder is one row of the matrix.
type pointOrder struct {
	play play
	spec string
	ends string // how the play ends without a failure; "" is not compared
}

// matrix asks the daemon itself which points the plays reach, and crosses
// them with the actions. A point that is hit more than once fails at its
// first hit and at a random later one.
func matrix(t *testing.T, rnd *rand.Rand) (orders []pointOrder, points map[string]bool) {
	points = map[string]bool{}
	only := os.Getenv("INGESTD_PLAYS")
	for _, p := range plays() {
		if only != "" && !slices.Contains(strings.Split(only, ","), p.name) {
			continue
		}
		hits, ends := p.reached(t)
		for _, name := range slices.Sorted(maps.Keys(hits)) {
			points[name] = true
			for _, action := range actions {
				orders = append(orders, pointOrder{p, name + "=" + action, ends})
				if n := hits[name]; n > 1 {
					orders = append(orders, pointOrder{p, fmt.Sprintf("%s=%s@%d", name, action, 2+rnd.IntN(n-1)), ends})
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
		strikePoint(t, &sum, orders[i], seed+uint64(i))
		return true
	})
	sum.log(t, "failpoints")
	if sum.hit < len(orders)*9/10 {
		t.Errorf("only %d of %d points were met", sum.hit, len(orders))
	}
}

// TestFailpoints makes every point fail in every way, or only those that
// INGESTD_POINTS names, as in "clean:rename.before=kill,doubt:accepted.after=error@2",
// or those of the plays that INGESTD_PLAYS names.
func TestFailpoints(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if list := os.Getenv("INGESTD_POINTS"); list != "" {
		var orders []pointOrder
		for _, one := range strings.Split(list, ",") {
			name, spec, _ := strings.Cut(one, ":")
			i := slices.IndexFunc(plays(), func(p play) bool { return p.name == name })
			if i < 0 {
				t.Fatalf("there is no play %q", name)
			}
			orders = append(orders, pointOrder{play: plays()[i], spec: spec})
		}
		runPoints(t, orders, seed, 4)
		return
	}
	orders, points := matrix(t, rand.New(rand.NewPCG(seed, 0)))
	t.Logf("%d points, %d rows", len(points), len(orders))
	whole := os.Getenv("INGESTD_PLAYS") == ""
	for _, state := range ledger.States() {
		// This vendor confirms nothing.
		if whole && state != ledger.Confirmed && (!points[string(state)+".before"] || !points[string(state)+".after"]) {
			t.Errorf("no play leads a delivery to %s", state)
		}
	}
	for _, state := range ledger.RecordingStates() {
		if whole && (!points[string(state)+".before"] || !points[string(state)+".after"]) {
			t.Errorf("no play leads a recording to %s", state)
		}
	}
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
