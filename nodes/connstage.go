package nodes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/nodes/metrics"
	"github.com/cnode-go/cnode/transport"
)

// A StagedConn is a connection that another process has frozen, ready to go on in this one. Nothing
// has been read from it or written to it. Start or Discard must be called.
type StagedConn struct {
	c      *Conn
	bonds  []states.Bonds
	export []byte // a part of the state
	over   atomic.Bool
}

// Stage makes a connection from the state and descriptor of another process. The node must have the
// name and the creation of the node that the connection comes from, and a different Config.Worker:
// if it is the same, a warning is logged. Stage owns fd only on success. It does not wait. The
// errors are
//
//	ErrState, ErrStateFormat        the state is malformed, or of another version
//	ErrOtherNode                    name or creation differ; ErrUnnamed if the node has no name yet
//	ErrConnected                    a connection to the peer is up here that was not made before this one
//	ErrNoPlugin, *NotMovableError   the plug-in is not in this Config, or has no Import here
//	any other                       of the plug-in's Import, or of the system: no descriptor left, say
func (n *Node) Stage(state []byte, fd int) (*StagedConn, error) {
	var s states.Conn
	if err := form.Read(states.KindConn, state, &s); err != nil {
		return nil, wrap("stage", "", err)
	}
	name, creation, err := n.identity()
	switch {
	case err != nil:
	case string(name) != s.Self || creation != s.SelfCreation:
		err = fmt.Errorf("%w: %s, creation %d, and this is %s, creation %d", ErrOtherNode, s.Self, s.SelfCreation, name, creation)
	default:
		if old := n.Conn(s.Peer.Name); old != nil && !old.isOutdated(s.Made) {
			err = ErrConnected
		}
	}
	if err != nil {
		return nil, wrap("stage connection to", s.Peer.Name, err)
	}
	if s.Giver != nil && s.Giver.Worker == n.cfg.Worker && s.Giver.Instance != n.instance {
		n.log.Warn("the connection comes from a node with the same Config.Worker: a pid of the one is taken for a process of the other",
			"peer", s.Peer.Name, "worker", n.cfg.Worker)
	}
	own, err := descriptor.Duplicate(fd) // staging may close its descriptor when it fails
	var c *Conn
	if err == nil {
		c, err = n.stage(&s, own)
	}
	if err != nil {
		return nil, wrap("stage connection to", s.Peer.Name, err)
	}
	_ = descriptor.Close(fd)
	return &StagedConn{c: c, bonds: s.Bonds, export: s.Export}, nil
}

// stage makes a frozen connection from a state and a descriptor, which it owns, on failure too.
func (n *Node) stage(s *states.Conn, fd int) (*Conn, error) {
	tr, err := n.carrier(s.TransportID)
	var stream *transport.Stream
	if err == nil {
		stream, err = tr.Import(fd, s.Export)
	}
	if err != nil {
		return nil, errors.Join(err, descriptor.Close(fd))
	}
	ctx, cancel := context.WithTimeout(n.ctx, n.freezeTime)
	defer cancel()
	c := newConn(n, tr, stream, s.Peer, link.Options{
		Self: s.Pid, Inner: s.Worker != 0 || s.Shadow, Record: metrics.Conn{Initiated: s.Initiated, Adopted: true},
	})
	c.made = s.Made
	c.ties.Restore(s, n.router.Take)
	for _, o := range s.Orphans {
		c.orphans.put(o.Ref, slices.Clone(o.Reason))
	}
	r := restorer{n: n, conn: c}
	for i := range s.Unread {
		r.peer, r.messagesLeft = s.Unread[i].Peer, len(s.Unread)-i // it is this connection's, though that is not up yet
		m := r.message(&s.Unread[i])
		c.unread.add(m)
	}
	if err = c.l.Stage(ctx, s); err != nil {
		if errors.Is(err, ErrState) {
			err = form.At("connection", err)
		}
		return nil, errors.Join(err, c.giveUp(false))
	}
	return c, nil
}

// Start lets the connection go on in this node. Links and monitors between processes of this node
// and the peer's are restored. The peer is told that processes which are not here do not exist,
// except that monitors of a registered name (gen_server:call makes one) go to the process that has
// the name here. A connection to the peer that is already up here ends with ErrSuperseded if it was
// made before this one, since the peer has given it up; otherwise the error is ErrConnected. Start
// waits for the end of that connection, and while the node is frozen, until ctx ends: then the
// error is ctx's. ErrClosed if the node is closed, ErrStarted after Start or Discard. A connection
// that could not be started is discarded. Keys that the plug-in has put into the state are cleared
// there.
func (s *StagedConn) Start(ctx context.Context) (*Conn, error) {
	if !s.over.CompareAndSwap(false, true) {
		return nil, wrap("start connection to", s.c.Name(), ErrStarted)
	}
	clear(s.export) // the connection has it
	c := s.c
	ctx, end := c.n.lifetime(ctx)
	defer end()
	if err := c.n.enter(ctx, c, 0, nil); err != nil {
		return nil, wrap("start connection to", c.Name(), errors.Join(err, c.giveUp(false)))
	}
	c.n.stats.connections.Add(1)
	c.tie(s.bonds)
	c.logAdopted()
	c.resume()
	c.n.attach(c)
	return c, nil
}

// resume lets a staged connection go on; on the upper level attach starts receiving.
func (c *Conn) resume() {
	c.reportUp()
	c.l.Unsuspend()
	c.l.ResumeReading()
}

func (c *Conn) logAdopted() {
	if c.kind() == inside.Direct {
		c.n.log.Info("connection adopted", "peer", c.Name(), "remote", addrText(c.l.Stream().RemoteAddr()))
	}
}

// Discard gives the connection up without a byte to the peer: it belongs to the other process. An
// error says that freeing the socket here has failed (*transport.OpError); the connection is given
// up all the same. After Start, and when called again, Discard does nothing.
func (s *StagedConn) Discard() error {
	if !s.over.CompareAndSwap(false, true) {
		return nil
	}
	return wrap("discard connection to", s.c.Name(), s.c.giveUp(false))
}

// Adopt takes a connection that Detach has given, in this process or another one: Stage and Start.
// From then on m owns nothing, and its Close does nothing: on failure the descriptor is closed. As
// for Stage, name and creation must be the same, and Config.Worker must differ. On the upper level
// the node must have been started, or nobody receives. The errors are those of Stage and
// StagedConn.Start, and ErrClosed for an m that has been adopted or closed before. Adopt waits as
// StagedConn.Start does, until ctx ends.
func (n *Node) Adopt(ctx context.Context, m *Moved) (*Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, wrap("adopt", "", errors.Join(err, m.Close()))
	}
	if m.FD < 0 {
		return nil, wrap("adopt", "", fmt.Errorf("%w: the descriptor has been adopted, or closed", ErrClosed))
	}
	s, err := n.Stage(m.State, m.FD)
	if err != nil {
		return nil, wrap("adopt", "", errors.Join(err, m.Close()))
	}
	clearKeys(m.State)
	m.FD = -1
	c, err := s.Start(ctx)
	return c, wrap("adopt", "", err)
}
