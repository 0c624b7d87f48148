//go:build unix

package workers

import (
	"context"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// A stranger that is the first to give a peer's name does not keep others from giving it: only the
// handshake tells which of them is the peer.
func TestStrangerIsFirst(t *testing.T) {
	w := newFrontWorld(t, 2)
	at, err := transport.AddrPort(w.f.Addr())
	require.NoError(t, err)
	var conns []net.Conn
	for range 2 {
		conn, err := net.Dial("tcp", at.String())
		require.NoError(t, err)
		defer conn.Close()
		conns = append(conns, conn)
	}
	for _, conn := range []net.Conn{conns[1], conns[0]} {
		_, err = conn.Write(namePacket(t, "x@h"))
		require.NoError(t, err)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(tooLong)))
		status := make([]byte, 5)
		_, err = io.ReadFull(conn, status)
		require.NoError(t, err)
		require.Equal(t, "\x00\x03sok", string(status))
	}
}

// A stranger that gives a peer's name to another worker, while the peer's worker hangs, is not
// taken for the peer.
func TestStrangerTakesNoRoute(t *testing.T) {
	t.Parallel() // it waits
	w := newFrontWorld(t, 3, func(c *Config) { c.Patience = time.Second })
	ns := w.spread(3)
	for i, n := range ns {
		serve(t, n, "me", nodes.Server{Call: func(_ context.Context, c *nodes.Call) (any, error) { return ei.Int(i), nil }})
	}
	x := ns[0]
	at := w.served(x)
	c := x.Conn(frontName)
	require.Eventually(t, w.idle, tooLong, tick, "all sessions have been taken, and the front has been told")
	w.hangs(at)
	front, err := transport.AddrPort(w.f.Addr())
	require.NoError(t, err)
	stranger, err := net.Dial("tcp", front.String())
	require.NoError(t, err)
	defer stranger.Close()
	_, err = stranger.Write(namePacket(t, x.Name()))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		held, _ := w.held(x.Name())
		return len(held) == 2
	}, tooLong, tick, "another worker has the stranger")
	require.NoError(t, syscall.Kill(at, syscall.SIGCONT))
	for _, n := range ns {
		require.Equal(t, ei.Int(0), w.rpc(n, "ask", ei.Atom(x.Name()), ei.Atom("me"), ei.Int(1)))
	}
	require.NoError(t, c.Err())
	require.Equal(t, c, x.Conn(frontName))
}

// A stranger that gives a node's name, and does no more, keeps no worker from connecting to that
// node.
func TestStrangerBesideConnect(t *testing.T) {
	w := newFrontWorld(t, 2)
	ns := w.spread(2)
	x := w.node("x@127.0.0.1")
	serve(t, x, "me", echoes)
	at, err := transport.AddrPort(w.f.Addr())
	require.NoError(t, err)
	stranger, err := net.Dial("tcp", at.String())
	require.NoError(t, err)
	defer stranger.Close()
	_, err = stranger.Write(namePacket(t, x.Name()))
	require.NoError(t, err)
	_, err = stranger.Read(make([]byte, 2)) // a worker has the session
	require.NoError(t, err)
	_, its := w.held(x.Name())
	if w.number(w.worker(ns[0])) == its {
		ns[0], ns[1] = ns[1], ns[0]
	}
	over := async(func() (int64, error) { return io.Copy(io.Discard, stranger) })
	for _, n := range ns {
		require.Equal(t, ei.Int(1), w.rpc(n, "ask", ei.Atom(x.Name()), ei.Atom("me"), ei.Int(1)))
	}
	select {
	case <-over:
		require.Fail(t, "the stranger was waited for")
	default:
	}
}
