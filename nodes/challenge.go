package nodes

import (
	"math/rand/v2"
	"sync"
)

// challenges holds the challenges that a node has sent in handshakes in progress, in either role. A
// peer that sends one of them back did not generate it: it does not know the cookie, and wants this
// node's digest of the challenge, to present it to this node on another connection. (The protocol's
// digest covers neither the nodes' names nor the direction; between different nodes nothing can be
// done about that, nor between workers, which do not know each other's challenges.)
type challenges struct {
	mu  sync.Mutex
	own map[uint32]struct{}
}

// make returns a new challenge, which is remembered until drop.
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
