package genstage_test

import (
	"context"
	"fmt"
	"io"
	"log"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/genstage"
	"github.com/cnode-go/cnode/transport"
)

// An Order is %{item: "clock", price: 10} in Elixir.
type Order struct {
	Item  string
	Price int
}

// A producer, to which an Elixir consumer subscribes with
// GenStage.sync_subscribe(consumer, to: {:orders, :"go@host"}, max_demand: 100). Here the consumer
// is a Go function of the same node.
func Example() {
	ctx := context.Background()
	node, err := nodes.New(nodes.Config{
		Name: "go@host", Cookie: "secret",
		Transport: transport.NewMemory(), Listen: transport.MemoryAddr("go"), Resolver: nodes.Static{}, // leave these out
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := node.Start(ctx); err != nil {
		log.Fatal(err)
	}
	defer node.Close()

	next := 0
	_, err = genstage.Produce(node, "orders", nil, func(ctx context.Context, demand int) (orders []Order, err error) {
		for ; len(orders) < demand && next < 5; next++ {
			orders = append(orders, Order{"clock", next})
		}
		if next == 5 {
			err = io.EOF // there are no more
		}
		return orders, err
	})
	if err != nil {
		log.Fatal(err)
	}

	s, err := genstage.SubscribeName(ctx, node, "go@host", "orders", &genstage.Options{MaxDemand: 4, Cancel: genstage.Transient},
		func(ctx context.Context, orders []Order) error {
			fmt.Println(len(orders), "from", orders[0].Price)
			return nil
		})
	if err != nil {
		log.Fatal(err)
	}
	<-s.Done()
	if err := s.Err(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 2 from 0
	// 2 from 2
	// 1 from 4
}

// A consumer of an Elixir producer, which subscribes anew when the producer, or its node, was gone.
func ExampleSubscribeName() {
	ctx := context.Background()
	var node *nodes.Node // see the first example
	wait := func() {}    // a pause, which grows
	for ctx.Err() == nil {
		s, err := genstage.SubscribeName(ctx, node, "app@10.0.0.8", "Elixir.MyApp.Prices", &genstage.Options{MaxDemand: 100},
			func(ctx context.Context, orders []Order) error {
				fmt.Println(orders)
				return nil
			})
		if err == nil {
			<-s.Done()
			err = s.Err()
		}
		if err == nil { // Cancel was called, or the node has ended
			return
		}
		log.Print(err)
		wait()
	}
}
