package nodes

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/link"
)

// attach reports a connection to mailboxes and, if the upper level has started, makes it receive
// from the connection.
func (n *Node) attach(c *Conn) {
	n.tellUp(c)
	if n.started.Load() {
		c.running.Do(func() { go c.run() }) // the end of the connection waits for run
	}
}

// above is a connection as its link tells the node of it.
type above Conn

// Up hears that the connection is up.
func (a *above) Up() { a.n.attach((*Conn)(a)) }

// Ends hears that it has ended, before what came over it has been dealt with.
func (a *above) Ends() { a.n.losing((*Conn)(a)) }

// Ended hears that all that came over it has been dealt with.
func (a *above) Ended() { a.n.lost((*Conn)(a)) }

// losing hears that a connection has ended, before what came over it has been dealt with.
func (n *Node) losing(c *Conn) {
	if c.kind() == inside.Direct { // only for these "node up" was logged
		n.log.Info("node down", "peer", c.Name(), "reason", c.Err())
		c.reportDown(c.Err())
	}
	if c.ties.IsRemote && c.l.Err() == ErrClosed && n.ctx.Err() == nil {
		n.router.ClosePeerLink(c)
	}
	n.procs.runs.lost(c)
}

// lost breaks the links and monitors of processes here with those at the other end of a connection
// that has ended, and lets the two nodes connect anew.
func (n *Node) lost(c *Conn) {
	n.procs.endings.Enter()
	defer n.procs.endings.Leave()
	if c.kind() != inside.RelayLink {
		for _, b := range n.procs.all() {
			b.breakWithNode(c)
		}
		n.watches.HearDown(reported{c})
	}
	n.router.Lose(c)
	n.router.EndRelayLinks(c)
	n.leave(c, false)
	c.ties.Claim.Over(!errors.Is(c.l.Err(), io.EOF))
}

// run receives until the connection ends, and gives each message to the process that it is for. One
// goroutine does this in the order of the wire, so that signals from one sender stay in order.
func (c *Conn) run() {
	select {
	case c.l.Turn() <- struct{}{}:
	case <-c.l.Done():
		return
	}
	c.read()
}

// read is run for whoever has the reader's turn.
func (c *Conn) read() {
	defer c.l.GiveTurn()
	for {
		switch m, err := c.next(); {
		case err == nil:
			c.n.route(c, m)
			c.l.Stream().Yield() // m may have gone to another goroutine
		case err == link.ErrStopped:
			// what is unread is another process's, or too late
			if c.l.LendTurn(); c.Err() != nil {
				return
			}
		case errors.Is(err, dist.ErrUnknownOp):
			c.l.Complain(faultOp, "control message skipped", err)
		default:
			return
		}
	}
}

// next returns what has been read and not dealt with (before Start, or when the reader stopped), or
// else the next message.
func (c *Conn) next() (*Message, error) {
	if c.unread.len() > 0 {
		if !c.l.Life().IsOpen() {
			return nil, link.ErrStopped
		}
		return c.unread.take(), nil
	}
	m := c.n.newMessage()
	return m, c.receiveAsItCame(context.Background(), m)
}

// route does what a message asks for.
func (n *Node) route(c *Conn, m *Message) {
	switch m.Op {
	// these make a link or a monitor, which lasts as long as the connection to the sender's node
	case dist.OpLink, dist.OpMonitorP, dist.OpSpawnRequest:
		if string(m.From.Node) != c.Name() {
			err := fmt.Errorf("%w: a process of %v", protocol.ErrShape, m.From.Node)
			c.l.Breach(&dist.ControlError{Op: m.Op, Offset: -1, Field: "From", Err: err})
			return
		}
	case dist.OpExit, dist.OpExit2, dist.OpUnlink, dist.OpUnlinkID, dist.OpUnlinkIDAck, dist.OpDemonitorP, dist.OpMonitorPExit:
		// these end a link, a monitor or a process: the peer may end those of its own node only
		if m.From != (ei.Pid{}) && string(m.From.Node) != c.Name() {
			n.stats.malformed.Add(1)
			c.l.Complain(faultFrom, "signal of another node's process skipped", fmt.Errorf("%v from %v", m.Op, m.From))
			m.Release()
			return
		}
	case dist.OpAltactSigSend: // see plainAltact
		c.l.Complain(faultOp, "control message skipped", fmt.Errorf("%v with flags %#x", m.Op, m.Flags))
		m.Release()
		return
	}
	if n.router.Divert(c, m) {
		return
	}
	if m.ToName == globalServer {
		n.maybeWithoutGlobal(c)
	}
	b, lost := n.procs.recipient(m), false // lost: nobody is to get it, so its atoms need no Resolve
	switch m.Op {
	case dist.OpSend, dist.OpRegSend, dist.OpAliasSend, dist.OpExit, dist.OpExit2, dist.OpMonitorPExit:
		lost = b == nil
	}
	if !lost && c.l.Resolve(m.in()) != nil {
		m.Release()
		return
	}
	if n.rights.rules != nil && !n.rights.admits(c, m) {
		return
	}
	switch op := m.Op; {
	case op == dist.OpSend || op == dist.OpRegSend || op == dist.OpAliasSend:
		if lost || !b.deliver(m, c.l.Done()) {
			n.stats.undeliverable.Add(1)
			n.log.Debug("nobody to receive", "peer", c.Name(), "to", link.Recipient(&m.Control))
			m.Release()
		}
	// a function keeps the group leader that its caller has named; NODE_LINK is unused
	case lost || op == dist.OpGroupLeader || op == dist.OpNodeLink:
		m.Release()
	case op == dist.OpSpawnRequest:
		n.spawn(c, m)
	case op == dist.OpSpawnReply || op == dist.OpMonitorPExit: // which a process may get, as a message
		n.takeSignal(m)
	default:
		n.takeSignal(m)
		m.Release()
	}
}

// globalServer is the process with which a peer's global synchronises.
const globalServer = ei.Atom("global_name_server")

// maybeWithoutGlobal logs, once, that a peer's global synchronises with this node, which does not
// take part: it would do so with a visible node only. Nobody else could tell why global:sync()
// hangs there.
func (n *Node) maybeWithoutGlobal(c *Conn) {
	if n.cfg.Visible && n.procs.named(globalServer) == nil && !n.life.Refuses() && n.withoutGlobal.CompareAndSwap(false, true) {
		n.log.Warn("the node is visible, and does not run nodes/global: global:sync() of its peers waits for it; "+
			"start that in Config.Setup, or stay hidden", "peer", c.Name())
	}
}
