//go:build torture

package torture

import (
	"fmt"
	"syscall"
)

// traceEnv makes the test program a tracer: its value is a fault as JSON, its
// arguments are the command to run under it.
const traceEnv = "INGESTD_TORTURE_TRACE"

// fault is what befalls one run. strace can inject the same, but counts calls
// for each thread anew; Go's threads share the work, so that its "N-th write"
// is another one in every run and most moments are never met. Here N counts
// the calls of the whole process.
type fault struct {
	Call   string // a name of calls
	N      int    // from 1; 0: only count
	Errno  int    // 0: SIGKILL instead of the call
	Sticky bool   // every call from N on fails, not only the N-th
	Report string // path of the file that gets the result
}

func (f fault) String() string {
	what := "SIGKILL"
	if f.Errno != 0 {
		what = map[syscall.Errno]string{syscall.EIO: "EIO", syscall.ENOSPC: "ENOSPC"}[syscall.Errno(f.Errno)]
	}
	if f.Sticky {
		what += " from there on"
	}
	return fmt.Sprintf("%s at %s %d", what, f.Call, f.N)
}

// traceReport is what the tracer saw.
type traceReport struct {
	Seen   int      // calls of the kind
	Calls  []string `json:",omitempty"` // of a run whose calls are written down: name and target
	Where  string   // what the N-th call was about; "": there was none
	Code   int      // exit code, -1 for a signal
	Signal string
}
