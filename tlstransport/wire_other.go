//go:build !unix

package tlstransport

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// canMove says that descriptors cannot be handed to other processes on these systems.
const canMove = false

// A wire is a TCP socket, connected or listening, whose calls wait up to a deadline: on these
// systems one of package net, without a descriptor.
type wire struct {
	conn     *net.TCPConn
	listener *net.TCPListener

	in, out timer
	dialing struct {
		sync.Mutex
		cancel context.CancelFunc
	}
}

// plainTCP is nil: on these systems package net replaces the TCP plug-in.
func plainTCP() *transport.Callbacks[int] { return nil }

func newWire(_ *transport.Callbacks[int], addr transport.Addr, _ *transport.Polling) (*wire, error) {
	if _, err := transport.AddrPort(addr); err != nil {
		return nil, err
	}
	return &wire{}, nil
}

func importWire(*transport.Callbacks[int], int, bool, *transport.Polling) (*wire, error) {
	return nil, errors.ErrUnsupported
}

func (w *wire) fd() (int, error) { return -1, errors.ErrUnsupported }

func (w *wire) close() error {
	switch {
	case w.conn != nil:
		return w.conn.Close()
	case w.listener != nil:
		return w.listener.Close()
	}
	return nil
}

func (w *wire) listen(addr transport.Addr, _ int) (transport.Addr, error) {
	ap, err := transport.AddrPort(addr)
	if err != nil {
		return nil, err
	}
	w.listener, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(ap))
	if err != nil {
		return nil, transport.PosixError(err)
	}
	w.in.use(w.listener.SetDeadline)
	return w.localAddr()
}

func (w *wire) localAddr() (transport.Addr, error) {
	if w.listener != nil {
		return transport.FromAddrPort(w.listener.Addr().(*net.TCPAddr).AddrPort()), nil
	}
	if w.conn != nil {
		return transport.FromAddrPort(w.conn.LocalAddr().(*net.TCPAddr).AddrPort()), nil
	}
	return nil, net.ErrClosed
}

func (w *wire) remoteAddr() transport.Addr {
	if w.conn == nil {
		return nil
	}
	return transport.FromAddrPort(w.conn.RemoteAddr().(*net.TCPAddr).AddrPort())
}

func (w *wire) keepAlive() error { return w.conn.SetKeepAlive(true) }

func (w *wire) take(c *net.TCPConn) {
	w.conn = c
	w.in.use(c.SetReadDeadline)
	w.out.use(c.SetWriteDeadline)
}

func (w *wire) accept(d deadline) (*wire, transport.Addr, error) {
	w.in.fresh()
	w.in.arm(soon(d))
	c, err := w.listener.AcceptTCP()
	if err != nil {
		return nil, nil, transport.PosixError(err)
	}
	n := &wire{}
	n.take(c)
	return n, n.remoteAddr(), nil
}

func (w *wire) connect(addr transport.Addr, d deadline) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w.out.fresh()
	w.dialing.Lock()
	w.dialing.cancel = cancel
	w.dialing.Unlock()
	if w.out.ended() { // interrupt came before cancel was set
		return os.ErrDeadlineExceeded
	}
	dialer := net.Dialer{Deadline: d.until, KeepAlive: -1}
	if d.once {
		dialer.Timeout = once
	}
	c, err := dialer.DialContext(ctx, "tcp", addr.String())
	switch {
	case err == nil:
		w.take(c.(*net.TCPConn))
		return nil
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded):
		return os.ErrDeadlineExceeded
	}
	return transport.PosixError(err)
}

func (w *wire) read(p []byte, d deadline) (int, error) {
	w.in.arm(soon(d))
	n, err := w.conn.Read(p)
	if n > 0 {
		return n, nil
	}
	if err == nil {
		err = io.EOF
	}
	return 0, transport.PosixError(err)
}

func (w *wire) tryWrite(p []byte) (n int, ok bool, err error) {
	// not by w.out: the attempt is made even if the call has been ended
	_ = w.conn.SetWriteDeadline(time.Now().Add(once))
	n, err = w.conn.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return n, n > 0, nil
	}
	return n, true, transport.PosixError(err)
}

func (w *wire) awaitWrite(try func() bool, d deadline) error {
	for !try() {
		if !d.until.IsZero() && !time.Now().Before(d.until) || w.out.ended() {
			return os.ErrDeadlineExceeded
		}
	}
	return nil
}

// once is the time for a single try: package net does not try at all when no time is left.
const once = time.Millisecond

// soon returns the time at which a call ends.
func soon(d deadline) time.Time {
	if d.once {
		return time.Now().Add(once)
	}
	return d.until
}

// shutWrite ends the sending direction.
func (w *wire) shutWrite() { _ = w.conn.CloseWrite() }

// interrupt ends the calls that wait.
func (w *wire) interrupt() {
	w.in.end()
	w.out.end()
	w.dialing.Lock()
	defer w.dialing.Unlock()
	if w.dialing.cancel != nil {
		w.dialing.cancel()
	}
}

// ended tells whether the call in flight must end.
func (t *timer) ended() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.kicked
}
