package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
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
	n, err := c.s.Read(&c.readUntil, p)
	return n, netError(err)
}

func (c *conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	c.s.beginAnew()
	n, err := c.s.Writev(&c.writeUntil, p)
	return int(n), netError(err)
}

// beginAnew lifts the poison: a net.Conn's caller has been told how many bytes went out.
func (s *Stream) beginAnew() {
	if s.writing.CompareAndSwap(false, true) {
		if s.poison == ErrPoisoned {
			s.poison = nil
		}
		s.writing.Store(false)
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

// A timer is a context whose deadline may be moved, also while somebody waits for it.
type timer struct {
	mu    sync.Mutex
	t     *time.Timer
	done  chan struct{}
	over  bool
	funcs map[*func()]struct{}
}

func (d *timer) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.t != nil {
		d.t.Stop()
		d.t = nil
	}
	if d.over {
		d.over, d.done = false, nil
	}
	switch left := time.Until(t); {
	case t.IsZero():
	case left <= 0:
		d.expire()
	default:
		var self *time.Timer
		self = time.AfterFunc(left, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.t == self {
				d.expire()
			}
		})
		d.t = self
	}
}

func (d *timer) expire() {
	d.over = true
	if d.done == nil {
		d.done = make(chan struct{})
	}
	close(d.done)
	for f := range d.funcs {
		go (*f)()
	}
	d.funcs = nil
}

// AfterFunc makes context.AfterFunc cheap, and right when the deadline moves.
func (d *timer) AfterFunc(f func()) (stop func() bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		go f()
		return func() bool { return false }
	}
	if d.funcs == nil {
		d.funcs = map[*func()]struct{}{}
	}
	d.funcs[&f] = struct{}{}
	return func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		_, ok := d.funcs[&f]
		delete(d.funcs, &f)
		return ok
	}
}

func (d *timer) Deadline() (time.Time, bool) { return time.Time{}, false }
func (d *timer) Value(any) any               { return nil }

func (d *timer) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done == nil {
		d.done = make(chan struct{})
	}
	return d.done
}

func (d *timer) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return context.DeadlineExceeded
	}
	return nil
}
