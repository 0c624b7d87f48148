package handoff

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"github.com/cnode-go/cnode/test/need"
	"github.com/cnode-go/cnode/test/sockdir"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

var self = Cred{os.Getpid(), os.Geteuid(), os.Getegid()}

func TestPeerCred(t *testing.T) {
	noLeak(t)
	a, _ := pair(t, unix.SOCK_STREAM)
	cred, err := PeerCred(a)
	require.NoError(t, err)
	require.Equal(t, self, cred)
	cred, err = PeerCred(conn(t, a))
	require.NoError(t, err)
	require.Equal(t, self, cred)

	bound, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(sockdir.New(t), "s"), Net: "unixgram"})
	require.NoError(t, err)
	_, err = PeerCred(bound)
	require.ErrorIs(t, err, syscall.ENOTCONN)
	require.NoError(t, bound.Close())
	_, err = PeerCred(bound)
	require.Error(t, err)
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
	noLeak(t)
	a, b := connPair(t, unix.SOCK_SEQPACKET)
	ctx := soon(t)
	require.NoError(t, a.Send(ctx, nil), "sent before")
	require.NoError(t, b.ReceiveCredentials(true))
	require.NoError(t, a.Send(ctx, []byte("x"), file(t, "f")))
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
			noLeak(t)
			u, v := pair(t, kind)
			b := conn(t, v)
			raw, err := b.SyscallConn()
			require.NoError(t, err)
			require.NoError(t, raw.Control(func(fd uintptr) { err = passCredentials(int(fd), true) }))
			require.NoError(t, err)
			for _, room := range []int{8, 20} {
				f := file(t, "f")
				sendRaw(t, u, []byte("x"), unix.UnixRights(f, f))
				var set FDSet
				_, err = b.Receive(soon(t), make([]byte, 10), &set, room)
				if room == 8 { // credentials come first, and leave no room for the descriptors
					require.Error(t, err)
				} else {
					require.ErrorIs(t, err, ErrAncillary)
				}
				require.Zero(t, set.Len())
			}
			sendRaw(t, u, []byte("x"), nil)
			_, err = b.Receive(soon(t), make([]byte, 10), nil, 0)
			require.Error(t, err)
		})
	}
}

// Two control messages with descriptors are as good as one.
func TestTwoControlMessages(t *testing.T) {
	noLeak(t)
	u, v := pair(t, unix.SOCK_STREAM)
	one, two := file(t, "one"), file(t, "two")
	sendRaw(t, u, []byte("x"), append(unix.UnixRights(one), unix.UnixRights(two)...))
	var set FDSet
	_, err := conn(t, v).Receive(soon(t), make([]byte, 10), &set, 2)
	require.NoError(t, err)
	require.Equal(t, 2, set.Len())
	require.NoError(t, set.Close())
}

// asNobody runs a function on a thread that belongs to another user, so that the system takes it
// for that user's process.
func asNobody(t *testing.T, do func() error) {
	t.Helper()
	need.Root(t, "only root can be another user")
	const nobody = 65534
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked, so that the thread ends with the goroutine
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			done <- errno
			return
		}
		done <- do()
	}()
	require.NoError(t, <-done)
}

// What another user's process sends is refused, and so is its connection.
func TestAnotherUser(t *testing.T) {
	noLeak(t)
	name := "@" + t.Name() + strconv.Itoa(os.Getpid())
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	require.NoError(t, err)
	defer l.Close()
	var front net.Conn
	asNobody(t, func() (err error) {
		front, err = net.Dial("unix", name)
		return err
	})
	defer front.Close()
	conn, err := l.AcceptUnix()
	require.NoError(t, err)
	defer conn.Close()
	cred, err := PeerCred(conn)
	require.NoError(t, err)
	require.Equal(t, 65534, cred.UID)
	_, err = NewReceiver(conn, nil)
	if os.Geteuid() == cred.UID {
		require.NoError(t, err)
	} else {
		require.ErrorIs(t, err, ErrForbidden)
	}
	r, err := NewReceiver(conn, &ReceiverOptions{Peer: func(Cred) error { return nil }})
	require.NoError(t, err, "unless he may")
	require.NoError(t, r.Close())

	server, err := NewJSONServer(name+"json", &JSONOptions{Peer: SameUser})
	require.NoError(t, err)
	defer server.Close()
	client, err := NewJSONClient(server.Addr())
	require.NoError(t, err)
	defer client.Close()
	f := file(t, "f")
	asNobody(t, func() error { return client.Send(context.Background(), "from nobody", f) })
	before := openDescriptors()
	_, _, err = server.Receive(soon(t), nil)
	require.ErrorIs(t, err, ErrForbidden)
	require.Empty(t, leftOver(before, openDescriptors()))
	require.NoError(t, client.Send(soon(t), "from us"))
	fds, _, err := server.Receive(soon(t), nil)
	require.NoError(t, err)
	require.NoError(t, fds.Close())
}

// On a socket with SO_PASSPIDFD each message comes with a descriptor of the sending process, which
// must not stay open.
func TestProcessDescriptor(t *testing.T) {
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_SEQPACKET, unix.SOCK_DGRAM} {
		a, b := connPair(t, kind)
		f := file(t, "f")
		require.NoError(t, b.raw.Control(func(fd uintptr) {
			if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSPIDFD, 1); err != nil {
				t.Skipf("SO_PASSPIDFD: %v", err)
			}
		}))
		for _, fds := range [][]int{nil, {f}} {
			require.NoError(t, a.Send(soon(t), []byte("x"), fds...))
			next, err := unix.FcntlInt(uintptr(f), unix.F_DUPFD_CLOEXEC, 3)
			require.NoError(t, err)
			require.NoError(t, unix.Close(next))
			var set FDSet
			_, err = b.Receive(soon(t), make([]byte, 1), &set, 4)
			if !errors.Is(err, ErrDescriptorsLost) { // there was no room for it beside the others
				require.ErrorIs(t, err, ErrAncillary)
			}
			require.Zero(t, set.Len())
			require.True(t, isClosed(next))
		}
	}
}
