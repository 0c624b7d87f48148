package interop

import (
	"testing"

	"github.com/cnode-go/cnode/internal/test/otp"
)

// A node leaves, or is killed, again and again: both are a nodedown, at once, and leave nothing
// behind that would disturb it when it comes back under its name.
func TestServeNodedown(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		p, name := pair{erl: start(t, r, otp.Options{EpmdPort: port})}, uniqueName()
		lost := "connection_closed"
		if usual.file != "" {
			lost = "shutdown" // as between two Erlang nodes
		}
		p.erl.Do(t, `process_flag(trap_exit, true)`)
		for i, reason := range []string{"shutdown", "noconnection", "noconnection"} { // of its processes
			p.demo = serveAs(t, name, port)
			p.is(t, [][2]string{
				{`ok = net_kernel:monitor_nodes(true, #{node_type => hidden, nodedown_reason => true}), pong = net_adm:ping(N)`, `pong`},
				{`receive {nodeup, N, #{node_type := T}} -> T after 20000 -> none end`, `hidden`},
				{`monitor_node(N, true), monitor_node(N, true)`, `true`},
				{`monitor(process, {peer, N}), gen_server:call({peer, N}, 1, infinity)`, `{ok,1}`},
				// A process of the last life is no process of this one, whatever its number.
				{`P = spawn(N, cnode, echo, [1]), case put(last, P) of P -> same; undefined -> noproc; Last ->
					exit(Last, kill), Last ! hello, R = monitor(process, Last), receive {'DOWN', R, _, Last, Why} -> Why end end`, `noproc`},
				{`gen_server:call({peer, N}, 1, infinity)`, `{ok,1}`},
			})
			if i == 0 {
				p.demo.stop(t)
			} else {
				p.demo.kill()
			}
			p.is(t, [][2]string{
				{`receive {'DOWN', _, process, {peer, N}, Why} -> Why after 20000 -> none end`, reason},
				{`[receive {nodedown, N} -> down after 20000 -> none end || _ <- [1, 2]]`, `[down,down]`},
				{`receive {nodedown, N, #{nodedown_reason := R}} -> R after 20000 -> none end`, lost},
				{`nodes(hidden)`, `[]`},
				{`net_adm:ping(N)`, `pang`},
				{`monitor_node(N, true), receive {nodedown, N} -> down after 20000 -> none end`, `down`},
				{`net_kernel:monitor_nodes(false, #{node_type => hidden, nodedown_reason => true})`, `ok`},
				{`receive X -> X after 0 -> nothing end`, `nothing`},
			})
		}
	})
}
