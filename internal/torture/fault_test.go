package torture

import (
	"fmt"
	"syscall"
)

// traceEnv makes the test program a tracer: its value is a fault as JSON, its
// arguments are the command to run under it.
const traceEnv = "INGESTD_TORTURE_TRACE"

// moment names system calls of the daemon by what they are about.
type moment struct {
	Call string // a name of calls
	On   string // part of the path of the descriptor, which ends with a "$"; "": any
	Has  string // part of what is written, or of the path that is named; "": any
}

// fault is what befalls one run. strace can inject the same, but counts calls
// for each thread anew; Go's threads share the work, so that its "N-th write"
// is another one in every run and most moments are never met. Here N counts
// the calls of the whole process.
type fault struct {
	moment
	After  []moment // must have come before, in this order; N counts from there
	N      int      // from 1; 0: only count
	Errno  int      // 0: SIGKILL instead of the call
	Sticky bool     // every call from N on fails, not only the N-th
	Hold   bool     // the call waits until the test lets it go on, instead
	Report string   // path of the file that gets the result
}

func (f fault) String() string {
	what := "SIGKILL"
	switch {
	case f.Hold:
		what = "held"
	case f.Errno != 0:
		what = syscall.Errno(f.Errno).Error()
		if short, ok := map[syscall.Errno]string{syscall.EIO: "EIO", syscall.ENOSPC: "ENOSPC"}[syscall.Errno(f.Errno)]; ok {
			what = short
		}
	}
	if f.Sticky {
		what += " from there on"
	}
	return fmt.Sprintf("%s at %s %d", what, f.Call, f.N)
}

// A held call: the tracer writes heldSuffix when it is there and waits for
// freeSuffix, both beside the report.
const heldSuffix, freeSuffix = ".held", ".free"

// traceReport is what the tracer saw.
type traceReport struct {
	Seen   int      // calls of the kind
	Calls  []string `json:",omitempty"` // of a run whose calls are written down: name and target
	Where  string   // what the N-th call was about; "": there was none
	Code   int      // exit code, -1 for a signal
	Signal string
	Pid    int // of the daemon
}
