package tsocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/patience"
)

// A Socket sends and receives datagrams, each as a whole. This package implements it by *Datagram;
// a virtual socket over something else keeps the same rules, which CheckDatagram of package
// transporttest checks. See the tsocket guide, "The tdgram_context abstraction" and "Virtual
// Sockets".
type Socket interface {
	// RecvFrom waits for the next datagram and puts it into p: see Datagram.RecvFrom.
	RecvFrom(ctx context.Context, p []byte) (n int, from transport.Addr, err error)
	// SendTo sends p as one datagram, and leaves its bytes as they are: see Datagram.SendTo.
	SendTo(ctx context.Context, p []byte, to transport.Addr) (int, error)
	// LocalAddr is the address of this end.
	LocalAddr() transport.Addr
	// RemoteAddr is the address that the socket is connected to, nil if it is not.
	RemoteAddr() transport.Addr
	// Disconnect closes the socket in good order; ErrBusy while an operation is outstanding.
	Disconnect() error
	// Close ends every operation at once, with net.ErrClosed.
	Close() error
}

var _ Socket = (*Datagram)(nil)

// A Datagram is a datagram socket of the operating system, UDP or UNIX, or a virtual one over
// another. OpenUDP, OpenUnixgram, AdoptDatagram and Over make it. One operation a direction may be
// outstanding: a second RecvFrom, or a second SendTo, gets ErrBusy and the first one goes on.
// Close may be called at any time. Operations end when their context does; the socket stays
// usable. An error that the system has for an earlier datagram, such as ECONNREFUSED on a
// connected socket, is returned by the next operation, and the socket goes on. See the tsocket
// guide, "The tdgram_context abstraction".
type Datagram struct {
	sock          datagramCarrier
	local, remote transport.Addr // remote: nil if not connected

	receiving, sending atomic.Bool
	state              atomic.Int32 // open, disconnected or closed
	closing            chan struct{}
	below              <-chan struct{} // Closed of the socket below a virtual one; nil: none
	closeOnce          sync.Once
	closeErr           error
}

// What has become of a Datagram.
const (
	open int32 = iota
	disconnected
	closed
)

// A datagramCarrier is what carries the datagrams of a Datagram d: the system's socket. receive and
// send are each used by one caller at a time.
type datagramCarrier interface {
	// receive waits for a datagram. It puts n bytes of it into p, and returns its size: UnknownSize
	// if all that is known is that it is more than n.
	receive(ctx context.Context, d *Datagram, p []byte) (n, size int, from transport.Addr, err error)
	// next waits for a datagram, which may be empty, and returns its size; receive is to get it.
	next(ctx context.Context, d *Datagram) (size int, err error)
	send(ctx context.Context, d *Datagram, p []byte, to transport.Addr) error
	syscallConn() (syscall.RawConn, error)
	close(unlink bool) error
}

func newDatagram(c datagramCarrier, local, remote transport.Addr) *Datagram {
	return &Datagram{sock: c, local: local, remote: remote, closing: make(chan struct{})}
}

// LocalAddr is the address of this end; of an unnamed UNIX socket the empty UnixAddr.
func (d *Datagram) LocalAddr() transport.Addr { return d.local }

// RemoteAddr is the address that the socket is connected to, nil if it is not.
func (d *Datagram) RemoteAddr() transport.Addr { return d.remote }

// SyscallConn gives access to the descriptor, for socket options and the like.
func (d *Datagram) SyscallConn() (syscall.RawConn, error) {
	raw, err := d.sock.syscallConn()
	if err != nil {
		return nil, err
	}
	return rawConn{d, raw}, nil
}

func (d *Datagram) usable() error {
	switch d.state.Load() {
	case closed:
		return net.ErrClosed
	case disconnected:
		return syscall.ENOTCONN
	}
	return nil
}

// begin claims a direction.
func (d *Datagram) begin(direction *atomic.Bool) error {
	if err := d.usable(); err != nil {
		return err
	}
	if !direction.CompareAndSwap(false, true) {
		return transport.ErrBusy
	}
	return nil
}

// RecvFrom waits for the next datagram, puts it into p, and returns its length in bytes, which is
// never 0 without an error, and its sender: the empty UnixAddr for an unnamed one. Datagrams of
// length zero are skipped, and an empty p is EINVAL. Of a datagram longer than p the first len(p)
// bytes are given, with the sender where the system tells it, beside an error that is a
// *[TooLongError]; the rest of it is lost. Receive gives a datagram of any length, and NextLength
// tells the length before. No UDP datagram is longer than 65,527 bytes (jumbograms aside). Nothing
// is allocated as long as the sender stays the same. See tdgram_recvfrom_send.
func (d *Datagram) RecvFrom(ctx context.Context, p []byte) (n int, from transport.Addr, err error) {
	if err := d.begin(&d.receiving); err != nil {
		return 0, nil, opError("receive", d.name(), err)
	}
	defer d.receiving.Store(false)
	if len(p) == 0 {
		return 0, nil, opError("receive", d.name(), errEmpty)
	}
	n, from, err = d.receive(ctx, p)
	return n, from, opError("receive", d.name(), err)
}

// Receive waits for the next datagram and returns all of it, whatever its length, in a buffer of
// its own, and its sender as RecvFrom does. The buffer has a byte at least, and is the caller's.
// Receive is an operation of the receiving direction. Where another process receives from the same
// socket, and takes the datagram first, a longer one may come in its place: that is a
// *[TooLongError], with its first bytes. See tdgram_recvfrom_recv.
func (d *Datagram) Receive(ctx context.Context) (p []byte, from transport.Addr, err error) {
	if err := d.begin(&d.receiving); err != nil {
		return nil, nil, opError("receive", d.name(), err)
	}
	defer d.receiving.Store(false)
	size, err := d.next(ctx)
	if errors.Is(err, errors.ErrUnsupported) {
		size, err = mostUDP, nil
	}
	n := 0
	if err == nil {
		p = make([]byte, size)
		n, from, err = d.receive(ctx, p)
	}
	if p = p[:n]; len(p) < size/2 {
		p = slices.Clone(p) // the buffer was for the longest one that there is
	}
	return p, from, opError("receive", d.name(), err)
}

// mostUDP is how many bytes no UDP datagram is longer than.
const mostUDP = 1<<16 - 1

// receive puts the next datagram that is not empty into p.
func (d *Datagram) receive(ctx context.Context, p []byte) (int, transport.Addr, error) {
	for {
		n, size, from, err := d.sock.receive(ctx, d, p)
		switch {
		case err != nil:
			return 0, nil, err
		case size > len(p):
			if size == UnknownSize {
				size = 0
			}
			return n, from, &TooLongError{size, len(p)}
		case n > 0:
			return n, from, nil
		}
		if err := patience.Ended(ctx); err != nil { // an empty datagram
			return 0, nil, err
		}
	}
}

// NextLength waits for the next datagram and returns its length in bytes, which is never 0 without
// an error: the datagram stays where it is, for RecvFrom to put it into a buffer of that size.
// Datagrams of length zero are taken and skipped. It is an operation of the receiving direction,
// and has the errors of RecvFrom. errors.ErrUnsupported on windows.
func (d *Datagram) NextLength(ctx context.Context) (int, error) {
	if err := d.begin(&d.receiving); err != nil {
		return 0, opError("next length", d.name(), err)
	}
	defer d.receiving.Store(false)
	size, err := d.next(ctx)
	return size, opError("next length", d.name(), err)
}

// next is NextLength in a direction that is claimed.
func (d *Datagram) next(ctx context.Context) (int, error) {
	for {
		size, err := d.sock.next(ctx, d)
		if err == nil && size == 0 {
			_, _, _, err = d.sock.receive(ctx, d, make([]byte, 1))
		}
		if err == nil && size == 0 {
			err = patience.Ended(ctx)
		}
		if err != nil || size > 0 {
			return size, err
		}
	}
}

// A TooLongError is a datagram that had no room in its receiver's buffer. It is both
// io.ErrShortBuffer and EMSGSIZE.
type TooLongError struct {
	Size int // of the datagram, in bytes; 0: the system says only that it was more than Room
	Room int // the buffer's length
}

// Error names both lengths.
func (e *TooLongError) Error() string {
	if e.Size == 0 {
		return fmt.Sprintf("a datagram of more than the %d bytes of the buffer: %v", e.Room,
			io.ErrShortBuffer)
	}
	return fmt.Sprintf("a datagram of %d bytes for a buffer of %d: %v", e.Size, e.Room,
		io.ErrShortBuffer)
}

// Unwrap gives both errors.
func (e *TooLongError) Unwrap() []error { return []error{io.ErrShortBuffer, syscall.EMSGSIZE} }

// SendTo sends p as one datagram and returns its length in bytes once the system has taken it;
// whether it arrives is not known. An empty p is EINVAL. to says where; nil is the address that the
// socket is connected to, EDESTADDRREQ if it is not. A connected socket sends nowhere else: another
// address than its own is EISCONN, on every system and whatever its family. On others an address of
// another family is EINVAL, and so is, on either, one of a kind to which no datagram socket of the
// system sends (a MemoryAddr). When a datagram is too long for the send buffer (EMSGSIZE), the
// buffer is made larger and the datagram is tried once more. When ctx ends nothing has been sent.
// If a UNIX socket to which this one is not connected is full, or on the BSDs and macOS any UNIX
// socket, SendTo tries again from time to time: the system does not tell when there is room. See
// tdgram_sendto_send.
func (d *Datagram) SendTo(ctx context.Context, p []byte, to transport.Addr) (int, error) {
	if err := d.begin(&d.sending); err != nil {
		return 0, opError("send", d.target(to), err)
	}
	defer d.sending.Store(false)
	switch {
	case len(p) == 0:
		return 0, opError("send", d.target(to), errEmpty)
	case to == nil && d.remote == nil:
		return 0, opError("send", d.local, syscall.EDESTADDRREQ)
	}
	if err := d.sock.send(ctx, d, p, to); err != nil {
		return 0, opError("send", d.target(to), err)
	}
	return len(p), nil
}

// name is what errors call the socket.
func (d *Datagram) name() transport.Addr {
	if d.remote != nil {
		return d.remote
	}
	return d.local
}

func (d *Datagram) target(to transport.Addr) transport.Addr {
	if to != nil {
		return to
	}
	return d.name()
}

// Disconnect closes the socket in good order. With an operation outstanding it is ErrBusy; later
// use is ENOTCONN. See tdgram_disconnect_send.
func (d *Datagram) Disconnect() error {
	if err := d.begin(&d.receiving); err != nil {
		return opError("disconnect", d.name(), err)
	}
	defer d.receiving.Store(false)
	if err := d.begin(&d.sending); err != nil {
		return opError("disconnect", d.name(), err)
	}
	defer d.sending.Store(false)
	d.state.CompareAndSwap(open, disconnected)
	return d.finish(true)
}

// Close ends every operation at once with net.ErrClosed, closes the socket, and removes its path if
// it is a UNIX socket with one. It is idempotent.
func (d *Datagram) Close() error {
	d.state.Store(closed)
	return d.finish(true)
}

// Release closes the socket in this process only, and leaves its path: another process goes on with
// it.
func (d *Datagram) Release() error {
	d.state.Store(closed)
	return d.finish(false)
}

func (d *Datagram) finish(unlink bool) error {
	d.closeOnce.Do(func() {
		close(d.closing)
		d.closeErr = opError("close", d.name(), d.sock.close(unlink))
	})
	return d.closeErr
}

// Done is closed when the socket is, or the one below a virtual one, however that came about: for
// a virtual socket that is over this one, and waits by itself.
func (d *Datagram) Done() <-chan struct{} {
	if d.below != nil {
		return d.below
	}
	return d.closing
}
