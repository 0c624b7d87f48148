package transport

import (
	"errors"
	"syscall"
)

// A rawConn gives others access to a socket's descriptor. Once that is closed, its methods return
// the socket's error.
type rawConn struct {
	of  interface{ usable() error }
	raw syscall.RawConn
}

func (c rawConn) Control(f func(fd uintptr)) error    { return c.failed(c.raw.Control(f)) }
func (c rawConn) Read(f func(fd uintptr) bool) error  { return c.failed(c.raw.Read(f)) }
func (c rawConn) Write(f func(fd uintptr) bool) error { return c.failed(c.raw.Write(f)) }

func (c rawConn) failed(err error) error { return reason(c.of, err) }

// A streamConn is that of a stream, whose sending direction CloseWrite may have ended.
type streamConn[C any] struct {
	rawConn
	s *ready[C]
}

func (c streamConn[C]) Write(f func(fd uintptr) bool) error {
	return c.s.halvedError(c.rawConn.Write(f))
}

// A controlled is the descriptor of a plug-in that reads, writes and waits by itself: others can
// only use Control, to set options, say.
type controlled[C any] struct{ s *full[C] }

func (c controlled[C]) Control(f func(fd uintptr)) error {
	if err := c.s.enter(); err != nil {
		return err
	}
	defer c.s.inside.Done()
	f(uintptr(c.s.fd))
	return nil
}

func (controlled[C]) Read(func(fd uintptr) bool) error  { return errors.ErrUnsupported }
func (controlled[C]) Write(func(fd uintptr) bool) error { return errors.ErrUnsupported }
