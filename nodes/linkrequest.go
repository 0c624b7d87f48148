package nodes

import (
	"errors"

	"github.com/cnode-go/cnode/nodes/internal/talk"
)

// errStill is the error of what cannot begin because the node is frozen.
var errStill = errors.New("the node is frozen")

// beginLinkRequest gives another worker a way to a peer to which this worker has a connection, or
// is about to have one.
func (p *part) beginLinkRequest(m linkRequest) {
	p.mu.Lock()
	p.linkRequests[m]++
	p.mu.Unlock()
	if !p.n.background(func() { p.meet(m) }) {
		p.endLinkRequest(m, func() {})
	}
}

// endLinkRequest removes a link request that is over and, in the same step, runs last, which may
// tell the front of it.
func (p *part) endLinkRequest(m linkRequest, last func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.linkRequests[m]--; p.linkRequests[m] <= 0 {
		delete(p.linkRequests, m)
	}
	last()
}

// meet gives another worker a way to a peer once there is a connection, or says that there is none:
// that worker then looks, and asks, again.
func (p *part) meet(m linkRequest) {
	n, peer, to := p.n, m.peer, m.to
	for {
		if n.frozen.Pass(n.ctx) != nil {
			return
		}
		n.mu.Lock()
		known := n.peers[peer]
		if known == nil {
			n.mu.Unlock()
			break
		}
		c, change := known.conn, known.change.Next()
		ours, theirs := known.outgoing != nil, known.incoming != nil
		n.mu.Unlock()
		if c != nil && c.Err() == nil && !c.remoteLink {
			_, fresh, err := c.relayLink(to, false)
			if fresh {
				p.endLinkRequest(m, func() {})
				return
			}
			if err == errStill {
				continue
			}
			// the worker has its end, or has closed it, as will soon show; or no descriptor is free
			if err == nil || c.Err() == nil {
				break
			}
		}
		if c == nil && !ours {
			if !theirs {
				break
			}
			// waiting for theirs is no use: anyone may claim the peer's name
			if _, _, err := n.dial(n.ctx, peer, nil, false); err != nil {
				break
			}
			continue
		}
		left := (<-chan struct{})(nil)
		if c != nil {
			left = c.left
		}
		select {
		case <-change:
		case <-left:
		case <-n.ctx.Done():
			return
		}
	}
	p.endLinkRequest(m, func() { p.line.Say(talk.NoneWord(to, peer)) })
}
