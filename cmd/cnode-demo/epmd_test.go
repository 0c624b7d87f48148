package main

import (
	"encoding/json"
	"net"
	"strconv"
	"syscall"
	"testing"

	vacant "github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/stretchr/testify/require"
)

func TestEpmdServesNamesAndNodes(t *testing.T) {
	w := newHome(t, vacant.Free(t))
	s := w.serve("epmd")
	require.Equal(t, []string{"epmd", strconv.Itoa(w.port)}, []string{s.name, s.place})
	require.Equal(t, "epmd: up and running on port "+s.place+" with data:\n", w.succeed("names"))
	_, errOut := w.fail("epmd")
	require.Contains(t, errOut, "address already in use")
	require.Contains(t, errOut, "The port is in use, most likely by another port mapper")
	node := w.serve("serve")
	require.Equal(t, "pong\n", w.succeed("ping", node.name))
	client := &epmd.Client{Addr: "127.0.0.1:" + s.place}
	require.ErrorIs(t, client.Kill(t.Context()), epmd.ErrNotAllowed)
	logged := s.terminate(syscall.SIGTERM)
	require.Contains(t, logged, "kill with names registered", "a warning, without --log-level")
}

// Names, which anyone may register, put no escape sequence and no second line on the terminal.
func TestNamesAreQuotedWhereNotPrintable(t *testing.T) {
	w := newHome(t, 1)
	s := w.serve("epmd", "--listen", "127.0.0.1:0")
	client := &epmd.Client{Addr: "127.0.0.1:" + s.place}
	for _, name := range []string{"plain", "åäö 日本", "esc\x1b[31mred", "\r name over", "csi\u009b31m", "left\u202e", `a"b`} {
		r, err := client.Register(t.Context(), epmd.Registration{Name: name, Port: 7})
		require.NoError(t, err)
		defer r.Close()
	}
	require.Equal(t, "epmd: up and running on port "+s.place+` with data:
name "a\"b" at port 7
name "left\u202e" at port 7
name "csi\u009b31m" at port 7
name "\r name over" at port 7
name "esc\x1b[31mred" at port 7
name åäö 日本 at port 7
name plain at port 7
`, w.succeed("names", "--epmd", client.Addr))
	var asJSON struct {
		Port  int
		Names []struct{ Name string }
	}
	require.NoError(t, json.Unmarshal([]byte(w.succeed("names", "--json", "--epmd", client.Addr)), &asJSON))
	require.Equal(t, s.place, strconv.Itoa(asJSON.Port))
	require.Equal(t, "\r name over", asJSON.Names[3].Name)
}

func TestEpmdListen(t *testing.T) {
	w := newHome(t, 1)
	for _, flag := range []string{"--listen", "--epmd"} {
		s := w.serve("epmd", flag, "127.0.0.1:0")
		require.Contains(t, w.succeed("names", "--epmd", "127.0.0.1:"+s.place), "on port "+s.place+" with data:")
		require.NoError(t, (&epmd.Client{Addr: "127.0.0.1:" + s.place}).Kill(t.Context()))
		s.await()
		require.Zero(t, s.cmd.ProcessState.ExitCode())
	}
}

func TestEpmdRelaxed(t *testing.T) {
	w := newHome(t, 1)
	w.env = append(w.env, "ERL_EPMD_RELAXED_COMMAND_CHECK=1")
	s := w.serve("epmd", "--listen", "127.0.0.1:0")
	client := &epmd.Client{Addr: "127.0.0.1:" + s.place}
	require.ErrorIs(t, client.Stop(t.Context(), "nobody"), epmd.ErrNotRegistered)
}

// A port mapper that does not answer is given up, and the reader told what to do.
func TestMuteMapper(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	w := newHome(t, l.Addr().(*net.TCPAddr).Port)
	out, errOut := w.fail("names", "--timeout", "30ms")
	require.Empty(t, out)
	require.Contains(t, errOut, "30ms passed")
	require.Contains(t, errOut, "wait longer with --timeout")
	_, errOut = w.fail("ping", "a@127.0.0.1", "--timeout", "30ms")
	require.Contains(t, errOut, "wait longer with --timeout")
}
