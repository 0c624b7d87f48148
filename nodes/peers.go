package nodes

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"

	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/peers"
)

// An attempt is a handshake in progress.
type attempt struct {
	peers.Attempt
	claim inside.Claim // on the peer
	from  *Listener    // whose Accept is to return the connection; nil: none is
	// step is where an attempt of our own stands, a string
	step atomic.Value
}

// newAttempt is an attempt within ctx, and the context that its Cancel ends.
func newAttempt(ctx context.Context) (context.Context, *attempt) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &attempt{Attempt: peers.Attempt{Cancel: cancel}, claim: inside.Unclaimed{}}
}

// claim asks for the right to connect to a peer, for an attempt.
func (h *handshakes) claim(ctx context.Context, a *attempt, peer string) error {
	c, err := h.n.router.Claim(ctx, peer)
	if err == nil {
		a.claim = c
	}
	return err
}

// tabled is a connection as the table of peers sees it.
type tabled struct{ *Conn }

func (c tabled) Left() <-chan struct{}      { return c.l.Left() }
func (c tabled) IsOutdated(made int64) bool { return c.isOutdated(made) }
func (c tabled) OnEntered()                 { c.ties.Claim.Up(c.Name()) }

// fromTable is a connection of the table; nil if there is none.
func fromTable(c peers.Conn) *Conn {
	t, _ := c.(tabled)
	return t.Conn
}

// entry is the connection's on the table of peers; order is that of the peer's attempt.
func (c *Conn) entry(order uint64) peers.Entry {
	e := peers.Entry{Conn: tabled{c}, Peer: c.Name(), Order: order, Initiated: c.l.Record().Initiated, Remote: c.ties.IsRemote}
	if c.l.Record().Adopted {
		e.Moved = c.made
	}
	return e
}

// isOutdated tells whether a connection of another process, made at the moment made, takes this
// one's place. Two nodes have one connection to each other, so the peer has lost the earlier of
// two, though this process may not know yet. A connection that stands still is left alone: whoever
// has frozen it may be about to move it.
func (c *Conn) isOutdated(made int64) bool {
	return !c.l.Life().Phase().IsStill() && c.made != 0 && c.made < made
}

// errStill is the error of what cannot begin because the node is frozen.
var errStill = errors.New("the node is frozen")

// enter puts a connection whose handshake is done on the table, and ends the one whose place it
// takes. The links and monitors of that one break before the new one can be used. ctx is that of
// the attempt, whose order and replaces it gets.
func (n *Node) enter(ctx context.Context, c *Conn, order uint64, replaces peers.Conn) error {
	e := c.entry(order)
	open := func() error {
		switch {
		case !n.life.IsOpen():
			return errStill
		case ctx.Err() != nil: // superseded, perhaps: the peer has been told so
			return context.Cause(ctx)
		}
		return n.Err()
	}
	for {
		if n.life.Pass(ctx) != nil {
			return context.Cause(ctx)
		}
		old, err := n.peers.Enter(e, replaces, open)
		switch {
		case err == errStill: // just now
			continue
		case old == nil:
			return err
		}
		c.displaces(fromTable(old))
		select {
		case <-old.Left():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// twoOfOneName is the text about a name that two programs have.
const twoOfOneName = "two programs have one name, and take the connection from each other"

// displaces ends the connection in whose place this one comes. Creations tell programs apart, also
// when a peer's program starts again; none that has ended comes back.
func (c *Conn) displaces(old *Conn) {
	c.before = old.l.Peer().Creation
	if now := c.l.Peer().Creation; old.Err() == nil && now == old.before && now != c.before && now != 0 {
		c.n.sharesName(c.Name(), c.Name())
	}
	old.l.Fail(ErrSuperseded)
}

// sharesName logs that two programs have a name; peer is the node at the other end.
func (n *Node) sharesName(name, peer string) {
	n.faults.each.Log(n.log, slog.LevelWarn, twoOfOneName+peer, twoOfOneName, "name", name, "peer", peer)
}

// leave takes a connection off the table; see peers.Table.Leave.
func (n *Node) leave(c *Conn, away bool) {
	why := peers.Ended
	switch err := c.Err(); {
	case away:
		why = peers.Away
	case c.l.Record().Initiated && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		why = peers.Closed
	}
	n.peers.Leave(c.Name(), tabled{c}, why)
}

// Conn is the connection to a node; nil if there is none that is up.
func (n *Node) Conn(name string) *Conn { return fromTable(n.peers.Conn(name)) }

// Peers lists the names of the nodes that are connected.
func (n *Node) Peers() []string {
	var names []string
	for _, c := range n.connections() {
		names = append(names, c.Name())
	}
	return names
}

func (n *Node) connections() []*Conn {
	all := n.peers.Conns()
	conns := make([]*Conn, len(all))
	for i, c := range all {
		conns[i] = fromTable(c)
	}
	return conns
}
