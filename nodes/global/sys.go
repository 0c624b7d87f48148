package global

import (
	"maps"
	"slices"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// state is what sys:get_state shows: of OTP's record the elements that have the same meaning here.
func (g *Global) state() ei.Term {
	g.mu.RLock()
	defer g.mu.RUnlock()
	known := ei.Map{}
	for _, node := range slices.Sorted(maps.Keys(g.server.known)) {
		known = append(known, ei.Pair{Key: ei.Atom(node), Value: ei.Int(g.server.known[node])})
	}
	return ei.Tuple{ei.Atom("state"), ei.Atom("true"), known, atoms(slices.Sorted(maps.Keys(g.server.Synced)))}
}

// exposeSys exposes what RabbitMQ asks by erpc:call when global:sync() takes long: sys:get_state/1
// and get_status/1, of global_name_server alone. Package observer has them of all processes.
func (g *Global) exposeSys() {
	exposed := g.n.Exposed()["sys"]
	for _, name := range []string{"get_state", "get_status"} {
		if slices.Contains(exposed, name) {
			continue
		}
		g.n.Expose("sys", name, nodes.FuncOf(func(of ei.Term, more ...ei.Term) (ei.Term, error) {
			box := g.box.Mailbox()
			if of != ei.Atom(serverName) && of != ei.Term(box.Pid()) {
				call := ei.Tuple{ei.Atom("sys"), ei.Atom(name), append(ei.List{of}, more...)}
				return nil, &nodes.Raise{Class: nodes.ClassExit, Reason: ei.Tuple{ei.Atom("noproc"), call}}
			}
			if name == "get_state" {
				return g.state(), nil
			}
			shown := otp.Status{Pid: box.Pid(), Name: serverName, State: g.state()}
			return shown.Term(), nil
		}))
	}
}
