//go:build unix

package tlstransport

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

// canMove says that descriptors can be handed to other processes.
const canMove = true

// A wire is a TCP socket, connected or listening, whose calls wait up to a deadline. One read or
// accept and one write or connect may run at once; interrupt may be called at the same time. Calls
// that do not wait are those of package transport's TCP plug-in.
type wire struct {
	tcp     *transport.Callbacks[int]
	sock    int
	polling *transport.Polling
	waiter  *transport.Waiter // nil until the socket connects or listens

	in, out timer

	rd struct { // of the read in flight: here, so that readReady is made only once
		p   []byte
		n   int
		err error
	}
	readReady func() (int, bool)
}

func newWire(tcp *transport.Callbacks[int], addr transport.Addr, polling *transport.Polling) (*wire, error) {
	sock, err := tcp.Socket(nil, addr)
	if err != nil {
		return nil, err
	}
	return adoptWire(tcp, sock, polling)
}

// adoptWire makes a wire of a descriptor, which it closes on failure.
func adoptWire(tcp *transport.Callbacks[int], sock int, polling *transport.Polling) (*wire, error) {
	if err := unix.SetNonblock(sock, true); err != nil {
		return nil, errors.Join(os.NewSyscallError("fcntl O_NONBLOCK", err), unix.Close(sock))
	}
	w := &wire{tcp: tcp, sock: sock, polling: polling}
	w.readReady = w.tryRead
	return w, nil
}

// importWire makes a wire of a descriptor that came from another process. The wire uses a
// duplicate, so that a failure half-way leaves fd alone; only on success importWire closes fd.
func importWire(tcp *transport.Callbacks[int], fd int, listening bool, polling *transport.Polling) (*wire, error) {
	if _, err := tcp.Import(nil, fd, nil); err != nil { // only checks fd
		return nil, err
	}
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	switch {
	case err != nil:
		return nil, os.NewSyscallError("getsockopt SO_ACCEPTCONN", err)
	case (listens != 0) != listening:
		return nil, fmt.Errorf("descriptor %d listens: %t; its state says %t: %w", fd, listens != 0, listening, syscall.EINVAL)
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err)
	}
	w, err := adoptWire(tcp, dup, polling)
	if err != nil {
		return nil, err
	}
	if err := w.open(); err != nil {
		return nil, errors.Join(err, w.close())
	}
	_ = unix.Close(fd)
	return w, nil
}

// open makes the waiter.
func (w *wire) open() (err error) {
	if w.waiter != nil {
		return nil
	}
	w.waiter, err = w.polling.Waiter(w.sock)
	if err == nil {
		w.in.use(w.waiter.SetReadDeadline)
		w.out.use(w.waiter.SetWriteDeadline)
	}
	return err
}

func (w *wire) fd() (int, error) { return w.sock, nil }

func (w *wire) close() error {
	if w.waiter != nil {
		_ = w.waiter.Close()
	}
	return unix.Close(w.sock)
}

func (w *wire) listen(addr transport.Addr, backlog int) (transport.Addr, error) {
	bound, err := w.tcp.Listen(w.sock, addr, backlog)
	if err != nil {
		return nil, err
	}
	return bound, w.open()
}

func (w *wire) localAddr() (transport.Addr, error) { return w.tcp.LocalAddr(w.sock) }

func (w *wire) remoteAddr() transport.Addr {
	sa, err := unix.Getpeername(w.sock)
	if err != nil {
		return nil
	}
	return transport.FromSockaddr(sa)
}

func (w *wire) keepAlive() error { return w.tcp.AcceptHandshakeComplete(w.sock) }

func (w *wire) accept(d deadline) (*wire, transport.Addr, error) {
	w.in.fresh()
	var sock int
	var addr transport.Addr
	var err error
	try := func() bool {
		for {
			// a process that shares the listener may have changed that
			if err = unix.SetNonblock(w.sock, true); err != nil {
				return true
			}
			if sock, addr, err = w.tcp.Accept(w.sock, 0); err != syscall.EINTR {
				return err != syscall.EAGAIN
			}
		}
	}
	if !try() {
		if d.once {
			return nil, nil, os.ErrDeadlineExceeded
		}
		w.in.arm(d.until)
		if e := w.waiter.Accept(try); e != nil {
			return nil, nil, e
		}
	}
	if err != nil {
		return nil, nil, err
	}
	n, err := adoptWire(w.tcp, sock, w.polling)
	if err != nil {
		return nil, nil, err
	}
	if err := n.open(); err != nil {
		return nil, nil, errors.Join(err, n.close())
	}
	return n, addr, nil
}

func (w *wire) connect(addr transport.Addr, d deadline) error {
	w.out.fresh()
	err := w.tcp.Connect(w.sock, addr, 0)
	switch err {
	case nil:
		return w.open()
	case syscall.EINPROGRESS, syscall.EINTR, syscall.EALREADY:
	default:
		return err
	}
	if err := w.open(); err != nil {
		return err
	}
	if d.once {
		w.out.arm(past())
	} else {
		w.out.arm(d.until)
	}
	return w.waiter.Connected()
}

// read reads at least one byte; io.EOF is the end of what the peer sends.
func (w *wire) read(p []byte, d deadline) (int, error) {
	w.rd.p = p
	err := w.await(d)
	w.rd.p = nil
	switch {
	case err != nil:
		return 0, err
	case w.rd.err != nil:
		return 0, w.rd.err
	case w.rd.n == 0:
		return 0, io.EOF
	}
	return w.rd.n, nil
}

// await calls tryRead until it is done or the time is over.
func (w *wire) await(d deadline) error {
	if d.once {
		n, done := w.tryRead()
		if !done {
			return os.ErrDeadlineExceeded
		}
		w.waiter.Took(n)
		return nil
	}
	w.in.arm(d.until)
	return w.waiter.Read(w.readReady)
}

func (w *wire) tryRead() (n int, done bool) {
	for {
		w.rd.n, w.rd.err = w.tcp.Read(w.sock, w.rd.p, 0)
		switch w.rd.err {
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, false
		default:
			return w.rd.n, true
		}
	}
}

// tryWrite writes as much as it can without waiting; ok is false if there is no room.
func (w *wire) tryWrite(p []byte) (n int, ok bool, err error) {
	for {
		n, err = w.tcp.Write(w.sock, p, 0)
		switch err {
		case nil:
			w.waiter.Wrote(n)
			return n, true, nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, false, nil
		default:
			return 0, true, err
		}
	}
}

// awaitWrite calls try whenever there may be room, until try returns true or the time is over.
func (w *wire) awaitWrite(try func() bool, d deadline) error {
	w.out.arm(d.until)
	return w.waiter.Write(try)
}

// shutWrite ends the sending direction.
func (w *wire) shutWrite() { _ = unix.Shutdown(w.sock, unix.SHUT_WR) }

// interrupt ends the calls that wait.
func (w *wire) interrupt() {
	w.in.end()
	w.out.end()
}

func plainTCP() *transport.Callbacks[int] {
	cb := transport.TCPCallbacks()
	return &cb
}
