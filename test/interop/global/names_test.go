package global

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/global"
)

// What two Erlang nodes of different releases have in common with nodes of ours.
func TestNames(t *testing.T) {
	pairs(t, func(t *testing.T, r, other otp.Release) {
		port := r.Epmd(t)
		a, b := r.Start(t, otp.Options{EpmdPort: port}), other.Start(t, otp.Options{EpmdPort: port})
		for _, x := range []struct {
			name string
			talk func(t *testing.T, a, b *otp.Node)
		}{{"names", allNames}, {"locks", locks}, {"of hidden nodes", external}} { // the last one kills a
			t.Run(x.name, func(t *testing.T) {
				for _, e := range []*otp.Node{a, b} {
					e.Anew(t)
					e.Do(t, "[global:unregister_name(N) || N <- global:registered_names()]")
				}
				x.talk(t, a, b)
			})
		}
	})
}

// Two Erlang nodes of different releases and two Go nodes, one that has the least name and one that
// has the greatest, are one partition: names both ways, registered before they met and after.
func allNames(t *testing.T, a, b *otp.Node) {
	g, z := startMember(t, uniqueName("g"), a.EpmdPort()), startMember(t, uniqueName("z"), a.EpmdPort())
	es := []*otp.Node{a, b}

	require.Equal(t, "yes", spawnNamed(t, a, "old", "random_exit_name"))
	early := g.process(t)
	require.NoError(t, g.Register(within(t), "early", early, global.Method{}))
	g.connect(t, a)
	z.connect(t, a)
	b.Eval(t, "net_kernel:connect_node('"+a.Name()+"')")
	meet(t, []member{g, z}, es)

	for _, e := range es {
		require.True(t, isPid(t, e, "early", early.Pid()), e.Name())
	}
	old, ok := z.Whereis("old")
	require.True(t, ok)
	require.Equal(t, ei.Atom(a.Name()), old.Node)

	// from Go: register, taken, named, reregister, unregister
	one, two := g.process(t), z.process(t)
	require.NoError(t, g.Register(within(t), ei.Tuple{ei.Atom("one"), ei.Int(1), ei.String("x")}, one, global.NotifyAll))
	for _, e := range es {
		require.True(t, isPid(t, e, `{one, 1, "x"}`, one.Pid()))
	}
	require.ErrorIs(t, z.Register(within(t), "early", two, global.Method{}), global.ErrTaken)
	require.ErrorIs(t, g.Register(within(t), "again", one, global.Method{}), global.ErrNamed)
	require.NoError(t, z.Reregister(within(t), "early", two, global.Method{}))
	require.True(t, isPid(t, b, "early", two.Pid()))
	require.NoError(t, g.Unregister(within(t), "early"))
	require.Equal(t, "undefined", whereis(t, a, "early"))
	require.Equal(t, "[old,{one,1,\"x\"}]", b.Eval(t, "lists:sort(global:registered_names())"))

	// an atom, and a binary
	text, binary := g.process(t), g.process(t)
	require.NoError(t, g.Register(within(t), "shop", text, global.Method{}))
	require.NoError(t, g.Register(within(t), ei.Binary("shop"), binary, global.Method{}))
	for _, e := range es {
		require.True(t, isPid(t, e, "shop", text.Pid()))
		require.True(t, isPid(t, e, `<<"shop">>`, binary.Pid()))
	}
	pid, ok := z.Whereis([]byte("shop"))
	require.True(t, ok)
	require.Equal(t, binary.Pid(), pid)
	require.NoError(t, g.Unregister(within(t), []byte("shop")))
	require.Equal(t, "undefined", whereis(t, b, `<<"shop">>`))
	require.True(t, isPid(t, b, "shop", text.Pid()))
	require.NoError(t, g.Unregister(within(t), "shop"))

	// from Erlang
	require.Equal(t, "yes", spawnNamed(t, b, "here", "random_exit_name"))
	require.Equal(t, "no", spawnNamed(t, b, "old", "random_exit_name"))
	_, ok = g.Whereis("here")
	require.True(t, ok)
	require.Equal(t, "yes", b.Eval(t, "global:re_register_name(old, persistent_term:get({p, here}))"))
	pid, ok = z.Whereis("old")
	require.True(t, ok)
	require.Equal(t, ei.Atom(b.Name()), pid.Node)
	b.Eval(t, "global:unregister_name(old)")
	_, ok = z.Whereis("old")
	require.False(t, ok)

	// messages and calls to names
	srv, err := g.n.Serve("", nodes.Server{Call: func(_ context.Context, c *nodes.Call) (any, error) {
		return ei.Tuple{ei.Atom("ok"), c.Request}, nil
	}}, nil)
	require.NoError(t, err)
	require.NoError(t, g.Register(within(t), "server", srv, global.Method{}))
	require.Equal(t, "{ok,7}", a.Eval(t, "gen_server:call({global, server}, 7)"))
	n, err := global.CallAs[int](within(t), z.Global, z.n, "server", 8)
	require.NoError(t, err)
	require.Equal(t, 8, n)
	box := z.process(t)
	require.NoError(t, z.Register(within(t), "box", box, global.Method{}))
	b.Eval(t, "global:send(box, {hello, self()})")
	m, err := box.Receive(within(t))
	require.NoError(t, err)
	term, err := m.Term()
	require.NoError(t, err)
	require.Equal(t, ei.Atom("hello"), term.(ei.Tuple)[0])
	require.NoError(t, z.Send(within(t), box, "here", "hi"))
	eventually(t, func() bool { return got(t, b, "here") == `[<<"hi">>]` })

	// the ends of processes, and of a node
	srv.Close()
	for _, e := range es {
		eventually(t, func() bool { return whereis(t, e, "server") == "undefined" })
	}
	b.Eval(t, "exit(persistent_term:get({p, here}), kill)")
	eventually(t, func() bool { _, ok := g.Whereis("here"); return !ok })
	g.n.Close()
	for _, e := range es {
		eventually(t, func() bool { return whereis(t, e, `{one, 1, "x"}`) == "undefined" })
	}
	require.Contains(t, a.Eval(t, "nodes()"), b.Name(), "an orderly end reports no losses")
	require.Contains(t, a.Eval(t, "nodes()"), z.n.Name())
	require.NoError(t, z.n.Shutdown(within(t)))
	for i, e := range es {
		eventually(t, func() bool { return e.Eval(t, "nodes()") == "['"+es[1-i].Name()+"']" })
		require.NotContains(t, e.Log(), es[1-i].Name(), "an orderly end reports no losses")
	}
}
