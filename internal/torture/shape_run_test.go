package torture

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// figuresOf are what became of one vendor's cells.
type figuresOf struct {
	run, passed           int
	lost, duplicate, held int // recordings
	cannot                string
}

func (f *figuresOf) add(g figuresOf) {
	f.run += g.run
	f.passed += g.passed
	f.lost += g.lost
	f.duplicate += g.duplicate
	f.held += g.held
	f.cannot = cmp.Or(f.cannot, g.cannot)
}

// shapesAtOnce is how many of these cells are under way together: after a
// crash a delivery rests for five seconds.
const shapesAtOnce = 12

// TestShapes drives every vendor through the cells that make sense for it: the
// quick ones, or with the build tag torture all. INGESTD_SHAPES limits it to
// the vendors it lists, and INGESTD_CELLS to the numbers.
func TestShapes(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	sums := map[string]*figuresOf{}
	var mu sync.Mutex
	type order struct {
		shape
		shapeCell
	}
	queue := make(chan order)
	var workers sync.WaitGroup
	for range shapesAtOnce {
		workers.Go(func() {
			for o := range queue {
				got := tryShape(t, o.shape, o.shapeCell, seed)
				mu.Lock()
				sums[o.name].add(got)
				mu.Unlock()
			}
		})
	}
	vendors, numbers := listed("INGESTD_SHAPES"), listed("INGESTD_CELLS")
	rnd := rand.New(rand.NewPCG(seed, 1))
	for _, s := range shapes() {
		if len(vendors) > 0 && !slices.Contains(vendors, s.name) {
			continue
		}
		mu.Lock()
		sums[s.name] = &figuresOf{}
		mu.Unlock()
		for _, c := range shapeCells() {
			named := slices.Contains(numbers, fmt.Sprint(c.n))
			if c.fits(s) && (named || len(numbers) == 0 && (everything || c.quick(s, rnd))) {
				queue <- order{s, c}
			}
		}
	}
	close(queue)
	workers.Wait()
	for _, s := range shapes() {
		if f := sums[s.name]; f != nil {
			t.Logf("%-24s %d cells run, %d passed; recordings: %d lost, %d duplicates, %d held", s.name, f.run, f.passed, f.lost, f.duplicate, f.held)
			if f.cannot != "" {
				t.Logf("%-24s some cells CANNOT RUN here: %s", s.name, f.cannot)
			}
		}
	}
}

// quick tells whether the short slice runs the cell at a vendor this time.
// CallMiner has all cells of the matrix in TestCells.
func (c shapeCell) quick(s shape, rnd *rand.Rand) bool {
	return s.name != "callminer" && (c.slow == nil || !c.slow(s)) && (c.one == 0 || rnd.IntN(c.one) == 0)
}

func listed(env string) []string {
	return strings.FieldsFunc(os.Getenv(env), func(r rune) bool { return r == ',' })
}

// tryShape runs one cell at one vendor.
func tryShape(t *testing.T, s shape, c shapeCell, seed uint64) figuresOf {
	cell := &shaped{trial: &trial{rnd: rand.New(rand.NewPCG(seed, uint64(c.n)))}, shape: s}
	ok := t.Run(fmt.Sprintf("%s/%02d %s", s.name, c.n, c.what), func(t *testing.T) {
		defer func() {
			if v := recover(); v != nil && v != errCannot {
				panic(v)
			}
		}()
		cell.T = t
		c.run(cell)
	})
	switch {
	case cell.cannot != "":
		return figuresOf{cannot: cell.cannot}
	case ok:
		cell.results.passed = 1
	}
	cell.results.run = 1
	return cell.results
}
