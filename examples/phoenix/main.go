// Command phoenix pushes to the pages of a Phoenix application, as a member of its PubSub: see
// README.md. The cookie is that of ~/.erlang.cookie.
//
//	phoenix --name prices@127.0.0.1 --app app@127.0.0.1
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/discovery"
	"github.com/cnode-go/cnode/nodes/pubsub"
)

// A Price is %{item: "pear", cents: 45}.
type Price struct {
	Item  string
	Cents int
}

func main() {
	name := flag.String("name", "prices@127.0.0.1", "name of this node")
	app := flag.String("app", "app@127.0.0.1", "name of the application's node")
	bus := flag.String("pubsub", "MyApp.PubSub", "name of the application's PubSub")
	every := flag.Duration("every", time.Second, "time between two prices")
	flag.Parse()
	ctx := context.Background()
	var ps *pubsub.PubSub
	n, err := nodes.New(nodes.Config{Name: *name, Resolver: &nodes.PortMapper{Embed: true}, Setup: func(n *nodes.Node) (err error) {
		ps, err = pubsub.Start(ctx, n, *bus, nil)
		return err
	}})
	if err == nil {
		err = n.Start(ctx)
	}
	if err != nil {
		log.Fatal(err)
	}
	discovery.KeepConnected(n, discovery.List{*app}, nil) // again after the application was restarted
	fmt.Println("ready", n.Name(), n.Listeners()[0].Addr())
	for range time.Tick(*every) {
		price := Price{"pear", 40 + rand.IntN(10)}
		err := errors.Join(
			ps.Broadcast(ctx, "prices", ei.T("price", price)), // PriceLive.handle_info({:price, %{…}}, socket)
			ps.Push(ctx, "prices:all", "price", price))        // channel.on("price", p => …)
		if err != nil {
			log.Fatal(err)
		}
	}
}
