package sandbox

import (
	"cmp"
	"iter"
	"slices"
	"strings"
)

// Summary counts everything since the start.
type Summary struct {
	Contacts    map[ContactState]int64 `json:"contacts"`
	Sessions    map[SessionState]int64 `json:"sessions"`
	SecondPosts int64                  `json:"second_posts"` // media posted again to a session: client errors
	Counters
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

// Summary returns the counters.
func (c *CallMiner) Summary() Summary {
	s := Summary{Contacts: map[ContactState]int64{}, Sessions: map[SessionState]int64{}, Counters: c.Counters()}
	c.mu.Lock()
	for _, contact := range c.contacts {
		s.Contacts[contact.State]++
	}
	for _, session := range c.sessions {
		s.Sessions[session.State]++
	}
	s.SecondPosts = c.secondPost
	c.mu.Unlock()
	return s
}

// Stored returns the contacts as every vendor's recordings are shown.
func (c *CallMiner) Stored() []Stored {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]Stored, len(c.contacts))
	for i, contact := range c.contacts {
		out[i] = contact.stored()
	}
	return out
}

func (c *Contact) stored() Stored {
	return Stored{
		Key: c.CorrelationID, ID: c.MiningID, Effect: c.State == Published, State: string(c.State), Reason: c.Reason,
		Bytes: c.Bytes, SHA256: c.SHA256, ReceivedAt: c.ReceivedAt,
	}
}

// Settings are the lines of a destination that reaches this fake.
func (c *CallMiner) Settings(base, secret string) []string {
	return []string{
		`type = "callminer"`,
		`base_url = "` + base + strings.TrimSuffix(c.o.BasePath, "/") + `"`,
		`token_url = "` + base + `/connect/token"`,
		`client_id = "` + cmp.Or(c.o.ClientID, "any") + `"`,
		`client_secret = "` + secret + `"`,
		`source_id = "Rehearsal"`,
	}
}

// lists are the line-per-object lists of the view.
func (c *CallMiner) lists() map[string]iter.Seq[any] {
	return map[string]iter.Seq[any]{
		"contacts": anySeq(c.Contacts),
		"sessions": anySeq(c.Sessions),
		"requests": anySeq(c.Requests),
	}
}
