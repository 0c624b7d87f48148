package groupleader_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/groupleader"
	"github.com/cnode-go/cnode/transport"
)

// What a function prints appears where its caller says: here in Go, as a rule in an Erlang shell.
func Example() {
	ctx := context.Background()
	alice, bob := two(ctx)
	defer alice.Close()
	defer bob.Close()

	bob.Expose("shop", "report", nodes.FuncOf(func(ctx context.Context, day string) error {
		out := groupleader.Of(ctx)
		fmt.Fprintf(out, "orders of %s:\n", day)
		_, err := fmt.Fprintln(out, "none")
		return err
	}))

	leader, err := groupleader.Serve(alice, "", os.Stdout, nil)
	if err != nil {
		log.Fatal(err)
	}
	ctx = nodes.WithGroupLeader(ctx, leader.Pid())
	fmt.Println(alice.RPC(ctx, "bob@host", "shop", "report", "Friday"))
	// Output:
	// orders of Friday:
	// none
	// ok <nil>
}

// two starts two nodes that find each other in a table, over a transport inside the process.
func two(ctx context.Context) (alice, bob *nodes.Node) {
	tr := transport.NewMemory()
	table := nodes.Static{
		"alice@host": {Addr: transport.MemoryAddr("alice")},
		"bob@host":   {Addr: transport.MemoryAddr("bob")},
	}
	start := func(name string) *nodes.Node {
		n, err := nodes.New(nodes.Config{Name: name, Cookie: "secret", Transport: tr, Listen: table[name].Addr, Resolver: table})
		if err == nil {
			err = n.Start(ctx)
		}
		if err != nil {
			log.Fatal(err)
		}
		return n
	}
	return start("alice@host"), start("bob@host")
}
