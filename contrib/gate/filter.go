package gate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/permit"
)

// A Request is what a node outside asks for, in the words of rules.
type Request struct {
	Peer   string    // who asks
	Op     permit.Op // for what
	Target string    // "shop:quote/1", or the name or the pid of a process
	Module string    // of a function, with Op Call or Spawn
	Name   string    // its name
	Arity  int       // its arity; -1: not known
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

func compile(rules []permit.Rule) (table, error) {
	t, err := permit.Compile(append(slices.Clip(rules), permit.Rule{}))
	return table{t, len(rules)}, err
}

// decide finds the rule that decides.
func (t table) decide(r Request) Decision {
	d := Decision{Request: r}
	if r.Op&(permit.Call|permit.Spawn) != 0 {
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
	case r.Op&(permit.Send|permit.Request) != 0 && r.Target == "net_kernel":
		return r.always(false, onlyPings), nil
	case r.Op&(permit.Send|permit.Request) != 0 && r.Target == "rex":
		return r.always(false, noRPC+": rules for call say which functions may be called"), nil
	}
	return t.decide(r), nil
}

// Why some requests are refused whatever the rules say.
const (
	onlyPings    = "net_kernel gets pings only"
	noRPC        = "no request of rpc"
	runsFunction = "a request by which a function would run"
)

// A filter judges what the node outside sends, and remembers for that what the one inside has sent.
type filter struct {
	g            *Gate
	outer, inner string
	flags        dist.Flags
	known        *acquaintance

	mu     sync.Mutex
	refs   map[ei.Ref]ei.Pid // monitors and requests of the node inside, and who waits for the answer
	asked  map[ei.Ref]ei.Pid // tags of requests inside that are no monitors: gen_server:multi_call's
	talked map[ei.Pid]bool   // processes inside that have sent something
}

// maxRemembered bounds what a filter remembers of one kind.
const maxRemembered = 1 << 20

// A verdict is what becomes of a message.
type verdict struct {
	refused bool
	answer  []byte // frames for who has sent it
	d       Decision
}

var (
	errForged  = errors.New("gate: a message in the name of another node")
	errStrange = errors.New("gate: a control message that no node sends through a gate")
)

// learn remembers what the node inside asks. payload may be the beginning of one.
func (f *filter) learn(ctl *dist.Control, payload ei.Raw) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch ctl.Op.Base() {
	case dist.OpMonitorP:
		remember(&f.refs, ctl.Ref, ctl.From)
	case dist.OpSpawnRequest:
		remember(&f.refs, ctl.Ref, ctl.From) // until the SPAWN_REPLY, or the end of what is monitored
		f.hasTalked(ctl.From)
	case dist.OpDemonitorP:
		delete(f.refs, ctl.Ref)
	case dist.OpSendSender, dist.OpRegSend, dist.OpAliasSend, dist.OpAltactSigSend:
		if !isAnswer(payload) { // else whoever is asked would have talked: net_kernel, by a ping
			f.hasTalked(ctl.From)
		}
		c := ei.NewCursor(payload)
		if n, err := c.Tuple(); err != nil || n != 3 || !c.AtomIs("$gen_call") {
			return
		}
		if n, err := c.Tuple(); err != nil || n != 2 {
			return
		}
		if p, err := c.Pid(); err == nil {
			if t, ok := readTag(&c); ok && f.refs[t.monitor] != p {
				remember(&f.asked, t.monitor, p)
			}
		}
	case dist.OpLink:
		f.hasTalked(ctl.From)
	}
}

// isAnswer tells whether a message is {Tag, Reply}.
func isAnswer(payload ei.Raw) bool {
	c := ei.NewCursor(payload)
	n, err := c.Tuple()
	if err != nil || n != 2 {
		return false
	}
	_, ok := readTag(&c)
	return ok
}

// hasTalked remembers a process inside; f.mu is locked.
func (f *filter) hasTalked(p ei.Pid) {
	if string(p.Node) == f.inner {
		remember(&f.talked, p, true)
	}
}

// remember puts something in, and forgets something else where there is too much.
func remember[K comparable, V any](m *map[K]V, key K, v V) {
	if *m == nil {
		*m = map[K]V{}
	}
	if len(*m) >= maxRemembered {
		for other := range *m {
			delete(*m, other)
			break
		}
	}
	(*m)[key] = v
}

// judge decides about a whole message of the node outside. An error ends the connection. The atoms
// of what is refused do not count: the node inside never sees them.
func (f *filter) judge(ctl *dist.Control, payload ei.Raw) (verdict, error) {
	v, err := f.decide(ctl, payload)
	if err != nil || v.refused {
		return v, err
	}
	if err := f.admit(ctl, payload); err != nil {
		d := Request{Peer: f.outer, Target: target(ctl)}.always(false, err.Error())
		f.g.logRefusal(d)
		return f.refuse(ctl, payload, d)
	}
	return v, nil
}

// tells tells whether the first piece of a message has all that decide asks: of a function that is
// to run the number of arguments counts, of a group leader's the whole request, and of a message
// more than a few bytes.
func (f *filter) tells(ctl *dist.Control, piece ei.Raw) bool {
	return ctl.Op.Base() != dist.OpSpawnRequest && ctl.ToName != "rex" && len(piece) >= enoughToTell && !isIORequest(piece)
}

// enoughToTell is more than the beginning of a request takes, whatever the names of nodes.
const enoughToTell = 8 << 10

// decide asks the rules.
func (f *filter) decide(ctl *dist.Control, payload ei.Raw) (verdict, error) {
	if err := f.checkNodes(ctl); err != nil {
		return verdict{}, err
	}
	c := ei.NewCursor(payload)
	op := ctl.Op.Base()
	switch {
	case op == dist.OpAltactSigSend && ctl.Flags&dist.AltactExit != 0:
		op = dist.OpExit2
	case op == dist.OpAltactSigSend:
		op = dist.OpSendSender
	}
	switch op {
	case dist.OpSend, dist.OpSendSender, dist.OpRegSend, dist.OpAliasSend:
		return f.decided(ctl, payload, f.message(ctl, c))
	case dist.OpMonitorP:
		if ctl.ToName == "net_kernel" || ctl.ToName == "rex" { // who pings, or calls functions, watches these
			return verdict{}, nil
		}
		return f.decided(ctl, payload, f.monitor(ctl))
	case dist.OpLink:
		return f.decided(ctl, payload, f.process(permit.Link, ctl))
	case dist.OpExit2, dist.OpPayloadExit2:
		return f.decided(ctl, payload, f.process(permit.Exit, ctl))
	case dist.OpGroupLeader:
		return f.decided(ctl, payload, f.process(permit.Leader, ctl))
	case dist.OpSpawnRequest:
		return f.decided(ctl, payload, f.spawn(ctl, c))
	case dist.OpMonitorPExit, dist.OpPayloadMonitorPExit:
		f.mu.Lock()
		delete(f.refs, ctl.Ref)
		f.mu.Unlock()
		return verdict{}, nil
	case dist.OpSpawnReply:
		if ctl.Flags&dist.SpawnMonitored == 0 {
			f.mu.Lock()
			delete(f.refs, ctl.Ref)
			f.mu.Unlock()
		}
		return verdict{}, nil
	case dist.OpDemonitorP, dist.OpExit, dist.OpPayloadExit, dist.OpUnlink, dist.OpUnlinkID, dist.OpUnlinkIDAck:
		return verdict{}, nil // a BEAM takes them for what it has itself begun, and drops the others
	}
	return verdict{}, fmt.Errorf("%w: %v", errStrange, ctl.Op)
}

func (f *filter) decided(ctl *dist.Control, payload ei.Raw, d Decision) (verdict, error) {
	f.g.observe(d)
	if d.Allowed || f.g.opts.Learn {
		return verdict{d: d}, nil
	}
	return f.refuse(ctl, payload, d)
}

// monitor decides about a monitor: whoever may send something to a process may watch it.
func (f *filter) monitor(ctl *dist.Control) Decision {
	d := f.process(permit.Request, ctl)
	if !d.Allowed {
		d = f.process(permit.Send, ctl)
	}
	if !d.Allowed {
		d.Op = permit.Send | permit.Request
	}
	return d
}

// checkNodes tells a message in another node's name. Node names are atoms, too.
func (f *filter) checkNodes(ctl *dist.Control) error {
	if ctl.From != (ei.Pid{}) && string(ctl.From.Node) != f.outer {
		return fmt.Errorf("%w: %v from %v", errForged, ctl.Op, ctl.From)
	}
	if ctl.To != (ei.Pid{}) && string(ctl.To.Node) != f.inner {
		return fmt.Errorf("%w: %v to %v", errForged, ctl.Op, ctl.To)
	}
	return nil
}

// admit checks that all terms of a message are well-formed, and counts their atoms.
func (f *filter) admit(ctl *dist.Control, payload ei.Raw) error {
	k := f.known
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, a := range []ei.Atom{ctl.FromName, ctl.ToName, ctl.Module, ctl.Function, ctl.GroupLeader.Node, ctl.Ref.Node} {
		if a != "" && !k.admit(string(a), f.g) {
			return errAtoms
		}
	}
	for _, raw := range []ei.Raw{ctl.Reason, ctl.Options, ctl.Result, payload} {
		if len(raw) == 0 {
			continue
		}
		full := false
		err := raw.WalkAtoms(func(atom ei.Raw) bool {
			full = !k.admitRaw(atom, f.g)
			return !full
		})
		if err != nil {
			return fmt.Errorf("no term that a BEAM reads: %w", err)
		}
		if full {
			return errAtoms
		}
	}
	return nil
}

var errAtoms = errors.New("too many atoms: Limits.Atoms, or Limits.AllAtoms")

// target names the process or function that a control message is for.
func target(ctl *dist.Control) string {
	switch {
	case ctl.ToName != "":
		return string(ctl.ToName)
	case ctl.To != (ei.Pid{}):
		return ctl.To.String()
	case ctl.Module != "":
		return fmt.Sprintf("%s:%s/%d", ctl.Module, ctl.Function, ctl.Arity)
	}
	return ctl.Ref.String()
}

// process decides about a process, which goes by its name, or by its pid and permit.Talked.
func (f *filter) process(op permit.Op, ctl *dist.Control) Decision {
	d := f.g.table().decide(Request{Peer: f.outer, Op: op, Target: target(ctl)})
	if !d.Allowed && ctl.ToName == "" {
		f.mu.Lock()
		talked := f.talked[ctl.To]
		f.mu.Unlock()
		if talked {
			if other := f.g.table().decide(Request{Peer: f.outer, Op: op, Target: permit.Talked}); other.Allowed {
				return other
			}
		}
	}
	return d
}

// function decides about a function; arity -1: the number of arguments is not known.
func (f *filter) function(op permit.Op, module, name ei.Atom, arity int) Decision {
	r := Request{Peer: f.outer, Op: op, Module: string(module), Name: string(name), Arity: arity}
	if r.Target = fmt.Sprintf("%s:%s/%d", module, name, arity); arity < 0 {
		r.Target = fmt.Sprintf("%s:%s", module, name)
	}
	return f.g.table().decide(r)
}

// message decides about a message.
func (f *filter) message(ctl *dist.Control, c ei.Cursor) Decision {
	r := Request{Peer: f.outer, Op: permit.Send, Target: target(ctl)}
	if ctl.ToName == "" && f.answers(ctl, c) {
		return r.always(true, "an answer")
	}
	kind := f.shape(c)
	switch {
	case ctl.ToName == "net_kernel" && kind == shapePing:
		return r.always(true, "net_adm:ping/1")
	case ctl.ToName == "net_kernel": // it spawns whatever it is asked to
		return r.always(false, onlyPings)
	case ctl.ToName == "rex":
		return f.rex(c)
	case kind == shapeSystem, kind == shapeForged:
		return r.always(false, kind)
	case kind == shapeIO && !f.plainIO(c):
		return r.always(false, runsFunction)
	case ctl.ToName == "" && (kind == shapeRequest && f.runs(c) || isOldRPC(c)): // it may be net_kernel, rex, a supervisor
		return r.always(false, runsFunction)
	case kind == shapeRequest || kind == shapePing:
		d := f.process(permit.Request, ctl)
		if d.Allowed || d.Rule >= 0 {
			return d
		}
		if other := f.process(permit.Send, ctl); other.Allowed || other.Rule >= 0 {
			return other
		}
		return d
	}
	return f.process(permit.Send, ctl)
}

// isOldRPC tells whether a message is {From, {call | send | sbcast…, …}}, which rex takes, too.
func isOldRPC(c ei.Cursor) bool {
	if n, err := c.Tuple(); err != nil || n != 2 {
		return false
	}
	if _, err := c.Pid(); err != nil {
		return false
	}
	if _, err := c.Tuple(); err != nil {
		return false
	}
	kind, err := c.Atom()
	return err == nil && (slices.Contains(rexRequests, kind) || kind == "send" || kind == "sbcast" || kind == "features_request")
}

// The kinds of messages.
const (
	shapePing    = "a ping"
	shapeRequest = "a request"
	shapeSystem  = "a system message"
	shapeForged  = "a request in another process's name"
	shapeIO      = "a request to a group leader"
	shapeOther   = "a message"
)

// shape looks at the beginning of a message. A request whose answer would go to somebody else than
// a process of the node outside is forged: the server would speak for it.
func (f *filter) shape(c ei.Cursor) string {
	n, err := c.Tuple()
	switch {
	case err != nil:
		return shapeOther
	case n == 2 && c.AtomIs("$gen_cast"):
		return shapeRequest
	case n == 3 && (c.AtomIs("system") || c.AtomIs("EXIT")):
		return shapeSystem
	case n == 4 && c.AtomIs("io_request"):
		return shapeIO
	case n != 3 || !c.AtomIs("$gen_call"):
		return shapeOther
	}
	if m, err := c.Tuple(); err != nil || m != 2 {
		return shapeForged
	}
	if p, err := c.Pid(); err != nil || string(p.Node) != f.outer {
		return shapeForged
	}
	rest := c
	if rest.Skip() != nil {
		return shapeForged
	}
	if t, ok := readTag(&c); !ok || string(t.monitor.Node) != f.outer || string(t.alias.Node) != f.outer {
		return shapeForged
	}
	if m, err := rest.Tuple(); err == nil && m == 2 && rest.AtomIs("is_auth") {
		if _, err := rest.Atom(); err == nil {
			return shapePing
		}
	}
	return shapeRequest
}

// isIORequest tells whether a message begins as a request to a group leader or a file does.
func isIORequest(payload ei.Raw) bool {
	c := ei.NewCursor(payload)
	n, err := c.Tuple()
	return err == nil && n == 4 && c.AtomIs("io_request")
}

// plainIO tells whether {io_request, From, ReplyAs, Request} has the server run no function, as
// {put_chars, unicode, M, F, A} does, and answer to a process of the peer.
func (f *filter) plainIO(c ei.Cursor) bool {
	if n, err := c.Tuple(); err != nil || n != 4 || !c.AtomIs("io_request") {
		return false
	}
	if p, err := c.Pid(); err != nil || string(p.Node) != f.outer || c.Skip() != nil {
		return false
	}
	if a := c; a.AtomIs("getopts") {
		return true
	}
	n, err := c.Tuple()
	if err != nil {
		return false
	}
	for request, arity := range map[ei.Atom][2]int{
		"put_chars": {2, 3}, "get_line": {2, 3}, "get_chars": {3, 4}, "get_password": {2, 2}, "get_geometry": {2, 2},
	} {
		if c := c; c.AtomIs(request) {
			return n == arity[0] || n == arity[1]
		}
	}
	return false // get_until, requests, setopts with its expand_fun, and what is not known
}

// runs tells whether a request, of which shape knows the form, is such as rex, net_kernel and
// supervisors run functions by: {call | cast | block_call | block_cast, M, F, A, …}, {spawn…, …},
// {start_child | start_task, …}.
func (f *filter) runs(c ei.Cursor) bool {
	body(&c)
	n, err := c.Tuple()
	if err != nil || n < 2 {
		return false
	}
	kind, err := c.Atom()
	switch {
	case err != nil:
		return false
	case strings.HasPrefix(string(kind), "spawn"), kind == "start_child", kind == "start_task":
		return true
	case n < 4 || !slices.Contains(rexRequests, kind):
		return false
	}
	_, isModule := c.Atom()
	_, isFunction := c.Atom()
	return isModule == nil && isFunction == nil
}

// rexRequests are those of rpc.
var rexRequests = []ei.Atom{"call", "block_call", "cast", "block_cast"}

// body passes all of a request but what is asked. shape has read it.
func body(c *ei.Cursor) {
	n, _ := c.Tuple()
	for range n - 1 {
		_ = c.Skip()
	}
}

// A tag is that of a request: the monitor by which the caller waits, and where the answer goes,
// which are the same reference but for gen_server:multi_call.
type tag struct{ monitor, alias ei.Ref }

// readTag reads a tag: Ref, [alias | Ref], {Ref, Node}, or multi_call's [[alias | Alias] | Ref].
func readTag(c *ei.Cursor) (t tag, ok bool) {
	begin, _ := c.Peek()
	switch {
	case begin.IsTuple():
		n, err := c.Tuple()
		if err != nil || n != 2 {
			return t, false
		}
		t.monitor, err = c.Ref()
		_, e := c.Atom()
		t.alias = t.monitor
		return t, err == nil && e == nil
	case begin != ei.TagListExt:
		var err error
		t.monitor, err = c.Ref()
		t.alias = t.monitor
		return t, err == nil
	}
	if n, err := c.List(); err != nil || n != 1 {
		return t, false
	}
	if inner, _ := c.Peek(); inner == ei.TagListExt {
		if n, err := c.List(); err != nil || n != 1 || !c.AtomIs("alias") {
			return t, false
		}
		var err error
		if t.alias, err = c.Ref(); err != nil {
			return t, false
		}
		t.monitor, err = c.Ref()
		return t, err == nil
	}
	if !c.AtomIs("alias") {
		return t, false
	}
	var err error
	t.monitor, err = c.Ref()
	t.alias = t.monitor
	return t, err == nil
}

// answers tells whether a message is {Tag, Reply}, or a group leader's {io_reply, Tag, Reply}, to a
// process inside that waits for it.
func (f *filter) answers(ctl *dist.Control, c ei.Cursor) bool {
	if n, err := c.Tuple(); err != nil || n != 2 && (n != 3 || !c.AtomIs("io_reply")) {
		return false
	}
	t, ok := readTag(&c)
	if !ok {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	owner, ok := f.refs[t.monitor]
	if !ok {
		if owner, ok = f.asked[t.monitor]; ok {
			delete(f.asked, t.monitor)
		}
	}
	return ok && (ctl.To == owner || ctl.To == ei.Pid{} && ctl.Ref == t.alias)
}

// asks gives the monitor of a request, {_, {From, Tag}, _}, of the node outside.
func (f *filter) asks(payload ei.Raw) (ei.Ref, bool) {
	c := ei.NewCursor(payload)
	if n, err := c.Tuple(); err != nil || n != 3 || c.Skip() != nil {
		return ei.Ref{}, false
	}
	if n, err := c.Tuple(); err != nil || n != 2 || c.Skip() != nil {
		return ei.Ref{}, false
	}
	t, ok := readTag(&c)
	return t.monitor, ok && string(t.monitor.Node) == f.outer
}

// spawn decides about a SPAWN_REQUEST; erpc's are calls of what they run.
func (f *filter) spawn(ctl *dist.Control, c ei.Cursor) Decision {
	m, name := ctl.Module, ctl.Function
	f.mu.Lock()
	ownLeader := string(ctl.GroupLeader.Node) == f.outer || f.talked[ctl.GroupLeader]
	f.mu.Unlock()
	if !ownLeader { // what the function prints would go to a process that the peer may not send to
		return f.function(permit.Spawn, m, name, length(&c)).always(false, "a group leader of another node")
	}
	if !plain(ctl.Options) { // the sizes of heaps, say, of which a BEAM dies
		return f.function(permit.Spawn, m, name, length(&c)).always(false, "options other than link, monitor and reply")
	}
	want := map[ei.Atom]int{"execute_call": 4, "execute_cast": 3}[name]
	if m != "erpc" || want == 0 {
		return f.function(permit.Spawn, m, name, length(&c))
	}
	strange := f.function(permit.Call, m, name, -1).always(false, "arguments that erpc does not make")
	n, err := c.List()
	if err != nil || n != want {
		return strange
	}
	if want == 4 {
		if _, err := c.Ref(); err != nil {
			return strange
		}
	}
	if m, err = c.Atom(); err == nil {
		name, err = c.Atom()
	}
	arity := length(&c)
	if err != nil || arity < 0 || c.Nil() != nil {
		return strange
	}
	return f.function(permit.Call, m, name, arity)
}

// plain tells whether the options of a request to spawn are such as erpc's: none but those of
// links, monitors and replies. Others set priorities and the like.
func plain(options ei.Raw) bool {
	c := ei.NewCursor(options)
	for {
		n, err := c.List()
		if err != nil || n == 0 {
			return err == nil
		}
		for range n {
			t, _ := c.Peek()
			if t.IsTuple() {
				if m, err := c.Tuple(); err != nil || m != 2 {
					return false
				}
			}
			key, err := c.Atom()
			if err != nil || !slices.Contains([]ei.Atom{"link", "monitor", "reply", "reply_tag"}, key) || t.IsTuple() && c.Skip() != nil {
				return false
			}
		}
	}
}

// rex decides about what rpc of old asks: {'$gen_call', From, {call | block_call, M, F, A, Leader}}
// and {'$gen_cast', {cast | block_cast, M, F, A, Leader}}.
func (f *filter) rex(c ei.Cursor) Decision {
	strange := Request{Peer: f.outer, Op: permit.Send, Target: "rex"}.always(false, noRPC)
	if f.shape(c) != shapeRequest {
		return strange
	}
	body(&c)
	if n, err := c.Tuple(); err != nil || n != 5 {
		return strange
	}
	if kind, err := c.Atom(); err != nil || !slices.Contains(rexRequests, kind) {
		return strange
	}
	m, err := c.Atom()
	if err != nil {
		return strange
	}
	name, err := c.Atom()
	if err != nil {
		return strange
	}
	arity := length(&c)
	if arity < 0 {
		return strange
	}
	// What the function prints goes to the peer's own node, or is the node's own (ei_rpc says user).
	if leader, err := c.Pid(); err == nil && string(leader.Node) != f.outer || err != nil && !c.AtomIs("user") {
		return strange
	}
	return f.function(permit.Call, m, name, arity)
}

// length passes a proper list, in whatever pieces it comes, and gives its length; -1: it is none.
func length(c *ei.Cursor) int {
	for total := 0; ; {
		switch t, _ := c.Peek(); t {
		case ei.TagStringExt:
			s, err := c.Str()
			if err != nil {
				return -1
			}
			return total + len(s)
		case ei.TagNilExt:
			if c.Nil() != nil {
				return -1
			}
			return total
		case ei.TagListExt:
			n, err := c.List()
			if err != nil {
				return -1
			}
			for range n {
				if c.Skip() != nil {
					return -1
				}
			}
			total += n
		default:
			return -1
		}
	}
}

// refuse makes the answer that a refused message gets.
func (f *filter) refuse(ctl *dist.Control, payload ei.Raw, d Decision) (verdict, error) {
	v := verdict{refused: true, d: d}
	var answer *dist.Control
	reason := ei.Atom("noproc")
	switch ctl.Op.Base() {
	case dist.OpSend, dist.OpSendSender, dist.OpRegSend, dist.OpAliasSend, dist.OpAltactSigSend:
		if isIORequest(payload) {
			var err error
			v.answer, err = f.refuseIO(ei.NewCursor(payload))
			return v, err
		}
		if ref, ok := f.asks(payload); ok {
			reason = "eacces"
			answer = &dist.Control{Op: dist.OpMonitorPExit, From: ctl.To, FromName: ctl.ToName, To: ctl.From, Ref: ref}
			if answer.From == (ei.Pid{}) && answer.FromName == "" { // it was for an alias
				answer = nil
			}
		}
	case dist.OpMonitorP:
		answer = &dist.Control{Op: dist.OpMonitorPExit, From: ctl.To, FromName: ctl.ToName, To: ctl.From, Ref: ctl.Ref}
	case dist.OpLink:
		answer = &dist.Control{Op: dist.OpExit, From: ctl.To, To: ctl.From}
	case dist.OpSpawnRequest:
		result, err := ei.AppendAtom(nil, "eacces")
		if err != nil {
			return v, err
		}
		answer = &dist.Control{Op: dist.OpSpawnReply, Ref: ctl.Ref, To: ctl.From, Result: result}
	}
	if answer == nil || answer.To == (ei.Pid{}) {
		return v, nil
	}
	var body ei.Raw
	if answer.Op != dist.OpSpawnReply {
		raw, err := ei.AppendAtom(nil, reason)
		if err != nil {
			return v, err
		}
		switch {
		case !f.flags.Has(dist.FlagExitPayload):
			answer.Reason = raw
		case answer.Op == dist.OpExit:
			answer.Op, body = dist.OpPayloadExit, raw
		default:
			answer.Op, body = dist.OpPayloadMonitorPExit, raw
		}
	}
	b, err := dist.AppendFrameHead(nil, f.flags, answer, len(body))
	v.answer = append(b, body...)
	return v, err
}

// refuseIO answers {io_request, From, ReplyAs, _}, for whose answer io:format waits for ever.
func (f *filter) refuseIO(c ei.Cursor) ([]byte, error) {
	_, _ = c.Tuple()
	_ = c.Skip()
	from, err := c.Pid()
	if err != nil || string(from.Node) != f.outer {
		return nil, nil
	}
	as, err := c.Raw()
	if err != nil {
		return nil, nil
	}
	body, err := ei.AppendTerm(nil, ei.Tuple{ei.Atom("io_reply"), as, ei.Tuple{ei.Atom("error"), ei.Atom("request")}})
	if err != nil {
		return nil, err
	}
	b, err := dist.AppendFrameHead(nil, f.flags, &dist.Control{Op: dist.OpSend, To: from}, len(body))
	return append(b, body...), err
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
