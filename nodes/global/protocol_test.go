package global

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// A stage is the outside of a server, which notes what the server has done.
type stage struct {
	t       *testing.T
	self    string
	refs    uint32
	watches map[ei.Ref]ei.Pid
	sent    []string // "to: term"
	did     []string
	clashes []*clash
	him     []him
	later   []func()
	absent  map[ei.Atom]bool // nodes whose processes cannot be monitored
}

func newStage(t *testing.T, self string) (*stage, *server) {
	s := &stage{t: t, self: self, watches: map[ei.Ref]ei.Pid{}, absent: map[ei.Atom]bool{}}
	return s, newServer(self, 1, s)
}

func (s *stage) post(l letter) {
	term, err := l.Payload.Decode()
	require.NoError(s.t, err)
	s.sent = append(s.sent, fmt.Sprintf("%s: %v", l.Node, term))
}

func (s *stage) monitor(pid ei.Pid) (ei.Ref, bool) {
	if s.absent[pid.Node] {
		return ei.Ref{}, false
	}
	s.refs++
	ref := ei.Ref{Node: ei.Atom(s.self), Creation: 1, Len: 1, ID: [5]uint32{s.refs}}
	s.watches[ref] = pid
	return ref, true
}

func (s *stage) demonitor(ref ei.Ref)                          { delete(s.watches, ref) }
func (s *stage) watchLater(n *name)                            { s.note("watch later %v", n.term) }
func (s *stage) join(node string)                              { s.note("join %s", node) }
func (s *stage) disconnect(node string)                        { s.note("disconnect %s", node) }
func (s *stage) resolve(_ *session, clashes []*clash)          { s.clashes = clashes }
func (s *stage) lockerPid() ei.Pid                             { return pid(s.self, 1) }
func (s *stage) candidate(h him)                               { s.him = append(s.him, h) }
func (s *stage) lockSet(n string, _ int64, set bool, _ ei.Pid) { s.note("lock set %s %v", n, set) }
func (s *stage) cancel(node string, _ int64)                   { s.note("cancel %s", node) }
func (s *stage) changed(changeKind, string)                    {}
func (s *stage) after(_ time.Duration, f func())               { s.later = append(s.later, f) }
func (s *stage) confirm(node string)                           { s.note("confirm %s", node) }
func (s *stage) warn(string, ...any)                           {}
func (s *stage) debug(string, ...any)                          {}
func (s *stage) note(format string, args ...any)               { s.did = append(s.did, fmt.Sprintf(format, args...)) }

// end tells the server that a process has ended.
func (s *stage) end(c *server, p ei.Pid) {
	for ref, of := range s.watches {
		if of == p {
			delete(s.watches, ref)
			c.down(ref)
		}
	}
}

func (s *stage) said() []string {
	list := s.sent
	s.sent = nil
	return list
}

func pid(node string, id uint32) ei.Pid {
	return ei.Pid{Node: ei.Atom(node), ID: id, Creation: 7}
}

// term reads Erlang text in which P1@a is a process.
func term(t *testing.T, text string) ei.Term {
	parsed, err := ei.Parse(text)
	require.NoError(t, err, text)
	return parsed
}

func call(from ei.Pid, request ei.Term) ei.Term {
	return ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{from, ei.Atom("tag")}, request}
}

func cast(elems ...ei.Term) ei.Term { return ei.Tuple{ei.Atom("$gen_cast"), ei.Tuple(elems)} }

// initConnect is how a node begins a session.
func initConnect(node string, tag ei.Term, locker ei.Pid) ei.Term {
	return cast(a("init_connect"), ei.Tuple{ei.Int(8), tag}, a(node), ei.Tuple{a("locker"), a("no_longer_a_pid"), ei.Map{}, locker})
}

func a(text string) ei.Term { return ei.Atom(text) }

// synchronise does what another node does, up to the end of the session.
func synchronise(t *testing.T, s *stage, c *server, node string, names, known ei.List) {
	t.Helper()
	c.nodeup(node, pid(s.self, 2))
	tag := ei.Int(c.Sessions[node].Tag)
	c.message(node, initConnect(node, ei.Int(99), pid(node, 1)))
	lockID := ei.Tuple{a("global"), ei.List{pid(s.self, 1), pid(node, 1)}}
	c.message(node, call(pid(node, 1), ei.Tuple{a("set_lock"), lockID}))
	c.message(s.self, call(pid(s.self, 1), ei.Tuple{a("set_lock"), lockID}))
	c.bothLocked(node, int64(tag), lockID)
	c.message(node, cast(a("exchange"), a(node), names, ei.List{}, tag))
	if s.clashes == nil {
		c.message(node, cast(a("resolved"), a(node), ei.List{}, known, a("unused"), ei.List{}, tag))
	}
	c.message(node, call(pid(node, 1), ei.Tuple{a("del_lock"), lockID}))
	c.message(s.self, call(pid(s.self, 1), ei.Tuple{a("del_lock"), lockID}))
}

func entry(n string, p ei.Pid) ei.Term {
	return ei.Tuple{a(n), p, ei.Export{Module: "global", Function: "random_exit_name", Arity: 3}}
}

func TestSession(t *testing.T) {
	s, c := newStage(t, "b@test")
	c.nodeup("c@test", pid("b@test", 2))
	tag := c.Sessions["c@test"].Tag
	require.Equal(t, []string{fmt.Sprintf(
		"c@test: {'$gen_cast',{init_connect,{8,%d},b@test,{locker,no_longer_a_pid,#{},%v}}}", tag, pid("b@test", 1))}, s.said())
	init := initConnect("c@test", ei.Int(99), pid("c@test", 1))
	c.message("c@test", init)
	require.Equal(t, []string{fmt.Sprintf("c@test: {init_connect_ack,b@test,99,%d}", tag)}, s.said())
	require.Equal(t, []him{{"c@test", tag, ei.Int(99), pid("c@test", 1)}}, s.him)
	c.message("c@test", ei.Tuple{a("init_connect_ack"), a("c@test"), ei.Int(tag), ei.Int(99)})
	require.Empty(t, s.said())

	// tags that do not fit: anew
	c.message("c@test", ei.Tuple{a("init_connect_ack"), a("c@test"), ei.Int(1), ei.Int(99)})
	require.Empty(t, s.said(), "of a session that is over")
	c.message("c@test", ei.Tuple{a("init_connect_ack"), a("c@test"), ei.Int(tag), ei.Int(98)})
	said := s.said()
	require.Len(t, said, 2)
	require.Equal(t, "c@test: {cancel_connect,b@test,98}", said[0])
	require.Greater(t, c.Sessions["c@test"].Tag, tag)
	tag = c.Sessions["c@test"].Tag
	c.message("c@test", ei.Tuple{a("cancel_connect"), a("c@test"), ei.Int(1)})
	require.Empty(t, s.said(), "a tag of nobody's")
	c.message("c@test", ei.Tuple{a("cancel_connect"), a("c@test"), ei.Int(tag)})
	require.Len(t, s.said(), 1)

	// init_connect before nodeup
	c.message("d@test", initConnect("d@test", ei.Int(5), pid("d@test", 1)))
	require.Empty(t, s.said())
	c.nodeup("d@test", pid("b@test", 2))
	require.Len(t, s.said(), 2)
}

// The names of both partitions are exchanged, and the nodes of ours told; nodes that the other one
// knows are joined.
func TestExchange(t *testing.T) {
	s, c := newStage(t, "b@test")
	synchronise(t, s, c, "a@test", ei.List{entry("x", pid("a@test", 5))}, ei.List{})
	require.Equal(t, map[string]int{"a@test": 8}, c.known)
	require.Equal(t, pid("a@test", 5), c.names[keyOfText("x")].pid)
	s.said()
	synchronise(t, s, c, "c@test", ei.List{entry("y", pid("d@test", 6))}, ei.List{ei.Tuple{a("d@test"), ei.Int(8)}})
	said := s.said()
	require.True(t, slices.ContainsFunc(said, func(m string) bool {
		return m == fmt.Sprintf("a@test: {'$gen_cast',{new_nodes,b@test,[{insert,{y,%v,fun global:random_exit_name/3}}],[],"+
			"[{c@test,8},{d@test,8}],[{vsn,8},{lock,{global,[%v,%v]}}]}}", pid("d@test", 6), pid("b@test", 1), pid("c@test", 1))
	}), said)
	require.Contains(t, s.did, "join d@test")
	c.joined("d@test")
	require.Contains(t, s.said(), "d@test: {'$gen_cast',{in_sync,b@test,true}}")
	require.Len(t, c.names, 2)
	s.end(c, pid("d@test", 6))
	require.Len(t, c.names, 1)
	c.nodedown("a@test", pid("b@test", 2))
	require.Empty(t, c.names)
	require.Empty(t, c.locks)
	require.Empty(t, s.watches)
}

func keyOfText(text string) string {
	key, _, _ := keyOf(ei.Atom(text))
	return key
}

func TestLockTable(t *testing.T) {
	s, c := newStage(t, "b@test")
	one, two := pid("a@test", 1), pid("a@test", 2)
	id := term(t, "{res, me}")
	require.True(t, c.setLock(one, id))
	require.True(t, c.setLock(one, id))
	require.True(t, c.setLock(two, id), "the same requester")
	require.False(t, c.setLock(two, term(t, "{res, other}")))
	require.True(t, c.setLock(two, term(t, "{another, other}")))
	require.Len(t, s.watches, 3)
	c.delLock(one, id)
	require.False(t, c.setLock(one, term(t, "{res, other}")), "two has it")
	c.delLock(two, term(t, "{res, other}"))
	require.False(t, c.setLock(one, term(t, "{res, other}")), "another requester's end of it")
	s.end(c, two)
	require.True(t, c.setLock(one, term(t, "{res, other}")))
	c.delLock(one, term(t, "{res, other}"))
	require.Empty(t, c.locks)
	require.Empty(t, s.watches)
	require.Empty(t, c.held)
	s.absent["gone@test"] = true
	require.False(t, c.setLock(pid("gone@test", 1), id))
	for _, bad := range []string{"res", "{res}", "[res|me]", "{a, b, c}"} {
		require.False(t, c.setLock(one, term(t, bad)), bad)
	}
}

// What a caller changes who has no lock, or has lost it with its node, changes nothing: the name
// may be another process's.
func TestChangeNeedsLock(t *testing.T) {
	s, c := newStage(t, "b@test")
	by, other := pid("a@test", 1), pid("a@test", 9)
	method := ei.Export{Module: "global", Function: "random_exit_name", Arity: 3}
	register := func(id uint32) ei.Tuple { return ei.Tuple{a("register"), a("x"), pid("c@test", id), method} }
	unregister := ei.Tuple{a("unregister"), a("x")}
	has := func(id uint32, why string) {
		t.Helper()
		require.Len(t, c.names, 1, why)
		for _, n := range c.names {
			require.Equal(t, pid("c@test", id), n.pid, why)
		}
	}
	id := ei.Tuple{a("global"), by}
	deletes := func(lock ei.Term) {
		key, x, _ := keyOf(a("x"))
		c.doOps([]op{{delete: true, name: name{key: key, term: x}}}, nil, lock)
	}
	require.True(t, c.setLock(by, id))
	c.message("a@test", call(by, register(5)))
	has(5, "it has the lock")
	c.message("a@test", call(other, register(6)))
	c.message("a@test", call(other, unregister))
	deletes(ei.Tuple{a("global"), other})
	has(5, "another one has the lock")
	s.end(c, by)
	c.message("a@test", call(by, register(6)))
	c.message("a@test", call(by, unregister))
	deletes(id)
	has(5, "the lock went with its holder")
	require.True(t, c.setLock(by, id))
	c.delLock(by, id)
	c.message("a@test", call(by, register(6)))
	has(5, "it is another process's name")
	c.message("a@test", call(by, unregister))
	require.Empty(t, c.names, "as in OTP, where the lock may be released before")
	c.message("a@test", call(by, register(7)))
	has(7, "as in OTP, where the lock may be released before")
}

// A node that was left, and does not know yet, does not get the lock of the names: those that it
// would give with that in the place of others would be gone with its connection.
func TestLeftNodeLocksNoNames(t *testing.T) {
	s, c := newStage(t, "b@test")
	for _, n := range []string{"a@test", "c@test"} {
		synchronise(t, s, c, n, nil, nil)
	}
	set := call(pid("c@test", 1), term(t, "{set_lock, {global, me}}"))
	c.message("a@test", term(t, "{lost_connection, 'a@test', 1, 1, 'c@test'}"))
	c.message("c@test", set)
	require.Empty(t, c.locks)
	c.message("c@test", call(pid("c@test", 1), term(t, "{set_lock, {other, me}}")))
	require.Len(t, c.locks, 1)
	c.nodedown("c@test", pid("b@test", 2))
	c.nodeup("c@test", pid("b@test", 2))
	c.message("c@test", set)
	require.Empty(t, c.locks, "it has not begun its session")
	synchronise(t, s, c, "c@test", nil, nil)
	c.message("c@test", set)
	require.Len(t, c.locks, 1)
}

// A node that knows this one says so once, also if it then gives up a session that it had begun.
func TestCancelAfterInSync(t *testing.T) {
	s, c := newStage(t, "b@test")
	synchronise(t, s, c, "c@test", nil, nil)
	c.nodeup("a@test", pid("b@test", 2))
	session := c.Sessions["a@test"]
	c.message("a@test", term(t, "{'$gen_cast', {in_sync, 'a@test', true}}"))
	c.message("a@test", ei.Tuple{a("cancel_connect"), a("a@test"), ei.Int(session.Tag)})
	require.NotSame(t, session, c.Sessions["a@test"])
	c.message("c@test", term(t, "{'$gen_cast', {new_nodes, 'c@test', [], [], [{'a@test', 8}], []}}"))
	require.True(t, c.Synced["a@test"])
	require.Empty(t, c.Sessions)
}

func TestLostConnections(t *testing.T) {
	s, c := newStage(t, "b@test")
	for _, n := range []string{"a@test", "c@test", "d@test"} {
		synchronise(t, s, c, n, nil, nil)
	}
	s.said()
	lost := func(by, of string, xcre, id int) ei.Term {
		return ei.Tuple{a("lost_connection"), a(by), ei.Int(xcre), ei.Int(id), a(of)}
	}
	c.message("x@test", lost("a@test", "d@test", 1, 1))
	require.Empty(t, s.said(), "from a node that takes no part")
	c.message("a@test", lost("a@test", "d@test", 1, 1))
	said := s.said()
	slices.Sort(said)
	require.Equal(t, []string{
		"c@test: {lost_connection,a@test,1,1,d@test}", "d@test: {lost_connection,a@test,1,1,d@test}", "d@test: {remove_connection,b@test}",
	}, said)
	require.NotContains(t, c.known, "d@test")
	c.message("c@test", lost("a@test", "d@test", 1, 1))
	require.Empty(t, s.said(), "known already")
	c.nodedown("d@test", pid("b@test", 2))
	require.Empty(t, s.said(), "expected")
	c.message("c@test", lost("c@test", "d@test", 7, 1))
	require.Empty(t, s.said(), "all have been told already")

	// what was no member, as its side of the handshake has failed, perhaps, no partition has lost
	c.nodeup("e@test", pid("b@test", 2))
	s.said()
	c.nodedown("e@test", pid("b@test", 2))
	require.Empty(t, s.said())

	// of our own loss all are told
	synchronise(t, s, c, "d@test", nil, nil)
	s.said()
	c.nodedown("d@test", pid("b@test", 2))
	said = s.said()
	require.Len(t, said, 2)
	require.Contains(t, said[0], "{lost_connection,b@test,")
	c.message("c@test", lost("c@test", "d@test", 7, 2))
	require.Empty(t, s.said(), "from here, too")

	// once it is back, a report is news
	synchronise(t, s, c, "d@test", nil, nil)
	s.said()
	c.message("c@test", lost("c@test", "d@test", 7, 3))
	require.Contains(t, s.said(), "a@test: {lost_connection,c@test,7,3,d@test}")
	c.nodedown("d@test", pid("b@test", 2))
	require.Empty(t, s.said())

	// when there is no room to remember a report it is acted on, and goes no further
	synchronise(t, s, c, "d@test", nil, nil)
	s.said()
	for i := range maxLost {
		c.Lost[[2]string{"x", fmt.Sprint(i)}] = loss{At: time.Now().Unix()}
	}
	c.message("c@test", lost("x@test", "d@test", 1, 1))
	require.Equal(t, []string{"d@test: {remove_connection,b@test}"}, s.said())
	clear(c.Lost)
	c.nodedown("d@test", pid("b@test", 2))
	require.Empty(t, s.said())

	// who has lost us is left
	c.message("c@test", lost("a@test", "b@test", 1, 3))
	require.Contains(t, s.said(), "a@test: {remove_connection,b@test}")
	require.NotContains(t, c.known, "a@test")

	c.message("c@test", ei.Tuple{a("remove_connection"), a("a@test")})
	require.Contains(t, c.known, "c@test", "of another node")
	c.message("c@test", ei.Tuple{a("remove_connection"), a("c@test")})
	require.NotContains(t, c.known, "c@test")
	require.Contains(t, s.did, "disconnect c@test")
	c.nodedown("c@test", pid("b@test", 2))
	require.Empty(t, s.said())
}

// What a state says is read again.
func TestState(t *testing.T) {
	s, c := newStage(t, "b@test")
	synchronise(t, s, c, "a@test", ei.List{entry("x", pid("a@test", 5))}, ei.List{ei.Tuple{a("e@test"), ei.Int(8)}})
	require.True(t, c.setLock(pid("a@test", 1), term(t, "{res, me}")))
	own, _ := nameOf(entry("y", pid("b@test", 9)))
	c.insertName(own)
	synchronise(t, s, c, "c@test", ei.List{entry("y", pid("c@test", 5))}, nil) // in the middle
	c.message("a@test", ei.Tuple{a("lost_connection"), a("a@test"), ei.Int(1), ei.Int(2), a("q@test")})
	c.message("b@test", call(pid("b@test", 7), ei.Tuple{a("sync"), ei.List{a("c@test")}}))
	c.Removing["r@test"] = true
	c.Early["f@test"] = early{Version: term(t, "{8, 1}"), Init: a("x")}
	c.Early["g@test"] = early{InSync: true}
	waiter := letter{Node: "b@test", Pid: pid("b@test", 7), Alias: ei.Ref{Node: "b@test", Creation: 7, Len: 3}, Tag: ei.Int(1)}
	c.Wheres, c.Settles = []whereWaiter{{ei.Binary("\x83\xff"), waiter}}, []letter{waiter}
	raw, err := ei.Marshal(savedState{Tables: c.tables(), Server: c.state})
	require.NoError(t, err)
	other, d := newStage(t, "b@test")
	var saved savedState
	require.NoError(t, ei.Unmarshal(raw, &saved))
	d.setTables(saved.Tables, true)
	d.state = saved.Server
	require.Equal(t, rawOf(c.state), rawOf(d.state)) // but for nil slices
	require.Equal(t, c.Sessions["c@test"].Names, d.Sessions["c@test"].Names)
	require.Equal(t, c.Wheres, d.Wheres)
	require.Equal(t, c.Settles, d.Settles)
	require.Equal(t, c.names, d.names)
	require.Equal(t, c.locks, d.locks)
	require.Equal(t, c.known, d.known)
	require.Equal(t, c.byRef, d.byRef)
	require.Equal(t, c.byPid, d.byPid)
	require.Equal(t, c.held, d.held)
	require.Equal(t, c.bytes, d.bytes)
	require.Equal(t, c.lockOf, d.lockOf)

	// whoever was being asked is asked again
	d.out = other
	asked := d.Sessions["c@test"]
	require.True(t, asked.Asking)
	asked.Asking = false
	d.compare(asked)
	require.Len(t, other.clashes, 1)
	require.Equal(t, pid("c@test", 5), other.clashes[0].his.pid)
}

// Where partitions may overlap nobody reports losses, or leaves because of them.
func TestAllowOverlap(t *testing.T) {
	s, c := newStage(t, "b@test")
	c.silent = true
	for _, n := range []string{"a@test", "c@test"} {
		synchronise(t, s, c, n, nil, nil)
	}
	s.said()
	c.message("a@test", ei.Tuple{a("lost_connection"), a("a@test"), ei.Int(1), ei.Int(1), a("c@test")})
	c.nodedown("a@test", pid("b@test", 2))
	require.Empty(t, s.said())
	require.Contains(t, c.known, "c@test")
}
