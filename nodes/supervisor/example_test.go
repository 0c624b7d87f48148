package supervisor_test

import (
	"context"
	"fmt"
	"log"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/supervisor"
	"github.com/cnode-go/cnode/transport"
)

// newCounter is a server that counts, and has a bug.
func newCounter() nodes.Server {
	total := 0
	return nodes.Server{
		On: map[string]nodes.Func{
			"add": nodes.FuncOf(func(n int) int { total += n; return total }),
			"div": nodes.FuncOf(func(n int) int { total /= n; return total }),
		},
		State: func() any { return total },
	}
}

// start starts a node whose supervisor belongs to Config.Setup, so that it moves with the node.
func start(ctx context.Context, setup func(n *nodes.Node) error) *nodes.Node {
	at := transport.MemoryAddr("shop")
	n, err := nodes.New(nodes.Config{Name: "shop@host", Cookie: "secret", Transport: transport.NewMemory(), Listen: at,
		Resolver: nodes.Static{"shop@host": {Addr: at}}, Setup: setup})
	if err != nil {
		log.Fatal(err)
	}
	if err := n.Start(ctx); err != nil {
		log.Fatal(err)
	}
	return n
}

// A Server is started again whenever it ends, under its name.
func ExampleSupervise() {
	ctx := context.Background()
	n := start(ctx, func(n *nodes.Node) error {
		_, err := supervisor.Supervise(ctx, n, "counter", newCounter, &supervisor.Options{Intensity: 3})
		return err
	})
	defer n.Close()
	fmt.Println(nodes.CallNameAs[int](ctx, n, "shop@host", "counter", ei.Tuple{ei.Atom("add"), ei.Int(5)}))
	first := n.Whereis("counter")
	_, err := nodes.CallNameAs[int](ctx, n, "shop@host", "counter", ei.Tuple{ei.Atom("div"), ei.Int(0)}) // panics
	fmt.Println(err != nil)
	<-first.Done()
	// supervisor:which_children({counter_sup, 'shop@host'}) is answered once the child runs again
	if _, err := n.CallName(ctx, "shop@host", "counter_sup", ei.Atom("which_children")); err != nil {
		log.Fatal(err)
	}
	fmt.Println(nodes.CallNameAs[int](ctx, n, "shop@host", "counter", ei.Tuple{ei.Atom("add"), ei.Int(1)}))
	// Output:
	// 5 <nil>
	// true
	// 1 <nil>
}

// A tree: when the stock ends, pricing, which relies on it, is terminated and both are started
// again.
func ExampleStart() {
	ctx := context.Background()
	n := start(ctx, func(n *nodes.Node) error {
		_, err := supervisor.Start(ctx, n, "shop", &supervisor.Options{Strategy: supervisor.RestForOne},
			supervisor.Server("stock", newCounter, nil),
			supervisor.Server("pricing", newCounter, nil),
			supervisor.Sub("reports", nil,
				supervisor.Server("daily", newCounter, nil)))
		return err
	})
	defer n.Close()
	children, err := n.CallName(ctx, "shop@host", "shop", ei.Atom("count_children"))
	fmt.Println(children, err)
	// Output: [{specs,3},{active,3},{supervisors,1},{workers,2}] <nil>
}
