// Command library gives back what Elixir sends, in types that cnode-gen has written beside it.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/cnode-go/cnode/nodes"
)

func exchange[T any](n *nodes.Node, name string, made func() T) {
	n.Expose("library", name, nodes.FuncOf(func(v T) T { return v }))
	n.Expose("library", "new_"+name, nodes.FuncOf(made))
}

func main() {
	n, err := nodes.New(nodes.Config{Name: os.Args[1], Cookie: os.Getenv("COOKIE"), Resolver: &nodes.PortMapper{}})
	if err == nil {
		exchange(n, "author", func() Author { return Author{} })
		exchange(n, "book", NewBook)
		exchange(n, "page", func() Page { return Page{} })
		exchange(n, "desk", NewDesk)
		exchange(n, "lost", NewLost)
		exchange(n, "bare", NewBare)
		exchange(n, "odd", NewOdd)
		err = n.Start(context.Background())
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("ready", n.Name(), n.Listeners()[0].Addr())
	<-n.Done()
}
