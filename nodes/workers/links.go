package workers

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/peers"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// addWorkerLink takes a new way to another worker. It is not used before the links and monitors
// over the last one are broken: until then it waits, with what the other worker has sent through
// it.
func (w *ways) addWorkerLink(m *talk.WorkerLink) {
	w.mu.Lock()
	w.crew[m.Part] = true
	if m.Newest > 0 { // else the way there was is lost
		w.latest = int(m.Newest)
	}
	closed := w.closed
	if !closed {
		w.coming[m.Part] = append(w.coming[m.Part], m)
	}
	w.change.Ring()
	w.mu.Unlock()
	if closed {
		talk.Drop(m)
		return
	}
	w.advance(m.Part)
}

// advance takes the next way to a worker into use: now, or once the one before it has ended. The
// other end of the one before is closed: what is left in it is read, and then it ends by itself; if
// that takes long it is ended.
func (w *ways) advance(id int) {
	w.mu.Lock()
	before := w.workerLinks[id]
	w.mu.Unlock()
	if before == nil {
		w.nextWorkerLink(id, nil)
		return
	}
	w.n.Background(func() {
		w.n.of(before).awaitLeft(w.relayLimit / 4)
		// the node goes on in another process, with what is coming
		if w.n.Life.Pass(w.n.Ctx) != nil {
			return
		}
		w.mu.Lock()
		outdated := w.workerLinks[id] == before && len(w.coming[id]) > 0
		w.mu.Unlock()
		if outdated {
			w.n.Link(before).Fail(nodes.ErrSuperseded)
		}
	})
}

// Lose drops a way that has ended: the other worker has ended, or stood still for too long, say.
func (w *ways) Lose(c *nodes.Conn) {
	switch t := w.n.Ties(c); w.n.Kind(c) {
	case inside.RelayLink:
		w.n.of(t.PeerLink).loseRelayLink(w.n.of(c))
	case inside.WorkerLink:
		w.nextWorkerLink(t.Worker, c)
	}
}

// nextWorkerLink puts the next way to a worker in the place of before, which has ended; before is
// nil if there was none. The two change in one step: whoever counts the ways finds one of them. If
// none is coming, the front is asked for one.
func (w *ways) nextWorkerLink(id int, before *nodes.Conn) {
	w.mu.Lock()
	for w.workerLinks[id] == before && len(w.coming[id]) > 0 {
		next := w.coming[id][0]
		fd := next.FD
		next.FD = 0
		w.mu.Unlock()
		c, err := w.n.newLocal(fd, w.workerLinkPeer())
		w.mu.Lock()
		closed := w.closed
		if !closed {
			if w.coming[id] = w.coming[id][1:]; len(w.coming[id]) == 0 {
				delete(w.coming, id)
			}
		}
		if err == nil && !closed {
			c.Worker = id
			w.workerLinks[id] = c.Conn
		}
		more := len(w.coming[id]) > 0
		w.change.Ring()
		w.mu.Unlock()
		switch {
		case err != nil:
			w.n.Log.Error("no way to another worker", "worker", id, "error", err)
		case closed:
			_ = c.l.Stream().Close()
			c.l.Drop()
		default:
			c.begin()
			if more {
				w.advance(id)
			}
			return
		}
		w.mu.Lock()
	}
	lost := w.workerLinks[id] == before
	if lost {
		delete(w.workerLinks, id)
		delete(w.coming, id)
	}
	w.mu.Unlock()
	if lost {
		w.seekWorkerLink(id)
	}
}

// awaitsNext lists the workers to which a way is coming.
func (w *ways) awaitsNext() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Keys(w.coming))
}

// noteEnded notes that another worker has ended.
func (w *ways) noteEnded(id int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.crew, id)
	w.change.Ring()
}

// siblingPause is how long a worker waits before it asks for another way to a worker. If that
// worker has ended, the front knows by then.
const siblingPause = 200 * time.Millisecond

// seekWorkerLink asks the front, after a pause, for another way to a worker. Of the two workers
// that have lost it only one asks.
func (w *ways) seekWorkerLink(id int) {
	w.mu.Lock()
	begins := id < w.id && !w.closed && !w.seeking[id]
	if begins {
		w.seeking[id] = true
	}
	w.mu.Unlock()
	if !begins {
		return
	}
	w.n.Background(func() {
		if wait.Sleep(w.n.Ctx, siblingPause) != nil || w.n.Life.Pass(w.n.Ctx) != nil {
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.seeking, id)
		w.line.Say(&talk.WorkerLink{Part: id})
	})
}

// errStill is the error of what cannot begin because the node is frozen.
var errStill = errors.New("the node is frozen")

// beginLinkRequest gives another worker a way to a peer to which this worker has a connection, or
// is about to have one.
func (w *ways) beginLinkRequest(m linkRequest) {
	w.mu.Lock()
	w.linkRequests[m]++
	w.mu.Unlock()
	if !w.n.Background(func() { w.meet(m) }) {
		w.endLinkRequest(m, func() {})
	}
}

// endLinkRequest removes a link request that is over and, in the same step, runs last, which may
// tell the front of it.
func (w *ways) endLinkRequest(m linkRequest, last func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.linkRequests[m]--; w.linkRequests[m] <= 0 {
		delete(w.linkRequests, m)
	}
	last()
}

// meet gives another worker a way to a peer once there is a connection, or says that there is none:
// that worker then looks, and asks, again.
func (w *ways) meet(m linkRequest) {
	n, peer, to := w.n, m.peer, m.to
	defer n.Table.Forget(peer)
	for {
		if n.Life.Pass(n.Ctx) != nil {
			return
		}
		known := n.Table.Look(peer)
		c := n.ConnOf(known.Conn)
		if c != nil && c.Err() == nil && !n.Ties(c).IsRemote {
			_, fresh, err := w.relayLink(n.of(c), to, false)
			if fresh {
				w.endLinkRequest(m, func() {})
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
			if err := n.Dial(peer); err != nil {
				break
			}
			continue
		}
		left := (<-chan struct{})(nil)
		if c != nil {
			left = n.Link(c).Left()
		}
		select {
		case <-known.Change:
		case <-left:
		case <-n.Ctx.Done():
			return
		}
	}
	w.endLinkRequest(m, func() { w.line.Say(&talk.NoConn{Part: to, Peer: peer}) })
}
