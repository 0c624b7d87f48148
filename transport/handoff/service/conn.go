package service

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A conn is a connection of a listener. While nothing of a request has been read of it, it can go
// on in another process: its reader stops, and hears that it is closed.
type conn struct {
	net.Conn // of package net
	l        *listener
	p        *plain

	mu       sync.Mutex
	idle     bool      // nothing has been read, or SetIdle said so
	limits   int       // how often SetReadDeadline was called since SetIdle, with no Read between
	room     int       // of the first Read; less: the reader has something left from before
	held     bool      // it has come from another process, and no server has it
	spoke    bool      // something has been read
	waiting  bool      // a Read that may be stopped
	called   bool      // that has been called to stop
	gone     bool      // another process has it
	deadline time.Time // the reader's
}

// enter makes one of a connection that has been accepted, here or in another process.
func (p *plain) enter(c net.Conn, l *listener) net.Conn {
	if _, ok := c.(syscall.Conn); !ok {
		return c
	}
	w := &conn{Conn: c, l: l, p: p, idle: true}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[w] = struct{}{}
	return w
}

// SetIdle tells that the connection is between two requests, of which the last has been answered.
// The next Read that has nothing left of before ends that.
func (c *conn) SetIdle(idle bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle, c.limits = idle, 0
}

// passed is how another process gets it.
func (c *conn) passed(fd int) passed {
	c.mu.Lock()
	defer c.mu.Unlock()
	return passed{FD: fd, Network: c.l.network, Address: c.l.address, Nth: c.l.nth, Spoke: c.spoke, Until: c.deadline}
}

// await waits until there is something to read; false: it has gone, or is closed.
func (c *conn) await() bool {
	raw, err := c.SyscallConn()
	if err == nil {
		_, err = c.read(nil, func([]byte) (int, error) { return 0, readable(raw) })
	}
	if err != nil {
		_ = c.Close()
		return false
	}
	c.mu.Lock()
	c.held, c.room = false, 0
	c.mu.Unlock()
	return c.SetReadDeadline(time.Time{}) == nil
}

// Read reads, or stops, if the connection may go to another process and one wants it.
func (c *conn) Read(p []byte) (int, error) { return c.read(p, c.Conn.Read) }

func (c *conn) read(p []byte, read func([]byte) (int, error)) (int, error) {
	for {
		wait, err := c.mayRead(len(p))
		if err != nil {
			return 0, err
		}
		if wait != nil {
			<-wait
			continue
		}
		n, err := read(p)
		c.mu.Lock()
		called := c.called
		c.waiting, c.called = false, false
		if n > 0 {
			c.idle, c.spoke = false, true
		}
		late := !c.deadline.IsZero() && !time.Now().Before(c.deadline)
		c.mu.Unlock()
		if called {
			_ = c.Conn.SetReadDeadline(c.deadline)
			c.p.heard(c)
			if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && !late {
				continue
			}
		}
		return n, err
	}
}

// mayRead gives what a reader is to wait for before it looks again; nil: it may read.
func (c *conn) mayRead(room int) (wait <-chan struct{}, err error) {
	c.mu.Lock()
	c.limits = 0
	if c.room == 0 {
		c.room = room
	}
	switch {
	case c.gone:
		c.mu.Unlock()
		return nil, net.ErrClosed
	case !c.idle || room < c.room:
		c.mu.Unlock()
		return nil, nil
	}
	c.mu.Unlock()
	wait, pass := c.p.asks(c)
	switch {
	case pass:
		if c.p.pass(c) {
			return nil, net.ErrClosed
		}
	case wait != nil:
		return wait, nil
	}
	return nil, nil
}

// call has a reader stop.
func (c *conn) call() (waits bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting {
		c.called = true
		_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
	}
	return c.waiting
}

// goes ends the connection here, since another process has it.
func (c *conn) goes() {
	c.mu.Lock()
	c.gone = true
	c.mu.Unlock()
	c.p.forget(c)
	_ = c.Conn.Close()
}

// Close closes the connection, unless another process has it, or is about to.
func (c *conn) Close() error {
	if !c.p.forget(c) {
		return nil
	}
	return c.Conn.Close()
}

// SetReadDeadline is that of the connection, from its next Read on.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	// net/http sets that of an idle connection, looks whether a request is there, and sets it again:
	// with no Read between, the request has come with the one before
	if c.limits++; c.limits > 1 && c.spoke {
		c.idle = false
	}
	if c.called {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.Conn.SetWriteDeadline(t))
}

// Write writes. A server that speaks first goes on with the connection.
func (c *conn) Write(p []byte) (int, error) {
	c.speaks()
	return c.Conn.Write(p)
}

// ReadFrom leaves the copying to the system where it can do that.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	c.speaks()
	return io.Copy(c.Conn, r)
}

// speaks ends that the connection may go to another process.
func (c *conn) speaks() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = false
	c.waiting = c.waiting && c.called
}

// CloseWrite ends what this side sends.
func (c *conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// SyscallConn gives access to the socket.
func (c *conn) SyscallConn() (syscall.RawConn, error) { return c.Conn.(syscall.Conn).SyscallConn() }
