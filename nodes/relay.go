package nodes

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// The workers of a node are linked by connections of their own, over which they speak the distribution protocol like nodes do, so that
// order, back-pressure, links and monitors are those of any connection.
//
//	a sibling   joins two workers: what processes of the node say to each other
//	a branch    joins a worker that has the connection to a peer, the trunk, with one that has not: what comes for processes of the
//	            other one, and what they say. The other worker's end is its shadow of the connection: there it is the connection
//	            to that peer.
//
// A shadow ends with the connection, and a branch with the other worker.

// A connKind is one of these, or a connection that is just that.
type connKind int

const (
	direct connKind = iota // to a peer
	shadow
	sibling
	branch
)

func (c *Conn) kind() connKind {
	switch {
	case c.trunk != nil:
		return branch
	case c.worker != 0:
		return sibling
	case c.shadow:
		return shadow
	}
	return direct
}

// toOthers is the connection, or nil where it is one of this node's own, to another worker.
func (c *Conn) toOthers() *Conn {
	if c == nil || c.kind() == sibling {
		return nil
	}
	return c
}

// divert passes a message on that is for a process of another worker; false if it is for this one.
func (p *part) divert(c *Conn, m *Message) bool {
	switch c.kind() {
	case branch: // from another worker, for the peer
		err := c.trunk.carry(m)
		if err == errHalted {
			c.park(m)
			return true
		}
		if err != nil {
			p.n.log.Debug("not relayed", "peer", c.trunk.peer.Name, "error", err)
		}
		m.Release()
		return true
	case shadow, sibling: // from another worker, which has found the process here: it is not sought elsewhere again, even if its name has moved on
		return false
	}
	to, err := p.onward(c, m)
	for err == nil && to != nil && !to.note(m, true) { // it has ended just now
		to, err = p.onward(c, m)
	}
	if to == nil && err == nil {
		return false
	}
	if err == nil {
		err = to.carry(m)
	}
	if err == errHalted {
		c.park(m)
		return true
	}
	if err != nil {
		p.n.stats.undeliverable.Add(1)
		p.n.log.Debug("not relayed", "peer", c.peer.Name, "error", err)
	}
	m.Release()
	return true
}

// onward is the branch of a peer's connection that a message is to take; nil for one that is for this worker, or for one that is no more.
func (p *part) onward(c *Conn, m *Message) (*Conn, error) {
	at := 0
	switch m.Op {
	case dist.OpSpawnRequest, dist.OpGroupLeader, dist.OpNodeLink:
		return nil, nil
	case dist.OpAliasSend:
		at = p.holder(m.Ref)
	case dist.OpDemonitorP:
		if b := c.branchOfMonitor(m.Ref); b != nil { // whatever has become of the name
			return b, nil
		}
		fallthrough
	default:
		var err error
		if at, err = p.elsewhere(p.n.ctx, m.To, m.ToName, c); err != nil {
			return nil, err
		}
	}
	if at == 0 {
		return nil, nil
	}
	if lives, err := p.lives(c.pass(), at); !lives { // whatever has become of the way between the two workers
		return nil, c.passed(err)
	}
	b, _, err := c.branch(at, true)
	if err != nil { // what is not passed on is not to pass for denied: the peer sees that the connection ends, and comes again
		p.n.log.Warn("no way to another worker", "peer", c.peer.Name, "error", err)
		return nil, c.failed(err)
	}
	return b, nil
}

// A passing is the wait of a connection's reader for those to whom it passes messages on. It ends when the reader is to halt, or with the
// connection.
type passing struct {
	ctx context.Context
	end context.CancelFunc
}

// pass is the passing in progress, or a new one. It is the reader's.
func (c *Conn) pass() context.Context {
	p := c.rd.passing.Load()
	if p == nil || p.ctx.Err() != nil {
		p = new(passing)
		p.ctx, p.end = context.WithCancel(c.n.ctx)
		c.rd.passing.Store(p)
		if c.rd.halt.isShut() || c.Err() != nil { // who ends it may have looked before
			p.end()
		}
	}
	return p.ctx
}

// passed gives the reader what a wait with pass has ended with: errHalted, where it is to halt.
func (c *Conn) passed(err error) error {
	if errors.Is(err, context.Canceled) && c.Err() == nil && c.n.ctx.Err() == nil {
		return errHalted
	}
	return err
}

func (c *Conn) endPassing() {
	if p := c.rd.passing.Load(); p != nil {
		p.end()
	}
}

// park keeps a message that could not be passed on before the reader halts. It is the first that the reader deals with when it goes on,
// here or in another process.
func (c *Conn) park(m *Message) { c.rd.unread.putBack(m) }

// carry sends a message on as it came, in the form that the other side takes. errHalted: it is not out, and the reader of the message's
// connection is to halt.
func (c *Conn) carry(m *Message) error {
	ctl := m.Control
	if ctl.Op == dist.OpSend && ctl.From != (ei.Pid{}) && c.peer.Flags.Has(dist.FlagSendSender) {
		ctl.Op = dist.OpSendSender
	}
	with, payload, ok := c.agreed(&ctl)
	if !ok {
		return nil
	}
	if payload == nil {
		payload = m.Payload
	}
	t := m.viaBranch() // of the peer's connection
	if t != nil && m.Op == dist.OpLink {
		t.note(m, false)
	}
	err := c.SendControl(m.conn.pass(), with, payload)
	if t != nil && m.Op != dist.OpLink && err == nil { // what ends something: as long as it is not out the end of the branch has to tell
		t.note(m, false)
	}
	return m.conn.passed(err)
}

// viaBranch is the branch that a message came through; nil if it came otherwise.
func (m *Message) viaBranch() *Conn {
	if m.conn != nil && m.conn.kind() == branch {
		return m.conn
	}
	return nil
}

// A unixOnce is the transport of a node's UNIX connections to other processes of its own, and through a SocketDir, made when it is needed:
// one for all, so that its bounds are.
type unixOnce struct {
	once sync.Once
	tr   transport.Transport
}

func (u *unixOnce) get() transport.Transport {
	u.once.Do(func() { u.tr = transport.Unix() })
	return u.tr
}

// newLocal makes a connection of a socket between two workers; 0 is one that was lost on its way.
func (n *Node) newLocal(fd int, peer dist.Peer) (*Conn, error) {
	if fd == 0 {
		return nil, errLost
	}
	tr := n.unix.get()
	s, err := tr.Import(fd, nil)
	if err != nil {
		return nil, errors.Join(err, closeDescriptor(fd))
	}
	return newConn(n, tr, s, peer, true), nil
}

// beginLocal is begin for a connection that no other node sees.
func (c *Conn) beginLocal() {
	c.ticks.begin(c)
	c.n.attach(c)
}

// branch is the way from a connection to another worker, made now if need be (fresh). The front passes the other end on. In a node that is
// frozen only the connection's reader makes one, for a message that it has in hand: it halts before the ways are counted.
func (c *Conn) branch(to int, reading bool) (b *Conn, fresh bool, err error) {
	c.branching.Lock()
	defer c.branching.Unlock()
	if b := c.branches[to]; b != nil && b.Err() == nil {
		return b, false, nil
	}
	if err := c.Err(); err != nil {
		return nil, false, err
	}
	if !reading && c.n.frozen.isShut() {
		return nil, false, errStill
	}
	one, other, err := streamPair()
	if err != nil {
		return nil, false, err
	}
	p := c.n.part
	b, err = c.n.newLocal(one, p.siblingPeer())
	if err != nil {
		return nil, false, errors.Join(err, closeDescriptor(other))
	}
	b.trunk, b.worker = c, to
	if c.branches == nil {
		c.branches = map[int]*Conn{}
	}
	c.branches[to] = b
	peer := c.peer
	b.beginLocal()
	p.line.say(word{Topic: sayShadow, Part: to, Peer: &peer, fd: other})
	return b, true, nil
}

// branchTime is how long the end of a connection may take on its way to another worker: what has come before it counts there, too.
const branchTime = time.Second

// endBranches ends the ways to other workers with the connection, once they have all that it has brought. No new one comes after it.
func (c *Conn) endBranches() {
	c.branching.Lock()
	branches := c.branches
	c.branches = nil
	c.branching.Unlock()
	ctx, cancel := context.WithTimeout(c.n.ctx, branchTime)
	defer cancel()
	for _, b := range branches {
		_ = b.Flush(ctx)
	}
	for _, b := range branches {
		b.fail(ErrNoConnection)
	}
}

// addShadow makes another worker's connection to a peer one of this worker's.
func (p *part) addShadow(w word) {
	peer := *w.Peer
	c, err := p.n.newLocal(w.fd, peer)
	if err == nil {
		c.shadow = true
		var old *Conn
		if up := p.n.Conn(peer.Name); up != nil && up.shadow {
			old = up
			old.awaitEnd(branchTime / 4) // if it is on its way
		}
		if err = p.n.enter(p.n.ctx, c, old); err != nil {
			err = errors.Join(err, c.s.Close())
			c.q.End(ErrClosed)
		} else {
			c.beginLocal()
		}
	}
	if err != nil {
		p.n.log.Warn("a way to a peer was refused", "peer", peer.Name, "worker", w.Part, "error", err)
	}
	p.tellAwaited(peer.Name, ErrConnected)
}

// closeTrunk has the connection closed of which this one is a shadow, and waits a little until that has ended this one. If the shadow ended
// first, the other worker would take this one for dead, and tell the peer that its processes were killed.
func (c *Conn) closeTrunk() {
	c.n.part.line.say(word{Topic: sayDrop, Name: c.peer.Name})
	ctx, cancel := context.WithTimeout(c.n.ctx, branchTime/4)
	defer cancel()
	for {
		if c.rd.handling.Load() && c.dropRest(ctx) {
			return
		}
		select {
		case c.rd.busy <- struct{}{}:
			<-c.rd.busy
			return
		case <-c.rd.entered:
		case <-ctx.Done():
			return
		}
	}
}

// dropRest reads in place of a reader that is in a Handler, which may be waiting for the end of the connection, and gives what comes to
// nobody. It is false when the reader reads again.
func (c *Conn) dropRest(ctx context.Context) bool {
	r := reader{max: c.rd.max, m: new(Message)}
	for {
		r.stage = frameStart
		if _, err := c.s.ReadPDU(ctx, r.nextVector); err != nil {
			return !errors.Is(err, transport.ErrBusy)
		}
	}
}

// awaitEnd waits until all has been read of a connection that ends, for some time.
func (c *Conn) awaitEnd(limit time.Duration) {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-c.left:
	case <-t.C:
	}
}

// addSibling takes the way to another worker. As long as what the one before has carried is not broken there is no other one: this one
// waits for that, with what the other worker has sent.
func (p *part) addSibling(w word) {
	p.mu.Lock()
	p.crew[w.Part] = true
	if isNewer(w.Part, p.latest) {
		p.latest = w.Part
	}
	closed := p.closed
	if !closed {
		p.coming[w.Part] = append(p.coming[w.Part], w)
	}
	p.change.ring()
	p.mu.Unlock()
	if closed {
		w.drop()
		return
	}
	p.advance(w.Part)
}

// advance has the next way to a worker taken: now, or once the one before it has ended. That one's other end is closed: what is left in it
// is to be read, and then it ends by itself; if that takes long it is ended.
func (p *part) advance(id int) {
	p.mu.Lock()
	before := p.siblings[id]
	p.mu.Unlock()
	if before == nil {
		p.nextSibling(id, nil)
		return
	}
	p.n.background(func() {
		before.awaitEnd(branchTime / 4)
		if p.n.frozen.pass(p.n.ctx) != nil { // it goes on in another process, as does what is coming
			return
		}
		p.mu.Lock()
		outdated := p.siblings[id] == before && len(p.coming[id]) > 0
		p.mu.Unlock()
		if outdated {
			before.fail(ErrSuperseded)
		}
	})
}

// loseSibling forgets the way to a worker that has ended; or that has not, as when it stood still for too long.
func (p *part) loseSibling(c *Conn) { p.nextSibling(c.worker, c) }

// nextSibling puts the next way to a worker in the place of one that has ended; nil, where there was none. The two change in one step: who
// counts the ways finds either. Where none is coming, the front is asked for one.
func (p *part) nextSibling(id int, before *Conn) {
	p.mu.Lock()
	for p.siblings[id] == before && len(p.coming[id]) > 0 {
		w := &p.coming[id][0]
		fd := w.fd
		w.fd = 0
		p.mu.Unlock()
		c, err := p.n.newLocal(fd, p.siblingPeer())
		p.mu.Lock()
		closed := p.closed
		if !closed {
			if p.coming[id] = p.coming[id][1:]; len(p.coming[id]) == 0 {
				delete(p.coming, id)
			}
		}
		if err == nil && !closed {
			c.worker = id
			p.siblings[id] = c
		}
		more := len(p.coming[id]) > 0
		p.change.ring()
		p.mu.Unlock()
		switch {
		case err != nil:
			p.n.log.Error("no way to another worker", "worker", id, "error", err)
		case closed:
			_ = c.s.Close()
			c.q.End(ErrClosed)
		default:
			c.beginLocal()
			if more {
				p.advance(id)
			}
			return
		}
		p.mu.Lock()
	}
	lost := p.siblings[id] == before
	if lost {
		delete(p.siblings, id)
		delete(p.coming, id)
	}
	p.mu.Unlock()
	if lost {
		p.seekSibling(id)
	}
}

// awaitsNext lists the workers to whom a way is coming.
func (p *part) awaitsNext() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.coming))
}

// dropComing gives up what has not been taken; p.mu is held.
func (p *part) dropComing() {
	for _, list := range p.coming {
		for i := range list {
			list[i].drop()
		}
	}
	clear(p.coming)
}

// noteEnded notes that another worker has ended.
func (p *part) noteEnded(id int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.crew, id)
	p.change.ring()
}

// siblingPause is how long a worker waits before it asks for another way to a worker. If that one has ended, the front knows by then.
const siblingPause = 200 * time.Millisecond

// seekSibling has the front asked for another way to a worker. Of the two who have lost it one asks.
func (p *part) seekSibling(id int) {
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
		t := time.NewTimer(siblingPause)
		defer t.Stop()
		select {
		case <-t.C:
		case <-p.n.ctx.Done():
			return
		}
		if p.n.frozen.pass(p.n.ctx) != nil {
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.seeking, id)
		p.line.say(word{Topic: saySibling, Part: id})
	})
}

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
		if n.frozen.pass(n.ctx) != nil {
			return
		}
		n.mu.Lock()
		known := n.peers[peer]
		if known == nil {
			n.mu.Unlock()
			break
		}
		c, change := known.conn, known.change.next()
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
	p.endMeet(m, func() { p.line.say(word{Topic: sayNone, Name: peer, Part: to}) })
}

// close ends the ways to the other workers.
func (p *part) close() error {
	p.mu.Lock()
	p.closed = true
	p.dropComing()
	var siblings []*Conn
	for _, c := range p.siblings {
		siblings = append(siblings, c)
	}
	p.mu.Unlock()
	for _, c := range siblings {
		_ = c.Close()
	}
	return nil
}
