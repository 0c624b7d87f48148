package pg_test

import (
	"context"
	"fmt"
	"log"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/pg"
	"github.com/cnode-go/cnode/transport"
)

// A worker of one node, found by another one through its group. With an Erlang node in the place of
// the second it would be
//
//	pg:start_link(pg), net_kernel:connect_node('alice@host'),
//	[P] = pg:get_members(workers), P ! hello.
func Example() {
	ctx := context.Background()
	tr := transport.NewMemory() // so that the example needs no network
	table := nodes.Static{
		"alice@host": {Addr: transport.MemoryAddr("alice")},
		"bob@host":   {Addr: transport.MemoryAddr("bob")},
	}
	scopes := map[string]*pg.Scope{}
	start := func(name string) *nodes.Node {
		node, err := nodes.New(nodes.Config{
			Name: name, Cookie: "secret", Transport: tr, Listen: table[name].Addr, Resolver: table,
			Setup: func(n *nodes.Node) (err error) {
				scopes[name], err = pg.Start(ctx, n, "", nil)
				return err
			},
		})
		if err != nil {
			log.Fatal(err)
		}
		if err := node.Start(ctx); err != nil {
			log.Fatal(err)
		}
		return node
	}
	alice, bob := start("alice@host"), start("bob@host")
	defer alice.Close()
	defer bob.Close()

	worker, err := alice.NewMailbox(nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := scopes["alice@host"].Join(ctx, "workers", worker); err != nil {
		log.Fatal(err)
	}
	if _, err := bob.Connect(ctx, "alice@host"); err != nil {
		log.Fatal(err)
	}
	for change, err := range scopes["bob@host"].Monitor(ctx, "workers") { // first those that there are
		if err != nil {
			log.Fatal(err)
		}
		if len(change.Joined) > 0 {
			fmt.Println("on", change.Joined[0].Node)
			break
		}
	}
	if err := scopes["bob@host"].Broadcast(ctx, nil, "workers", "hello"); err != nil {
		log.Fatal(err)
	}
	for text, err := range nodes.Messages[string](ctx, worker) {
		fmt.Println(text, err)
		break
	}
	// Output:
	// on alice@host
	// hello <nil>
}
