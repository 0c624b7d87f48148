package nodestest

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// Cookie is that of all nodes, unless a Config says otherwise.
const Cookie = "nodestest"

// host is the host part of their names.
const host = "test"

// A Net is a network in memory, whose nodes find each other by name.
type Net struct {
	t    testing.TB
	tr   transport.Transport
	log  *slog.Logger
	work sync.WaitGroup

	mu     sync.Mutex
	change *sync.Cond
	at     map[string]transport.Addr // of the nodes that are published
	broken map[[2]string]fault
	cables map[*cable]struct{}
	over   bool
}

// A fault is what is wrong between two nodes.
type fault int

const (
	cut fault = iota + 1
	silent
)

// A Named is a node of a Net: a *nodes.Node, or a *BEAM.
type Named interface{ Name() string }

// New makes a Net without nodes.
func New(t testing.TB) *Net {
	n := &Net{
		t: t, tr: transport.NewMemory(), log: testLog(t),
		at: map[string]transport.Addr{}, broken: map[[2]string]fault{}, cables: map[*cable]struct{}{},
	}
	n.change = sync.NewCond(&n.mu)
	t.Cleanup(n.close) // after the nodes'
	return n
}

// Pair starts the nodes a@test and b@test, in a Net of their own, and connects them.
func Pair(t testing.TB, edit ...func(cfg *nodes.Config)) (a, b *nodes.Node) {
	t.Helper()
	n := New(t)
	a, b = n.Node("a", edit...), n.Node("b", edit...)
	n.Connect(a, b)
	return a, b
}

// Cluster starts the nodes n1@test, n2@test, … in a Net of their own, and connects each to each.
func Cluster(t testing.TB, size int, edit ...func(cfg *nodes.Config)) []*nodes.Node {
	t.Helper()
	n := New(t)
	var all []*nodes.Node
	for i := range size {
		node := n.Node(fmt.Sprintf("n%d", i+1), edit...)
		for _, other := range all {
			n.Connect(node, other)
		}
		all = append(all, node)
	}
	return all
}

// Node starts the node alive@test, which ends with the test. Its Config is the zero one but for
// Name, Cookie, Transport, Listen, Resolver and Logger; each edit may change it.
func (n *Net) Node(alive string, edit ...func(cfg *nodes.Config)) *nodes.Node {
	n.t.Helper()
	name := alive + "@" + host
	cfg := nodes.Config{
		Name: name, Cookie: Cookie, Transport: n.tr, Listen: transport.MemoryAddr(name),
		Resolver: book{n, name}, Logger: n.log,
	}
	for _, f := range edit {
		f(&cfg)
	}
	node, err := nodes.New(cfg)
	if err == nil {
		n.t.Cleanup(func() { node.Close() })
		err = node.Start(n.t.Context())
	}
	if err != nil {
		n.t.Fatalf("nodestest: node %s: %v", name, err)
	}
	return node
}

// Connect connects two nodes that are not connected, and returns when both know it. Nodes also
// connect by themselves, to whom they send.
func (n *Net) Connect(a, b Named) {
	n.t.Helper()
	ctx := n.t.Context()
	one, other := nodeOf(a), nodeOf(b)
	if one == nil || other == nil {
		n.t.Fatalf("nodestest: connect %s to %s: %v", a.Name(), b.Name(), ErrDown)
	}
	if one.Conn(b.Name()) == nil {
		if _, err := one.Connect(ctx, b.Name()); err != nil {
			n.t.Fatalf("nodestest: %v", err)
		}
	}
	for e := range other.WatchNodes(ctx) {
		if e.Node == a.Name() && e.Up {
			return
		}
	}
}

func nodeOf(a Named) *nodes.Node {
	if x, ok := a.(*BEAM); ok {
		return x.Node()
	}
	return a.(*nodes.Node)
}

// Disconnect ends the connections between two nodes: each sees a nodedown. They may connect again.
func (n *Net) Disconnect(a, b Named) { n.set(a, b, 0, true) }

// Cut ends the connections between two nodes, and refuses new ones until Mend: a netsplit.
func (n *Net) Cut(a, b Named) { n.set(a, b, cut, true) }

// Silence lets nothing pass between two nodes until Mend, and neither is told: a cable pulled out,
// or a machine that hangs. They notice by the ticks that do not come (Config.TickInterval).
func (n *Net) Silence(a, b Named) { n.set(a, b, silent, false) }

// Mend ends what Cut or Silence has begun. What was on its way between silenced nodes arrives, if
// they still have the connection.
func (n *Net) Mend(a, b Named) { n.set(a, b, 0, false) }

func (n *Net) set(a, b Named, f fault, ends bool) {
	between := pairOf(a.Name(), b.Name())
	n.mu.Lock()
	if f != 0 || !ends {
		n.broken[between] = f
	}
	n.change.Broadcast()
	n.mu.Unlock()
	n.end(func(c *cable) bool { return ends && c.between == between })
}

// end ends connections. It holds no lock meanwhile, since others wait for it with a timer: inside a
// bubble no time would pass.
func (n *Net) end(which func(c *cable) bool) {
	n.mu.Lock()
	var list []*cable
	for c := range n.cables {
		if which(c) {
			list = append(list, c)
		}
	}
	n.mu.Unlock()
	for _, c := range list {
		_ = c.close()
	}
}

// pairOf is the same for two nodes in either order.
func pairOf(a, b string) [2]string { return [2]string{min(a, b), max(a, b)} }

func (n *Net) close() {
	n.mu.Lock()
	n.over = true
	n.change.Broadcast()
	n.mu.Unlock()
	n.end(func(*cable) bool { return true })
	n.work.Wait()
}

// A book is the Resolver of one node: it knows who asks.
type book struct {
	n    *Net
	name string
}

// Resolve finds another node, and the way there.
func (b book) Resolve(_ context.Context, node string) (nodes.Endpoint, error) {
	b.n.mu.Lock()
	defer b.n.mu.Unlock()
	addr, ok := b.n.at[node]
	if !ok {
		return nodes.Endpoint{}, fmt.Errorf("%w: %s", nodes.ErrUnknownNode, node)
	}
	dial := func(ctx context.Context, addr transport.Addr) (net.Conn, error) {
		return b.n.dial(ctx, pairOf(b.name, node), addr)
	}
	return nodes.Endpoint{Addr: addr, Transport: transport.FromNet(transport.Net{Dial: dial})}, nil
}

// Publish makes a node known to the others.
func (b book) Publish(_ context.Context, p nodes.Registration) (nodes.Publication, error) {
	b.n.mu.Lock()
	defer b.n.mu.Unlock()
	if _, taken := b.n.at[p.Name]; taken {
		return nil, fmt.Errorf("%w: there is a node %s already", dist.ErrInvalidName, p.Name)
	}
	b.n.at[p.Name] = p.Addr
	return entry{b.n, p.Name}, nil
}

type entry struct {
	n    *Net
	name string
}

func (entry) Creation() uint32 { return 0 }

func (e entry) Close() error {
	e.n.mu.Lock()
	defer e.n.mu.Unlock()
	delete(e.n.at, e.name)
	return nil
}
