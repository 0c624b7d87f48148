package nodes

import (
	"errors"

	"github.com/cnode-go/cnode/nodes/internal/talk"
)

// errStill: nothing new begins in a node that is frozen.
var errStill = errors.New("the node is frozen")

// beginMeet gives another worker a way to a peer that this one has a connection to, or is about to.
func (p *part) beginMeet(m meeting) {
	p.mu.Lock()
	p.meets[m]++
	p.mu.Unlock()
	if !p.n.background(func() { p.meet(m) }) {
		p.endMeet(m, func() {})
	}
}

// endMeet notes that a meeting is done with, together with what is to be said about it.
func (p *part) endMeet(m meeting, last func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.meets[m]--; p.meets[m] <= 0 {
		delete(p.meets, m)
	}
	last()
}

// meet gives another worker the way once there is a connection, or says that there is none: then that worker looks again, and asks again.
func (p *part) meet(m meeting) {
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
		if c != nil && c.Err() == nil && !c.shadow {
			_, fresh, err := c.branch(to, false)
			if fresh {
				p.endMeet(m, func() {})
				return
			}
			if err == errStill {
				continue
			}
			if err == nil || c.Err() == nil { // it has the other end by now, or has closed it, which shows in a moment; or no number is free
				break
			}
		}
		if c == nil && !ours {
			if !theirs {
				break
			}
			if _, _, err := n.dial(n.ctx, peer, nil); err != nil { // who says the peer's name may be anybody
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
	p.endMeet(m, func() { p.line.Say(talk.NoneWord(to, peer)) })
}
