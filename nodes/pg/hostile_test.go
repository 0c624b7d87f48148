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

// A leave of many processes from many groups takes no time for each of the one times each of the other.
func TestLeaveOfManyFromMany(t *testing.T) {
	const many = 30_000
	w := newWorld(t)
	a, s := w.scope("a", nil)
	x := w.node("x")
	w.connect(x, a)
	h := w.box(x)
	say := func(what ei.Term) { t.Helper(); require.NoError(t, h.Send(soon(t), s.box.Load().Pid(), what)) }
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
	s.turn.Lock()
	defer s.turn.Unlock()
	for _, p := range s.peers {
		require.Zero(t, p.bytes)
	}
}
