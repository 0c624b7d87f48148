package interop

import (
	"testing"

	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/stretchr/testify/require"
)

func TestServeMonitors(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		p := newPair(t, r)
		p.is(t, [][2]string{
			{`R = monitor(process, {nobody, N}), receive {'DOWN', R, process, {nobody, N}, Why} -> Why after 20000 -> none end`, `noproc`},
			{`{P, R} = spawn_monitor(N, cnode, echo, [1]), receive {'DOWN', R, process, P, Why} -> Why after 20000 -> none end`, `normal`},
			{`{P, R} = spawn_monitor(N, cnode, nothing, [a]), receive {'DOWN', R, process, P, Why} -> Why after 20000 -> none end`,
				`{undef,[{cnode,nothing,[a],[]}]}`},
			// A pid that was, and one that never was.
			{`{P, R} = spawn_monitor(N, cnode, echo, [1]), receive {'DOWN', R, process, P, _} -> ok end,
				S = monitor(process, P), receive {'DOWN', S, process, P, Why} -> Why after 20000 -> none end`, `noproc`},
			{`R = monitor(process, {peer, N}), true = demonitor(R, [flush, info]), {ok, 1} = gen_server:call({peer, N}, 1, infinity)`, `{ok,1}`},
			{`is_reference(monitor(process, {peer, N}, [{tag, gone}]))`, `true`},
			{`receive X -> X after 0 -> nothing end`, `nothing`},
		})
		p.demo.kill()
		require.Equal(t, `noconnection`, p.eval(t, `receive {gone, _, process, {peer, N}, Why} -> Why after 20000 -> none end`))
	})
}

func TestServeLinks(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		p := newPair(t, r)
		p.is(t, [][2]string{
			{`process_flag(trap_exit, true)`, `false`},
			{`P = spawn_link(N, cnode, echo, [1]), receive {'EXIT', P, Why} -> Why after 20000 -> none end`, `normal`},
			{`P = spawn_link(N, cnode, nothing, []), receive {'EXIT', P, Why} -> Why after 20000 -> none end`, `{undef,[{cnode,nothing,[],[]}]}`},
			{`P = spawn(N, cnode, echo, [1]), R = monitor(process, P), receive {'DOWN', R, process, P, _} -> ok end,
				link(P), receive {'EXIT', P, Why} -> Why after 20000 -> none end`, `noproc`},
			{`P = spawn(N, cnode, echo, [1]), R = monitor(process, P), receive {'DOWN', R, process, P, _} -> ok end,
				link(P), unlink(P), {ok, 1} = gen_server:call({peer, N}, 1, infinity), receive {'EXIT', P, Why} -> Why after 0 -> none end`, `none`},
			{`[begin P = spawn(N, cnode, echo, [I]), catch link(P), unlink(P) end || I <- lists:seq(1, 500)],
				{ok, 1} = gen_server:call({peer, N}, 1, infinity)`, `{ok,1}`},
			{`(fun F() -> receive X -> [X | F()] after 0 -> [] end end)()`, `[]`},
			// Exit signals to processes that do not exist, or no longer, do nothing.
			{`P = spawn(N, cnode, echo, [1]),
				[exit(P, X) || X <- [normal, kill, other]], {ok, 1} = gen_server:call({peer, N}, 1, infinity)`, `{ok,1}`},
			{`P = spawn(N, cnode, echo, [1]), group_leader(self(), P), {ok, 1} = gen_server:call({peer, N}, 1, infinity)`, `{ok,1}`},
		})
	})
}

// A node ends in one of two ways: it leaves, or it is killed. Both are a nodedown, at once.
func TestServeNodedown(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl := start(t, r, otp.Options{EpmdPort: port})
		for _, tt := range []struct {
			name   string
			end    func(s *served)
			reason string // of its processes
		}{
			{"stop", func(s *served) { s.stop(t) }, "shutdown"},
			{"kill", (*served).kill, "noconnection"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				p := pair{erl: erl, demo: serve(t, port)}
				p.is(t, [][2]string{
					{`ok = net_kernel:monitor_nodes(true, #{node_type => hidden, nodedown_reason => true}), pong = net_adm:ping(N)`, `pong`},
					{`receive {nodeup, N, #{node_type := T}} -> T after 20000 -> none end`, `hidden`},
					{`monitor_node(N, true), monitor_node(N, true)`, `true`},
					{`monitor(process, {peer, N}), gen_server:call({peer, N}, 1, infinity)`, `{ok,1}`},
				})
				lost := "connection_closed"
				if usual.file != "" {
					lost = "shutdown" // as between two Erlang nodes
				}
				tt.end(p.demo)
				p.is(t, [][2]string{
					{`receive {'DOWN', _, process, {peer, N}, Why} -> Why after 20000 -> none end`, tt.reason},
					{`[receive {nodedown, N} -> down after 20000 -> none end || _ <- [1, 2]]`, `[down,down]`},
					{`receive {nodedown, N, #{nodedown_reason := R}} -> R after 20000 -> none end`, lost},
					{`nodes(hidden)`, `[]`},
					{`net_adm:ping(N)`, `pang`},
					{`monitor_node(N, true), receive {nodedown, N} -> down after 20000 -> none end`, `down`},
					{`net_kernel:monitor_nodes(false, #{node_type => hidden, nodedown_reason => true})`, `ok`},
					{`receive X -> X after 0 -> nothing end`, `nothing`},
				})
			})
		}
	})
}

// A killed program leaves nothing behind that would disturb it when it comes back.
func TestServeComesBack(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		p := pair{erl: start(t, r, otp.Options{EpmdPort: port})}
		name := uniqueName()
		for range 3 {
			p.demo = serveAs(t, name, port)
			p.is(t, [][2]string{
				// A process of the last life is no process of this one, though their numbers may be
				// the same.
				{`P = spawn(N, cnode, echo, [1]), case put(last, P) of P -> same; undefined -> noproc; Last ->
					exit(Last, kill), Last ! hello, R = monitor(process, Last), receive {'DOWN', R, _, Last, Why} -> Why end end`, `noproc`},
				{`process_flag(trap_exit, true), monitor(process, {peer, N}), {ok, 1} = gen_server:call({peer, N}, 1, infinity)`, `{ok,1}`},
			})
			p.demo.kill()
			require.Equal(t, `noconnection`, p.eval(t, `receive {'DOWN', _, process, {peer, N}, Why} -> Why after 20000 -> none end`))
		}
	})
}

func TestServeDisconnect(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		newPair(t, r).is(t, [][2]string{
			{`[begin
				{ok, I} = gen_server:call({peer, N}, I, infinity), [N] = nodes(hidden),
				monitor_node(N, true), R = monitor(process, {peer, N}),
				true = disconnect_node(N),
				receive {nodedown, N} -> ok end, receive {'DOWN', R, process, {peer, N}, noconnection} -> ok end,
				[] = nodes(hidden), pong = net_adm:ping(N)
			end || I <- lists:seq(1, 30)] -- lists:duplicate(30, pong)`, `[]`},
			{`nodes(hidden) =:= [N]`, `true`},
		})
	})
}

// Whatever is sent under sequential tracing arrives as it does without tracing.
func TestServeTraced(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		newPair(t, r).is(t, [][2]string{
			{`process_flag(trap_exit, true)`, `false`},
			{`seq_trace:set_token(label, 17), seq_trace:set_token(send, true), element(1, seq_trace:get_token(label))`, `label`},
			{`{peer, N} ! {echo, self(), traced}, receive traced -> ok after 20000 -> none end`, `ok`},
			{`gen_server:call({peer, N}, x, infinity)`, `{ok,x}`},
			{`net_adm:ping(N)`, `pong`},
			{`rpc:call(N, cnode, echo, [x])`, `x`},
			{`rpc:block_call(N, cnode, echo, [x])`, `x`},
			{`P = spawn_link(N, cnode, nothing, []), receive {'EXIT', P, {undef, _}} -> ok after 20000 -> none end`, `ok`},
			{`P = spawn(N, cnode, echo, [1]), exit(P, away), link(P), receive {'EXIT', P, _} -> ok after 20000 -> none end`, `ok`},
			{`{P, M} = spawn_monitor(fun() -> link(spawn(N, cnode, echo, [1])), exit(traced) end), receive {'DOWN', M, _, P, Why} -> Why end`,
				`traced`},
			{`{peer, N} ! {echo, self(), still}, receive still -> ok after 20000 -> none end`, `ok`},
		})
	})
}
