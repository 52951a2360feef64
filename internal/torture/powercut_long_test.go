//go:build torture

package torture

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// TestPowerCut makes INGESTD_CUTS power cuts, 200 without it, and fails where
// no loop mount can be made.
func TestPowerCut(t *testing.T) {
	cuts := number(t, "INGESTD_CUTS", 200)
	total := cutMany(t, cuts, 6, uint64(time.Now().UnixNano()))
	t.Log(&total)
}

// number reads the size of a run from the environment.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is not a number above 0", name, text)
	}
	return n
}
