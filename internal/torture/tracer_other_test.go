//go:build !(linux && amd64)

package torture

import (
	"fmt"
	"os"
)

// traceMain: the tracer changes registers, and knows those of amd64 only.
func traceMain(string, []string) int {
	fmt.Fprintln(os.Stderr, "tracer: only for linux on amd64")
	return 125
}
