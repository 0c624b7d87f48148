package move

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cnode-go/cnode/cmd/internal/config"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/service"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// The wait for the workers can be interrupted: the end of the command's context ends it.
func TestUpgradeInterrupted(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", sockdir.New(t))
	const name = "up@127.0.0.1"
	path := service.ControlPath(name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	control, err := handoff.ListenControl(path)
	require.NoError(t, err)
	defer control.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	ended := make(chan error, 1)
	errOut, says := io.Pipe()
	var o config.Options
	o.AddTo(pflag.NewFlagSet("", pflag.ContinueOnError))
	go func() { ended <- askUpgrade(ctx, &o, name, "", io.Discard, says) }()
	for _, want := range []string{"upgrade", "workers"} {
		conn, err := control.Accept(t.Context())
		require.NoError(t, err)
		v, err := handoff.Hear(t.Context(), conn)
		require.NoError(t, err)
		defer v.Close()
		request, asks := v.Request()
		require.True(t, asks)
		require.Equal(t, want, request[0])
		if want == "upgrade" {
			require.NoError(t, v.Answer(t.Context(), "upgraded", "1", "2", "workers"))
		}
	}
	said, err := bufio.NewReader(errOut).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, said, "waiting for the workers of "+name)
	interrupt()
	select {
	case err := <-ended:
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, "is upgraded")
	case <-time.After(time.Minute):
		t.Fatal("it waits on")
	}
}
