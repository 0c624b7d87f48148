package global

import (
	"maps"
	"slices"

	"github.com/cnode-go/cnode/ei"
)

// A session is the synchronisation of this node's partition with that of another node, from nodeup
// until both have the same names.
type session struct {
	node   string
	tag    int64 // ours, in what the other node sends
	hisTag ei.Term
	locker ei.Pid // the other node's
	begun  bool   // init_connect has come: hisTag and locker are set
	inSync bool   // in_sync has come: the other node knows this one, which is about to know it

	locked  bool // our locker says that both partitions are locked
	lockID  ei.Term
	names   []name // those of exchange
	heard   bool   // exchange has come
	asking  bool   // who keeps a name is being asked
	ops     []op   // what we have to do
	decided bool   // ops are complete
	his     *resolution
}

// A resolution is what the other node has made of conflicts.
type resolution struct {
	ops   []op
	known []nodeVersion
	ext   ei.Term
}

// An early is what has come before nodeup: init_connect, or in_sync.
type early struct {
	version, init ei.Term // nil: there was no init_connect
	inSync        bool
}

// him is a node that our locker may lock with.
type him struct {
	node   string
	tag    int64 // ours
	hisTag ei.Term
	locker ei.Pid
}

// nodeup begins a session with a visible node that is connected; by is who says so.
func (c *server) nodeup(node string, by ei.Pid) {
	if c.stale[node] { // a worker that has died had it until now
		c.cutOff(node)
	}
	if was, ok := c.up[node]; ok && was != by { // another worker has it now
		c.nodedown(node, was)
	}
	c.up[node] = by
	c.begin(node)
}

// succeed has another process of this worker go on as the one that said which nodes are up.
func (c *server) succeed(was, now ei.Pid) {
	for node, by := range c.up {
		if by == was {
			c.up[node] = now
		}
	}
}

func (c *server) begin(node string) {
	if c.sessions[node] != nil {
		return
	}
	if _, isKnown := c.known[node]; isKnown {
		if c.early[node].inSync {
			delete(c.early, node)
			c.inSync(node)
		}
		return
	}
	s := &session{node: node, tag: c.tag()}
	c.sessions[node] = s
	versions := make(ei.Map, 0, len(c.known))
	for _, n := range slices.Sorted(maps.Keys(c.known)) {
		versions = append(versions, ei.Pair{Key: ei.Atom(n), Value: ei.Int(c.known[n])})
	}
	c.cast(node, ei.Atom("init_connect"), ei.Tuple{ei.Int(version), ei.Int(s.tag)}, ei.Atom(c.self),
		ei.Tuple{ei.Atom("locker"), ei.Atom("no_longer_a_pid"), versions, c.out.lockerPid()})
	if e, ok := c.early[node]; ok {
		delete(c.early, node)
		if e.version != nil {
			c.initConnect(node, e.version, e.init)
		}
		if e.inSync {
			c.inSync(node)
		}
	}
}

// initConnect: the other node's side of the session.
func (c *server) initConnect(node string, v, init ei.Term) {
	vt, ok := v.(ei.Tuple)
	if !ok || len(vt) < 2 || !isKeepable(vt[1], maxTagLen) {
		return
	}
	if his, _ := vt[0].(ei.Int); his < version {
		c.out.warn("global: the node is too old", "peer", node, "version", vt[0])
		return
	}
	it, ok := init.(ei.Tuple)
	if !ok || len(it) != 4 || !isAtom(it[0], "locker") {
		return
	}
	locker, ok := it[3].(ei.Pid)
	if !ok || string(locker.Node) != node || !possible(locker) {
		return
	}
	s := c.sessions[node]
	if s != nil && s.begun {
		// The other node has begun anew. It has this one's tag, or has that coming: else it would have
		// cancelled the session. OTP begins anew here, too; if both nodes do they may never end.
		c.endSession(s)
		s = &session{node: node, tag: s.tag}
		c.sessions[node] = s
	}
	if s == nil {
		if len(c.early) < maxKnown {
			c.early[node] = early{vt[:2], ei.Tuple{it[0], ei.Atom("no_longer_a_pid"), ei.Map{}, locker}, c.early[node].inSync}
		}
		return
	}
	s.hisTag, s.locker, s.begun = vt[1], locker, true
	delete(c.left, node)
	c.out.candidate(him{node, s.tag, s.hisTag, locker})
	c.tell(node, ei.Tuple{ei.Atom("init_connect_ack"), ei.Atom(c.self), s.hisTag, ei.Int(s.tag)})
}

func (c *server) initConnectAck(node string, mine, his ei.Term) {
	s := c.sessions[node]
	if s == nil || !s.is(mine) || s.begun && ei.Identical(s.hisTag, his) { // or of a session that is over
		return
	}
	c.tell(node, ei.Tuple{ei.Atom("cancel_connect"), ei.Atom(c.self), his})
	c.restart(node)
}

// is tells whether a tag is that of the session.
func (s *session) is(tag ei.Term) bool { return tag == ei.Term(ei.Int(s.tag)) }

// sessionOf is the session that a tag belongs to; nil for one that is over.
func (c *server) sessionOf(node string, tag ei.Term) *session {
	if s := c.sessions[node]; s != nil && s.is(tag) {
		return s
	}
	return nil
}

// cancelConnect: the other node has given the session up. If it knows this one it says so once, and
// may have said it before.
func (c *server) cancelConnect(node string, tag ei.Term) {
	if s := c.sessionOf(node, tag); s != nil {
		c.restart(node)
		if s.inSync {
			c.inSync(node)
		}
	}
}

// restart gives a session up, and begins another one if the node is still up.
func (c *server) restart(node string) {
	if s := c.sessions[node]; s != nil {
		c.endSession(s)
	}
	if _, up := c.up[node]; up {
		c.begin(node)
	}
}

// endSession forgets a session. The locker releases what it has for it.
func (c *server) endSession(s *session) {
	delete(c.sessions, s.node)
	delete(c.early, s.node)
	c.out.cancel(s.node, s.tag)
}

// abandon gives up a session in which the other node has not done its part in time.
func (c *server) abandon(node string, tag int64) {
	s := c.sessions[node]
	if s == nil || s.tag != tag {
		return
	}
	c.out.warn("global: the node does not go on with the synchronisation", "peer", node)
	if s.begun {
		c.tell(node, ei.Tuple{ei.Atom("cancel_connect"), ei.Atom(c.self), s.hisTag})
	}
	c.restart(node)
	c.returned(node)
}

// heardLockSet is for our locker: the other one has locked its partition, or could not.
func (c *server) heardLockSet(from string, m ei.Tuple) {
	pid, ok := m[1].(ei.Pid)
	if !ok || string(pid.Node) != from {
		return
	}
	s := c.sessions[from]
	if s == nil || !s.begun || len(m) == 5 && !s.is(m[4]) {
		return
	}
	c.out.lockSet(from, s.tag, isAtom(m[2], "true"), pid)
}

// bothLocked is from our locker: the names of both partitions are locked.
func (c *server) bothLocked(node string, tag int64, lockID ei.Term) {
	s := c.sessions[node]
	if s == nil || s.tag != tag {
		c.out.cancel(node, tag)
		return
	}
	if !s.locked { // else a process that this one goes on for has said it: two exchanges end OTP's server
		s.locked, s.lockID = true, lockID
		c.cast(node, ei.Atom("exchange"), ei.Atom(c.self), c.entries(), ei.List{}, s.hisTag)
	}
	c.compare(s)
}

func (c *server) exchange(node string, list, tag ei.Term) {
	if s := c.sessionOf(node, tag); s != nil && !s.heard {
		s.names, s.heard = namesOf(list), true
		c.compare(s)
	}
}

// A clash is a name that two processes have.
type clash struct {
	his, own name
	keep     keep
}

// keep says who keeps a name.
type keep int

const (
	keepHis  keep = iota // also when nobody could be asked
	keepOwn              //
	keepNone             //
)

// compare makes the operations that give both partitions the same names, once both are locked and
// the other one's names have come. The side with the lesser name resolves the conflicts.
func (c *server) compare(s *session) {
	if !s.locked || !s.heard || s.asking || s.decided {
		return
	}
	var clashes []*clash
	s.ops = nil
	for _, n := range s.names {
		own := c.names[n.key]
		switch {
		case own == nil:
			s.ops = append(s.ops, op{name: n})
		case own.pid != n.pid && c.self < s.node:
			clashes = append(clashes, &clash{his: n, own: *own})
		}
	}
	if len(clashes) == 0 {
		c.decide(s, nil)
		return
	}
	s.asking = true
	c.out.resolve(s, clashes)
}

// resolved is from those who were asked about the conflicts of a session.
func (c *server) resolved(node string, tag int64, clashes []*clash) {
	if s := c.sessions[node]; s != nil && s.tag == tag && s.asking {
		s.asking = false
		c.decide(s, clashes)
	}
}

func (c *server) decide(s *session, clashes []*clash) {
	var his []op
	for _, cl := range clashes {
		// nodes may have been lost while somebody was asked: each side has dropped their names
		own := c.names[cl.own.key]
		hasOwn := own != nil && own.pid == cl.own.pid
		hasHis := slices.ContainsFunc(s.names, func(n name) bool { return n.key == cl.his.key && n.pid == cl.his.pid })
		switch {
		case cl.keep == keepNone:
			o := op{delete: true, name: cl.own}
			s.ops, his = append(s.ops, o), append(his, o)
		case hasHis && (cl.keep == keepHis || !hasOwn):
			s.ops = append(s.ops, op{name: cl.his})
		case hasOwn:
			his = append(his, op{name: cl.own})
		}
	}
	s.decided, s.names = true, nil
	c.cast(s.node, ei.Atom("resolved"), ei.Atom(c.self), encodeOps(his), c.knownList(), ei.Atom("unused"), c.external(), s.hisTag)
	if s.his != nil {
		c.finish(s)
	}
}

func (c *server) knownList() ei.List {
	list := ei.List{}
	for _, n := range slices.Sorted(maps.Keys(c.known)) {
		list = append(list, nodeVersion{n, c.known[n]}.term())
	}
	return list
}

func (c *server) resolvedBy(node string, ops, known, ext, tag ei.Term) {
	s := c.sessionOf(node, tag)
	if s == nil || s.his != nil || !s.locked {
		return
	}
	s.his = &resolution{opsOf(ops), nodesOf(known), externalOf(ext)}
	if s.decided {
		c.finish(s)
	}
}

// finish makes one partition of two.
func (c *server) finish(s *session) {
	ops := slices.Concat(s.ops, s.his.ops)
	c.doOps(ops, s.his.ext, s.lockID)
	added := append([]nodeVersion{{s.node, version}}, s.his.known...)
	news := ei.List{}
	for _, v := range added {
		if v.node != c.self {
			news = append(news, v.term())
		}
	}
	for _, n := range slices.Sorted(maps.Keys(c.known)) {
		c.cast(n, ei.Atom("new_nodes"), ei.Atom(c.self), encodeOps(ops), s.his.ext, news,
			ei.List{ei.Tuple{ei.Atom("vsn"), ei.Int(version)}, ei.Tuple{ei.Atom("lock"), s.lockID}})
	}
	c.endSession(s)
	for _, v := range s.his.known {
		if other := c.sessions[v.node]; other != nil && !other.inSync {
			c.endSession(other)
		}
	}
	fresh := c.addKnown(added)
	c.isSynced(s.node)
	for _, n := range fresh {
		if n != s.node {
			c.join(n)
		}
	}
}

// join connects to a node that is known by the word of others. It waits to hear of this one, so a
// process that goes on as this one has to know how far this is: that of joining it joins again.
func (c *server) join(node string) {
	c.joining[node] = true
	c.out.join(node)
}

func (c *server) mayJoin(node string) bool { return c.joins == nil || c.joins(node) }

// addKnown gives those nodes that were not known. A session with one of them that knows this node
// is over. One that may not be joined stays unknown: it is not lost, which others would have to be
// told of.
func (c *server) addKnown(nodes []nodeVersion) (fresh []string) {
	for _, v := range nodes {
		was, isKnown := c.known[v.node]
		switch {
		case v.node == c.self || !isKnown && (len(c.known) >= maxKnown || !c.mayJoin(v.node)):
		case !isKnown:
			fresh = append(fresh, v.node)
			fallthrough
		case was == 0:
			c.known[v.node] = v.version
			delete(c.left, v.node)
			c.out.changed(changedKnown, v.node)
			if s := c.sessions[v.node]; s != nil && s.inSync {
				c.inSync(v.node)
			}
		}
	}
	return fresh
}

func (c *server) isSynced(node string) {
	c.synced[node] = true
	c.returned(node)
	c.nodeSynced(node)
}

// newNodes is from a node of our partition, which has become one with another partition.
func (c *server) newNodes(from string, ops, ext, nodes, extra ei.Term) {
	if _, ok := c.known[from]; !ok {
		return
	}
	fresh := c.addKnown(nodesOf(nodes))
	lockID := ei.Term(nil)
	list, _ := ei.Elements(extra)
	for _, e := range list {
		if t, ok := e.(ei.Tuple); ok && len(t) == 2 && isAtom(t[0], "lock") {
			lockID = t[1]
		}
	}
	c.doOps(opsOf(ops), ext, lockID)
	for _, n := range fresh {
		c.join(n)
	}
}

// joined: a node of the other partition is connected. If it is not known any more, as changes could
// not be told to it, there is a session with it.
func (c *server) joined(node string) {
	if _, ok := c.known[node]; ok {
		c.cast(node, ei.Atom("in_sync"), ei.Atom(c.self), ei.Atom("true"))
		c.out.confirm(node)
	}
}

// inSync: a node knows this one, by the word of a third one. So does this node, or is about to.
func (c *server) inSync(node string) {
	s := c.sessions[node]
	switch _, isKnown := c.known[node]; {
	case isKnown:
		if s != nil {
			c.endSession(s)
		}
		c.isSynced(node)
	case s == nil:
		if len(c.early) < maxKnown {
			e := c.early[node]
			e.inSync = true
			c.early[node] = e
		}
	case !s.inSync:
		s.inSync = true
		c.expectKnown(s)
	}
}
