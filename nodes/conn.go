package nodes

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/atoms"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/clock"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/sequences"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/nodes/metrics"
	"github.com/cnode-go/cnode/transport"
)

// A Conn is a connection to another node. Sending is safe for concurrent use, and what one
// goroutine sends arrives in the order in which it was sent. Receive is for one goroutine at a
// time.
type Conn struct {
	env       *env
	n         *Node // for what stands above connections
	tr        transport.Transport
	s         *transport.Stream
	q         queue.Queue
	out       *sequences.Sender // before q, for what leaves in fragments
	atoms     *atoms.Sender     // before q, for what leaves with references to atoms
	peer      dist.Peer
	self      ei.Pid // the sender of what is sent through the Conn itself
	initiated bool
	made      int64 // the moment at which the handshake was done; 0: unknown
	record    metrics.Conn

	// received counts bytes of frames since the connection came up; the tick timer looks whether it
	// grows.
	received  atomic.Int64
	messages  atomic.Int64 // received
	sentCount atomic.Int64 // messages sent
	unpaired  atomic.Bool  // something was sent since the last message came
	reading   atomic.Bool  // a goroutine waits for a frame
	receiving atomic.Bool  // a Receive is in progress
	// answers to third nodes that the peer has asked for, and that wait: see strangers
	strangers atomic.Int64
	rests     atomic.Pointer[[2]Message] // see rest; nil: none is needed yet
	leaves    atomic.Bool                // the sending direction was ended, after everything had been sent
	parted    atomic.Bool                // then the peer has ended its own
	calls     atomic.Int32               // Calls in progress
	faults    atomic.Uint32              // the kinds of complaint that were logged already: see complain
	works     wait.Tally                 // functions that run for the peer
	exits     wait.Tally                 // processes here that have ended, and have yet to tell the peer

	rd      reader
	running sync.Once // the upper level's receiving
	ticks   ticker

	// of a connection that is up, changed with mu held where it becomes Frozen or Staged, or ceases
	// to be: see mark
	life life.Life

	// Between the workers of one node; see relay.go, kind.
	// worker link, relay link: the worker at the other end; 0: another node is at the other end
	worker     int
	remoteLink bool  // another worker has the connection to the peer
	peerLink   *Conn // relay link: the connection to the peer that it belongs to
	relaying   sync.Mutex
	relayLinks map[int]*Conn // by worker
	relayed    relayedBonds  // relay link
	claim      claim         // on the peer; set before the connection is on the table

	from atomic.Pointer[Listener] // whose Accept is to return it; nil: none is

	mu         sync.Mutex
	pendingErr error // the error that is to end it once it is neither frozen nor staged
	err        error
	done       chan struct{} // closed first when the connection ends
	left       chan struct{} // closed when all is cleaned up
}

func newConn(n *Node, tr transport.Transport, s *transport.Stream, p dist.Peer, initiated bool) *Conn {
	c := &Conn{env: &n.env, n: n, tr: tr, s: s, peer: p, initiated: initiated, made: clock.Now(), claim: unclaimed{}}
	c.record = metrics.Conn{Peer: p.Name, Initiated: initiated, Temporary: !initiated && isTemporary(&p), Since: time.Now()}
	c.done, c.left = make(chan struct{}), make(chan struct{})
	c.q = s.Posts(&queue.Options{
		Limit: n.cfg.QueueLimit, UrgentLimit: max(signalLimit, 4*n.cfg.QueueLimit), LazyLimit: signalLimit, Full: c.tellFull,
		Frames: true,
	})
	c.atoms = n.packs.NewSender()
	c.out = sequences.New(c.q, signalLimit, n.goroutines.Run)
	c.rd.init(c)
	if self, err := n.NewPid(); err == nil {
		c.self = self
	}
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
	c.env.stats.connections.Add(1)
	c.env.log.Info("node up", "peer", c.peer.Name, "remote", addrText(c.s.RemoteAddr()), "initiated", c.initiated)
	// a C node, such as erl_call of OTP, connects to nodes of both kinds, and they to it
	if isLong(c.peer.Name) != isLong(c.peer.SelfName) && c.peer.Announced.Has(dist.FlagSpawn) {
		// peers may have names of their own each time: one line stands for all of them
		c.n.faults.Log(c.env.log, slog.LevelWarn, longAndShort, longAndShort, "peer", c.peer.Name)
	}
	c.tellUp()
	c.ticks.begin(c)
	c.env.on.up(c)
}

// Peer describes the other node and what was negotiated with it.
func (c *Conn) Peer() dist.Peer { return c.peer }

// Name is the other node's name.
func (c *Conn) Name() string { return c.peer.Name }

// Node is the node that the connection belongs to.
func (c *Conn) Node() *Node { return c.n }

// Stream is the transport's stream below; it must not be read, written or closed.
func (c *Conn) Stream() *transport.Stream { return c.s }

// Self is the pid that the Conn sends as. The peer's answers to it come out of Receive; on a node
// that was started no process has this pid, and answers to it are lost. It is ei_self.
func (c *Conn) Self() ei.Pid { return c.self }

// Done is closed when the connection has ended. On a node that was not started the end is noticed
// by Receive, or by sending, which fails; without either it takes several times Config.TickInterval
// after the peer has closed.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err is why the connection ended, nil while it is up: ErrClosed after Close, io.EOF when the peer
// closed it, ErrMoved when it goes on in another process, else ErrTickTimeout, ErrSuperseded, or
// the fault. If the peer closes in the middle of a message it is io.ErrUnexpectedEOF; so it is over
// TLS if the peer closes without TLS's closing alert, as Erlang nodes do.
func (c *Conn) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// lost tells whether the connection has ended otherwise than by the Close of its node, or by moving
// to another process.
func (c *Conn) lost() bool {
	err := c.Err()
	return err != nil && err != ErrMoved && (err != ErrClosed || c.env.ctx.Err() == nil)
}

// Close ends the connection at once: the peer sees a nodedown. Data that waits to be sent is lost,
// and so is, if there is unread data of the peer's, what was sent last and has not arrived:
// Shutdown avoids both. Close waits while the connection is frozen (and returns ErrMoved if it goes
// on in another process), and until processes here have been told of its end. It is
// ei_close_connection; but in C nothing waits to be sent at that point, so where C calls that, call
// Shutdown.
func (c *Conn) Close() error {
	was := c.Err()
	if c.mark(ErrClosed, nil) {
		c.end()
	}
	<-c.left
	err := c.s.Close()
	if was == nil && c.Err() == ErrMoved {
		err = ErrMoved
	}
	return wrap("close connection to", c.peer.Name, err)
}

// fail ends the connection for a reason. It does not wait.
func (c *Conn) fail(err error) {
	if count := &c.env.goroutines; c.mark(err, count) {
		go func() { defer count.Leave(); c.end() }()
	}
}

// failed is fail, and returns the reason for which the connection has ended; or err, if it is
// frozen and has not ended yet.
func (c *Conn) failed(err error) error {
	c.fail(err)
	if ended := c.Err(); ended != nil {
		return ended
	}
	return err
}

// mark notes err as the reason for which the connection ends. The first caller gets true and must
// call end; it is entered in count, whose waiters (Node.Close, say) wait until it calls
// count.Leave. A nil count counts nothing. A frozen connection keeps err until it is thawed.
func (c *Conn) mark(err error, count *wait.Tally) (first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return false
	case c.isSuspended():
		if c.pendingErr == nil {
			c.pendingErr = err
		}
		return false
	}
	c.err = err
	if count != nil {
		count.Enter()
	}
	close(c.done)
	c.endPassing()
	c.ticks.end()
	return true
}

// isSuspended tells whether the connection is frozen or staged.
func (c *Conn) isSuspended() bool { p := c.life.Phase(); return p == life.Staged || p == life.Frozen }

// end closes the socket and cleans up. Messages that came before the end still count, so it waits
// for the reader. Only after the cleanup may the two nodes connect anew, so that links and monitors
// of their next connection are not broken along with this one's.
func (c *Conn) end() {
	if c.kind() == direct { // only for these "node up" was logged
		c.env.log.Info("node down", "peer", c.peer.Name, "reason", c.err)
		c.tellDown(c.err)
	}
	c.env.on.ends(c)
	err := c.s.Close()
	if err != nil {
		c.env.log.Error("closing the connection", "peer", c.peer.Name, "error", err)
	}
	discard := func() {
		c.rd.busy <- struct{}{}
		c.rd.discard(c)
		<-c.rd.busy
	}
	if errors.Is(err, transport.ErrUnresponsive) { // the reader may be in a callback for ever
		go discard()
	} else {
		discard()
	}
	c.out.End(c.err, false)
	c.env.on.ended(c)
	close(c.left)
}

// connEvents are what a connection tells its node, on the goroutine on which it happens.
type connEvents struct {
	// up: it is up; ends: it has ended; ended: all that came over it has been dealt with
	up, ends, ended func(c *Conn)
	// message: a message has come over it
	message func(c *Conn, m *Message)
	// isLocal tells whether a message is for a process of the node, isAnswer whether it answers a
	// call
	isLocal, isAnswer func(m *Message) bool
}

// frameFlags are the flags for the form of frames. Workers pass whole frames on to each other,
// without headers, whatever the peer takes.
func (c *Conn) frameFlags() dist.Flags {
	if c.kind() == direct {
		return c.peer.Flags
	}
	return c.peer.Flags &^ (dist.FlagDistHdrAtomCache | dist.FlagFragments)
}

func (c *Conn) hasHeaders() bool { return c.frameFlags().HasHeaders() }

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
func (c *Conn) extent() bonds.Scope { return bonds.Scope{Node: c.peer.Name, Worker: c.worker} }
