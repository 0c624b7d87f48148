package workers

import (
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/talk"
)

// A conn is a nodes.Conn, with what this package needs of its inside.
type conn struct {
	*nodes.Conn
	*inside.Ties[*nodes.Conn]
	l *link.Conn
	n *node
}

func (n *node) of(c *nodes.Conn) conn { return conn{c, n.Ties(c), n.Link(c), n} }

// newLocal makes a connection of a socket between two workers; fd 0 is a socket that was lost on
// its way here.
func (n *node) newLocal(fd int, peer dist.Peer) (conn, error) {
	if fd == 0 {
		return conn{}, talk.ErrLost
	}
	c, err := n.Local(fd, peer)
	if err != nil {
		return conn{}, err
	}
	return n.of(c), nil
}

func (c conn) kind() inside.Kind { return c.n.Kind(c.Conn) }
func (c conn) begin()            { c.n.Begin(c.Conn) }

// awaitLeft waits until a connection that is ending has been read to its end and cleaned up, for
// limit at most.
func (c conn) awaitLeft(limit time.Duration) {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-c.l.Left():
	case <-t.C:
	}
}

// relayLinkOfMonitor is the relay link that a monitor of the peer's has gone through; nil: none.
func (c conn) relayLinkOfMonitor(ref ei.Ref) *nodes.Conn {
	c.Relaying.Lock()
	defer c.Relaying.Unlock()
	for _, b := range c.RelayLinks {
		if _, ok := c.n.Ties(b).Relayed.Monitors[ref]; ok {
			return b
		}
	}
	return nil
}
