package pg

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A call in the name of a scope of a third node is not answered: the answer would end that scope.
func TestCallInTheNameOfAnother(t *testing.T) {
	w := newWorld(t)
	a, s := w.scope("a", nil)
	c := w.oldScope("c")
	w.connect(a, c.n)
	member := w.box(a)
	require.NoError(t, s.Join(soon(t), ei.Atom("g"), member))
	c.sees(t, ei.Atom("g"), member.Pid())
	x := w.node("x")
	conn, err := x.Connect(soon(t), "a@h")
	require.NoError(t, err)
	call := func(from, by ei.Pid) {
		t.Helper()
		payload, err := ei.AppendTerm(nil, ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{from, ei.Atom("tag")}, ei.Atom("hi")})
		require.NoError(t, err)
		require.NoError(t, conn.SendControl(soon(t), &dist.Control{Op: dist.OpRegSend, From: by, ToName: "pg"}, ei.Raw(payload)))
	}
	own := w.box(x)
	call(c.box.Pid(), c.box.Pid())
	call(c.box.Pid(), own.Pid())
	call(own.Pid(), own.Pid())
	m, err := own.Receive(soon(t)) // so the others have been taken
	require.NoError(t, err)
	answer, err := m.Term()
	require.NoError(t, err)
	require.Equal(t, ei.Tuple{ei.Atom("tag"), ei.Tuple{ei.Atom("error"), ei.Atom("unknown_request")}}, answer)
	require.NoError(t, s.Leave(soon(t), ei.Atom("g"), member))
	c.sees(t, ei.Atom("g")) // it has got what was sent before
	c.lives(t)
}

// A leave of many processes from many groups takes no time for each of the one times each of the
// other.
func TestLeaveOfManyFromMany(t *testing.T) {
	const many = 30_000
	w := newWorld(t)
	a, s := w.scope("a", nil)
	x := w.node("x")
	w.connect(x, a)
	h := w.box(x)
	say := func(what ei.Term) { t.Helper(); require.NoError(t, h.Send(soon(t), s.process.Mailbox().Pid(), what)) }
	member := h.Pid()
	var groups, pids, data, named ei.List
	for i := range many {
		groups = append(groups, ei.Int(i))
		pids = append(pids, ei.Pid{Node: member.Node, ID: member.ID + uint32(i), Creation: member.Creation})
		data = append(data, ei.Tuple{ei.Int(i), ei.List{member}})
		named = append(named, ei.Tuple{ei.Atom("g"), ei.List{}, ei.List{pids[i]}})
	}
	data = append(data, ei.Tuple{ei.Atom("g"), pids})
	say(ei.Tuple{ei.Atom("discover"), member})
	say(cast(ei.Tuple{ei.Atom("sync"), member, data}))
	sees(t, s, ei.Int(many-1), member)
	say(ei.Tuple{ei.Atom("leave"), member, pids, groups})
	sees(t, s, ei.Int(many-1))
	require.Equal(t, []ei.Term{ei.Atom("g")}, slices.Collect(s.Groups()))
	say(ei.Tuple{ei.Atom("update"), member, named})
	sees(t, s, ei.Atom("g"))
	s.process.Running.Lock()
	defer s.process.Running.Unlock()
	for _, p := range s.peers {
		require.Zero(t, p.bytes)
	}
}

// Once the scope's process is made anew, the memberships move even before it has done anything.
func TestFreezeAfterAnotherProcess(t *testing.T) {
	w := newWorld(t)
	a, s := w.scope("a", nil)
	member := w.box(a)
	require.NoError(t, s.Join(soon(t), ei.Atom("g"), member))
	s.process.Running.Lock()
	s.lost()
	state, err := s.handover() // as it is before the next process's first message
	s.process.Running.Unlock()
	require.NoError(t, err)
	next := nextScope(s)
	require.NoError(t, next.inherit(state))
	require.Empty(t, next.byRef)
	require.Equal(t, map[ei.Pid]*local{member.Pid(): {groups: []string{keyFor(t, ei.Atom("g"))}}}, next.locals)
}

func keyFor(t testing.TB, group any) string {
	t.Helper()
	key, err := keyOfValue(group)
	require.NoError(t, err)
	return key
}

// What comes and goes again while nobody looks takes no memory, whatever groups it is in.
func TestWatchKeepsNothing(t *testing.T) {
	tab, w, o := newTable(), newWatch(), newOwner()
	tab.watches[w] = struct{}{}
	pids := []ei.Pid{{Node: "x@h", ID: 1}}
	tab.join(o, "stays", pids)
	for i := range 10_000 {
		key := keyFor(t, i)
		tab.join(o, key, pids)
		tab.leave(o, key, pids)
	}
	require.Len(t, w.changes, 1)
	require.Less(t, len(w.order), 100)
	require.Equal(t, []netChange{{key: "stays", joined: pids}}, w.take())
}

// What is more than Options.Limit allows takes no memory: of a whole stays what may be kept, and
// nothing of an update.
func TestParseLimit(t *testing.T) {
	const many, most = 100_000, 1 << 20
	from := ei.Pid{Node: "x@h", ID: 1, Creation: 1}
	var groups, empty, pids, names ei.List
	for i := range many {
		groups = append(groups, ei.Tuple{ei.Int(i), ei.List{from}})
		empty = append(empty, ei.Tuple{ei.Int(i), ei.List{}})
		pids = append(pids, from)
		names = append(names, ei.Int(i))
	}
	for name, tt := range map[string]struct {
		term    ei.Term
		over    bool
		leftOut int // at least
	}{
		"groups":       {cast(ei.Tuple{ei.Atom("sync"), from, groups}), false, many - 2*most/groupCost},
		"empty groups": {cast(ei.Tuple{ei.Atom("sync"), from, empty}), false, 0},
		"members":      {cast(ei.Tuple{ei.Atom("sync"), from, ei.List{ei.Tuple{ei.Int(1), pids}}}), false, many - most/memberCost},
		"join":         {ei.Tuple{ei.Atom("join"), from, ei.Atom("g"), pids}, true, 0},
		"leave":        {ei.Tuple{ei.Atom("leave"), from, pids[:1], names}, true, 0},
		"update":       {ei.Tuple{ei.Atom("update"), from, ei.List{ei.Tuple{ei.Int(1), ei.List{}, pids}}}, true, 0},
	} {
		raw, err := ei.AppendTerm(nil, tt.term)
		require.NoError(t, err)
		m, err := newParser(most).parse(raw)
		require.NoError(t, err, name)
		require.Equal(t, tt.over, m.over, name)
		cost := 0
		for _, c := range m.changes {
			cost += c.cost() + memberCost*len(c.left)
		}
		require.LessOrEqual(t, cost, 2*most, name)
		require.GreaterOrEqual(t, m.leftOut.count, tt.leftOut, name)
		require.Equal(t, from, m.from, name)
		m, err = newParser(wide).parse(raw)
		require.NoError(t, err, name)
		require.False(t, m.over, name)
		require.Zero(t, m.leftOut, name)
	}
}
