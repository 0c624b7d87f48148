package link

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/atoms"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/places"
	"github.com/cnode-go/cnode/nodes/internal/sequences"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/nodes/metrics"
	"github.com/cnode-go/cnode/transport"
)

// Errors with which a connection ends.
var (
	ErrTickTimeout        = errors.New("the peer has been silent for too long (net tick timeout)")
	ErrFrameTooLong       = errors.New("frame over the limit")
	ErrClosed       error = closedError{}
	ErrMoved              = errors.New("moved to another process")
)

// closedError is net.ErrClosed with a text that also fits what has no network connection.
type closedError struct{}

func (closedError) Error() string { return "closed" }

// Is makes net.ErrClosed find it.
func (closedError) Is(err error) bool { return err == net.ErrClosed }

// An Env is what the connections of a node share with it, and all that they know of it.
type Env struct {
	Log *slog.Logger
	Ctx context.Context // ends when the node closes

	MaxFrame, QueueLimit int // bytes
	TickInterval         time.Duration
	Published            bool // the node is a visible one
	SendWhole            bool // nothing leaves in fragments
	Encode               ei.EncodeOptions

	Goroutines *wait.Tally    // those that the node's Close waits for
	Malformed  *atomic.Int64  // counts what ends connections
	Incomplete *places.Memory // what messages take of which a peer has yet to send the rest
	Meter      atomic.Pointer[metrics.Hooks]
	Buffers    Buffers

	made    time.Time
	scratch sync.Pool // *[]byte for encoding
	packs   atoms.Pool
}

// Init completes an Env whose other fields are set.
func (v *Env) Init() {
	v.made = time.Now()
	v.scratch.New = func() any { b := make([]byte, 0, 512); return &b }
}

// Above is what stands above a connection. Its methods may wait for processes of the node, but not
// for the connection.
type Above interface {
	Up()    // it is up
	Ends()  // it has ended, and its reader may not know yet
	Ended() // and all that has come over it has been dealt with
}

// A Conn is a connection. Its methods are safe for concurrent use, where they do not say that they
// are the reader's.
type Conn struct {
	env       *Env
	above     Above
	s         *transport.Stream
	q         queue.Queue
	fragments *sequences.Sender // in front of q, for messages that leave in fragments
	atoms     *atoms.Sender     // before q, for what leaves with references to atoms
	peer      dist.Peer
	self      ei.Pid // the sender of what is sent through the Conn itself
	inner     bool   // another worker of the node is at the other end
	record    metrics.Conn

	// received counts bytes of frames since the connection came up; the tick timer looks whether it
	// grows.
	received  atomic.Int64
	messages  atomic.Int64  // received
	sentCount atomic.Int64  // messages sent
	unpaired  atomic.Bool   // something was sent since the last message came
	reading   atomic.Bool   // a goroutine waits for a frame
	leaves    atomic.Bool   // the sending direction was ended, after everything had been sent
	parted    atomic.Bool   // then the peer has ended its own
	faults    atomic.Uint32 // the kinds of complaint that were logged already: see Complain

	rd    reader
	ticks ticker

	// of a connection that is up, changed with mu held where it becomes Frozen or Staged, or ceases
	// to be: see mark
	life life.Life

	mu         sync.Mutex
	pendingErr error // the error that is to end it once it is neither frozen nor staged
	err        error
	done       chan struct{} // closed first when the connection ends
	left       chan struct{} // closed when all is cleaned up
}

// Options are what a connection is besides its stream and its peer.
type Options struct {
	Self   ei.Pid       // the sender of what is sent through the Conn itself
	Inner  bool         // another worker of this node is at the other end: whole frames go over it
	Record metrics.Conn // what the meter is told that it is
}

// Init makes a connection of a stream on which the handshake is done. c is new, and stays where it
// is. Begin, or Stage, is next.
func (c *Conn) Init(env *Env, above Above, s *transport.Stream, p dist.Peer, o Options) {
	c.env, c.above, c.s, c.peer, c.self, c.inner, c.record = env, above, s, p, o.Self, o.Inner, o.Record
	c.done, c.left = make(chan struct{}), make(chan struct{})
	c.q = s.Posts(&queue.Options{
		Limit: env.QueueLimit, NowLimit: max(SignalLimit, 4*env.QueueLimit), LazilyLimit: SignalLimit, Full: c.reportFull,
		Frames: true,
	})
	c.atoms = env.packs.NewSender()
	c.fragments = sequences.New(c.q, SignalLimit, env.Goroutines.Run)
	c.rd.init(c)
}

// Begin starts what a connection does by itself, its ticks, and tells of it above.
func (c *Conn) Begin() {
	c.ticks.begin(c)
	c.above.Up()
}

// Drop gives up a connection that was made and is not to begin. The stream stays the caller's.
func (c *Conn) Drop() { c.q.End(ErrClosed) }

// Peer describes the other node and what was negotiated with it. It must not be changed.
func (c *Conn) Peer() *dist.Peer { return &c.peer }

// Stream is the transport's stream below; it must not be read, written or closed.
func (c *Conn) Stream() *transport.Stream { return c.s }

// Self is the sender of what is sent through the Conn itself.
func (c *Conn) Self() ei.Pid { return c.self }

// Record is what the meter is told that the connection is. It must not be changed.
func (c *Conn) Record() *metrics.Conn { return &c.record }

// Life is the connection's phase, to be looked at and waited for: see StopReading, Suspend.
func (c *Conn) Life() *life.Life { return &c.life }

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Left is closed when the end has been dealt with: Above.Ended has returned.
func (c *Conn) Left() <-chan struct{} { return c.left }

// Err is why the connection has ended; nil while it is up.
func (c *Conn) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// Close ends the connection at once, with ErrClosed, and waits until that has been dealt with. It
// waits while the connection is frozen: the error is ErrMoved if it goes on in another process.
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
	return err
}

// Fail ends the connection for a reason, and returns that for which it has ended: err, unless it
// had ended before. It does not wait. A connection that is frozen ends when it is thawed.
func (c *Conn) Fail(err error) error {
	if count := c.env.Goroutines; c.mark(err, count) {
		go func() { defer count.Leave(); c.end() }()
	}
	if ended := c.Err(); ended != nil {
		return ended
	}
	return err
}

// Breach is Fail because of what the peer has sent, which the log and the node's counter have, too.
func (c *Conn) Breach(err error) {
	c.env.Malformed.Add(1)
	c.env.Log.Warn("connection ended over what the peer has sent", "peer", c.peer.Name, "error", err)
	c.Fail(err)
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
	case c.life.Phase().IsStill():
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

// end closes the socket and cleans up. Messages that came before the end still count, so it waits
// for the reader. Only after the cleanup may the two nodes connect anew, so that links and monitors
// of their next connection are not broken along with this one's.
func (c *Conn) end() {
	c.above.Ends()
	err := c.s.Close()
	if err != nil {
		c.env.Log.Error("closing the connection", "peer", c.peer.Name, "error", err)
	}
	discard := func() {
		c.rd.turn <- struct{}{}
		c.rd.discard(c)
		<-c.rd.turn
	}
	if errors.Is(err, transport.ErrUnresponsive) { // the reader may be in a callback for ever
		go discard()
	} else {
		discard()
	}
	c.fragments.End(c.err, false)
	c.above.Ended()
	close(c.left)
}

// Leave ends the sending direction once everything is sent; errors.ErrUnsupported if the plug-in
// cannot. From then on the peer's end of its own direction is no fault: see Parted.
func (c *Conn) Leave() error {
	c.leaves.Store(!c.inner)
	err := c.s.CloseWrite()
	if err != nil {
		c.leaves.Store(false)
	}
	return err
}

// Leaves tells whether this side has ended its direction.
func (c *Conn) Leaves() bool { return c.leaves.Load() }

// Parted tells whether the peer has ended its direction after this side had: see Leave.
func (c *Conn) Parted() bool { return c.parted.Load() }

// frameFlags are the flags for the form of frames. Workers pass whole frames on to each other,
// without headers, whatever the peer takes.
func (c *Conn) frameFlags() dist.Flags {
	if c.inner {
		return c.peer.Flags &^ (dist.FlagDistHdrAtomCache | dist.FlagFragments)
	}
	return c.peer.Flags
}

func (c *Conn) hasHeaders() bool { return c.frameFlags().HasHeaders() }
