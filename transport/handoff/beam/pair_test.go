//go:build unix

package beam

import (
	"errors"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
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

	word, file, err := other.Receive(ctx)
	require.NoError(t, err)
	conn, err := net.FileConn(file)
	require.NoError(t, errors.Join(err, file.Close()))
	defer conn.Close()
	require.Equal(t, "take this", string(word))
	require.Equal(t, l.Addr().String(), conn.LocalAddr().String())
	_, err = conn.Write([]byte("here"))
	require.NoError(t, err)
	got := make([]byte, 4)
	_, err = io.ReadFull(client, got)
	require.NoError(t, err)
	require.Equal(t, "here", string(got))

	_, _, err = Pair(&Options{MaxMessage: -1})
	require.Error(t, err)
}
