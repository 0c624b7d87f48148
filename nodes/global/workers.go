package global

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// In a node with workers each has a global_name_server, for the peers whose connections it has.
// One of them is the owner, which decides; it has the name cnode_global, too, which is unique in
// the node. The others pass on to it what peers send, and which nodes come and go, in order; they
// have a copy of its tables. When the owner ends, one of them goes on from its copy.
//
// They say {cnode_global, Sender, What, …} to each other:
//
//	{sub, [Node]}            to the owner: the sender is there, with connections to these nodes
//	{up | down, Node}        to the owner
//	{peer, Node, Number, T}  to the owner: the node has sent T; with a Number above 0, T is a call
//	{table, Tables}          from the owner, in answer to sub
//	{name | lock | known, Key, Entry | none}  from the owner: a change to a table
//	{done, Number}           from the owner: the call has been dealt with
//	{disconnect, Node}       from the owner

const (
	grace      = 3 * time.Second // until a node whose connection no worker has is taken for lost
	maxBacklog = 10_000
)

// A role is what this process is among the workers of the node.
type role struct {
	owner   bool
	clients map[ei.Pid]ei.Ref // the owner's: the other workers, and their monitors

	at       ei.Pid // the owner, if it is another one
	ref      ei.Ref // its monitor
	electing bool
	mine     map[string]bool    // the nodes whose connections this worker has
	backlog  []ei.Tuple         // while there is no owner
	calls    map[int64]ei.Tuple // those that the owner has not dealt with
	last     int64
}

type changeKind ei.Atom

const (
	changedName  changeKind = "name"
	changedLock  changeKind = "lock"
	changedKnown changeKind = "known"
)

func (g *Global) tellWorker(to ei.Pid, elems ...ei.Term) {
	t := append(ei.Tuple{ei.Atom(ownerName), g.box.Load().Pid()}, elems...)
	if raw, err := ei.AppendTerm(nil, t); err == nil {
		g.post(letter{node: g.n.Name(), pid: to, payload: raw})
	}
}

// tellOwner tells the owner, once there is one.
func (g *Global) tellOwner(elems ...ei.Term) {
	if g.role.at != (ei.Pid{}) {
		g.tellWorker(g.role.at, elems...)
		return
	}
	if len(g.role.backlog) < maxBacklog {
		g.role.backlog = append(g.role.backlog, elems)
	}
	g.elect()
}

func (g *Global) nodeup(node string, by ei.Pid) {
	if g.role.owner {
		g.core.nodeup(node, by)
		return
	}
	if g.role.mine == nil {
		g.role.mine = map[string]bool{}
	}
	if g.role.mine[node] = true; g.role.at != (ei.Pid{}) {
		g.tellOwner(ei.Atom("up"), ei.Atom(node))
	} else {
		g.elect() // sub has the node
	}
}

func (g *Global) nodedown(node string, by ei.Pid) {
	if g.role.owner {
		g.core.nodedown(node, by)
		return
	}
	delete(g.role.mine, node)
	g.tellOwner(ei.Atom("down"), ei.Atom(node))
}

// fromPeer handles what a peer sends, or a process of this node that calls.
func (g *Global) fromPeer(from string, t ei.Term) {
	if g.role.owner {
		g.core.message(from, t)
		return
	}
	m, ok := t.(ei.Tuple)
	if !ok || len(m) == 0 {
		return
	}
	number := int64(0)
	forward := ei.Tuple{ei.Atom("peer"), ei.Atom(from), ei.Int(0), t}
	if tagOf(m) == "$gen_call" {
		if len(g.role.calls) >= maxBacklog {
			return
		}
		g.role.last++
		number = g.role.last
		forward[2] = ei.Int(number)
		if g.role.calls == nil {
			g.role.calls = map[int64]ei.Tuple{}
		}
		g.role.calls[number] = forward
		if g.role.at == (ei.Pid{}) {
			g.elect() // and then all calls are passed on
			return
		}
	}
	g.tellOwner(forward...)
}

// elect makes this process the owner, or finds the one that is.
func (g *Global) elect() {
	if g.role.electing || g.role.owner {
		return
	}
	g.role.electing = true
	go func() {
		for g.n.Err() == nil {
			box := g.box.Load()
			err := g.n.Register(ownerName, box)
			if err == nil {
				g.push(g.becomeOwner)
				return
			}
			if !errors.Is(err, nodes.ErrNameTaken) {
				g.log.Debug("global: not the owner", "error", err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), answerTime)
			pid, err := g.n.Lookup(ctx, ownerName)
			var ref ei.Ref
			if err == nil {
				ref, err = box.Monitor(ctx, pid)
			}
			cancel()
			if err == nil {
				g.push(func() { g.subscribe(pid, ref) })
				return
			}
			select {
			case <-g.n.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
}

// becomeOwner goes on from the copy of the tables that this process has.
func (g *Global) becomeOwner() {
	r := &g.role
	r.owner, r.electing, r.at = true, false, ei.Pid{}
	g.core.synced = map[string]bool{}
	for n := range g.core.known {
		g.core.synced[n] = true
	}
	g.core.watchAgain()
	me := g.box.Load().Pid()
	for _, node := range slices.Sorted(maps.Keys(r.mine)) {
		g.core.nodeup(node, me)
	}
	for _, m := range r.backlog {
		g.fromWorker(append(ei.Tuple{ei.Atom(ownerName), me}, m...))
	}
	for _, number := range slices.Sorted(maps.Keys(r.calls)) {
		m := r.calls[number]
		from, _ := m[1].(ei.Atom)
		g.core.message(string(from), m[3])
	}
	r.mine, r.backlog, r.calls = nil, nil, nil
	time.AfterFunc(grace, func() {
		if g.n.Err() == nil {
			g.push(g.dropLost)
		}
	})
}

// dropLost takes nodes for lost whose connections the owner before had.
func (g *Global) dropLost() {
	for _, node := range slices.Sorted(maps.Keys(g.core.known)) {
		g.core.unreachable(node)
	}
}

func (g *Global) subscribe(to ei.Pid, ref ei.Ref) {
	r := &g.role
	r.at, r.ref, r.electing = to, ref, false
	g.tellOwner(ei.Atom("sub"), atoms(slices.Sorted(maps.Keys(r.mine))))
	for _, m := range r.backlog {
		g.tellOwner(m...)
	}
	r.backlog = nil
	for _, number := range slices.Sorted(maps.Keys(r.calls)) {
		g.tellOwner(r.calls[number]...)
	}
}

// workerDown tells whether a monitor was that of another worker.
func (g *Global) workerDown(ref ei.Ref) bool {
	r := &g.role
	if ref == r.ref && ref.Len > 0 {
		r.at, r.ref = ei.Pid{}, ei.Ref{}
		g.elect()
		return true
	}
	for pid, of := range r.clients {
		if of == ref {
			delete(r.clients, pid)
			for node, by := range maps.Clone(g.core.up) {
				if by == pid {
					g.core.nodedown(node, pid)
				}
			}
			return true
		}
	}
	return false
}

// fromWorker handles what another worker says.
func (g *Global) fromWorker(m ei.Tuple) {
	sender, ok := m[1].(ei.Pid)
	if !ok {
		return
	}
	what, _ := m[2].(ei.Atom)
	m = m[3:]
	switch {
	case !g.role.owner:
		g.fromOwner(sender, what, m)
	case what == "sub" && len(m) == 1:
		g.subscribed(sender, textsOf(m[0]))
	case (what == "up" || what == "down") && len(m) == 1:
		node, _ := m[0].(ei.Atom)
		if what == "up" {
			g.core.nodeup(string(node), sender)
		} else {
			g.core.nodedown(string(node), sender)
		}
	case what == "peer" && len(m) == 3:
		from, _ := m[0].(ei.Atom)
		g.core.message(string(from), m[2])
		if number, _ := m[1].(ei.Int); number > 0 {
			g.tellWorker(sender, ei.Atom("done"), number)
		}
	}
}

func (g *Global) subscribed(by ei.Pid, up []string) {
	if g.role.clients == nil {
		g.role.clients = map[ei.Pid]ei.Ref{}
	}
	if _, again := g.role.clients[by]; !again {
		ref, ok := g.monitor(by)
		if !ok {
			g.log.Warn("global: another worker cannot be watched", "pid", by)
			return
		}
		g.role.clients[by] = ref
	}
	g.tellWorker(by, ei.Atom("table"), g.core.encodeTables())
	for node, of := range maps.Clone(g.core.up) {
		if of == by && !slices.Contains(up, node) {
			g.core.nodedown(node, by)
		}
	}
	for _, node := range up {
		g.core.nodeup(node, by)
	}
}

// fromOwner handles what the owner says to the other workers.
func (g *Global) fromOwner(owner ei.Pid, what ei.Atom, m ei.Tuple) {
	if owner != g.role.at || len(m) == 0 {
		return
	}
	switch key, _ := m[0].(ei.Binary); what {
	case "table":
		g.core.decodeTables(m[0], false)
	case "done":
		number, _ := m[0].(ei.Int)
		delete(g.role.calls, int64(number))
	case "disconnect":
		node, _ := m[0].(ei.Atom)
		if c := g.n.Conn(string(node)); c != nil {
			go c.Close()
		}
	case "name", "lock", "known":
		if len(m) == 2 {
			g.core.put(changeKind(what), string(key), m[1])
		}
	}
}

// changed tells the other workers of a change.
func (g *Global) changed(kind changeKind, key string) {
	if len(g.role.clients) == 0 {
		return
	}
	entry := g.core.entry(kind, key)
	for pid := range g.role.clients {
		g.tellWorker(pid, ei.Atom(kind), ei.Binary(key), entry)
	}
}

// entry is what a table has for a key; none if it has nothing.
func (c *core) entry(kind changeKind, key string) ei.Term {
	switch kind {
	case changedName:
		if n := c.names[key]; n != nil {
			return n.encode()
		}
	case changedLock:
		if l := c.locks[key]; l != nil {
			return l.encode()
		}
	case changedKnown:
		if v, ok := c.known[key]; ok {
			return ei.Int(v)
		}
	}
	return ei.Atom("none")
}

// put is the change that entry describes, to a copy of the tables.
func (c *core) put(kind changeKind, key string, entry ei.Term) {
	none := isAtom(entry, "none")
	switch kind {
	case changedName:
		if c.takeName(key); !none {
			c.putName(entry, false)
		}
	case changedLock:
		delete(c.locks, key)
		if !none {
			c.putLock(entry, false)
		}
	case changedKnown:
		if delete(c.known, key); !none {
			v, _ := entry.(ei.Int)
			c.known[key] = int(v)
		}
	}
}

func (r *role) encode() ei.Term {
	clients := ei.List{}
	for pid, ref := range r.clients {
		clients = append(clients, ei.Tuple{pid, refOrNone(ref)})
	}
	backlog, calls := ei.List{}, ei.List{}
	for _, m := range r.backlog {
		backlog = append(backlog, m)
	}
	for number, m := range r.calls {
		calls = append(calls, ei.Tuple{ei.Int(number), m})
	}
	return ei.Tuple{clients, backlog, calls, ei.Int(r.last), atoms(slices.Sorted(maps.Keys(r.mine))), refOrNone(r.ref)}
}

// decode reads the role of the process before. Whether it is the owner's its names tell; the
// monitor of another owner is made anew.
func (r *role) decode(t ei.Term) {
	e, ok := t.(ei.Tuple)
	if !ok || len(e) < 6 {
		return
	}
	r.clients, r.calls, r.mine = map[ei.Pid]ei.Ref{}, map[int64]ei.Tuple{}, map[string]bool{}
	eachTuple(e[0], 2, func(x ei.Tuple) {
		pid, _ := x[0].(ei.Pid)
		r.clients[pid], _ = x[1].(ei.Ref)
	})
	eachTuple(e[1], 1, func(x ei.Tuple) { r.backlog = append(r.backlog, x) })
	eachTuple(e[2], 2, func(x ei.Tuple) {
		number, _ := x[0].(ei.Int)
		if m, ok := x[1].(ei.Tuple); ok && len(m) == 4 {
			r.calls[int64(number)] = m
		}
	})
	last, _ := e[3].(ei.Int)
	r.last = int64(last)
	for _, n := range textsOf(e[4]) {
		r.mine[n] = true
	}
	r.ref, _ = e[5].(ei.Ref)
}
