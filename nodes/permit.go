package nodes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/permit"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/otp"
	"github.com/cnode-go/cnode/nodes/metrics"
)

// A Rule of Config.Rules allows or refuses what peers of some names ask for. Peer and Target are
// patterns, in which * stands for any characters, or none, and every other character for itself;
// the empty pattern matches everything. So the zero Rule refuses all that no Rule before it allows.
type Rule struct {
	// Peer is the name of the peer's node, "web*@*". The name is what the peer says: whoever has
	// the cookie may say any. A name that a rule trusts needs a cookie of its own
	// (Config.Cookies), or a certificate that names it.
	Peer string
	// Permission is what the peer asks for, one of the constants or several, MayCall | MaySpawn; 0
	// is everything.
	Permission Permission
	// Target is, for MayCall and MaySpawn, the function: "shop:quote/1", with "shop:quote" for any
	// number of arguments, "shop:*" or "Elixir.Shop:*". For the others it is a registered name of
	// the process, whether the peer uses that, the pid or an alias; a process without a name goes
	// by the text of its pid, which "#Pid<*>" matches. One with several names can be reached by its
	// pid if it can under one of them. Processes of a third node, to which this node is to send
	// what the peer asks for, go by the name of that node: "@db@host", or "@*" for all nodes.
	Target string
	// Allow: what matches is allowed, otherwise refused.
	Allow bool
}

// A Permission is what a Rule is about: one or several of MayCall, MaySpawn, MaySend, MayLink and
// MayExit. It has no counterpart in OTP, where whoever has the cookie may do everything.
type Permission uint8

// What a Rule may be about, and what a peer sees that is refused.
const (
	// MayCall is a function whose result somebody may get: rpc:call, rpc:cast, erpc and what is made
	// of them. Refused, it is an exception, error:eacces, with the function in the stack; what
	// erlang:apply or a fun would call is the function that counts.
	MayCall = Permission(permit.Call)
	// MaySpawn is a function as a process, spawn and spawn_request with all their options. Refused,
	// it is a process that ends at once by such an exception.
	MaySpawn = Permission(permit.Spawn)
	// MaySend is a message to a process, and a monitor of it. Refused, both are as if there were no
	// such process: the message is dropped, the monitor's DOWN says noproc. So a refused
	// gen_server:call exits with noproc at once. It is also what this node is to send to a process
	// because the peer has named that: an answer, or what a function prints.
	MaySend = Permission(permit.Send)
	// MayLink is a link with a process. Refused, it breaks with noproc.
	MayLink = Permission(permit.Link)
	// MayExit is an exit signal of erlang:exit/2. Refused, it is dropped.
	MayExit = Permission(permit.Exit)

	anyPermission = MayCall | MaySpawn | MaySend | MayLink | MayExit
)

// String names what it is for: "call", "call|spawn".
func (p Permission) String() string {
	var names []string
	for i, name := range []string{"call", "spawn", "send", "link", "exit"} {
		if p&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}

// Rules are those of Config.Rules.
func (n *Node) Rules() []Rule { return slices.Clone(n.cfg.Rules) }

// Allows tells whether Config.Rules let a peer do something: p is MayCall or MaySpawn, and the rest
// names a function, which need not exist. So what a program does for peers in other ways than by
// functions that they call can have rules, too. A refusal is not counted.
func (n *Node) Allows(peer string, p Permission, module, function string, arity int) bool {
	return n.rights.rules == nil || peer == n.Name() || n.rights.rules.Function(peer, permit.Op(p), module, function, arity)
}

// AllowsProcess tells whether Config.Rules let a peer do something to a process: p is MaySend,
// MayLink or MayExit, and to an ei.Pid, or the ei.Atom that a process of this node is named by. Ask
// it before the program sends to, links with, or ends what a peer has named, as an argument say:
// that is done in this node's name, and no other rule is asked. A process of the peer's own node is
// allowed. Those of a third node go by "@NODE", and only if it is connected: send under NoConnect.
// Refused are rex, and a pid of another worker, whose names are not known here. A refusal is
// counted.
func (n *Node) AllowsProcess(peer string, p Permission, to ei.Term) bool {
	if n.rights.rules == nil || peer == n.Name() {
		return true
	}
	node, ctl := n.Name(), &dist.Control{Op: dist.OpSend}
	switch to := to.(type) {
	case ei.Pid:
		node, ctl.To = string(to.Node), to
	case ei.Atom:
		ctl.Op, ctl.ToName = dist.OpRegSend, to
	default:
		return false
	}
	return n.rights.mayName(peer, n.Conn(peer), p, node, ctl)
}

// rights tell what Config.Rules let the peers of a node do, and count refusals.
type rights struct {
	n     *Node
	rules permit.Table // nil: everything is allowed
}

func compileRules(rules []Rule) (permit.Table, error) {
	var list []permit.Rule
	for i, r := range rules {
		if r.Permission == 0 {
			r.Permission = anyPermission
		} else if r.Permission&^anyPermission != 0 {
			return nil, fmt.Errorf("Config.Rules: rule %d: there is no such permission: %#x", i+1, uint8(r.Permission))
		}
		list = append(list, permit.Rule{Peer: r.Peer, Op: permit.Op(r.Permission), Target: r.Target, Allow: r.Allow})
	}
	t, err := permit.Compile(list)
	if err != nil {
		err = fmt.Errorf("Config.Rules: %w", err)
	}
	return t, err
}

// admits tells whether the rules allow a peer's message, or signal, to come in; one that they do
// not is answered.
func (r *rights) admits(c *Conn, m *Message) bool {
	var p Permission
	switch m.Op {
	case dist.OpSend, dist.OpRegSend, dist.OpAliasSend:
		if r.n.answersCall(m) { // nobody else gets it: see takeMailboxReply
			return true
		}
		p = MaySend
	case dist.OpMonitorP:
		p = MaySend
	case dist.OpSpawnReply: // may begin a link
		if r.n.answersCall(m) { // nobody else gets it: see spawnReply
			return true
		}
		p = MayLink
	case dist.OpLink:
		p = MayLink
	case dist.OpExit2:
		if r.endsLink(m) {
			return true
		}
		p = MayExit
	default: // it ends what there is; or calls functions: see mayRun
		return true
	}
	b := r.n.procs.addressee(&m.Control)
	if b == nil && (m.Op == dist.OpSend || m.Op == dist.OpAliasSend) {
		return true // nobody gets it: perhaps somebody made for this peer, who has ended
	}
	if b != nil && (b.opts.lasting || b.isMadeFor(c.Name()) || b.awaitsDevice(c.Name(), m)) {
		return true
	}
	if r.mayReach(c, p, b, &m.Control) {
		return true
	}
	switch pid, spawned := r.n.spawnedBy(m); {
	case m.Op == dist.OpLink || m.Op == dist.OpMonitorP:
		r.n.noproc(&m.Control)
	case m.Op == dist.OpSpawnReply && spawned:
		r.n.orphan(pid, m, "noproc")
	}
	m.Release()
	return false
}

// awaitsDevice tells whether a message answers a request of the mailbox's to an I/O device of a
// node, {io_reply, Ref, Reply}: Ref is that of the mailbox's monitor of the device.
func (b *Mailbox) awaitsDevice(node string, m *Message) bool {
	c := ei.NewCursor(m.Payload)
	if size, err := c.Tuple(); err != nil || size != 3 || !c.AtomIs("io_reply") {
		return false
	}
	ref, err := c.Ref()
	if err != nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	t, ok := b.bonds.Target(ref)
	return ok && t.Node == node
}

// mayReach tells whether the rules let the peer of a connection reach a process, b or, if that is
// nil, one that is not here, as ctl addresses it. A refusal is counted.
func (r *rights) mayReach(c *Conn, p Permission, b *Mailbox, ctl *dist.Control) bool {
	if c = c.toOthers(); r.rules == nil || c == nil {
		return true
	}
	names := []string{string(ctl.ToName)}
	if ctl.ToName == "" {
		names = r.targets(b, ctl.To)
	}
	if r.rules.Process(c.Name(), permit.Op(p), names...) {
		return true
	}
	r.denied(c.Name(), c, p, names[0])
	return false
}

// endsLink tells whether an exit signal says no more than the end of a link does, which needs no
// rule: it has the reason normal, and is from a process that the addressee is linked with.
func (r *rights) endsLink(m *Message) bool {
	b := r.n.procs.addressee(&m.Control)
	return b != nil && isAtom(m.Reason, "normal") && b.hasLink(m.From)
}

// targets are what rules call a process: its names, or else its pid.
func (r *rights) targets(b *Mailbox, pid ei.Pid) (names []string) {
	if b != nil {
		pid = b.pid
		for _, name := range r.n.procs.namesOf(b) {
			names = append(names, string(name))
		}
	}
	if len(names) == 0 {
		names = append(names, pid.String())
	}
	return names
}

// mayName tells whether this node may do to a process what a peer asks for by naming it. The
// process is one of node, as ctl addresses it; c is the peer's connection, nil if it has none.
func (r *rights) mayName(peer string, c *Conn, p Permission, node string, ctl *dist.Control) bool {
	var names []string
	switch b := r.n.procs.addressee(ctl); {
	case node == peer:
		return true
	case node != r.n.Name():
		if names = []string{"@" + node}; r.n.Conn(node) != nil && r.rules.Process(peer, permit.Op(p), names...) {
			return true
		}
	case b != nil && (b.isMadeFor(peer) || p == MaySend && b == r.n.procs.named("net_kernel")):
		return true
	// what rex is sent would be a request of this node's own
	case b != nil && b == r.n.procs.named("rex"):
		names = []string{"rex"}
	case b == nil && ctl.ToName == "": // it has ended, or is another worker's
		names = []string{ctl.To.String()}
	default:
		if names = []string{string(ctl.ToName)}; ctl.ToName == "" {
			names = r.targets(b, ctl.To)
		}
		if r.rules.Process(peer, permit.Op(p), names...) {
			return true
		}
	}
	r.denied(peer, c, p, names[0])
	return false
}

// mayAnswer tells whether {Tag, Reply}, the answer to a request that has come over c, may go to the
// process that the request names, of this node or of a third one: a peer may name any. Then Tag has
// to be a caller's, or Reply, which the peer may have a say in, would become a request in this
// node's name. An answer to a call of this node may go to the process, of whichever worker: there
// only the call gets it, see takeMailboxReply.
func (r *rights) mayAnswer(c *Conn, tag ei.Raw, node string, ctl *dist.Control) bool {
	if c = c.toOthers(); r.rules == nil || c == nil {
		return true
	}
	if node == r.n.Name() {
		payload := append(ei.AppendTupleHeader(nil, 2), tag...)
		if r.n.answersCall(&Message{Control: dist.Control{Op: dist.OpSend}, Payload: ei.AppendNil(payload)}) {
			return true
		}
	}
	if !otp.IsCallTag(tag) {
		r.denied(c.Name(), c, MaySend, "@"+node)
		return false
	}
	return r.mayTell(c, node, ctl)
}

// mayTell tells whether the peer of c may have this node send something to a process of node.
func (r *rights) mayTell(c *Conn, node string, ctl *dist.Control) bool {
	c = c.toOthers()
	return r.rules == nil || c == nil || r.mayName(c.Name(), c, MaySend, node, ctl)
}

// mayAsk tells whether rex may do what a process of a node asks for over a connection: with rules,
// that node is the connection's, since rex answers in this node's name, whatever that says.
func (r *rights) mayAsk(c *Conn, node string) bool {
	if c = c.toOthers(); r.rules == nil || c == nil || node == c.Name() {
		return true
	}
	r.denied(c.Name(), c, MaySend, "@"+node)
	return false
}

// mayPass tells whether rex may pass a message of a peer's on to the process that has a name.
func (r *rights) mayPass(c *Conn, name ei.Atom, message ei.Term) bool {
	if r.rules == nil {
		return true
	}
	if t, ok := message.(ei.Tuple); ok && len(t) == 3 { // a request may name who gets the answer
		if from, ok := t[1].(ei.Tuple); ok && len(from) > 0 {
			// another worker would take it for one of its own node
			if pid, ok := from[0].(ei.Pid); !ok || string(pid.Node) != c.Name() {
				r.denied(c.Name(), c, MaySend, string(name))
				return false
			}
		}
	}
	return r.mayReach(c, MaySend, nil, &dist.Control{ToName: name})
}

// mayRun tells whether the rules let the caller of a function, the peer of c, have it run; nil:
// this node. A refusal is counted.
func (r *rights) mayRun(c *Conn, p Permission, f function, arity int) bool {
	if c = c.toOthers(); r.rules == nil || c == nil {
		return true
	}
	if r.rules.Function(c.Name(), permit.Op(p), string(f.module), string(f.name), arity) {
		return true
	}
	r.denied(c.Name(), c, p, f.with(arity))
	return false
}

// noAccess is the exception of a function that the rules refuse to run.
func noAccess(f function, arity int) *Raise {
	return &Raise{ClassError, ei.Atom("eacces"), ei.List{ei.Tuple{f.module, f.name, ei.Int(arity), ei.List{}}}}
}

// denied counts and logs a refusal; c is the peer's connection, nil if it has none.
func (r *rights) denied(peer string, c *Conn, p Permission, target string) {
	r.n.stats.denied.Add(1)
	if m := r.n.links.Meter.Load(); m != nil && m.Denied != nil {
		m.Denied(peer, p.String(), metrics.Clip(target))
	}
	if c != nil {
		c.l.Complain(faultDenied, "refused by Config.Rules", fmt.Errorf("%v of %s", p, target))
	}
}
