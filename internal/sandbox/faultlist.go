package sandbox

import (
	"fmt"
	"sync"
)

// FaultState is a fault with what became of it.
type FaultState struct {
	Fault
	Seen    int64 `json:"seen"`    // requests that matched route and contact
	Applied int64 `json:"applied"` // requests that were met
}

// faultList holds the faults that are switched on, in order.
type faultList struct {
	routes []string // the vendor's

	mu      sync.Mutex
	list    []FaultState
	applied int64 // by all lists there ever were
}

// set replaces the list; counts start at zero. A bad fault leaves the list as
// it was.
func (l *faultList) set(faults []Fault) error {
	list := make([]FaultState, len(faults))
	for i, f := range faults {
		if err := f.validate(l.routes); err != nil {
			return fmt.Errorf("fault %d: %w", i+1, err)
		}
		list[i].Fault = f
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = list
	return nil
}

// pick chooses the fault for a request: the first in the list whose turn it
// is. Faults behind it do not count the request. named leaves out the faults
// that name no recording.
func (l *faultList) pick(route, correlationID string, named bool) (Fault, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.list {
		s := &l.list[i]
		if named && s.CorrelationID == "" || s.Route != "" && s.Route != route || s.CorrelationID != "" && s.CorrelationID != correlationID {
			continue
		}
		s.Seen++
		n := s.Seen - s.Skip
		if n <= 0 || s.First > 0 && s.Applied >= s.First || s.Every > 0 && n%s.Every != 0 {
			continue
		}
		s.Applied++
		l.applied++
		return s.Fault, true
	}
	return Fault{}, false
}

// states returns a copy of the list.
func (l *faultList) states() []FaultState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]FaultState{}, l.list...)
}

// total is how many requests were met since the start.
func (l *faultList) total() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.applied
}
