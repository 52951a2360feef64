package torture

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// figures sum a sweep up.
type figures struct {
	runs, hit, kept, seconds, refusals, violations int
}

// tally collects figures of runs that go on at once.
type tally struct {
	mu sync.Mutex
	figures
}

func (c *tally) add(f figures) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs, c.hit, c.kept = c.runs+f.runs, c.hit+f.hit, c.kept+f.kept
	c.seconds, c.refusals, c.violations = c.seconds+f.seconds, c.refusals+f.refusals, c.violations+f.violations
}

func (c *tally) log(t *testing.T, what string) {
	t.Logf("%s: %d runs, %d met the fault, %d ended non-zero under it, %d recordings kept with a reason, %d second contacts not published, %d violations",
		what, c.runs, c.hit, c.refusals, c.kept, c.seconds, c.violations)
}

// scenario makes a fresh site with its recordings.
func scenario(t *testing.T, seed uint64) *site {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 1))
	s := newSite(t, t.TempDir(), rnd)
	for range dropped {
		if err := s.drop(rnd); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// strike runs the scenario under one fault after the other, each in a life of
// its own, then without any, and checks after every step. It reports whether
// the first fault was met.
func strike(t *testing.T, sum *tally, seed uint64, faults ...fault) bool {
	s := scenario(t, seed)
	out := figures{runs: 1}
	report := func(step string, life outcome, problems ...string) {
		for _, p := range problems {
			out.violations++
			t.Errorf("seed %d, %v (%s), %s: %s\n%s", seed, faults, life.trace.Where, step, p, life.output)
		}
	}
	for i, f := range faults {
		life := s.traced(t, f)
		if i == 0 && life.trace.Where != "" {
			out.hit = 1
		}
		if life.trace.Code != 0 {
			out.refusals++
		}
		report("under the fault", life, abnormal(f, life)...)
		report("after the fault", life, s.checkCrashed(t.Context(), s.snapshot(t), exempt{}).violations...)
		if life.trace.Code == 0 { // it claims that it recovered
			report("after exit 0", life, s.checkEnd(t.Context(), exempt{}).violations...)
		}
	}
	last := s.once(t)
	end := s.checkEnd(t.Context(), exempt{})
	out.kept, out.seconds = len(end.kept), end.seconds
	report("at the end", last, end.violations...)
	if want := 0; last.code != want && len(end.kept) == 0 {
		report("at the end", last, fmt.Sprintf("exit code %d", last.code))
	}
	if faults[0].Errno == 0 { // a program that is only killed leaves nothing to a person
		report("at the end", last, end.kept...)
	}
	sum.add(out)
	return out.hit == 1
}

// abnormal says how a run ended that neither its fault nor an orderly error
// explains.
func abnormal(f fault, life outcome) (problems []string) {
	met := life.trace.Where != ""
	switch {
	case f.Errno == 0 && met && life.trace.Signal != "SIGKILL":
		problems = append(problems, fmt.Sprintf("it was killed and ended with %d %s", life.trace.Code, life.trace.Signal))
	case (f.Errno != 0 || !met) && life.trace.Signal != "":
		problems = append(problems, "it died of "+life.trace.Signal)
	}
	// A commit that failed may have happened: nothing may go on (I2).
	if f.Errno == int(unix.EIO) && f.Call == "pwrite64" && life.trace.Where == "ledger.db-wal" && life.trace.Code == 0 {
		problems = append(problems, "a write of the ledger failed and it went on")
	}
	for _, word := range []string{"panic:", "fatal error:", "goroutine 1 ["} {
		if strings.Contains(life.output, word) {
			problems = append(problems, "it says "+word)
		}
	}
	return problems
}

// count runs the scenario without a fault and returns how many calls of each
// kind there are.
func count(t *testing.T, kind string) int {
	t.Helper()
	s := scenario(t, 0)
	life := s.traced(t, fault{moment: moment{Call: kind}})
	if v := s.checkEnd(t.Context(), exempt{}); life.code != 0 || v.published != dropped || len(v.violations)+len(v.kept) > 0 {
		t.Fatalf("the scenario without a fault: exit %d, %+v\n%s", life.code, v, life.output)
	}
	return life.trace.Seen
}

// each runs fn for n = first, first+step, ... with several at once, most of
// which wait for a delivery to rest after its crash. It ends when a run of at
// least floor meets no fault.
func each(t *testing.T, first, step, floor, atOnce int, fn func(t *testing.T, n int) bool) {
	var mu sync.Mutex
	next, done := first, false
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		n := next
		next += step
		return n, !done
	}
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for n, more := take(); more; n, more = take() {
				met := true
				t.Run(fmt.Sprint(n), func(t *testing.T) { met = fn(t, n) })
				if !met && n >= floor {
					mu.Lock()
					done = true
					mu.Unlock()
				}
			}
		})
	}
	workers.Wait()
}

// variants are the faults of one call: a kill, and for what writes to the
// disk an error once and from there on.
func variants(kind string) []fault {
	list := []fault{{moment: moment{Call: kind}}}
	if kind == "pwrite64" || kind == "fsync" {
		for _, e := range []unix.Errno{unix.EIO, unix.ENOSPC} {
			list = append(list, fault{moment: moment{Call: kind}, Errno: int(e)}, fault{moment: moment{Call: kind}, Errno: int(e), Sticky: true})
		}
	}
	return list
}

func (f fault) at(n int) fault {
	f.N = n
	return f
}

// TestSweepSample strikes at a few calls of every kind, at other ones in
// every run; TestSweep, with the build tag torture, at all of them.
func TestSweepSample(t *testing.T) {
	t.Parallel()
	if err := traceable(); err != nil {
		t.Logf("NOT RUN: %v", err)
		return
	}
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 0))
	var sum tally
	var order []fault
	for _, kind := range []string{"pwrite64", "fsync", "write", "renameat2", "openat2"} {
		n := count(t, kind)
		if n == 0 {
			t.Fatalf("the scenario makes no %s: the sweep would test nothing", kind)
		}
		step := max(37, n/6)
		offset := 1 + rnd.IntN(min(step, n))
		t.Logf("%s: %d calls, every %d-th from %d", kind, n, step, offset)
		for at := offset; at <= n; at += step {
			order = append(order, fault{moment: moment{Call: kind}, N: at})
		}
		if errs := variants(kind)[1:]; len(errs) > 0 {
			for _, i := range rnd.Perm(len(errs))[:2] {
				order = append(order, errs[i].at(1+rnd.IntN(n)))
			}
		}
	}
	each(t, 0, 1, len(order), 4, func(t *testing.T, i int) bool {
		if i >= len(order) {
			return false
		}
		strike(t, &sum, seed+uint64(i), order[i])
		return true
	})
	sum.log(t, "sample")
	if sum.hit < len(order)/2 {
		t.Errorf("only %d of %d faults were met", sum.hit, len(order))
	}
}

// A fault must be one: no call that was struck may have happened.
func TestFaultsHappen(t *testing.T) {
	if err := traceable(); err != nil {
		t.Logf("NOT RUN: %v", err)
		return
	}
	for _, tt := range []struct {
		name     string
		fault    fault
		code     int
		says     string
		contacts int
		left     string // glob of what may not be there
	}{
		{"none", fault{moment: moment{Call: "write"}}, 0, "3 delivered", dropped, "drop/*"},
		{"killed before the first byte to the vendor", fault{moment: moment{Call: "write"}, N: 1}, -1, "", 0, "archive/*"},
		{"the disk is broken from the first write", fault{moment: moment{Call: "pwrite64"}, N: 1, Errno: int(unix.EIO), Sticky: true}, 1, "disk I/O error", 0, "state/ledger.db"},
		{"the new ledger cannot be put in place", fault{moment: moment{Call: "renameat2"}, N: 1, Errno: int(unix.EIO)}, 1, "input/output error", 0, "state/ledger.db"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := scenario(t, 1)
			life := s.traced(t, tt.fault)
			left, err := filepath.Glob(s.path(tt.left))
			if err != nil {
				t.Fatal(err)
			}
			if life.code != tt.code || !strings.Contains(life.output, tt.says) || len(s.vendor.Contacts()) != tt.contacts || len(left) != 0 {
				t.Errorf("exit %d, want %d; %d contacts, want %d; %v is there; it says (want %q)\n%s",
					life.code, tt.code, len(s.vendor.Contacts()), tt.contacts, left, tt.says, life.output)
			}
		})
	}
}
