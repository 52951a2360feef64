package torture

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// cell is one cell of the fault matrix, or one way to run it. Cells are the
// rows of the reliability reference: a moment, a fault, an outcome.
type cell struct {
	n          int    // its number in the matrix, 1 to cellCount
	what, want string // moment and fault; required outcome
	run        func(*trial)
	long       bool   // too slow for the short slice
	why        string // without run: why it is not run
	applies    bool   // without run: it applies to CallMiner all the same
	pending    string // with run: why the program cannot pass it yet
}

const cellCount = 98

// allCells is the matrix.
func allCells() []cell {
	return slices.Concat(intakeCells(), declareCells(), bodyCells(), gateCells(), disposeCells(), startCells(), migrationCells(), machineCells(), stateCells(), trustCells(), timeCells(), cellsNotRun())
}

// Every number of the matrix has a way to run or a reason why not.
func TestMatrixIsWhole(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for _, c := range allCells() {
		if c.n < 1 || c.n > cellCount || c.what == "" || (c.run == nil) == (c.why == "") || c.run != nil && c.want == "" {
			t.Errorf("cell %d (%s) is not complete", c.n, c.what)
		}
		seen[c.n] = true
	}
	for n := 1; n <= cellCount; n++ {
		if !seen[n] {
			t.Errorf("cell %d is nowhere", n)
		}
	}
}

// cellResults collects what became of the cells.
type cellResults struct {
	mu                    sync.Mutex
	passed, failed, later map[int]bool
	cannot                map[int]string
}

// atOnce is how many cells are under way together: most of the time each of
// them waits for a delivery to rest after its crash.
const atOnce = 8

// TestCells runs the cells of the matrix: the quick ones, or with the build
// tag torture all. INGESTD_CELLS limits it to the numbers it lists, and then
// runs slow ones too.
func TestCells(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	only := strings.FieldsFunc(os.Getenv("INGESTD_CELLS"), func(r rune) bool { return r == ',' })
	results := cellResults{passed: map[int]bool{}, failed: map[int]bool{}, later: map[int]bool{}, cannot: map[int]string{}}
	queue := make(chan cell)
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for c := range queue {
				results.try(t, c, seed)
			}
		})
	}
	for _, c := range allCells() {
		switch {
		case c.run == nil, len(only) > 0 && !slices.Contains(only, fmt.Sprint(c.n)):
		case c.pending != "" && len(only) == 0:
			t.Logf("cell %d is PENDING: %s", c.n, c.pending)
		case c.long && !everything && len(only) == 0:
			results.later[c.n] = true
		default:
			queue <- c
		}
	}
	close(queue)
	workers.Wait()
	results.print(t)
}

func (r *cellResults) try(t *testing.T, c cell, seed uint64) {
	trial := &trial{rnd: rand.New(rand.NewPCG(seed, uint64(c.n)))}
	ok := t.Run(fmt.Sprintf("%02d %s", c.n, c.what), func(t *testing.T) {
		defer func() {
			if v := recover(); v != nil && v != errCannot {
				panic(v)
			}
		}()
		trial.T = t
		c.run(trial)
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case trial.cannot != "":
		r.cannot[c.n] = trial.cannot
	case ok:
		r.passed[c.n] = true
	default:
		r.failed[c.n] = true
	}
}

// print sums up: a cell that is run in several ways passes when all do.
func (r *cellResults) print(t *testing.T) {
	run, passed := 0, 0
	for n := 1; n <= cellCount; n++ {
		if r.passed[n] || r.failed[n] {
			run++
		}
		if r.passed[n] && !r.failed[n] {
			passed++
		}
	}
	t.Logf("%d cells of %d run, %d passed", run, cellCount, passed)
	for n := 1; n <= cellCount; n++ {
		if why, ok := r.cannot[n]; ok {
			t.Logf("cell %d CANNOT RUN here: %s", n, why)
		}
		if r.later[n] && !r.passed[n] && !r.failed[n] {
			t.Logf("cell %d is too slow for the short slice: make torture", n)
		}
	}
	for _, c := range allCells() {
		if c.run == nil {
			word := "does not apply"
			if c.applies {
				word = "is not run"
			}
			t.Logf("cell %d %s: %s", c.n, word, c.why)
		}
	}
}
