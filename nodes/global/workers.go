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
//	{sub, [Node], [Node]}    to the owner: the sender is there, with connections to these nodes, of
//	                         which an owner has heard, and to those, which are new
//	{up | down, Node, Number}  to the owner
//	{peer, Node, T, Number}  to the owner: the node has sent T
//	{anew, Node, Number}     to the owner: what nodes have sent may be lost; Node is this one
//	{missed, Node, Number}   to the owner: the node could not be told of a change
//	{done, Number}           from the owner, which has dealt with what came up to that; a worker
//	                         tells the next owner what was not dealt with
//	{table, Tables}          from the owner, in answer to sub
//	{name | lock | known, Key, Entry | none}  from the owner: a change to a table
//	{disconnect, Node}       from the owner

const (
	grace      = 3 * time.Second // until a node whose connection no worker has is taken for lost
	maxBacklog = 10_000
	electAgain = 200 * time.Millisecond
)

// A role is what this process is among the workers of the node.
type role struct {
	owner bool // its names tell the process that goes on as this one
	part

	at       ei.Pid // the owner, if it is another one; it is looked for anew
	ref      ei.Ref // its monitor
	electing bool
	ahead    []ei.Tuple // what others have told this one, which does not know yet that it is the owner
}

// A part is what of a role is handed over.
type part struct {
	Clients map[ei.Pid]ei.Ref // the owner's: the other workers, and their monitors
	Mine    map[string]bool   // the nodes whose connections this worker has; true: an owner knows
	Last    int64
	Sent    []ei.Tuple // what the owner has not dealt with yet: {What, Node, …, Number}
}

type changeKind ei.Atom

const (
	changedName  changeKind = "name"
	changedLock  changeKind = "lock"
	changedKnown changeKind = "known"
)

func (g *Global) tellWorker(to ei.Pid, elems ...ei.Term) {
	t := append(ei.Tuple{ei.Atom(ownerName), g.box.Mailbox().Pid()}, elems...)
	if raw, err := ei.AppendTerm(nil, t); err == nil {
		g.post(letter{Node: g.n.Name(), Pid: to, Payload: raw})
	}
}

// tellOwner tells the owner, as soon as there is one.
func (g *Global) tellOwner(elems ...ei.Term) {
	r := &g.role
	if len(r.Sent) >= maxBacklog {
		g.log.Warn("global: the worker that decides does not answer")
		return
	}
	r.Last++
	m := append(ei.Tuple(elems), ei.Int(r.Last))
	r.Sent = append(r.Sent, m)
	if r.at != (ei.Pid{}) {
		g.tellWorker(r.at, m...)
	} else {
		g.elect()
	}
}

func (g *Global) nodeup(node string, by ei.Pid) {
	if g.role.owner {
		g.server.nodeup(node, by)
		return
	}
	if g.role.Mine == nil {
		g.role.Mine = map[string]bool{}
	}
	g.role.Mine[node] = false
	g.tellOwner(ei.Atom("up"), ei.Atom(node))
}

func (g *Global) nodedown(node string, by ei.Pid) {
	if g.role.owner {
		g.server.nodedown(node, by)
		return
	}
	delete(g.role.Mine, node)
	if g.role.at == (ei.Pid{}) { // what the node has sent is no longer worth telling
		g.role.Sent = slices.DeleteFunc(g.role.Sent, func(m ei.Tuple) bool { return isAtom(m[1], node) })
	}
	g.tellOwner(ei.Atom("down"), ei.Atom(node))
}

// fromPeer handles what a peer sends, or a process of this node that calls.
func (g *Global) fromPeer(from string, t ei.Term) {
	if g.role.owner {
		g.server.message(from, t)
	} else {
		g.tellOwner(ei.Atom("peer"), ei.Atom(from), t)
	}
}

// done is the owner's word that it has dealt with what was told up to a number.
func (r *role) done(number int64) {
	for len(r.Sent) > 0 {
		m := r.Sent[0]
		if n, _ := m[len(m)-1].(ei.Int); int64(n) > number {
			return
		}
		if isAtom(m[0], "up") {
			node, _ := m[1].(ei.Atom)
			if _, ok := r.Mine[string(node)]; ok {
				r.Mine[string(node)] = true
			}
		}
		r.Sent = r.Sent[1:]
	}
}

// untold leaves of what is to be told what sub does not say.
func (r *role) untold() {
	r.Sent = slices.DeleteFunc(r.Sent, func(m ei.Tuple) bool { return isAtom(m[0], "up") || isAtom(m[0], "down") })
}

// split gives the nodes that an owner knows this worker to have, and the others.
func (r *role) split() (told, fresh []string) {
	for _, node := range slices.Sorted(maps.Keys(r.Mine)) {
		if r.Mine[node] {
			told = append(told, node)
		} else {
			fresh = append(fresh, node)
		}
	}
	return told, fresh
}

// comeUp notes the connections of a worker: to nodes of which an owner has heard already, and to
// new ones.
func (c *server) comeUp(told, fresh []string, by ei.Pid) {
	for _, node := range told {
		delete(c.stale, node)
		c.nodeup(node, by)
	}
	for _, node := range fresh {
		c.nodeup(node, by)
	}
}

// elect makes this process the owner, or finds the one that is.
func (g *Global) elect() {
	if g.role.electing || g.role.owner {
		return
	}
	g.role.electing = true
	go func() {
		for g.Err() == nil {
			box := g.box.Mailbox()
			err := g.n.Register(context.Background(), ownerName, box)
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
			if err == nil { // there is a way to it
				g.push(func() {
					g.demonitor(ref)
					g.subscribe(pid)
				})
				return
			}
			select {
			case <-g.Done():
			case <-time.After(electAgain):
			}
		}
	}()
}

// becomeOwner goes on from the copy of the tables that this process has.
func (g *Global) becomeOwner() {
	r := &g.role
	r.owner, r.electing, r.at = true, false, ei.Pid{}
	g.server.Synced, g.server.stale = map[string]bool{}, map[string]bool{}
	for n := range g.server.known {
		g.server.Synced[n], g.server.stale[n] = true, true
	}
	g.server.watchAgain()
	me := g.box.Mailbox().Pid()
	told, fresh := r.split()
	g.server.comeUp(told, fresh, me)
	r.untold()
	for _, m := range r.Sent {
		switch node, _ := m[1].(ei.Atom); {
		case isAtom(m[0], "anew"):
			g.server.anew()
		case isAtom(m[0], "missed"):
			g.server.missed(string(node))
		default:
			g.server.message(string(node), m[2])
		}
	}
	ahead := r.ahead
	r.Mine, r.Sent, r.ahead = nil, nil, nil
	for _, m := range ahead {
		g.fromWorker(m)
	}
	g.dropLostLater()
}

// standBack makes a client of the owner, whose process was.
func (g *Global) standBack(was ei.Pid) {
	g.role.Mine = map[string]bool{}
	for node, by := range g.server.Up {
		if by == was {
			g.role.Mine[node] = true
		}
	}
	clear(g.server.Up)
	clear(g.server.Sessions)
	clear(g.server.Returning)
	clear(g.server.Asked)
	g.locker.drop()
}

// dropLostLater takes nodes for lost, in a while, whose connections the owner before had.
func (g *Global) dropLostLater() {
	g.after(grace, func() {
		for node := range g.server.stale {
			g.server.cutOff(node)
		}
	})
}

func (g *Global) subscribe(to ei.Pid) {
	r := &g.role
	r.electing, r.ahead = false, nil
	ref, ok := g.monitor(to) // here, so that its end is heard of afterwards
	if !ok {
		g.after(electAgain, g.elect)
		return
	}
	r.at, r.ref = to, ref
	told, fresh := r.split()
	g.tellWorker(to, ei.Atom("sub"), atoms(told), atoms(fresh))
	for _, node := range fresh {
		r.Mine[node] = true
	}
	r.untold()
	for _, m := range r.Sent {
		g.tellWorker(to, m...)
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
	for pid, of := range r.Clients {
		if of == ref {
			delete(r.Clients, pid)
			for node, by := range maps.Clone(g.server.Up) {
				if by == pid { // its process may have been ended, and made anew
					delete(g.server.Up, node)
					g.server.stale[node] = true
				}
			}
			g.dropLostLater()
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
	whole := m
	m = m[3:]
	switch {
	case !g.role.owner && (what == "sub" || what == "up" || what == "down" || what == "peer" || what == "anew" || what == "missed"):
		if g.role.electing && len(g.role.ahead) < maxBacklog { // the name is there before this one knows
			g.role.ahead = append(g.role.ahead, whole)
		}
	case !g.role.owner:
		g.fromOwner(sender, what, m)
	case what == "sub" && len(m) == 2:
		g.subscribed(sender, textsOf(m[0]), textsOf(m[1]))
	case len(m) >= 2:
		switch node, _ := m[0].(ei.Atom); {
		case what == "up":
			g.server.nodeup(string(node), sender)
		case what == "down":
			g.server.nodedown(string(node), sender)
		case what == "peer" && len(m) == 3:
			g.server.message(string(node), m[1])
		case what == "anew":
			g.server.anew()
		case what == "missed":
			g.server.missed(string(node))
		}
		g.tellWorker(sender, ei.Atom("done"), m[len(m)-1])
	}
}

func (g *Global) subscribed(by ei.Pid, told, fresh []string) {
	if g.role.Clients == nil {
		g.role.Clients = map[ei.Pid]ei.Ref{}
	}
	if _, again := g.role.Clients[by]; !again {
		ref, ok := g.monitor(by)
		if !ok {
			g.log.Warn("global: another worker cannot be watched", "pid", by)
			return
		}
		g.role.Clients[by] = ref
	}
	g.tellWorker(by, ei.Atom("table"), rawOf(g.server.tables()))
	for node, of := range maps.Clone(g.server.Up) {
		if of == by && !slices.Contains(told, node) && !slices.Contains(fresh, node) {
			g.server.nodedown(node, by)
		}
	}
	g.server.comeUp(told, fresh, by)
}

// fromOwner handles what the owner says to the other workers.
func (g *Global) fromOwner(owner ei.Pid, what ei.Atom, m ei.Tuple) {
	if owner != g.role.at || len(m) == 0 {
		return
	}
	switch key, _ := m[0].(ei.Binary); what {
	case "table":
		if t, err := read[tables](m[0]); err == nil {
			g.server.setTables(t, false)
		}
	case "done":
		number, _ := m[0].(ei.Int)
		g.role.done(int64(number))
	case "disconnect":
		node, _ := m[0].(ei.Atom)
		if c := g.n.Conn(string(node)); c != nil {
			go c.Close()
		}
	case "name", "lock", "known":
		if len(m) == 2 {
			g.server.put(changeKind(what), string(key), m[1])
		}
	}
}

// changed tells the other workers of a change.
func (g *Global) changed(kind changeKind, key string) {
	if len(g.role.Clients) == 0 {
		return
	}
	entry := g.server.entry(kind, key)
	for pid := range g.role.Clients {
		g.tellWorker(pid, ei.Atom(kind), ei.Binary(key), entry)
	}
}

// entry is what a table has for a key; none if it has nothing.
func (c *server) entry(kind changeKind, key string) ei.Term {
	switch kind {
	case changedName:
		if n := c.names[key]; n != nil {
			return rawOf(n.saved())
		}
	case changedLock:
		if l := c.locks[key]; l != nil {
			return rawOf(l.saved())
		}
	case changedKnown:
		if v, ok := c.known[key]; ok {
			return ei.Int(v)
		}
	}
	return ei.Atom("none")
}

// put is the change that entry describes, to a copy of the tables.
func (c *server) put(kind changeKind, key string, entry ei.Term) {
	switch kind {
	case changedName:
		c.takeName(key)
		if n, err := read[savedName](entry); err == nil {
			c.putName(n, false)
		}
	case changedLock:
		c.takeLock(key)
		if l, err := read[savedLock](entry); err == nil {
			c.putLock(l, false)
		}
	case changedKnown:
		delete(c.known, key)
		if v, ok := entry.(ei.Int); ok {
			c.known[key] = int(v)
		}
	}
}
