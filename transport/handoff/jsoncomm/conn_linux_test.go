package handoff

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

	"github.com/cnode-go/cnode/test/expect"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/test/need"
	"github.com/cnode-go/cnode/test/sockdir"
)

func jsonPair(t testing.TB) (one, other *JSONConn) {
	t.Helper()
	one, other, err := JSONPair(nil)
	require.NoError(t, err)
	t.Cleanup(func() { one.Close(); other.Close() })
	return one, other
}

// Documents of any length come whole, long ones in a memory file that the caller does not see.
func TestJSONConn(t *testing.T) {
	need.Descriptors(t, 600)
	noLeak(t)
	ctx := soon(t)
	a, b := jsonPair(t)
	f := file(t, "f")
	for _, tt := range []struct{ length, fds int }{{1, 0}, {100, 1}, {5000, MaxDescriptors}, {1 << 20, 0}, {1 << 20, 3},
		{1 << 20, MaxDescriptors - 1}} {
		sent := strings.Repeat("x", tt.length)
		require.NoError(t, a.Send(ctx, sent, slicesRepeat(f, tt.fds)...))
		var got string
		fds, err := b.Receive(ctx, &got)
		require.NoError(t, err)
		require.Equal(t, sent, got)
		require.Equal(t, tt.fds, fds.Len())
		for _, fd := range fds.FDs() {
			require.Equal(t, "f", content(t, fd))
		}
		require.NoError(t, fds.Close())
	}
	require.ErrorIs(t, a.Send(ctx, strings.Repeat("x", 1<<20), slicesRepeat(f, MaxDescriptors)...), syscall.EINVAL)
	require.ErrorContains(t, a.Send(ctx, func() {}), "unsupported type")
	require.NoError(t, a.Close())
	fds, err := b.Receive(ctx, nil)
	require.Equal(t, io.EOF, err)
	require.NotNil(t, fds)
	require.Zero(t, fds.Len())
}

// Send refuses what the Receive of its own end would refuse, and sends what that takes, to the last
// byte.
func TestJSONLimit(t *testing.T) {
	noLeak(t)
	document := func(size int) string { return strings.Repeat("x", size-len(`""`)) }
	for name, tt := range map[string]struct {
		config *JSONConnOptions
		limit  int
	}{
		"default":                 {nil, DefaultMaxPayload},
		"less than a packet":      {&JSONConnOptions{MaxPayload: 1000}, 1000},
		"less than args-via-fd":   {&JSONConnOptions{MaxPayload: 5}, 5},
		"between packet and file": {&JSONConnOptions{MaxPayload: 1 << 20}, 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			a, b, err := JSONPair(tt.config)
			require.NoError(t, err)
			defer a.Close()
			defer b.Close()
			err = a.Send(soon(t), document(tt.limit+1))
			require.ErrorIs(t, err, syscall.EMSGSIZE)
			require.ErrorContains(t, err, "MaxPayload")
			require.NoError(t, a.Send(soon(t), document(tt.limit)))
			var got string
			set, err := b.Receive(soon(t), &got)
			require.NoError(t, err)
			require.NoError(t, set.Close())
			require.True(t, document(tt.limit) == got)

			// the other end of a peer with another limit
			wide := &JSONConn{conn: a.conn, max: tt.limit + 1}
			require.NoError(t, wide.Send(soon(t), document(tt.limit+1)))
			_, err = b.Receive(soon(t), &got)
			require.ErrorIs(t, err, syscall.EMSGSIZE)
			require.ErrorContains(t, err, "more than")
			require.NoError(t, a.Send(soon(t), 1))
			set, err = b.Receive(soon(t), nil)
			require.NoError(t, err, "the next one comes")
			require.NoError(t, set.Close())
		})
	}
	negative := &JSONConnOptions{MaxPayload: -1}
	_, _, err := JSONPair(negative)
	require.ErrorIs(t, err, syscall.EINVAL)
	path := filepath.Join(sockdir.New(t), "s")
	_, err = ListenJSON(path, negative)
	require.ErrorIs(t, err, syscall.EINVAL)
	l, err := ListenJSON(path, &JSONConnOptions{MaxPayload: 10})
	require.NoError(t, err)
	defer l.Close()
	_, err = ConnectJSON(soon(t), path, negative)
	require.ErrorIs(t, err, syscall.EINVAL)
	c, err := ConnectJSON(soon(t), path, &JSONConnOptions{MaxPayload: 11})
	require.NoError(t, err)
	defer c.Close()
	s, err := l.Accept(soon(t))
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, c.Send(soon(t), document(11)))
	require.ErrorIs(t, s.Send(soon(t), document(11)), syscall.EMSGSIZE)
}

func TestJSONListener(t *testing.T) {
	noLeak(t)
	ctx := soon(t)
	path := filepath.Join(sockdir.New(t), "s")
	l, err := ListenJSON(path, nil)
	require.NoError(t, err)
	_, err = ListenJSON(path, nil)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	short, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	_, err = l.Accept(short)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	client, err := ConnectJSON(ctx, path, nil)
	require.NoError(t, err)
	server, err := l.Accept(ctx)
	require.NoError(t, err)
	cred, err := PeerCred(server)
	require.NoError(t, err)
	require.Equal(t, self, cred)
	require.NoError(t, client.Send(ctx, []int{1, 2, 3}))
	var got []int
	fds, err := server.Receive(ctx, &got)
	require.NoError(t, err)
	require.NoError(t, fds.Close())
	require.Equal(t, []int{1, 2, 3}, got)

	done := make(chan error, 1)
	go func() { _, err := l.Accept(context.Background()); done <- err }()
	require.Eventually(t, func() bool { return l.turn.Callers() > 0 }, expect.Limit, time.Millisecond)
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	require.ErrorIs(t, <-done, net.ErrClosed)
	require.NoFileExists(t, path)
	require.NoError(t, server.Send(ctx, "still connected"))
	fds, err = client.Receive(ctx, nil)
	require.NoError(t, err)
	require.NoError(t, fds.Close())
	require.NoError(t, client.Close())
	require.NoError(t, server.Close())
	require.NoError(t, server.Close())

	_, err = ConnectJSON(ctx, path, nil)
	require.ErrorIs(t, err, syscall.ENOENT)
	_, err = ConnectJSON(ctx, strings.Repeat("x", 200), nil)
	require.ErrorIs(t, err, syscall.ENAMETOOLONG)
	_, err = ListenJSON("", nil)
	require.ErrorIs(t, err, syscall.EINVAL)
	c, gone := pair(t, unix.SOCK_STREAM)
	_, err = NewJSONConn(c, nil)
	require.ErrorIs(t, err, syscall.EINVAL)
	require.NoError(t, gone.Close())
	_, err = NewJSONConn(gone, nil)
	require.ErrorIs(t, err, net.ErrClosed)
}

// memory makes a memory file, closed at the end of the test.
func memory(t testing.TB, text string) int {
	t.Helper()
	fd, err := memoryFile("test", []byte(text))
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestJSONConnRefuses(t *testing.T) {
	ctx := soon(t)
	a, b := jsonPair(t)
	var pipe [2]int
	require.NoError(t, unix.Pipe2(pipe[:], unix.O_CLOEXEC))
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	huge := memory(t, "")
	require.NoError(t, unix.Ftruncate(huge, 1<<50))
	path, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(path)
	f := file(t, "f")
	for _, tt := range []struct {
		name, body string
		fds        []int
		want       error
	}{
		{"bad JSON", "{", []int{f}, ErrJSON},
		{"no file", argsViaFD, nil, ErrMalformed},
		{"a file on disk", argsViaFD, []int{f, f}, ErrMalformed},
		{"a pipe", argsViaFD, []int{pipe[0]}, ErrMalformed},
		{"a path", argsViaFD, []int{path}, ErrMalformed},
		{"too long", argsViaFD, []int{huge, f}, syscall.EMSGSIZE},
		{"empty", argsViaFD, []int{memory(t, ""), f}, ErrJSON},
		{"bad JSON in the file", argsViaFD, []int{memory(t, "[1,"), f}, ErrJSON},
		{"in a file in a file", argsViaFD, []int{memory(t, argsViaFD), memory(t, "1")}, ErrJSON},
	} {
		before := openDescriptors()
		var control []byte
		if tt.fds != nil {
			control = unix.UnixRights(tt.fds...)
		}
		sendRaw(t, a.conn.conn, []byte(tt.body), control)
		_, err := b.Receive(ctx, nil)
		require.ErrorIs(t, err, tt.want, tt.name)
		require.Empty(t, leftOver(before, openDescriptors()), tt.name)
	}
	sendRaw(t, a.conn.conn, []byte(argsViaFD), unix.UnixRights(memory(t, "7"), f))
	var got int
	fds, err := b.Receive(ctx, &got)
	require.NoError(t, err)
	require.Equal(t, 7, got)
	fd, err := fds.FD(0)
	require.NoError(t, err)
	require.Equal(t, "f", content(t, fd), "the first of those that the sender meant")
	require.NoError(t, fds.Close())
}

// A server decides for each document whether to accept its sender.
func TestJSONServerPeer(t *testing.T) {
	noLeak(t)
	ctx := soon(t)
	var asked []Cred
	allow := true
	client, server := jsonSockets(t, &JSONOptions{Peer: func(c Cred) error {
		asked = append(asked, c)
		if allow {
			return SameUser(c)
		}
		return os.ErrPermission
	}})
	require.NoError(t, client.Send(ctx, 1, file(t, "f")))
	fds, _, err := server.Receive(ctx, nil)
	require.NoError(t, err)
	require.NoError(t, fds.Close())
	allow = false
	require.NoError(t, client.Send(ctx, 1, file(t, "f")))
	before := openDescriptors()
	_, _, err = server.Receive(ctx, nil)
	require.ErrorIs(t, err, ErrForbidden)
	require.ErrorIs(t, err, os.ErrPermission)
	require.Empty(t, leftOver(before, openDescriptors()))
	require.Equal(t, []Cred{self, self}, asked)
}

func TestJSONAbstract(t *testing.T) {
	noLeak(t)
	ctx := soon(t)
	name := "@" + filepath.Base(t.TempDir()) + t.Name()
	server, err := NewJSONServer(name, nil)
	require.NoError(t, err)
	client, err := NewJSONClient(server.Addr())
	require.NoError(t, err)
	require.NoError(t, client.Send(ctx, 1))
	fds, from, err := server.Receive(ctx, nil)
	require.NoError(t, err)
	require.NoError(t, fds.Close())
	require.Regexp(t, "^unix:@[0-9a-f]{5}$", from.String())
	require.NoError(t, client.Close())
	require.NoError(t, server.Close())
}
