//go:build unix

package tlstransport

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

// canMove says that descriptors can be handed to other processes here.
const canMove = true

// A wire is a TCP socket, connected or listening, that waits in the Go poller up to a deadline. One read or accept and one write or
// connect may run at once; interrupt may be called beside them. What does not wait is done by the TCP plug-in of package transport.
type wire struct {
	tcp   *transport.Callbacks[int]
	sock  int
	place *place // owns sock; nil before it is connected or listens
	pace  pacing

	in, out timer

	rd struct { // of the read in flight, so that the closure is made once
		p   []byte
		n   int
		err error
	}
	readReady func(uintptr) bool
}

func newWire(tcp *transport.Callbacks[int], addr transport.Addr, polls *polls) (*wire, error) {
	sock, err := tcp.Socket(nil, addr)
	if err != nil {
		return nil, err
	}
	return adoptWire(tcp, sock, polls)
}

// adoptWire takes a descriptor, which it closes when it fails.
func adoptWire(tcp *transport.Callbacks[int], sock int, polls *polls) (*wire, error) {
	if err := unix.SetNonblock(sock, true); err != nil {
		return nil, errors.Join(os.NewSyscallError("fcntl O_NONBLOCK", err), unix.Close(sock))
	}
	w := &wire{tcp: tcp, sock: sock, pace: pacing{polls: polls}}
	w.readReady = w.tryRead
	return w, nil
}

// importWire makes a wire of a descriptor that came from another process. It owns fd on success only, and then closes that number: its own
// is a duplicate, so that a failure half-way leaves the original alone.
func importWire(tcp *transport.Callbacks[int], fd int, listening bool, polls *polls) (*wire, error) {
	if _, err := tcp.Import(nil, fd, nil); err != nil { // which looks at it, and takes nothing
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
	w, err := adoptWire(tcp, dup, polls)
	if err != nil {
		return nil, err
	}
	if err := w.open(); err != nil {
		return nil, errors.Join(err, w.close())
	}
	_ = unix.Close(fd)
	return w, nil
}

// open gives the socket to the poller.
func (w *wire) open() (err error) {
	if w.place != nil {
		return nil
	}
	w.place, err = newPlace(w.sock)
	if err == nil {
		w.in.use(w.place.setReadDeadline)
		w.out.use(w.place.setWriteDeadline)
	}
	return err
}

func (w *wire) fd() (int, error) { return w.sock, nil }

func (w *wire) close() error {
	if w.place != nil {
		return w.place.close()
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
	try := func(uintptr) bool {
		for {
			if err = unix.SetNonblock(w.sock, true); err != nil { // whoever shares the listener may have changed that
				return true
			}
			if sock, addr, err = w.tcp.Accept(w.sock, 0); err != syscall.EINTR {
				return err != syscall.EAGAIN
			}
		}
	}
	if !try(0) {
		if d.once {
			return nil, nil, os.ErrDeadlineExceeded
		}
		w.in.arm(d.until)
		if e := w.place.awaitRead(try); e != nil {
			return nil, nil, e
		}
	}
	if err != nil {
		return nil, nil, err
	}
	n, err := adoptWire(w.tcp, sock, w.pace.polls)
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
	check := func(uintptr) bool {
		var errno int
		errno, err = unix.GetsockoptInt(w.sock, unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil {
			return true
		}
		switch e := syscall.Errno(errno); e {
		case syscall.EINPROGRESS, syscall.EALREADY, syscall.EINTR:
			return false
		case 0:
			_, e := unix.Getpeername(w.sock)
			return e == nil // else a spurious wake-up
		default:
			err = e
			return true
		}
	}
	if check(0) { // on the loopback it mostly has ended
		return err
	}
	if d.once {
		return os.ErrDeadlineExceeded
	}
	if e := w.awaitWrite(check, d); e != nil {
		return e
	}
	w.place.dropWriter()
	return err
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

// await tries to read until it is done or the time is over.
func (w *wire) await(d deadline) error {
	if w.tryRead(0) {
		w.pace.read(w.rd.n)
		return nil
	}
	if d.once {
		return os.ErrDeadlineExceeded
	}
	w.in.arm(d.until)
	defer func() { w.pace.read(w.rd.n) }()
	if w.poll() || w.place.look(true) && w.tryRead(0) {
		return nil
	}
	return w.place.awaitRead(w.readReady)
}

// poll goes on trying for a while, where the pace of the peer promises something. The Go poller looks away meanwhile, so that nobody is
// woken beside this reader.
func (w *wire) poll() bool {
	limit, doze, ok := w.pace.begin()
	if !ok {
		return false
	}
	defer w.pace.leave()
	if doze {
		nap(limit)
		limit = 0
	}
	came := false
	for began := time.Now(); ; rest(pollPause) {
		if came = w.tryRead(0); came || time.Since(began) >= limit {
			break
		}
	}
	if w.pace.polled(came); came {
		w.place.look(false)
	}
	return came
}

func (w *wire) tryRead(uintptr) bool {
	for {
		w.rd.n, w.rd.err = w.tcp.Read(w.sock, w.rd.p, 0)
		switch w.rd.err {
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			return true
		}
	}
}

// tryWrite writes what goes without waiting; false if that is nothing.
func (w *wire) tryWrite(p []byte) (n int, ok bool, err error) {
	for {
		n, err = w.tcp.Write(w.sock, p, 0)
		switch err {
		case nil:
			w.pace.written(n)
			return n, true, nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, false, nil
		default:
			return 0, true, err
		}
	}
}

// awaitWrite calls try whenever there may be room, until it is true or the time is over.
func (w *wire) awaitWrite(try func(uintptr) bool, d deadline) error {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := w.place.needWriter()
		if err == nil {
			break
		}
		switch { // for want of something to wait with it looks from time to time
		case !scarce(err):
			return err
		case try(0):
			return nil
		case w.out.ended() || !d.until.IsZero() && time.Until(d.until) <= 0:
			return os.ErrDeadlineExceeded
		}
		time.Sleep(pause)
	}
	w.out.arm(d.until)
	return w.place.awaitWrite(try)
}

// scarce tells a want of descriptors, memory or watches, which passes.
func scarce(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM) ||
		errors.Is(err, syscall.ENOSPC)
}

// shutWrite ends what we send.
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
