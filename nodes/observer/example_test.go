package observer_test

import (
	"context"
	"fmt"
	"log"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/observer"
	"github.com/cnode-go/cnode/transport"
)

// Observer, LiveDashboard and IEx can look at this node; the operators' nodes can also stop it, in
// good order.
func Example() {
	node, err := nodes.New(nodes.Config{
		Name: "shop@host", Cookie: "secret",
		Transport: transport.NewMemory(), Listen: transport.MemoryAddr("shop"), Resolver: nodes.Static{}, // leave these out
		Setup: func(n *nodes.Node) error {
			return observer.Serve(n, &observer.Options{Application: "shop", Stop: n.Shutdown})
		},
		Rules: append(observer.Rules("ops*@*"),
			nodes.Rule{Permission: nodes.MaySend, Target: "orders", Allow: true},
			nodes.Rule{}, // nothing else
		),
	})
	if err == nil {
		err = node.Start(context.Background())
	}
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()

	apps, err := node.ERPC(context.Background(), node.Name(), "application", "which_applications")
	fmt.Println(apps.(ei.List)[0].(ei.Tuple)[0], err)
	// Output: shop <nil>
}
