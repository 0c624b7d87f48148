package nodes

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/peers"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// addWorkerLink takes a new way to another worker. It is not used before the links and monitors
// over the last one are broken: until then it waits, with what the other worker has sent through
// it.
func (p *part) addWorkerLink(m *talk.WorkerLink) {
	p.mu.Lock()
	p.crew[m.Part] = true
	if m.Newest > 0 { // else the way there was is lost
		p.latest = int(m.Newest)
	}
	closed := p.closed
	if !closed {
		p.coming[m.Part] = append(p.coming[m.Part], m)
	}
	p.change.Ring()
	p.mu.Unlock()
	if closed {
		talk.Drop(m)
		return
	}
	p.advance(m.Part)
}

// advance takes the next way to a worker into use: now, or once the one before it has ended. The
// other end of the one before is closed: what is left in it is read, and then it ends by itself; if
// that takes long it is ended.
func (p *part) advance(id int) {
	p.mu.Lock()
	before := p.workerLinks[id]
	p.mu.Unlock()
	if before == nil {
		p.nextWorkerLink(id, nil)
		return
	}
	p.n.background(func() {
		before.awaitLeft()
		// the node goes on in another process, with what is coming
		if p.n.life.Pass(p.n.ctx) != nil {
			return
		}
		p.mu.Lock()
		outdated := p.workerLinks[id] == before && len(p.coming[id]) > 0
		p.mu.Unlock()
		if outdated {
			before.l.Fail(ErrSuperseded)
		}
	})
}

// lose drops a way that has ended: the other worker has ended, or stood still for too long, say.
func (p *part) lose(c *Conn) {
	switch c.kind() {
	case relayLink:
		c.peerLink.loseRelayLink(c)
	case workerLink:
		p.nextWorkerLink(c.worker, c)
	}
}

// nextWorkerLink puts the next way to a worker in the place of before, which has ended; before is
// nil if there was none. The two change in one step: whoever counts the ways finds one of them. If
// none is coming, the front is asked for one.
func (p *part) nextWorkerLink(id int, before *Conn) {
	p.mu.Lock()
	for p.workerLinks[id] == before && len(p.coming[id]) > 0 {
		next := p.coming[id][0]
		fd := next.FD
		next.FD = 0
		p.mu.Unlock()
		c, err := p.n.newLocal(fd, p.workerLinkPeer())
		p.mu.Lock()
		closed := p.closed
		if !closed {
			if p.coming[id] = p.coming[id][1:]; len(p.coming[id]) == 0 {
				delete(p.coming, id)
			}
		}
		if err == nil && !closed {
			c.worker = id
			p.workerLinks[id] = c
		}
		more := len(p.coming[id]) > 0
		p.change.Ring()
		p.mu.Unlock()
		switch {
		case err != nil:
			p.n.log.Error("no way to another worker", "worker", id, "error", err)
		case closed:
			_ = c.l.Stream().Close()
			c.l.Drop()
		default:
			c.begin()
			if more {
				p.advance(id)
			}
			return
		}
		p.mu.Lock()
	}
	lost := p.workerLinks[id] == before
	if lost {
		delete(p.workerLinks, id)
		delete(p.coming, id)
	}
	p.mu.Unlock()
	if lost {
		p.seekWorkerLink(id)
	}
}

// awaitsNext lists the workers to which a way is coming.
func (p *part) awaitsNext() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.coming))
}

// noteEnded notes that another worker has ended.
func (p *part) noteEnded(id int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.crew, id)
	p.change.Ring()
}

// siblingPause is how long a worker waits before it asks for another way to a worker. If that
// worker has ended, the front knows by then.
const siblingPause = 200 * time.Millisecond

// seekWorkerLink asks the front, after a pause, for another way to a worker. Of the two workers
// that have lost it only one asks.
func (p *part) seekWorkerLink(id int) {
	p.mu.Lock()
	begins := id < p.id && !p.closed && !p.seeking[id]
	if begins {
		p.seeking[id] = true
	}
	p.mu.Unlock()
	if !begins {
		return
	}
	p.n.background(func() {
		if wait.Sleep(p.n.ctx, siblingPause) != nil || p.n.life.Pass(p.n.ctx) != nil {
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.seeking, id)
		p.line.Say(&talk.WorkerLink{Part: id})
	})
}

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
	defer n.peers.Forget(peer)
	for {
		if n.life.Pass(n.ctx) != nil {
			return
		}
		known := n.peers.Look(peer)
		c := fromTable(known.Conn)
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
		if c == nil && known.Ours == peers.None {
			if !known.Theirs {
				break
			}
			// waiting for theirs is no use: anyone may claim the peer's name
			if _, err := n.dial(n.ctx, peer, nil, false); err != nil {
				break
			}
			continue
		}
		left := (<-chan struct{})(nil)
		if c != nil {
			left = c.l.Left()
		}
		select {
		case <-known.Change:
		case <-left:
		case <-n.ctx.Done():
			return
		}
	}
	p.endLinkRequest(m, func() { p.line.Say(&talk.NoConn{Part: to, Peer: peer}) })
}
