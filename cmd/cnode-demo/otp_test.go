package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cnode-go/cnode/internal/test/otp"
	vacant "github.com/cnode-go/cnode/internal/test/port"
	"github.com/stretchr/testify/require"
)

// withErlang runs f with every release: a port mapper of that release, and a node of it.
func withErlang(t *testing.T, o otp.Options, f func(t *testing.T, w *home, n *otp.Node)) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		w := newHome(t, r.Epmd(t))
		o := o
		o.EpmdPort = w.port
		f(t, w, r.Start(t, o))
	})
}

// answer evaluates an expression that sends something, and gives what comes.
func answer(t *testing.T, n *otp.Node, expr string) string {
	t.Helper()
	return n.Do(t, expr+", receive M -> M after 30000 -> timeout end")
}

func TestErlangMeetsServe(t *testing.T) {
	withErlang(t, otp.Options{}, func(t *testing.T, w *home, n *otp.Node) {
		s := w.serve("serve", "--name", "served@127.0.0.1")
		node := "'" + s.name + "'"
		peer := "{peer," + node + "}"

		require.Equal(t, "pong", n.Do(t, "net_adm:ping("+node+")"))
		require.Equal(t, "["+node+"]", n.Do(t, "nodes(hidden)"))
		term := `{atom,"string",<<"binary">>,[1,2.5|tail],#{k => v},1 bsl 70,make_ref(),self()}`
		require.Equal(t, "true", n.Do(t, "T = "+term+", T =:= rpc:call("+node+", cnode, echo, [T])"))
		require.Equal(t, strconv.Itoa(s.pid()), n.Do(t, "rpc:call("+node+", cnode, pid, [])"))
		require.Contains(t, n.Eval(t, "erpc:call("+node+", cnode, echo, [])"), "error:{exception,undef,[{cnode,echo,[],")
		require.Equal(t, "true", n.Do(t, "T = "+term+", {ok, T} =:= gen_server:call("+peer+", T, infinity)"))

		require.Equal(t, "true", n.Do(t, "T = "+term+", "+peer+" ! {echo, self(), T}, receive T -> true after 30000 -> timeout end"))
		require.Equal(t, "{count,1000}", answer(t, n, "[ "+peer+" ! {sink, self(), I =:= 1000, <<0:800>>} || I <- lists:seq(1, 1000)]"))
		require.Equal(t, "{count,1}", answer(t, n, peer+" ! {sink, self(), true, <<>>}"))
		require.Equal(t, "1000", n.Do(t, peer+" ! {source, self(), 1000, <<1:800>>}, "+
			"length([receive <<1:800>> -> ok after 30000 -> exit(timeout) end || _ <- lists:seq(1, 1000)])"))
		require.Equal(t, "true", n.Do(t, `
			[`+peer+` ! {echo, self(), I} || I <- lists:seq(1, 5000)],
			lists:seq(1, 5000) =:= [receive M -> M after 30000 -> exit(timeout) end || _ <- lists:seq(1, 5000)]`))

		// A process of its own is linked, so that the one that evaluates lives on.
		require.Equal(t, "{pid,true}", answer(t, n, `
			Me = self(),
			spawn(fun() ->
				process_flag(trap_exit, true),
				Pid = rpc:call(`+node+`, erlang, whereis, [peer]),
				true = link(Pid),
				register(linked, self()),
				Me ! {pid, is_pid(Pid)},
				receive {'EXIT', Pid, Why} -> Me ! {exited, Why} end
			end)`))
		require.Equal(t, "true", n.Do(t, "monitor_node("+node+", true), is_reference(monitor(process, "+peer+"))"))
		// the monitor, and the link before it, have arrived
		require.Equal(t, "{ok,1}", n.Do(t, "gen_server:call("+peer+", 1, infinity)"))
		require.Equal(t, 1, strings.Count(s.terminate(syscall.SIGTERM), "\n"), "the call of echo/0")
		got := []string{answer(t, n, "ok"), answer(t, n, "ok"), answer(t, n, "ok")}
		require.Contains(t, got, "{exited,shutdown}")
		require.Contains(t, got, "{nodedown,"+node+"}")
		require.Contains(t, strings.Join(got, " "), ",process,{peer,"+node+"},shutdown}")
		require.Equal(t, "[]", n.Do(t, "nodes(hidden)"))
		require.Equal(t, "pang", n.Do(t, "net_adm:ping("+node+")"))
		require.Empty(t, strings.TrimSpace(n.Log()))
	})
}

// A serve that dies without a word is a nodedown like any other.
func TestErlangSeesServeDie(t *testing.T) {
	withErlang(t, otp.Options{}, func(t *testing.T, w *home, n *otp.Node) {
		s := w.serve("serve")
		require.Equal(t, "true", n.Do(t, "monitor_node('"+s.name+"', true), is_reference(monitor(process, {peer,'"+s.name+"'}))"))
		require.Equal(t, "{ok,1}", n.Do(t, "gen_server:call({peer,'"+s.name+"'}, 1, infinity)"))
		require.NoError(t, s.cmd.Process.Kill())
		got := []string{answer(t, n, "ok"), answer(t, n, "ok")}
		require.Contains(t, got, "{nodedown,'"+s.name+"'}")
		require.Contains(t, strings.Join(got, " "), ",process,{peer,'"+s.name+"'},noconnection}")
	})
}

func TestCommandsMeetErlang(t *testing.T) {
	withErlang(t, otp.Options{}, func(t *testing.T, w *home, n *otp.Node) {
		require.Equal(t, "pong\n", w.succeed("ping", n.Name()))
		require.Equal(t, "pong\n", w.succeed("ping", n.Name(), "--name", "visitor@127.0.0.1"))
		for _, tt := range [][4]string{
			{"lists", "seq", "[1, 5]", "[1,2,3,4,5]"},
			{"erlang", "node", "[]", "'" + n.Name() + "'"},
			{"erlang", "list_to_binary", `["abc"]`, `<<"abc">>`},
			{"erlang", "throw", "[ball]", "ball"},
		} {
			require.Equal(t, tt[3]+"\n", w.succeed("call", n.Name(), tt[0], tt[1], tt[2]))
		}
		n.Becomes(t, "nodes(hidden)", "[]") // those of the commands before are gone in a moment
		// A node that takes short hosts for a mistake would complain of one that has left.
		require.Regexp(t, `^\['cnode-demo-\d+@[^.']+\.[^']+'\]\n$`, w.succeed("call", n.Name(), "erlang", "nodes", "[hidden]"))
		for call, want := range map[string]string{
			"erlang exit [boo]":  "{badrpc,{'EXIT',boo}}",
			"erlang error [boo]": "{badrpc,{'EXIT',{boo,",
			"no such []":         "There is no such function",
		} {
			out, errOut := w.fail(append([]string{"call", n.Name()}, words(call)...)...)
			require.Empty(t, out)
			require.Contains(t, errOut, want)
		}
		out, errOut := w.fail("ping", n.Name(), "--cookie", "wrong")
		require.Equal(t, "pang\n", out)
		require.Contains(t, errOut, "The two nodes most likely have different cookies")

		n.Pause(t)
		out, errOut = w.fail("ping", n.Name(), "--timeout", "2s")
		require.Equal(t, "pang\n", out)
		require.Contains(t, errOut, "No answer came in time")
		_, errOut = w.fail("call", n.Name(), "erlang", "node", "--timeout", "2s")
		require.Contains(t, errOut, "No answer came in time")
		n.Continue(t)

		n.Do(t, "net_kernel:allow(['"+n.Name()+"'])")
		out, errOut = w.fail("ping", n.Name(), "--name", "stranger@127.0.0.1")
		require.Equal(t, "pang\n", out)
		require.Contains(t, errOut, "net_kernel:allow/1")
	})
}

func TestCommandsMeetShortNames(t *testing.T) {
	withErlang(t, otp.Options{Short: true}, func(t *testing.T, w *home, n *otp.Node) {
		require.Equal(t, "pong\n", w.succeed("ping", n.Name()))
		require.Equal(t, n.Name()+"\n", w.succeed("call", n.Name(), "erlang", "node"))
		s := w.serve("serve", "--name", "served@localhost")
		require.Equal(t, "pong", n.Do(t, "net_adm:ping('"+s.name+"')"))
	})
}

// A node that asks for a dynamic name gets one.
func TestServeNamesDynamicNode(t *testing.T) {
	withErlang(t, otp.Options{Name: "undefined"}, func(t *testing.T, w *home, n *otp.Node) {
		s := w.serve("serve")
		require.Equal(t, "true", n.Do(t, "net_kernel:connect_node('"+s.name+"')"))
		require.Equal(t, "{ok,hello}", n.Do(t, "gen_server:call({peer,'"+s.name+"'}, hello, infinity)"))
	})
}

// Erlang's own port mapper and ours list the same nodes in the same words, and Erlang's nodes find
// each other through ours.
func TestNamesAndEpmdMeetErlang(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		list := func(w *home) string {
			cmd := exec.Command(r.Command("epmd"), "-names")
			cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, w.env...)
			out, err := cmd.Output()
			require.NoError(t, err)
			return string(out)
		}
		theirs := newHome(t, r.Epmd(t))
		r.Start(t, otp.Options{EpmdPort: theirs.port})
		theirs.serve("serve")
		require.Equal(t, 3, strings.Count(list(theirs), "\n"))
		require.Equal(t, list(theirs), theirs.succeed("names"))

		mapper := newHome(t, vacant.Free(t))
		mapper.serve("epmd")
		ours := newHome(t, mapper.port)
		a, b := r.Start(t, otp.Options{EpmdPort: ours.port}), r.Start(t, otp.Options{EpmdPort: ours.port})
		require.Equal(t, "pong", a.Do(t, "net_adm:ping('"+b.Name()+"')"))
		require.Equal(t, 3, strings.Count(list(ours), "\n"))
		require.Equal(t, list(ours), ours.succeed("names"))
		require.Contains(t, list(ours), "name "+a.Alive()+" at port ")
	})
}

// The port mapper inside serve serves Erlang's nodes.
func TestServeEmbeddedMeetsErlang(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		w := newHome(t, vacant.Free(t))
		s := w.serve("serve", "--epmd", "embedded")
		n := r.Start(t, otp.Options{EpmdPort: w.port})
		require.Equal(t, "pong", n.Do(t, "net_adm:ping('"+s.name+"')"))
		require.Equal(t, "pong\n", w.succeed("ping", n.Name()))
	})
}

// A C-node of libei gives no dynamic names and answers few calls; a ping it does answer.
func TestCommandsMeetLibei(t *testing.T) {
	dir := otp.Libei(t)
	w := newHome(t, 0)
	cmd := exec.Command(filepath.Join(dir, "ei_echo"), "c@127.0.0.1", testCookie)
	cmd.Env = w.env
	c := otp.Serve(t, cmd)
	require.Equal(t, "pong\n", w.succeed("ping", c.Name))
	s := w.serve("serve")
	for _, flags := range []string{"", "-r "} {
		run := exec.Command(filepath.Join(dir, "ei_client"), words(flags+fmt.Sprintf("%s %s 100 10000", s.name, testCookie))...)
		run.Env = w.env
		out, err := run.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}
