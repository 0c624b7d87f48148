// Package pubsub makes a Go program a member of a Phoenix.PubSub 2.x (its default adapter, PG2): it
// gets what the Elixir nodes of a cluster broadcast, broadcasts itself, pushes to the browsers of a
// Phoenix application, knows who is present on a topic, and is present itself.
//
//	ps, err := pubsub.Start(ctx, n, "MyApp.PubSub", nil)             // {Phoenix.PubSub, name: MyApp.PubSub}
//	for order, err := range pubsub.Messages[Order](ctx, ps, "orders") { ... } // PubSub.subscribe(MyApp.PubSub, "orders")
//	err = ps.Broadcast(ctx, "orders", Order{...})               // PubSub.broadcast(MyApp.PubSub, "orders", %{...})
//	err = ps.Push(ctx, "room:1", "new_msg", Note{...})          // MyAppWeb.Endpoint.broadcast("room:1", "new_msg", %{...})
//	pr, err := ps.StartPresence(ctx, "MyAppWeb.Presence", nil)
//	err = pr.Track(ctx, b, "room:1", "user7", User{...})        // MyAppWeb.Presence.track(self(), "room:1", "user7", %{...})
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
// changed, or every 15 s (here 10 s) that it is still there, and gives who asks what that has
// missed, or all it knows. A shard here is a process under the name of the others
// ('Elixir.MyAppWeb.Presence_shard0', …). Until it tracks something it listens and asks only, so
// the others do not know that it is there; then it is one of them for good.
//
// # Subscribers
//
// A subscriber is a mailbox, of a Server for example, or that of a loop over [Messages]. One that
// does not read holds up nobody: what comes for it goes into its mailbox, and at the mailbox's
// limit happens what its options say. That of Messages ends then, and the loop with it, with an
// error.
//
// # Who is tracked
//
// What [Presence.Track] tracks is a mailbox of this node, for as long as it lives: a user's
// session, or a Server. Other nodes see it a broadcast period later at most, and that it is gone as
// soon when it has ended, or is untracked. When the node ends, they see that
//
//	at once                    after PubSub.Close, and when the node drains (nodes.Node.Shutdown)
//	when it is there again,    after Node.Close without these, and when the program is killed
//	or after 30 s (DownPeriod)
//
// Nodes that lose each other take what they track for gone after DownPeriod; when they are
// connected again, each asks for what it has missed. A shard's process that somebody kills is made
// anew, and nobody sees anything of it.
//
// # Moves and workers
//
// Start belongs into Config.Setup. When the node moves to another process (package nodes, "Moving
// to another process"), what has come and was not dealt with, and the membership in the group, move
// along; the new process subscribes anew, in Setup too, so that it misses nothing. Presences, which
// Setup starts, go on with all that they know and track: others see neither a leave nor a join.
//
// In a node with workers each worker is a member of its own and serves the subscribers that it has;
// what is broadcast to the whole node only (direct_broadcast) reaches one of them, which passes it
// on to the others. Each tracks processes of its own, but a node is one replica, by its name: so
// one of the workers speaks for all, and the others, which tell it what they track, see each
// other's processes as other nodes do, a moment later. When that worker, or its shard, is killed
// another one speaks, as another replica: what the node tracks is seen to leave and to join again.
// If no other worker tracks anything, none does, and what the dead one tracked leaves when its
// silence is noticed, after PresenceOptions.DownPeriod, as that of a node that is killed.
//
// # Stability
//
// Broadcasts are those of Phoenix.PubSub 2.x. Presence takes part in Phoenix.Tracker, whose
// messages Phoenix documents nowhere, so that another release of it may need another one of this
// package. Names in Go may change before 1.0; CHANGELOG.md says so then.
package pubsub
