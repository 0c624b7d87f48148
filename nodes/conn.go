package nodes

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/transport"
)

// A Conn is a connection to another node. Sending is safe for concurrent use, and what one goroutine sends arrives in that order. Receive
// is for one goroutine at a time.
type Conn struct {
	n         *Node
	tr        transport.Transport
	s         *transport.Stream
	q         *transport.Queue
	peer      dist.Peer
	self      ei.Pid // the sender of what is sent through the Conn itself
	initiated bool
	arrival   uint64 // the order of the attempt of the peer's that has made it; 0: none has
	made      int64  // moment, at which the handshake was done; 0: unknown
	adopted   bool   // it was made in another process

	// received counts bytes of frames since the connection came up; the tick timer looks whether it moves.
	received  atomic.Int64
	messages  atomic.Int64  // received
	sentCount atomic.Int64  // messages sent
	unpaired  atomic.Bool   // something was sent since the last message came
	reading   atomic.Bool   // somebody waits for a frame
	receiving atomic.Bool   // a Receive is in progress
	leaves    atomic.Bool   // the sending direction has ended with all that was to be said
	calls     atomic.Int32  // Calls in progress
	faults    atomic.Uint32 // the kinds of faults of the peer's that the log has told of: see complain
	works     wait.Tally    // functions that run for the peer
	exits     wait.Tally    // of processes here, whose signals to the peer are neither out nor in partings
	partings  partings      // signals of others that wait for their turn

	rd      reader
	running sync.Once // the upper level's receiving
	ticks   ticker

	frozen wait.Gate // shut: a change that needs a signal waits; see connrest.go

	// Between the workers of one node; see relay.go, kind.
	worker    int   // sibling, branch: the worker at the other end; 0: another node is
	shadow    bool  // another worker has the connection to the peer
	trunk     *Conn // branch: the connection that it leads to
	branching sync.Mutex
	branches  map[int]*Conn // by worker
	crossed   crossings     // branch
	stake     *stake        // what the front counts the connection by; set before it is on the table

	mu      sync.Mutex
	still   bool  // frozen or staged: what would end it waits until it goes on
	ailment error // what is to end it then
	err     error
	done    chan struct{} // closed first when the connection ends
	left    chan struct{} // closed when all is cleaned up, but for Handlers that hear of it
}

func newConn(n *Node, tr transport.Transport, s *transport.Stream, p dist.Peer, initiated bool) *Conn {
	c := &Conn{n: n, tr: tr, s: s, peer: p, initiated: initiated, made: moment()}
	c.done, c.left = make(chan struct{}), make(chan struct{})
	c.works, c.exits = wait.NewTally(), wait.NewTally()
	c.q = transport.NewQueue(s, &transport.QueueOptions{Limit: n.cfg.QueueLimit})
	c.rd.init(c)
	if self, err := n.NewPid(); err == nil {
		c.self = self
	}
	return c
}

// isLong tells whether a node name is of erl -name: its host has a dot, or is an IPv6 address.
func isLong(name string) bool {
	_, host, _ := strings.Cut(name, "@")
	return strings.ContainsAny(host, ".:")
}

// begin starts what a connection does by itself: ticks, and receiving once the node's upper level has started.
func (c *Conn) begin() {
	c.n.stats.connections.Add(1)
	c.n.log.Info("node up", "peer", c.peer.Name, "remote", addrText(c.s.RemoteAddr()), "initiated", c.initiated)
	if isLong(c.peer.Name) != isLong(c.n.Name()) {
		c.n.log.Warn("one node's name is long (-name), the other's short (-sname): Erlang nodes of one kind do not connect to those of the other",
			"name", c.n.Name(), "peer", c.peer.Name)
	}
	c.ticks.begin(c)
	c.n.attach(c)
}

// Peer describes the other node and what was negotiated with it.
func (c *Conn) Peer() dist.Peer { return c.peer }

// Name is the other node's name.
func (c *Conn) Name() string { return c.peer.Name }

// Node is the node that the connection belongs to.
func (c *Conn) Node() *Node { return c.n }

// Stream is the transport's stream below; it must not be read, written or closed.
func (c *Conn) Stream() *transport.Stream { return c.s }

// Self is the pid that the Conn sends as, and to which the peer answers: Receive has that. On a node that has started it is nobody's, and
// answers are lost. It is ei_self.
func (c *Conn) Self() ei.Pid { return c.self }

// Done is closed when the connection has ended. On a node that was not started Receive finds that out, or sending that fails: without
// either it takes several times Config.TickInterval after the peer has closed.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err is why the connection ended, nil while it is up: ErrClosed after Close, io.EOF when the peer closed it, ErrMoved when it goes on in
// another process, else ErrTickTimeout, ErrSuperseded, or the fault. A peer that ends in the middle of something is io.ErrUnexpectedEOF; so
// is one that, over TLS, ends without the alert that TLS has for it, as Erlang nodes do.
func (c *Conn) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// lost tells whether the connection has ended of itself.
func (c *Conn) lost() bool {
	err := c.Err()
	return err != nil && err != ErrMoved && err != ErrClosed
}

// Close ends the connection at once: the peer sees a nodedown. What waits to be sent is lost, and where something of the peer's lies unread
// also what has been sent last and has not arrived: Shutdown waits for both. Close waits while the connection is frozen (and returns
// ErrMoved if it goes on in another process), and until processes here have been told of its end, except Handlers, and those that hear only
// of processes that end with it. It is ei_close_connection, before which nothing waits to be sent: where C calls that, call Shutdown.
func (c *Conn) Close() error {
	was := c.Err()
	if c.n.handles.Load() {
		c.fail(ErrClosed)
	} else if c.mark(ErrClosed, nil) { // no function of the program's runs: without a goroutine no thread is woken
		c.end()
	}
	<-c.left
	err := c.s.Close()
	if was == nil && c.Err() == ErrMoved {
		err = ErrMoved
	}
	return wrap("close connection to", c.peer.Name, err)
}

// Shutdown ends the connection once the peer has what was sent: it flushes, ends the sending direction, and waits until the peer, whose node
// then sees a nodedown, ends its own; what still comes meanwhile is dropped (on a node that has started it goes where it belongs). Then, or
// when ctx ends before, it is Close. The error is ctx's, or that of Err, if not everything could be sent. Without CloseWrite in the plug-in
// it does not wait for the peer.
func (c *Conn) Shutdown(ctx context.Context) error {
	err := c.Flush(ctx)
	if err == nil {
		c.bye(ctx)
	}
	return errors.Join(err, c.Close())
}

// fail ends the connection for a reason. It does not wait.
func (c *Conn) fail(err error) {
	if count := &c.n.goroutines; c.mark(err, count) {
		go func() { defer count.Leave(); c.end() }()
	}
}

// failed is fail, and gives the reason that the connection has ended for. A frozen one has not ended yet.
func (c *Conn) failed(err error) error {
	c.fail(err)
	if ended := c.Err(); ended != nil {
		return ended
	}
	return err
}

// mark notes err as the reason for which the connection ends. The first caller gets true and must call end; until it calls count.leave it
// counts as one of the goroutines that count's waiters (Node.Close, say) wait for; nil counts nothing. A frozen connection keeps err for
// its thaw.
func (c *Conn) mark(err error, count *wait.Tally) (first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return false
	case c.still:
		if c.ailment == nil {
			c.ailment = err
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

// end closes the socket and cleans up. What has come before counts, so it waits for the reader; and only then may the two nodes connect
// anew, so that nothing of their next connection is broken with this one. Handlers hear of it then.
func (c *Conn) end() {
	if c.kind() == direct { // of which "node up" was said
		c.n.log.Info("node down", "peer", c.peer.Name, "reason", c.err)
	}
	if c.shadow && c.err == ErrClosed && c.n.ctx.Err() == nil {
		c.closeTrunk()
	}
	c.n.procs.turns.lost(c)
	err := c.s.Close()
	if err != nil {
		c.n.log.Error("closing the connection", "peer", c.peer.Name, "error", err)
	}
	if !errors.Is(err, transport.ErrUnresponsive) && !c.rd.handling.Load() { // else the reader may be inside the callback for ever
		select {
		case c.rd.busy <- struct{}{}:
			<-c.rd.busy
		case <-c.rd.entered:
		}
	}
	var after aftermath
	c.n.procs.endings.Enter()
	defer c.n.procs.endings.Leave()
	c.n.detach(c, &after)
	if c.n.part != nil {
		c.endBranches()
	}
	c.n.leave(c)
	if c.n.part != nil {
		c.stake.over(!errors.Is(c.err, io.EOF))
	}
	close(c.left)
	after.tell()
}

// detach breaks what processes have with the node of a connection that has ended.
func (n *Node) detach(c *Conn, after *aftermath) {
	if c.kind() == branch {
		c.trunk.lose(c)
		return
	}
	for _, b := range n.procs.all() {
		b.breakWithNode(c, after)
	}
	if c.kind() == sibling {
		n.part.loseSibling(c)
	}
}

// bye ends the sending direction and waits for the peer to end its own: closing a socket with bytes unread would take back what was sent
// last.
func (c *Conn) bye(ctx context.Context) {
	c.leaves.Store(c.kind() == direct)
	if c.s.CloseWrite() != nil {
		c.leaves.Store(false)
		return
	}
	if !c.n.started.Load() {
		c.ignore(ctx)
	}
	select {
	case <-c.done:
	case <-ctx.Done():
	}
}

// ignore reads what the peer still sends, if nobody else does, until it ends or ctx does.
func (c *Conn) ignore(ctx context.Context) {
	for m := new(Message); ; {
		if err := c.ReceiveInto(ctx, m); err != nil && !errors.Is(err, dist.ErrUnknownOp) {
			return
		}
	}
}
