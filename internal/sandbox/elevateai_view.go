package sandbox

import (
	"cmp"
	"iter"
	"slices"
	"strings"
)

// ElevateAISummary counts everything since the start.
type ElevateAISummary struct {
	Interactions map[string]int64 `json:"interactions"` // by status
	Orphans      int64            `json:"orphans"`      // declares that no file was taken for
	Again        int64            `json:"again"`        // files taken for an interaction that had one
	FastPolls    int64            `json:"fast_polls"`   // status questions sooner than 30 s after the last
	Counters
}

// Interactions returns all interactions in the order they were declared.
func (c *ElevateAI) Interactions() []ElevateInteraction {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]ElevateInteraction, len(c.interactions))
	for n, i := range c.interactions {
		out[n] = *i
		out[n].Metadata = slices.Clone(i.Metadata)
	}
	return out
}

// Forget makes every interaction unknown, as after the retention.
func (c *ElevateAI) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.interactions {
		i.deleted = true
	}
}

// Summary returns the counters.
func (c *ElevateAI) Summary() ElevateAISummary {
	s := ElevateAISummary{Interactions: map[string]int64{}, Counters: c.Counters()}
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.interactions {
		s.Interactions[c.describe(i, now).Status]++
		if i.Uploads == 0 {
			s.Orphans++
		}
		s.Again += int64(max(i.Uploads-1, 0))
	}
	s.FastPolls = c.fastPolls
	return s
}

// Stored returns every file that was taken in, in the order of arrival: each
// is processed.
func (c *ElevateAI) Stored() []Stored {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]Stored, len(c.uploads))
	for n, up := range c.uploads {
		out[n] = c.stored(up)
	}
	return out
}

// stored shows one file. The caller holds the lock.
func (c *ElevateAI) stored(up *elevateUpload) Stored {
	return Stored{
		Key: up.i.ExternalIdentifier, ID: up.i.ID, Effect: true, State: c.describe(up.i, c.bench.now()).Status,
		Bytes: up.body.bytes, SHA256: up.body.sha256(), ReceivedAt: up.at,
	}
}

// Settings are the lines of a destination that reaches this fake.
func (c *ElevateAI) Settings(base, secret string) []string {
	return []string{
		`type = "elevateai"`,
		`base_url = "` + base + strings.TrimSuffix(cmp.Or(c.o.BasePath, elevateBasePath), "/") + `"`,
		`token = "` + secret + `"`,
	}
}

// lists are the line-per-object lists of the view.
func (c *ElevateAI) lists() map[string]iter.Seq[any] {
	return map[string]iter.Seq[any]{
		"interactions": anySeq(c.Interactions),
		"requests":     anySeq(c.Requests),
	}
}
