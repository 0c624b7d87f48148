//go:build unix

// Command first-plugin is a node with one function, over a transport plug-in of its own.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

func main() {
	tr, err := transport.New(counting(), nil)
	if err != nil {
		log.Fatal(err)
	}
	n, err := nodes.New(nodes.Config{
		Name: "plugin@127.0.0.1", Cookie: "secret", Resolver: &nodes.PortMapper{Embed: true}, Transport: tr,
		Setup: func(n *nodes.Node) error {
			n.Expose("go", "echo", func(_ context.Context, args []ei.Term) (any, error) { return args, nil })
			return nil
		},
	})
	if err == nil {
		err = n.Start(context.Background())
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("ready", n.Name(), n.Listeners()[0].Addr())
	<-n.Done()
}
