package global

import (
	"maps"
	"slices"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// A session is the synchronisation of this node's partition with that of another node, from nodeup
// until both have the same names.
type session struct {
	Node   string
	Tag    int64   // ours, in what the other node sends
	HisTag ei.Term `ei:",omitempty"`
	Locker ei.Pid  `ei:",omitempty"` // the other node's
	Begun  bool    // init_connect has come: hisTag and locker are set
	InSync bool    // in_sync has come: the other node knows this one, which is about to know it

	Locked  bool    // our locker says that both partitions are locked
	LockID  ei.Term `ei:",omitempty"`
	Names   []name  // those of exchange
	Heard   bool    // exchange has come
	Asking  bool    // who keeps a name is being asked
	Ops     []op    // what we have to do
	Decided bool    // ops are complete
	His     *resolution
}

// A resolution is what the other node has made of conflicts.
type resolution struct {
	Ops   []op
	Known []nodeVersion
	Ext   ei.Term `ei:",omitempty"`
}

// An early is what has come before nodeup: init_connect, or in_sync.
type early struct {
	Version ei.Term `ei:",omitempty"` // nil: there was no init_connect
	Init    ei.Term `ei:",omitempty"`
	InSync  bool
}

// him is a node that our locker may lock with.
type him struct {
	Node   string
	Tag    int64 // ours
	HisTag ei.Term
	Locker ei.Pid
}

// nodeup begins a session with a visible node that is connected; by is who says so.
func (c *server) nodeup(node string, by ei.Pid) {
	if c.stale[node] { // a worker that has died had it until now
		c.cutOff(node)
	}
	if was, ok := c.Up[node]; ok && was != by { // another worker has it now
		c.nodedown(node, was)
	}
	c.Up[node] = by
	c.begin(node)
}

// succeed has another process of this worker go on as the one that said which nodes are up.
func (c *server) succeed(was, now ei.Pid) {
	for node, by := range c.Up {
		if by == was {
			c.Up[node] = now
		}
	}
}

func (c *server) begin(node string) {
	if c.Sessions[node] != nil {
		return
	}
	if _, isKnown := c.known[node]; isKnown {
		if c.Early[node].InSync {
			delete(c.Early, node)
			c.inSync(node)
		}
		return
	}
	s := &session{Node: node, Tag: c.tag()}
	c.Sessions[node] = s
	versions := make(ei.Map, 0, len(c.known))
	for _, n := range slices.Sorted(maps.Keys(c.known)) {
		versions = append(versions, ei.Pair{Key: ei.Atom(n), Value: ei.Int(c.known[n])})
	}
	c.cast(node, ei.Atom("init_connect"), ei.Tuple{ei.Int(version), ei.Int(s.Tag)}, ei.Atom(c.self),
		ei.Tuple{ei.Atom("locker"), ei.Atom("no_longer_a_pid"), versions, c.out.lockerPid()})
	if e, ok := c.Early[node]; ok {
		delete(c.Early, node)
		if e.Version != nil {
			c.initConnect(node, e.Version, e.Init)
		}
		if e.InSync {
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
	if !ok || string(locker.Node) != node || !otp.PossibleEverywhere(locker) {
		return
	}
	s := c.Sessions[node]
	if s != nil && s.Begun {
		// The other node has begun anew. It has this one's tag, or has that coming: else it would have
		// cancelled the session. OTP begins anew here, too; if both nodes do they may never end.
		c.endSession(s)
		s = &session{Node: node, Tag: s.Tag}
		c.Sessions[node] = s
	}
	if s == nil {
		if len(c.Early) < maxKnown {
			c.Early[node] = early{vt[:2], ei.Tuple{it[0], ei.Atom("no_longer_a_pid"), ei.Map{}, locker}, c.Early[node].InSync}
		}
		return
	}
	s.HisTag, s.Locker, s.Begun = vt[1], locker, true
	delete(c.left, node)
	c.out.candidate(him{node, s.Tag, s.HisTag, locker})
	c.tell(node, ei.Tuple{ei.Atom("init_connect_ack"), ei.Atom(c.self), s.HisTag, ei.Int(s.Tag)})
}

func (c *server) initConnectAck(node string, mine, his ei.Term) {
	s := c.Sessions[node]
	if s == nil || !s.is(mine) || s.Begun && ei.Identical(s.HisTag, his) { // or of a session that is over
		return
	}
	c.tell(node, ei.Tuple{ei.Atom("cancel_connect"), ei.Atom(c.self), his})
	c.restart(node)
}

// is tells whether a tag is that of the session.
func (s *session) is(tag ei.Term) bool { return tag == ei.Term(ei.Int(s.Tag)) }

// sessionOf is the session that a tag belongs to; nil for one that is over.
func (c *server) sessionOf(node string, tag ei.Term) *session {
	if s := c.Sessions[node]; s != nil && s.is(tag) {
		return s
	}
	return nil
}

// cancelConnect: the other node has given the session up. If it knows this one it says so once, and
// may have said it before.
func (c *server) cancelConnect(node string, tag ei.Term) {
	if s := c.sessionOf(node, tag); s != nil {
		c.restart(node)
		if s.InSync {
			c.inSync(node)
		}
	}
}

// restart gives a session up, and begins another one if the node is still up.
func (c *server) restart(node string) {
	if s := c.Sessions[node]; s != nil {
		c.endSession(s)
	}
	if _, up := c.Up[node]; up {
		c.begin(node)
	}
}

// endSession forgets a session. The locker releases what it has for it.
func (c *server) endSession(s *session) {
	delete(c.Sessions, s.Node)
	delete(c.Early, s.Node)
	c.out.cancel(s.Node, s.Tag)
}

// abandon gives up a session in which the other node has not done its part in time.
func (c *server) abandon(node string, tag int64) {
	s := c.Sessions[node]
	if s == nil || s.Tag != tag {
		return
	}
	c.out.warn("global: the node does not go on with the synchronisation", "peer", node)
	if s.Begun {
		c.tell(node, ei.Tuple{ei.Atom("cancel_connect"), ei.Atom(c.self), s.HisTag})
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
	s := c.Sessions[from]
	if s == nil || !s.Begun || len(m) == 5 && !s.is(m[4]) {
		return
	}
	c.out.lockSet(from, s.Tag, isAtom(m[2], "true"), pid)
}

// bothLocked is from our locker: the names of both partitions are locked.
func (c *server) bothLocked(node string, tag int64, lockID ei.Term) {
	s := c.Sessions[node]
	if s == nil || s.Tag != tag {
		c.out.cancel(node, tag)
		return
	}
	if !s.Locked { // else a process that this one goes on for has said it: two exchanges end OTP's server
		s.Locked, s.LockID = true, lockID
		c.cast(node, ei.Atom("exchange"), ei.Atom(c.self), c.entries(), ei.List{}, s.HisTag)
	}
	c.compare(s)
}

func (c *server) exchange(node string, list, tag ei.Term) {
	if s := c.sessionOf(node, tag); s != nil && !s.Heard {
		s.Names, s.Heard = namesOf(list), true
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
	if !s.Locked || !s.Heard || s.Asking || s.Decided {
		return
	}
	var clashes []*clash
	s.Ops = nil
	for _, n := range s.Names {
		own := c.names[n.key]
		switch {
		case own == nil:
			s.Ops = append(s.Ops, op{name: n})
		case own.pid != n.pid && c.self < s.Node:
			clashes = append(clashes, &clash{his: n, own: *own})
		}
	}
	if len(clashes) == 0 {
		c.decide(s, nil)
		return
	}
	s.Asking = true
	c.out.resolve(s, clashes)
}

// resolved is from those who were asked about the conflicts of a session.
func (c *server) resolved(node string, tag int64, clashes []*clash) {
	if s := c.Sessions[node]; s != nil && s.Tag == tag && s.Asking {
		s.Asking = false
		c.decide(s, clashes)
	}
}

func (c *server) decide(s *session, clashes []*clash) {
	var his []op
	for _, cl := range clashes {
		// nodes may have been lost while somebody was asked: each side has dropped their names
		own := c.names[cl.own.key]
		hasOwn := own != nil && own.pid == cl.own.pid
		hasHis := slices.ContainsFunc(s.Names, func(n name) bool { return n.key == cl.his.key && n.pid == cl.his.pid })
		switch {
		case cl.keep == keepNone:
			o := op{delete: true, name: cl.own}
			s.Ops, his = append(s.Ops, o), append(his, o)
		case hasHis && (cl.keep == keepHis || !hasOwn):
			s.Ops = append(s.Ops, op{name: cl.his})
		case hasOwn:
			his = append(his, op{name: cl.own})
		}
	}
	s.Decided, s.Names = true, nil
	c.cast(s.Node, ei.Atom("resolved"), ei.Atom(c.self), encodeOps(his), c.knownList(), ei.Atom("unused"), c.external(), s.HisTag)
	if s.His != nil {
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
	if s == nil || s.His != nil || !s.Locked {
		return
	}
	s.His = &resolution{opsOf(ops), nodesOf(known), externalOf(ext)}
	if s.Decided {
		c.finish(s)
	}
}

// finish makes one partition of two.
func (c *server) finish(s *session) {
	ops := slices.Concat(s.Ops, s.His.Ops)
	c.doOps(ops, s.His.Ext, s.LockID)
	added := append([]nodeVersion{{s.Node, version}}, s.His.Known...)
	news := ei.List{}
	for _, v := range added {
		if v.Node != c.self {
			news = append(news, v.term())
		}
	}
	for _, n := range slices.Sorted(maps.Keys(c.known)) {
		c.cast(n, ei.Atom("new_nodes"), ei.Atom(c.self), encodeOps(ops), s.His.Ext, news,
			ei.List{ei.Tuple{ei.Atom("vsn"), ei.Int(version)}, ei.Tuple{ei.Atom("lock"), s.LockID}})
	}
	c.endSession(s)
	for _, v := range s.His.Known {
		if other := c.Sessions[v.Node]; other != nil && !other.InSync {
			c.endSession(other)
		}
	}
	fresh := c.addKnown(added)
	c.isSynced(s.Node)
	for _, n := range fresh {
		if n != s.Node {
			c.join(n)
		}
	}
}

// join connects to a node that is known by the word of others. It waits to hear of this one, so a
// process that goes on as this one has to know how far this is: that of joining it joins again.
func (c *server) join(node string) {
	c.Joining[node] = true
	c.out.join(node)
}

func (c *server) mayJoin(node string) bool { return c.joins == nil || c.joins(node) }

// addKnown gives those nodes that were not known. A session with one of them that knows this node
// is over. One that may not be joined stays unknown: it is not lost, which others would have to be
// told of.
func (c *server) addKnown(nodes []nodeVersion) (fresh []string) {
	for _, v := range nodes {
		was, isKnown := c.known[v.Node]
		switch {
		case v.Node == c.self || !isKnown && (len(c.known) >= maxKnown || !c.mayJoin(v.Node)):
		case !isKnown:
			fresh = append(fresh, v.Node)
			fallthrough
		case was == 0:
			c.known[v.Node] = v.Version
			delete(c.left, v.Node)
			c.out.changed(changedKnown, v.Node)
			if s := c.Sessions[v.Node]; s != nil && s.InSync {
				c.inSync(v.Node)
			}
		}
	}
	return fresh
}

func (c *server) isSynced(node string) {
	c.Synced[node] = true
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
	s := c.Sessions[node]
	switch _, isKnown := c.known[node]; {
	case isKnown:
		if s != nil {
			c.endSession(s)
		}
		c.isSynced(node)
	case s == nil:
		if len(c.Early) < maxKnown {
			e := c.Early[node]
			e.InSync = true
			c.Early[node] = e
		}
	case !s.InSync:
		s.InSync = true
		c.expectKnown(s)
	}
}
