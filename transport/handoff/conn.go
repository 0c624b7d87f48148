package handoff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// MaxDescriptors is the most descriptors that one message can have: Linux' SCM_MAX_FD. Other systems and libraries stop earlier, see the
// package's documentation.
const MaxDescriptors = 253

// rawMax is how many bytes a system call may copy without the scheduler being told: some tens of microseconds.
const rawMax = 256 << 10

// A Conn sends and receives single messages with descriptors on a UNIX socket: one of a stream, of sequenced packets, or of datagrams. It
// is the lowest level, on which the carriers stand, and knows no framing: what a stream's reader gets is bytes, in which descriptors come
// with the first byte that they were sent with, or with bytes glued in front of it.
//
// All methods may be called concurrently. One message, or batch, goes out, and one comes in, at a time; others wait for their turn, as long
// as their contexts let them, but not for a SendTo whose receiver has no room. With transport.NoWait nobody waits: os.ErrDeadlineExceeded.
// Sending and receiving allocate nothing on Linux, unless they must wait under a context that can be cancelled.
type Conn struct {
	conn  *net.UnixConn // nil: alone has the socket
	alone *lone
	raw   syscall.RawConn
	kind  int            // SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM
	peer  transport.Addr // that it is connected to; nil: none

	sending, receiving turns // held by who uses out, in
	out                outgoing
	in                 incoming
	many               batches // for SendBatch and ReceiveBatch
	outward, inward    direction
	broken             bool        // under sending: part of a message went out, and the rest did not
	reset              atomic.Bool // the peer has closed, and not read all
	credentials        atomic.Bool // come with each packet
}

// A direction of a socket: once made, so that calls need not make it.
type direction struct {
	try      func(fd uintptr) bool // trySend, tryReceive
	park     func() error          // calls try until it is done
	deadline func(time.Time) error
}

// An outgoing message.
type outgoing struct {
	head, p   []byte
	n         int // bytes that are out
	err       error
	once      bool // do not wait
	wait      bool // there is no room
	ancillary      // the descriptors
	outSystem
}

// What a caller has room for.
type wanted struct {
	p     []byte
	room  int  // descriptors that may come
	whole bool // p grows to the packet's size, up to limit
	limit int
}

// An incoming message.
type incoming struct {
	wanted
	n        int
	fds      []int // that came
	named    bool  // messages come from here and there
	from     transport.Addr
	cred     Cred
	hasCred  bool
	settled  bool // it is read, whether or not it is lost
	err      error
	once     bool
	wait     bool
	arriving ancillary
	inSystem
}

// NewConn makes a Conn of a UNIX socket, which becomes the Conn's on success: the net.UnixConn must not be used any more.
// errors.ErrUnsupported where descriptors cannot be passed (windows).
func NewConn(conn *net.UnixConn) (*Conn, error) {
	c, err := borrow(conn)
	if err != nil {
		return nil, err
	}
	c.own()
	return c, nil
}

// borrow makes a Conn of a socket that stays with package net.
func borrow(conn *net.UnixConn) (*Conn, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, failed("adopt", nil, err)
	}
	c := &Conn{conn: conn, raw: raw}
	if c.kind, err = socketKind(raw); err != nil {
		return nil, failed("adopt", nil, err)
	}
	c.credentials.Store(credentialsOn(raw))
	if a := conn.RemoteAddr(); a != nil {
		c.peer = transport.FromNetAddr(a)
	}
	c.in.named = c.kind == syscall.SOCK_DGRAM
	out, in := &c.outward, &c.inward
	out.try, out.park, out.deadline = c.trySend, func() error { return raw.Write(out.try) }, conn.SetWriteDeadline
	in.try, in.park, in.deadline = c.tryReceive, func() error { return raw.Read(in.try) }, conn.SetReadDeadline
	return c, nil
}

// Close closes the socket. Calls that wait come back with net.ErrClosed. A listener's path is not removed.
func (c *Conn) Close() error {
	if c.conn == nil {
		return c.alone.Close()
	}
	return c.conn.Close()
}

// closeWrite ends the sending direction.
func (c *Conn) closeWrite() error {
	if c.conn == nil {
		return c.alone.closeWrite()
	}
	return c.conn.CloseWrite()
}

// SyscallConn is for options of the socket.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }

// Packets tells whether the socket keeps the boundaries of messages: SOCK_SEQPACKET or SOCK_DGRAM.
func (c *Conn) Packets() bool { return c.kind != syscall.SOCK_STREAM }

// ReceiveCredentials has the system say with each packet who sent it (Linux: SO_PASSCRED), which also tells an empty packet from the end of
// a connection. A sender cannot lie about itself, unless it is root. It concerns packets that are received from now on.
// errors.ErrUnsupported on other systems; EINVAL on a stream.
func (c *Conn) ReceiveCredentials(on bool) error {
	const op = "receive credentials"
	if c.kind == syscall.SOCK_STREAM {
		return failed(op, c.peer, fmt.Errorf("a stream has no packets: %w", syscall.EINVAL))
	}
	var err error
	e := c.raw.Control(func(fd uintptr) { err = passCredentials(int(fd), on) })
	if err == nil {
		err = e
	}
	if err == nil {
		c.credentials.Store(on)
	}
	return failed(op, c.peer, err)
}

// tellEmpty has packets of a connection tell who sent them, where that goes, for else an empty one would be the end.
func (c *Conn) tellEmpty() error {
	if c.kind != syscall.SOCK_SEQPACKET {
		return nil
	}
	if err := c.ReceiveCredentials(true); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// Send sends p as one message together with descriptors, which stay the caller's; they must stay open until it has returned, and on darwin
// until the peer has received them. On a stream an empty p is EINVAL, with descriptors or without, and an error after part of p is out is
// transport.ErrPoisoned, for this call and all later ones; before that nothing is out. A packet goes whole or not at all; one that is too
// long for the socket's send buffer is EMSGSIZE. A full peer is waited for. EINVAL for more than MaxDescriptors, EBADF for one that is not
// open.
func (c *Conn) Send(ctx context.Context, p []byte, fds ...int) error {
	return c.send(ctx, nil, nil, p, fds)
}

// SendTo is Send on a datagram socket to an address; nil is the one that the socket is connected to. It waits while the receiver's queue is
// full, and has the errors of Send: ENOENT or ECONNREFUSED if nobody has the address, EINVAL for one that is not of a UNIX socket.
func (c *Conn) SendTo(ctx context.Context, to transport.Addr, p []byte, fds ...int) error {
	return c.send(ctx, to, nil, p, fds)
}

// TrySend is Send without waiting: it makes one attempt, and EAGAIN, wrapped, says that the peer has no room, or that another call is
// sending. n is how many bytes are out: on a stream it may be less than len(p), without an error, and the descriptors are out with the
// first of them. Sending on is up to the caller.
func (c *Conn) TrySend(p []byte, fds ...int) (n int, err error) { return c.tryParts(nil, p, fds) }

// tryParts is TrySend of head and p as one message.
func (c *Conn) tryParts(head, p []byte, fds []int) (n int, err error) {
	if !c.sending.try() {
		return 0, failed("send", c.peer, syscall.EAGAIN)
	}
	defer c.sending.pass()
	if err := c.prepare(nil, head, p, fds); err != nil {
		return 0, failed("send", c.peer, err)
	}
	o := &c.out
	defer o.forget()
	err = c.lookToSend()
	switch {
	case err != nil:
	case o.err != nil:
		err = o.err
	case o.wait && o.n == 0:
		err = syscall.EAGAIN
	}
	return o.n, failed("send", c.peer, err)
}

// send sends head and p as one message; to is nil for the one that the socket is connected to.
//
// It makes the system call itself, where it can: what a message costs beside that is a few calls and returns. The processor's prediction of
// return addresses misses after a system call, so there are few nested returns on this path.
func (c *Conn) send(ctx context.Context, to transport.Addr, head, p []byte, fds []int) error {
	err := ctx.Err() // before it has the turn: a nil context panics
	if err == nil {
		err = c.sending.take(ctx)
	}
	if err != nil {
		return c.notSent(to, err)
	}
	o, full := &c.out, false
	err = c.prepare(to, head, p, fds)
	if size := len(head) + len(p); err == nil && c.alone.open() && size <= rawMax {
		o.describe()
		n, _, errno := o.call(uintptr(c.alone.fd))
		if errno == 0 && int(n) == size {
			o.forget()
			c.sending.pass()
			return nil
		}
		switch {
		case errno == 0: // part of a stream's
			o.n = int(n)
			o.drop()
		case again(errno):
			full = true
		case !interrupted(errno):
			err = errno // the kernel says some things once only
			c.resets(err)
		}
	}
	if err == nil {
		err = c.sendWaiting(ctx, to != nil && pollsOwnBufferOnly, full)
	}
	full = err == nil && o.wait
	o.forget()
	c.sending.pass()
	if full {
		err = c.sendByLooking(ctx, to, head, p, fds)
	}
	return c.notSent(to, err)
}

// sendWaiting sends what is not out yet. full says that there was no room just now. Where the poller cannot tell of room, which looks says,
// o.wait is left if there is still none.
func (c *Conn) sendWaiting(ctx context.Context, looks, full bool) (err error) {
	o := &c.out
	if o.wait = true; !full {
		err = c.lookToSend()
	}
	if err == nil && o.wait && !looks {
		o.once = false
		err = c.outward.wait(ctx)
	}
	if err == nil {
		err = o.err
	}
	if err != nil && o.n > 0 && c.kind == syscall.SOCK_STREAM {
		c.broken = true
		err = fmt.Errorf("%w, after %d of %d bytes: %w", transport.ErrPoisoned, o.n, len(o.head)+len(o.p), err)
	}
	return err
}

func (c *Conn) notSent(to transport.Addr, err error) error {
	if to == nil {
		to = c.peer
	}
	return failed("send", to, err)
}

// prepare makes the message ready that goes out. It copies fds, so that a caller's slice need not be on the heap.
func (c *Conn) prepare(to transport.Addr, head, p []byte, fds []int) error {
	if c.broken {
		return transport.ErrPoisoned
	}
	if err := sendable(fds); err != nil {
		return err
	}
	empty := len(head)+len(p) == 0
	if empty && len(fds) > 0 && !emptyCarries(c.kind) {
		return fmt.Errorf("descriptors without a byte: %w", syscall.EINVAL)
	}
	if empty && len(fds) == 0 && c.kind == syscall.SOCK_STREAM {
		return fmt.Errorf("an empty message on a stream: %w", syscall.EINVAL)
	}
	o := &c.out
	o.head, o.p, o.n, o.err = head, p, 0, nil
	o.put(fds)
	return o.address(to)
}

func sendable(fds []int) error {
	if len(fds) > MaxDescriptors {
		return fmt.Errorf("%d descriptors, more than %d: %w", len(fds), MaxDescriptors, syscall.EINVAL)
	}
	for i, fd := range fds {
		if fd < 0 {
			return fmt.Errorf("descriptor %d at index %d: %w", fd, i, syscall.EBADF)
		}
	}
	return nil
}

// forget lets go of the caller's memory.
func (o *outgoing) forget() {
	o.head, o.p = nil, nil
	o.clear()
}

// rest is what is not out yet.
func (o *outgoing) rest() (head, p []byte) {
	if o.n < len(o.head) {
		return o.head[o.n:], o.p
	}
	return nil, o.p[o.n-len(o.head):]
}

// trySend sends until all is out or there is no room.
func (c *Conn) trySend(fd uintptr) bool {
	o := &c.out
	o.wait = false
	for {
		n, err := o.send(int(fd))
		switch {
		case interrupted(err):
			continue
		case noRoom(err):
			o.wait, o.err = true, nil
			return o.once
		case err != nil:
			o.err = err
			c.resets(err)
			return true
		}
		o.n += n
		if c.kind != syscall.SOCK_STREAM || o.n >= len(o.head)+len(o.p) {
			o.err = nil
			return true
		}
		o.drop() // they went with the first part
	}
}

// lookToSend makes one try: o.wait says that there was no room.
func (c *Conn) lookToSend() error {
	c.out.once = true
	return c.look(&c.outward)
}

// sendByLooking sends to an address whose receiver had no room. The poller looks at our own buffer only, never at the receiver's queue,
// which it would try again and again; so this looks by itself. Between the looks others send, for their receivers may have room.
func (c *Conn) sendByLooking(ctx context.Context, to transport.Addr, head, p []byte, fds []int) error {
	if transport.IsNoWait(ctx) {
		return os.ErrDeadlineExceeded
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-c.alone.closing():
			t.Stop()
			return net.ErrClosed
		case <-t.C:
		}
		if full, err := c.lookOnce(ctx, to, head, p, fds); err != nil || !full {
			return err
		}
	}
}

// lookOnce takes a turn to try to send to an address.
func (c *Conn) lookOnce(ctx context.Context, to transport.Addr, head, p []byte, fds []int) (full bool, err error) {
	if err := c.sending.take(ctx); err != nil {
		return false, err
	}
	defer c.sending.pass()
	if err := c.prepare(to, head, p, fds); err != nil {
		return false, err
	}
	defer c.out.forget()
	err = c.sendWaiting(ctx, true, false)
	return c.out.wait, err
}

// Receive waits for the next message and reads it into p. Up to room descriptors go into set, behind those that it holds; close-on-exec is
// set, and none is 0, 1 or 2. On a stream that is what there is, up to len(p) bytes; io.EOF is its end. Of packets it is one; on a
// connection an empty one with nothing beside it looks like the end and is io.EOF too, unless ReceiveCredentials is on. The end is
// ECONNRESET if the peer has closed without reading all; what it has sent comes before that. A packet longer than p is ErrTruncated, more
// descriptors than room is ErrDescriptorsLost, ancillary data of another kind ErrAncillary; then the message is gone, n says how much of it
// is in p, its descriptors are closed, and set is as it was. With room 0 set may be nil. EINVAL for room beyond MaxDescriptors, and for an
// empty p on a stream: then nothing is read.
func (c *Conn) Receive(ctx context.Context, p []byte, set *FDSet, room int) (n int, err error) {
	p, _, _, err = c.receive(ctx, wanted{p: p, room: room}, set)
	return len(p), err
}

// ReceiveFrom is Receive that also tells who sent it: an unnamed address for a sender that has no name, and on sockets that are connected.
// It waits as Receive does, and has its errors.
func (c *Conn) ReceiveFrom(ctx context.Context, p []byte, set *FDSet, room int) (n int, from transport.Addr, err error) {
	p, from, _, err = c.receive(ctx, wanted{p: p, room: room}, set)
	return len(p), from, err
}

// ReceivePacket waits for the next packet and returns all of it: in p if its capacity is enough, else in a new buffer of its size. A packet
// beyond limit bytes is thrown away and ErrTruncated. With ReceiveCredentials cred is that of the sender. All else is as for Receive.
// EINVAL on a stream.
func (c *Conn) ReceivePacket(
	ctx context.Context, p []byte, limit int, set *FDSet, room int,
) (packet []byte, from transport.Addr, cred Cred, err error) {
	if c.kind == syscall.SOCK_STREAM {
		return nil, nil, noCred, failed("receive", c.peer, fmt.Errorf("a stream has no packets: %w", syscall.EINVAL))
	}
	return c.receive(ctx, wanted{p: p, room: room, whole: true, limit: limit}, set)
}

// receive makes the system call itself, where it can: see send.
func (c *Conn) receive(ctx context.Context, want wanted, set *FDSet) (p []byte, from transport.Addr, cred Cred, err error) {
	if err = c.canReceive(&want, set); err == nil {
		err = ctx.Err() // before it has the turn: a nil context panics
	}
	if err == nil {
		err = c.receiving.take(ctx)
	}
	if err != nil {
		return nil, nil, noCred, failed("receive", c.peer, err)
	}
	i, none, came := &c.in, false, false
	i.begin(want)
	if c.alone.open() && !want.whole && len(want.p) <= rawMax {
		credentials := c.credentials.Load()
		i.describe(credentials)
		switch n, _, errno := i.call(uintptr(c.alone.fd)); {
		case errno == 0:
			came = true
			err = i.came(int(n), credentials)
		case again(errno):
			none = true
		case !interrupted(errno) && !c.resets(errno):
			err = errno // the kernel says some things once only
		}
	}
	if err == nil && !came {
		err = c.receiveWaiting(ctx, none)
	}
	p, from, cred, err = i.p[:i.n], i.from, i.cred, c.received(set, err)
	i.forget()
	c.receiving.pass()
	return p, from, cred, err
}

// begin forgets what came before.
func (i *incoming) begin(want wanted) {
	i.wanted, i.n, i.fds, i.from, i.cred, i.hasCred, i.settled, i.err = want, 0, i.fds[:0], nil, noCred, false, false, nil
}

// forget lets go of the caller's memory.
func (i *incoming) forget() {
	i.p = nil
	i.clear()
}

func (c *Conn) canReceive(want *wanted, set *FDSet) error {
	switch {
	case set == nil && want.room > 0 || want.room < 0 || want.room > MaxDescriptors:
		return fmt.Errorf("room for %d descriptors: %w", want.room, syscall.EINVAL)
	case len(want.p) == 0 && !want.whole && c.kind == syscall.SOCK_STREAM:
		return fmt.Errorf("no room for a byte: %w", syscall.EINVAL)
	}
	return nil
}

// receiveWaiting waits for a message. none says that there was none just now.
func (c *Conn) receiveWaiting(ctx context.Context, none bool) (err error) {
	i := &c.in
	if i.wait = true; !none {
		i.once = true
		err = c.look(&c.inward)
	}
	if err == nil && i.wait {
		i.once = false
		err = c.inward.wait(ctx)
	}
	if err == nil {
		err = i.err
	}
	return err
}

// received gives the descriptors that came to set, unless err says that the message is lost.
func (c *Conn) received(set *FDSet, err error) error {
	i := &c.in
	if err != nil {
		if err == syscall.ECONNRESET { // of a stream, at its end, and once
			c.reset.Store(true)
		}
		if e := closeAll(i.fds); e != nil {
			err = errors.Join(err, e)
		}
		return failed("receive", c.peer, err)
	}
	if len(i.fds) > 0 {
		set.take(i.fds)
	}
	if i.n == 0 && len(i.fds) == 0 && (c.kind == syscall.SOCK_STREAM || c.kind == syscall.SOCK_SEQPACKET && !i.hasCred) {
		i.from, i.cred = nil, noCred
		if c.reset.Load() {
			return failed("receive", c.peer, syscall.ECONNRESET)
		}
		return io.EOF
	}
	return nil
}

func (c *Conn) tryReceive(fd uintptr) bool {
	i := &c.in
	i.wait = false
	for {
		err := i.receive(int(fd), c.credentials.Load())
		switch {
		case interrupted(err), c.resets(err):
			continue
		case again(err):
			i.wait, i.err = true, nil
			return i.once
		}
		i.err = err
		return true
	}
}

// resets tells the error with which a peer's packets are still to be read. Linux says that a peer has closed without reading all, once, to
// whoever comes first, be it to send, and in front of what that has sent before; here it comes in the end's place.
func (c *Conn) resets(err error) bool {
	return c.kind == syscall.SOCK_SEQPACKET && err == syscall.ECONNRESET && c.reset.CompareAndSwap(false, true)
}

// look makes one try, which asks for no more, for who has the turn.
func (c *Conn) look(d *direction) error {
	if c.alone.open() {
		d.try(uintptr(c.alone.fd))
		return nil
	}
	return d.park()
}

// wait calls try, which has failed once, until it is done.
func (d *direction) wait(ctx context.Context) error {
	if transport.IsNoWait(ctx) {
		return os.ErrDeadlineExceeded
	}
	if ctx.Done() == nil {
		return d.park()
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { d.deadline(time.Unix(1, 0)); close(fired) })
	err := d.park()
	if !stop() {
		<-fired
		d.deadline(time.Time{})
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return ctx.Err()
		}
	}
	return err
}

func again(err error) bool       { return err == syscall.EAGAIN || err == syscall.EWOULDBLOCK }
func interrupted(err error) bool { return err == syscall.EINTR }
