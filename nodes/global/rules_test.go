package global

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/nodes"
)

// The rules that docs/operate/permissions.md has for global are enough to take part, and each is
// needed.
func TestRules(t *testing.T) {
	rules := []nodes.Rule{
		{Permission: nodes.MaySend, Target: "global_name_server", Allow: true},
		{Permission: nodes.MaySend, Target: "cnode_global_locker", Allow: true},
		{Permission: nodes.MayCall, Target: "global:resolve_it/4", Allow: true},
		{Permission: nodes.MaySend, Target: "shop", Allow: true},
		{Permission: nodes.MayExit, Target: "shop", Allow: true},
	}
	t.Run("all", func(t *testing.T) { takePart(t, rules, true) })
	for i, r := range rules {
		t.Run(fmt.Sprintf("without %v of %s", r.Permission, r.Target), func(t *testing.T) {
			takePart(t, slices.Delete(slices.Clone(rules), i, i+1), false)
		})
	}
}

// takePart lets two partitions become one, in which the name shop is taken twice. All nodes have
// the rules, which allow all that happens, or not.
func takePart(t *testing.T, rules []nodes.Rule, all bool) {
	names := []string{"a@test", "aa@test", "b@test"}
	w, members := newWorld(t), map[string]member{}
	for _, name := range names {
		members[name] = w.member(t, name, nil, append(slices.Clone(rules), nodes.Rule{})...)
	}
	denied := func() (all int64) {
		for _, m := range members {
			all += m.n.Stats().Denied
		}
		return all
	}
	shop := func(at string) *nodes.Mailbox {
		b := members[at].process(t)
		require.NoError(t, members[at].n.Register(t.Context(), "shop", b))
		ctx := within(t)
		go func() { _ = members[at].Register(ctx, "shop", b, Method{}) }() // without the rules it may wait
		eventually(t, func() bool { pid, ok := members[at].Whereis("shop"); return ok && pid == b.Pid() || denied() > 0 })
		return b
	}
	connect := func(to string) {
		_, err := members["a@test"].n.Connect(within(t), to)
		require.NoError(t, err)
	}
	connect("aa@test")
	eventually(t, func() bool { return slices.Contains(members["a@test"].Known(), "aa@test") || denied() > 0 })
	keeps, loses := shop("aa@test"), shop("b@test")
	connect("b@test") // a asks aa who keeps the name
	if !all {
		eventually(t, func() bool { return denied() > 0 })
		return
	}
	<-loses.Done()
	for _, m := range members {
		eventually(t, func() bool { pid, ok := m.Whereis("shop"); return ok && pid == keeps.Pid() })
		eventually(t, func() bool { return len(m.Known()) == 2 })
	}
	require.Zero(t, denied())
}

// A lookout is a Resolver that notes whom a node wants to connect to.
type lookout struct {
	nodes.Resolver
	mu     sync.Mutex
	wanted []string
}

func (l *lookout) Resolve(ctx context.Context, node string) (nodes.Endpoint, error) {
	l.mu.Lock()
	l.wanted = append(l.wanted, node)
	l.mu.Unlock()
	return l.Resolver.Resolve(ctx, node)
}

// What others say of a node, that it takes part or has the process of a name, makes this one
// connect to it only if the rules let that node take part: a member could else name itself under
// the name of another one, whose rules are others, and relay the handshake.
func TestRulesOfJoins(t *testing.T) {
	for _, may := range []bool{true, false} {
		t.Run(fmt.Sprint(may), func(t *testing.T) {
			w := newWorld(t)
			look := &lookout{Resolver: w}
			var a member
			may := nodes.Rule{Peer: "web*@*", Permission: nodes.MaySend, Target: "global_name_server", Allow: may}
			cfg := w.Config("a@test")
			cfg.Visible, cfg.Logger, cfg.Resolver, cfg.Rules = true, logger(t), look, []nodes.Rule{may, {Peer: "web*@*"}}
			cfg.Setup = func(n *nodes.Node) (err error) {
				a.Global, err = Start(t.Context(), n, nil)
				return err
			}
			a.n = w.Start(cfg)
			// b names web9, a member of its own, to a; web9 may connect to a before a does so to it
			b, web9 := w.member(t, "b@test", nil), w.member(t, "web9@test", nil)
			web9.connect(t, "b@test")
			eventually(t, func() bool { return slices.Contains(b.Known(), "web9@test") })
			b.connect(t, "a@test")
			eventually(t, func() bool { return slices.Contains(a.Known(), "b@test") })
			eventually(t, func() bool { return slices.Contains(a.Known(), "web9@test") || a.n.Stats().Denied > 0 })
			named := name{key: "k", term: ei.Atom("k"), pid: ei.Pid{Node: "web8@test", ID: 1, Creation: 1}, method: Method{}.term()}
			a.push(func() { a.server.insertName(named) })
			eventually(t, func() bool { _, ok := a.Whereis("k"); return !ok })
			if may.Allow {
				eventually(t, func() bool {
					look.mu.Lock()
					defer look.mu.Unlock()
					return slices.Contains(look.wanted, "web8@test")
				})
				return
			}
			require.Equal(t, []string{"b@test"}, a.Known())
			own := a.process(t)
			require.NoError(t, a.Register(within(t), "shop", own, Method{}))
			his := ei.Pid{Node: "web8@test", ID: 1, Creation: 1}
			_, err := b.n.RPC(within(t), "a@test", "global", "resolve_it", RandomExit.term(), ei.Atom("shop"), his, own.Pid())
			require.ErrorContains(t, err, "badarg")
			a.n.Close() // which waits for what is under way
			require.Empty(t, look.wanted)
			require.Positive(t, a.n.Stats().Denied)
		})
	}
}

// A member that says that there is a conflict does no more to the process here than rules let it
// do.
func TestRulesOfConflicts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		method Method
		rule   nodes.Permission
		ends   bool
		told   bool
	}{
		{"it is killed", RandomExit, nodes.MaySend | nodes.MayExit, true, false},
		{"it may not be", RandomExit, nodes.MaySend, false, false},
		{"it is told", RandomNotify, nodes.MaySend, false, true},
		{"it may not be told", RandomNotify, 0, false, false},
		{"both are told", NotifyAll, nodes.MaySend, false, true},
		{"neither may be told", NotifyAll, 0, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			rules := []nodes.Rule{
				{Permission: nodes.MaySend, Target: "global_name_server", Allow: true},
				{Permission: nodes.MaySend, Target: "cnode_global_locker", Allow: true},
				{Permission: nodes.MayCall, Target: "global:resolve_it/4", Allow: true},
				{Permission: tt.rule, Target: "shop", Allow: tt.rule != 0},
				{},
			}
			a, z := w.member(t, "a@test", nil, rules...), w.member(t, "z@test", nil, rules...)
			a.connect(t, "z@test")
			eventually(t, func() bool { return len(z.Known()) == 1 && len(a.Known()) == 1 })
			shop := z.process(t)
			require.NoError(t, z.n.Register(t.Context(), "shop", shop))
			require.NoError(t, z.Register(within(t), "shop", shop, tt.method))
			other := a.process(t)
			_, err := other.RPC(within(t), "z@test", "global", "resolve_it", tt.method.term(), ei.Atom("shop"), other.Pid(), shop.Pid())
			require.Equal(t, !tt.ends && !tt.told, err != nil, "%v", err)
			if tt.ends {
				<-shop.Done()
				return
			}
			require.NoError(t, shop.Err())
			require.NoError(t, shop.Send(within(t), shop.Pid(), ei.Atom("end")))
			got := cluster.Receive(t, shop)
			require.Equal(t, tt.told, got != ei.Term(ei.Atom("end")))
		})
	}
}
