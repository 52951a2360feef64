package sandbox

import (
	"strconv"
	"sync"
	"time"
)

// Request is one line of the request log.
type Request struct {
	Seq           int64     `json:"seq"` // from 1
	Method        string    `json:"method"`
	Path          string    `json:"path"`   // escaped, without query, at most 256 bytes
	Route         string    `json:"route"`  // see the Route constants; "" = no such route
	Status        int       `json:"status"` // 0: no answer was begun
	Bytes         int64     `json:"bytes"`  // of the request body, as far as read
	SessionID     string    `json:"session_id,omitempty"`
	CorrelationID string    `json:"correlation_id,omitempty"`
	Fault         Kind      `json:"fault,omitempty"`
	Note          string    `json:"note,omitempty"` // why it was refused
	StartedAt     time.Time `json:"started_at"`
	EndedAt       time.Time `json:"ended_at,omitzero"` // zero: still running
}

// requestLog remembers the most recent requests and counts all of them.
type requestLog struct {
	mu       sync.Mutex
	ring     []Request // entry seq lives at (seq-1) % size
	size     int64
	total    int64
	inFlight int64
	bytes    int64
	routes   map[string]map[string]int64
}

func newRequestLog(size int) *requestLog {
	return &requestLog{size: int64(size), routes: map[string]map[string]int64{}}
}

// begin enters a request and gives it its number.
func (l *requestLog) begin(r *Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total++
	l.inFlight++
	r.Seq = l.total
	if int64(len(l.ring)) < l.size {
		l.ring = append(l.ring, *r)
		return
	}
	l.ring[(r.Seq-1)%l.size] = *r
}

// end counts a request and completes its line, if the ring still has it.
func (l *requestLog) end(r Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight--
	l.bytes += r.Bytes
	route, status := r.Route, strconv.Itoa(r.Status)
	if route == "" {
		route = "unknown"
	}
	if r.Status == 0 {
		status = "none"
	}
	if l.routes[route] == nil {
		l.routes[route] = map[string]int64{}
	}
	l.routes[route][status]++
	if at := &l.ring[(r.Seq-1)%l.size]; at.Seq == r.Seq {
		*at = r
	}
}

// recent returns the remembered requests, oldest first.
func (l *requestLog) recent() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Request, 0, len(l.ring))
	if int64(len(l.ring)) < l.size {
		return append(out, l.ring...)
	}
	oldest := l.total % l.size
	out = append(out, l.ring[oldest:]...)
	return append(out, l.ring[:oldest]...)
}

// count copies the counters of requests.
func (l *requestLog) count(s *Counters) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Requests, s.InFlight, s.Bytes = l.total, l.inFlight, l.bytes
	s.Routes = make(map[string]map[string]int64, len(l.routes))
	for route, by := range l.routes {
		s.Routes[route] = make(map[string]int64, len(by))
		for status, n := range by {
			s.Routes[route][status] = n
		}
	}
}
