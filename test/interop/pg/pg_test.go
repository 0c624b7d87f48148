package pg

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/pg"
)

// What an Erlang node and one of ours see of each other's members.
func TestMembers(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		erl := start(t, r, r.Epmd(t))
		for _, x := range []struct {
			name string
			talk func(t *testing.T, erl *otp.Node)
		}{
			{"they come and go", comeAndGo}, {"names of groups", groupNames}, {"told", monitor}, {"too many", leftOut}, {"anything", anything},
			{"scopes that end", scopeRestarts},
		} {
			t.Run(x.name, func(t *testing.T) {
				erl.Anew(t)
				x.talk(t, erl)
			})
		}
	})
}

// Members are seen in both directions, whichever side is first, and leave when they leave or end.
func comeAndGo(t *testing.T, erl *otp.Node) {
	scope := scopeOf(t, erl)
	both(t, func(t *testing.T, visible bool) {
		ctx := soon(t)
		n, s := goNode(t, erl.EpmdPort(), visible)
		a, b := box(t, n), box(t, n)
		g := ei.Atom("g")
		require.NoError(t, s.Join(ctx, g, a, a))
		member(t, erl, "m1", "g")
		connect(t, n, erl)
		seesErl(t, erl, "g", erl.Name(), n.Name(), n.Name())
		sees(t, s, g, erl.Name(), n.Name(), n.Name())

		require.NoError(t, s.Join(ctx, g, b))
		seesErl(t, erl, "g", erl.Name(), n.Name(), n.Name(), n.Name())
		member(t, erl, "m2", "g")
		sees(t, s, g, erl.Name(), erl.Name(), n.Name(), n.Name(), n.Name())
		require.NoError(t, s.Leave(ctx, g, a))
		seesErl(t, erl, "g", erl.Name(), erl.Name(), n.Name(), n.Name())
		require.NoError(t, s.Join(ctx, map[string]int{"b": 1, "a": 2}, a, a))
		seesErl(t, erl, `#{<<"a">> => 2, <<"b">> => 1}`, n.Name(), n.Name())
		a.Close()
		seesErl(t, erl, "g", erl.Name(), erl.Name(), n.Name())
		seesErl(t, erl, `#{<<"a">> => 2, <<"b">> => 1}`)
		stop(t, erl, "m1")
		stop(t, erl, "m2")
		sees(t, s, g, n.Name())
		require.ErrorIs(t, s.Leave(ctx, g, box(t, n)), pg.ErrNotJoined)
		require.Equal(t, "{error,unknown_request}", erl.Do(t, fmt.Sprintf("gen_server:call({pg, '%s'}, which_groups)", n.Name())))
		require.NoError(t, n.Close())
		seesErl(t, erl, "g")
		require.Equal(t, scope, scopeOf(t, erl), "the scope of the Erlang node has not ended")
	})
}

// A Go string is the atom of that text, and a binary an ei.Binary, on both sides.
func groupNames(t *testing.T, erl *otp.Node) {
	n, s := goNode(t, erl.EpmdPort(), false)
	ctx, a, b := soon(t), box(t, n), box(t, n)
	require.NoError(t, s.Join(ctx, "workers", a))
	require.NoError(t, s.Join(ctx, ei.Binary("workers"), b, b))
	connect(t, n, erl)
	seesErl(t, erl, "workers", n.Name())
	seesErl(t, erl, `<<"workers">>`, n.Name(), n.Name())
	seesErl(t, erl, `"workers"`)
	member(t, erl, "m1", "workers")
	member(t, erl, "m2", `<<"workers">>`)
	for _, group := range []any{"workers", ei.Atom("workers")} {
		sees(t, s, group, erl.Name(), n.Name())
	}
	for _, group := range []any{ei.Binary("workers"), []byte("workers")} {
		sees(t, s, group, erl.Name(), n.Name(), n.Name())
	}
	require.ElementsMatch(t, []ei.Term{ei.Atom("workers"), ei.Binary("workers")}, slices.Collect(s.Groups()))
	require.NoError(t, s.Leave(ctx, []byte("workers"), b))
	seesErl(t, erl, `<<"workers">>`, erl.Name(), n.Name())
	seesErl(t, erl, "workers", erl.Name(), n.Name())
	stop(t, erl, "m1")
	stop(t, erl, "m2")
}

// A Go node amid nodes of two releases, which do not know each other: it speaks to each as that one
// does, and ends the scope of neither.
func TestTwoReleases(t *testing.T) {
	all := otp.Releases(t)
	for i, one := range all {
		for _, other := range all[i+1:] {
			t.Run(one.String()+other.String(), func(t *testing.T) {
				port := one.Epmd(t)
				erl := []*otp.Node{start(t, one, port), start(t, other, port)}
				scopes := []string{scopeOf(t, erl[0]), scopeOf(t, erl[1])}
				both(t, func(t *testing.T, visible bool) {
					n, s := goNode(t, port, visible)
					g := ei.Atom("g")
					a := box(t, n)
					require.NoError(t, s.Join(soon(t), g, a))
					for _, e := range erl {
						member(t, e, "m", "g")
						connect(t, n, e)
					}
					sees(t, s, g, n.Name(), erl[0].Name(), erl[1].Name())
					for range 3 {
						require.NoError(t, s.Join(soon(t), g, a))
						require.NoError(t, s.Join(soon(t), ei.Binary("other"), a, box(t, n)))
						require.NoError(t, s.Leave(soon(t), g, a))
					}
					for _, e := range erl {
						seesErl(t, e, "g", n.Name(), e.Name())
						seesErl(t, e, `<<"other">>`, n.Name(), n.Name(), n.Name(), n.Name(), n.Name(), n.Name())
						stop(t, e, "m")
					}
					a.Close()
					sees(t, s, g)
					for _, e := range erl {
						seesErl(t, e, "g")
						seesErl(t, e, `<<"other">>`, n.Name(), n.Name(), n.Name())
					}
				})
				for i, e := range erl {
					require.Equal(t, scopes[i], scopeOf(t, e))
				}
			})
		}
	}
}

// The scope of the Erlang node ends, and another one comes in its place; a scope that starts long
// after the connection is found, too.
func scopeRestarts(t *testing.T, erl *otp.Node) {
	both(t, func(t *testing.T, visible bool) {
		n, s := goNode(t, erl.EpmdPort(), visible)
		g, a := ei.Atom("g"), box(t, n)
		require.NoError(t, s.Join(soon(t), g, a))
		connect(t, n, erl)
		for range 3 {
			member(t, erl, "m", "g")
			sees(t, s, g, erl.Name(), n.Name())
			seesErl(t, erl, "g", erl.Name(), n.Name())
			erl.Do(t, `M = monitor(process, pg), exit(whereis(pg), kill), receive {'DOWN', M, _, _, _} -> ok end`)
			sees(t, s, g, n.Name())
			startScope(t, erl)
			seesErl(t, erl, "g", n.Name())
			stop(t, erl, "m")
		}
		later, err := pg.Start(t.Context(), n, "later", nil)
		require.NoError(t, err)
		defer later.Close()
		require.NoError(t, later.Join(soon(t), 1, a))
		erl.Do(t, `spawn(fun() -> {ok, _} = pg:start_link(later), register(keeper, self()), receive stop -> ok end end)`)
		require.True(t, eventually(func() bool { return erl.Eval(t, "length(pg:get_members(later, 1))") == "1" }))
		erl.Do(t, `exit(whereis(keeper), kill)`)
	})
}

// The Erlang node is killed, and comes back under its name.
func TestErlangNodeIsKilled(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		n, s := goNode(t, port, false)
		g, a := ei.Atom("g"), box(t, n)
		require.NoError(t, s.Join(soon(t), g, a))
		name := ""
		for range 2 {
			erl := r.Start(t, otp.Options{EpmdPort: port, Name: name, ExtraArgs: []string{"-kernel", "start_pg", "true"}})
			name = erl.Name()
			member(t, erl, "m", "g")
			require.NoError(t, func() error { _, err := n.Connect(soon(t), name); return err }())
			sees(t, s, g, name, n.Name())
			seesErl(t, erl, "g", name, n.Name())
			erl.Kill()
			sees(t, s, g, n.Name())
		}
	})
}

// An Erlang node that does not read holds up nobody, and has the right members once it does.
func TestNodeThatDoesNotRead(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl, other := start(t, r, port), start(t, r, port)
		scope := scopeOf(t, erl)
		n, s := goNode(t, port, true, func(cfg *nodes.Config) { cfg.QueueLimit = 64 << 10 })
		g := ei.Atom("g")
		connect(t, n, erl)
		connect(t, n, other)
		a := box(t, n)
		require.NoError(t, s.Join(soon(t), g, a))
		seesErl(t, erl, "g", n.Name())
		erl.Pause(t)
		large := ei.Binary(strings.Repeat("x", 100_000))
		for range 100 { // 20 MB in all
			require.NoError(t, s.Join(soon(t), large, a))
			require.NoError(t, s.Leave(soon(t), large, a))
		}
		require.NoError(t, s.Join(soon(t), ei.Atom("last"), a))
		require.NoError(t, s.Leave(soon(t), g, a))
		seesErl(t, other, "last", n.Name())
		erl.Continue(t)
		seesErl(t, erl, "last", n.Name())
		seesErl(t, erl, "g")
		require.Equal(t, "[last]", erl.Eval(t, "pg:which_groups()"))
		require.NoError(t, s.Join(soon(t), g, a))
		seesErl(t, erl, "g", n.Name())
		require.Equal(t, scope, scopeOf(t, erl))
	})
}

// What joins and leaves is told, by Monitor and MonitorScope, and by pg:monitor of the other side.
func monitor(t *testing.T, erl *otp.Node) {
	n, s := goNode(t, erl.EpmdPort(), false)
	g, a := ei.Atom("g"), box(t, n)
	require.NoError(t, s.Join(soon(t), g, a))
	ctx, cancel := context.WithCancel(soon(t))
	group, scope := make(chan pg.Change), make(chan pg.Change)
	follow := func(to chan pg.Change, changes func(func(pg.Change, error) bool)) {
		defer close(to)
		for c, err := range changes {
			if err != nil {
				return
			}
			to <- c
		}
	}
	go follow(group, s.Monitor(ctx, g))
	go follow(scope, s.MonitorScope(ctx))
	first := pg.Change{Group: g, Joined: []ei.Pid{a.Pid()}}
	require.Equal(t, first, <-group)
	require.Equal(t, first, <-scope)
	connect(t, n, erl)
	seesErl(t, erl, "g", n.Name())
	erl.Do(t, `{_, [_]} = pg:monitor(g)`)
	member(t, erl, "m", "g")
	joined := <-group
	require.Equal(t, pg.Change{Group: g, Joined: joined.Joined}, joined)
	require.Len(t, joined.Joined, 1)
	require.Equal(t, erl.Name(), string(joined.Joined[0].Node))
	require.Equal(t, joined, <-scope)
	require.NoError(t, s.Join(ctx, 1, a))
	require.Equal(t, pg.Change{Group: ei.Int(1), Joined: []ei.Pid{a.Pid()}}, <-scope)
	stop(t, erl, "m")
	require.Equal(t, pg.Change{Group: g, Left: joined.Joined}, <-group)
	<-scope
	a.Close()
	require.Equal(t, pg.Change{Group: g, Left: []ei.Pid{a.Pid()}}, <-group)
	seesErl(t, erl, "g")
	require.Equal(t, "[{join,g},{leave,g},{leave,g}]", erl.Do(t, told+
		`F = fun F() -> receive {_, What, Group, [_]} -> [{What, Group} | F()] after 0 -> [] end end, F()`))
	cancel()
	for range group {
	}
	for range scope {
	}
}
