package main

import (
	"context"
	"fmt"
	"log"

	"github.com/cnode-go/cnode/nodes"
)

func main() {
	n, err := nodes.New(nodes.Config{
		Name: "pricing@127.0.0.1", Cookie: "secret", Resolver: &nodes.PortMapper{Embed: true},
		Setup: setup,
	})
	if err == nil {
		err = n.Start(context.Background())
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("ready", n.Name())
	<-n.Done()
}
