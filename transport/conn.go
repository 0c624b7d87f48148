package transport

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport/internal/patience"
)

// endOfStream turns io.EOF into the callbacks' own form, 0 with nil.
func endOfStream(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// NetConn is the net.Conn face of a Stream: concurrent callers queue up instead of getting ErrBusy.
// The stream must not be used otherwise. A FullImpl plug-in gets what is left of a deadline as its
// tmo. If the deadline is moved to an earlier time while a call is waiting, the call is ended as by
// the end of a context: a Write of a plug-in without Interrupt together with the connection.
//
// What ErrPoisoned is to a Stream's writer, the count beside the error is to a net.Conn's: after a
// Write that ended half-way the next one goes out.
//
// LocalAddr is asked for by NetConn, and is known after Close, too.
func NetConn(s *Stream) net.Conn { return &conn{s: s, local: orUnnamed(s.LocalAddr())} }

type conn struct {
	s                     *Stream
	local                 net.Addr
	reading, writing      sync.Mutex
	readUntil, writeUntil patience.Deadline
}

func (c *conn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, err := c.s.Read(c.readUntil.Context(), p)
		if err != ErrEndOfPacket {
			return n, netError(err)
		}
		if n > 0 {
			return n, nil
		}
	}
}

func (c *conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	c.s.beginAnew()
	n, err := c.s.Writev(c.writeUntil.Context(), p)
	return int(n), netError(err)
}

// beginAnew lifts the poison: a net.Conn's caller has been told how many bytes went out.
func (s *Stream) beginAnew() {
	if s.writing.CompareAndSwap(false, true) {
		s.poison = nil
		s.endWrite()
	}
}

// netError turns a passed deadline into the error that package net has for it,
// os.ErrDeadlineExceeded.
func netError(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		var op *OpError
		if errors.As(err, &op) {
			return &OpError{op.Op, op.Addr, os.ErrDeadlineExceeded}
		}
		return os.ErrDeadlineExceeded
	}
	return err
}

func (c *conn) Close() error { return c.s.Close() }

// SyscallConn makes a conn a syscall.Conn; errors.ErrUnsupported if the stream has no descriptor.
func (c *conn) SyscallConn() (syscall.RawConn, error) { return c.s.SyscallConn() }

// CloseWrite ends the sending direction.
func (c *conn) CloseWrite() error { return c.s.CloseWrite() }

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return orUnnamed(c.s.RemoteAddr()) }

func (c *conn) SetDeadline(t time.Time) error {
	// each fails only if the stream is closed
	return cmp.Or(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) SetReadDeadline(t time.Time) error {
	if err := c.s.usable(); err != nil {
		return opError("set deadline", c.s.remote, err)
	}
	c.readUntil.Set(t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	if err := c.s.usable(); err != nil {
		return opError("set deadline", c.s.remote, err)
	}
	c.writeUntil.Set(t)
	return nil
}
