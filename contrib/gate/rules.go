package gate

import (
	"fmt"
	"strings"

	"github.com/cnode-go/cnode/internal/permit"
)

// A Rule is about what peers of some names ask for some operations on some targets. Peer and Target
// are patterns, in which * stands for any characters, or none; the empty pattern matches
// everything.
type Rule struct {
	Peer string // the name of the node outside
	Op   Op     // one of the operations or several, MayCall | MaySpawn; 0: all
	// Target is "module:function/arity" with MayCall and MaySpawn, or without arity for any; with the
	// others it is a name of the process.
	Target string
	Allow  bool // what matches is allowed; else it is refused
}

// An Op is what a peer asks for; a Rule may be about several.
type Op = permit.Op

// The operations.
const (
	MayCall  = permit.Call  // a function whose result somebody may get: rpc, erpc
	MaySpawn = permit.Spawn // a function as a process
	MaySend  = permit.Send  // any message to a process, and a monitor of it
	MayLink  = permit.Link  // a link with a process
	MayExit  = permit.Exit  // an exit signal of erlang:exit/2
	// MayRequest is a gen_server's call or cast to a process whose answer goes to the caller, and a
	// monitor of the process: less than MaySend, which includes what sys and supervisors say.
	MayRequest = permit.Request
	MayLead    = permit.Leader // becoming the group leader of a process
)

// Talked is the name of a process that has sent the peer something before: a target for those to
// whom the peer may send although it cannot know their pids beforehand.
const Talked = permit.Talked

// A Request is what a node outside asks for, in the words of rules.
type Request struct {
	Peer   string // who asks
	Op     Op     // for what
	Target string // "shop:quote/1", or the name or the pid of a process
	Module string // of a function, with MayCall or MaySpawn
	Name   string // its name
	Arity  int    // its arity; -1: not known
}

// A Decision is what becomes of a Request.
type Decision struct {
	Request
	Allowed bool
	// Rule is the index in Config.Rules of the rule that decides; -1: none does, Reason says why.
	Rule   int
	Reason string
	// Always is set where no rule would change the decision.
	Always bool
}

// A table has the rules of a gate, by which what no rule matches is refused.
type table struct {
	t permit.Table
	n int
}

func compile(rules []Rule) (table, error) {
	all := make([]permit.Rule, len(rules)+1) // the last one refuses everything
	for i, r := range rules {
		all[i] = permit.Rule(r)
	}
	t, err := permit.Compile(all)
	return table{t, len(rules)}, err
}

// decide finds the rule that decides.
func (t table) decide(r Request) Decision {
	d := Decision{Request: r}
	if r.Op&(MayCall|MaySpawn) != 0 {
		arity := r.Arity
		if arity < 0 { // not known: only a rule for any will do
			arity = 256
		}
		d.Rule, d.Allowed = t.t.FindFunction(r.Peer, r.Op, r.Module, r.Name, arity)
	} else {
		d.Rule, d.Allowed = t.t.FindProcess(r.Peer, r.Op, r.Target)
	}
	if d.Rule >= t.n {
		d.Rule, d.Reason = -1, "no rule allows it"
	}
	return d
}

// always decides where rules do not count.
func (r Request) always(allowed bool, why string) Decision {
	return Decision{Request: r, Allowed: allowed, Rule: -1, Reason: why, Always: true}
}

// Explain tells what becomes of a request: whether a node of that name may come, and what the rules
// let it do.
func (c *Config) Explain(r Request) (Decision, error) {
	t, err := compile(c.Rules)
	switch {
	case err != nil:
		return Decision{}, err
	case !c.Outside.admits(r.Peer) && !c.Outside.has(r.Peer):
		return r.always(false, "neither names nor nodes of outside have it"), nil
	case c.Unfiltered:
		return r.always(true, "unfiltered"), nil
	case r.Op&(MaySend|MayRequest) != 0 && r.Target == "net_kernel":
		return r.always(false, onlyPings), nil
	case r.Op&(MaySend|MayRequest) != 0 && r.Target == "rex":
		return r.always(false, noRPC+": rules for call say which functions may be called"), nil
	}
	return t.decide(r), nil
}

// String says it as in a log: who asked for what, and which rule decided.
func (d Decision) String() string {
	verb := "refused"
	if d.Allowed {
		verb = "allowed"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s %s %s", verb, d.Peer, d.Op, d.Target)
	if d.Rule >= 0 {
		fmt.Fprintf(&b, " (rule %d)", d.Rule+1)
	} else if d.Reason != "" {
		fmt.Fprintf(&b, " (%s)", d.Reason)
	}
	return b.String()
}
