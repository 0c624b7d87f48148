package nodes

import (
	"math/rand/v2"
	"sync"
)

// The challenges of a node's own handshakes in progress, in either role. A peer who sends one of them back has not made it: he wants this
// node's digest of it, to show it to this node on another connection, and knows no cookie. (The protocol's digest tells neither the nodes
// nor the direction; between different nodes nothing can be done about that, nor between workers, which do not know each other's.)
type challenges struct {
	mu  sync.Mutex
	own map[uint32]struct{}
}

// make gives a new one, until drop.
func (c *challenges) make() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		v := max(rand.Uint32(), 1)
		if _, taken := c.own[v]; !taken {
			put(&c.own, v, struct{}{})
			return v
		}
	}
}

func (c *challenges) has(v uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.own[v]
	return ok
}

func (c *challenges) drop(v uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.own, v)
}
