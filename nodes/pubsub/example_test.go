package pubsub_test

import (
	"context"
	"fmt"
	"log"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/pubsub"
	"github.com/cnode-go/cnode/transport"
)

// A Bid is what the members of MyApp.PubSub tell each other: %{item: "clock", price: 10}.
type Bid struct {
	Item  string
	Price int
}

// Phoenix applications, and other programs like this one, that are members of MyApp.PubSub get what
// is broadcast, and broadcast themselves. Connect to one of them, or be connected to.
func Example() {
	ctx := context.Background()
	var ps *pubsub.PubSub
	node, err := nodes.New(nodes.Config{
		Name: "go@host", Cookie: "secret",
		Transport: transport.NewMemory(), Listen: transport.MemoryAddr("go"), Resolver: nodes.Static{}, // leave these out
		Setup: func(n *nodes.Node) (err error) {
			ps, err = pubsub.Start(ctx, n, "MyApp.PubSub", nil)
			return err
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := node.Start(ctx); err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	defer ps.Close()

	bids := pubsub.Messages[Bid](ctx, ps, "bids")
	if err := ps.Broadcast(ctx, "bids", Bid{"clock", 10}); err != nil {
		log.Fatal(err)
	}
	for bid, err := range bids {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(bid.Item, bid.Price)
		break
	}
	// Output: clock 10
}

// A member of MyApp.PubSub that connects to one of the others.
func ExampleStart() {
	ctx := context.Background()
	var ps *pubsub.PubSub
	node, err := nodes.New(nodes.Config{
		Name: "go@10.0.0.7", Cookie: "secret",
		Setup: func(n *nodes.Node) (err error) {
			ps, err = pubsub.Start(ctx, n, "MyApp.PubSub", nil)
			return err
		},
	})
	if err == nil {
		err = node.Start(ctx)
	}
	if err == nil {
		_, err = node.Connect(ctx, "app@10.0.0.8")
	}
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	defer ps.Close()
}

// What a program pushes appears in the browsers that have joined the channel room:1:
// channel.on("new_msg", msg => …).
func ExamplePubSub_Push() {
	push := func(ctx context.Context, ps *pubsub.PubSub) error {
		return ps.Push(ctx, "room:1", "new_msg", map[string]any{"text": "Hello from Go"})
	}
	_ = push
}

// A User is a meta: %{name: "Ann", status: "online"}, and what Phoenix adds.
type User struct {
	Name   string
	Status string
	PhxRef string `ei:",omitempty"`
}

// A member of MyApp.PubSub with MyAppWeb.Presence. It tracks the process of a session, which all
// nodes, and the browsers of the Phoenix application, see in the room until the session ends.
func ExamplePubSub_StartPresence() {
	ctx := context.Background()
	var ps *pubsub.PubSub
	var presence *pubsub.Presence
	node, err := nodes.New(nodes.Config{
		Name: "go@host", Cookie: "secret",
		Transport: transport.NewMemory(), Listen: transport.MemoryAddr("go"), Resolver: nodes.Static{}, // leave these out
		Setup: func(n *nodes.Node) (err error) {
			if ps, err = pubsub.Start(ctx, n, "MyApp.PubSub", nil); err == nil {
				presence, err = ps.StartPresence(ctx, "MyAppWeb.Presence", nil)
			}
			return err
		},
	})
	if err == nil {
		err = node.Start(ctx)
	}
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	defer ps.Close() // the others see at once that its processes are gone

	session, err := node.NewMailbox(nil)
	if err == nil {
		err = presence.Track(ctx, session, "room:1", "user7", User{Name: "Ann", Status: "online"})
	}
	if err == nil {
		err = pubsub.UpdateFunc(ctx, presence, session, "room:1", "user7", func(u User) User { u.Status = "away"; return u })
	}
	if err != nil {
		log.Fatal(err)
	}
	users, err := pubsub.List[User](presence, "room:1")
	if err != nil {
		log.Fatal(err)
	}
	for _, u := range users {
		fmt.Println(u.Key, u.Meta.Name, u.Meta.Status)
	}
	session.Close() // or presence.Untrack(ctx, session, "room:1", "user7")
	// Output: user7 Ann away
}

// Who is in a room of a Phoenix application, and who comes and goes.
func ExampleWatch() {
	watch := func(ctx context.Context, presence *pubsub.Presence) error {
		for event, err := range pubsub.Watch[User](ctx, presence, "room:1") {
			if err != nil {
				return err
			}
			fmt.Println(event.Kind, event.Key, event.Meta.Name) // joined user7 Ann
		}
		return nil
	}
	_ = watch
}
