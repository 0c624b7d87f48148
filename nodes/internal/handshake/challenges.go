// Package handshake keeps the challenges that a node has sent, below package dist, which has the
// protocol.
package handshake

import (
	"math/rand/v2"
	"sync"

	"github.com/cnode-go/cnode/nodes/internal/lazymap"
)

// Challenges holds the challenges that a node Has sent in handshakes in progress, in either role. A
// peer that sends one of them back did not generate it: it does not know the cookie, and wants this
// node's digest of the challenge, to present it to this node on another connection. (The protocol's
// digest covers neither the nodes' names nor the direction; between different nodes nothing can be
// done about that, nor between workers, which do not know each other's Challenges.)
type Challenges struct {
	mu  sync.Mutex
	own map[uint32]struct{}
}

// Make returns a new challenge, which is remembered until Drop.
func (c *Challenges) Make() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		v := max(rand.Uint32(), 1)
		if _, taken := c.own[v]; !taken {
			lazymap.Put(&c.own, v, struct{}{})
			return v
		}
	}
}

// Has tells whether this node has sent a challenge.
func (c *Challenges) Has(v uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.own[v]
	return ok
}

// Drop forgets one.
func (c *Challenges) Drop(v uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.own, v)
}
