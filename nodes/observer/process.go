package observer

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/asker"
	"github.com/cnode-go/cnode/nodes/introspect"
)

// A known is a node that this one knows, and what it is to this one: this, visible or hidden.
type known struct {
	name, kind ei.Atom
	conn       *nodes.Conn // nil: this node
}

// known lists the nodes of a kind, or of several, as erlang:nodes/1 has them.
func (b *observer) known(kind ei.Term) (list []known, err error) {
	kinds, ok := ei.Elements(kind)
	if !ok {
		kinds = []ei.Term{kind}
	}
	for _, k := range kinds {
		if !slices.Contains([]ei.Term{ei.Atom("this"), ei.Atom("visible"), ei.Atom("hidden"), ei.Atom("connected"), ei.Atom("known")}, k) {
			return nil, badarg
		}
	}
	add := func(x known, as ...ei.Term) {
		if slices.ContainsFunc(append(as, x.kind, ei.Atom("known")), func(k ei.Term) bool { return slices.Contains(kinds, k) }) {
			list = append(list, x)
		}
	}
	add(known{ei.Atom(b.n.Name()), "this", nil})
	for _, p := range b.n.Stats().Peers {
		c := b.n.Conn(p.Name)
		if c == nil {
			continue
		}
		of := ei.Atom("hidden")
		if c.Peer().Flags.Has(dist.FlagPublished) {
			of = "visible"
		}
		add(known{ei.Atom(p.Name), of, c}, ei.Atom("connected"))
	}
	return list, nil
}

func (b *observer) nodes(kind ei.Term) (ei.List, error) {
	list := ei.List{}
	all, err := b.known(kind)
	for _, x := range all {
		list = append(list, x.name)
	}
	return list, err
}

// nodesInfo is erlang:nodes/2: [{Node, Info}], where Info is a map of what the options ask for.
func (b *observer) nodesInfo(kind ei.Term, options map[ei.Atom]bool) (ei.List, error) {
	for option := range options {
		if option != "connection_id" && option != "node_type" {
			return nil, badarg
		}
	}
	list := ei.List{}
	all, err := b.known(kind)
	for _, x := range all {
		info := ei.Map{}
		if options["node_type"] {
			info = append(info, ei.Pair{Key: ei.Atom("node_type"), Value: x.kind})
		}
		if options["connection_id"] {
			id := ei.Term(ei.Atom("undefined"))
			if x.conn != nil {
				id = ei.Int(x.conn.Self().ID)
			}
			info = append(info, ei.Pair{Key: ei.Atom("connection_id"), Value: id})
		}
		list = append(list, ei.Tuple{x.name, info})
	}
	return list, err
}

func (b *observer) processes() ei.List {
	list := ei.List{}
	for p := range b.n.Processes() {
		list = append(list, p.Pid)
	}
	slices.SortFunc(list, func(x, y ei.Term) int { return x.(ei.Pid).Compare(y.(ei.Pid)) })
	return list
}

func (b *observer) registered() ei.List {
	list := ei.List{}
	for p := range b.n.Processes() {
		for _, name := range p.Names {
			list = append(list, name)
		}
	}
	return list
}

func (b *observer) whereis(ctx context.Context, name, none ei.Atom) ei.Term {
	if pid, err := b.n.Lookup(ctx, string(name)); err == nil {
		return pid
	}
	return none
}

// A looked is a process that is looked at, and its stack, once somebody has asked for it.
type looked struct {
	introspect.Details
	frames  ei.List
	isKnown bool
}

// process finds a process; false: it has ended. A pid of another node is badarg, as in Erlang.
func (b *observer) process(pid ei.Pid) (d looked, ok bool, err error) {
	if string(pid.Node) != b.n.Name() {
		return d, false, badarg
	}
	d.Details, ok = b.n.Process(pid)
	return d, ok, nil
}

func (b *observer) isAlive(pid ei.Pid) (bool, error) {
	_, ok, err := b.process(pid)
	return ok, err
}

func (b *observer) labelOf(pid ei.Pid) (ei.Term, error) {
	d, ok, err := b.process(pid)
	if !ok || d.Label == nil {
		return ei.Atom("undefined"), err
	}
	return d.Label, nil
}

// initialCall is for Observer, which asks the module for its behaviour, and then the process for
// its state; the answer for those that have none is what a process without them has.
func (b *observer) initialCall(pid ei.Pid) (ei.Term, error) {
	d, ok, err := b.process(pid)
	switch {
	case !ok:
		return ei.Atom("undefined"), err
	case d.Kind == introspect.KindServer:
		return mfa("nodes", "server", 0), nil
	}
	return mfa("proc_lib", "init_p", 5), nil
}

// allItems are the items of process_info/1.
var allItems = []ei.Term{
	ei.Atom("registered_name"), ei.Atom("current_function"), ei.Atom("initial_call"), ei.Atom("status"), ei.Atom("message_queue_len"),
	ei.Atom("links"), ei.Atom("dictionary"), ei.Atom("trap_exit"), ei.Atom("error_handler"), ei.Atom("priority"), ei.Atom("group_leader"),
	ei.Atom("total_heap_size"), ei.Atom("heap_size"), ei.Atom("stack_size"), ei.Atom("reductions"), ei.Atom("garbage_collection"),
	ei.Atom("suspending"),
}

// processInfo is process_info/2, and with nil process_info/1.
func (b *observer) processInfo(pid ei.Pid, items ei.Term) (ei.Term, error) {
	d, ok, err := b.process(pid)
	keys, isList := allItems, true
	if items != nil {
		keys, isList = ei.Elements(items)
	}
	if !isList {
		keys = []ei.Term{items}
	}
	if !ok {
		for _, key := range keys {
			if err == nil && b.item(&d, key) == nil {
				err = badarg
			}
		}
		return ei.Atom("undefined"), err
	}
	list := ei.List{}
	for _, key := range keys {
		v := b.item(&d, key)
		switch {
		case v == nil:
			return nil, badarg
		case key == ei.Atom("registered_name") && len(d.Names) == 0 && items == nil:
		case key == ei.Atom("registered_name") && len(d.Names) == 0 && !isList:
			return ei.List{}, nil
		default:
			list = append(list, ei.Tuple{key, v})
		}
	}
	if !isList {
		return list[0], nil
	}
	return list, nil
}

// runs is the function that made the process, as far as it can be said.
func runs(d *introspect.Process) introspect.MFA {
	if d.Runs.Function == "" {
		return introspect.MFA{Module: "nodes", Function: ei.Atom(d.Kind.String())}
	}
	return d.Runs
}

// current is the function that the process is in.
func current(d *introspect.Process) introspect.MFA {
	if d.Running {
		return runs(d)
	}
	return introspect.MFA{Module: "nodes", Function: "waiting"}
}

func term(f introspect.MFA) ei.Tuple { return ei.Tuple{f.Module, f.Function, ei.Int(f.Arity)} }

// heapSize is what a process has as its heap besides its unread messages, in bytes: about.
const heapSize = 1 << 10

// item is a value of process_info/2; nil: there is no such item.
func (b *observer) item(d *looked, key ei.Term) ei.Term {
	if of, ok := key.(ei.Tuple); ok && len(of) == 2 && of[0] == ei.Atom("dictionary") {
		for _, p := range b.dictionary(d) {
			if ei.Compare(p.(ei.Tuple)[0], of[1]) == 0 {
				return p.(ei.Tuple)[1]
			}
		}
		return ei.Atom("undefined")
	}
	name, _ := key.(ei.Atom)
	switch name {
	case "registered_name":
		if len(d.Names) == 0 {
			return ei.List{}
		}
		return d.Names[0]
	case "initial_call":
		return term(runs(&d.Process))
	case "current_function": // asked of all processes at once: a stack would be a profile for each
		return term(current(&d.Process))
	case "current_location":
		if s := b.stack(d); len(s) > 0 {
			return s[0]
		}
		return append(term(current(&d.Process)), ei.List{})
	case "current_stacktrace":
		return b.stack(d)
	case "status":
		switch {
		case d.Suspended:
			return ei.Atom("suspended")
		case d.Running:
			return ei.Atom("running")
		}
		return ei.Atom("waiting")
	case "message_queue_len":
		return ei.Int(d.Queue)
	case "messages":
		return terms(d.Messages)
	case "links":
		return terms(d.LinkedWith)
	case "monitored_by":
		return terms(d.Watchers)
	case "monitors":
		list := ei.List{}
		for _, t := range d.Monitoring {
			if t.Name != "" {
				list = append(list, pair("process", ei.Tuple{t.Name, ei.Atom(t.Node)}))
			} else {
				list = append(list, pair("process", t.Pid))
			}
		}
		return list
	case "dictionary":
		return b.dictionary(d)
	case "parent":
		if d.Parent == (ei.Pid{}) {
			return ei.Atom("undefined")
		}
		return d.Parent
	case "label":
		if d.Label == nil {
			return ei.Atom("undefined")
		}
		return d.Label
	case "group_leader":
		if leader, ok := d.GroupLeader.(ei.Pid); ok {
			return leader
		}
		for _, name := range []string{"user", "net_kernel"} {
			if p := b.n.Whereis(name); p != nil {
				return p.Pid()
			}
		}
		return d.Pid
	case "memory":
		return ei.Int(d.Memory())
	case "total_heap_size":
		return ei.Int(d.Memory() / wordSize)
	case "heap_size":
		return ei.Int((heapSize + d.QueueBytes) / wordSize)
	case "stack_size":
		return ei.Int((d.Memory() - heapSize - d.QueueBytes) / wordSize)
	case "reductions":
		return ei.Int(d.Handled)
	case "trap_exit":
		return bool2atom(d.TrapExit)
	case "garbage_collection":
		return ei.List{pair("max_heap_size", ei.Int(0)), pair("min_bin_vheap_size", ei.Int(0)), pair("min_heap_size", ei.Int(0)),
			pair("fullsweep_after", ei.Int(0)), pair("minor_gcs", ei.Int(0))}
	case "error_handler":
		return ei.Atom("undefined")
	case "priority":
		return ei.Atom("normal")
	case "message_queue_data":
		return ei.Atom("off_heap")
	case "catchlevel", "trace", "min_heap_size", "min_bin_vheap_size", "fullsweep_after":
		return ei.Int(0)
	case "last_calls", "async_dist", "priority_messages":
		return ei.Atom("false")
	case "binary", "suspending", "sequential_trace_token", "garbage_collection_info":
		return ei.List{}
	case "backtrace":
		return ei.Binary("")
	}
	return nil
}

func terms[T ei.Term](of []T) ei.List {
	list := make(ei.List, len(of))
	for i, t := range of {
		list[i] = t
	}
	return list
}

// dictionary is what proc_lib and its kin leave there.
func (b *observer) dictionary(d *looked) ei.List {
	list := ei.List{}
	if d.Parent != (ei.Pid{}) {
		list = append(list, pair("$ancestors", ei.List{d.Parent}))
	}
	if d.Label != nil {
		list = append(list, pair("$process_label", d.Label))
	}
	return list
}

func orNil(v ei.Term, err error) (ei.Term, error) {
	if v == ei.Atom("undefined") {
		v = ei.Atom("nil")
	}
	return v, err
}

func (b *observer) elixirInfo(pid ei.Pid, items ei.Term) (ei.Term, error) {
	v, err := orNil(b.processInfo(pid, items))
	if list, ok := v.(ei.List); ok && len(list) == 0 && items == ei.Atom("registered_name") {
		v = ei.Tuple{items, list}
	}
	return v, err
}

// sys asks a process of this node as module sys does.
func (b *observer) sys(ctx context.Context, request ei.Atom, to, timeout ei.Term) (ei.Term, error) {
	pid, ok := to.(ei.Pid)
	if name, isName := to.(ei.Atom); isName {
		if p := b.n.Whereis(string(name)); p != nil {
			pid, ok = p.Pid(), true
		}
	}
	call := ei.Tuple{ei.Atom("sys"), request, ei.List{to, timeout}}
	exit := func(reason ei.Atom) error {
		return &nodes.Raise{Class: nodes.ClassExit, Reason: ei.Tuple{reason, call}}
	}
	if !ok || string(pid.Node) != b.n.Name() {
		return nil, exit("noproc")
	}
	// A Server answers by itself. Others would get a message.
	if d, _ := b.n.Process(pid); d.Kind != introspect.KindServer && !asker.MaySend(b.n, nodes.ConnOf(ctx), pid) {
		return nil, exit("noproc")
	}
	if ms, ok := timeout.(ei.Int); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(max(ms, 0))*time.Millisecond)
		defer cancel()
	}
	self := nodes.MailboxOf(ctx)
	ref, err := self.Monitor(ctx, pid)
	if err == nil {
		err = self.Send(ctx, pid, ei.Tuple{ei.Atom("system"), ei.Tuple{self.Pid(), ref}, request})
	}
	for err == nil {
		m, err := self.Receive(ctx)
		if err != nil {
			break
		}
		if m.Ref == ref && m.Payload == nil {
			return nil, exit("noproc")
		}
		var answer struct {
			_   struct{} `ei:"tuple"`
			Ref ei.Ref
			Of  ei.Term
		}
		if m.Payload.Unmarshal(&answer) != nil || answer.Ref != ref {
			continue
		}
		state, ok := answer.Of.(ei.Tuple)
		switch {
		case request == "get_state" && ok && len(state) == 2 && state[0] == ei.Atom("ok"):
			return state[1], nil
		case ok && len(state) == 2 && state[0] == ei.Atom("error"):
			return nil, &nodes.Raise{Class: nodes.ClassError, Reason: state[1]}
		}
		return answer.Of, nil
	}
	return nil, exit("timeout")
}

// text is a label, say, as text.
func text(raw ei.Raw) string {
	t, err := raw.Decode()
	if err != nil {
		return ""
	}
	switch t := t.(type) {
	case ei.Binary:
		return strings.ToValidUTF8(string(t), "?")
	case ei.String:
		return t.String()
	}
	return ei.Brief(t, 200)
}
