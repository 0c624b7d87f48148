package workers

import (
	"cmp"
	"context"
	"errors"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/lazymap"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/talk"
)

// Divert passes on a message that is for a process of another worker, or comes from one for the
// peer; false if it is for this worker.
func (p *part) Divert(from *nodes.Conn, m *nodes.Message) bool {
	c := p.n.of(from)
	switch c.kind() {
	case inside.RelayLink: // from another worker, for the peer
		peerLink := p.n.of(c.PeerLink)
		c.diverted(m, peerLink, peerLink.carry(m))
		return true
	// another worker has found the process here: it is not sought elsewhere again, even if its name
	// has moved on
	case inside.RemoteLink, inside.WorkerLink:
		return false
	}
	to, err := p.onward(c, m)
	if to.Conn != nil || err != nil { // it goes there, or waits for that
		err = cmp.Or(c.l.Resolve(p.n.In(m)), err)
	}
	for err == nil && to.Conn != nil && !to.note(m, true) { // that relay link has ended just now
		to, err = p.onward(c, m)
	}
	if to.Conn == nil && err == nil {
		return false
	}
	if err == nil {
		err = to.carry(m)
	}
	if err != nil && err != link.ErrStopped {
		p.n.Undeliverable.Add(1)
	}
	c.diverted(m, c, err)
	return true
}

// ReachFor is a relay link of the peer's connection.
func (p *part) ReachFor(by *nodes.Conn, worker int) (*nodes.Conn, error) {
	c := p.n.of(by)
	if c.kind() != inside.Direct { // the peer has asked by way of another worker
		return nil, nodes.ErrNoConnection
	}
	b, _, err := p.relayLink(c, worker, false)
	return b.Conn, err
}

// diverted ends what c's reader does with a message between the peer link's peer and another
// worker: the message is out, or lost, or, if the reader is to halt, parked.
func (c conn) diverted(m *nodes.Message, peerLink conn, err error) {
	if err == link.ErrStopped {
		c.n.Park(c.Conn, m)
		return
	}
	if err != nil {
		c.n.Log.Debug("not relayed", "peer", peerLink.Name(), "error", err)
	}
	m.Release()
}

// onward is the relay link of a peer's connection that a message is to take; none if it is for this
// worker, or for a worker that is no more.
func (p *part) onward(c conn, m *nodes.Message) (conn, error) {
	at := 0
	switch op := m.Op; {
	case op == dist.OpSpawnRequest || op == dist.OpGroupLeader || op == dist.OpNodeLink:
		return conn{}, nil
	case link.ToAlias(&m.Control):
		at = p.n.Holder(m.Ref)
	case op == dist.OpDemonitorP:
		if b := c.relayLinkOfMonitor(m.Ref); b != nil { // whoever has the name by now
			return p.n.of(b), nil
		}
		fallthrough
	default:
		if m.To == (ei.Pid{}) && p.n.HasName(m.ToName) {
			return conn{}, nil
		}
		var err error
		if at, err = p.elsewhere(p.n.Ctx, m.To, m.ToName, c.Conn); err != nil {
			return conn{}, err
		}
	}
	if at == 0 {
		return conn{}, nil
	}
	// whatever the state of the worker link: m takes a relay link
	if lives, err := p.lives(c.l.Pass(), at); !lives {
		return conn{}, c.l.Passed(err)
	}
	b, _, err := p.relayLink(c, at, true)
	// a dropped message would pass for denied: so the peer is to see the connection end, and connect
	// again
	if err != nil {
		p.n.Log.Warn("no way to another worker", "peer", c.Name(), "error", err)
		return conn{}, c.l.Fail(err)
	}
	return b, nil
}

// carry sends a message on as it came, in the form that the other side takes. link.ErrStopped: it
// was not sent, and the reader of the message's connection is to halt.
func (c conn) carry(m *nodes.Message) error {
	ctl := m.Control
	switch {
	case ctl.Op == dist.OpSend && ctl.From != (ei.Pid{}) && c.l.Peer().Flags.Has(dist.FlagSendSender):
		ctl.Op = dist.OpSendSender
	case ctl.Op == dist.OpAliasSend && !c.n.AddressAlias(c.Conn, &ctl):
		return nil
	}
	via := c.n.of(c.n.Via(m))
	relayed := via.kind() == inside.RelayLink // of the peer's connection
	if relayed && m.Op == dist.OpLink {
		via.note(m, false)
	}
	err := c.l.Send(via.l.Pass(), link.Copied, &ctl, m.Payload)
	// it ends something: until it is out, the end of the relay link has to tell of that
	if relayed && m.Op != dist.OpLink && err == nil {
		via.note(m, false)
	}
	return via.l.Passed(err)
}

// note remembers the link or monitor that a message begins or ends on its way through the relay
// link c; inward: the message is from the peer. It is false if the end of the relay link has been
// dealt with already: then the peer would not be told of the end of the link or monitor.
func (c conn) note(m *nodes.Message, inward bool) bool {
	switch m.Op {
	case dist.OpLink, dist.OpUnlinkID, dist.OpUnlink, dist.OpExit, dist.OpMonitorP, dist.OpDemonitorP, dist.OpMonitorPExit,
		dist.OpSpawnReply:
	default:
		return true
	}
	l := inside.Link{Remote: m.To, Local: m.From}
	if inward {
		l = inside.Link{Remote: m.From, Local: m.To}
	}
	peerLink := c.n.Ties(c.PeerLink)
	peerLink.Relaying.Lock()
	defer peerLink.Relaying.Unlock()
	if peerLink.RelayLinks[c.Worker] != c.Conn {
		return false
	}
	switch {
	case m.Op == dist.OpLink:
		c.Relayed.Link(l)
	case m.Op == dist.OpSpawnReply:
		if pid, ok := c.n.SpawnedBy(m); ok && m.Flags&dist.SpawnLinked != 0 {
			c.Relayed.Link(inside.Link{Remote: pid, Local: m.To})
		}
	case m.Op == dist.OpUnlinkID || m.Op == dist.OpUnlink || m.Op == dist.OpExit:
		delete(c.Relayed.Links, l)
	// monitors that the other worker's processes have, that worker knows itself
	case inward && m.Op == dist.OpMonitorP:
		c.Relayed.Watch(m.Ref, inside.Monitor{Watcher: m.From, Pid: m.To, Name: m.ToName})
	case inward && m.Op == dist.OpDemonitorP || !inward && m.Op == dist.OpMonitorPExit:
		delete(c.Relayed.Monitors, m.Ref)
	}
	return true
}

// relayLink is the way from a connection to another worker, made now if there is none (fresh). The
// front passes the other end on to that worker. While the node is frozen only the connection's
// reader may make a relay link, for the message that it is handling: the reader stops before the
// relay links are counted.
func (w *ways) relayLink(c conn, to int, reading bool) (b conn, fresh bool, err error) {
	c.Relaying.Lock()
	defer c.Relaying.Unlock()
	if b := c.RelayLinks[to]; b != nil && b.Err() == nil {
		return w.n.of(b), false, nil
	}
	if err := c.Err(); err != nil {
		return conn{}, false, err
	}
	if !reading && !w.n.Life.IsOpen() {
		return conn{}, false, errStill
	}
	one, other, err := descriptor.StreamPair()
	if err != nil {
		return conn{}, false, err
	}
	b, err = w.n.newLocal(one, w.workerLinkPeer())
	if err != nil {
		return conn{}, false, errors.Join(err, descriptor.Close(other))
	}
	b.PeerLink, b.Worker = c.Conn, to
	lazymap.Put(&c.RelayLinks, to, b.Conn)
	b.begin()
	w.line.Say(&talk.RemoteLink{Part: to, Peer: c.l.Peer(), FD: other})
	return b, true, nil
}

// EndRelayLinks ends the connection's relay links when the connection ends, once they have passed
// on all that it has received. No relay link is made afterwards.
func (p *part) EndRelayLinks(of *nodes.Conn) {
	c := p.n.of(of)
	c.Relaying.Lock()
	relayLinks := c.RelayLinks
	c.RelayLinks = nil
	c.Relaying.Unlock()
	ctx, cancel := context.WithTimeout(p.n.Ctx, p.relayLimit)
	defer cancel()
	for _, b := range relayLinks {
		_ = b.Flush(ctx)
	}
	for _, b := range relayLinks {
		p.n.Link(b).Fail(nodes.ErrNoConnection)
	}
}

// addRemoteLink adds a remote link: this worker's end of the way to a peer that another worker is
// connected to.
func (p *part) addRemoteLink(m *talk.RemoteLink) {
	peer := *m.Peer
	c, err := p.n.newLocal(m.FD, peer)
	if err == nil {
		c.IsRemote = true
		var old *nodes.Conn
		if up := p.n.Conn(peer.Name); up != nil && p.n.Ties(up).IsRemote {
			old = up
			p.n.of(up).awaitLeft(p.relayLimit / 4) // if its end is on its way
		}
		if err = p.n.Enter(c.Conn, old); err != nil {
			err = errors.Join(err, c.l.Stream().Close())
			c.l.Drop()
		} else {
			c.begin()
		}
	}
	if err != nil {
		p.n.Log.Warn("a way to a peer was refused", "peer", peer.Name, "worker", m.Part, "error", err)
	}
	p.tellAwaited(peer.Name, nodes.ErrConnected)
}

// ClosePeerLink asks for the end of the connection of which this one is a remote link, and waits a
// little until that end has reached the remote link. If the remote link ended first, the other
// worker would take this worker for dead, and tell the peer that its processes were killed.
func (p *part) ClosePeerLink(c *nodes.Conn) {
	p.line.Say(&talk.CloseConn{Peer: c.Name()})
	ctx, cancel := context.WithTimeout(p.n.Ctx, p.relayLimit/4)
	defer cancel()
	l := p.n.Link(c)
	select {
	case l.Turn() <- struct{}{}:
		l.GiveTurn()
	case <-ctx.Done():
	}
}

// loseRelayLink deals with the end of a relay link, which ends with the connection or because the
// other worker has died. In the latter case the peer is told that the other worker's processes were
// killed.
func (c conn) loseRelayLink(b conn) {
	c.Relaying.Lock()
	if c.RelayLinks[b.Worker] == b.Conn {
		delete(c.RelayLinks, b.Worker)
	}
	lost := b.Relayed
	b.Relayed = inside.Bonds{}
	c.Relaying.Unlock()
	if c.Err() != nil {
		return
	}
	for l := range lost.Links {
		c.n.Tell(c.Conn, bonds.LinkExit(l.Local, l.Remote, killed()))
	}
	for ref, m := range lost.Monitors {
		c.n.Tell(c.Conn, bonds.Down(m.Pid, bonds.Watcher{Pid: m.Watcher, Name: m.Name}, ref, killed()))
	}
}

// killed is the reason why the processes of a worker that has died are no more.
func killed() ei.Raw {
	raw, _ := ei.AppendAtom(nil, "killed")
	return raw
}
