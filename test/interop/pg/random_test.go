package pg

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
)

// Anything happens to members, connections and scopes of an Erlang node and a Go node: in the end
// both see the same, no scope has ended that nobody has killed, and nothing is left over. The
// number of steps is CNODE_PG_STEPS, for long runs.
func anything(t *testing.T, erl *otp.Node) {
	steps := otp.Times("CNODE_PG_STEPS", 300)
	scope := scopeOf(t, erl)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	n, s := goNode(t, erl.EpmdPort(), random.IntN(2) == 0)
	groups := []ei.Atom{"a", "b", "c"}
	boxes := []*nodes.Mailbox{box(t, n)}
	ours := map[ei.Atom][]*nodes.Mailbox{}
	theirs := map[ei.Atom]int{}
	erl.Do(t, `register(all, spawn(fun() -> F = fun F(Ps) -> receive
		{new, From} -> P = spawn(fun() -> receive stop -> ok end end), From ! P, F([P | Ps]);
		{kill, From} -> [exit(P, kill) || P <- Ps], From ! ok, F([]) end end, F([]) end))`)
	for range steps {
		g := groups[random.IntN(len(groups))]
		switch random.IntN(10) {
		case 0:
			boxes = append(boxes, box(t, n))
		case 1, 2, 3:
			b := boxes[random.IntN(len(boxes))]
			times := 1 + random.IntN(2)
			require.NoError(t, s.Join(soon(t), g, slices.Repeat([]*nodes.Mailbox{b}, times)...))
			ours[g] = append(ours[g], slices.Repeat([]*nodes.Mailbox{b}, times)...)
		case 4, 5:
			if k := len(ours[g]); k > 0 {
				at := random.IntN(k)
				require.NoError(t, s.Leave(soon(t), g, ours[g][at]))
				ours[g] = slices.Delete(ours[g], at, at+1)
			}
		case 6:
			if len(boxes) > 1 {
				at := random.IntN(len(boxes))
				gone := boxes[at]
				gone.Close()
				boxes = slices.Delete(boxes, at, at+1)
				for g := range ours {
					ours[g] = slices.DeleteFunc(ours[g], func(b *nodes.Mailbox) bool { return b == gone })
				}
			}
		case 7:
			k := 1 + random.IntN(3)
			erl.Do(t, fmt.Sprintf(`ok = pg:join(%s, [begin all ! {new, self()}, receive P when is_pid(P) -> P end end || _ <- lists:seq(1, %d)])`,
				g, k))
			theirs[g] += k
		case 8:
			if random.IntN(10) == 0 {
				erl.Do(t, `all ! {kill, self()}, receive ok -> ok end`)
				clear(theirs)
			}
		case 9:
			switch c := n.Conn(erl.Name()); {
			case c == nil:
				_, _ = n.Connect(soon(t), erl.Name())
			case random.IntN(4) == 0:
				_ = c.Close()
			case random.IntN(4) == 0:
				erl.Do(t, fmt.Sprintf(`erlang:disconnect_node('%s')`, n.Name()))
			case random.IntN(4) == 0:
				if b := n.Whereis("pg"); b != nil {
					b.Exit(ei.Atom("kill"))
				}
			}
		}
	}
	require.True(t, eventually(func() bool { _, err := n.Connect(soon(t), erl.Name()); return err == nil || n.Conn(erl.Name()) != nil }))
	for _, g := range groups {
		want := slices.Concat(slices.Repeat([]string{erl.Name()}, theirs[g]), slices.Repeat([]string{n.Name()}, len(ours[g])))
		sees(t, s, g, want...)
		seesErl(t, erl, string(g), want...)
	}
	for _, b := range boxes {
		b.Close()
	}
	erl.Do(t, `all ! {kill, self()}, receive ok -> ok end`)
	require.True(t, eventually(func() bool { return len(slices.Collect(s.Groups())) == 0 && erl.Eval(t, "pg:which_groups()") == "[]" }))
	require.LessOrEqual(t, n.Stats().Mailboxes, 3)
	require.NoError(t, s.Err())
	require.Equal(t, scope, scopeOf(t, erl))
}

// A hostile member of the cluster says everything that it can to the scopes: that of the Go node
// lives, says nothing wrong to that of the Erlang node, and has no wrong members. (An Erlang scope
// that is told such things itself ends, in OTP 25 to 28: the hostile node does not know it here.)
func TestHostileMember(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl, hostile := start(t, r, port), start(t, r, port)
		scope := scopeOf(t, erl)
		n, s := goNode(t, port, true)
		g, a := ei.Atom("g"), box(t, n)
		require.NoError(t, s.Join(soon(t), g, a))
		connect(t, n, erl)
		connect(t, n, hostile)
		member(t, erl, "m", "g")
		sees(t, s, g, erl.Name(), n.Name())
		was := n.Whereis("pg").Pid()
		text := strings.ReplaceAll(`
			To = {pg, 'GO'}, [Ours] = [P || P <- pg:get_members(g), node(P) =:= 'GO'],
			[Theirs] = rpc:call('ERL', pg, get_local_members, [g]), Scope = rpc:call('ERL', erlang, whereis, [pg]),
			Mine = self(), Own = whereis(pg),
			All = [Msg || P <- [Mine, Own, Scope, Ours, Theirs], M <- [Ours, Theirs, Scope, x, [Ours | Theirs], [Theirs]], Msg <- [
				{discover, P}, {discover, P, 1}, {discover, P, x}, {join, P, g, M}, {leave, P, M, [g]}, {leave, P, M, g},
				{'$gen_cast', {sync, P, [{g, M}]}}, {'$gen_cast', {sync, P, M}}, {'$gen_cast', {local_data, P, 1, #{g => M}}},
				{update, P, [{g, M, M}]}, {update, P, M}, {nodedown, node(Theirs), []}, {nodeup, x@y, []},
				{'$gen_call', {P, make_ref()}, {monitor, g}}, {'$gen_call', {P, make_ref()}, {join_local, g, M}},
				{system, {P, make_ref()}, get_state}, {'$cnode_pg', nodes, P, [x@y]}, {'$cnode_pg', hello, P}, {'EXIT', P, M}, P, M]],
			[To ! Msg || Msg <- All], Me = self(),
			[To ! {join, Own, {I, lists:seq(1, 200)}, [Own || _ <- lists:seq(1, 20)]} || I <- lists:seq(1, 2000)],
			exit(rpc:call('GO', t, scope, []), shutdown), length(All) > 100`, "GO", n.Name())
		n.Expose("t", "scope", nodes.FuncOf(func() ei.Pid { return n.Whereis("pg").Pid() }))
		seesErl(t, hostile, "g", n.Name())
		hostile.Do(t, fmt.Sprintf(`pong = net_adm:ping('%s')`, erl.Name()))
		require.Equal(t, "true", hostile.Do(t, strings.ReplaceAll(text, "ERL", erl.Name())))
		hostile.Kill()
		require.NoError(t, s.Join(soon(t), ei.Atom("later"), a))
		seesErl(t, erl, "later", n.Name())
		sees(t, s, g, erl.Name(), n.Name())
		require.True(t, eventually(func() bool { return len(slices.Collect(s.Groups())) == 2 }))
		require.Equal(t, was, n.Whereis("pg").Pid())
		require.Equal(t, scope, scopeOf(t, erl))
	})
}
