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

	"github.com/cnode-go/cnode/internal/test/expect"
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
		require.Equal(t, want, expect.NoError(c.HandshakePacketHeaderSize(soon(t))).In(t))
	}
}

func TestFromNetWithoutListenOrDial(t *testing.T) {
	tr := FromNet(Net{})
	require.ErrorIs(t, expect.Err(tr.Listen(loopback(), 0)), errors.ErrUnsupported)
	require.ErrorIs(t, expect.Err(tr.Connect(soon(t), loopback())), errors.ErrUnsupported)
	require.False(t, tr.Movable())
	require.ErrorIs(t, expect.Err(tr.Import(0, nil)), errors.ErrUnsupported)
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
	l := expect.Open(net.Listen("tcp", "127.0.0.1:0")).In(t)
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
		s := expect.NoError(tr.Connect(NoWait(), loopback())).In(t)
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
	e := expect.As[*CallbackError](t, expect.Err(tr.Connect(soon(t), loopback())))
	require.Equal(t, "Dial", e.Callback)
	_, err := tr.Listen(loopback(), 1)
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
	connected := expect.Aside(func() error { return expect.Err(tr.Connect(ctx, loopback())) })
	<-dialling
	cancel()
	require.ErrorIs(t, expect.Returns(t, connected), context.Canceled)
}

// The other end of a net.Pipe, on which no deadline can be set once either end is closed, ends the
// stream as any other.
func TestFromNetPipeEnds(t *testing.T) {
	one, other := net.Pipe()
	c, err := FromNet(Net{Dial: func(context.Context, Addr) (net.Conn, error) { return one, nil }}).Connect(soon(t), loopback())
	require.NoError(t, err)
	require.NoError(t, other.Close())
	require.Equal(t, io.EOF, expect.Err(c.Read(soon(t), make([]byte, 1))))
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
		require.ErrorIs(t, expect.Err(c.Readv(soon(t), make([]byte, 1))), end)
		_ = theirs.Close()
	}
}

func (stuckListener) SetDeadline(time.Time) error { return nil }

func (deafConn) SetReadDeadline(time.Time) error { return nil }

func (careless) CloseWrite() error { return nil }

func (silence) Timeout() bool { return true }

func (silence) Temporary() bool { return true }
