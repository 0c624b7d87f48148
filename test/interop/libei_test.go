package interop

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/stretchr/testify/require"
)

// libei makes a command of one of the programs in folder libei, which finds the port mapper at
// port.
func libei(t *testing.T, port int, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(filepath.Join(otp.Libei(t), name), args...)
	cmd.Env = gonode.Environment(t, port)
	return cmd
}

// output runs a program that must succeed.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		require.NoError(t, err, "%s", exit.Stderr)
	}
	require.NoError(t, err)
	return string(out)
}

// A program of the C library calls ours, and finds every byte in its place.
func TestLibeiClient(t *testing.T) {
	needsTCP(t, "libei speaks no TLS")
	t.Parallel()
	port := otp.Epmd(t)
	demo := serve(t, port)
	for _, tt := range []struct{ rounds, size string }{{"500", "0"}, {"500", "1"}, {"500", "3000"}, {"100", "70000"}, {"10", "3000000"}} {
		for _, how := range [][]string{nil, {"-r"}} { // message to peer, ei_rpc
			out := output(t, libei(t, port, "ei_client", append(how, demo.Name, otp.DefaultCookie, tt.rounds, tt.size)...))
			require.True(t, strings.HasPrefix(out, "rounds="+tt.rounds+" size="+tt.size+" "), out)
		}
	}
	// without the port mapper
	out := output(t, libei(t, 1, "ei_client", "-p", demo.Address, demo.Name, otp.DefaultCookie, "10", "10"))
	require.Contains(t, out, "rounds=10 ")
	out = output(t, libei(t, port, "ei_connect_rate", demo.Name, otp.DefaultCookie, "100"))
	require.Contains(t, out, "connections=100 ")

	_, err := libei(t, port, "ei_client", demo.Name, "another", "1", "1").Output()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Contains(t, string(exit.Stderr), "cannot connect")
}

// We call a program of the C library, which has no rex, no monitors and no links, and must be sent
// nothing that it did not agree to.
func TestLibeiEcho(t *testing.T) {
	needsTCP(t, "libei speaks no TLS")
	t.Parallel()
	port := otp.Epmd(t)
	echo := otp.Serve(t, libei(t, port, "ei_echo", "echo@127.0.0.1", otp.DefaultCookie))
	ctx := background(t)
	n := startNode(t, config(port))
	b, err := n.NewMailbox(nil)
	require.NoError(t, err)
	for i := range 1000 {
		require.NoError(t, b.SendName(ctx, echo.Name, "peer", ei.Tuple{ei.Atom("echo"), b.Pid(), ei.Int(i)}))
	}
	for i := range 1000 {
		require.Equal(t, strconv.Itoa(i), receive(t, b))
	}
	c := n.Conn(echo.Name)
	require.Equal(t, dist.FlagsLibei, c.Peer().Announced)

	got, err := n.CallName(ctx, echo.Name, "peer", ei.Tuple{ei.Atom("what"), ei.Binary("ever")})
	require.NoError(t, err)
	require.Equal(t, `{ok,{what,<<"ever">>}}`, got.String())
	got, err = n.CallName(ctx, echo.Name, "net_kernel", ei.Tuple{ei.Atom("is_auth"), ei.Atom(n.Name())})
	require.NoError(t, err)
	require.Equal(t, ei.Atom("yes"), got)

	// It takes a call for rex as any other.
	got, err = n.RPC(ctx, echo.Name, "erlang", "node")
	require.NoError(t, err)
	require.Equal(t, "{ok,{call,erlang,node,[],user}}", got.String())

	// What it does not understand is not sent, and the connection lives: it announces monitors of
	// pids, but fails on them.
	pid := ei.Pid{Node: ei.Atom(echo.Name), ID: 1, Creation: c.Peer().Creation}
	first, err := b.MonitorName(ctx, echo.Name, "peer")
	require.NoError(t, err)
	ofPid, err := b.Monitor(ctx, pid)
	require.NoError(t, err)
	b.Demonitor(context.Background(), ofPid)
	require.NoError(t, b.Link(ctx, pid))
	require.NoError(t, b.Unlink(ctx, pid))
	require.NoError(t, b.SendExit(ctx, pid, ei.Atom("away")))
	got, err = n.Call(ctx, pid, ei.Atom("pid"))
	require.NoError(t, err)
	require.Equal(t, "{ok,pid}", got.String())
	got, err = n.CallName(ctx, echo.Name, "peer", ei.Atom("still"))
	require.NoError(t, err)
	require.Equal(t, "{ok,still}", got.String())
	require.True(t, n.Conn(echo.Name) == c, "another connection")

	// Its end ends what we have with it.
	require.NoError(t, b.MonitorNode(ctx, echo.Name))
	second, err := b.MonitorName(ctx, echo.Name, "peer")
	require.NoError(t, err)
	echo.Kill()
	var refs []ei.Ref
	for range 3 {
		m, err := b.Receive(ctx)
		require.NoError(t, err)
		if m.Op == dist.OpMonitorPExit {
			require.Equal(t, "noconnection", m.Reason.String())
			refs = append(refs, m.Ref)
			continue
		}
		term, err := m.Term()
		require.NoError(t, err)
		require.Equal(t, "{nodedown,'echo@127.0.0.1'}", term.String())
	}
	require.ElementsMatch(t, []ei.Ref{first, second}, refs)
}
