package handoff

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/fdtest"
)

var self = Cred{os.Getpid(), os.Geteuid(), os.Getegid()}

func TestPeerCred(t *testing.T) {
	fdtest.NoLeak(t)
	a, _ := fdtest.Pair(t, unix.SOCK_STREAM)
	cred := expect.NoError(PeerCred(a)).In(t)
	require.Equal(t, self, cred)
	cred = expect.NoError(PeerCred(conn(t, a))).In(t)
	require.Equal(t, self, cred)

	bound, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(sockdir.New(t), "s"), Net: "unixgram"})
	require.NoError(t, err)
	require.ErrorIs(t, expect.Err(PeerCred(bound)), syscall.ENOTCONN)
	require.NoError(t, bound.Close())
	require.Error(t, expect.Err(PeerCred(bound)))
}

func TestSameUser(t *testing.T) {
	require.NoError(t, SameUser(self))
	require.NoError(t, SameUser(Cred{1, 0, 0}))
	for _, c := range []Cred{noCred, {1, os.Geteuid() + 1, 0}} {
		require.ErrorIs(t, SameUser(c), ErrForbidden)
	}
}

// With credentials an empty packet differs from the end, and each packet tells which process sent
// it.
func TestReceiveCredentials(t *testing.T) {
	fdtest.NoLeak(t)
	a, b := connPair(t, unix.SOCK_SEQPACKET)
	ctx := fdtest.Soon(t)
	require.NoError(t, a.Send(ctx, nil), "sent before")
	require.NoError(t, b.ReceiveCredentials(true))
	require.NoError(t, a.Send(ctx, []byte("x"), fdtest.File(t, "f")))
	require.NoError(t, a.Send(ctx, nil))
	require.NoError(t, a.Close())
	var set FDSet
	defer set.Close()
	p, _, _, err := b.ReceivePacket(ctx, nil, 10, &set, 1)
	require.NoError(t, err)
	require.Empty(t, p)
	p, _, cred, err := b.ReceivePacket(ctx, nil, 10, &set, 1)
	require.NoError(t, err)
	require.Equal(t, "x", string(p))
	require.Equal(t, self, cred)
	require.Equal(t, 1, set.Len())
	p, _, cred, err = b.ReceivePacket(ctx, nil, 10, &set, 1)
	require.NoError(t, err)
	require.Empty(t, p)
	require.Equal(t, self, cred)
	_, _, _, err = b.ReceivePacket(ctx, nil, 10, &set, 1)
	require.Equal(t, io.EOF, err)

	s, _ := connPair(t, unix.SOCK_STREAM)
	require.ErrorIs(t, s.ReceiveCredentials(true), syscall.EINVAL)
}

// Ancillary data that was not asked for is refused, with everything that came beside it.
func TestForeignAncillary(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			fdtest.NoLeak(t)
			u, v := fdtest.Pair(t, kind)
			b := conn(t, v)
			raw, err := b.SyscallConn()
			require.NoError(t, err)
			require.NoError(t, raw.Control(func(fd uintptr) { err = passCredentials(int(fd), true) }))
			require.NoError(t, err)
			for _, room := range []int{8, 20} {
				f := fdtest.File(t, "f")
				fdtest.SendRaw(t, u, []byte("x"), unix.UnixRights(f, f))
				var set FDSet
				_, err = b.Receive(fdtest.Soon(t), make([]byte, 10), &set, room)
				if room == 8 { // credentials come first, and leave no room for the descriptors
					require.Error(t, err)
				} else {
					require.ErrorIs(t, err, ErrAncillary)
				}
				require.Zero(t, set.Len())
			}
			fdtest.SendRaw(t, u, []byte("x"), nil)
			require.Error(t, expect.Err(b.Receive(fdtest.Soon(t), make([]byte, 10), nil, 0)))
		})
	}
}
