//go:build torture

package torture

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// step is the distance of the calls that are struck: 1, unless
// INGESTD_SWEEP_STEP asks for a coarser look.
func step(t *testing.T) int { return number(t, "INGESTD_SWEEP_STEP", 1) }

// kinds is the order in which the sweeps go through the calls.
var kinds = []string{"pwrite64", "fsync", "write", "openat2", "renameat2", "sendto", "unlink", "ftruncate", "fallocate"}

func (f fault) name() string {
	return strings.ReplaceAll(strings.TrimSuffix(f.at(0).String(), " 0"), " ", "_")
}

// TestSweep strikes at the first call of every kind, at the second, and so on
// until a run ends without meeting the fault.
func TestSweep(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	for _, kind := range kinds {
		n := count(t, kind)
		if n == 0 {
			t.Logf("%s: the scenario makes none", kind)
			continue
		}
		for _, f := range variants(kind) {
			t.Run(f.name(), func(t *testing.T) {
				var sum tally
				atOnce := 8
				if f.Sticky {
					atOnce = 16 // a full disk is waited for before the daemon gives up
				}
				each(t, 1, step(t), n, atOnce, func(t *testing.T, at int) bool {
					return strike(t, &sum, seed+uint64(at), f.at(at))
				})
				sum.log(t, f.name())
			})
		}
	}
}

// TestTwice kills the run that recovers from a kill as well (I14).
func TestTwice(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 0))
	calls := count(t, "pwrite64")
	var sum tally
	var pairs [][2]int
	for range number(t, "INGESTD_TWICE", 100) {
		pairs = append(pairs, [2]int{1 + rnd.IntN(calls), 1 + rnd.IntN(60)})
	}
	each(t, 0, 1, len(pairs), 8, func(t *testing.T, i int) bool {
		if i >= len(pairs) {
			return false
		}
		kill := fault{moment: moment{Call: "pwrite64"}}
		strike(t, &sum, seed+uint64(i), kill.at(pairs[i][0]), kill.at(pairs[i][1]))
		return true
	})
	sum.log(t, "killed twice")
}
