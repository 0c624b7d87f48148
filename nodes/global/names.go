package global

import (
	"maps"
	"slices"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// A name is a process's, in the whole cluster.
type name struct {
	key    string
	term   ei.Term
	pid    ei.Pid
	method ei.Term // who keeps the name in a conflict: a fun, as it came
	host   string  // the node that a process of a C-node has registered at; else ""
	mine   bool    // registered by this node, and not by a peer
	ref    ei.Ref  // the monitor; without words: there is none yet
	cost   int     // bytes
}

// entry is {Name, Pid, Method}.
func (n *name) entry() ei.Term { return ei.Tuple{n.term, n.pid, n.method} }

// An op is {insert, {Name, Pid, Method}} or {delete, Name}.
type op struct {
	delete bool
	name   name // of delete: key and term
}

func (o *op) encode() ei.Term {
	if o.delete {
		return ei.Tuple{ei.Atom("delete"), o.name.term}
	}
	return ei.Tuple{ei.Atom("insert"), o.name.entry()}
}

func encodeOps(ops []op) ei.List {
	list := make(ei.List, len(ops))
	for i := range ops {
		list[i] = ops[i].encode()
	}
	return list
}

func opsOf(t ei.Term) (ops []op) {
	list, _ := ei.Elements(t)
	for _, e := range list {
		o, ok := e.(ei.Tuple)
		if !ok || len(o) != 2 {
			continue
		}
		switch tagOf(o) {
		case "insert":
			if n, ok := nameOf(o[1]); ok {
				ops = append(ops, op{name: n})
			}
		case "delete":
			if key, term, ok := keyOf(o[1]); ok {
				ops = append(ops, op{delete: true, name: name{key: key, term: term}})
			}
		}
	}
	return ops
}

// nameOf reads {Name, Pid, Method}.
func nameOf(t ei.Term) (n name, ok bool) {
	e, ok := t.(ei.Tuple)
	if !ok || len(e) != 3 {
		return name{}, false
	}
	pid, ok := e[1].(ei.Pid)
	if !ok || !isNodeName(string(pid.Node)) || !otp.PossibleEverywhere(pid) {
		return name{}, false
	}
	size, isMethod := keptSize(e[2], maxNameLen)
	key, term, ok := keyOf(e[0])
	return name{key: key, term: term, pid: pid, method: e[2], cost: keptCost + 2*len(key) + size}, ok && isMethod
}

func namesOf(t ei.Term) (names []name) {
	list, _ := ei.Elements(t)
	for _, e := range list {
		if n, ok := nameOf(e); ok {
			names = append(names, n)
		}
	}
	return names
}

// externalOf reads [{Name, Pid, Node}], of names of processes of C-nodes, and leaves out what is
// none: the list is passed on.
func externalOf(t ei.Term) ei.List {
	ext := ei.List{}
	list, _ := ei.Elements(t)
	for _, e := range list {
		if x, ok := e.(ei.Tuple); ok && len(x) == 3 {
			_, term, ok := keyOf(x[0])
			pid, isPid := x[1].(ei.Pid)
			host, isHost := x[2].(ei.Atom)
			if ok && isPid && isHost && otp.PossibleEverywhere(pid) {
				ext = append(ext, ei.Tuple{term, pid, host})
			}
		}
	}
	return ext
}

// entries are all names, as exchange has them.
func (c *server) entries() ei.List {
	list := make(ei.List, 0, len(c.names))
	for _, key := range slices.Sorted(maps.Keys(c.names)) {
		list = append(list, c.names[key].entry())
	}
	return list
}

// external are the names of processes of C-nodes: [{Name, Pid, Node}].
func (c *server) external() ei.List {
	list := ei.List{}
	for _, key := range slices.Sorted(maps.Keys(c.names)) {
		if n := c.names[key]; n.host != "" {
			list = append(list, ei.Tuple{n.term, n.pid, ei.Atom(n.host)})
		}
	}
	return list
}

// register gives a process a name; by is the process that has the lock for it.
func (c *server) register(by ei.Pid, t, p, method ei.Term, host string) {
	n, ok := nameOf(ei.Tuple{t, p, method})
	if !ok {
		return
	}
	n.host, n.mine = host, string(by.Node) == c.self
	if c.locks[globalKey] != nil || c.names[n.key] == nil || c.names[n.key].pid == n.pid {
		c.change(by, func() { c.insertName(n) })
	}
}

// unregister takes a name back; by is the process that has the lock for it.
func (c *server) unregister(by ei.Pid, t ei.Term) {
	if key, _, ok := keyOf(t); ok {
		c.change(by, func() { c.deleteName(key) })
	}
}

// change does what a process wants that has the lock of the names, or had it: it may have been
// released before, as in OTP, but not taken by another one, and not gone with the process's node.
// Then a name may be one of this partition, and the session that follows tells what both have. OTP
// takes the name away.
func (c *server) change(by ei.Pid, f func()) {
	if l := c.locks[globalKey]; l != nil && l.heldBy(by) || l == nil && !c.Downed {
		f()
	}
}

// insertName puts a name into the table, in the place of one that is there.
func (c *server) insertName(n name) {
	was, had := c.names[n.key], 0
	if was != nil {
		had = was.cost
		if was.mine && was.pid == n.pid && ei.Identical(was.method, n.method) {
			n.mine = true // it comes back from a conflict
		}
	}
	if was == nil && len(c.names) >= maxNames || !n.mine && c.isFull(n.cost-had) {
		c.out.warn("global: too many names", "name", n.term)
		c.deleteName(n.key) // which is another process's now
		return
	}
	c.dropName(n.key)
	of := &n
	if ref, ok := c.out.monitor(n.pid); ok {
		n.ref = ref
		c.byRef[ref] = of
	} else {
		c.out.watchLater(of)
	}
	c.putInto(of)
	if c.byPid[n.pid] == nil {
		c.byPid[n.pid] = map[string]bool{}
	}
	c.byPid[n.pid][n.key] = true
	c.out.changed(changedName, n.key)
}

// isFull tells whether there is no room for what takes so many bytes more, and is a peer's.
func (c *server) isFull(cost int) bool { return cost > 0 && c.bytes+cost > c.most }

func (c *server) putInto(n *name) {
	c.names[n.key] = n
	c.bytes += n.cost
}

// deleteName takes a name out of the table.
func (c *server) deleteName(key string) {
	if c.dropName(key) {
		c.out.changed(changedName, key)
	}
}

func (c *server) dropName(key string) bool {
	n := c.takeName(key)
	if n != nil && n.ref.Len > 0 {
		c.out.demonitor(n.ref)
	}
	return n != nil
}

// takeName takes a name out of the table, and leaves the monitor.
func (c *server) takeName(key string) *name {
	n := c.names[key]
	if n == nil {
		return nil
	}
	delete(c.names, key)
	c.bytes -= n.cost
	delete(c.byRef, n.ref)
	if delete(c.byPid[n.pid], key); len(c.byPid[n.pid]) == 0 {
		delete(c.byPid, n.pid)
	}
	return n
}

// watched gives a name its monitor.
func (c *server) watched(n *name, ref ei.Ref) {
	n.ref = ref
	c.byRef[ref] = n
}

// unwatchable is called when the process of a name cannot be monitored.
func (c *server) unwatchable(n *name) {
	if c.isUnwatched(n) {
		c.deleteName(n.key)
	}
}

func (c *server) isUnwatched(n *name) bool { return c.names[n.key] == n && n.ref.Len == 0 }

// check tells whether a process may have a name: free, taken, or named if it has another one; held
// if it has that one.
func (c *server) check(t, p ei.Term) ei.Atom {
	key, _, ok := keyOf(t)
	pid, isPid := p.(ei.Pid)
	switch {
	case ok && isPid && c.names[key] != nil && c.names[key].pid == pid:
		return "held"
	case !ok || c.names[key] != nil:
		return "taken"
	case isPid && len(c.byPid[pid]) > 0:
		return "named"
	}
	return "free"
}

// doOps changes the table as two partitions have agreed. lockID is the lock they had for it; the
// node that they are from still has it, or they are too late, as in change.
func (c *server) doOps(ops []op, ext, lockID ei.Term) {
	if l := c.locks[globalKey]; l == nil && c.Downed || l != nil && l.requesterOf(lockID) == "" {
		return
	}
	hosts := map[string]ei.Tuple{}
	list, _ := ei.Elements(ext)
	for _, e := range list {
		if x, ok := e.(ei.Tuple); ok && len(x) == 3 {
			if key, _, ok := keyOf(x[0]); ok {
				hosts[key] = x
			}
		}
	}
	for i := range ops {
		if o := ops[i]; !o.delete {
			if x := hosts[o.name.key]; x != nil && x[1] == ei.Term(o.name.pid) {
				host, _ := x[2].(ei.Atom)
				o.name.host = string(host)
			}
			c.insertName(o.name)
		}
	}
	for i := range ops {
		if ops[i].delete {
			c.deleteName(ops[i].name.key)
		}
	}
}

// dropNode removes what the processes of a node had, whose monitors may be on their way.
func (c *server) dropNode(node string) {
	for key, n := range c.names {
		if string(n.pid.Node) == node {
			c.deleteName(key)
		}
	}
	for ref, h := range c.lockOf {
		if string(h.pid.Node) == node {
			delete(c.lockOf, ref)
			c.release(h.resource, h.pid, true)
		}
	}
}
