//go:build linux

package workers

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
)

// A connection can do the same with any worker, and with processes of the other workers.
func TestVocabulary(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		c := newCluster(t, r, serveDemo(t))
		vocabulary(t, c)
	})
}

// Over TLS the front does the handshake of TLS, and a worker goes on with its records.
func TestOverTLS(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		for _, version := range otp.TLSVersions() {
			t.Run("TLS "+version, func(t *testing.T) {
				conf, err := otp.TLSFiles(filepath.Join(t.TempDir(), "tls"), demo.Path(t), version)
				require.NoError(t, err)
				l := startLab(t, r, conf)
				t.Cleanup(l.close)
				cmd := serveDemo(t)()
				cmd.Args = append(cmd.Args, "--transport", "tls", "--tls-optfile", conf)
				c := newClusterIn(t, l, cmd)
				vocabulary(t, c)
				upgraded(t, c, 1)
			})
		}
	})
}

func vocabulary(t *testing.T, c *cluster) {
	t.Helper()
	for _, e := range c.erl {
		is(t, e, "pong", `net_adm:ping(N)`)
		is(t, e, "{a,[1,2]}", `rpc:call(N, cnode, echo, [{a, [1, 2]}])`)
		is(t, e, "{ok,x}", `gen_server:call({peer, N}, x, infinity)`)
		is(t, e, "true", `[X || X <- nodes(hidden), X =:= N] =:= [N]`)
	}
	// The process peer of node 0's worker, seen from node 1 over its own worker.
	a, b := c.erl[0], c.erl[1]
	with := `P = rpc:call('` + a.Name() + `', rpc, call, [N, erlang, whereis, [peer]]), `
	is(t, b, "true", `%s`, with+`is_pid(P) andalso node(P) =:= N`)
	is(t, b, "true", `%s`, with+`P =/= rpc:call(N, erlang, whereis, [peer])`)
	is(t, b, "{ok,y}", `%s`, with+`gen_server:call(P, y, infinity)`)
	is(t, b, "true", `%s`, with+`[P ! {echo, self(), I} || I <- lists:seq(1, 3000)],
		[receive X -> X after 10000 -> late end || _ <- lists:seq(1, 3000)] =:= lists:seq(1, 3000)`)
	is(t, b, "true", `%s`, with+`B = binary:copy(<<"x">>, 1000000), P ! {echo, self(), B}, receive X -> X =:= B after 10000 -> late end`)
	is(t, b, "{count,100}", `%s`, with+`[P ! {sink, self(), I =:= 100, <<0:8000>>} || I <- lists:seq(1, 100)],
		receive X -> X after 10000 -> late end`)
	is(t, b, "100", `%s`, with+`P ! {source, self(), 100, <<1>>},
		length([ok || _ <- lists:seq(1, 100), receive <<1>> -> true after 10000 -> false end])`)
	// A monitor and a link, which end with the process; a new one is registered by the program.
	is(t, b, "{true,true}", `%s`, with+`process_flag(trap_exit, true), R = monitor(process, P), link(P), unlink(P), link(P), exit(P, kill),
			D = receive {'DOWN', R, process, P, killed} -> true after 10000 -> late end,
			{D, receive {'EXIT', P, killed} -> true after 10000 -> late end}`)
	is(t, b, "noproc", `R = monitor(process, {nobody, N}), receive {'DOWN', R, _, _, W} -> W after 10000 -> late end`)
}

// Names that are registered at run time belong to the whole node, whichever worker has them.
func TestNames(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		c := newCluster(t, r, serveOwn(t))
		a, b, d := c.erl[0], c.erl[1], c.erl[2]
		is(t, a, "true", `is_pid(rpc:call(N, w, start, [joe]))`)
		is(t, b, "badrpc", `element(1, rpc:call(N, w, start, [joe]))`)
		is(t, b, "true", `node(rpc:call(N, w, whereis, [joe])) =:= N`)
		is(t, b, "true", `[{joe, N} ! {echo, self(), I} || I <- lists:seq(1, 2000)],
			[receive X -> X after 10000 -> late end || _ <- lists:seq(1, 2000)] =:= lists:seq(1, 2000)`)
		is(t, d, "{ok,z}", `gen_server:call({joe, N}, z, infinity)`)
		// From the worker of one node to another node, over the worker that has it.
		is(t, a, "'"+b.Name()+"'", `rpc:call(N, w, rpc, ['%s', erlang, node, []])`, b.Name())
		is(t, b, "{true,undefined}", `R = monitor(process, {joe, N}), {joe, N} ! done,
			D = receive {'DOWN', R, process, {joe, N}, done} -> true after 10000 -> late end,
			Gone = fun(_, 0) -> late; (F, K) -> case rpc:call(N, w, whereis, [joe]) of undefined -> undefined; _ -> timer:sleep(10),
				F(F, K - 1) end end,
			{D, Gone(Gone, 500)}`) // the front hears of it beside those who watched
		is(t, b, "true", `is_pid(rpc:call(N, w, start, [joe]))`)
		is(t, a, "{ok,again}", `gen_server:call({joe, N}, again, infinity)`)
	})
}

// A function's process is reached from nodes of other workers, and prints there.
func TestFunctions(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		c := newCluster(t, r, serveOwn(t))
		a, b := c.erl[0], c.erl[1]
		is(t, b, "pong", `net_adm:ping(N)`)
		is(t, a, "[1,2,normal]", `{P, R} = spawn_monitor(N, w, converse, []), P ! {self(), 1}, A = receive {P, X} -> X end,
			rpc:call('%[1]s', erlang, send, [P, {self(), 2}]), B = receive {P, Y} -> Y end, 
			rpc:call('%[1]s', erlang, send, [P, stop]), [A, B, receive {'DOWN', R, process, P, Why} -> Why end]`, b.Name())
		is(t, a, "ok", `GL = group_leader(), group_leader(rpc:call('%s', erlang, whereis, [user]), self()),
			R = rpc:call(N, w, print, [<<"printed elsewhere\n">>]), group_leader(GL, self()), R`, b.Name())
		require.Eventually(t, func() bool { return strings.Contains(b.Log(), "printed elsewhere\n") }, limit, 5*time.Millisecond)
	})
}

// Workers connect to a node while that one connects to them, again and again: each time both have
// one connection.
func TestSimultaneous(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		c := newCluster(t, r, serveOwn(t))
		a, b, d := c.erl[0], c.erl[1], c.erl[2]
		for range 15 {
			is(t, d, "[]", `monitor_node(N, true), disconnect_node(N), receive {nodedown, N} -> nodes(hidden) -- ['%s','%s'] end`, a.Name(),
				b.Name())
			one := a.Async(t, about(`rpc:call(N, w, rpc, ['%s', erlang, node, []])`, d.Name()))
			two := b.Async(t, about(`rpc:call(N, w, rpc, ['%s', erlang, node, []])`, d.Name()))
			three := d.Async(t, about(`net_kernel:connect_node(N)`))
			for _, answer := range []func() string{one, two} {
				if got := answer(); got != "'"+d.Name()+"'" {
					t.Fatal(got, c.Log())
				}
			}
			if got := three(); got != "true" {
				t.Fatal(got, c.Log())
			}
			is(t, d, "true", `{net_adm:ping(N), [X || X <- nodes(hidden), X =:= N]} =:= {pong, [N]}`)
		}
	})
}
