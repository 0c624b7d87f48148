package cnodevsock

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/contrib/gallery/internal/carry"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/transporttest"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

// loopback is a free port of this machine, if its kernel has the loopback
// (CONFIG_VSOCKETS_LOOPBACK).
func loopback(t *testing.T) (transport.Transport, func() transport.Addr) {
	tr, err := New()
	require.NoError(t, err)
	at := func() transport.Addr { return Addr{unix.VMADDR_CID_LOCAL, Any} }
	l, err := tr.Listen(at(), 1)
	if err != nil {
		t.Skip("this kernel has no loopback of vsock: ", err)
	}
	defer l.Close()
	ctx := expect.Context(t)
	s, err := tr.Connect(ctx, l.Addr())
	if err != nil {
		t.Skip("this kernel has no loopback of vsock: ", err)
	}
	require.NoError(t, s.Close())
	return tr, at
}

// Skipped are the rules on peers' addresses, for the kernel does not tell a connecting socket its
// own CID; on a Connect that waits, for a full backlog refuses; and on resets, which are TCP's.
func TestConformance(t *testing.T) {
	tr, at := loopback(t)
	transporttest.Run(t, func() (transport.Transport, transport.Addr, error) { return tr, at(), nil })
}

func TestNodes(t *testing.T) {
	tr, at := loopback(t)
	carry.Nodes(t, tr, at)
}

// What needs no other machine: a listener, and addresses.
func TestAddresses(t *testing.T) {
	tr, err := New()
	require.NoError(t, err)
	require.True(t, tr.Movable())
	l, err := tr.Listen(Addr{Any, Any}, 1)
	if err != nil {
		t.Skip("this kernel has no vsock: ", err)
	}
	defer l.Close()
	at := l.Addr().(Addr)
	require.Equal(t, uint32(Any), at.CID)
	require.NotZero(t, at.Port)
	require.Contains(t, at.String(), "vsock:4294967295:")
	_, err = tr.Listen(Addr{Any, at.Port}, 1)
	require.ErrorIs(t, err, unix.EADDRINUSE)
	ip, err := transport.ParseAddr("127.0.0.1:1")
	require.NoError(t, err)
	_, err = tr.Connect(expect.Context(t), ip)
	require.ErrorIs(t, err, unix.EAFNOSUPPORT)
	to, err := sockaddr(transport.WithPeerName(at, "a@vm"))
	require.NoError(t, err)
	require.Equal(t, at.Port, to.Port)
}
