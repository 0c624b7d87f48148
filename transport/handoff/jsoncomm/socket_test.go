//go:build unix

package jsoncomm

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// sockets makes a server, and a client that sends to it.
func sockets(t testing.TB, config *ServerOptions) (client, server *Socket) {
	t.Helper()
	path := filepath.Join(sockdir.New(t), "server")
	server = expect.Open(NewServer(path, config)).In(t)
	client = expect.Open(NewClient(transport.UnixAddr(path))).In(t)
	return client, server
}

type request struct {
	Method string
	Args   []string
}

func TestExchange(t *testing.T) {
	need.Descriptors(t, 600)
	fdtest.NoLeak(t)
	ctx := fdtest.Soon(t)
	client, server := sockets(t, nil)
	for _, n := range []int{0, 1, handoff.MaxDescriptors} {
		sent := request{"do", []string{"a", strings.Repeat("x", 100*n)}}
		require.NoError(t, client.Send(ctx, sent, fdtest.Repeat(fdtest.File(t, "there"), n)...))
		var got request
		fds, from, err := server.Receive(ctx, &got)
		require.NoError(t, err)
		require.Equal(t, sent, got)
		require.Equal(t, n, fds.Len())
		for _, fd := range fds.FDs() {
			require.Equal(t, "there", fdtest.Content(t, fd))
		}
		require.NoError(t, fds.Close())
		require.Equal(t, client.Addr(), from)

		require.NoError(t, server.SendTo(ctx, from, map[string]int{"n": n}, fdtest.File(t, "back")))
		var answer map[string]int
		fds, from, err = client.Receive(ctx, &answer)
		require.NoError(t, err)
		require.Equal(t, map[string]int{"n": n}, answer)
		require.Equal(t, server.Addr(), from)
		fd := expect.NoError(fds.Steal(0)).In(t)
		require.Equal(t, "back", fdtest.Content(t, fd))
		require.NoError(t, unix.Close(fd))
		require.NoError(t, fds.Close())
	}
	require.NoError(t, client.Send(ctx, "any"))
	fds, _, err := server.Receive(ctx, nil)
	require.NoError(t, err)
	require.NoError(t, fds.Close())
}

// A document of any length that fits into the sender's buffer comes whole; a longer one is not
// sent. The buffer's size can be set.
func TestLengths(t *testing.T) {
	fdtest.NoLeak(t)
	ctx := fdtest.Soon(t)
	client, server := sockets(t, nil)
	for _, n := range []int{1, 4093, 4094, 4095, 4096, 4097, 8190, 8191, 100_000} {
		sent := strings.Repeat("x", n)
		require.NoError(t, client.Send(ctx, sent, fdtest.File(t, "f")))
		var got string
		fds, _, err := server.Receive(ctx, &got)
		require.NoError(t, err)
		require.Equal(t, sent, got)
		require.NoError(t, fds.Close())
	}
	require.ErrorIs(t, client.Send(ctx, strings.Repeat("x", 32<<20), fdtest.File(t, "f")), syscall.EMSGSIZE)

	raw, err := client.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096) }))
	require.NoError(t, err)
	require.ErrorIs(t, client.Send(ctx, strings.Repeat("x", 100_000)), syscall.EMSGSIZE)
}

func TestRefuses(t *testing.T) {
	fdtest.NoLeak(t)
	ctx := fdtest.Soon(t)
	client, server := sockets(t, nil)
	require.ErrorContains(t, client.Send(ctx, func() {}), "unsupported type")
	require.ErrorIs(t, client.Send(ctx, 1, fdtest.Repeat(0, 254)...), syscall.EINVAL)
	require.ErrorIs(t, client.Send(ctx, 1, -1), syscall.EBADF)
	require.ErrorIs(t, server.Send(ctx, 1), syscall.ENOTCONN)
	require.ErrorIs(t, server.SendTo(ctx, nil, 1), syscall.EINVAL)
	require.ErrorIs(t, server.SendTo(ctx, transport.UnixAddr("/nowhere"), 1), syscall.ENOENT)
	require.ErrorIs(t, server.SendTo(ctx, transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:1")), 1), syscall.EINVAL)

	sender := client.sock
	two := unix.UnixRights(fdtest.File(t, "f"), fdtest.File(t, "g"))
	before := leak.Descriptors()
	for _, bad := range []string{"", "{", "{} {}", "nul", "\xff", "[1,]", argsViaFD, `{"Method": 7}`} {
		fdtest.SendRaw(t, sender, []byte(bad), two)
		var got request
		_, from, err := server.Receive(ctx, &got)
		require.ErrorIs(t, err, ErrDocument, bad)
		require.Equal(t, client.Addr(), from)
		require.Empty(t, fdtest.LeftOver(before, leak.Descriptors()), bad)
	}
	require.NoError(t, client.Send(ctx, request{Method: "next"}))
	var got request
	fds, _, err := server.Receive(ctx, &got)
	require.NoError(t, err)
	require.Equal(t, "next", got.Method)
	require.NoError(t, fds.Close())
}

// The server's file is removed where it is, not where its path leads to at that time.
func TestServerFile(t *testing.T) {
	fdtest.NoLeak(t)
	dir := sockdir.New(t)
	old, moved := filepath.Join(dir, "old"), filepath.Join(dir, "moved")
	require.NoError(t, os.Mkdir(old, 0o700))
	path := filepath.Join(old, "s")
	server := expect.NoError(NewServer(path, nil)).In(t)
	require.ErrorIs(t, expect.Err(NewServer(path, nil)), syscall.EADDRINUSE)
	require.NoError(t, os.Rename(old, moved))
	require.NoError(t, os.Mkdir(old, 0o700))
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, server.Close())
	require.NoError(t, server.Close())
	require.FileExists(t, path, "another's")
	require.NoFileExists(t, filepath.Join(moved, "s"))

	// A file that is no longer ours stays, and a file that is gone is no error.
	for _, other := range []bool{true, false} {
		path := filepath.Join(dir, fmt.Sprint(other))
		server := expect.NoError(NewServer(path, nil)).In(t)
		require.NoError(t, os.Remove(path))
		if other {
			require.NoError(t, os.WriteFile(path, nil, 0o600))
		}
		require.NoError(t, server.Close())
		if other {
			require.FileExists(t, path)
		}
	}
	require.ErrorIs(t, expect.Err(NewServer("", nil)), syscall.EINVAL)
	require.ErrorIs(t, expect.Err(NewServer(filepath.Join(dir, "no", "such"), nil)), syscall.ENOENT)
	require.ErrorIs(t, expect.Err(NewServer(strings.Repeat("x", 200), nil)), syscall.ENAMETOOLONG)
	require.ErrorIs(t, expect.Err(NewClient(transport.UnixAddr(filepath.Join(dir, "nobody")))), syscall.ENOENT)

	t.Chdir(dir)
	server = expect.NoError(NewServer("relative", nil)).In(t)
	t.Chdir("/")
	require.NoError(t, server.Close())
	require.NoFileExists(t, filepath.Join(dir, "relative"))
}

// fill sends until the sender has to wait, and tells how many documents have gone out.
func fill(t testing.TB, sender *Socket) (sent int) {
	t.Helper()
	for {
		err := sender.Send(transport.NoWait(), "x")
		if err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			return sent
		}
		sent++
	}
}

// drain reads what has come.
func drain(t testing.TB, receiver *Socket) {
	t.Helper()
	for {
		if _, _, err := receiver.Receive(transport.NoWait(), nil); err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			return
		}
	}
}

func TestWaitsEnd(t *testing.T) {
	fdtest.NoLeak(t)
	client, server := sockets(t, nil)
	require.ErrorIs(t, expect.Err2(server.Receive(fdtest.Briefly(t), nil)), context.DeadlineExceeded)
	// The queue is full when another sender has no room, either: how many datagrams a queue takes
	// (Linux: net.unix.max_dgram_qlen, see unix(7)) and how many a sender's own buffer holds are
	// the system's affair, and either may be the smaller number.
	sender := client
	for fill(t, sender) > 0 {
		sender = expect.Open(NewClient(server.Addr())).In(t)
	}
	free := expect.Open(NewClient(nil)).In(t)
	require.ErrorIs(t, free.SendTo(fdtest.Briefly(t), server.Addr(), "x"), context.DeadlineExceeded)
	waiting := expect.Aside(func() error { return free.SendTo(fdtest.Soon(t), server.Addr(), "x") })
	drain(t, server)
	require.NoError(t, <-waiting)
	drain(t, server) // what has waited may come after all others have been read
	done, ctx := make(chan error, 1), fdtest.NewWaited(fdtest.Soon(t))
	go func() { _, _, err := server.Receive(ctx, nil); done <- err }()
	<-ctx.Begun()
	require.NoError(t, server.Close())
	require.ErrorIs(t, <-done, net.ErrClosed)
}

// A sender whose own buffer is full waits like one whose receiver's queue is full, and alone:
// others still send to that receiver.
func TestOwnBufferFull(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux counts what is in the receiver's queue in its sender's buffer")
	}
	fdtest.NoLeak(t)
	client, server := sockets(t, nil)
	raw, err := client.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		const least = 0 // the system makes it room for a few datagrams
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, least)
	}))
	require.NoError(t, err)
	other, err := NewClient(server.Addr())
	require.NoError(t, err)
	defer other.Close()
	for _, send := range []func() error{
		func() error { return client.Send(fdtest.Soon(t), "x") },
		func() error { return client.SendTo(fdtest.Soon(t), server.Addr(), "x") },
	} {
		require.NotZero(t, fill(t, client))
		require.NoError(t, other.Send(fdtest.Soon(t), "x"))
		waiting := expect.Aside(func() error { return send() })
		// One document less may be too little: Linux tells a sender of room when three quarters of
		// its buffer are free (unix_writable in net/unix/af_unix.c).
		for done := false; !done; {
			select {
			case err = <-waiting:
				require.NoError(t, err)
				done = true
			default:
				if _, _, err = server.Receive(fdtest.Briefly(t), nil); err != nil {
					require.ErrorIs(t, err, context.DeadlineExceeded)
				}
			}
		}
		drain(t, server) // or there is no room to fill
	}
}

// A server answers the socket that asked, and no other: "@name\x00" is not "@name".
func TestPaddedName(t *testing.T) {
	if !sys.AbstractNames {
		t.Skip("no abstract names")
	}
	fdtest.NoLeak(t)
	own := fmt.Sprintf("@handoff-%d", os.Getpid()) // another run may have such a name, too
	server := expect.Open(NewServer(own+"-server", nil)).In(t)
	for _, name := range []string{own + "-padded", own + "-padded\x00", own + "\x00padded"} {
		fd := expect.NoError(unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)).In(t)
		require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: name}))
		require.NoError(t, unix.Sendto(fd, []byte("{}"), 0, &unix.SockaddrUnix{Name: own + "-server"}))
		_, from, err := server.Receive(fdtest.Soon(t), nil)
		require.NoError(t, err)
		require.Equal(t, name, expect.NoError(transport.UnixPath(from)).In(t))
		require.NoError(t, unix.Close(fd))
	}
}

func FuzzDocument(f *testing.F) {
	f.Add([]byte(`{"Method": "do", "Args": ["x"]}`), uint8(1))
	f.Add([]byte(argsViaFD), uint8(2))
	f.Add([]byte(`[[[[[[`), uint8(0))
	f.Fuzz(func(t *testing.T, p []byte, fds uint8) {
		fdtest.NoLeak(t)
		client, server := sockets(t, nil)
		var control []byte
		if fds %= 5; fds > 0 {
			control = unix.UnixRights(fdtest.Repeat(fdtest.File(t, "f"), int(fds))...)
		}
		fdtest.SendRaw(t, client.sock, p[:min(len(p), 10_000)], control)
		var got request
		set, _, err := server.Receive(fdtest.Soon(t), &got)
		if err != nil {
			require.ErrorIs(t, err, ErrDocument)
			return
		}
		require.Equal(t, int(fds), set.Len())
		require.NoError(t, set.Close())
	})
}

// A document that waits for room is not taken for sent when its receiver goes away.
func TestReceiverThatGoesAway(t *testing.T) {
	fdtest.NoLeak(t)
	client, server := sockets(t, nil)
	free, err := NewClient(nil)
	require.NoError(t, err)
	defer free.Close()
	for _, s := range []*Socket{client, free} {
		for err = nil; err == nil; {
			err = s.SendTo(transport.NoWait(), server.Addr(), "x")
		}
	}
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	ctx := fdtest.NewWaited(fdtest.Soon(t))
	sent := expect.Aside(func() error { return free.SendTo(ctx, server.Addr(), "late") })
	<-ctx.Begun()
	require.NoError(t, server.Close())
	err = <-sent
	require.Error(t, err)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
}

// A client that does not read makes only its own answers wait.
func TestClientThatDoesNotRead(t *testing.T) {
	fdtest.NoLeak(t)
	other, server := sockets(t, nil)
	hung, err := NewClient(nil)
	require.NoError(t, err)
	defer hung.Close()
	count := 1
	fill := func(from *Socket) {
		for err = nil; err == nil; count++ {
			err = from.SendTo(transport.NoWait(), hung.Addr(), count)
		}
		count--
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	}
	// let other clients fill its queue, since unread documents take room in their senders' buffers,
	// too
	for range 4 {
		filler := expect.Open(NewClient(nil)).In(t)
		fill(filler)
	}
	fill(server)
	f := fdtest.File(t, "f")
	ctx := fdtest.NewWaited(fdtest.Soon(t))
	sent := expect.Aside(func() error { return server.SendTo(ctx, hung.Addr(), "late", f) })
	<-ctx.Begun()
	require.NoError(t, server.SendTo(fdtest.Soon(t), other.Addr(), "at once"), "its own buffer has room")
	var got any
	fds, _, err := other.Receive(fdtest.Soon(t), &got)
	require.NoError(t, err)
	require.NoError(t, fds.Close())
	require.Equal(t, "at once", got)
	for range count {
		fds, _, err := hung.Receive(fdtest.Soon(t), &got)
		require.NoError(t, err)
		if fds.Len() > 0 {
			fd := expect.NoError(fds.FD(0)).In(t)
			require.Equal(t, "f", fdtest.Content(t, fd))
		}
		require.NoError(t, fds.Close())
	}
	require.Equal(t, "late", got)
	require.NoError(t, <-sent)
}
