//go:build unix

package beam

import (
	"bytes"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// firstSend and firstReceive are the first beam's Send and Receive.
func firstSend(t *testing.T, conn *net.UnixConn, data []byte, f *os.File) {
	t.Helper()
	raw, err := f.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		_, _, err = conn.WriteMsgUnix(data, syscall.UnixRights(int(fd)), nil)
	}))
	require.NoError(t, err)
}

func firstReceive(t *testing.T, conn *net.UnixConn) ([]byte, *os.File) {
	t.Helper()
	for {
		buf, oob := make([]byte, 4096), make([]byte, 4096)
		n, k, _, _, err := conn.ReadMsgUnix(buf, oob)
		require.NoError(t, err)
		scms, err := syscall.ParseSocketControlMessage(oob[:k])
		require.NoError(t, err)
		for _, scm := range scms {
			fds, err := syscall.ParseUnixRights(&scm)
			require.NoError(t, err)
			for _, fd := range fds[1:] {
				require.NoError(t, syscall.Close(fd))
			}
			return buf[:n], os.NewFile(uintptr(fds[0]), "")
		}
	}
}

// An unframed Conn and the first beam understand each other, and keep the boundaries of messages.
func TestUnframedWithFirstBeam(t *testing.T) {
	fdtest.NoLeak(t)
	ctx := fdtest.Soon(t)
	theirs, c := hostile(t, syscall.SOCK_STREAM, &Options{Unframed: true})
	f := fdtest.Open(t, "f")
	sent := [][]byte{[]byte("one"), bytes.Repeat([]byte("x"), 4096), {0}, []byte("last")}
	for _, data := range sent {
		require.NoError(t, c.Send(ctx, data, f))
		firstSend(t, theirs, data, f)
	}
	for _, data := range sent {
		got, attached := firstReceive(t, theirs)
		require.Equal(t, data, got)
		require.Equal(t, "f", text(t, attached))
		require.NoError(t, attached.Close())
		got, attached, err := c.Receive(ctx)
		require.NoError(t, err)
		require.Equal(t, data, got)
		require.Equal(t, "f", text(t, attached))
		require.NoError(t, attached.Close())
	}

	require.NoError(t, c.Send(ctx, nil, f))
	firstSend(t, theirs, nil, f)
	got, attached := firstReceive(t, theirs)
	require.NoError(t, attached.Close())
	require.Equal(t, []byte{0}, got)
	got, attached, err := c.Receive(ctx)
	require.NoError(t, err)
	require.NoError(t, attached.Close())
	require.Equal(t, []byte{0}, got)

	// a service behind a pipe
	endpoint, err := c.SendPipe(ctx, []byte("sql"))
	require.NoError(t, err)
	defer endpoint.Close()
	got, attached = firstReceive(t, theirs)
	require.Equal(t, "sql", string(got))
	served, err := handoff.FileConn(attached)
	require.NoError(t, err)
	defer served.Close()
	firstSend(t, served, []byte("hello"), f)
	client, err := NewConn(endpoint, &Options{Unframed: true})
	require.NoError(t, err)
	defer client.Close()
	got, attached, err = client.Receive(ctx)
	require.NoError(t, err)
	require.NoError(t, attached.Close())
	require.Equal(t, "hello", string(got))

	require.NoError(t, theirs.Close())
	_, _, err = c.Receive(ctx)
	require.ErrorIs(t, err, io.EOF)
}

// What an unframed message cannot be is refused, to send and to receive.
func TestUnframedRefuses(t *testing.T) {
	fdtest.NoLeak(t)
	ctx := fdtest.Soon(t)
	theirs, c := hostile(t, syscall.SOCK_STREAM, &Options{Unframed: true})
	f := fdtest.Open(t, "f")
	require.ErrorIs(t, c.Send(ctx, []byte("x"), nil), syscall.EINVAL)
	require.ErrorIs(t, c.Send(ctx, make([]byte, 4097), f), syscall.EMSGSIZE)
	_, _, err := c.Receive(transport.NoWait())
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)

	fd := fdtest.File(t, "g")
	fdtest.SendRaw(t, theirs, []byte("two"), syscall.UnixRights(int(f.Fd()), fd))
	got, attached, err := c.Receive(ctx)
	require.NoError(t, err)
	require.Equal(t, "two", string(got))
	require.Equal(t, "f", text(t, attached), "the first one")
	require.NoError(t, attached.Close())

	fdtest.SendRaw(t, theirs, make([]byte, 5000), syscall.UnixRights(fd))
	for range 2 {
		_, _, err = c.Receive(ctx)
		require.ErrorIs(t, err, syscall.EMSGSIZE, "and what follows is not a message")
	}
	a, b := fdtest.Pair(t, syscall.SOCK_STREAM)
	defer b.Close()
	_, err = NewConn(a, &Options{Unframed: true, MaxMessage: 4097})
	require.ErrorIs(t, err, syscall.EINVAL)
}
