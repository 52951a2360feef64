package authenticx

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"ingestd/internal/senders"
)

// How long the list of hierarchies is believed, and how soon it is asked for
// again when a recording names one that it does not have.
const (
	hierarchyLife  = time.Hour
	hierarchyAgain = time.Minute
)

// hierarchies remembers what the organisation has. An upload that names
// another one is refused as a whole, after all its bytes were sent.
type hierarchies struct {
	turn  chan struct{} // one worker asks, the others wait
	asked time.Time
	known map[string]bool // ids and codes in lower case; nil: the vendor could not be asked
}

// node is one entry of GET /Hierarchy/All.
type node struct {
	ID             string
	Code           string
	HierarchyCodes []string
	Children       []node
}

func collect(nodes []node, known map[string]bool) {
	for _, n := range nodes {
		for _, name := range append(n.HierarchyCodes, n.ID, n.Code) {
			if name != "" {
				known[strings.ToLower(name)] = true
			}
		}
		collect(n.Children, known)
	}
}

// fetchHierarchies asks for the whole list.
func (c *Client) fetchHierarchies(ctx context.Context) (map[string]bool, error) {
	answer, err := c.get(ctx, c.base+"/Hierarchy/All")
	if err != nil {
		return nil, err
	}
	var nodes []node
	if json.Unmarshal(answer.Body, &nodes) != nil || nodes == nil {
		return nil, errListing
	}
	known := map[string]bool{}
	collect(nodes, known)
	return known, nil
}

// checkHierarchy refuses a recording whose hierarchy the organisation does not
// have, before a byte is sent. A list that cannot be had refuses nothing: the
// vendor will.
func (c *Client) checkHierarchy(ctx context.Context, m metadata) error {
	if m.HierarchyID == "" && m.HierarchyCode == "" {
		return nil
	}
	h := &c.hierarchies
	select {
	case h.turn <- struct{}{}:
	case <-ctx.Done():
		return &senders.Error{Class: senders.NotSent, Code: "cancelled", Text: "stopped before the request was made", Err: ctx.Err()}
	}
	defer func() { <-h.turn }()
	age := c.deps.Now().Sub(h.asked)
	if missing := h.missing(m); age > hierarchyLife || missing && age > hierarchyAgain {
		h.known, _ = c.fetchHierarchies(ctx) // nil when it failed
		h.asked = c.deps.Now()
	}
	if h.known != nil && h.missing(m) {
		return refused("unknown_hierarchy", "the organisation has no such HierarchyId or HierarchyCode, so AuthenticX would refuse the upload; correct the mapping, or have it created there, then `ingestd retry`", nil)
	}
	return nil
}

func (h *hierarchies) missing(m metadata) bool {
	for _, name := range []string{m.HierarchyID, m.HierarchyCode} {
		if name != "" && !h.known[strings.ToLower(name)] {
			return true
		}
	}
	return false
}
