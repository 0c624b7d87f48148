package jsoncomm

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/internal/system"
)

var self = handoff.Cred{PID: os.Getpid(), UID: os.Geteuid(), GID: os.Getegid()}

func connPair(t testing.TB) (one, other *Conn) {
	t.Helper()
	one, other, err := Pair(nil)
	require.NoError(t, err)
	t.Cleanup(func() { one.Close(); other.Close() })
	return one, other
}

// Documents of any length come whole, long ones in a memory file that the caller does not see.
func TestConn(t *testing.T) {
	need.Descriptors(t, 600)
	fdtest.NoLeak(t)
	ctx := fdtest.Soon(t)
	a, b := connPair(t)
	f := fdtest.File(t, "f")
	for _, tt := range []struct{ length, fds int }{{1, 0}, {100, 1}, {5000, handoff.MaxDescriptors}, {1 << 20, 0}, {1 << 20, 3},
		{1 << 20, handoff.MaxDescriptors - 1}} {
		sent := strings.Repeat("x", tt.length)
		require.NoError(t, a.Send(ctx, sent, fdtest.Repeat(f, tt.fds)...))
		var got string
		fds := expect.NoError(b.Receive(ctx, &got)).In(t)
		require.Equal(t, sent, got)
		require.Equal(t, tt.fds, fds.Len())
		for _, fd := range fds.FDs() {
			require.Equal(t, "f", fdtest.Content(t, fd))
		}
		require.NoError(t, fds.Close())
	}
	require.ErrorIs(t, a.Send(ctx, strings.Repeat("x", 1<<20), fdtest.Repeat(f, handoff.MaxDescriptors)...), syscall.EINVAL)
	require.ErrorContains(t, a.Send(ctx, func() {}), "unsupported type")
	require.NoError(t, a.Close())
	fds, err := b.Receive(ctx, nil)
	require.Equal(t, io.EOF, err)
	require.NotNil(t, fds)
	require.Zero(t, fds.Len())
}

// Send refuses what the Receive of its own end would refuse, and sends what that takes, to the last
// byte.
func TestLimit(t *testing.T) {
	fdtest.NoLeak(t)
	document := func(size int) string { return strings.Repeat("x", size-len(`""`)) }
	for name, tt := range map[string]struct {
		config *ConnOptions
		limit  int
	}{
		"default":                 {nil, defaultMaxPayload},
		"less than a packet":      {&ConnOptions{MaxPayload: 1000}, 1000},
		"less than args-via-fd":   {&ConnOptions{MaxPayload: 5}, 5},
		"between packet and file": {&ConnOptions{MaxPayload: 1 << 20}, 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.config == nil {
				need.Long(t, 10*time.Second)
			}
			a, b, err := Pair(tt.config)
			require.NoError(t, err)
			defer a.Close()
			defer b.Close()
			err = a.Send(fdtest.Soon(t), document(tt.limit+1))
			require.ErrorIs(t, err, syscall.EMSGSIZE)
			require.ErrorContains(t, err, "MaxPayload")
			require.NoError(t, a.Send(fdtest.Soon(t), document(tt.limit)))
			var got string
			set := expect.NoError(b.Receive(fdtest.Soon(t), &got)).In(t)
			require.NoError(t, set.Close())
			require.True(t, document(tt.limit) == got)

			// the other end of a peer with another limit
			wide := &Conn{conn: a.conn, in: a.in, max: tt.limit + 1}
			require.NoError(t, wide.Send(fdtest.Soon(t), document(tt.limit+1)))
			_, err = b.Receive(fdtest.Soon(t), &got)
			require.ErrorIs(t, err, syscall.EMSGSIZE)
			require.ErrorContains(t, err, "more than")
			require.NoError(t, a.Send(fdtest.Soon(t), 1))
			set, err = b.Receive(fdtest.Soon(t), nil)
			require.NoError(t, err, "the next one comes")
			require.NoError(t, set.Close())
		})
	}
	negative := &ConnOptions{MaxPayload: -1}
	require.ErrorIs(t, expect.Err2(Pair(negative)), syscall.EINVAL)
	path := filepath.Join(sockdir.New(t), "s")
	require.ErrorIs(t, expect.Err(Listen(path, negative)), syscall.EINVAL)
	l := expect.Open(Listen(path, &ConnOptions{MaxPayload: 10})).In(t)
	require.ErrorIs(t, expect.Err(Connect(fdtest.Soon(t), path, negative)), syscall.EINVAL)
	c := expect.Open(Connect(fdtest.Soon(t), path, &ConnOptions{MaxPayload: 11})).In(t)
	s := expect.Open(l.Accept(fdtest.Soon(t))).In(t)
	require.NoError(t, c.Send(fdtest.Soon(t), document(11)))
	require.ErrorIs(t, s.Send(fdtest.Soon(t), document(11)), syscall.EMSGSIZE)
}

func TestListener(t *testing.T) {
	fdtest.NoLeak(t)
	ctx := fdtest.Soon(t)
	path := filepath.Join(sockdir.New(t), "s")
	l := expect.NoError(Listen(path, nil)).In(t)
	require.ErrorIs(t, expect.Err(Listen(path, nil)), syscall.EADDRINUSE)
	short, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	require.ErrorIs(t, expect.Err(l.Accept(short)), context.DeadlineExceeded)
	client := expect.NoError(Connect(ctx, path, nil)).In(t)
	server := expect.NoError(l.Accept(ctx)).In(t)
	require.Equal(t, self, expect.NoError(handoff.PeerCred(server)).In(t))
	require.NoError(t, client.Send(ctx, []int{1, 2, 3}))
	var got []int
	fds := expect.NoError(server.Receive(ctx, &got)).In(t)
	require.NoError(t, fds.Close())
	require.Equal(t, []int{1, 2, 3}, got)

	done := make(chan error, 1)
	waits := fdtest.NewWaited(ctx)
	go func() { _, err := l.Accept(waits); done <- err }()
	<-waits.Begun()
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	require.ErrorIs(t, <-done, net.ErrClosed)
	require.NoFileExists(t, path)
	require.NoError(t, server.Send(ctx, "still connected"))
	fds = expect.NoError(client.Receive(ctx, nil)).In(t)
	require.NoError(t, fds.Close())
	require.NoError(t, client.Close())
	require.NoError(t, server.Close())
	require.NoError(t, server.Close())

	require.ErrorIs(t, expect.Err(Connect(ctx, path, nil)), syscall.ENOENT)
	require.ErrorIs(t, expect.Err(Connect(ctx, strings.Repeat("x", 200), nil)), syscall.ENAMETOOLONG)
	require.ErrorIs(t, expect.Err(Listen("", nil)), syscall.EINVAL)
	c, gone := fdtest.Pair(t, unix.SOCK_STREAM)
	require.ErrorIs(t, expect.Err(NewConn(c, nil)), syscall.EINVAL)
	require.NoError(t, gone.Close())
	require.ErrorIs(t, expect.Err(NewConn(gone, nil)), net.ErrClosed)
}

// memory makes a memory file, closed at the end of the test.
func memory(t testing.TB, text string) int {
	t.Helper()
	fd := expect.NoError(system.MemoryFile("test", []byte(text))).In(t)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestConnRefuses(t *testing.T) {
	ctx := fdtest.Soon(t)
	a, b := connPair(t)
	var pipe [2]int
	require.NoError(t, unix.Pipe2(pipe[:], unix.O_CLOEXEC))
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	huge := memory(t, "")
	require.NoError(t, unix.Ftruncate(huge, 1<<50))
	path := expect.NoError(unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)).In(t)
	defer unix.Close(path)
	f := fdtest.File(t, "f")
	for _, tt := range []struct {
		name, body string
		fds        []int
		want       error
	}{
		{"bad JSON", "{", []int{f}, ErrDocument},
		{"no file", argsViaFD, nil, handoff.ErrMalformed},
		{"a file on disk", argsViaFD, []int{f, f}, handoff.ErrMalformed},
		{"a pipe", argsViaFD, []int{pipe[0]}, handoff.ErrMalformed},
		{"a path", argsViaFD, []int{path}, handoff.ErrMalformed},
		{"too long", argsViaFD, []int{huge, f}, syscall.EMSGSIZE},
		{"empty", argsViaFD, []int{memory(t, ""), f}, ErrDocument},
		{"bad JSON in the file", argsViaFD, []int{memory(t, "[1,"), f}, ErrDocument},
		{"in a file in a file", argsViaFD, []int{memory(t, argsViaFD), memory(t, "1")}, ErrDocument},
	} {
		before := leak.Descriptors()
		var control []byte
		if tt.fds != nil {
			control = unix.UnixRights(tt.fds...)
		}
		fdtest.SendRaw(t, a, []byte(tt.body), control)
		require.ErrorIs(t, expect.Err(b.Receive(ctx, nil)), tt.want, tt.name)
		require.Empty(t, fdtest.LeftOver(before, leak.Descriptors()), tt.name)
	}
	fdtest.SendRaw(t, a, []byte(argsViaFD), unix.UnixRights(memory(t, "7"), f))
	var got int
	fds := expect.NoError(b.Receive(ctx, &got)).In(t)
	require.Equal(t, 7, got)
	fd := expect.NoError(fds.FD(0)).In(t)
	require.Equal(t, "f", fdtest.Content(t, fd), "the first of those that the sender meant")
	require.NoError(t, fds.Close())
}

// A server decides for each document whether to accept its sender.
func TestServerPeer(t *testing.T) {
	fdtest.NoLeak(t)
	ctx := fdtest.Soon(t)
	var asked []handoff.Cred
	allow := true
	client, server := sockets(t, &ServerOptions{Peer: func(c handoff.Cred) error {
		asked = append(asked, c)
		if allow {
			return handoff.SameUser(c)
		}
		return os.ErrPermission
	}})
	require.NoError(t, client.Send(ctx, 1, fdtest.File(t, "f")))
	fds, _, err := server.Receive(ctx, nil)
	require.NoError(t, err)
	require.NoError(t, fds.Close())
	allow = false
	require.NoError(t, client.Send(ctx, 1, fdtest.File(t, "f")))
	before := leak.Descriptors()
	_, _, err = server.Receive(ctx, nil)
	require.ErrorIs(t, err, handoff.ErrForbidden)
	require.ErrorIs(t, err, os.ErrPermission)
	require.Empty(t, fdtest.LeftOver(before, leak.Descriptors()))
	require.Equal(t, []handoff.Cred{self, self}, asked)
}
