//go:build torture

package failpoint

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// Enabled tells whether points can fail.
const Enabled = true

// Environment variables.
const (
	specEnv  = "INGESTD_FAILPOINTS"
	traceEnv = "INGESTD_FAILPOINTS_TRACE"
)

// points is the one state that every room shares: a point must be countable
// wherever it stands, without a handle through every constructor. It is read
// on import so that no room can pass a point before.
var points = load()

func load() *set {
	s, err := parse(os.Getenv(specEnv))
	if err == nil {
		s.trace, err = openTrace(os.Getenv(traceEnv))
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "ingestd: %v\ncorrect or unset %s and %s\n", err, specEnv, traceEnv)
		os.Exit(78)
	}
	return s
}

func openTrace(path string) (*os.File, error) {
	if path == "" {
		return nil, nil
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
}

// set is what befalls which point.
type set struct {
	mu    sync.Mutex
	hits  map[string]int
	plan  map[string][]order
	trace *os.File // nil: none
}

// Hit passes a point. Its error is the one that a test put there.
func Hit(name string) error { return points.hit(name) }

func (s *set) hit(name string) error {
	o, strikes := s.next(name)
	if !strikes {
		return nil
	}
	switch o.action {
	case "panic":
		panic("failpoint " + name)
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal comes
	case "exit":
		os.Exit(1)
	case "sleep":
		<-time.After(o.sleep)
	case "error":
		return fmt.Errorf("failpoint %s", name)
	}
	return nil
}

func (s *set) next(name string) (order, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hits[name]++
	if s.trace != nil {
		if _, err := s.trace.WriteString(name + "\n"); err != nil {
			panic(err)
		}
	}
	for _, o := range s.plan[name] {
		if n := s.hits[name]; n == o.at || o.sticky && n > o.at {
			return o, true
		}
	}
	return order{}, false
}
