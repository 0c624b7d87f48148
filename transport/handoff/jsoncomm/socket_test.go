//go:build unix

package handoff

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/test/expect"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/test/need"
	"github.com/cnode-go/cnode/test/sockdir"
	"github.com/cnode-go/cnode/transport"
)

// jsonSockets makes a server, and a client that sends to it.
func jsonSockets(t testing.TB, config *JSONOptions) (client, server *JSONSocket) {
	t.Helper()
	path := filepath.Join(sockdir.New(t), "server")
	server, err := NewJSONServer(path, config)
	require.NoError(t, err)
	t.Cleanup(func() { server.Close() })
	client, err = NewJSONClient(transport.UnixAddr(path))
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	return client, server
}

type request struct {
	Method string
	Args   []string
}

func TestJSONExchange(t *testing.T) {
	need.Descriptors(t, 600)
	noLeak(t)
	ctx := soon(t)
	client, server := jsonSockets(t, nil)
	for _, n := range []int{0, 1, MaxDescriptors} {
		sent := request{"do", []string{"a", strings.Repeat("x", 100*n)}}
		require.NoError(t, client.Send(ctx, sent, slicesRepeat(file(t, "there"), n)...))
		var got request
		fds, from, err := server.Receive(ctx, &got)
		require.NoError(t, err)
		require.Equal(t, sent, got)
		require.Equal(t, n, fds.Len())
		for _, fd := range fds.FDs() {
			require.Equal(t, "there", content(t, fd))
		}
		require.NoError(t, fds.Close())
		require.Equal(t, client.Addr(), from)

		require.NoError(t, server.SendTo(ctx, from, map[string]int{"n": n}, file(t, "back")))
		var answer map[string]int
		fds, from, err = client.Receive(ctx, &answer)
		require.NoError(t, err)
		require.Equal(t, map[string]int{"n": n}, answer)
		require.Equal(t, server.Addr(), from)
		fd, err := fds.Steal(0)
		require.NoError(t, err)
		require.Equal(t, "back", content(t, fd))
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
func TestJSONLengths(t *testing.T) {
	noLeak(t)
	ctx := soon(t)
	client, server := jsonSockets(t, nil)
	for _, n := range []int{1, 4093, 4094, 4095, 4096, 4097, 8190, 8191, 100_000} {
		sent := strings.Repeat("x", n)
		require.NoError(t, client.Send(ctx, sent, file(t, "f")))
		var got string
		fds, _, err := server.Receive(ctx, &got)
		require.NoError(t, err)
		require.Equal(t, sent, got)
		require.NoError(t, fds.Close())
	}
	require.ErrorIs(t, client.Send(ctx, strings.Repeat("x", 32<<20), file(t, "f")), syscall.EMSGSIZE)

	raw, err := client.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096) }))
	require.NoError(t, err)
	require.ErrorIs(t, client.Send(ctx, strings.Repeat("x", 100_000)), syscall.EMSGSIZE)
}

func TestJSONRefuses(t *testing.T) {
	noLeak(t)
	ctx := soon(t)
	client, server := jsonSockets(t, nil)
	require.ErrorContains(t, client.Send(ctx, func() {}), "unsupported type")
	require.ErrorIs(t, client.Send(ctx, 1, slicesRepeat(0, 254)...), syscall.EINVAL)
	require.ErrorIs(t, client.Send(ctx, 1, -1), syscall.EBADF)
	require.ErrorIs(t, server.Send(ctx, 1), syscall.ENOTCONN)
	require.ErrorIs(t, server.SendTo(ctx, nil, 1), syscall.EINVAL)
	require.ErrorIs(t, server.SendTo(ctx, transport.UnixAddr("/nowhere"), 1), syscall.ENOENT)
	require.ErrorIs(t, server.SendTo(ctx, addr("127.0.0.1:1"), 1), syscall.EINVAL)

	sender := client.conn.conn
	two := unix.UnixRights(file(t, "f"), file(t, "g"))
	before := openDescriptors()
	for _, bad := range []string{"", "{", "{} {}", "nul", "\xff", "[1,]", argsViaFD, `{"Method": 7}`} {
		sendRaw(t, sender, []byte(bad), two)
		var got request
		_, from, err := server.Receive(ctx, &got)
		require.ErrorIs(t, err, ErrJSON, bad)
		require.Equal(t, client.Addr(), from)
		require.Empty(t, leftOver(before, openDescriptors()), bad)
	}
	require.NoError(t, client.Send(ctx, request{Method: "next"}))
	var got request
	fds, _, err := server.Receive(ctx, &got)
	require.NoError(t, err)
	require.Equal(t, "next", got.Method)
	require.NoError(t, fds.Close())
}

// The server's file is removed where it is, not where its path leads to at that time.
func TestJSONServerFile(t *testing.T) {
	noLeak(t)
	dir := sockdir.New(t)
	old, moved := filepath.Join(dir, "old"), filepath.Join(dir, "moved")
	require.NoError(t, os.Mkdir(old, 0o700))
	path := filepath.Join(old, "s")
	server, err := NewJSONServer(path, nil)
	require.NoError(t, err)
	_, err = NewJSONServer(path, nil)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
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
		server, err := NewJSONServer(path, nil)
		require.NoError(t, err)
		require.NoError(t, os.Remove(path))
		if other {
			require.NoError(t, os.WriteFile(path, nil, 0o600))
		}
		require.NoError(t, server.Close())
		if other {
			require.FileExists(t, path)
		}
	}
	_, err = NewJSONServer("", nil)
	require.ErrorIs(t, err, syscall.EINVAL)
	_, err = NewJSONServer(filepath.Join(dir, "no", "such"), nil)
	require.ErrorIs(t, err, syscall.ENOENT)
	_, err = NewJSONServer(strings.Repeat("x", 200), nil)
	require.ErrorIs(t, err, syscall.ENAMETOOLONG)
	_, err = NewJSONClient(transport.UnixAddr(filepath.Join(dir, "nobody")))
	require.ErrorIs(t, err, syscall.ENOENT)

	t.Chdir(dir)
	server, err = NewJSONServer("relative", nil)
	require.NoError(t, err)
	t.Chdir("/")
	require.NoError(t, server.Close())
	require.NoFileExists(t, filepath.Join(dir, "relative"))
}

// briefly is a context for a call that is to wait in vain.
func briefly(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// fillJSON sends until the sender has to wait, and tells how many documents have gone out.
func fillJSON(t testing.TB, sender *JSONSocket) (sent int) {
	t.Helper()
	for {
		err := sender.Send(briefly(t), "x")
		if err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			return sent
		}
		sent++
	}
}

func TestJSONWaitsEnd(t *testing.T) {
	noLeak(t)
	client, server := jsonSockets(t, nil)
	_, _, err := server.Receive(briefly(t), nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	// The queue is full when another sender has no room, either: how many datagrams a queue takes
	// (Linux: net.unix.max_dgram_qlen, see unix(7)) and how many a sender's own buffer holds are
	// the system's affair, and either may be the smaller number.
	sender := client
	for fillJSON(t, sender) > 0 {
		sender, err = NewJSONClient(server.Addr())
		require.NoError(t, err)
		defer sender.Close()
	}
	free, err := NewJSONClient(nil)
	require.NoError(t, err)
	defer free.Close()
	require.ErrorIs(t, free.SendTo(briefly(t), server.Addr(), "x"), context.DeadlineExceeded)
	waiting := make(chan error, 1)
	go func() { waiting <- free.SendTo(soon(t), server.Addr(), "x") }()
	for err = nil; err == nil; {
		_, _, err = server.Receive(briefly(t), nil)
	}
	require.NoError(t, <-waiting)
	done := make(chan error, 1)
	go func() { _, _, err := server.Receive(context.Background(), nil); done <- err }()
	require.Eventually(t, func() bool { return server.conn.receiving.Callers() > 0 }, expect.Limit, time.Millisecond)
	require.NoError(t, server.Close())
	if err := <-done; err != nil { // otherwise it has received a document before
		require.ErrorIs(t, err, net.ErrClosed)
	}
}

// A sender whose own buffer is full waits like one whose receiver's queue is full, and alone:
// others still send to that receiver.
func TestJSONOwnBufferFull(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux counts what is in the receiver's queue in its sender's buffer")
	}
	noLeak(t)
	client, server := jsonSockets(t, nil)
	raw, err := client.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		const least = 0 // the system makes it room for a few datagrams
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, least)
	}))
	require.NoError(t, err)
	other, err := NewJSONClient(server.Addr())
	require.NoError(t, err)
	defer other.Close()
	sent := fillJSON(t, client)
	require.NotZero(t, sent)
	require.NoError(t, other.Send(soon(t), "x"))
	for _, send := range []func() error{
		func() error { return client.Send(soon(t), "x") },
		func() error { return client.SendTo(soon(t), server.Addr(), "x") },
	} {
		waiting := make(chan error, 1)
		go func() { waiting <- send() }()
		_, _, err = server.Receive(soon(t), nil)
		require.NoError(t, err)
		require.NoError(t, <-waiting)
	}
}

// A server answers the socket that asked, and no other: "@name\x00" is not "@name".
func TestPaddedName(t *testing.T) {
	if !abstractNames {
		t.Skip("no abstract names")
	}
	noLeak(t)
	server, err := NewJSONServer("@handoff-padded-server", nil)
	require.NoError(t, err)
	defer server.Close()
	for _, tt := range []struct{ name, from string }{
		{"@handoff-padded", "@handoff-padded"}, {"@handoff-padded\x00", "@handoff-padded\x00"}, {"@handoff\x00padded", "@handoff\x00padded"},
	} {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
		require.NoError(t, err)
		require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: tt.name}))
		require.NoError(t, unix.Sendto(fd, []byte("{}"), 0, &unix.SockaddrUnix{Name: "@handoff-padded-server"}))
		_, from, err := server.Receive(soon(t), nil)
		require.NoError(t, err)
		path, err := transport.UnixPath(from)
		require.NoError(t, err)
		require.Equal(t, tt.from, path, "%q", tt.name)
		require.NoError(t, unix.Close(fd))
	}
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"Method": "do", "Args": ["x"]}`), uint8(1))
	f.Add([]byte(argsViaFD), uint8(2))
	f.Add([]byte(`[[[[[[`), uint8(0))
	f.Fuzz(func(t *testing.T, p []byte, fds uint8) {
		noLeak(t)
		client, server := jsonSockets(t, nil)
		var control []byte
		if fds %= 5; fds > 0 {
			control = unix.UnixRights(slicesRepeat(file(t, "f"), int(fds))...)
		}
		sendRaw(t, client.conn.conn, p[:min(len(p), 10_000)], control)
		var got request
		set, _, err := server.Receive(soon(t), &got)
		if err != nil {
			require.ErrorIs(t, err, ErrJSON)
			return
		}
		require.Equal(t, int(fds), set.Len())
		require.NoError(t, set.Close())
	})
}

// A waited is a context that tells when a call begins to wait for its end.
type waited struct {
	context.Context
	once  sync.Once
	waits chan struct{}
}

func (w *waited) Done() <-chan struct{} {
	w.once.Do(func() { close(w.waits) })
	return w.Context.Done()
}

// A document that waits for room is not taken for sent when its receiver goes away.
func TestReceiverThatGoesAway(t *testing.T) {
	noLeak(t)
	client, server := jsonSockets(t, nil)
	free, err := NewJSONClient(nil)
	require.NoError(t, err)
	defer free.Close()
	for _, s := range []*JSONSocket{client, free} {
		for err = nil; err == nil; {
			err = s.SendTo(transport.NoWait(), server.Addr(), "x")
		}
	}
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	ctx := &waited{Context: soon(t), waits: make(chan struct{})}
	sent := make(chan error, 1)
	go func() { sent <- free.SendTo(ctx, server.Addr(), "late") }()
	<-ctx.waits
	require.NoError(t, server.Close())
	err = <-sent
	require.Error(t, err)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
}

// A client that does not read makes only its own answers wait.
func TestJSONClientThatDoesNotRead(t *testing.T) {
	noLeak(t)
	other, server := jsonSockets(t, nil)
	hung, err := NewJSONClient(nil)
	require.NoError(t, err)
	defer hung.Close()
	count := 1
	fill := func(from *JSONSocket) {
		for err = nil; err == nil; count++ {
			err = from.SendTo(transport.NoWait(), hung.Addr(), count)
		}
		count--
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	}
	// let other clients fill its queue, since unread documents take room in their senders' buffers,
	// too
	for range 4 {
		filler, err := NewJSONClient(nil)
		require.NoError(t, err)
		defer filler.Close()
		fill(filler)
	}
	fill(server)
	f := file(t, "f")
	ctx := &waited{Context: soon(t), waits: make(chan struct{})}
	sent := make(chan error, 1)
	go func() { sent <- server.SendTo(ctx, hung.Addr(), "late", f) }()
	<-ctx.waits
	require.NoError(t, server.SendTo(soon(t), other.Addr(), "at once"), "its own buffer has room")
	var got any
	fds, _, err := other.Receive(soon(t), &got)
	require.NoError(t, err)
	require.NoError(t, fds.Close())
	require.Equal(t, "at once", got)
	for range count {
		fds, _, err := hung.Receive(soon(t), &got)
		require.NoError(t, err)
		if fds.Len() > 0 {
			fd, err := fds.FD(0)
			require.NoError(t, err)
			require.Equal(t, "f", content(t, fd))
		}
		require.NoError(t, fds.Close())
	}
	require.Equal(t, "late", got)
	require.NoError(t, <-sent)
}
