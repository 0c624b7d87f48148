package transport

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// A read that gives up does not end a write at the same time: a tls.Conn does not write again after
// a time-out.
func TestFromNetReadGivenUp(t *testing.T) {
	sticky := func(c net.Conn) net.Conn { return &stickyConn{Conn: c} }
	c, s := pair(t, FromNet(wrapped(sticky)), loopback())
	sent := make([]byte, 16<<20)
	written := expect.Aside(func() error { _, err := c.Writev(soon(t), sent); return err })
	for range 20 {
		ctx, cancel := context.WithCancel(context.Background())
		read := expect.Aside(func() error { _, err := c.Read(ctx, make([]byte, 1)); return err })
		require.Eventually(t, c.reading.Load, tooLong, time.Millisecond)
		cancel()
		require.ErrorIs(t, expect.Returns(t, read), context.Canceled)
	}
	require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, len(sent)))))
	require.NoError(t, expect.Returns(t, written))
}

// A foreignTimeout is a conn whose time-outs are those of a multiplexer. gone: it has ended, for
// the peer has been silent, and says so by a net.Error, too.
type foreignTimeout struct {
	net.Conn
	gone bool
}

type silence string

func (s silence) Error() string { return string(s) }

func (c foreignTimeout) foreign(n int, err error) (int, error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = silence("i/o deadline reached")
	}
	return n, err
}

func (c foreignTimeout) Read(p []byte) (int, error) {
	if c.gone {
		return 0, silence("no recent network activity")
	}
	return c.foreign(c.Conn.Read(p))
}

func (c foreignTimeout) Write(p []byte) (int, error) { return c.foreign(c.Conn.Write(p)) }

type foreignTimeoutListener struct{ *net.TCPListener }

func (l foreignTimeoutListener) Accept() (net.Conn, error) {
	c, err := l.TCPListener.Accept()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = silence("no stream came")
	}
	return c, err
}

// Any net.Error with Timeout is a time-out at a deadline, and nothing is lost by it.
func TestFromNetForeignTimeouts(t *testing.T) {
	n := wrapped(func(c net.Conn) net.Conn { return foreignTimeout{Conn: c} })
	listen := n.Listen
	n.Listen = func(a Addr) (net.Listener, error) {
		l, err := listen(a)
		if err != nil {
			return nil, err
		}
		return foreignTimeoutListener{l.(*net.TCPListener)}, nil
	}
	tr := FromNet(n)
	l, err := tr.Listen(loopback(), 0)
	require.NoError(t, err)
	for range 2 {
		_, err = l.Accept(NoWait())
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	}
	require.NoError(t, l.Close())

	c, far := pair(t, tr, loopback())
	for range 3 {
		ctx, cancel := context.WithTimeout(soon(t), 5*time.Millisecond)
		require.ErrorIs(t, expect.Err(c.Read(ctx, make([]byte, 8))), context.DeadlineExceeded)
		cancel()
		require.ErrorIs(t, expect.Err(c.Read(NoWait(), make([]byte, 8))), os.ErrDeadlineExceeded)
		interrupted, end := context.WithCancel(soon(t))
		time.AfterFunc(5*time.Millisecond, end)
		require.ErrorIs(t, expect.Err(c.Read(interrupted, make([]byte, 8))), context.Canceled)
	}
	for err = error(nil); err == nil; {
		_, err = c.Writev(NoWait(), make([]byte, 1<<20))
	}
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	requireWrites(t, far, "still here")
	requireReads(t, c, "still here")
}

// The end of a connection whose peer was silent is no time-out of the call, though it says Timeout.
func TestFromNetSilentPeer(t *testing.T) {
	c, _ := pair(t, FromNet(wrapped(func(c net.Conn) net.Conn { return foreignTimeout{c, true} })), loopback())
	_, err := c.Read(soon(t), make([]byte, 8))
	require.ErrorIs(t, err, silence("no recent network activity"))
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NotErrorIs(t, err, ErrContract)
}
