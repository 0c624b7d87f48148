package interop

import (
	"testing"

	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/stretchr/testify/require"
)

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
