// Package pubsub makes a Go program a member of a Phoenix.PubSub 2.x (its default adapter, PG2): it
// gets what the Elixir nodes of a cluster broadcast, broadcasts itself, pushes to the browsers of a
// Phoenix application, and knows who is present on a topic.
//
//	ps, err := pubsub.Start(ctx, n, "MyApp.PubSub", nil)             // {Phoenix.PubSub, name: MyApp.PubSub}
//	for order, err := range pubsub.Messages[Order](ctx, ps, "orders") { ... } // PubSub.subscribe(MyApp.PubSub, "orders")
//	err = ps.Broadcast(ctx, "orders", Order{...})               // PubSub.broadcast(MyApp.PubSub, "orders", %{...})
//	err = ps.Push(ctx, "room:1", "new_msg", Note{...})          // MyAppWeb.Endpoint.broadcast("room:1", "new_msg", %{...})
//	pr, err := ps.FollowPresence("MyAppWeb.Presence", nil)      // read only
//	users, err := pubsub.List[User](pr, "room:1")               // MyAppWeb.Presence.list("room:1")
//	for e, err := range pubsub.Watch[User](ctx, pr, "room:1") { ... } // who comes and goes
//
// A topic is a string in Elixir, that is a binary, and a Go string is that one; only names of
// processes, PubSubs and Presences are atoms.
//
// # What goes over the wire
//
// The node has a process for each member of the pool, under the name of the adapter
// ('Elixir.MyApp.PubSub.Adapter', …Adapter_2, …), which is a member of the process group of that
// name in the scope 'Elixir.Phoenix.PubSub' of package pg. A broadcast is one message to each such
// process of the other nodes, {forward_to_local, Topic, Message, Dispatcher}, which gives it to the
// subscribers on its node. Nothing is acknowledged; what one process broadcasts arrives in order.
//
// Presence is the CRDT of Phoenix.Tracker: each of its shards says every broadcast period what has
// changed, or every 15 s that it is still there, and gives all it knows to who asks. This package
// listens and asks, and tracks nothing of its own, so the other nodes do not know that it is there.
//
// # Subscribers
//
// A subscriber is a mailbox, of a Server for example, or that of a loop over [Messages]. One that
// does not read holds up nobody: what comes for it goes into its mailbox, and at the mailbox's
// limit happens what its options say. That of Messages ends then, and the loop with it, with an
// error.
//
// # Moves and workers
//
// Start belongs into Config.Setup. When the node moves to another process (package nodes, "Moving
// to another process"), what has come and was not dealt with, and the membership in the group, move
// along; the new process subscribes anew, in Setup too, so that it misses nothing. In a node with
// workers each worker is a member of its own and serves the subscribers that it has; what is
// broadcast to the whole node only (direct_broadcast) reaches one of them, which passes it on to
// the others.
//
// # Stability
//
// Broadcasts are those of Phoenix.PubSub 2.x. Presence follows Phoenix.Tracker, whose messages
// Phoenix documents nowhere, so that another release of it may need another one of this package.
// Names in Go may change before 1.0; CHANGELOG.md says so then.
package pubsub
