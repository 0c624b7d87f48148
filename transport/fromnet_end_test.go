package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport/internal/await"
)

// deafConn has deadlines that end nothing.
type deafConn struct{ net.Conn }

// The error for a net.Conn or a Dial that cannot be ended says which promise of package net it
// breaks.
func TestFromNetWithoutEnd(t *testing.T) {
	n := wrapped(func(c net.Conn) net.Conn { return deafConn{c} })
	c, s := pair(t, FromNet(n), loopback())
	ctx, cancel := context.WithCancel(t.Context())
	read := expect.Aside(func() error { return expect.Err(c.Read(ctx, make([]byte, 1))) })
	expect.WaitsIn(t, "IO wait", "net.(*conn).Read(")
	cancel()
	err := expect.Returns(t, read)
	require.ErrorIs(t, err, ErrUnresponsive)
	require.ErrorContains(t, err, "a deadline of the net.Conn has to end it")
	require.NoError(t, s.Close()) // ends the Read

	release, left := make(chan struct{}), make(chan struct{})
	ctx, cancel = context.WithCancel(t.Context())
	n.Dial = func(context.Context, Addr) (net.Conn, error) {
		defer close(left)
		cancel()
		<-release
		return nil, net.ErrClosed
	}
	_, err = FromNet(n).Connect(ctx, loopback())
	close(release)
	<-left
	require.ErrorIs(t, err, ErrUnresponsive)
	require.ErrorContains(t, err, "Net.Dial has to end with its context")
}

// A net.Conn that does not write any more is reported, and closing it does not take the time that
// its Close gives itself for a last message.
func TestFromNetAfterTimeout(t *testing.T) {
	var last *lastWord
	c, _ := pair(t, FromNet(wrapped(func(c net.Conn) net.Conn {
		last = &lastWord{stickyConn{Conn: c}}
		return last
	})), loopback())
	conn := NetConn(c)
	// if the time is over before a write begins, the net.Conn is not called
	for !last.stuck.Load() {
		require.NoError(t, conn.SetWriteDeadline(time.Now().Add(50*time.Millisecond)))
		if _, err := conn.Write(make([]byte, 1<<20)); err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		}
	}
	require.NoError(t, conn.SetWriteDeadline(time.Time{}))
	_, err := conn.Write([]byte("more"))
	require.ErrorIs(t, err, ErrPoisoned)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NotErrorIs(t, err, ErrContract)
	require.NoError(t, conn.Close())
}

// A lastWord writes a last message in Close, as the conns of package tls do, and gives itself as
// much time for it.
type lastWord struct{ stickyConn }

func (c *lastWord) Close() error {
	_ = c.SetWriteDeadline(time.Now().Add(5 * time.Second))
	_, err := c.Conn.Write(make([]byte, 16<<20))
	return errors.Join(err, c.Conn.Close())
}

// A stickyConn keeps the error of a Write, as the conns of package tls do.
type stickyConn struct {
	net.Conn
	err   error
	stuck atomic.Bool // err is set
}

func (c *stickyConn) Write(p []byte) (n int, err error) {
	if c.err == nil {
		n, c.err = c.Conn.Write(p)
		c.stuck.Store(c.err != nil)
	}
	return n, c.err
}

// What a connection cannot do is unsupported, not hidden.
func TestFromNetCloseWrite(t *testing.T) {
	c, s := pair(t, FromNet(wrapped(func(c net.Conn) net.Conn { return struct{ net.Conn }{c} })), loopback())
	require.ErrorIs(t, c.CloseWrite(), errors.ErrUnsupported)
	require.NoError(t, s.CloseWrite())
}

// An orderly is a net.Conn whose CloseWrite waits for the Write in flight, as that of a tls.Conn
// does.
type orderly struct {
	net.Conn
	turn chan struct{}
}

func (c orderly) Write(p []byte) (int, error) {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	return c.Conn.Write(p)
}

func (c orderly) CloseWrite() error {
	c.turn <- struct{}{}
	<-c.turn
	return nil
}

// CloseWrite ends the Write in flight also where the net.Conn's own waits for it. If that waits for
// something else, it is left alone.
func TestFromNetCloseWriteWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		s := &netSocket{c: orderly{near, make(chan struct{}, 1)}}
		sent := expect.Aside(func() error { return expect.Err(s.write([]byte("nobody reads"), Infinite)) })
		synctest.Wait()
		began := time.Now()
		require.ErrorIs(t, s.closeWrite(), ErrPoisoned)
		require.Equal(t, netCloseTime, time.Since(began))
		require.ErrorIs(t, <-sent, os.ErrDeadlineExceeded)

		turn := make(chan struct{}, 1)
		turn <- struct{}{}
		s = &netSocket{c: orderly{near, turn}}
		closed := expect.Aside(s.closeWrite)
		time.Sleep(time.Minute)
		<-turn
		require.NoError(t, <-closed)
	})
}

// A careless is a net.Conn whose CloseWrite leaves the Write in flight waiting, as that of a
// net.TCPConn does on Windows.
type careless struct{ net.Conn }

// CloseWrite ends the Write in flight also where the net.Conn's own does not.
func TestFromNetCloseWriteEndsWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		s := &netSocket{c: careless{near}}
		type result struct {
			n   int
			err error
		}
		sent := make(chan result, 1)
		go func() {
			n, err := s.write([]byte("nobody reads on"), Infinite)
			sent <- result{n, err}
		}()
		require.NoError(t, expect.Err(io.ReadFull(far, make([]byte, 6))))
		require.NoError(t, s.closeWrite())
		require.Equal(t, result{6, syscall.EPIPE}, <-sent)
	})
}

// A lateDeadline is a net.Conn whose deadlines in the past take effect when late is closed.
type lateDeadline struct {
	net.Conn
	begun, late, set, writes chan struct{}
}

func (c *lateDeadline) SetWriteDeadline(t time.Time) error {
	if t == await.Past {
		close(c.begun)
		<-c.late
		defer close(c.set)
	}
	return c.Conn.SetWriteDeadline(t)
}

func (c *lateDeadline) Write(p []byte) (int, error) {
	close(c.writes)
	return c.Conn.Write(p)
}

// An interrupt of a write that has just ended by itself either ends the next write, which then
// knows of it, or does nothing to it.
func TestFromNetLateInterrupt(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	c := &lateDeadline{near, make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})}
	s := &netSocket{c: c}
	go s.interrupt(true)
	<-c.begun
	written := expect.Aside(func() error { _, err := s.write([]byte("two"), time.Minute); return err })
	select {
	case <-c.writes:
	case <-time.After(50 * time.Millisecond): // it waits for the interrupt
	}
	close(c.late)
	<-c.set
	go func() { _, _ = io.Copy(io.Discard, far) }()
	require.NotErrorIs(t, expect.Returns(t, written), ErrPoisoned)
}

// A write that waits for the handshake of a tls.Conn, and so for what the peer sends, ends with its
// context, and the connection with Close.
func TestFromNetWriteInHandshakeEnds(t *testing.T) {
	for _, name := range []string{"ctx", "Close"} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, theirs) }()
			gone := make(chan struct{})
			var writes atomic.Bool
			conn := closing{tls.Client(ours, &tls.Config{InsecureSkipVerify: true}), &writes, func() { close(gone) }}
			c, err := FromNet(Net{Dial: func(context.Context, Addr) (net.Conn, error) { return conn, nil }}).Connect(soon(t), MemoryAddr("x"))
			require.NoError(t, err)
			if name == "ctx" {
				for !writes.Load() { // if the time is over before the write begins, the net.Conn is not called
					require.ErrorIs(t, expect.Err(c.Writev(within(t, 10*time.Millisecond), []byte("x"))), context.DeadlineExceeded)
				}
				require.ErrorIs(t, expect.Err(c.Writev(soon(t), []byte("x"))), ErrPoisoned)
				require.NoError(t, c.Close())
			} else {
				wrote := expect.Aside(func() error { return expect.Err(c.Writev(soon(t), []byte("x"))) })
				expect.WaitsIn(t, "select", "(*Conn).clientHandshake(")
				require.NoError(t, c.Close())
				require.ErrorIs(t, expect.Returns(t, wrote), net.ErrClosed)
			}
			<-gone
		})
	}
}

// A tls.Conn whose peer is gone cannot say goodbye, and is closed all the same.
func TestFromNetCloseAfterPeer(t *testing.T) {
	certified := httptest.NewTLSServer(nil)
	config := certified.TLS.Clone()
	certified.Close()
	l := expect.Open(net.Listen("tcp", "127.0.0.1:0")).In(t)
	gone := expect.Aside(func() error {
		conn, err := l.Accept()
		if err == nil {
			err = tls.Server(conn, config).Handshake()
		}
		if err == nil {
			err = conn.(*net.TCPConn).SetLinger(0)
		}
		return errors.Join(err, conn.Close())
	})
	dial := func(ctx context.Context, _ Addr) (net.Conn, error) {
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
		return d.DialContext(ctx, "tcp", l.Addr().String())
	}
	c := expect.Open(FromNet(Net{Dial: dial}).Connect(soon(t), MemoryAddr("x"))).In(t)
	require.NoError(t, <-gone)
	require.ErrorIs(t, expect.Err(c.Read(soon(t), make([]byte, 1))), syscall.ECONNRESET)
	require.NoError(t, c.Close())
}

// A closing conn tells of its Close, and whether it has been written to.
type closing struct {
	net.Conn
	writes *atomic.Bool
	told   func()
}

func (c closing) Write(p []byte) (int, error) {
	c.writes.Store(true)
	return c.Conn.Write(p)
}

func (c closing) Close() error {
	defer c.told()
	return c.Conn.Close()
}
