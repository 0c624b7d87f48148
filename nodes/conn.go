package nodes

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/clock"
	"github.com/cnode-go/cnode/nodes/internal/inbox"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/peers"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/transport"
)

// A Conn is a connection to another node. Sending is safe for concurrent use, and what one
// goroutine sends arrives in the order in which it was sent. Receive is for one goroutine at a
// time.
type Conn struct {
	l    link.Conn
	n    *Node
	tr   transport.Transport
	made int64 // the moment at which the handshake was done; 0: unknown

	receiving atomic.Bool  // a Receive is in progress
	yields    atomic.Bool  // the caller of Receive has asked for Yield
	unread    backlog      // the reader's
	holds     *inbox.Holds // the reader's: for how long full mailboxes have kept it waiting; nil: none has
	running   sync.Once    // the upper level's receiving
	calls     atomic.Int32 // Calls in progress
	works     wait.Tally   // functions that run for the peer
	later     wait.Tally   // calls that have come over it and are left for later
	exits     wait.Tally   // processes here that have ended, and have yet to tell the peer
	orphans   orphans      // which the peer has still to make
	// answers to third nodes that the peer has asked for, and that wait: see strangers
	strangers atomic.Int64

	// Between the workers of one node; see relay.go, kind.
	// worker link, relay link: the worker at the other end; 0: another node is at the other end
	worker     int
	remoteLink bool  // another worker has the connection to the peer
	peerLink   *Conn // relay link: the connection to the peer that it belongs to
	relaying   sync.Mutex
	relayLinks map[int]*Conn // by worker
	relayed    relayedBonds  // relay link
	claim      claim         // on the peer; set before the connection is on the table

	before uint32 // the creation of the peer whose connection this one has displaced; 0: of none

	from atomic.Pointer[Listener] // whose Accept is to return it; nil: none is
}

// newConn makes a connection of what a handshake has agreed on, or of what another process had.
// Without a Self it gets one.
func newConn(n *Node, tr transport.Transport, s *transport.Stream, p dist.Peer, o link.Options) *Conn {
	c := &Conn{n: n, tr: tr, made: clock.Now(), claim: unclaimed{}}
	if o.Self == (ei.Pid{}) {
		o.Self, _ = n.NewPid() // an unnamed node has none
	}
	o.Record.Peer, o.Record.Since, o.Record.Temporary = p.Name, time.Now(), !o.Record.Initiated && peers.IsTemporary(&p)
	c.l.Init(&n.links, (*above)(c), s, p, o)
	return c
}

// isLong tells whether a node name is a long one (erl -name): its host has a dot, or is an IPv6
// address.
func isLong(name string) bool {
	_, host, _ := strings.Cut(name, "@")
	return strings.ContainsAny(host, ".:")
}

const longAndShort = "one node's name is long (-name), the other's short (-sname): " +
	"Erlang nodes of one kind do not connect to those of the other"

// begin starts what a connection does by itself: ticks, and receiving once the node's upper level
// has started.
func (c *Conn) begin() {
	if c.kind() == direct {
		peer := c.l.Peer()
		c.n.stats.connections.Add(1)
		c.n.log.Info("node up", "peer", peer.Name, "remote", addrText(c.l.Stream().RemoteAddr()), "initiated", c.l.Record().Initiated)
		// a C node, such as erl_call of OTP, connects to nodes of both kinds, and they to it
		if isLong(peer.Name) != isLong(peer.SelfName) && peer.Announced.Has(dist.FlagSpawn) {
			// peers may have names of their own each time: one line stands for all of them
			c.n.faults.each.Log(c.n.log, slog.LevelWarn, longAndShort, longAndShort, "peer", peer.Name)
		}
		c.reportUp()
	}
	c.l.Begin()
}

// Peer describes the other node and what was negotiated with it.
func (c *Conn) Peer() dist.Peer { return *c.l.Peer() }

// Name is the other node's name.
func (c *Conn) Name() string { return c.l.Peer().Name }

// Node is the node that the connection belongs to.
func (c *Conn) Node() *Node { return c.n }

// Stream is the transport's stream below; it must not be read, written or closed.
func (c *Conn) Stream() *transport.Stream { return c.l.Stream() }

// Self is the pid that the Conn sends as. The peer's answers to it come out of Receive; on a node
// that was started no process has this pid, and answers to it are lost. It is ei_self.
func (c *Conn) Self() ei.Pid { return c.l.Self() }

// Done is closed when the connection has ended. On a node that was not started the end is noticed
// by Receive, or by sending, which fails; without either it takes several times Config.TickInterval
// after the peer has closed.
func (c *Conn) Done() <-chan struct{} { return c.l.Done() }

// Err is why the connection ended, nil while it is up: ErrClosed after Close, io.EOF when the peer
// closed it, ErrMoved when it goes on in another process, else ErrTickTimeout, ErrSuperseded, or
// the fault. If the peer closes in the middle of a message it is io.ErrUnexpectedEOF; so it is over
// TLS if the peer closes without TLS's closing alert, as Erlang nodes do.
func (c *Conn) Err() error { return c.l.Err() }

// lost tells whether the connection has ended otherwise than by the Close of its node, or by moving
// to another process.
func (c *Conn) lost() bool {
	err := c.Err()
	return err != nil && err != ErrMoved && (err != ErrClosed || c.n.ctx.Err() == nil)
}

// Close ends the connection at once: the peer sees a nodedown. Data that waits to be sent is lost,
// and so is, if there is unread data of the peer's, what was sent last and has not arrived:
// Shutdown avoids both. Close waits while the connection is frozen (and returns ErrMoved if it goes
// on in another process), and until processes here have been told of its end. It is
// ei_close_connection; but in C nothing waits to be sent at that point, so where C calls that, call
// Shutdown.
func (c *Conn) Close() error { return wrap("close connection to", c.Name(), c.l.Close()) }

// The workers of a node are linked by connections of their own, over which they speak the
// distribution protocol like nodes do, so that order, back-pressure, links and monitors are those
// of any connection.
//
//	a worker link   joins two workers: what processes of the node say to each other
//	a relay link    joins a worker that has the connection to a peer, the peer link, with a
//	                worker that has not: what the peer has for processes of the latter, and
//	                what they say. The latter's end is its remote link: there it is the
//	                connection to that peer.
//
// A remote link ends with the connection, and a relay link with the other worker.

// A connKind is one of these, or direct.
type connKind int

const (
	direct connKind = iota // to a peer
	remoteLink
	workerLink
	relayLink
)

func (c *Conn) kind() connKind {
	switch {
	case c.peerLink != nil:
		return relayLink
	case c.worker != 0:
		return workerLink
	case c.remoteLink:
		return remoteLink
	}
	return direct
}

// toOthers is the connection, or nil if it is one to another worker of this node.
func (c *Conn) toOthers() *Conn {
	if c == nil || c.kind() == workerLink {
		return nil
	}
	return c
}

// extent is where the processes are that the connection is the way to.
func (c *Conn) extent() bonds.Scope { return bonds.Scope{Node: c.Name(), Worker: c.worker} }

// stopState tells whether the connection's reader is to stop, and returns a channel that is closed
// when that changes. The nil Conn, which stands for this node, never does.
func (c *Conn) stopState() (bool, <-chan struct{}) {
	if c == nil {
		return false, nil
	}
	phase, change := c.l.Life().State()
	return phase != life.Open, change
}

// inboxReader is the connection's reader, which has read a message, for the inbox that the message
// is for; the caller is that reader. That of the nil Conn stands for no reader.
func (c *Conn) inboxReader() (r inbox.Reader) {
	if c == nil {
		return r
	}
	if c.holds == nil {
		c.holds = new(inbox.Holds)
	}
	r.Stops, r.Change = c.stopState()
	r.Holds = c.holds
	return r
}

// receive reads frames until one is a message, or the reader is to stop: link.ErrStopped. The
// caller has the reader's turn.
func (c *Conn) receive(ctx context.Context, m *Message) error {
	if err := c.receiveAsItCame(ctx, m); err != nil {
		return err
	}
	return c.l.Resolve(m.in())
}

// receiveAsItCame is receive for a caller that resolves the message, or releases it, before the
// next one.
func (c *Conn) receiveAsItCame(ctx context.Context, m *Message) error {
	err := c.l.Receive(ctx, m.in())
	if err == nil {
		m.conn = c
	}
	return err
}

// park keeps a message that could not be passed on before the reader stops. It is the first that
// the reader deals with when it goes on, here or in another process.
func (c *Conn) park(m *Message) { c.unread.putBack(m) }

// maxUnread bounds the messages that a Call has read for other receivers and that nobody has
// received; their memory has the default limit of a mailbox.
const maxUnread = 10_000

// A backlog holds messages that were read but not dealt with: a Call read them for other receivers,
// or they were to be passed on when the reader stopped.
type backlog struct {
	messages []*Message // oldest first
	bytes    int
}

func (u *backlog) add(m *Message) {
	u.messages = append(u.messages, m)
	u.bytes += cost(m)
}

// putBack makes m the first message again.
func (u *backlog) putBack(m *Message) {
	u.messages = slices.Insert(u.messages, 0, m)
	u.bytes += cost(m)
}

func (u *backlog) take() *Message {
	m := u.messages[0]
	u.messages[0], u.messages = nil, u.messages[1:]
	u.bytes -= cost(m)
	return m
}

func (u *backlog) len() int { return len(u.messages) }

func (u *backlog) isFull() bool {
	return len(u.messages) >= maxUnread || u.bytes >= DefaultMailboxLimit
}
