package handoff

import (
	"context"
	"errors"
	"fmt"
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
