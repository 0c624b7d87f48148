package service

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A listener that is passed on is not made to block: then each Accept would hold a thread, in both
// processes.
func TestFileKeepsMode(t *testing.T) {
	l := expect.Open(listen("tcp", "127.0.0.1:0", nil)).In(t)
	f := l.file()
	require.NotNil(t, f)
	defer f.Close()
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0) // Fd is what os/exec calls
	require.NoError(t, err)
	require.NotZero(t, flags&unix.O_NONBLOCK)
}

// untaken is a listener with two connections that no server has taken: one that was accepted here,
// and one that has come from the process before. ends are the other ends, by their addresses.
func untaken(t *testing.T) (p *plain, l *listener, ends map[string]net.Conn) {
	t.Helper()
	p = newPlain(&Service{})
	l = expect.NoError(listen("tcp", "127.0.0.1:0", nil)).In(t)
	l.p = p
	p.add(l)
	p.open(nil)
	ends = map[string]net.Conn{}
	dial := func(to net.Listener) {
		c := expect.Open(net.Dial("tcp", to.Addr().String())).In(t)
		ends[c.LocalAddr().String()] = c
	}
	dial(l)
	taken := expect.NoError(l.Accept()).In(t)
	require.NoError(t, taken.Close())
	clear(ends)
	dial(l)
	has(t, p, 1)
	beside := expect.NoError(net.Listen("tcp", "127.0.0.1:0")).In(t)
	defer beside.Close()
	dial(beside)
	came := expect.NoError(beside.Accept()).In(t)
	l.arrive(came, passed{})
	return p, l, ends
}

// has waits until a service has so many connections.
func has(t *testing.T, p *plain, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.conns) == n
	}, expect.Limit, time.Millisecond)
}

// They are closed with it, if nobody goes on with them.
func TestNobodyTakesThem(t *testing.T) {
	p, l, ends := untaken(t)
	require.NoError(t, l.Close())
	for _, c := range ends {
		require.NoError(t, c.SetReadDeadline(time.Now().Add(expect.Limit)))
		require.ErrorIs(t, expect.Err(c.Read(make([]byte, 1))), io.EOF)
	}
	has(t, p, 0)
}

// They follow to the process that has the listener now.
func TestNobodyTookThem(t *testing.T) {
	p, l, ends := untaken(t)
	one, other, err := handoff.PacketPair()
	require.NoError(t, err)
	socket := expect.NoError(handoff.FileConn(one)).In(t)
	p.side = expect.NoError(handoff.NewConn(socket)).In(t)
	defer p.side.Close()
	socket = expect.NoError(handoff.FileConn(other)).In(t)
	next := expect.Open(handoff.NewConn(socket)).In(t)
	l.leave()
	require.NoError(t, l.Close())
	for range 2 {
		var set handoff.FDSet
		require.NoError(t, expect.Err(next.Receive(expect.Context(t), make([]byte, 4096), &set, 1)))
		f := expect.NoError(set.File(0, "")).In(t)
		moved := expect.NoError(net.FileConn(f)).In(t)
		require.NoError(t, f.Close())
		require.Contains(t, ends, moved.RemoteAddr().String())
		delete(ends, moved.RemoteAddr().String())
		require.NoError(t, moved.Close())
		require.NoError(t, set.Close())
	}
	has(t, p, 0)
}
