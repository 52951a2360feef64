package torture

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"ingestd/internal/ledger"
	"ingestd/internal/sandbox"
)

// shape is a vendor as the fault matrix sees it: what it does about doubts
// (chapter 7 of the reliability reference).
type shape struct {
	name    string // of the sandbox
	declare string // route of its first step; "": it has one step
	ask     string // route by which a doubt is settled; "": it is not asked
	// blind: nothing settles a doubt, so a person is asked.
	blind bool
	// onlyOnce: a declare whose answer was lost is not repeated.
	onlyOnce bool
}

// ending is how a cell leaves a recording: where its delivery stands, and how
// many effects it has at the vendor.
type ending struct {
	stands  string
	effects int
}

func (e ending) String() string { return fmt.Sprintf("%s, n=%d", e.stands, e.effects) }

var once1 = ending{"accepted", 1}

// shapes lists every vendor of the sandbox.
func shapes() []shape {
	return []shape{
		{name: "callminer", declare: sandbox.RouteSession},
		{name: "elevateai", declare: sandbox.RouteDeclare, ask: sandbox.RouteStatus},
		{name: "voyc", declare: sandbox.RouteDeclare, onlyOnce: true},
		{name: "authenticx", ask: sandbox.RouteList},
		{name: "behavioralsignals", ask: sandbox.RouteList},
		{name: "behavioralsignals-legacy", blind: true},
	}
}

// Every vendor has a shape, and every cell something to do for one of them.
func TestShapesAreWhole(t *testing.T) {
	t.Parallel()
	var names []string
	for _, s := range shapes() {
		names = append(names, s.name)
	}
	if want := slices.Sorted(slices.Values(sandbox.Vendors())); !slices.Equal(slices.Sorted(slices.Values(names)), want) {
		t.Errorf("shapes %q, vendors %q", names, want)
	}
	for _, c := range shapeCells() {
		if c.n < 1 || c.n > cellCount || c.what == "" || !slices.ContainsFunc(shapes(), c.fits) {
			t.Errorf("cell %d (%s) is not complete", c.n, c.what)
		}
	}
}

// doubt is how it ends when the vendor has so many effects and the answer is
// lost.
func (s shape) doubt(effects int) ending {
	if s.blind {
		return ending{"held(in_doubt)", effects}
	}
	return once1
}

// crashed is how it ends after a crash in the state, when the vendor has so
// many effects.
func (s shape) crashed(state string, effects int) ending {
	switch {
	case state == string(ledger.Committing):
		return s.doubt(effects)
	case state == string(ledger.Declaring) && s.onlyOnce:
		return ending{"held(declare_in_doubt)", 0}
	}
	return once1
}

// shaped is one cell under way at one vendor.
type shaped struct {
	*trial
	shape
	results figuresOf
}

// begins makes the site. Keys of more are those of the destination.
func (c *shaped) begins(change func(*sandbox.Options), more ...string) {
	c.Helper()
	o := sandbox.Options{ClientID: "4711", ClientSecret: "secret", RatePerMinute: -1}
	if change != nil {
		change(&o)
	}
	fake, err := sandbox.New(c.name, o)
	c.must(err)
	c.site = siteOf(c.T, c.TempDir(), fake)
	c.writes(more...)
}

// writes makes the configuration.
func (c *shaped) writes(more ...string) {
	c.Helper()
	source := map[string]string{
		"name": `"drop"`, "path": `"drop"`, "destinations": `["` + c.name + `"]`, "settle": `"20ms"`, "after": `"move"`, "archive": `"archive"`,
	}
	lines := append(c.fake.Settings("http://"+c.addr, "plain:secret"), `name = "`+c.name+`"`)
	if !slices.ContainsFunc(more, func(line string) bool { return strings.HasPrefix(line, "doubt_settle") }) {
		more = append(more, `doubt_settle = "300ms"`)
	}
	text := "[ledger]\npath = \"state/ledger.db\"\n[http]\nlisten = \"\"\n" + table("source", source) +
		"[[destination]]\nrate = \"unlimited\"\n" + strings.Join(append(lines, more...), "\n") +
		"\n[destination.retry]\ninitial = \"50ms\"\nmax = \"200ms\"\n"
	c.must(os.WriteFile(c.path("ingestd.toml"), []byte(text), 0o600))
}

// ends runs until nothing moves and demands the ending of every recording.
func (c *shaped) ends(want ending) {
	c.Helper()
	out := c.once(c.T)
	code := 0
	if want.stands != "accepted" {
		code = 3
	}
	if out.code != code {
		c.Errorf("exit %d, want %d\n%s", out.code, code, out.output)
	}
	c.checkShape(out.output, want)
}

// heals does the same at a vendor that behaves.
func (c *shaped) heals(want ending) {
	c.Helper()
	c.misbehave(c.T)
	c.ends(want)
}

// effects counts what the vendor will analyse, by hash.
func (c *shaped) effects() (bySHA map[string]int, all int) {
	bySHA = map[string]int{}
	for _, s := range c.fake.Stored() {
		if s.Effect {
			bySHA[s.SHA256]++
			all++
		}
	}
	return bySHA, all
}

// checkShape compares vendor, ledger and directories; the last ending is that
// of all further recordings. What was lost and what
// was doubled is counted apart from the rest.
func (c *shaped) checkShape(output string, wants ...ending) {
	c.Helper()
	var v verdict
	effects, all := c.effects()
	c.checkFiles(&v, effects, exempt{})
	checkLedger(c.Context(), &v, c.path("state", "ledger.db"))
	histories, err := readHistories(c.Context(), c.path("state", "ledger.db"))
	c.must(err)
	checkMoved(&v, histories)
	for i, r := range c.all {
		want := wants[min(i, len(wants)-1)]
		n := effects[r.sha256]
		all -= n
		rows := histories[r.name+".wav"]
		if got := (ending{c.standing(r.name), n}); got != want {
			v.bad("%s: %s, want %s", r.name, got, want)
		}
		if n > 1 {
			v.bad("DUPLICATE: the vendor has %s %d times", r.name, n)
			c.results.duplicate++
		}
		c.checkKept(&v, r, rows, n)
		if sent := commitments(rows); n > sent {
			v.bad("%s: %d effects at the vendor, %d commitments in the ledger", r.name, n, sent)
		}
	}
	if all != 0 {
		v.bad("the vendor has %d recordings whose bytes are nobody's", all)
	}
	for _, p := range v.violations {
		c.Errorf("%s\n%s", p, output)
	}
}

// checkKept: a recording has arrived, or stands where a person sees why not.
func (c *shaped) checkKept(v *verdict, r *recording, rows []ledger.Shown, effects int) {
	accepted, kept := 0, false
	for _, row := range rows {
		for _, d := range row.Deliveries {
			switch {
			case d.State == string(ledger.Accepted) || d.State == string(ledger.Confirmed):
				accepted++
			case final(d.State) && d.Reason != nil && *d.Reason != "":
				kept = true
			}
		}
	}
	switch {
	case accepted > 1 || accepted == 1 && effects == 0 || accepted == 0 && !kept:
		v.bad("LOST: %s: %d accepted deliveries, %d effects, kept: %v", r.name, accepted, effects, kept)
		c.results.lost++
	case kept:
		c.results.held++
	}
	if sum, err := hashFile(c.path("archive", r.name+".wav")); accepted == 1 && (err != nil || sum != r.sha256) {
		v.bad("%s is accepted and not in the archive: %v", r.name, err)
	}
}

// commitments counts how often an upload was about to become whole.
func commitments(rows []ledger.Shown) (n int) {
	for _, row := range rows {
		for _, ev := range row.History {
			if ev.To != nil && *ev.To == string(ledger.Committing) && (ev.From == nil || *ev.From != *ev.To) {
				n++
			}
		}
	}
	return n
}

// leftIn is the state in which a crash left the first delivery: "" before
// there was one.
func (c *shaped) leftIn() string {
	c.Helper()
	db := c.snapshot(c.T)
	if db == "" {
		return ""
	}
	histories, err := readHistories(c.Context(), db)
	c.must(err)
	for _, row := range histories["call0000.wav"] {
		for _, d := range row.Deliveries {
			return d.State
		}
	}
	return ""
}

// met demands that every fault was met.
func (c *shaped) met() {
	c.Helper()
	for _, f := range c.fake.Faults() {
		if f.Applied == 0 {
			c.Errorf("fault %s was not met", f.Kind)
		}
	}
}
