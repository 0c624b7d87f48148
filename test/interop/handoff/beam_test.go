package handoff

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/cnode-go/cnode/transport/handoff/beam"
	"github.com/stretchr/testify/require"
)

// A program in Python sends back framed messages with their attachments.
func TestMessagesToPython(t *testing.T) {
	ctx, path := soon(t), socketPath(t)
	echo := python(t, "beam.py", "echo", path)
	echo.says("ready")
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	m, err := beam.NewConn(c, nil)
	require.NoError(t, err)
	defer m.Close()
	f := temporary(t, "attached")
	sizes := []int{0, 1, 3, 4096, 500_000, 2}
	sent := make(chan error, 1)
	go func() {
		for i, size := range sizes {
			var err error
			if data := []byte(strings.Repeat("x", size)); i%2 == 0 {
				err = m.Send(ctx, data, f)
			} else {
				err = m.Send(ctx, data, nil)
			}
			if err != nil {
				sent <- err
				return
			}
		}
		sent <- m.CloseWrite()
	}()
	for i, size := range sizes {
		data, got, err := m.Receive(ctx)
		require.NoError(t, err)
		require.Equal(t, strings.Repeat("x", size), string(data))
		require.Equal(t, i%2 == 0, got != nil)
		if got != nil {
			require.Equal(t, "attached", text(t, got))
			require.NoError(t, got.Close())
		}
	}
	require.NoError(t, <-sent)
	_, _, err = m.Receive(ctx)
	require.Equal(t, io.EOF, err)
	echo.ends()
}
