package global

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cnode-go/cnode/ei"
)

// The state of a Global, as a term: for the process that goes on as this one and, of the tables,
// for the other workers.

// stateVersion is the version of the form of what handover writes. A change to it is a new one.
const stateVersion ei.Int = 2

// handoverTime is how long a freeze waits for what uses the tables, which is never long.
const handoverTime = time.Second

var errBusy = errors.New("global: a process is being made")

var errState = errors.New("global: the state of the process before cannot be read")

// handover is the state for the process that goes on as this one. The node stands still. Who makes
// a process meanwhile has g.mu, and waits for the end of the freeze: so this does not wait for
// that.
func (g *Global) handover() ([]byte, error) {
	for begun := time.Now(); !g.mu.TryLock(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > handoverTime {
			return nil, errBusy
		}
	}
	defer g.mu.Unlock()
	held := ei.List{}
	g.heldMu.Lock()
	for _, key := range slices.Sorted(maps.Keys(g.held)) {
		held = append(held, ei.Tuple{g.held[key].id, atoms(g.held[key].nodes)})
	}
	g.heldMu.Unlock()
	letters := ei.List{}
	g.locker.mu.Lock() // so that what the locker says is either among the letters, or yet to be said
	locker := g.locker.encode()
	for _, l := range g.outbox.waiting() {
		letters = append(letters, l.encode())
	}
	g.locker.mu.Unlock()
	return ei.Marshal(ei.Tuple{
		ei.Atom("cnode_global"), stateVersion, g.server.encodeTables(), g.server.encode(), locker, held, letters, g.role.encode(),
	})
}

// restore reads what handover has written; g.mu is held.
func (g *Global) restore(state []byte) {
	t, err := ei.Decode(state)
	e, ok := t.(ei.Tuple)
	switch {
	case err != nil || !ok || len(e) < 2 || !isAtom(e[0], "cnode_global"):
		err = errors.Join(errState, err)
	case e[1] != stateVersion:
		err = fmt.Errorf("%w: version %v, want %v", errState, e[1], stateVersion)
	case len(e) != 8:
		err = errState
	}
	if err != nil {
		g.log.Error("global: begins anew", "error", err)
		return
	}
	g.server.decodeTables(e[2], true)
	g.server.decode(e[3])
	g.locker.restore(e[4])
	list, _ := ei.Elements(e[5])
	for _, h := range list {
		if h, ok := h.(ei.Tuple); ok && len(h) == 2 {
			if key, id, ok := keyOf(h[0]); ok {
				g.held[key] = heldLock{id, textsOf(h[1])}
			}
		}
	}
	list, _ = ei.Elements(e[6])
	for _, x := range list {
		if l, ok := letterOf(x); ok {
			g.outbox.add(l)
		}
	}
	g.role.decode(e[7])
}

// resumed goes on in the process that has taken over, once the node runs. What the process before
// was in the middle of is begun again.
func (g *Global) resumed() {
	g.outbox.mu.Lock()
	for node := range g.outbox.full {
		go g.outbox.drain(node)
	}
	g.outbox.mu.Unlock()
	g.heldMu.Lock()
	held := maps.Clone(g.held)
	g.heldMu.Unlock()
	go func() {
		for _, h := range held {
			g.delLocks(h.id, h.nodes)
		}
	}()
	for _, n := range g.server.names {
		if n.ref.Len == 0 {
			g.watchLater(n)
		}
	}
	for _, s := range g.server.sessions {
		if s.asking {
			s.asking = false
			g.server.compare(s)
		}
	}
	for node := range g.server.known {
		if _, up := g.server.up[node]; !up || g.server.joining[node] {
			g.join(node)
		}
	}
	g.server.resume()
	if !g.role.owner {
		g.elect()
	}
}

// encodeTables are the names, locks and nodes.
func (c *server) encodeTables() ei.Term {
	names, locks, known := ei.List{}, ei.List{}, ei.List{}
	for _, key := range slices.Sorted(maps.Keys(c.names)) {
		names = append(names, c.names[key].encode())
	}
	for _, key := range slices.Sorted(maps.Keys(c.locks)) {
		locks = append(locks, c.locks[key].encode())
	}
	for _, n := range slices.Sorted(maps.Keys(c.known)) {
		known = append(known, nodeVersion{n, c.known[n]}.term())
	}
	return ei.Tuple{names, locks, known}
}

// decodeTables replaces the tables. Monitors are those of the process that goes on as another one.
func (c *server) decodeTables(t ei.Term, monitors bool) {
	e, ok := t.(ei.Tuple)
	if !ok || len(e) != 3 {
		return
	}
	c.clearTables()
	list, _ := ei.Elements(e[0])
	for _, n := range list {
		c.putName(n, monitors)
	}
	list, _ = ei.Elements(e[1])
	for _, l := range list {
		c.putLock(l, monitors)
	}
	for _, v := range nodesOf(e[2]) {
		if c.mayJoin(v.node) { // the rules may be others than those of the process before
			c.known[v.node] = v.version
		}
	}
}

func (c *server) clearTables() {
	c.bytes = 0
	clear(c.names)
	clear(c.byRef)
	clear(c.byPid)
	clear(c.locks)
	clear(c.lockOf)
	clear(c.held)
	clear(c.known)
}

func (n *name) encode() ei.Term {
	return ei.Tuple{n.term, n.pid, n.method, ei.Atom(n.host), refOrNone(n.ref), atomOf(n.mine)}
}

// putName puts an encoded name into the table.
func (c *server) putName(t ei.Term, monitors bool) {
	e, ok := t.(ei.Tuple)
	if !ok || len(e) != 6 {
		return
	}
	n, ok := nameOf(e[:3])
	if !ok {
		return
	}
	host, _ := e[3].(ei.Atom)
	n.host = string(host)
	n.mine = isAtom(e[5], "true")
	if monitors {
		n.ref, _ = e[4].(ei.Ref)
	}
	c.takeName(n.key)
	c.putInto(&n)
	if n.ref.Len > 0 {
		c.byRef[n.ref] = &n
	}
	if c.byPid[n.pid] == nil {
		c.byPid[n.pid] = map[string]bool{}
	}
	c.byPid[n.pid][n.key] = true
}

func (l *lock) encode() ei.Term {
	holders := ei.List{}
	for _, h := range l.holders {
		holders = append(holders, ei.Tuple{h.pid, refOrNone(h.ref)})
	}
	return ei.Tuple{l.resource, l.asked, holders}
}

func (c *server) putLock(t ei.Term, monitors bool) {
	e, ok := t.(ei.Tuple)
	if !ok || len(e) != 3 {
		return
	}
	resource, term, ok1 := keyOf(e[0])
	requester, asked, ok2 := keyOf(e[1])
	if !ok1 || !ok2 {
		return
	}
	l := newLock(resource, requester, term, asked)
	list, _ := ei.Elements(e[2])
	for _, h := range list {
		if h, ok := h.(ei.Tuple); ok && len(h) == 2 {
			pid, _ := h[0].(ei.Pid)
			of := heldBy{resource: resource, pid: pid}
			if monitors {
				of.ref, _ = h[1].(ei.Ref)
				c.lockOf[of.ref] = of
			}
			c.held[pid.Node]++
			l.holders = append(l.holders, of)
		}
	}
	c.putLockInto(resource, l)
}

// watchAgain monitors everything: the monitors that there were have gone with their process.
func (c *server) watchAgain() {
	clear(c.byRef)
	for _, n := range c.names {
		n.ref = ei.Ref{}
		if ref, ok := c.out.monitor(n.pid); ok {
			c.watched(n, ref)
		} else {
			c.out.watchLater(n)
		}
	}
	clear(c.lockOf)
	clear(c.held)
	for _, l := range c.locks {
		for _, h := range l.holders {
			c.held[h.pid.Node]++
		}
	}
	for _, l := range maps.Clone(c.locks) {
		for _, h := range slices.Clone(l.holders) {
			ref, ok := c.out.monitor(h.pid)
			if !ok {
				c.release(h.resource, h.pid, true)
				continue
			}
			h.ref = ref
			c.lockOf[ref] = h
			l.holders[slices.IndexFunc(l.holders, func(of heldBy) bool { return of.pid == h.pid })] = h
		}
	}
}

// cancelAll tells the other nodes that their sessions with this one are over.
func (c *server) cancelAll() {
	for node, s := range c.sessions {
		if s.begun {
			c.tell(node, ei.Tuple{ei.Atom("cancel_connect"), ei.Atom(c.self), s.hisTag})
		}
	}
}

// encode is the state besides the tables.
func (c *server) encode() ei.Term {
	up, lost, sessions, waits := ei.List{}, ei.List{}, ei.List{}, ei.List{}
	for _, n := range slices.Sorted(maps.Keys(c.up)) {
		up = append(up, ei.Tuple{ei.Atom(n), c.up[n]})
	}
	for k, l := range c.lost {
		lost = append(lost, ei.Tuple{ei.Atom(k[0]), ei.Atom(k[1]), l.xcre, l.id, ei.Int(l.at.Unix())})
	}
	for _, n := range slices.Sorted(maps.Keys(c.sessions)) {
		sessions = append(sessions, c.sessions[n].encode())
	}
	early := ei.List{}
	for n, e := range c.early {
		early = append(early, ei.Tuple{ei.Atom(n), orNone(e.version), orNone(e.init), atomOf(e.inSync)})
	}
	for _, w := range c.syncs {
		waits = append(waits, ei.Tuple{w.to.encode(), w.to.tag, atoms(slices.Sorted(maps.Keys(w.left)))})
	}
	wheres := ei.List{}
	for _, w := range c.wheres {
		wheres = append(wheres, ei.Tuple{w.to.encode(), w.to.tag, ei.Binary(w.key)})
	}
	settles := ei.List{}
	for _, to := range c.settles {
		settles = append(settles, ei.Tuple{to.encode(), to.tag})
	}
	return ei.Tuple{
		up, atoms(slices.Sorted(maps.Keys(c.synced))), atoms(slices.Sorted(maps.Keys(c.removing))), sessions, early,
		ei.Int(c.lastTag), ei.Int(c.xcre), lost, atomOf(c.downed), waits, wheres,
		atoms(slices.Sorted(maps.Keys(c.returning))), atoms(slices.Sorted(maps.Keys(c.asked))), atomOf(c.broken), settles,
		atoms(slices.Sorted(maps.Keys(c.joining))),
	}
}

func (c *server) decode(t ei.Term) {
	e, ok := t.(ei.Tuple)
	if !ok || len(e) != 16 {
		return
	}
	eachTuple(e[0], 2, func(x ei.Tuple) {
		node, _ := x[0].(ei.Atom)
		c.up[string(node)], _ = x[1].(ei.Pid)
	})
	for _, n := range textsOf(e[1]) {
		c.synced[n] = true
	}
	for _, n := range textsOf(e[2]) {
		c.removing[n] = true
	}
	eachTuple(e[3], 14, func(x ei.Tuple) {
		if s := sessionFrom(x); s != nil {
			c.sessions[s.node] = s
		}
	})
	eachTuple(e[4], 4, func(x ei.Tuple) {
		node, _ := x[0].(ei.Atom)
		var of early
		if !isAtom(x[1], "none") {
			of.version, of.init = x[1], x[2]
		}
		of.inSync = isAtom(x[3], "true")
		c.early[string(node)] = of
	})
	tag, _ := e[5].(ei.Int)
	c.lastTag = max(c.lastTag, int64(tag))
	xcre, _ := e[6].(ei.Int)
	c.xcre = int64(xcre)
	eachTuple(e[7], 5, func(x ei.Tuple) {
		a, _ := x[0].(ei.Atom)
		b, _ := x[1].(ei.Atom)
		at, _ := x[4].(ei.Int)
		c.lost[[2]string{string(a), string(b)}] = loss{x[2], x[3], time.Unix(int64(at), 0)}
	})
	c.downed = isAtom(e[8], "true")
	eachTuple(e[9], 3, func(x ei.Tuple) {
		if to, ok := letterOf(x[0]); ok {
			to.tag = x[1]
			w := syncWaiter{to, map[string]bool{}}
			for _, n := range textsOf(x[2]) {
				w.left[n] = true
			}
			c.syncs = append(c.syncs, w)
		}
	})
	eachTuple(e[10], 3, func(x ei.Tuple) {
		key, _ := x[2].(ei.Binary)
		if to, ok := letterOf(x[0]); ok {
			to.tag = x[1]
			c.wheres = append(c.wheres, whereWaiter{string(key), to})
		}
	})
	for _, n := range textsOf(e[11]) {
		c.returning[n] = c.removing[n]
	}
	for _, n := range textsOf(e[12]) {
		c.asked[n] = true
	}
	c.broken = isAtom(e[13], "true")
	eachTuple(e[14], 2, func(x ei.Tuple) {
		if to, ok := letterOf(x[0]); ok {
			to.tag = x[1]
			c.settles = append(c.settles, to)
		}
	})
	for _, n := range textsOf(e[15]) {
		c.joining[n] = true
	}
}

// resume goes on with what has begun anew.
func (c *server) resume() {
	if c.broken {
		c.anew()
		return
	}
	for node := range c.asked {
		c.stays(node)
	}
	for node := range c.removing {
		c.leave(node)
	}
	for node := range c.returning {
		c.out.after(returnTime, func() { c.returned(node) })
	}
	c.meetAgain()
	for _, s := range c.sessions {
		if s.inSync {
			c.expectKnown(s)
		}
	}
}

func (s *session) encode() ei.Term {
	names := ei.List{}
	for i := range s.names {
		names = append(names, s.names[i].entry())
	}
	his := ei.Term(ei.Atom("none"))
	if s.his != nil {
		known := ei.List{}
		for _, v := range s.his.known {
			known = append(known, v.term())
		}
		his = ei.Tuple{encodeOps(s.his.ops), known, s.his.ext}
	}
	return ei.Tuple{
		ei.Atom(s.node), ei.Int(s.tag), orNone(s.hisTag), pidOrNone(s.locker), atomOf(s.begun), atomOf(s.locked), orNone(s.lockID),
		names, atomOf(s.heard), atomOf(s.asking), encodeOps(s.ops), atomOf(s.decided), his, atomOf(s.inSync),
	}
}

func orNone(t ei.Term) ei.Term {
	if t == nil {
		return ei.Atom("none")
	}
	return t
}

func sessionFrom(x ei.Tuple) *session {
	node, _ := x[0].(ei.Atom)
	tag, _ := x[1].(ei.Int)
	s := &session{
		node: string(node), tag: int64(tag), hisTag: x[2], begun: isAtom(x[4], "true"), locked: isAtom(x[5], "true"), lockID: x[6],
		names: namesOf(x[7]), heard: isAtom(x[8], "true"), asking: isAtom(x[9], "true"), ops: opsOf(x[10]), decided: isAtom(x[11], "true"),
	}
	s.locker, _ = x[3].(ei.Pid)
	s.inSync = isAtom(x[13], "true")
	if his, ok := x[12].(ei.Tuple); ok && len(his) == 3 {
		s.his = &resolution{opsOf(his[0]), nodesOf(his[1]), his[2]}
	}
	if s.node == "" {
		return nil
	}
	return s
}

// eachTuple calls f with the elements of a list that are tuples of a size.
func eachTuple(t ei.Term, size int, f func(ei.Tuple)) {
	list, _ := ei.Elements(t)
	for _, e := range list {
		if e, ok := e.(ei.Tuple); ok && len(e) == size {
			f(e)
		}
	}
}

func textsOf(t ei.Term) (texts []string) {
	list, _ := ei.Elements(t)
	for _, e := range list {
		if a, ok := e.(ei.Atom); ok {
			texts = append(texts, string(a))
		}
	}
	return texts
}
