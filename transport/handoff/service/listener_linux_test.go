package service

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport/handoff"
)

// Connections that no server has taken when the listener is closed follow to the process that has
// it now: one that was accepted here, and one that has come from the process before.
func TestNobodyTookThem(t *testing.T) {
	s := &Service{}
	p := newPlain(s)
	l, err := listen("tcp", "127.0.0.1:0", nil)
	require.NoError(t, err)
	l.p = p
	p.add(l)
	p.open(nil)
	ends := map[string]bool{}
	dial := func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		ends[c.LocalAddr().String()] = true
		return c
	}
	dial()
	taken, err := l.Accept()
	require.NoError(t, err)
	require.NoError(t, taken.Close())
	clear(ends)
	dial()
	has := func(n int) func() bool {
		return func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return len(p.conns) == n
		}
	}
	require.Eventually(t, has(1), expect.Limit, time.Millisecond)
	beside, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer beside.Close()
	c, err := net.Dial("tcp", beside.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	ends[c.LocalAddr().String()] = true
	came, err := beside.Accept()
	require.NoError(t, err)
	l.arrive(came, passed{})

	one, other, err := handoff.PacketPair()
	require.NoError(t, err)
	socket, err := handoff.FileConn(one)
	require.NoError(t, err)
	p.side, err = handoff.NewConn(socket)
	require.NoError(t, err)
	defer p.side.Close()
	socket, err = handoff.FileConn(other)
	require.NoError(t, err)
	next, err := handoff.NewConn(socket)
	require.NoError(t, err)
	defer next.Close()
	l.leave()
	require.NoError(t, l.Close())
	for range 2 {
		var set handoff.FDSet
		_, err := next.Receive(expect.Context(t), make([]byte, 4096), &set, 1)
		require.NoError(t, err)
		f, err := set.File(0, "")
		require.NoError(t, err)
		moved, err := net.FileConn(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.True(t, ends[moved.RemoteAddr().String()])
		delete(ends, moved.RemoteAddr().String())
		require.NoError(t, moved.Close())
		require.NoError(t, set.Close())
	}
	require.Eventually(t, has(0), expect.Limit, time.Millisecond)
}
