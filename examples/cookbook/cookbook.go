// Package cookbook has the recipes of docs/how-to/recipes.md, each a function that its tests run.
package cookbook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/global"
	"github.com/cnode-go/cnode/nodes/health"
	"github.com/cnode-go/cnode/nodes/metrics"
	"github.com/cnode-go/cnode/nodes/pg"
	"github.com/cnode-go/cnode/nodes/pubsub"
	"github.com/cnode-go/cnode/nodes/supervisor"
	"github.com/cnode-go/cnode/nodes/upgrade"
)

// An Item is %{sku: "pear", price: 45, left: 3}.
type Item struct {
	SKU   string `ei:"sku"`
	Price int
	Left  int
}

// Price asks a function of Elixir, Shop.item("pear").
func Price(ctx context.Context, n *nodes.Node, shop, sku string) (int, error) {
	item, err := nodes.ERPCAs[Item](ctx, n, shop, "Elixir.Shop", "item", sku)
	var raised *nodes.ERPCError
	switch {
	case errors.Is(err, nodes.ErrNoConnection):
		return 0, fmt.Errorf("the shop is closed: %w", err)
	case errors.As(err, &raised): // it raised, exited or threw
		return 0, fmt.Errorf("the shop has no %s: %w", sku, err)
	}
	return item.Price, err
}

// Setup is Config.Setup of a node whose functions others call:
// :erpc.call(go, :shop, :total, [items]).
func Setup(n *nodes.Node) error {
	n.Expose("shop", "total", nodes.FuncOf(func(ctx context.Context, items []Item) (int, error) {
		total := 0
		for _, item := range items {
			if item.Left == 0 {
				return 0, &nodes.Raise{Class: nodes.ClassError, Reason: ei.Tagged("sold_out", item.SKU)}
			}
			total += item.Price
		}
		return total, nil
	}))
	return nil
}

// NewCounter is a gen_server: GenServer.call({:counter, go}, {:add, 2}), GenServer.cast(…, :reset).
func NewCounter() nodes.Server {
	count := 0 // its functions are called one after the other: no lock
	return nodes.Server{
		On: map[string]nodes.Func{
			"add":   nodes.FuncOf(func(by int) int { count += by; return count }),
			"reset": nodes.FuncOf(func() { count = 0 }),
		},
		State: func() any { return count }, // for sys:get_state
	}
}

// Supervised starts a counter again whenever it ends, up to three times in five seconds.
func Supervised(ctx context.Context, n *nodes.Node) (*supervisor.Supervisor, error) {
	return supervisor.Supervise(ctx, n, "counter", NewCounter, &supervisor.Options{Intensity: 3, Period: 5 * time.Second})
}

// Follow waits for the end of a process elsewhere, and says why it came.
func Follow(ctx context.Context, n *nodes.Node, pid ei.Pid) (ei.Term, error) {
	box, err := n.NewMailbox(nil)
	if err != nil {
		return nil, err
	}
	defer box.Close()
	ref, err := box.Monitor(ctx, pid)
	if err != nil {
		return nil, err
	}
	for m, err := range box.All(ctx) {
		if err != nil {
			return nil, err
		}
		if m.Op == dist.OpMonitorPExit && m.Ref == ref {
			return m.Reason.Decode()
		}
	}
	return nil, ctx.Err()
}

// Worker joins pg's group workers, and does what comes: :pg.get_members(:workers) has it.
func Worker(ctx context.Context, n *nodes.Node, scope *pg.Scope, do func(job string)) error {
	box, err := n.NewMailbox(nil)
	if err != nil {
		return err
	}
	defer box.Close() // which leaves the group
	if err := scope.Join(ctx, "workers", box); err != nil {
		return err
	}
	for job, err := range nodes.Messages[string](ctx, box) {
		if err != nil {
			return err
		}
		do(job)
	}
	return nil
}

// Announce pushes an event to the browsers that have joined a Phoenix channel.
func Announce(ctx context.Context, ps *pubsub.PubSub, item Item) error {
	return ps.Push(ctx, "shop:lobby", "price_changed", map[string]any{"sku": item.SKU, "price": item.Price})
}

// Everywhere asks a function of many nodes at once; those that do not answer have an error.
func Everywhere(ctx context.Context, n *nodes.Node, all []string) map[string]int {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	left := map[string]int{}
	for node, answer := range nodes.MulticallAs[int](ctx, n, all, "stock", "left") {
		if answer.Err == nil {
			left[node] = answer.Value
		}
	}
	return left
}

// Leader runs a function on one node of the cluster at a time: whoever has the lock.
func Leader(ctx context.Context, g *global.Global, lead func(ctx context.Context) error) error {
	return g.Trans(ctx, global.Lock{Resource: "shop_leader"}, lead)
}

// Watched serves /health/live, /health/ready and /health/startup, and counts what is called.
func Watched(n *nodes.Node, count func(name string, outcome metrics.Outcome)) http.Handler {
	n.Measure(&metrics.Hooks{CallEnded: func(_ context.Context, c *metrics.CallInfo) { count(c.Name(), c.Outcome) }})
	mux := http.NewServeMux()
	mux.Handle("/health/", http.StripPrefix("/health", health.Handler(n, health.Peers(1))))
	return mux
}

// Service is a whole service: it runs until ctx or SIGTERM ends it.
func Service(ctx context.Context, cfg nodes.Config) error {
	cfg.Setup = func(n *nodes.Node) error { // before the first peer can call
		_, err := n.Serve("packer", nodes.Server{On: map[string]nodes.Func{
			"pack": nodes.FuncOf(func(ctx context.Context, sku string) (int, error) {
				ctx, cancel := context.WithTimeout(ctx, 3*time.Second) // GenServer.call waits for 5 s
				defer cancel()
				shop := string(nodes.CallerOf(ctx).Node)
				return Price(ctx, n, shop, sku) // the first recipe
			}),
		}}, nil)
		return errors.Join(err, Setup(n)) // the second one
	}
	u := upgrade.Upgrader{Config: cfg}
	n, err := u.Start(ctx)
	if err != nil {
		return err
	}
	defer n.Close()
	return u.Run(ctx) // until SIGTERM, and until what was received is answered, for u.ShutdownTimeout (10 s) at most
}
