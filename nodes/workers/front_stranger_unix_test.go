//go:build unix

package workers

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/transport"
)

// A stranger that is the first to give a peer's name does not keep others from giving it: only the
// handshake tells which of them is the peer.
func TestStrangerIsFirst(t *testing.T) {
	w := newFrontWorld(t, 2)
	at := of(transport.AddrPort(w.f.Addr())).must(t)
	var conns []net.Conn
	for range 2 {
		conn, err := net.Dial("tcp", at.String())
		require.NoError(t, err)
		defer conn.Close()
		conns = append(conns, conn)
	}
	for _, conn := range []net.Conn{conns[1], conns[0]} {
		of(conn.Write(namePacket(t, "x@h"))).must(t)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(tooLong)))
		status := make([]byte, 5)
		of(io.ReadFull(conn, status)).must(t)
		require.Equal(t, "\x00\x03sok", string(status))
	}
}

// A stranger that gives a node's name, and does no more, keeps no worker from connecting to that
// node.
func TestStrangerBesideConnect(t *testing.T) {
	w := newFrontWorld(t, 2)
	ns := w.spread(2)
	x := w.node("x@127.0.0.1")
	serve(t, x, "me", echoes)
	at := of(transport.AddrPort(w.f.Addr())).must(t)
	stranger, err := net.Dial("tcp", at.String())
	require.NoError(t, err)
	defer stranger.Close()
	of(stranger.Write(namePacket(t, x.Name()))).must(t)
	of(stranger.Read(make([]byte, 2))).must(t) // a worker has the session
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
