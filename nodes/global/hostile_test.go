package global

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/nodes"
)

// A liar is a visible node that speaks global as it likes.
type liar struct {
	*nodes.Node
	box *nodes.Mailbox
	t   *testing.T
}

func (w *world) liar(t *testing.T, name string, answer func(from string, m ei.Term)) *liar {
	l := &liar{t: t}
	cfg := w.Config(name)
	cfg.Visible = true
	cfg.Setup = func(n *nodes.Node) (err error) {
		l.box, err = n.Handle(serverName, func(_ *nodes.Mailbox, m *nodes.Message) {
			if m.Payload == nil {
				return
			}
			if t, err := m.Term(); err == nil && answer != nil && m.Conn() != nil {
				answer(m.Conn().Name(), t)
			}
		}, &nodes.MailboxOptions{TrapExit: true})
		return err
	}
	l.Node = w.Start(cfg)
	return l
}

func (l *liar) tell(node string, t ei.Term) {
	_ = l.box.SendName(within(l.t), node, serverName, t)
}

// honest answers a session as a node does that goes on with it.
func (l *liar) begin(node string, m ei.Term) (tag ei.Term, ok bool) {
	t, _ := m.(ei.Tuple)
	if len(t) != 2 || !isAtom(t[0], "$gen_cast") {
		return nil, false
	}
	c, _ := t[1].(ei.Tuple)
	if len(c) != 4 || !isAtom(c[0], "init_connect") {
		return nil, false
	}
	tag = c[1].(ei.Tuple)[1]
	l.tell(node, initConnect(l.Name(), ei.Int(1), l.box.Pid()))
	return tag, true
}

// works checks that two members still agree on names.
func works(t *testing.T, one, other member, n string) {
	t.Helper()
	b := one.process(t)
	require.NoError(t, one.Register(within(t), n, b, Method{}))
	pid, ok := other.Whereis(n)
	require.True(t, ok)
	require.Equal(t, b.Pid(), pid)
	require.NoError(t, other.Unregister(within(t), n))
}

// Messages of any form, in any order, with pids and names of others, change nothing for the others,
// end nothing, and leave nothing behind.
func TestHostileMessages(t *testing.T) {
	w := newWorld(t)
	one, other := w.meeting(t)
	l := w.liar(t, "l@test", nil)
	victim := one.process(t)
	require.NoError(t, one.Register(within(t), "victim", victim, Method{}))
	_, err := l.Connect(within(t), "a@test")
	require.NoError(t, err)
	goroutines := runtime.NumGoroutine()

	heads := []string{"init_connect", "exchange", "resolved", "new_nodes", "in_sync", "lock_set", "lost_connection", "remove_connection",
		"cancel_connect", "init_connect_ack", "whereis", "set_lock", "del_lock", "get_known", "sync", "disconnect", "stop", "info",
		ownerName, "nodeup", "nodedown", "wake", "check"}
	r := rand.New(rand.NewPCG(1, 2))
	atoms := []ei.Term{a("a@test"), a("b@test"), a("l@test"), a("x@nowhere"), a("true"), a("victim"), a("global"), a("insert"), a("")}
	var some func(depth int) ei.Term
	some = func(depth int) ei.Term {
		switch k := r.IntN(10); {
		case k < 3 || depth > 3:
			return atoms[r.IntN(len(atoms))]
		case k == 3:
			return ei.Int(r.IntN(100) - 2)
		case k == 4:
			return []ei.Pid{one.lockerPid(), victim.Pid(), l.box.Pid(), pid("b@test", 3), pid("x@nowhere", 4)}[r.IntN(5)]
		case k == 5:
			return ei.Map{}
		case k == 6:
			return ei.ImproperList{Elems: []ei.Term{a("alias")}, Tail: some(depth + 1)}
		}
		list := make([]ei.Term, r.IntN(5))
		for i := range list {
			list[i] = some(depth + 1)
		}
		if r.IntN(2) == 0 {
			return ei.List(list)
		}
		return ei.Tuple(list)
	}
	for range 20_000 {
		m := ei.Tuple{a(heads[r.IntN(len(heads))])}
		for range r.IntN(7) {
			m = append(m, some(0))
		}
		var send ei.Term = m
		switch r.IntN(4) {
		case 0:
			send = ei.Tuple{a("$gen_cast"), m}
		case 1:
			send = ei.Tuple{a("$gen_call"), ei.Tuple{some(4), some(3)}, m}
		case 2:
			send = call(l.box.Pid(), m)
		}
		l.tell("a@test", send)
	}
	// it may have the lock of all names, as any member may: with its end that ends
	l.Close()
	eventually(t, func() bool { return one.n.Conn("l@test") == nil })
	works(t, one, other, "after")
	pid, ok := other.Whereis("victim")
	require.True(t, ok)
	require.Equal(t, victim.Pid(), pid)
	require.NoError(t, victim.Err())
	require.NotNil(t, one.n.Conn("b@test"))
	eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines })
}

// Nodes that begin a session and then do nothing, lock and never release, or claim locks that they
// do not have, keep others from registering names for some seconds at most.
func TestHostileSessions(t *testing.T) {
	t.Parallel()
	for what, answer := range map[string]func(l *liar, from string, tag, m ei.Term){
		"silent after init_connect": func(*liar, string, ei.Term, ei.Term) {},
		"locks, and no names": func(l *liar, from string, tag, m ei.Term) {
			l.tell(from, cast(a("lock_set"), l.box.Pid(), a("true"), ei.List{}, tag))
		},
		"says yes to all": func(l *liar, from string, tag, m ei.Term) {
			c, _ := m.(ei.Tuple)
			if len(c) == 3 && isAtom(c[0], "$gen_call") {
				to, ok := replyTo(from, c[1])
				if ok && to.Alias.Len > 0 {
					_ = l.box.SendAlias(within(l.t), to.Alias, ei.Tuple{to.Tag, a("true")})
				} else if ok {
					_ = l.box.Send(within(l.t), to.Pid, ei.Tuple{to.Tag, a("true")})
				}
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			short := &Options{patience: patience{lock: time.Second, exchange: time.Second, backOff: 20 * time.Second}}
			one, other := w.meetingOf(t, short)
			var l *liar
			tags := map[string]ei.Term{}
			l = w.liar(t, "l@test", func(from string, m ei.Term) {
				if tag, ok := l.begin(from, m); ok {
					tags[from] = tag
				}
				if tags[from] != nil {
					answer(l, from, tags[from], m)
				}
			})
			_, err := l.Connect(within(t), "a@test")
			require.NoError(t, err)
			time.Sleep(300 * time.Millisecond) // the locker's pause
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			b := other.process(t)
			require.NoError(t, other.Register(ctx, "x", b, Method{}))
			_, ok := one.Whereis("x")
			require.True(t, ok)
			require.NotNil(t, one.n.Conn("b@test"))
		})
	}
}

// A peer may end our processes, as any process of a cluster may: they are made anew, and all goes
// on.
func TestKilledServer(t *testing.T) {
	w := newWorld(t)
	one, other := w.meeting(t)
	l := w.liar(t, "l@test", nil)
	b := other.process(t)
	require.NoError(t, other.Register(within(t), "kept", b, Method{}))
	for i, of := range []ei.Pid{one.box.Mailbox().Pid(), one.lockerPid()} {
		require.NoError(t, l.box.SendExit(within(t), of, a("kill")))
		eventually(t, func() bool { return one.box.Mailbox().Pid() != of && one.lockerPid() != of })
		eventually(t, func() bool { return one.n.Whereis(serverName) != nil })
		works(t, one, other, fmt.Sprintf("after%d", i))
		works(t, other, one, fmt.Sprintf("then%d", i))
	}
	_, ok := one.Whereis("kept")
	require.True(t, ok)
	b.Close()
	eventually(t, func() bool { _, ok := one.Whereis("kept"); return !ok })
}

// A server that is killed before it has read what wakes it leaves nothing undone.
func TestKilledUnread(t *testing.T) {
	w := newWorld(t)
	one := w.member(t, "a@test", nil)
	did := make(chan bool, 2)
	one.push(func() { did <- true })
	<-did
	old := one.box.Mailbox()
	one.mu.RLock() // its handler waits
	require.NoError(t, old.Send(within(t), old.Pid(), a("x")))
	one.push(func() { did <- true })
	old.Exit(a("killed"))
	one.mu.RUnlock()
	select {
	case <-did:
	case <-within(t).Done():
		require.FailNow(t, "it is not woken")
	}
	eventually(t, func() bool { return one.box.Mailbox() != old })
	one.push(func() { did <- true })
	<-did
}

// resolve_it does nothing for processes that are in no conflict, whoever says that they are: it
// neither ends them nor calls what the rules keep from the caller.
func TestHostileResolve(t *testing.T) {
	w := newWorld(t)
	one, other := w.meeting(t)
	l := w.liar(t, "l@test", nil)
	b, named, kept := one.process(t), one.process(t), one.process(t)
	var refunded atomic.Bool
	one.n.Expose("shop", "refund", nodes.FuncOf(func(_, his, _ ei.Term) ei.Term { refunded.Store(true); return his }))
	require.NoError(t, one.Register(within(t), "named", named, Method{}))
	require.NoError(t, one.Register(within(t), "kept", kept, RandomNotify))
	// a process of ours, under a name that it has got from another node
	set := ei.Tuple{a("register"), a("x"), b.Pid(), RandomExit.term()}
	_, err := other.n.CallName(within(t), "a@test", serverName, set)
	require.NoError(t, err)
	method, refund, unknown := RandomExit.term(), Method{"shop", "refund"}.term(), pid("a@aaa", 1)
	refused := func(n *nodes.Node, args ...any) {
		t.Helper()
		_, err := n.RPC(within(t), "a@test", "global", "resolve_it", args...)
		require.Error(t, err, args)
	}
	for _, args := range [][]any{
		{method, a("none"), unknown, b.Pid()},
		{method, a("x"), unknown, b.Pid()},             // another node has registered it
		{refund, a("x"), unknown, b.Pid()},             //
		{method, a("named"), unknown, b.Pid()},         // another process has it
		{refund, a("named"), unknown, named.Pid()},     // another method
		{method, a("kept"), unknown, kept.Pid()},       //
		{method, a("named"), b.Pid(), named.Pid()},     // of the same node
		{method, a("named"), pid("c", 1), named.Pid()}, // no node
		{method, a("named"), pid("z@z", 1<<28), named.Pid()},
		{}, {a("x")}, {method, method, method, method},
	} {
		refused(l.Node, args...)
		refused(other.n, args...)
	}
	refused(l.Node, method, a("named"), unknown, named.Pid()) // the caller takes no part
	hidden := w.Start(w.Config("z@test"))
	third := cluster.Mailbox(t, hidden, nil)
	_, err = hidden.Connect(within(t), "a@test")
	require.NoError(t, err)
	eventually(t, func() bool { return one.n.Conn("z@test") != nil })
	refused(other.n, method, a("named"), third.Pid(), named.Pid())
	require.NoError(t, third.Err())
	require.False(t, refunded.Load())
	for _, b := range []*nodes.Mailbox{b, named, kept} {
		require.NoError(t, b.Err())
	}
}

// What no node can have made is not passed on to the node that is said to have: it would end the
// connection. Nor is kept what is longer than it can be.
func TestNotKeepable(t *testing.T) {
	method, long := RandomExit.term(), ei.Binary(make([]byte, maxNameLen+1))
	wrong := []ei.Term{
		pid("c@test", 1<<28), ei.Port{Node: "c@test", ID: 1 << 60}, ei.Ref{Node: "c@test", Len: 3, ID: [5]uint32{1 << 18}},
		ei.Fun{Module: "x", Pid: pid("c@test", 1<<28)}, long,
	}
	s, c := newStage(t, "b@test")
	synchronise(t, s, c, "a@test", nil, nil)
	synchronise(t, s, c, "c@test", nil, nil)
	require.Len(t, c.known, 2)
	s.said()
	for _, x := range wrong {
		x := ei.Tuple{ei.List{x}}
		_, _, ok := keyOf(x)
		require.False(t, ok, x)
		require.Empty(t, namesOf(ei.List{ei.Tuple{x, pid("a@test", 5), method}, ei.Tuple{a("x"), pid("a@test", 5), x}}))
		require.Empty(t, externalOf(ei.List{ei.Tuple{x, pid("a@test", 5), a("a@test")}, x}))
		require.Empty(t, opsOf(ei.List{ei.Tuple{a("delete"), x}, ei.Tuple{a("insert"), x}}))
		c.message("a@test", ei.Tuple{a("lost_connection"), a("a@test"), x, ei.Int(1), a("q@test")})
		c.message("a@test", ei.Tuple{a("lost_connection"), a("a@test"), ei.Int(1), x, a("q@test")})
		c.message("a@test", ei.Tuple{a("$gen_call"), ei.Tuple{pid("a@test", 5), x}, ei.Tuple{a("sync"), ei.List{}}})
		c.message("a@test", ei.Tuple{a("whereis"), a("x"), ei.Tuple{pid("a@test", 5), x}})
		c.message("d@test", initConnect("d@test", x, pid("d@test", 1)))
	}
	require.Empty(t, namesOf(ei.List{ei.Tuple{a("x"), pid("a@test", 1<<28), method}}))
	require.Empty(t, externalOf(ei.List{ei.Tuple{a("x"), pid("a@test", 1<<28), a("a@test")}}))
	require.Empty(t, s.said())
	require.Empty(t, c.Lost)
	require.Empty(t, c.Early)
	// what comes early is not kept as it came
	c.message("d@test", cast(a("init_connect"), ei.Tuple{ei.Int(8), ei.Int(1), long}, a("d@test"),
		ei.Tuple{a("locker"), long, ei.Map{{Key: a("x"), Value: long}}, pid("d@test", 1)}))
	require.Len(t, c.Early, 1)
	require.True(t, isKeepable(c.Early["d@test"].Version, maxTagLen))
	require.True(t, isKeepable(c.Early["d@test"].Init, maxTagLen))
}

// What peers have registered and locked takes so much memory, and no more; this node's own
// processes have names and locks nevertheless, and all of it comes back.
func TestNamesTakeMemory(t *testing.T) {
	s, c := newStage(t, "b@test")
	synchronise(t, s, c, "a@test", nil, nil)
	c.most = 1 << 20
	sum := func() (bytes int) {
		for _, n := range c.names {
			bytes += n.cost
		}
		for _, l := range c.locks {
			bytes += l.cost
		}
		return bytes
	}
	theirs, own, method := pid("a@test", 5), pid("b@test", 6), RandomExit.term()
	long := func(i int) ei.Term { return ei.Tuple{ei.Int(i), ei.Binary(make([]byte, 10_100))} }
	register := func(by ei.Pid, i int) {
		c.message(string(by.Node), call(by, ei.Tuple{a("register"), long(i), by, method}))
	}
	lock := func(by ei.Pid, what ei.Term) {
		c.message(string(by.Node), call(by, ei.Tuple{a("set_lock"), ei.Tuple{what, by}}))
	}
	for i := range 200 {
		register(theirs, i)
	}
	require.Equal(t, 50, len(c.names))
	lock(theirs, long(0))
	require.Empty(t, c.locks)
	register(own, 200)
	lock(own, long(1))
	lock(theirs, a("global")) // with which others register
	require.Equal(t, 51, len(c.names))
	require.Len(t, c.locks, 2)
	require.Equal(t, sum(), c.bytes)
	register(theirs, 200) // in the place of one of ours, which is another process's then
	require.Equal(t, 51, len(c.names))
	c.setTables(c.tables(), true)
	require.Equal(t, sum(), c.bytes)
	s.end(c, theirs)
	s.end(c, own)
	require.Empty(t, c.names)
	require.Empty(t, c.locks)
	require.Zero(t, c.bytes)
	for i := range 200 {
		lock(theirs, long(i))
	}
	require.Less(t, len(c.locks), 60)
	require.Equal(t, sum(), c.bytes)
	s.end(c, theirs)
	require.Zero(t, c.bytes)
}

// A hidden node takes no part: nothing of it is kept.
func TestHiddenNode(t *testing.T) {
	w := newWorld(t)
	one := w.member(t, "a@test", nil)
	box, err := w.Start(w.Config("h@test")).NewMailbox(nil)
	require.NoError(t, err)
	require.NoError(t, box.SendName(within(t), "a@test", serverName, initConnect("h@test", ei.Int(1), box.Pid())))
	known, err := box.CallName(within(t), "a@test", serverName, a("get_known")) // and what came before it
	require.NoError(t, err)
	require.Equal(t, ei.Term(ei.List{}), known)
	one.mu.RLock()
	defer one.mu.RUnlock()
	require.Empty(t, one.server.Early)
}
