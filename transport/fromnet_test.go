package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// overTCP is the Net of package net's TCP.
func overTCP() Net {
	return Net{
		Listen: func(a Addr) (net.Listener, error) { return net.Listen("tcp", a.String()) },
		Dial: func(ctx context.Context, a Addr) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", a.String())
		},
	}
}

// wrapped is overTCP with each dialled connection wrapped.
func wrapped(wrap func(net.Conn) net.Conn) Net {
	n := overTCP()
	dial := n.Dial
	n.Dial = func(ctx context.Context, a Addr) (net.Conn, error) {
		c, err := dial(ctx, a)
		if err != nil {
			return nil, err
		}
		return wrap(c), nil
	}
	return n
}

func TestFromNetHeaderSize(t *testing.T) {
	for size, want := range map[int]int{0: 2, 2: 2, 4: 4} {
		n := overTCP()
		n.HeaderSize = size
		c, _ := pair(t, FromNet(n), loopback())
		got, err := c.HandshakePacketHeaderSize(soon(t))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestFromNetWithoutListenOrDial(t *testing.T) {
	tr := FromNet(Net{})
	_, err := tr.Listen(loopback(), 0)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = tr.Connect(soon(t), loopback())
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.False(t, tr.Movable())
	_, err = tr.Import(0, nil)
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

// A dialled connection that arrives at the moment of its cancellation is closed, not lost.
func TestFromNetCancelledDial(t *testing.T) {
	n := overTCP()
	dial := n.Dial
	var open atomic.Int32
	n.Dial = func(ctx context.Context, a Addr) (net.Conn, error) {
		c, err := dial(context.WithoutCancel(ctx), a)
		if err != nil {
			return nil, err
		}
		<-ctx.Done() // as late as can be
		open.Add(1)
		return countedConn{c, &open}, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	for range 5 {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Millisecond, cancel)
		s, err := FromNet(n).Connect(ctx, FromNetAddr(l.Addr()))
		if err == nil {
			require.NoError(t, s.Close())
		} else {
			require.ErrorIs(t, err, context.Canceled)
		}
	}
	require.Zero(t, open.Load(), "connections were left open")
}

// A single try is made: package net gets a moment for it.
func TestFromNetConnectNoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := FromNet(Net{Dial: func(ctx context.Context, _ Addr) (net.Conn, error) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			c, _ := net.Pipe()
			return c, nil
		}})
		s, err := tr.Connect(NoWait(), loopback())
		require.NoError(t, err)
		require.NoError(t, s.Close())
	})
}

type countedConn struct {
	net.Conn
	open *atomic.Int32
}

func (c countedConn) Close() error {
	c.open.Add(-1)
	return c.Conn.Close()
}

// A function of a Net that returns neither a result nor an error gets an error that says so, and
// takes nothing down.
func TestFromNetGivesNothing(t *testing.T) {
	tr := FromNet(Net{
		Dial:   func(context.Context, Addr) (net.Conn, error) { return nil, nil },
		Listen: func(Addr) (net.Listener, error) { return nil, nil },
	})
	var e *CallbackError
	_, err := tr.Connect(soon(t), loopback())
	require.ErrorAs(t, err, &e)
	require.Equal(t, "Dial", e.Callback)
	_, err = tr.Listen(loopback(), 1)
	require.ErrorAs(t, err, &e)
	require.Equal(t, "Listen", e.Callback)
	require.ErrorIs(t, err, ErrContract)
}

// A Dial that says in its own words that its context has ended is one that has ended with the
// caller's.
func TestFromNetDialGivesUpInItsOwnWords(t *testing.T) {
	dialling := make(chan struct{})
	tr := FromNet(Net{Dial: func(ctx context.Context, _ Addr) (net.Conn, error) {
		close(dialling)
		<-ctx.Done()
		return nil, errors.New("gave up")
	}})
	ctx, cancel := context.WithCancel(context.Background())
	connected := aside(func() error { return second(tr.Connect(ctx, loopback())) })
	<-dialling
	cancel()
	require.ErrorIs(t, returns(t, connected), context.Canceled)
}

// The other end of a net.Pipe, on which no deadline can be set once either end is closed, ends the
// stream as any other.
func TestFromNetPipeEnds(t *testing.T) {
	one, other := net.Pipe()
	c, err := FromNet(Net{Dial: func(context.Context, Addr) (net.Conn, error) { return one, nil }}).Connect(soon(t), loopback())
	require.NoError(t, err)
	require.NoError(t, other.Close())
	_, err = c.Read(soon(t), make([]byte, 1))
	require.Equal(t, io.EOF, err)
	require.NoError(t, c.Close())
}

// A hesitant conn returns neither bytes nor an error so many times, before each Read that does.
type hesitant struct {
	net.Conn
	times, left int
}

func (c *hesitant) Read(p []byte) (int, error) {
	if c.left--; c.left >= 0 {
		return 0, nil
	}
	c.left = c.times
	return c.Conn.Read(p)
}

// A Read of neither bytes nor an error is no end (io.Reader); one that goes on like that is an
// error.
func TestFromNetEmptyReads(t *testing.T) {
	for times, end := range map[int]error{1: io.EOF, emptyReads - 1: io.EOF, emptyReads: io.ErrNoProgress} {
		ours, theirs := net.Pipe()
		c, err := FromNet(Net{Dial: func(context.Context, Addr) (net.Conn, error) {
			return &hesitant{ours, times, times}, nil
		}}).Connect(soon(t), loopback())
		require.NoError(t, err)
		defer c.Close()
		if end == io.EOF {
			go func() {
				_, _ = theirs.Write([]byte("text"))
				_ = theirs.Close()
			}()
			requireReads(t, c, "text")
		}
		_, err = c.Readv(soon(t), make([]byte, 1))
		require.ErrorIs(t, err, end)
		_ = theirs.Close()
	}
}

func (stuckListener) SetDeadline(time.Time) error { return nil }

func (deafConn) SetReadDeadline(time.Time) error { return nil }

func (careless) CloseWrite() error { return nil }

func (silence) Timeout() bool { return true }

func (silence) Temporary() bool { return true }
