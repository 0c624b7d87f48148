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

	"github.com/cnode-go/cnode/internal/test/expect"
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
		scms := expect.NoError(syscall.ParseSocketControlMessage(oob[:k])).In(t)
		for _, scm := range scms {
			fds := expect.NoError(syscall.ParseUnixRights(&scm)).In(t)
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
	endpoint := expect.Open(c.SendPipe(ctx, []byte("sql"))).In(t)
	got, attached = firstReceive(t, theirs)
	require.Equal(t, "sql", string(got))
	served := expect.Open(handoff.FileConn(attached)).In(t)
	firstSend(t, served, []byte("hello"), f)
	client := expect.Open(NewConn(endpoint, &Options{Unframed: true})).In(t)
	got, attached, err = client.Receive(ctx)
	require.NoError(t, err)
	require.NoError(t, attached.Close())
	require.Equal(t, "hello", string(got))

	require.NoError(t, theirs.Close())
	require.ErrorIs(t, expect.Err2(c.Receive(ctx)), io.EOF)
}

// What an unframed message cannot be is refused, to send and to receive.
func TestUnframedRefuses(t *testing.T) {
	fdtest.NoLeak(t)
	ctx := fdtest.Soon(t)
	theirs, c := hostile(t, syscall.SOCK_STREAM, &Options{Unframed: true})
	f := fdtest.Open(t, "f")
	require.ErrorIs(t, c.Send(ctx, []byte("x"), nil), syscall.EINVAL)
	require.ErrorIs(t, c.Send(ctx, make([]byte, 4097), f), syscall.EMSGSIZE)
	require.ErrorIs(t, expect.Err2(c.Receive(transport.NoWait())), os.ErrDeadlineExceeded)

	fd := fdtest.File(t, "g")
	fdtest.SendRaw(t, theirs, []byte("two"), syscall.UnixRights(int(f.Fd()), fd))
	got, attached, err := c.Receive(ctx)
	require.NoError(t, err)
	require.Equal(t, "two", string(got))
	require.Equal(t, "f", text(t, attached), "the first one")
	require.NoError(t, attached.Close())

	fdtest.SendRaw(t, theirs, make([]byte, 5000), syscall.UnixRights(fd))
	for range 2 {
		require.ErrorIs(t, expect.Err2(c.Receive(ctx)), syscall.EMSGSIZE, "and what follows is not a message")
	}
	a, b := fdtest.Pair(t, syscall.SOCK_STREAM)
	defer b.Close()
	require.ErrorIs(t, expect.Err(NewConn(a, &Options{Unframed: true, MaxMessage: 4097})), syscall.EINVAL)
}
