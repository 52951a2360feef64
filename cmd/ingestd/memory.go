package main

import (
	"os"
	"runtime/debug"
)

const (
	heapGrowth = 400       // percent by which the heap grows before it is collected
	heapLimit  = 100 << 20 // bytes at which it is collected more often all the same
)

// collectRarely lets garbage stand longer. What lives on the heap is a few
// megabytes whatever the backlog, so Go's default would collect dozens of
// times a second under load, for a tenth of the processor time. Who sets GOGC
// or GOMEMLIMIT keeps what they set.
func collectRarely() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(heapLimit)
	}
}
