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
	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
	"github.com/cnode-go/cnode/transport/internal/patience"
)

// MaxDescriptors is the most descriptors that one message can have: Linux's SCM_MAX_FD. Other
// systems and libraries allow fewer, see the package's documentation.
const MaxDescriptors = 253

// A Conn sends and receives single messages with descriptors on a UNIX socket: a stream, sequenced
// packets, or datagrams. It is the lowest level, on which the carriers are built, and does no
// framing: a stream's reader gets bytes, and descriptors come with the first byte that they were
// sent with, or in one read with bytes that were sent before it.
//
// A Conn that is dropped without Close is closed some time after it has become unreachable, if the
// garbage collector runs; so is what is made of one: a Forwarder, a MessageConn and so on.
//
// All methods may be called concurrently. One message goes out, and one comes in, at a time; other
// calls wait for their turn, as long as their contexts let them. A SendTo whose receiver has no
// room does not keep the turn. With transport.NoWait a call that would have to wait returns
// os.ErrDeadlineExceeded: there is no room, or no message, or another call has the turn. Sending
// and receiving allocate nothing on Linux, unless they must wait under a context that can be
// cancelled, or for their turn.
type Conn struct {
	conn  *net.UnixConn // nil: alone owns the socket
	alone *lone
	raw   syscall.RawConn
	kind  int            // SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM
	peer  transport.Addr // the address that the socket is connected to; nil: none

	sending, receiving patience.Turns // held while a call uses out, in
	out                outgoing
	in                 incoming
	outward, inward    direction
	broken             bool        // guarded by sending: only part of a message went out
	reset              atomic.Bool // the peer has closed without reading everything
	credentials        atomic.Bool // each packet comes with its sender's credentials
}

// A direction of a socket. Its functions are made once, so that calls need not allocate them.
type direction struct {
	try  func(fd uintptr) bool           // trySend, tryReceive
	park func(ctx context.Context) error // calls try until it is done, or ctx ends
}

// NewConn makes a Conn of a UNIX socket, which the Conn owns on success: the net.UnixConn must not
// be used any more. errors.ErrUnsupported where descriptors cannot be passed (windows).
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
	c := new(Conn)
	if err := c.borrow(conn); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Conn) borrow(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fault.Failed("adopt", nil, err)
	}
	c.conn, c.raw = conn, raw
	if c.kind, err = socketKind(raw); err != nil {
		return fault.Failed("adopt", nil, err)
	}
	c.credentials.Store(credentialsOn(raw))
	if a := conn.RemoteAddr(); a != nil {
		c.peer = transport.FromNetAddr(a)
	}
	c.in.named = c.kind == syscall.SOCK_DGRAM
	out, in := &c.outward, &c.inward
	parking := func(wait func() error, set func(time.Time) error) func(context.Context) error {
		return func(ctx context.Context) error { return patience.ByDeadline(ctx, set, wait) }
	}
	out.try, out.park = c.trySend, parking(func() error { return raw.Write(out.try) }, conn.SetWriteDeadline)
	in.try, in.park = c.tryReceive, parking(func() error { return raw.Read(in.try) }, conn.SetReadDeadline)
	return nil
}

// Close closes the socket. Calls that wait return net.ErrClosed. A listener's path is not removed.
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

// SyscallConn gives access to the socket's options.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return (*insider)(c), nil }

// Packets tells whether the socket keeps the boundaries of messages: SOCK_SEQPACKET or SOCK_DGRAM.
func (c *Conn) Packets() bool { return c.kind != syscall.SOCK_STREAM }

// ReceiveCredentials makes the system tell with each packet which process sent it (Linux:
// SO_PASSCRED). This also distinguishes an empty packet from the end of a connection. A sender
// cannot lie about itself, unless it is root. The setting applies to packets that are received from
// now on. errors.ErrUnsupported on other systems; EINVAL on a stream.
func (c *Conn) ReceiveCredentials(on bool) error {
	const op = "receive credentials"
	if c.kind == syscall.SOCK_STREAM {
		return fault.Failed(op, c.peer, fmt.Errorf("a stream has no packets: %w", syscall.EINVAL))
	}
	var err error
	e := c.raw.Control(func(fd uintptr) { err = passCredentials(int(fd), on) })
	if err == nil {
		err = e
	}
	if err == nil {
		c.credentials.Store(on)
	}
	return fault.Failed(op, c.peer, err)
}

// tellEmpty turns ReceiveCredentials on for a connection of packets, if the system can, because
// otherwise an empty packet would look like the end.
func (c *Conn) tellEmpty() error {
	if c.kind != syscall.SOCK_SEQPACKET {
		return nil
	}
	if err := c.ReceiveCredentials(true); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// look calls try once, without waiting. The caller has the turn, and has set once, so that try does
// not ask to be called again.
func (c *Conn) look(d *direction) error {
	if c.alone.open() {
		d.try(uintptr(c.alone.fd))
		return nil
	}
	return d.park(context.Background())
}

// wait waits and calls try, which found the socket not ready, until it is done.
func (d *direction) wait(ctx context.Context) error {
	if transport.IsNoWait(ctx) {
		return os.ErrDeadlineExceeded
	}
	return d.park(ctx)
}

func again(err error) bool       { return err == syscall.EAGAIN || err == syscall.EWOULDBLOCK }
func interrupted(err error) bool { return err == syscall.EINTR }
