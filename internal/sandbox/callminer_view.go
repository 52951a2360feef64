package sandbox

import (
	"iter"
	"slices"
)

// Summary counts everything since the start.
type Summary struct {
	Contacts      map[ContactState]int64      `json:"contacts"`
	Sessions      map[SessionState]int64      `json:"sessions"`
	SecondPosts   int64                       `json:"second_posts"` // media posted again to a session: client errors
	Requests      int64                       `json:"requests"`
	InFlight      int64                       `json:"in_flight"`
	Routes        map[string]map[string]int64 `json:"routes"` // route -> status ("none": dropped) -> ended requests
	Bytes         int64                       `json:"bytes"`  // of request bodies
	RateLimited   int64                       `json:"rate_limited"`
	PeakPerMinute int                         `json:"peak_per_minute"`
	FaultsApplied int64                       `json:"faults_applied"`
}

// Contacts returns all contacts in the order they arrived.
func (c *CallMiner) Contacts() []Contact {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]Contact, len(c.contacts))
	for i, contact := range c.contacts {
		out[i] = *contact
	}
	return out
}

// Sessions returns all sessions in the order they were opened.
func (c *CallMiner) Sessions() []Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]Session, len(c.sessions))
	for i, s := range c.sessions {
		out[i] = s.Session
		out[i].Errors = slices.Clone(s.Errors)
	}
	return out
}

// Requests returns the most recent requests, oldest first; Summary counts all.
// Requests of the view itself are not in it.
func (c *CallMiner) Requests() []Request { return c.bench.requests.recent() }

// Summary returns the counters.
func (c *CallMiner) Summary() Summary {
	s := Summary{Contacts: map[ContactState]int64{}, Sessions: map[SessionState]int64{}}
	c.mu.Lock()
	for _, contact := range c.contacts {
		s.Contacts[contact.State]++
	}
	for _, session := range c.sessions {
		s.Sessions[session.State]++
	}
	s.SecondPosts = c.secondPost
	c.mu.Unlock()
	c.bench.requests.count(&s)
	s.PeakPerMinute, s.RateLimited = c.rate.figures()
	s.FaultsApplied = c.bench.faults.total()
	return s
}

// lists are the line-per-object lists of the view.
func (c *CallMiner) lists() map[string]iter.Seq[any] {
	return map[string]iter.Seq[any]{
		"contacts": anySeq(c.Contacts),
		"sessions": anySeq(c.Sessions),
		"requests": anySeq(c.Requests),
	}
}
