//go:build unix

package interop

import (
	"os/exec"
	"testing"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
	"github.com/stretchr/testify/require"
)

// Two programs find each other in a directory of UNIX sockets, without a port mapper.
func TestSocketDir(t *testing.T) {
	needsTCP(t, "it has a carrier of its own")
	t.Parallel()
	dir := sockdir.New(t)
	cmd := exec.Command(program(t, "cmd/cnode-demo"), "serve", "--name", uniqueName(), "--cookie", otp.DefaultCookie, "--transport", "unix",
		"--listen", "unix:"+dir+"/")
	cmd.Env = environment(t, 1)
	demo := otp.Serve(t, cmd)
	at := nodes.SocketDir(dir)
	addr, err := at.Addr(demo.Name)
	require.NoError(t, err)
	require.Equal(t, addr.(transport.UnixAddr).Path(), demo.Address)

	cfg := nodes.Config{Name: uniqueName(), Cookie: otp.DefaultCookie, Transport: transport.Unix(), Resolver: at}
	cfg.Listen, err = at.Addr(cfg.Name)
	require.NoError(t, err)
	n := startNode(t, cfg)
	ctx := background(t)
	b, err := n.NewMailbox(nil)
	require.NoError(t, err)
	for i := range 1000 {
		require.NoError(t, b.SendName(ctx, demo.Name, "peer", ei.Tuple{ei.Atom("echo"), b.Pid(), ei.Int(i)}))
	}
	for i := range 1000 {
		message, err := b.Receive(ctx)
		require.NoError(t, err)
		got, err := message.Term()
		require.NoError(t, err)
		require.Equal(t, ei.Int(i), got)
	}
	got, err := n.RPC(ctx, demo.Name, "cnode", "pid")
	require.NoError(t, err)
	require.EqualValues(t, demo.Pid(), got)
	large := ei.Binary(make([]byte, 5_000_000))
	got, err = n.CallName(ctx, demo.Name, "peer", large)
	require.NoError(t, err)
	require.True(t, ei.Identical(got, ei.Tuple{ei.Atom("ok"), large}))

	require.NoError(t, b.MonitorNode(ctx, demo.Name))
	demo.Kill()
	require.Equal(t, "{nodedown,'"+demo.Name+"'}", receive(t, b))
	_, err = n.Connect(ctx, demo.Name) // its socket is still there, but no process listens
	require.Error(t, err)
}
