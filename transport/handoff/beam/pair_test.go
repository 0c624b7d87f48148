//go:build unix

package beam

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
)

// An accepted connection goes to the other end of a pair, and is used there.
func TestPairCarriesConnections(t *testing.T) {
	one, other, err := Pair(nil)
	require.NoError(t, err)
	defer one.Close()
	defer other.Close()
	ctx := expect.Context(t)

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer client.Close()
	accepted, err := l.Accept()
	require.NoError(t, err)
	require.NoError(t, one.Send(ctx, []byte("take this"), accepted.(*net.TCPConn)))
	require.NoError(t, accepted.Close())

	word, conn, err := other.ReceiveConn(ctx)
	require.NoError(t, err)
	defer conn.Close()
	require.Equal(t, "take this", string(word))
	require.Equal(t, l.Addr().String(), conn.LocalAddr().String())
	_, err = conn.Write([]byte("here"))
	require.NoError(t, err)
	got := make([]byte, 4)
	_, err = io.ReadFull(client, got)
	require.NoError(t, err)
	require.Equal(t, "here", string(got))

	require.NoError(t, one.Send(ctx, []byte("nothing"), nil))
	word, conn, err = other.ReceiveConn(ctx)
	require.NoError(t, err)
	require.Nil(t, conn)
	require.Equal(t, "nothing", string(word))

	file := fdtest.Open(t, "no socket")
	require.NoError(t, one.Send(ctx, []byte("a file"), file))
	word, conn, err = other.ReceiveConn(ctx)
	require.Error(t, err)
	require.Nil(t, conn)
	require.Equal(t, "a file", string(word))

	_, _, err = Pair(&Options{MaxMessage: -1})
	require.Error(t, err)
}
