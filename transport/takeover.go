package transport

import (
	"errors"
	"fmt"
	"net"
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
	sock := newFull(&cb, s.car.waits())
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

// Origin tells how the stream came to be: "connected", "accepted" or "imported".
func (s *Stream) Origin() string { return s.how.String() }
