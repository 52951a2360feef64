package senders

import (
	"crypto/sha256"
	"sync"
)

// Given remembers the last ids that a vendor gave out, to notice one that
// comes twice: two recordings under it may replace each other or run
// together. It keeps only hashes, so that printing it shows no secret. The
// zero value is ready.
type Given struct {
	mu    sync.Mutex
	seen  map[[sha256.Size]byte]bool
	order [][sha256.Size]byte // ring of remembered
	next  int
}

const remembered = 4096

// First reports whether id has not been seen lately, and remembers it.
func (g *Given) First(kind, id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := sha256.Sum256([]byte(kind + " " + id))
	if g.seen[key] {
		return false
	}
	if g.seen == nil {
		g.seen, g.order = make(map[[sha256.Size]byte]bool), make([][sha256.Size]byte, remembered)
	}
	delete(g.seen, g.order[g.next])
	g.seen[key], g.order[g.next] = true, key
	g.next = (g.next + 1) % remembered
	return true
}
