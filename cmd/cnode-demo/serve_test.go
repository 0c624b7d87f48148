package main

import (
	"bytes"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	vacant "github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/stretchr/testify/require"
)

// A client is a process that talks to the peer of a served node.
type client struct {
	t    *testing.T
	box  *nodes.Mailbox
	node string
}

func newClient(t *testing.T, n *nodes.Node, s *served) *client {
	t.Helper()
	box, err := n.NewMailbox(nil)
	require.NoError(t, err)
	return &client{t, box, s.name}
}

func (c *client) send(term ...ei.Term) {
	c.t.Helper()
	require.NoError(c.t, c.box.SendName(c.t.Context(), c.node, "peer", ei.Tuple(term)))
}

func (c *client) receive() ei.Term {
	c.t.Helper()
	m, err := c.box.Receive(c.t.Context())
	require.NoError(c.t, err)
	require.Equal(c.t, dist.OpSend, m.Op)
	term, err := m.Term()
	require.NoError(c.t, err)
	return term
}

func (c *client) me() ei.Term { return c.box.Pid() }

func TestServeAnswers(t *testing.T) {
	w := newHome(t, 0)
	s := w.serve("serve", "--name", "served@127.0.0.1")
	require.Equal(t, "served@127.0.0.1", s.name)
	port, err := strconv.Atoi(s.place)
	require.NoError(t, err)
	require.JSONEq(t, `{"node": "`+s.name+`", "pong": true}`, w.succeed("ping", "--json", s.name))
	failed, _ := w.fail("ping", "--json", "none@127.0.0.1")
	require.Contains(t, failed, `"pong":false`)
	require.Equal(t, "pong\n", w.succeed("ping", s.name))
	require.Equal(t, "epmd: up and running on port "+strconv.Itoa(w.port)+" with data:\nname served at port "+strconv.Itoa(port)+"\n",
		w.succeed("names"))
	for _, tt := range [][2]string{
		{"[[1,2]]", "[1,2]"},
		{`["abc"]`, `"abc"`},
		{"[{'Odd atom',1.5,#{k => <<\"v\">>}}]", "{'Odd atom',1.5,#{k => <<\"v\">>}}"},
		{"[1].", "1"},
		{`"x"`, "120"}, // a string is a list
	} {
		require.Equal(t, tt[1]+"\n", w.succeed("call", s.name, "cnode", "echo", tt[0]))
	}
	require.Equal(t, "%{a: {:ok, \"x\"}}\n", w.succeed("call", s.name, ":cnode", "echo", `[%{a: {:ok, "x"}}]`, "--syntax", "elixir"))
	require.Equal(t, "{\"a\":[\"ok\",\"x\"]}\n", w.succeed("call", s.name, "cnode", "echo", `[#{a => {ok,<<"x">>}}]`, "--json"))
	_, twice := w.fail("call", s.name, "cnode", "echo", `[#{a => 1,<<"a">> => 1}]`, "--json")
	require.Contains(t, twice, "twice in an object of JSON")
	require.Equal(t, strconv.Itoa(s.pid())+"\n", w.succeed("call", s.name, "cnode", "pid"))
	require.Equal(t, "undefined\n", w.succeed("call", s.name, "erlang", "whereis", "[nobody]"))
	require.Contains(t, w.succeed("call", s.name, "erlang", "whereis", "[peer]"), "#Pid<'served@127.0.0.1'.")
	for _, call := range []string{"cnode echo", "cnode pid [1]", "cnode nope", "erlang whereis", "nope nope"} {
		out, errOut := w.fail(append([]string{"call", s.name}, words(call)...)...)
		require.Empty(t, out)
		require.Contains(t, errOut, "{badrpc,{'EXIT',{undef,")
		require.Contains(t, errOut, "There is no such function")
	}
	logged := s.terminate(syscall.SIGTERM)
	require.Equal(t, 3, strings.Count(logged, "called with what it cannot take"), logged)
	require.Equal(t, 3, strings.Count(logged, "\n"), logged) // to look for a function is no fault
	out, errOut := w.fail("ping", s.name)
	require.Equal(t, "pang\n", out)
	require.Contains(t, errOut, "no node of that name is registered")
}

// The end of a linked client is nothing to complain about.
func TestServeLinkedClientEnds(t *testing.T) {
	w := newHome(t, 0)
	s := w.serve("serve", "--name", "served@127.0.0.1", "--log-level", "debug")
	n := w.node("client")
	where, err := n.RPC(t.Context(), s.name, "erlang", "whereis", ei.Atom("peer"))
	require.NoError(t, err)
	linked, a := newClient(t, n, s), newClient(t, n, s)
	require.NoError(t, linked.box.Link(t.Context(), where.(ei.Pid)))
	linked.box.Exit(ei.Atom("crash"))
	a.send(ei.Atom("echo"), a.me(), ei.Atom("still there"))
	require.Equal(t, ei.Atom("still there"), a.receive())
	require.NotContains(t, s.terminate(syscall.SIGTERM), "not understood")
}

// slowClient makes the peer of a node send something many times, and reads only the first of them.
func (w *home) slowClient(node string, times int, what ei.Term) *nodes.Conn {
	t := w.t
	t.Helper()
	slow, err := nodes.New(w.config("slow"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = slow.Close() })
	c, err := slow.Connect(t.Context(), node)
	require.NoError(t, err)
	require.NoError(t, c.SendName(t.Context(), "peer", ei.Tuple{ei.Atom("source"), c.Self(), ei.Int(times), what}))
	_, err = c.Receive(t.Context())
	require.NoError(t, err)
	return c
}

// A peer that is killed while a client does not read its answers is replaced at once, and serve
// ends in time.
func TestServeKilledBesideSlowClient(t *testing.T) {
	t.Parallel()
	w := newHome(t, 0)
	s := w.serve("serve", "--name", "served@127.0.0.1")
	w.slowClient(s.name, 1<<40, ei.Binary("some bytes"))

	n := w.node("client")
	killer, err := n.NewMailbox(nil)
	require.NoError(t, err)
	for range 2 {
		where, err := n.RPC(t.Context(), s.name, "erlang", "whereis", ei.Atom("peer"))
		require.NoError(t, err)
		require.NoError(t, killer.SendExit(t.Context(), where.(ei.Pid), ei.Atom("kill")))
		require.Eventually(t, func() bool {
			now, err := n.RPC(t.Context(), s.name, "erlang", "whereis", ei.Atom("peer"))
			require.NoError(t, err)
			return now != ei.Atom("undefined") && now != where
		}, waitLimit, waitLimit/1000)
	}
	s.terminate(syscall.SIGTERM)
}

// What serve has begun to send goes out before it ends; links and monitors get the reason.
func TestServeEndsInOrder(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			if signal.Ignored(sig) {
				t.Skip("this process, and so each that it starts, ignores the signal: nohup")
			}
			w := newHome(t, 0)
			s := w.serve("serve", "--name", "served@127.0.0.1")
			c := newClient(t, w.node("client"), s)
			_, err := c.box.MonitorName(t.Context(), s.name, "peer")
			require.NoError(t, err)
			const times = 5_000 // these go out in time, however busy the machine is
			c.send(ei.Atom("source"), c.me(), ei.Int(times), ei.Binary("some bytes"))
			require.Equal(t, ei.Binary("some bytes"), c.receive())
			require.NoError(t, c.box.MonitorNode(t.Context(), s.name))
			require.Empty(t, s.terminate(sig))
			got, down := 1, false
			for {
				m, err := c.box.Receive(t.Context())
				require.NoError(t, err)
				if m.Op == dist.OpMonitorPExit {
					require.Equal(t, "shutdown", m.Reason.String())
					down = true
				} else if strings.HasPrefix(m.Payload.String(), "{nodedown,") {
					break
				} else {
					got++
				}
			}
			require.Equal(t, times, got)
			require.True(t, down)
		})
	}
}

// A client that never reads holds up the shutdown, until its limit.
func TestServeEndIsBounded(t *testing.T) {
	t.Parallel()
	w := newHome(t, 0)
	s := w.serve("serve", "--name", "served@127.0.0.1")
	w.slowClient(s.name, 1<<40, ei.Binary("some bytes"))
	require.Contains(t, s.terminate(syscall.SIGTERM), "cut off what was still running after 5s")
}

// A signal that comes twice, as timeout sends it, is one signal. Another one ends the program at
// once.
func TestServeSignalledTwice(t *testing.T) {
	t.Parallel()
	var s *served
	for end := time.Now().Add(waitLimit); ; { // on a busy machine the second signal may come too late to be the same
		w := newHome(t, 0)
		s = w.serve("serve", "--name", "served@127.0.0.1")
		w.slowClient(s.name, 1<<40, ei.Binary("some bytes"))
		begun := time.Now()
		require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
		time.Sleep(20 * time.Millisecond)
		require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
		if time.Since(begun) < 150*time.Millisecond { // serve says 200 ms from when it sees the first
			break
		}
		require.True(t, time.Now().Before(end), "the machine is too busy")
	}
	select {
	case <-s.ended:
		require.FailNow(t, "it ended", "%v", s.cmd.ProcessState)
	case <-time.After(400 * time.Millisecond):
	}
	for over := false; !over; { // until it has begun to end 200 ms ago
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-s.ended:
			over = true
		case <-time.After(50 * time.Millisecond):
		}
	}
	require.Equal(t, -1, s.cmd.ProcessState.ExitCode(), "%v", s.cmd.ProcessState)
}

func TestServeNames(t *testing.T) {
	w := newHome(t, 0)
	s := w.serve("serve")
	require.Equal(t, "cnode@127.0.0.1", s.name)
	_, errOut := w.fail("serve")
	require.Contains(t, errOut, "the name is already registered by another node")
	require.Contains(t, errOut, "choose another --name, or end that one")

	host, err := os.Hostname()
	require.NoError(t, err)
	host, _, _ = strings.Cut(host, ".")
	require.Equal(t, "short@"+host, w.serve("serve", "--name", "short").name)

	w.serve("serve", "--name", "lost@nowhere.invalid").waitFor("other nodes may not find this one")
}

// waitFor waits until the command has said something on its standard error.
func (s *served) waitFor(text string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return strings.Contains(s.errors(), text) }, waitLimit, waitLimit/1000)
}

func TestServeListen(t *testing.T) {
	w := newHome(t, 0)
	port := strconv.Itoa(vacant.Free(t))
	s := w.serve("serve", "--name", "a@127.0.0.1", "--listen", "127.0.0.1:"+port)
	require.Equal(t, port, s.place)
	_, errOut := w.fail("serve", "--name", "b@127.0.0.1", "--listen", "127.0.0.1:"+port)
	require.Contains(t, errOut, "address already in use")
	require.Contains(t, errOut, "choose another one (--listen, --also, --http)")
	require.Equal(t, "pong\n", w.succeed("ping", w.serve("serve", "--name", "c@127.0.0.1", "--listen", "0.0.0.0").name))
}

// A serve that upgrade will not find says so, and serves.
func TestServeWithoutControl(t *testing.T) {
	w := newHome(t, 0)
	dir := sockdir.New(t)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "cnode"), 0o755))
	w.env = append(w.env, "XDG_RUNTIME_DIR="+dir)
	s := w.serve("serve", "--name", "open@127.0.0.1")
	s.waitFor("no control socket, so nobody can ask this process for an upgrade or take over")
	require.Equal(t, "pong\n", w.succeed("ping", s.name))
}

func TestServePortMapper(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		w := newHome(t, vacant.Free(t))
		_, errOut := w.fail("names")
		require.Contains(t, errOut, "no port mapper is listening there")
		s := w.serve("serve", "--epmd", "embedded")
		require.Contains(t, w.succeed("names"), "name cnode at port "+s.place+"\n")
		_, errOut = w.fail("serve", "--name", "other@127.0.0.1", "--epmd", "embedded")
		require.Contains(t, errOut, "start a port mapper on 127.0.0.1:"+strconv.Itoa(w.port))
		require.Contains(t, errOut, "find that one by themselves (--epmd auto)")
		s.terminate(syscall.SIGTERM)
		w.fail("names")
	})
	// the first serve brings a port mapper, the second one runs its own when the first ends
	t.Run("auto", func(t *testing.T) {
		w := newHome(t, vacant.Free(t))
		first := w.serve("serve", "--name", "first@127.0.0.1")
		second := w.serve("serve", "--name", "second@127.0.0.1")
		require.Equal(t, "pong\n", w.succeed("ping", first.name))
		require.Equal(t, "pong\n", w.succeed("ping", second.name))
		first.terminate(syscall.SIGTERM)
		require.Eventually(t, func() bool { return w.run("ping", second.name).out == "pong\n" }, waitLimit, waitLimit/600)
	})
	t.Run("that one", func(t *testing.T) {
		w, other := newHome(t, 0), newHome(t, 0)
		there := "127.0.0.1:" + strconv.Itoa(other.port)
		s := w.serve("serve", "--epmd", there)
		w.fail("ping", s.name)
		require.Equal(t, "pong\n", w.succeed("ping", s.name, "--epmd", there))
		require.Contains(t, w.succeed("names", "--epmd", there), "name cnode at port ")
		require.Equal(t, "1\n", w.succeed("call", s.name, "cnode", "echo", "[1]", "--epmd", there))
		_, errOut := w.fail("serve", "--epmd", "127.0.0.1:1")
		require.Contains(t, errOut, "no port mapper is listening there")
	})
	t.Run("no port", func(t *testing.T) {
		w := newHome(t, 0)
		w.env = append(w.env, "ERL_EPMD_PORT=many")
		for _, args := range []string{"serve", "serve --epmd embedded", "ping x@127.0.0.1", "names", "epmd"} {
			_, errOut := w.fail(words(args)...)
			require.Contains(t, errOut, `ERL_EPMD_PORT is "many"`)
		}
	})
	t.Run("another address", func(t *testing.T) {
		w := newHome(t, vacant.Free(t))
		w.env = append(w.env, "ERL_EPMD_ADDRESS=127.0.0.2")
		w.serve("serve", "--name", "cnode@127.0.0.2", "--listen", "127.0.0.2")
		require.Equal(t, "pong\n", w.succeed("ping", "cnode@127.0.0.2"))
		require.Contains(t, w.succeed("names", "127.0.0.2"), "name cnode at port ")
	})
}

func TestServeCookie(t *testing.T) {
	w := newHome(t, 0)
	s := w.serve("serve", "--cookie", "other")
	out, errOut := w.fail("ping", s.name)
	require.Equal(t, "pang\n", out)
	require.Contains(t, errOut, "The two nodes most likely have different cookies")
	_, errOut = w.fail("call", s.name, "cnode", "pid")
	require.Contains(t, errOut, "The two nodes most likely have different cookies")
	require.Equal(t, "pong\n", w.succeed("ping", s.name, "--cookie", "other"))

	require.NoError(t, os.Remove(filepath.Join(w.home, ".erlang.cookie")))
	for _, command := range []string{"serve --name x@127.0.0.1", "ping cnode@127.0.0.1", "call cnode@127.0.0.1 m f"} {
		_, errOut := w.fail(words(command)...)
		require.Contains(t, errOut, "no cookie given")
		require.Contains(t, errOut, "Give --cookie SECRET.")
	}
}

func TestServeLog(t *testing.T) {
	w := newHome(t, 0)
	s := w.serve("serve", "--log-level", "debug")
	w.succeed("ping", s.name)
	s.waitFor(`msg="node up"`)
	newClient(t, w.node("client"), s).send(ei.Atom("what"))
	s.waitFor(`level=WARN msg="message not understood" peer=client@127.0.0.1`)
	require.Contains(t, s.terminate(syscall.SIGTERM), `msg="node down"`)
}

func TestPingOwnName(t *testing.T) {
	w := newHome(t, 0)
	s := w.serve("serve")
	require.Equal(t, "pong\n", w.succeed("ping", s.name, "--name", "me@127.0.0.1"))
	out, errOut := w.fail("ping", s.name, "--name", s.name)
	require.Equal(t, "pang\n", out)
	require.Contains(t, errOut, "--name is the name of the node to connect to")
}

func TestPingWrongHost(t *testing.T) {
	w := newHome(t, 0)
	w.serve("serve")
	out, errOut := w.fail("ping", "cnode@localhost")
	require.Equal(t, "pang\n", out)
	require.Contains(t, errOut, "are three different nodes")
	_, errOut = w.fail("ping", "cnode@nowhere.invalid")
	require.Contains(t, errOut, `the part after the "@") is looked up like any other host.`)
}

// Output that cannot be written is a failure.
func TestOutputWithoutRoom(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"certs", filepath.Join(t.TempDir(), "tls")}} {
		var errOut bytes.Buffer
		require.Equal(t, exitFailed, run(args, strings.NewReader(""), full{}, &errOut), args)
		require.Contains(t, errOut.String(), syscall.ENOSPC.Error())
	}
}

// A full is a standard output that cannot be written.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// What may need attention is shown without being asked for, and what is of every day is not.
func TestServeShowsWarnings(t *testing.T) {
	for level, shown := range map[string]bool{"": true, "--log-level=off": false} {
		w := newHome(t, 0)
		args := []string{"--name", "served@127.0.0.1"}
		if level != "" {
			args = append(args, level)
		}
		s := w.serve("serve", args...)
		w.succeed("ping", s.name)
		w.fail("ping", s.name, "--cookie", "another")
		said := s.terminate(syscall.SIGTERM)
		require.Equal(t, shown, strings.Contains(said, "level=WARN"), said)
		require.NotContains(t, said, "level=INFO")
		require.Equal(t, shown, said != "")
	}
}
