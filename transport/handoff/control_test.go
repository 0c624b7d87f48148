//go:build unix

package handoff

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/transport/handoff/internal/sock"
)

// The control socket: its directory must be the user's own, the socket of a dead process is
// replaced, that of a living one is not, and it can be moved.
func TestControlSocketIsItsUsersAndMoves(t *testing.T) {
	needsPackets(t)
	fdtest.NoLeak(t)
	dir := sockdir.New(t)
	path := filepath.Join(dir, "control")
	require.NoError(t, os.Chmod(dir, 0o711))
	require.ErrorIs(t, expect.Err(ListenControl(path)), ErrForbidden)
	require.NoError(t, os.Chmod(dir, 0o700))
	c := expect.NoError(ListenControl(path)).In(t)
	require.ErrorIs(t, expect.Err(ListenControl(path)), syscall.EADDRINUSE)

	var fd int
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(n uintptr) { fd, err = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 3) }))
	require.NoError(t, err)
	moved := expect.NoError(ImportControl(fd, path)).In(t)
	require.NoError(t, c.Release())
	ask := make(chan error, 1)
	go func() {
		ch, err := ConnectControl(fdtest.Soon(t), path)
		if err == nil {
			var words []string
			if words, err = ch.Ask(fdtest.Soon(t), "what", ""); err == nil && !slices.Equal(words, []string{"that"}) {
				err = errors.New("another answer")
			}
			err = errors.Join(err, ch.Close())
		}
		ask <- err
	}()
	conn, err := moved.Accept(fdtest.Soon(t)) // the connection with which abandoned checked for a listener
	require.NoError(t, err)
	require.ErrorIs(t, expect.Err(Hear(fdtest.Soon(t), conn)), io.EOF)
	conn = expect.NoError(moved.Accept(fdtest.Soon(t))).In(t)
	v := expect.NoError(Hear(fdtest.Soon(t), conn)).In(t)
	words, asks := v.Request()
	require.True(t, asks)
	require.Equal(t, []string{"what", ""}, words)
	require.NoError(t, v.Answer(fdtest.Soon(t), "that"))
	require.NoError(t, <-ask)
	require.NoError(t, v.Close())
	require.NoError(t, moved.Release()) // as if this process had died
	require.NoError(t, moved.Close())
	require.FileExists(t, path)
	c = expect.NoError(ListenControl(path)).In(t)
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
	require.NoError(t, c.Release())
	require.NoFileExists(t, path)
	require.ErrorIs(t, expect.Err(ConnectControl(fdtest.Soon(t), path)), os.ErrNotExist)
}

// A visitor that wants to take over is given the offer on its own connection, though Hear has read
// its hello.
func TestVisitorTakesOver(t *testing.T) {
	needsPackets(t)
	fdtest.NoLeak(t)
	path := filepath.Join(sockdir.New(t), "control")
	c := expect.Open(ListenControl(path)).In(t)
	x := newThing(t, 2, 10)
	took := make(chan error, 1)
	go func() {
		ch, err := ConnectControl(fdtest.Soon(t), path)
		if err == nil {
			_, err = x.acceptance().Take(fdtest.Soon(t), ch)
			err = errors.Join(err, ch.Close())
		}
		took <- err
	}()
	conn := expect.NoError(c.Accept(fdtest.Soon(t))).In(t)
	v := expect.NoError(Hear(fdtest.Soon(t), conn)).In(t)
	words, asks := v.Request()
	require.False(t, asks)
	require.Empty(t, words)
	h := expect.NoError(x.offer().Give(fdtest.Soon(t), v.Channel())).In(t)
	require.True(t, h.Moved)
	require.NoError(t, <-took)
	require.NoError(t, v.Close())
}

// A visitor is told why it is refused, even if the reason is the refusal of another process.
func TestVisitorIsToldWhoeverRefused(t *testing.T) {
	one, other := channels(t)
	why := &Error{Side: oldOwner, Step: stepStatic, Err: &RefusedError{Step: stepStatic, Reason: "no room", Err: ErrLimit}}
	(&Visit{ch: one}).Refuse(why)
	require.NoError(t, one.Close())
	_, err := other.Ask(fdtest.Soon(t), "what")
	refused := expect.As[*RefusedError](t, err)
	require.Equal(t, why.Error(), refused.Reason)
	require.ErrorIs(t, err, ErrLimit)
}

// needsPackets skips a test of control sockets, which exist only where UNIX sockets carry sequenced
// packets.
func needsPackets(t *testing.T) {
	t.Helper()
	if !(sock.Sequenced(syscall.SOCK_SEQPACKET) == nil) {
		t.Skip(runtime.GOOS, "has no sequenced packets over UNIX sockets")
	}
}

// A visitor whose message makes no sense is told so, and there is no Visit.
func TestHearRefuses(t *testing.T) {
	needsPackets(t)
	for name, tt := range map[string]struct {
		said []byte
		is   error
	}{
		"an empty message":        {nil, ErrMalformed},
		"an answer":               {append([]byte{kindAnswer}, appendWords(nil, []string{"x"})...), ErrMalformed},
		"nonsense":                {[]byte("GET / HTTP/1.1\r\n\r\n"), ErrMalformed},
		"words that are cut off":  {[]byte{kindAsk, 1<<1 | 1, 5, 'x'}, ErrMalformed},
		"something else in words": {appendField([]byte{kindAsk}, 9, must, nil), ErrUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			if len(tt.said) == 0 && runtime.GOOS != "linux" {
				t.Skip("an empty packet looks like the end")
			}
			fdtest.NoLeak(t)
			one, other := fdtest.Pair(t, unix.SOCK_SEQPACKET)
			asking := conn(t, other)
			require.NoError(t, asking.Send(fdtest.Soon(t), tt.said))
			v, err := Hear(fdtest.Soon(t), one)
			require.ErrorIs(t, err, tt.is)
			require.Nil(t, v)
			buf := make([]byte, packetLimit)
			n := expect.NoError(asking.Receive(fdtest.Soon(t), buf, &FDSet{}, 0)).In(t)
			require.Equal(t, kindRefuse, buf[0])
			refused := expect.As[*RefusedError](t, parseRefusal(buf[1:n]))
			require.Contains(t, refused.Reason, tt.is.Error())
			require.ErrorIs(t, expect.Err(asking.Receive(fdtest.Soon(t), buf, &FDSet{}, 0)), io.EOF, "it is closed")
		})
	}
}

// A control socket whose file has gone can still be moved, and does not remove what has come in the
// file's place.
func TestImportControlWithoutFile(t *testing.T) {
	needsPackets(t)
	fdtest.NoLeak(t)
	path := filepath.Join(sockdir.New(t), "control")
	c := expect.NoError(ListenControl(path)).In(t)
	var fd int
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(n uintptr) { fd, err = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 3) }))
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	moved := expect.NoError(ImportControl(fd, path)).In(t)
	require.NoError(t, c.Release())
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, moved.Close())
	require.FileExists(t, path)
}

// A descriptor that is no control socket is closed.
func TestImportControlRefuses(t *testing.T) {
	fdtest.NoLeak(t)
	dir := sockdir.New(t)
	path := filepath.Join(dir, "control")
	l := expect.Open(net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})).In(t)
	there := expect.Open(net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})).In(t)
	connected, _ := fdtest.Pair(t, unix.SOCK_STREAM)
	for _, tt := range []struct {
		name string
		conn syscall.Conn // nil: none
		path string
		is   error
	}{
		{"none", nil, path, syscall.EBADF},
		{"a connection", connected, path, syscall.EINVAL},
		{"a listener of TCP", l, path, syscall.EINVAL},
		{"a path that cannot be", there, filepath.Join(dir, strings.Repeat("x", 200)), syscall.ENAMETOOLONG},
		{"a directory that is not there", there, filepath.Join(dir, "gone", "control"), os.ErrNotExist},
	} {
		fd := -1
		if tt.conn != nil {
			raw, err := tt.conn.SyscallConn()
			require.NoError(t, err)
			require.NoError(t, raw.Control(func(n uintptr) { fd, err = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 3) }))
			require.NoError(t, err)
		}
		c, err := ImportControl(fd, tt.path)
		require.ErrorIs(t, err, tt.is, tt.name)
		require.Nil(t, c)
		require.True(t, fdtest.IsClosed(fd), tt.name)
	}
}

// A file that is in the way of a control socket, and is no abandoned socket, is not removed.
func TestControlInTheWay(t *testing.T) {
	fdtest.NoLeak(t)
	dir := sockdir.New(t)
	require.NoError(t, os.Chmod(dir, 0o700))
	name := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(name, []byte("mine"), 0o600))
	link, folder := filepath.Join(dir, "link"), filepath.Join(dir, "folder")
	require.NoError(t, os.Symlink("file", link))
	require.NoError(t, os.Mkdir(folder, 0o700))
	require.ErrorIs(t, expect.Err(ListenControl(filepath.Join(dir, "none", "control"))), os.ErrNotExist)
	for _, path := range []string{name, link, folder} {
		require.ErrorIs(t, expect.Err(ListenControl(path)), syscall.EADDRINUSE)
		require.NoError(t, expect.Err(os.Lstat(path)))
	}
}

// A question that is too long for the other side is refused on this side.
func TestAskRefusesTooLongQuestion(t *testing.T) {
	fdtest.NoLeak(t)
	one, _ := channels(t)
	require.ErrorIs(t, expect.Err(one.Ask(fdtest.Soon(t), strings.Repeat("x", packetLimit))), syscall.EMSGSIZE)
}

// The context of one caller ends its own wait, and no other caller's.
func TestControlAccepts(t *testing.T) {
	fdtest.NoLeak(t)
	dir := sockdir.New(t)
	require.NoError(t, os.Chmod(dir, 0o700))
	c := expect.Open(ListenControl(filepath.Join(dir, "control"))).In(t)
	type visit struct {
		conn *net.UnixConn
		err  error
	}
	came := make(chan visit, 1)
	go func() { conn, err := c.Accept(context.Background()); came <- visit{conn, err} }()
	for range 20 {
		ctx, leave := context.WithTimeout(context.Background(), time.Millisecond)
		_, err := c.Accept(ctx)
		leave()
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
	expect.Open(ConnectControl(fdtest.Soon(t), c.Path())).In(t)
	v := <-came
	require.NoError(t, v.err)
	require.NoError(t, v.conn.Close())
}
