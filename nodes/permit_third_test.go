package nodes

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// What a peer chooses, and this node then says in its own name: to whom it answers and with which
// tag, where it prints, whom it connects to.

// A lookout is a Resolver that notes whom a node wants to connect to.
type lookout struct {
	Resolver
	mu     sync.Mutex
	wanted []string
}

func (l *lookout) Resolve(ctx context.Context, node string) (Endpoint, error) {
	l.mu.Lock()
	l.wanted = append(l.wanted, node)
	l.mu.Unlock()
	return l.Resolver.Resolve(ctx, node)
}

func (l *lookout) wants(node string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.wanted, node)
}

// forwarding are requests that name another process for the answer: to rex and net_kernel, to a
// server, and through rex.
func forwarding(to ei.Pid, tag ei.Term) map[string][]ei.Term {
	call := ei.Tuple{ei.Atom("call"), ei.Atom("shop"), ei.Atom("quote"), ei.List{ei.Int(1)}, ei.Atom("user")}
	print := ei.Tuple{ei.Atom("io_request"), to, tag, ei.Tuple{ei.Atom("put_chars"), ei.Atom("unicode"), ei.Binary("x")}}
	gen := func(kind ei.Atom, request ei.Term) ei.Term { return ei.Tuple{kind, ei.Tuple{to, tag}, request} }
	return map[string][]ei.Term{
		"rex": {
			ei.Tuple{to, call}, gen("$gen_call", call),
			ei.Tuple{to, ei.Tuple{ei.Atom("sbcast"), ei.Atom("till"), ei.Atom("x")}},
			ei.Tuple{to, ei.Tuple{ei.Atom("send"), ei.Atom("till"), ei.Atom("x")}},
		},
		"net_kernel": {print, gen("$gen_call", ei.Tuple{ei.Atom("is_auth"), to.Node})},
		"till":       {gen("$gen_call", ei.Atom("x")), gen("system", ei.Atom("get_state"))},
	}
}

// forward has a peer say all of that, and waits until it has been dealt with.
func (g *guarded) forward(p *wire, to ei.Pid, tag ei.Term) {
	for name, requests := range forwarding(to, tag) {
		for _, request := range requests {
			p.Say(name, request)
			if name != "rex" {
				p.Say("rex", ei.Tuple{p.Self, ei.Tuple{ei.Atom("sbcast"), ei.Atom(name), request}})
				p.Next()
			}
		}
	}
	p.settled()
	ref := refOf(p, 6)
	p.Say("till", ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{p.Self, ref}, ei.Atom("last")})
	_, reply := p.Next()
	require.Equal(p.T, ei.Tuple{ref, ei.Atom("last")}, reply)
	require.Eventually(p.T, func() bool { return g.n.Stats().Calls == 0 }, tooLong, tick)
}

// With rules, whatever they allow, a peer does not make the node connect to another one, which
// could be itself under a name that it may not bear: a handshake can be relayed.
func TestRulesLetNobodyConnect(t *testing.T) {
	for name, rules := range map[string][]Rule{"none": nil, "all is refused": {{}}, "all is allowed": {{Allow: true}}} {
		t.Run(name, func(t *testing.T) {
			g := guard(t, append([]Rule{{Permission: MaySend, Target: "till", Allow: true}}, rules...)...)
			if rules == nil {
				g = guard(t)
			}
			look := &lookout{Resolver: g.n.cfg.Resolver}
			g.n.cfg.Resolver = look
			p := g.peer("web1@test")
			evil := ei.Pid{Node: "evil@test", ID: 5, Creation: 9}
			g.forward(p, evil, ei.Ref{Node: "evil@test", Creation: 9, Len: 3, ID: [5]uint32{1, 2, 3}})
			if rules == nil {
				require.Eventually(t, func() bool { return look.wants("evil@test") }, tooLong, tick)
				return
			}
			g.n.Close() // which waits for what is under way
			look.mu.Lock()
			defer look.mu.Unlock()
			require.Empty(t, look.wanted)
		})
	}
}

// With rules, a process of a third node gets answers, and what a function has printed, only by a
// rule for its node; and rex answers the node that has asked.
func TestRulesOfThirdNodes(t *testing.T) {
	third := Rule{Permission: MaySend, Target: "@third@test", Allow: true}
	for name, tt := range map[string]struct {
		rules []Rule
		want  []string // in any order
	}{
		"no rule":              {[]Rule{{}}, nil},
		"a rule for pids":      {[]Rule{{Permission: MaySend, Target: "#Pid<*>", Allow: true}, {}}, nil},
		"one for another node": {[]Rule{{Permission: MaySend, Target: "@other@test", Allow: true}, {}}, nil},
		"one for another peer": {[]Rule{{Peer: "ops@*", Permission: MaySend, Target: "@*", Allow: true}, {}}, nil},
		"one for calls":        {[]Rule{{Permission: MayLink | MayExit, Target: "@*", Allow: true}, {}}, nil},
		"one for net_kernel":   {[]Rule{{Permission: MaySend, Target: "net_kernel", Allow: true}, {}}, nil}, // through rex
		"one for it":           {[]Rule{third, {}}, []string{"x", "yes", "print", "state"}},
		"all is allowed":       {[]Rule{{Allow: true}}, []string{"x", "yes", "print", "state"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := guard(t, append([]Rule{{Permission: MaySend, Target: "till", Allow: true}}, tt.rules...)...)
			p := g.peer("web1@test")
			at := g.w.started("third")
			victim := box(t, at)
			connect(t, g.n, at.Name())
			ref := ei.Ref{Node: "third@test", Creation: victim.Pid().Creation, Len: 3, ID: [5]uint32{1, 2, 3}}
			g.forward(p, victim.Pid(), ref)
			require.NoError(t, g.plain.Send(soon(t), victim.Pid(), ei.Atom("end")))
			got := map[string]bool{}
			for v := term(t, victim); v != ei.Atom("end"); v = term(t, victim) {
				switch t := v.(ei.Tuple); {
				case t[0] == ei.Atom("io_reply"):
					got["print"] = true
				case t[0] != ei.Term(ref):
					got[t.String()] = true
				case t[1] == ei.Atom("x") || t[1] == ei.Atom("yes"):
					got[t[1].String()] = true
				default:
					got["state"] = true
				}
			}
			want := map[string]bool{}
			for _, w := range tt.want {
				want[w] = true
			}
			require.Equal(t, want, got)
			require.Positive(t, g.n.Stats().Denied)
		})
	}
}

// The answer of a server that a peer may call becomes no request in this node's name, by a tag that
// no caller has: neither a cast, nor a call of a function, which rex takes with a pid before it.
func TestRulesOfTags(t *testing.T) {
	g := guard(t, Rule{Permission: MayCall}, Rule{Allow: true})
	p := g.peer("web1@test")
	at := g.w.started("third")
	victim := box(t, at)
	connect(t, g.n, at.Name())
	ref := func(id uint32) ei.Ref {
		return ei.Ref{Node: "third@test", Creation: 1, Len: 3, ID: [5]uint32{id, 2, 3}}
	}
	alias := func(tail ei.Term) ei.Term { return ei.ImproperList{Elems: []ei.Term{ei.Atom("alias")}, Tail: tail} }
	for _, to := range []*Mailbox{victim, g.plain} {
		for _, tag := range []ei.Term{
			ei.Atom("$gen_cast"), p.Self, to.Pid(), ei.Int(1), ei.Binary("x"), ei.List{}, ei.List{ref(1)}, alias(ei.Int(1)),
			ei.Tuple{}, ei.Tuple{ref(1)}, ei.Tuple{ei.Atom("x"), ref(1)}, ei.Tuple{ref(1), p.Self}, ei.Tuple{ref(1), ei.Atom("x"), ei.Atom("y")},
			ei.ImproperList{Elems: []ei.Term{ei.Atom("x")}, Tail: ref(1)},
		} {
			p.Say("till", ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{to.Pid(), tag}, ei.Tuple{ei.Atom("x"), tag}})
		}
		old := ei.Tuple{ref(2), ei.Atom("alice@test")} // of gen_server:multi_call
		for _, tag := range []ei.Term{ref(1), old} {
			p.Say("till", ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{to.Pid(), tag}, ei.Atom("x")})
		}
		require.Equal(t, ei.Tuple{ref(1), ei.Atom("x")}, term(t, to))
		require.Equal(t, ei.Tuple{old, ei.Atom("x")}, term(t, to))
	}
	// of its own node a peer may name what it likes
	p.Say("till", ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{p.Self, ei.Atom("tag")}, ei.Atom("x")})
	_, reply := p.Next()
	require.Equal(t, ei.Tuple{ei.Atom("tag"), ei.Atom("x")}, reply)
}

// A function prints where its caller could send to, and passes on no other group leader.
func TestRulesOfGroupLeaders(t *testing.T) {
	g := guard(t, Rule{Permission: MayCall, Allow: true}, Rule{Permission: MaySend, Target: "till", Allow: true},
		Rule{Permission: MaySend, Target: "@friend@test", Allow: true}, Rule{})
	leader := func(ctx context.Context) ei.Term {
		if leader := GroupLeaderOf(ctx); leader != nil {
			return leader
		}
		return ei.Atom("none")
	}
	g.n.Expose("shop", "leader", func(ctx context.Context, _ []ei.Term) (any, error) {
		here, err := g.n.RPC(ctx, g.n.Name(), "shop", "leads")
		return []any{leader(ctx), leader(ctx), here}, err
	})
	g.n.Expose("shop", "leads", func(ctx context.Context, _ []ei.Term) (any, error) { return leader(ctx), nil })
	p := g.peer("web1@test")
	g.w.started("friend")
	g.w.started("third")
	for _, name := range []string{"friend@test", "third@test"} {
		connect(t, g.n, name)
	}
	pid := func(node ei.Atom) ei.Pid { return ei.Pid{Node: node, ID: 5, Creation: 9} }
	till := g.n.Whereis("till").Pid()
	for _, tt := range []struct {
		leader ei.Term
		ok     bool
	}{
		{p.Self, true}, {till, true}, {ei.Atom("till"), true}, {pid("friend@test"), true}, {g.n.Whereis("net_kernel").Pid(), true},
		{g.secret.Pid(), false}, {ei.Atom("secret"), false}, {g.plain.Pid(), false}, {g.n.Whereis("rex").Pid(), false}, {ei.Atom("rex"), false},
		{pid("third@test"), false}, {pid("nobody@test"), false}, {pid("alice@test"), false}, {ei.Int(1), false},
	} {
		denied := g.n.Stats().Denied
		p.Say("rex", ei.Tuple{p.Self, ei.Tuple{ei.Atom("call"), ei.Atom("shop"), ei.Atom("leader"), ei.List{}, tt.leader}})
		_, reply := p.Next()
		seen, ok := reply.(ei.Tuple)[1].(ei.List)
		require.True(t, ok, reply)
		mute := ei.Term(ei.Atom("user"))
		if !tt.ok {
			require.Equal(t, ei.List{ei.Atom("none"), ei.Atom("none"), mute}, seen, tt.leader)
			if _, isLeader := tt.leader.(ei.Int); !isLeader {
				require.Equal(t, denied+1, g.n.Stats().Denied, tt.leader)
			}
			continue
		}
		require.Equal(t, tt.leader, seen[0])
		require.Equal(t, tt.leader, seen[1])
		if _, isPid := tt.leader.(ei.Pid); isPid {
			require.Equal(t, tt.leader, seen[2])
		} else {
			require.Equal(t, mute, seen[2])
		}
		require.Equal(t, denied, g.n.Stats().Denied, tt.leader)
	}
}

// AllowsProcess asks the rules about what a peer has named.
func TestAllowsProcess(t *testing.T) {
	g := guard(t, Rule{Permission: MaySend, Target: "till", Allow: true}, Rule{Permission: MayLink, Target: "@third@test", Allow: true},
		Rule{Permission: MayExit, Target: "#Pid<*>", Allow: true}, Rule{})
	at := g.w.started("third")
	victim := box(t, at)
	pid := victim.Pid()
	require.False(t, g.n.AllowsProcess("web1@test", MayLink, pid), "not connected")
	connect(t, g.n, at.Name())
	till := g.n.Whereis("till").Pid()
	denied := g.n.Stats().Denied
	for _, tt := range []struct {
		p    Permission
		to   ei.Term
		want bool
	}{
		{MaySend, ei.Atom("till"), true}, {MaySend, till, true}, {MayLink, till, false}, {MayLink, ei.Atom("till"), false},
		{MayLink, pid, true}, {MaySend, pid, false}, {MayExit, pid, false}, {MayExit, g.plain.Pid(), true}, {MayExit, g.secret.Pid(), false},
		{MayExit, g.n.Whereis("rex").Pid(), false}, {MayExit, g.n.Whereis("net_kernel").Pid(), false},
		{MaySend, ei.Pid{Node: "web1@test", ID: 1}, true}, {MayExit, ei.Pid{Node: "web1@test", ID: 1}, true},
	} {
		require.Equal(t, tt.want, g.n.AllowsProcess("web1@test", tt.p, tt.to), "%v of %v", tt.p, tt.to)
		if !tt.want {
			denied++
		}
	}
	require.Equal(t, denied, g.n.Stats().Denied)
	require.False(t, g.n.AllowsProcess("web1@test", MaySend, ei.Int(1)))
	require.True(t, g.n.AllowsProcess("alice@test", MayExit, g.secret.Pid()), "of this node")
	require.True(t, guard(t).n.AllowsProcess("web1@test", MayExit, ei.Pid{Node: "nobody@test"}), "without rules")
}

// exit(Pid, normal) of a process that is linked with it says no more than the end of the link,
// which no rule keeps from it.
func TestRulesOfExitsOfLinkedProcesses(t *testing.T) {
	g := guard(t, Rule{})
	p := g.peer("web1@test")
	other := p.Self
	other.ID++
	require.NoError(t, g.plain.Link(soon(t), p.Self))
	p.Next()
	say := func(from ei.Pid, why ei.Atom) {
		p.Send(dist.Control{Op: dist.OpExit2, From: from, To: g.plain.Pid(), Reason: encode(t, why)}, nil)
	}
	say(other, "normal")
	say(p.Self, "kill")
	say(p.Self, "shutdown")
	say(p.Self, "normal")
	m, why := reason(t, g.plain, dist.OpExit)
	require.Equal(t, p.Self, m.From)
	require.Equal(t, ei.Atom("normal"), why)
	p.settled()
	require.NoError(t, g.plain.Err())
	require.Zero(t, unread(g.plain))
	require.EqualValues(t, 3, g.n.Stats().Denied)
}
