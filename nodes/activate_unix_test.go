//go:build unix

package nodes

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/sockdir"
)

const activatedVariable = "CNODE_TEST_ACTIVATED"

// A node that has only a SocketDir uses a UNIX socket that the service manager has opened; but not
// one for the shell that has started the process: then the log says why.
func TestActivateInSocketDir(t *testing.T) {
	dir := SocketDir(sockdir.New(t))
	at := of(dir.Addr("up@host")).must(t)
	l := of(net.ListenUnix("unix", &net.UnixAddr{Name: at.String()[len("unix:"):], Net: "unix"})).must(t)
	l.SetUnlinkOnClose(false)
	f := of(l.File()).must(t)
	require.NoError(t, l.Close())
	defer f.Close()
	for _, script := range []string{
		`LISTEN_PID=$$ LISTEN_FDS=1 "$0" -test.run='^TestActivatedSide$'; exit $?`,
		`LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" -test.run='^TestActivatedSide$'`,
	} {
		c := exec.Command("/bin/sh", "-c", script, os.Args[0])
		c.Env = append(os.Environ(), activatedVariable+"="+string(dir))
		c.ExtraFiles = []*os.File{f}
		out, err := c.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}

// TestActivatedSide is the process of TestActivateInSocketDir that is activated.
func TestActivatedSide(t *testing.T) {
	dir := os.Getenv(activatedVariable)
	if dir == "" {
		t.Skip("run by TestActivateInSocketDir")
	}
	log := new(record)
	cfg := Config{Name: "up@host", Cookie: "c", Resolver: SocketDir(dir), Logger: slog.New(slog.NewTextHandler(log, nil))}
	require.NoError(t, cfg.Activate())
	if other := strconv.Itoa(os.Getppid()); os.Getenv("LISTEN_PID") == other {
		require.Len(t, log.Lines("level=WARN", "are for another process", "exec", "LISTEN_PID="+other), 1)
		require.Nil(t, cfg.Transport)
		return
	}
	require.Empty(t, log.Lines())
	n := of(New(cfg)).must(t)
	defer n.Close()
	require.NoError(t, n.Start(context.Background()))
	require.Equal(t, "unix:"+dir+"/up@host", n.Listeners()[0].Addr().String())
}
