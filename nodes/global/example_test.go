package global_test

import (
	"context"
	"fmt"
	"log"
	"slices"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/global"
	"github.com/cnode-go/cnode/transport"
)

// cluster starts two nodes that know each other's names.
func cluster(ctx context.Context) (alice, bob *nodes.Node, names map[*nodes.Node]*global.Global) {
	tr := transport.NewMemory()
	table := nodes.Static{
		"alice@host": {Addr: transport.MemoryAddr("alice")},
		"bob@host":   {Addr: transport.MemoryAddr("bob")},
	}
	names = map[*nodes.Node]*global.Global{}
	start := func(name string) *nodes.Node {
		n, err := nodes.New(nodes.Config{
			Name: name, Cookie: "secret", Transport: tr, Listen: table[name].Addr, Resolver: table,
			Visible: true, // global knows visible nodes only
			Setup: func(n *nodes.Node) (err error) {
				names[n], err = global.Start(ctx, n, nil)
				return err
			},
		})
		if err == nil {
			err = n.Start(ctx)
		}
		if err != nil {
			log.Fatal(err)
		}
		return n
	}
	alice, bob = start("alice@host"), start("bob@host")
	if _, err := alice.Connect(ctx, "bob@host"); err != nil {
		log.Fatal(err)
	}
	for _, g := range names {
		if err := g.Sync(ctx); err != nil {
			log.Fatal(err)
		}
	}
	return alice, bob, names
}

// A server has a name in the whole cluster. Erlang calls it by gen_server:call({global, adder},
// {add, 1, 2}), Elixir by GenServer.call({:global, :adder}, {:add, 1, 2}).
func Example() {
	ctx := context.Background()
	alice, bob, names := cluster(ctx)
	defer alice.Close()
	defer bob.Close()

	adder, err := alice.Serve("", nodes.Server{On: map[string]nodes.Func{
		"add": nodes.FuncOf(func(a, b int) int { return a + b }),
	}}, nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := names[alice].Register(ctx, "adder", adder, global.RandomNotify); err != nil {
		log.Fatal(err)
	}
	fmt.Println(slices.Collect(names[bob].Names()))
	sum, err := global.CallAs[int](ctx, names[bob], bob, "adder", ei.Tuple{ei.Atom("add"), ei.Int(1), ei.Int(2)})
	fmt.Println(sum, err)
	// Output:
	// [adder]
	// 3 <nil>
}

// Only one process of the cluster at a time has the lock of a resource.
func ExampleGlobal_Trans() {
	ctx := context.Background()
	alice, bob, names := cluster(ctx)
	defer alice.Close()
	defer bob.Close()

	err := names[alice].Trans(ctx, global.Lock{Resource: "stock"}, func(ctx context.Context) error {
		other := names[bob].Trans(transport.NoWait(), global.Lock{Resource: "stock"}, func(context.Context) error { return nil })
		fmt.Println("another one:", other)
		return nil
	})
	fmt.Println(err)
	// Output:
	// another one: lock stock: global: the lock is another requester's
	// <nil>
}
