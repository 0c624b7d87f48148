package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// Over puts a plug-in of FullImpl over a stream: a virtual socket, see the tsocket guide, "Virtual
// Sockets". It takes s over: what s has read ahead goes along and does not pass through the
// plug-in, s itself is disconnected (using it is ENOTCONN), and its Close closes nothing. The
// plug-in uses the connection as below, which is its own to close, and wrap makes the socket
// context that does so. The new stream has the addresses and the Origin of s. [Stream.Read] and
// [Stream.WriteSome] of below are what Read and Write need, [NoWait] is a tmo of 0, and Interrupt
// cancels their contexts; package transport/virtual does so.
//
// It does not wait. ErrBusy if an operation is outstanding on s, ErrPaused, net.ErrClosed or
// ENOTCONN if s is paused, closed or disconnected: then s stays as it is.
func Over[C any](s *Stream, cb Callbacks[C], wrap func(below *Stream) C) (*Stream, error) {
	if err := cb.check(false); err != nil {
		return nil, fmt.Errorf("transport.Over: %w", err)
	}
	if cb.Flags&FullImpl == 0 {
		return nil, errors.New("transport.Over: Callbacks.Flags needs FullImpl")
	}
	if err := s.beginRead(); err != nil {
		return nil, opError("take over", s.remote, err)
	}
	defer s.endRead()
	if err := s.beginWrite(); err != nil {
		return nil, opError("take over", s.remote, err)
	}
	defer s.endWrite()
	s.state.Or(streamDisconnected)
	ours := false
	s.closeOnce.Do(func() { ours = true }) // a Close from now on closes nothing
	if !ours {
		return nil, opError("take over", s.remote, net.ErrClosed)
	}
	sock := newFull(&cb)
	sock.c = wrap(newStream(s.car, s.remote, s.how))
	if err := begin(func() error {
		if err := sock.establish(true); err != nil {
			return err
		}
		return sock.beginFrames(true)
	}, sock.abandon); err != nil {
		return nil, opError("take over", s.remote, err)
	}
	taken := newStream(sock, s.remote, s.how)
	taken.unread(s.buf[s.r:s.w])
	taken.ahead.Store(int64(taken.w - taken.r))
	s.r, s.w = 0, 0
	taken.broken.Store(s.broken.Load())
	taken.cut.Store(s.cut.Load())
	taken.asleep.Store(s.asleep.Load())
	return taken, nil
}

// A DatagramEnd is what a virtual datagram socket does with the one below. Receive and Next, and
// Send, are each used by one caller at a time, with a buffer that is not empty.
type DatagramEnd interface {
	// Receive waits for a datagram, which may be empty. It puts n bytes of it into p, and returns
	// its size: UnknownSize if all that is known is that it is more than n.
	Receive(ctx context.Context, p []byte) (n, size int, from Addr, err error)
	// Next waits for a datagram, which may be empty, and returns its size; Receive is to get it.
	Next(ctx context.Context) (size int, err error)
	Send(ctx context.Context, p []byte, to Addr) error
	// Close ends the other calls, and closes the socket below; Release releases it.
	Close() error
	Release() error
}

// UnknownSize is the size of a datagram of which is known only that it was too long.
const UnknownSize = int(^uint(0) >> 1)

// OverDatagram makes a virtual datagram socket over another one, which belongs to it from then on:
// end uses the one below, and the Datagram keeps its usual rules. It has the addresses of the one
// below, is over when that is, and does not wait.
func OverDatagram(below DatagramSocket, end DatagramEnd) *Datagram {
	d := newDatagram(virtualEnd{end, below}, below.LocalAddr(), below.RemoteAddr())
	if b, ok := below.(interface{ Done() <-chan struct{} }); ok {
		d.below = b.Done()
	}
	return d
}

// A virtualEnd is a DatagramEnd as the carrier of a Datagram.
type virtualEnd struct {
	DatagramEnd
	below DatagramSocket
}

func (v virtualEnd) receive(ctx context.Context, _ *Datagram, p []byte) (int, int, Addr, error) {
	return v.Receive(ctx, p)
}
func (v virtualEnd) next(ctx context.Context, _ *Datagram) (int, error) { return v.Next(ctx) }
func (v virtualEnd) send(ctx context.Context, _ *Datagram, p []byte, to Addr) error {
	return v.Send(ctx, p, to)
}

func (v virtualEnd) syscallConn() (syscall.RawConn, error) {
	if s, ok := v.below.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

func (v virtualEnd) close(unlink bool) error {
	if unlink {
		return v.Close()
	}
	return v.Release()
}

// Origin tells how the stream came to be: "connected", "accepted" or "imported".
func (s *Stream) Origin() string { return s.how.String() }
