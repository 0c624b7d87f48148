package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// endOfStream turns io.EOF into the callbacks' own form, 0 with nil.
func endOfStream(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// NetConn is the net.Conn face of a Stream: concurrent callers queue up instead of getting ErrBusy. The stream must not be used
// otherwise.
func NetConn(s *Stream) net.Conn { return &conn{s: s} }

type conn struct {
	s                     *Stream
	reading, writing      sync.Mutex
	readUntil, writeUntil timer
}

func (c *conn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.s.Read(c.readUntil.epoch(), p)
	return n, netError(err)
}

func (c *conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	c.s.beginAnew()
	n, err := c.s.Writev(c.writeUntil.epoch(), p)
	return int(n), netError(err)
}

// beginAnew lifts the poison: a net.Conn's caller has been told how many bytes went out.
func (s *Stream) beginAnew() {
	if s.writing.CompareAndSwap(false, true) {
		s.poison = nil
		s.endWrite()
	}
}

// netError gives a passed deadline the name that package net has for it.
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

// SyscallConn makes it a syscall.Conn, where the stream has a descriptor.
func (c *conn) SyscallConn() (syscall.RawConn, error) { return c.s.SyscallConn() }

// CloseWrite ends the sending direction.
func (c *conn) CloseWrite() error { return c.s.CloseWrite() }

func (c *conn) LocalAddr() net.Addr  { return orNone(c.s.LocalAddr()) }
func (c *conn) RemoteAddr() net.Addr { return orNone(c.s.RemoteAddr()) }

func orNone(a Addr) net.Addr {
	if a == nil {
		return UnixAddr("")
	}
	return a
}

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) SetReadDeadline(t time.Time) error {
	if err := c.s.usable(); err != nil {
		return err
	}
	c.readUntil.set(t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	if err := c.s.usable(); err != nil {
		return err
	}
	c.writeUntil.set(t)
	return nil
}

// A timer is a deadline that may be moved, also while somebody waits for it.
type timer struct {
	mu  sync.Mutex
	t   *time.Timer
	now *epoch
}

// epoch is the context of an operation that begins now.
func (d *timer) epoch() *epoch {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.now == nil {
		d.now = newEpoch()
	}
	return d.now
}

func (d *timer) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.t != nil {
		d.t.Stop()
		d.t = nil
	}
	if d.now == nil || d.now.Err() != nil {
		d.now = newEpoch()
	}
	switch left := time.Until(t); {
	case t.IsZero():
	case left <= 0:
		d.now.expire()
	default:
		var self *time.Timer
		self = time.AfterFunc(left, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.t == self {
				d.now.expire()
			}
		})
		d.t = self
	}
}

// An epoch is the context of the operations that begin before a deadline has passed, or been moved after it had. Like every context
// it ends once, for good.
type epoch struct {
	done  chan struct{}
	mu    sync.Mutex
	over  bool
	funcs map[*func()]struct{}
}

func newEpoch() *epoch { return &epoch{done: make(chan struct{})} }

func (e *epoch) expire() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		return
	}
	e.over = true
	close(e.done)
	for f := range e.funcs {
		go (*f)()
	}
	e.funcs = nil
}

// AfterFunc makes context.AfterFunc cheap.
func (e *epoch) AfterFunc(f func()) (stop func() bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		go f()
		return func() bool { return false }
	}
	if e.funcs == nil {
		e.funcs = map[*func()]struct{}{}
	}
	e.funcs[&f] = struct{}{}
	return func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		_, ok := e.funcs[&f]
		delete(e.funcs, &f)
		return ok
	}
}

func (e *epoch) Deadline() (time.Time, bool) { return time.Time{}, false }
func (e *epoch) Value(any) any               { return nil }
func (e *epoch) Done() <-chan struct{}       { return e.done }

func (e *epoch) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		return context.DeadlineExceeded
	}
	return nil
}
