package nodes

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/lazymap"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/peers"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/nodes/metrics"
)

// divert passes on a message that is for a process of another worker, or comes from one for the
// peer; false if it is for this worker.
func (p *part) divert(c *Conn, m *Message) bool {
	switch c.kind() {
	case relayLink: // from another worker, for the peer
		c.diverted(m, c.peerLink, c.peerLink.carry(m))
		return true
	// another worker has found the process here: it is not sought elsewhere again, even if its name
	// has moved on
	case remoteLink, workerLink:
		return false
	}
	to, err := p.onward(c, m)
	if to != nil || err != nil { // it goes there, or waits for that
		err = cmp.Or(c.l.Resolve(m.in()), err)
	}
	for err == nil && to != nil && !to.note(m, true) { // that relay link has ended just now
		to, err = p.onward(c, m)
	}
	if to == nil && err == nil {
		return false
	}
	if err == nil {
		err = to.carry(m)
	}
	if err != nil && err != link.ErrStopped {
		p.n.stats.undeliverable.Add(1)
	}
	c.diverted(m, c, err)
	return true
}

// reachFor is a relay link of the peer's connection.
func (p *part) reachFor(by *Conn, worker int) (*Conn, error) {
	if by.kind() != direct { // the peer has asked by way of another worker
		return nil, ErrNoConnection
	}
	b, _, err := by.relayLink(worker, false)
	return b, err
}

// diverted ends what c's reader does with a message between the peer link's peer and another
// worker: the message is out, or lost, or, if the reader is to halt, parked.
func (c *Conn) diverted(m *Message, peerLink *Conn, err error) {
	if err == link.ErrStopped {
		c.park(m)
		return
	}
	if err != nil {
		c.n.log.Debug("not relayed", "peer", peerLink.Name(), "error", err)
	}
	m.Release()
}

// onward is the relay link of a peer's connection that a message is to take; nil if it is for this
// worker, or for a worker that is no more.
func (p *part) onward(c *Conn, m *Message) (*Conn, error) {
	at := 0
	switch op := m.Op; {
	case op == dist.OpSpawnRequest || op == dist.OpGroupLeader || op == dist.OpNodeLink:
		return nil, nil
	case link.ToAlias(&m.Control):
		at = p.n.holder(m.Ref)
	case op == dist.OpDemonitorP:
		if b := c.relayLinkOfMonitor(m.Ref); b != nil { // whoever has the name by now
			return b, nil
		}
		fallthrough
	default:
		if m.To == (ei.Pid{}) && p.n.procs.named(m.ToName) != nil {
			return nil, nil
		}
		var err error
		if at, err = p.elsewhere(p.n.ctx, m.To, m.ToName, c); err != nil {
			return nil, err
		}
	}
	if at == 0 {
		return nil, nil
	}
	// whatever the state of the worker link: m takes a relay link
	if lives, err := p.lives(c.l.Pass(), at); !lives {
		return nil, c.l.Passed(err)
	}
	b, _, err := c.relayLink(at, true)
	// a dropped message would pass for denied: so the peer is to see the connection end, and
	// connect again
	if err != nil {
		p.n.log.Warn("no way to another worker", "peer", c.Name(), "error", err)
		return nil, c.l.Fail(err)
	}
	return b, nil
}

// carry sends a message on as it came, in the form that the other side takes. link.ErrStopped: it
// was not sent, and the reader of the message's connection is to halt.
func (c *Conn) carry(m *Message) error {
	ctl := m.Control
	switch {
	case ctl.Op == dist.OpSend && ctl.From != (ei.Pid{}) && c.l.Peer().Flags.Has(dist.FlagSendSender):
		ctl.Op = dist.OpSendSender
	case ctl.Op == dist.OpAliasSend && !c.addressAlias(&ctl):
		return nil
	}
	t := m.viaRelayLink() // of the peer's connection
	if t != nil && m.Op == dist.OpLink {
		t.note(m, false)
	}
	err := c.l.Send(m.conn.l.Pass(), link.Copied, &ctl, m.Payload)
	// it ends something: until it is out, the end of the relay link has to tell of that
	if t != nil && m.Op != dist.OpLink && err == nil {
		t.note(m, false)
	}
	return m.conn.l.Passed(err)
}

// viaRelayLink is the relay link that a message came through; nil if it came otherwise.
func (m *Message) viaRelayLink() *Conn {
	if m.conn != nil && m.conn.kind() == relayLink {
		return m.conn
	}
	return nil
}

// note remembers the link or monitor that a message begins or ends on its way through the relay
// link c; inward: the message is from the peer. It is false if the end of the relay link has been
// dealt with already: then the peer would not be told of the end of the link or monitor.
func (c *Conn) note(m *Message, inward bool) bool {
	switch m.Op {
	case dist.OpLink, dist.OpUnlinkID, dist.OpUnlink, dist.OpExit, dist.OpMonitorP, dist.OpDemonitorP, dist.OpMonitorPExit,
		dist.OpSpawnReply:
	default:
		return true
	}
	l := relayedLink{m.To, m.From}
	if inward {
		l = relayedLink{m.From, m.To}
	}
	c.peerLink.relaying.Lock()
	defer c.peerLink.relaying.Unlock()
	if c.peerLink.relayLinks[c.worker] != c {
		return false
	}
	switch {
	case m.Op == dist.OpLink:
		c.relayed.link(l)
	case m.Op == dist.OpSpawnReply:
		if pid, ok := c.n.spawnedBy(m); ok && m.Flags&dist.SpawnLinked != 0 {
			c.relayed.link(relayedLink{pid, m.To})
		}
	case m.Op == dist.OpUnlinkID || m.Op == dist.OpUnlink || m.Op == dist.OpExit:
		delete(c.relayed.links, l)
	// monitors that the other worker's processes have, that worker knows itself
	case inward && m.Op == dist.OpMonitorP:
		c.relayed.watch(m.Ref, relayedMonitor{m.From, m.To, m.ToName})
	case inward && m.Op == dist.OpDemonitorP || !inward && m.Op == dist.OpMonitorPExit:
		delete(c.relayed.monitors, m.Ref)
	}
	return true
}

// relayLinkOfMonitor is the relay link that a monitor of the peer's has gone through.
func (c *Conn) relayLinkOfMonitor(ref ei.Ref) *Conn {
	c.relaying.Lock()
	defer c.relaying.Unlock()
	for _, b := range c.relayLinks {
		if _, ok := b.relayed.monitors[ref]; ok {
			return b
		}
	}
	return nil
}

// newLocal makes a connection of a socket between two workers; fd 0 is a socket that was lost on
// its way here.
func (n *Node) newLocal(fd int, peer dist.Peer) (*Conn, error) {
	if fd == 0 {
		return nil, talk.ErrLost
	}
	tr := n.carriers.unix.get()
	s, err := tr.Import(fd, nil)
	if err != nil {
		return nil, errors.Join(err, descriptor.Close(fd))
	}
	c := newConn(n, tr, s, peer, link.Options{Inner: true, Record: metrics.Conn{Initiated: true}})
	return c, nil
}

// relayLink is the way from a connection to another worker, made now if there is none (fresh). The
// front passes the other end on to that worker. While the node is frozen only the connection's
// reader may make a relay link, for the message that it is handling: the reader stops before the
// relay links are counted.
func (c *Conn) relayLink(to int, reading bool) (b *Conn, fresh bool, err error) {
	c.relaying.Lock()
	defer c.relaying.Unlock()
	if b := c.relayLinks[to]; b != nil && b.Err() == nil {
		return b, false, nil
	}
	if err := c.Err(); err != nil {
		return nil, false, err
	}
	if !reading && !c.n.life.IsOpen() {
		return nil, false, errStill
	}
	one, other, err := descriptor.StreamPair()
	if err != nil {
		return nil, false, err
	}
	p := c.n.part
	b, err = c.n.newLocal(one, p.workerLinkPeer())
	if err != nil {
		return nil, false, errors.Join(err, descriptor.Close(other))
	}
	b.peerLink, b.worker = c, to
	lazymap.Put(&c.relayLinks, to, b)
	b.begin()
	p.line.Say(&talk.RemoteLink{Part: to, Peer: c.l.Peer(), FD: other})
	return b, true, nil
}

// endRelayLinks ends the connection's relay links when the connection ends, once they have passed
// on all that it has received. No relay link is made afterwards.
func (p *part) endRelayLinks(c *Conn) {
	c.relaying.Lock()
	relayLinks := c.relayLinks
	c.relayLinks = nil
	c.relaying.Unlock()
	ctx, cancel := context.WithTimeout(c.n.ctx, p.relayLimit)
	defer cancel()
	for _, b := range relayLinks {
		_ = b.Flush(ctx)
	}
	for _, b := range relayLinks {
		b.l.Fail(ErrNoConnection)
	}
}

// addRemoteLink adds a remote link: this worker's end of the way to a peer that another worker is
// connected to.
func (p *part) addRemoteLink(m *talk.RemoteLink) {
	peer := *m.Peer
	c, err := p.n.newLocal(m.FD, peer)
	if err == nil {
		c.remoteLink = true
		var old peers.Conn
		if up := p.n.Conn(peer.Name); up != nil && up.remoteLink {
			old = tabled{up}
			up.awaitLeft(p.relayLimit / 4) // if its end is on its way
		}
		if err = p.n.enter(p.n.ctx, c, 0, old); err != nil {
			err = errors.Join(err, c.l.Stream().Close())
			c.l.Drop()
		} else {
			c.begin()
		}
	}
	if err != nil {
		p.n.log.Warn("a way to a peer was refused", "peer", peer.Name, "worker", m.Part, "error", err)
	}
	p.tellAwaited(peer.Name, ErrConnected)
}

// closePeerLink asks for the end of the connection of which this one is a remote link, and waits a
// little until that end has reached the remote link. If the remote link ended first, the other
// worker would take this worker for dead, and tell the peer that its processes were killed.
func (p *part) closePeerLink(c *Conn) {
	p.line.Say(&talk.CloseConn{Peer: c.Name()})
	ctx, cancel := context.WithTimeout(c.n.ctx, p.relayLimit/4)
	defer cancel()
	select {
	case c.l.Turn() <- struct{}{}:
		c.l.GiveTurn()
	case <-ctx.Done():
	}
}

// awaitLeft waits until a connection that is ending has been read to its end and cleaned up, for
// limit at most.
func (c *Conn) awaitLeft(limit time.Duration) {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-c.l.Left():
	case <-t.C:
	}
}

// loseRelayLink deals with the end of a relay link, which ends with the connection or because the
// other worker has died. In the latter case the peer is told that the other worker's processes were
// killed.
func (c *Conn) loseRelayLink(b *Conn) {
	c.relaying.Lock()
	if c.relayLinks[b.worker] == b {
		delete(c.relayLinks, b.worker)
	}
	lost := b.relayed
	b.relayed = relayedBonds{}
	c.relaying.Unlock()
	if c.Err() != nil {
		return
	}
	killed := exitReason(ei.Atom("killed"))
	for l := range lost.links {
		c.tell(bonds.LinkExit(l.local, l.remote, killed))
	}
	for ref, m := range lost.monitors {
		c.tell(bonds.Down(m.pid, bonds.Watcher{Pid: m.watcher, Name: m.name}, ref, killed))
	}
}

// Links and monitors between processes of a peer and those of another worker pass through a relay
// link. The worker that has the connection remembers them, so that when the other worker dies it
// can tell the peer of the end of each process that the peer's processes had a link with or a
// monitor on.

// A relayedLink is a link between a process of the peer and one of the other worker.
type relayedLink struct{ remote, local ei.Pid }

// relayedBonds is what a relay link remembers; guarded by the peer link's relaying.
type relayedBonds struct {
	links    map[relayedLink]struct{}
	monitors map[ei.Ref]relayedMonitor
}

// A relayedMonitor is a monitor that a process of the peer has on one of the other worker, by its
// pid or its name.
type relayedMonitor struct {
	watcher ei.Pid
	pid     ei.Pid
	name    ei.Atom
}

func (s *relayedBonds) link(l relayedLink) {
	lazymap.Put(&s.links, l, struct{}{})
}

func (s *relayedBonds) watch(ref ei.Ref, m relayedMonitor) {
	lazymap.Put(&s.monitors, ref, m)
}
