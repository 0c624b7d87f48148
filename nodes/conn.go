package nodes

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// A Conn is a connection to another node. Sending is safe for concurrent use, and what one goroutine sends arrives in that order. Receive is for one goroutine at a time.
type Conn struct {
	n         *Node
	s         *transport.Stream
	q         *transport.Queue
	peer      dist.Peer
	self      ei.Pid // the sender of what is sent through the Conn itself
	initiated bool

	// received counts bytes of frames since the connection came up; the tick timer looks whether it moves.
	received  atomic.Int64
	messages  atomic.Int64 // received
	sentCount atomic.Int64 // messages sent
	unpaired  atomic.Bool  // something was sent since the last message came
	reading   atomic.Bool  // somebody waits for a frame
	receiving atomic.Bool  // a Receive is in progress
	calls     atomic.Int32 // Calls in progress

	rd      reader
	running sync.Once // the upper level's receiving
	ticks   ticker

	failOnce sync.Once
	err      error
	done     chan struct{} // closed first when the connection ends
	left     chan struct{} // closed when all is cleaned up
}

func newConn(n *Node, s *transport.Stream, p dist.Peer, initiated bool) *Conn {
	c := &Conn{n: n, s: s, peer: p, initiated: initiated, done: make(chan struct{}), left: make(chan struct{})}
	c.q = transport.NewQueue(s, &transport.QueueOptions{Limit: n.cfg.QueueLimit})
	c.rd.init(c)
	if self, err := n.NewPid(); err == nil {
		c.self = self
	}
	return c
}

// begin starts what a connection does by itself: ticks, and receiving once the node's upper level has started.
func (c *Conn) begin() {
	c.n.stats.connections.Add(1)
	c.n.log.Info("node up", "peer", c.peer.Name, "remote", addrText(c.s.RemoteAddr()), "initiated", c.initiated)
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

// Self is the pid that the Conn sends as: what the peer answers to. It is ei_self.
func (c *Conn) Self() ei.Pid { return c.self }

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err is why the connection ended, nil while it is up: ErrClosed after Close, io.EOF when the peer closed it, else ErrTickTimeout,
// ErrSuperseded, or the fault.
func (c *Conn) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// Close ends the connection at once: the peer sees a nodedown. What waits to be sent is lost; Flush sends it. It is
// ei_close_connection.
func (c *Conn) Close() error {
	if c.mark(ErrClosed) {
		c.end()
	}
	<-c.left
	return wrap("close connection to", c.peer.Name, c.s.Close())
}

// fail ends the connection for a reason. It does not wait.
func (c *Conn) fail(err error) {
	if c.mark(err) {
		c.n.wg.Go(c.end)
	}
}

// mark gives the reason why the connection ends; true for the first, who has to end it.
func (c *Conn) mark(err error) (first bool) {
	c.failOnce.Do(func() {
		first = true
		c.err = err
		close(c.done)
		c.ticks.end()
		c.n.log.Info("node down", "peer", c.peer.Name, "reason", err)
	})
	return first
}

// end closes the socket and cleans up. What has come before counts, so it waits for the reader; and only then may the two nodes connect
// anew, so that nothing of their next connection is broken with this one.
func (c *Conn) end() {
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
	c.n.detach(c)
	c.n.leave(c)
	close(c.left)
}

// bye ends the sending direction and waits for the peer to end its own: closing a socket with bytes unread would take back what was sent
// last.
func (c *Conn) bye(ctx context.Context) {
	if c.s.CloseWrite() != nil {
		return
	}
	select {
	case <-c.done:
	case <-ctx.Done():
	}
}

// A ticker keeps one connection alive and notices when it is not. It is the timer's only owner.
type ticker struct {
	mu       sync.Mutex
	timer    *time.Timer
	over     bool
	posted   int64 // bytes ever given to the queue, at the last tick
	received int64
	missed   int

	asked atomic.Bool // a tick of ours has gone out, and the next one of the peer's may be its answer
}

func (t *ticker) begin(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over {
		t.timer = time.AfterFunc(c.n.cfg.TickInterval, func() { t.tick(c) })
	}
}

func (t *ticker) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	if t.timer != nil {
		t.timer.Stop()
	}
}

// tick sends a tick when nothing went out for an interval, and counts the intervals in which nothing came. A hidden peer that was silent
// gets one in any case: a primitive one does nothing but answer ticks. Bytes that wait unread are a sign of life too: it is nobody's
// receiving that is missing then.
func (t *ticker) tick(c *Conn) {
	received := c.received.Load() + c.rd.steps.Load()
	queued, sent := c.q.Buffered()
	idle := queued == 0 && sent == t.posted
	if idle {
		c.q.Trim()
	}
	if idle || received == t.received && !c.peer.Announced.Has(dist.FlagPublished) {
		t.asked.Store(true)
		c.sendTick()
		queued, sent = c.q.Buffered()
	}
	t.posted = sent + int64(queued)
	pending, err := c.s.PendingBytes()
	if received != t.received || pending > 0 || err != nil || !c.reading.Load() {
		t.missed = 0
	} else if t.missed++; t.missed >= missedTicks {
		c.fail(ErrTickTimeout)
		return
	}
	t.received = received
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over {
		t.timer.Reset(c.n.cfg.TickInterval)
	}
}
