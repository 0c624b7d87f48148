package global

import (
	"maps"
	"slices"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/kept"
)

// version is that of global's protocol, the same in OTP 25, 27 and 29.
const version = 8

const (
	serverName = "global_name_server"

	// Bounds on what peers can make the node remember. Those that OTP has none for are far from
	// what any cluster has.
	maxKnown   = 10_000
	maxLocks   = 65_536 // a peer's
	maxNames   = 1 << 20
	maxWaiters = 10_000   // of {sync, _} and {whereis, _, _}
	maxLost    = 200_000  // pairs of nodes
	maxNameLen = 64 << 10 // bytes of an encoded name, or method
	maxTagLen  = 512      // bytes of an encoded tag: OTP's are integers and references

	keptCost = 512 // what a name, or a lock, takes besides its terms, in bytes

	lostMemory = time.Hour // how long a lost_connection is remembered, as in OTP
)

// A server is the state of a global_name_server, and does what messages say. It is used by one
// goroutine at a time, and waits for nothing: what it wants done it tells its outside.
type server struct {
	self     string // the node
	creation uint32
	out      outside

	state
	known  map[string]int  // the nodes that are synchronised with this one: their versions
	stale  map[string]bool // known to the worker that decided before, and connected to that, perhaps
	left   map[string]bool // those that all have been told to leave, since they were members
	silent bool            // partitions may overlap
	// tells whether a node may be joined because others say that it takes part; nil: any
	joins func(node string) bool

	names  map[string]*name // by their encoding
	byRef  map[ei.Ref]*name
	byPid  map[ei.Pid]map[string]bool
	locks  map[string]*lock
	lockOf map[ei.Ref]heldBy
	held   map[ei.Atom]int // how many locks the processes of a node have
	bytes  int             // what names and locks take, of which those of peers take no more than most
	most   int
}

// A state is what of a server the process that goes on as this one has as it is.
type state struct {
	Up       map[string]ei.Pid // the visible nodes that are connected, and who has said so
	Synced   map[string]bool   // those that have the same names
	Removing map[string]bool   // those that are to end their connection
	// returning are the nodes that this one has left, to begin anew with them (anew.go); true: they
	// are still connected
	Returning map[string]bool
	Asked     map[string]bool // those that it has asked to disconnect, in case they know it
	Joining   map[string]bool // known by the word of others, until they have said that they know this node
	Broken    bool            // a process has ended, and with it what it was told: anew is yet to come
	Sessions  map[string]*session
	Early     map[string]early // init_connect that came before nodeup
	LastTag   int64
	Xcre      int64 // with the creation it tells this life of the node from others
	Lost      map[[2]string]loss
	// downed: the last holder of the global lock has died with it
	Downed bool

	Syncs   []syncWaiter
	Settles []letter // calls that wait until no node is returning
	Wheres  []whereWaiter
}

// outside is what a server has done by others.
type outside interface {
	post(l letter)                        // sends; letters to one node stay in order
	monitor(pid ei.Pid) (ei.Ref, bool)    // false: the process's node is not connected
	watchLater(name *name)                // monitors a process of a node that is yet to be connected
	demonitor(ref ei.Ref)                 //
	join(node string)                     // connects, then calls joined or nodedown
	disconnect(node string)               //
	resolve(s *session, clashes []*clash) // asks who keeps the names, then calls resolved
	lockerPid() ei.Pid                    //
	candidate(him him)                    // a node whose locker may lock with ours
	lockSet(node string, tag int64, set bool, from ei.Pid)
	cancel(node string, tag int64)       // the locker gives up, or releases, what it has for the session
	changed(kind changeKind, key string) // for the other workers
	after(d time.Duration, f func())     // calls f later
	confirm(node string)                 // asks whether the node knows this one, then calls confirmed
	warn(text string, args ...any)
	debug(text string, args ...any)
}

func newServer(self string, creation uint32, out outside) *server {
	now := time.Now()
	return &server{
		self: self, creation: creation, out: out,
		state: state{
			Up: map[string]ei.Pid{}, Synced: map[string]bool{}, Removing: map[string]bool{},
			Returning: map[string]bool{}, Asked: map[string]bool{}, Joining: map[string]bool{},
			Sessions: map[string]*session{}, Early: map[string]early{}, Lost: map[[2]string]loss{},
			LastTag: now.UnixMicro(), Xcre: now.UnixNano()&(1<<26-1)<<32 + int64(creation),
		},
		known: map[string]int{}, stale: map[string]bool{}, left: map[string]bool{},
		names: map[string]*name{}, byRef: map[ei.Ref]*name{}, byPid: map[ei.Pid]map[string]bool{},
		locks: map[string]*lock{}, lockOf: map[ei.Ref]heldBy{}, held: map[ei.Atom]int{}, most: kept.DefaultLimit(1),
	}
}

// tag makes an integer that is greater than those before.
func (c *server) tag() int64 {
	c.LastTag = max(c.LastTag+1, time.Now().UnixMicro())
	return c.LastTag
}

// cast sends what gen_server:cast sends, to the server of another node, and connects as that does.
func (c *server) cast(node string, elems ...ei.Term) {
	c.write(letter{Node: node, Name: true, Connects: true}, ei.Tuple{ei.Atom("$gen_cast"), ei.Tuple(elems)})
}

// tell sends a message to the server of another node, if that is connected.
func (c *server) tell(node string, t ei.Term) {
	c.write(letter{Node: node, Name: true}, t)
}

func (c *server) write(l letter, t ei.Term) {
	raw, err := ei.AppendTerm(nil, t)
	if err != nil {
		c.out.warn("global: a message cannot be encoded", "peer", l.Node, "error", err)
		return
	}
	l.Payload = raw
	c.out.post(l)
}

// message does what a message says that a process of the node from has sent.
func (c *server) message(from string, t ei.Term) {
	m, ok := t.(ei.Tuple)
	if !ok || len(m) == 0 {
		return
	}
	switch tagOf(m) {
	case "$gen_cast":
		if len(m) == 2 {
			if inner, ok := m[1].(ei.Tuple); ok && len(inner) > 0 {
				c.castMessage(from, inner)
				return
			}
		}
	case "$gen_call":
		if to, request, ok := callOf(from, m); ok {
			c.call(from, to, request)
			return
		}
	case "lost_connection", "remove_connection", "cancel_connect", "init_connect_ack", "whereis":
		c.plain(from, m)
		return
	}
	c.out.debug("global: an unexpected message", "peer", from, "message", t)
}

// castMessage handles what the servers of other nodes cast. Each names its sender, which must be
// the one that it comes from.
func (c *server) castMessage(from string, m ei.Tuple) {
	who := m[1:]
	switch of := tagOf(m); {
	case of == "lock_set" && (len(m) == 4 || len(m) == 5):
		c.heardLockSet(from, m)
		return
	case len(who) == 0 || !isAtom(m[1], from) && of != "init_connect":
	case of == "init_connect" && len(m) == 4 && isAtom(m[2], from):
		c.initConnect(from, m[1], m[3])
		return
	case of == "exchange" && len(m) == 5:
		c.exchange(from, m[2], m[4])
		return
	case of == "resolved" && len(m) == 7:
		c.resolvedBy(from, m[2], m[3], m[5], m[6])
		return
	case of == "new_nodes" && len(m) == 6:
		c.newNodes(from, m[2], m[3], m[4], m[5])
		return
	case of == "in_sync" && len(m) == 3:
		c.inSync(from)
		return
	}
	c.out.debug("global: an unexpected cast", "peer", from, "message", m)
}

// plain handles messages that are neither calls nor casts.
func (c *server) plain(from string, m ei.Tuple) {
	switch of := tagOf(m); {
	case of == "lost_connection" && len(m) == 5:
		c.lostConnection(from, m)
	case of == "remove_connection" && len(m) == 2 && isAtom(m[1], from):
		c.removeConnection(from)
	case of == "cancel_connect" && len(m) == 3 && isAtom(m[1], from):
		c.cancelConnect(from, m[2])
	case of == "init_connect_ack" && len(m) == 4 && isAtom(m[1], from):
		c.initConnectAck(from, m[2], m[3])
	case of == "whereis" && len(m) == 3:
		if to, ok := replyTo(from, m[2]); ok {
			c.whereis(m[1], to)
		}
	}
}

// call answers a gen_server:call. What it does not know, and what OTP's server asks of itself only,
// is an error: that logs it, and lets the caller wait in vain.
func (c *server) call(from string, to letter, request ei.Term) {
	r, ok := request.(ei.Tuple)
	if !ok {
		r = ei.Tuple{request}
	}
	switch of := tagOf(r); {
	case of == "set_lock" && len(r) == 2:
		c.reply(to, atomOf(c.mayLock(from, r[1]) && c.setLock(to.Pid, r[1])))
	case of == "del_lock" && len(r) == 2:
		c.delLock(to.Pid, r[1])
		c.reply(to, ei.Atom("true"))
	case of == "register" && len(r) == 4:
		c.register(to.Pid, r[1], r[2], r[3], "")
		c.reply(to, ei.Atom("yes"))
	case of == "register_ext" && len(r) == 5:
		host, _ := r[4].(ei.Atom)
		c.register(to.Pid, r[1], r[2], r[3], string(host))
		c.reply(to, ei.Atom("yes"))
	case of == "unregister" && len(r) == 2:
		c.unregister(to.Pid, r[1])
		c.reply(to, ei.Atom("ok"))
	case of == "get_known" && len(r) == 1:
		c.reply(to, atoms(slices.Sorted(maps.Keys(c.known))))
	case of == "get_synced" && len(r) == 1:
		c.reply(to, atoms(slices.Sorted(maps.Keys(c.Synced))))
	case of == "get_protocol_version" && len(r) == 1:
		c.reply(to, ei.Int(version))
	case of == "get_names_ext" && len(r) == 1:
		c.reply(to, c.external())
	case of == "sync" && len(r) == 2:
		c.sync(to, r[1])
	case of == "check" && len(r) == 3 && from == c.self: // of ours: may the process have the name?
		c.reply(to, c.check(r[1], r[2]))
	case of == "settled" && len(r) == 1 && from == c.self: // of ours, too
		c.settled(to)
	default:
		c.out.debug("global: an unexpected call", "peer", from, "request", request)
		c.reply(to, kept.UnknownRequest())
	}
}

func (c *server) reply(to letter, answer ei.Term) {
	raw, err := ei.AppendTerm(nil, ei.Tuple{to.Tag, answer})
	if err != nil {
		return
	}
	to.Payload = raw
	c.out.post(to)
}

// A syncWaiter is a call that waits until this node has the same names as others.
type syncWaiter struct {
	To   letter
	Left map[string]bool
}

// sync answers ok once the nodes are synchronised, or down. An empty list is that of all nodes.
func (c *server) sync(to letter, nodes ei.Term) {
	left := map[string]bool{}
	list, _ := ei.Elements(nodes)
	for _, n := range list {
		if a, ok := n.(ei.Atom); ok {
			left[string(a)] = true
		}
	}
	if len(list) == 0 {
		for n := range c.Up {
			left[n] = true
		}
		for n := range c.Returning {
			left[n] = true
		}
	}
	for n := range left {
		_, up := c.Up[n]
		_, returns := c.Returning[n]
		if c.Synced[n] || !up && !returns {
			delete(left, n)
		}
	}
	switch {
	case len(left) == 0:
		c.reply(to, ei.Atom("ok"))
	case len(c.Syncs) < maxWaiters:
		c.Syncs = append(c.Syncs, syncWaiter{to, left})
	}
}

// nodeSynced answers those that have waited for a node, which is synchronised or down.
func (c *server) nodeSynced(node string) {
	if _, returns := c.Returning[node]; returns {
		return
	}
	c.Syncs = slices.DeleteFunc(c.Syncs, func(w syncWaiter) bool {
		delete(w.Left, node)
		if len(w.Left) == 0 {
			c.reply(w.To, ei.Atom("ok"))
		}
		return len(w.Left) == 0
	})
}

// A whereWaiter is a {whereis, Name, From} that waits until the global lock is released.
type whereWaiter struct {
	Key ei.Binary
	To  letter
}

func (c *server) whereis(n ei.Term, to letter) {
	key, _, ok := keyOf(n)
	switch {
	case !ok || c.locks[globalKey] == nil:
		c.answerWhereis(whereWaiter{ei.Binary(key), to})
	case len(c.Wheres) < maxWaiters:
		c.Wheres = append(c.Wheres, whereWaiter{ei.Binary(key), to})
	}
}

func (c *server) answerWhereis(w whereWaiter) {
	if n := c.names[string(w.Key)]; n != nil {
		c.reply(w.To, n.pid)
	} else {
		c.reply(w.To, ei.Atom("undefined"))
	}
}

// unlocked is called when nobody has the global lock any more.
func (c *server) unlocked() {
	for _, w := range c.Wheres {
		c.answerWhereis(w)
	}
	c.Wheres = nil
}

// down is the end of a monitored process.
func (c *server) down(ref ei.Ref) {
	if h, ok := c.lockOf[ref]; ok {
		c.release(h.resource, h.pid, true)
	}
	if n := c.byRef[ref]; n != nil {
		c.deleteName(n.key)
	}
}
