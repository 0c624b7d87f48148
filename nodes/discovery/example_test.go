package discovery_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/discovery"
	"github.com/cnode-go/cnode/transport"
)

// two starts two nodes that find each other in a table, over a transport inside the process.
func two(ctx context.Context) (alice, bob *nodes.Node) {
	tr := transport.NewMemory()
	table := nodes.Static{"alice@host": {Addr: transport.MemoryAddr("alice")}, "bob@host": {Addr: transport.MemoryAddr("bob")}}
	var both []*nodes.Node
	for _, name := range []string{"alice@host", "bob@host"} {
		n, err := nodes.New(nodes.Config{Name: name, Cookie: "secret", Transport: tr, Listen: table[name].Addr, Resolver: table})
		if err == nil {
			err = n.Start(ctx)
		}
		if err != nil {
			log.Fatal(err)
		}
		both = append(both, n)
	}
	return both[0], both[1]
}

// A node that is to be connected all the time, and what is told of it.
func ExampleKeepConnected() {
	ctx := context.Background()
	alice, bob := two(ctx)
	defer alice.Close()
	connected, lost := make(chan discovery.Peer), make(chan discovery.Peer)
	k := discovery.KeepConnected(alice, discovery.List{"bob@host"}, &discovery.Options{
		OnConnected: func(p discovery.Peer) { connected <- p },
		OnLost:      func(p discovery.Peer) { lost <- p },
	})
	defer k.Close()

	p := <-connected
	fmt.Println(p.Node, "up:", p.Up)
	bob.Close()
	p = <-lost
	fmt.Println(p.Node, p.Why, "again within a second:", time.Until(p.Next) < time.Second)
	for _, p := range k.Peers() {
		fmt.Println(p.Node, "up:", p.Up)
	}
	// Output:
	// bob@host up: true
	// bob@host closed by the peer again within a second: true
	// bob@host up: false
}

// A member of a cluster of Elixir nodes that use Cluster.Strategy.Gossip: it announces itself, and
// connects to those that do.
func ExampleGossip() {
	ctx := context.Background()
	n, err := nodes.New(nodes.Config{Name: "go@10.0.0.7", Cookie: "secret", Visible: true})
	if err != nil {
		log.Fatal(err)
	}
	if err := n.Start(ctx); err != nil {
		log.Fatal(err)
	}
	k := discovery.KeepConnected(n, discovery.Gossip{Secret: "somepassword"}, &discovery.Options{
		OnLost: func(p discovery.Peer) { slog.Warn("lost", "peer", p.Node, "why", p.Why, "again", p.Next) },
	})
	defer k.Close()
}

// In Kubernetes, next to Elixir pods that are named by the addresses of a headless service:
// RELEASE_NODE=myapp@${POD_IP}.
func ExampleKubernetes() {
	ctx := context.Background()
	n, err := nodes.New(nodes.Config{Name: "myapp@10.1.0.7", Cookie: "secret"}) // the pod's own address
	if err != nil {
		log.Fatal(err)
	}
	if err := n.Start(ctx); err != nil {
		log.Fatal(err)
	}
	k := discovery.KeepConnected(n, discovery.Kubernetes{Service: "myapp-headless", Basename: "myapp"}, nil)
	defer k.Close()
}

// Without a port mapper: the node finds others at the ports of their SRV records.
func ExampleSRV() {
	ctx := context.Background()
	records := discovery.SRV{Query: "_cnode._tcp.example.com", Basename: "myapp"}
	n, err := nodes.New(nodes.Config{Name: "myapp@c.example.com", Cookie: "secret", Resolver: records})
	if err != nil {
		log.Fatal(err)
	}
	if err := n.Start(ctx); err != nil {
		log.Fatal(err)
	}
	k := discovery.KeepConnected(n, records, nil)
	defer k.Close()
}
