package nodes

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/inbox"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/transport"
)

const (
	// trustedFrame is how many bytes of memory a frame gets for the length that the peer claims,
	// before any of it has come; beyond that it gets as much again as has come.
	trustedFrame = 4 << 20
	// frameStep is the size, in bytes, of the steps in which a large frame is read: each is a sign
	// of life of a peer behind a slow line.
	frameStep = 256 << 10
	// placedFrame is the size, in bytes, of frames worth a look whether they are fragments. Erlang
	// nodes send fragments of 64 KiB.
	placedFrame = 32 << 10
	// firstRoom is how many bytes of a frame without a length are read before the message gets a
	// buffer: most frames are shorter, and their buffer has their size.
	firstRoom = 1 << 10
	// atomTable bounds the atoms that a connection remembers.
	atomTable = 1024
)

// A reader reads frames of one connection. busy is its token: whoever holds it reads.
type reader struct {
	busy chan struct{}
	dist *dist.Reader             // made with the first message
	next func() ([][]byte, error) // for ReadPDU, made once
	came func()                   // tells the ticker of a message, or of a part of it

	unread backlog // guarded by busy

	arrival dist.Arrival // see Message.arrival

	// The frame in progress.
	m     *Message
	max   int
	head  [4]byte
	stage int // how much of it has been asked for: see frameStart
	need  int // its length in bytes
	have  int // buffers handed out, in bytes
	vec   [1][]byte
	// The frame is a fragment, and all behind its head is read to its place in the message.
	fragment [dist.FragmentHeadSize]byte
	place    []byte
	first    []byte // where a frame without a length begins, over a carrier that keeps packets; nil: it has a length

	held  int          // bytes of incomplete messages, as counted in Node.incomplete
	holds *inbox.Holds // for how long full mailboxes have kept it waiting; nil: none has

	steps atomic.Int64 // of large frames that have come, ever: signs of life

	passing atomic.Pointer[passing] // in progress, or the last one

	yields atomic.Bool // the caller of Receive has asked for Yield
}

func (r *reader) init(c *Conn) {
	r.busy = make(chan struct{}, 1)
	r.max = c.env.cfg.MaxFrame
	r.next, r.came = r.nextVector, func() { c.ticks.flows(c) }
	if c.s.KeepsPackets() {
		r.next, r.first = r.nextRoom, make([]byte, firstRoom)
	}
}

// Receive returns the next message. It waits until one has come, or until ctx or the connection
// ends; in the latter case the error is Err's. Meanwhile ticks are answered and UNLINK_ID is
// acknowledged. The error is ErrBusy if another Receive is in progress, or the node was started. An
// unknown control message is an error (dist.ErrUnknownOp) after which Receive may be called again;
// a malformed one ends the connection. It is ei_xreceive_msg.
func (c *Conn) Receive(ctx context.Context) (*Message, error) {
	m := new(Message)
	if err := c.ReceiveInto(ctx, m); err != nil {
		return nil, err
	}
	return m, nil
}

// ReceiveInto is Receive into a message that is reused, with its buffer: what m held before is
// lost, even if there is an error. Nothing is allocated once the buffer is large enough. It waits
// as Receive does, and has its errors: ErrBusy during another Receive, or once the node was
// started; dist.ErrUnknownOp, after which it may be called again.
func (c *Conn) ReceiveInto(ctx context.Context, m *Message) error {
	if c.env.started.Load() || !c.receiving.CompareAndSwap(false, true) {
		return wrap("receive from", c.peer.Name, ErrBusy)
	}
	defer c.receiving.Store(false)
	for {
		select {
		case c.rd.busy <- struct{}{}:
		default: // a Call reads, until its next message
			select {
			case c.rd.busy <- struct{}{}:
			case <-wait.Cancelled(ctx):
				return wrap("receive from", c.peer.Name, wait.Err(ctx))
			}
		}
		err := c.receiveUnread(ctx, m)
		if err == errReaderStopped {
			if err = c.life.Pass(ctx); err == nil {
				continue
			}
		}
		return wrap("receive from", c.peer.Name, err)
	}
}

// receiveUnread is ReceiveInto for a caller that holds the reader's token, which it gives back.
func (c *Conn) receiveUnread(ctx context.Context, m *Message) error {
	defer c.giveReader()
	if c.rd.unread.len() > 0 {
		*m = *c.rd.unread.take()
		c.acknowledgeUnlink(m)
		return nil
	}
	if c.rd.yields.Swap(false) {
		c.s.Yield()
	}
	for {
		if err := c.receive(ctx, m); err != nil {
			return err
		}
		if on := c.env.on; (c.calls.Load() == 0 || !on.isLocal(m)) && !on.isAnswer(m) {
			c.acknowledgeUnlink(m)
			return nil
		}
		own := *m // a Call keeps it, or has given up waiting for it
		*m = Message{}
		c.env.on.message(c, &own)
		c.s.Yield()
	}
}

// Yield is for a program that passes what Receive returns to other goroutines, and receives again:
// the next Receive that has to wait first lets the goroutines run that have just been woken.
// Otherwise it may keep the processor from them for as long as it polls (see
// transport.WithPolling).
func (c *Conn) Yield() { c.rd.yields.Store(true) }

// acknowledgeUnlink acknowledges an UNLINK_ID before Receive returns it: the caller of Receive
// might not.
func (c *Conn) acknowledgeUnlink(m *Message) {
	if m.Op == dist.OpUnlinkID {
		c.acknowledge(&m.Control)
	}
}

// errReaderStopped: the connection is being frozen. The holder of the reader's token is to give it
// away until reading goes on.
var errReaderStopped = errors.New("the reader stops")

// receive reads frames until one is a message, or the reader is to stop: errReaderStopped. The
// caller holds the reader's token.
func (c *Conn) receive(ctx context.Context, m *Message) error {
	if err := c.receiveAsItCame(ctx, m); err != nil {
		return err
	}
	return c.resolve(m)
}

// resolve puts atoms in the place of a message's references to the peer's cache of atoms. Whole it
// may take 500 times the memory, so that is not done for a message that nobody is to get. The
// caller has just received it. A term beyond Config.MaxFrame ends the connection.
func (c *Conn) resolve(m *Message) error {
	if m.arrival == nil {
		return nil
	}
	if err := m.resolve(c.rd.max); err != nil {
		return c.unreadable(err)
	}
	return nil
}

// unreadable returns the error over which a frame cannot be read, and ends the connection, unless
// the next frame can.
func (c *Conn) unreadable(err error) error {
	if errors.Is(err, dist.ErrMessageTooLong) || errors.Is(err, ei.ErrLimit) {
		err = fmt.Errorf("%w: Config.MaxFrame is %d: %w", ErrFrameTooLong, c.rd.max, err)
	}
	if !errors.Is(err, dist.ErrUnknownOp) {
		c.breach(err)
	}
	return err
}

// receiveAsItCame is receive for a caller that resolves the message, or releases it, before the
// next one.
func (c *Conn) receiveAsItCame(ctx context.Context, m *Message) error {
	c.reading.Store(true)
	defer c.reading.Store(false)
	for {
		r := &c.rd
		r.m, r.stage = m, frameStart
		n, err := c.s.ReadPDU(ctx, r.next)
		if err == nil && r.first != nil {
			err = r.takePacket(int(n))
			n += int64(len(r.head)) // as if it had a length, for a tick is no byte
		}
		if err != nil {
			if errors.Is(err, transport.ErrPaused) && c.Err() == nil {
				return errReaderStopped
			}
			return c.receiveError(ctx, err)
		}
		c.received.Add(n)
		c.unpaired.Store(false)
		if r.need == 0 {
			c.ticks.answerTick(c)
			continue
		}
		if r.dist == nil {
			r.dist = r.newReader(c.frameFlags())
		}
		a, err := r.readFrame(m)
		if err == nil {
			err = c.countIncomplete()
		}
		if err != nil {
			return c.unreadable(err)
		}
		c.s.ExpectMore(!a.Complete)
		if !a.Complete {
			r.came()
			continue
		}
		m.Payload, m.arrival = a.Payload, nil
		if a.Memory != nil {
			m.whole = a.Memory
		}
		if len(a.Refs) > 0 {
			r.arrival = a
			m.arrival = &r.arrival
		}
		m.plain()
		m.conn = c
		c.countReceived(m, n)
		r.came()
		return nil
	}
}

func (r *reader) readFrame(m *Message) (dist.Arrival, error) {
	if r.place != nil {
		return r.dist.ReadPlaced(r.fragment[:], r.place, &m.Control)
	}
	return r.dist.ReadFrame(m.buf, &m.Control)
}

func (r *reader) newReader(flags dist.Flags) *dist.Reader {
	limits := dist.Limits{Message: r.max, Incomplete: math.MaxInt} // see countIncomplete
	d := dist.NewReader(flags, limits, ei.NewAtomTable(atomTable))
	d.LeaveRefs()
	d.SetAlloc(func(n int) []byte {
		m := r.m
		if m == nil { // a message that another process has begun
			return make([]byte, n)
		}
		b := m.wholeBuffer(n)
		m.whole = nil // it is the incomplete message's now
		return b
	})
	return d
}

// countIncomplete counts the memory that incomplete messages take in Node.incomplete, of which each
// peer has its share.
func (c *Conn) countIncomplete() error {
	r := &c.rd
	more := r.dist.Held() - r.held
	switch {
	case more == 0:
	case more < 0:
		c.env.incomplete.Give(c.peer.Name, -more)
	case r.dist.Open() <= 1: // a message of any size gets through by itself
		c.env.incomplete.Force(c.peer.Name, more)
	case c.env.incomplete.Take(c.peer.Name, more) != nil:
		return fmt.Errorf("%w: %d bytes, and this peer's share of Config.OverflowLimit is used up",
			dist.ErrTooMuchIncomplete, r.dist.Held())
	}
	r.held += more
	return nil
}

// fragmentsTime is how long it may take to describe what is incomplete of messages, in either
// direction. The caller holds the reader's token.
func (c *Conn) fragmentsTime() time.Duration {
	const perByte = 10 * time.Nanosecond // it is copied several times
	bytes := c.out.Bytes()
	if c.rd.dist != nil {
		bytes += c.rd.dist.Held()
	}
	return time.Duration(bytes) * perByte
}

// breach ends the connection because of what the peer has sent.
func (c *Conn) breach(err error) {
	c.env.stats.malformed.Add(1)
	c.env.log.Warn("connection ended over what the peer has sent", "peer", c.peer.Name, "error", err)
	c.fail(err)
}

// acknowledge answers an UNLINK_ID, before any other signal goes to that process
// (erl_dist_protocol, "New link protocol").
func (c *Conn) acknowledge(ctl *dist.Control) {
	c.signal(&dist.Control{Op: dist.OpUnlinkIDAck, ID: ctl.ID, From: ctl.To, To: ctl.From}, nil)
}

// receiveError ends the connection after a failed read, unless it has ended already.
func (c *Conn) receiveError(ctx context.Context, err error) error {
	err, broken := c.reason(ctx, err)
	if !broken {
		return err
	}
	if !orderly(err) { // "node down" tells of an end
		c.env.log.Warn("receiving failed", "peer", c.peer.Name, "error", err)
	}
	return c.failed(err)
}

// giveReader gives the reader's token back after a receive.
func (c *Conn) giveReader() { <-c.rd.busy }

// orderly reports whether a connection was ended, by either side, and has not failed. A node that
// speaks TLS may end without an alert.
func orderly(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrClosed)
}

// reason finds the reason behind a failed read or write: ctx, or the end of the connection. If
// broken, err itself is to end the connection.
func (c *Conn) reason(ctx context.Context, err error) (_ error, broken bool) {
	if ended := c.Err(); ended != nil {
		return ended, false
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return ctx.Err(), false
	}
	if transport.IsNoWait(ctx) && errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, transport.ErrPoisoned) {
		return os.ErrDeadlineExceeded, false
	}
	switch ends := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF); {
	case ends && c.leaves.Load():
		c.parted.Store(true)
		err = ErrClosed
	case errors.Is(err, net.ErrClosed):
		err = ErrClosed
	}
	return err, true
}

// The parts of a frame.
const (
	frameStart = iota
	frameHead
	frameFragment
	frameBody
)

// nextVector hands ReadPDU the parts of one frame: its length, then its body straight into the
// message's buffer; or, of a large fragment, its head, and then the piece of the message that it
// brings straight into the place of that.
func (r *reader) nextVector() ([][]byte, error) {
	switch r.stage {
	case frameStart:
		r.stage, r.vec[0] = frameHead, r.head[:]
		return r.vec[:], nil
	case frameHead:
		n := binary.BigEndian.Uint32(r.head[:])
		if uint64(n) > uint64(r.max) {
			return nil, r.tooLong(int64(n))
		}
		r.stage, r.need, r.have, r.place = frameBody, int(n), 0, nil
		if n >= placedFrame && n <= frameStep && r.dist != nil && r.dist.Open() > 0 {
			r.stage, r.vec[0] = frameFragment, r.fragment[:]
			return r.vec[:], nil
		}
	case frameFragment:
		r.stage = frameBody
		if r.place = r.dist.Place(r.fragment[:], r.need-len(r.fragment)); r.place != nil {
			r.vec[0], r.have = r.place, r.need
			return r.vec[:], nil
		}
		if cap(r.m.buf) < len(r.fragment) {
			r.m.buf = r.m.grow(min(r.need, trustedFrame))
		}
		r.m.buf = append(r.m.buf[:0], r.fragment[:]...)
		r.have = len(r.fragment)
	}
	if r.have == r.need {
		return nil, nil
	}
	if r.have > 0 {
		r.steps.Add(1)
		r.came()
	}
	buf := r.m.buf[:r.have]
	size := min(r.need, r.have+frameStep)
	if size > cap(buf) {
		room := min(r.need, max(trustedFrame, 2*r.have)) // more when this much has come
		buf = append(r.m.grow(room)[:0], buf...)
	}
	r.m.buf = buf[:size]
	r.vec[0] = r.m.buf[r.have:]
	r.have = size
	return r.vec[:], nil
}

// nextRoom hands ReadPDU room for one frame without a length, which ends with its packet.
func (r *reader) nextRoom() ([][]byte, error) {
	if r.stage == frameStart {
		r.stage, r.have, r.vec[0] = frameBody, len(r.first), r.first
		return r.vec[:], nil
	}
	if r.have > r.max {
		return nil, r.tooLong(int64(r.have))
	}
	if r.have >= frameStep {
		r.steps.Add(1)
		r.came()
	}
	buf := r.m.buf[:cap(r.m.buf)]
	if len(buf) <= r.have {
		buf = r.m.grow(2 * r.have)
		copy(buf, r.m.buf)
	}
	if r.have == len(r.first) {
		copy(buf, r.first)
	}
	r.m.buf = buf[:min(len(buf), r.have+frameStep)]
	r.vec[0] = r.m.buf[r.have:]
	r.have = len(r.m.buf)
	return r.vec[:], nil
}

// takePacket makes a packet of n bytes, for which nextRoom has handed out room, the message's
// frame.
func (r *reader) takePacket(n int) error {
	if r.need = n; n > r.max {
		return r.tooLong(int64(n))
	}
	if n > len(r.first) {
		r.m.buf = r.m.buf[:n]
		return nil
	}
	if cap(r.m.buf) < n {
		r.m.buf = r.m.grow(n)
	}
	r.m.buf = append(r.m.buf[:0], r.first[:n]...)
	return nil
}

func (r *reader) tooLong(n int64) error {
	return fmt.Errorf("%w: %d bytes, Config.MaxFrame is %d", ErrFrameTooLong, n, r.max)
}

// discard gives the memory of incomplete messages back; the caller holds the token.
func (r *reader) discard(c *Conn) {
	c.env.incomplete.Give(c.peer.Name, r.held)
	r.held, r.dist = 0, nil
}

// stopState tells whether the connection's reader is to stop, and returns a channel that is closed
// when that changes. The nil Conn, which stands for this node, never does.
func (c *Conn) stopState() (bool, <-chan struct{}) {
	if c == nil {
		return false, nil
	}
	phase, change := c.life.State()
	return phase != life.Open, change
}

// inboxReader is the connection's reader, which has read a message, for the inbox that the message
// is for; the caller is that reader. That of the nil Conn stands for no reader.
func (c *Conn) inboxReader() (r inbox.Reader) {
	if c == nil {
		return r
	}
	if c.rd.holds == nil {
		c.rd.holds = new(inbox.Holds)
	}
	r.Stops, r.Change = c.stopState()
	r.Holds = c.rd.holds
	return r
}

// giveReaderToFreeze is called by the reader: it gives its token up, for the goroutine that freezes
// the connection, and takes it again when reading goes on.
func (c *Conn) giveReaderToFreeze() {
	<-c.rd.busy
	_ = c.life.Pass(context.Background())
	c.rd.busy <- struct{}{}
}

// A passing is the wait of a connection's reader for what it needs to pass messages on. It ends
// when the reader is to stop, or with the connection.
type passing struct {
	ctx context.Context
	end context.CancelFunc
}

// pass is the context of the passing in progress, or of a new one. Only the reader calls it.
func (c *Conn) pass() context.Context {
	p := c.rd.passing.Load()
	if p == nil || p.ctx.Err() != nil {
		p = new(passing)
		p.ctx, p.end = context.WithCancel(c.env.ctx)
		c.rd.passing.Store(p)
		if !c.life.IsOpen() || c.Err() != nil { // endPassing may have come before the Store
			p.end()
		}
	}
	return p.ctx
}

// passed turns the error that a wait with pass has ended with into the reader's: errReaderStopped,
// if it is to stop.
func (c *Conn) passed(err error) error {
	if errors.Is(err, context.Canceled) && c.Err() == nil && c.env.ctx.Err() == nil {
		return errReaderStopped
	}
	return err
}

func (c *Conn) endPassing() {
	if p := c.rd.passing.Load(); p != nil {
		p.end()
	}
}

// park keeps a message that could not be passed on before the reader stops. It is the first that
// the reader deals with when it goes on, here or in another process.
func (c *Conn) park(m *Message) { c.rd.unread.putBack(m) }
