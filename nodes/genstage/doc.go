// Package genstage makes Go functions stages of Elixir's GenStage: producers, to which consumers of
// any node subscribe, and consumers of producers of any node. A producer sends no more events than
// its consumers have demanded, so whoever is slow sets the pace, across nodes and languages.
//
//	p, err := genstage.Produce(n, "orders", nil, func(ctx context.Context, demand int) ([]Order, error) {
//		return queue.Take(ctx, demand) // waits for one order at least, gives no more than demand
//	})                                                // GenStage.sync_subscribe(c, to: {:orders, :"go@host"})
//	s, err := genstage.SubscribeName(ctx, n, "app@host", "Elixir.MyApp.Prices", &genstage.Options{MaxDemand: 100},
//		func(ctx context.Context, prices []Price) error { return store(ctx, prices) })
//
// Events are Go values, as ei.Append and ei.Unmarshal make them terms and back; ei.Term stands for
// any event.
//
// # Demand
//
// A subscription demands MaxDemand events at first. Its function gets them in lists of at most
// MaxDemand - MinDemand; when so many are dealt with that no more than MinDemand are on their way,
// it demands as many as are missing. That is the rule of a GenStage consumer in automatic mode. A
// producer's function is asked for what its consumers demand, and is not called while they demand
// nothing. What it gives beyond that is kept for the next demand: nothing is dropped.
//
// # Ends
//
// A subscription ends by [Subscription.Cancel], by an error of its function, by the producer, which
// cancels it or ends, and with the connection to the producer's node. Nothing subscribes anew by
// itself. What a producer has sent and the consumer has not dealt with is lost, as in GenStage,
// unless Cancel ends the subscription: it waits for what is on its way.
//
// # Moving to another process
//
// A producer with a name goes on when its node moves to another process, if Config.Setup calls
// Produce there: with its pid, its subscriptions, and what it has not sent yet. What its function
// gives while the node is handed over is lost. So does a subscription with a name (Options.Name),
// if Setup subscribes there, and it loses nothing. One without a name ends with nodes.ErrMoved; its
// mailbox is among those that the new process closes (nodes.Staged.Mailboxes).
//
// # Stability
//
// The messages are those which the documentation of GenStage describes. Names in Go may change
// before 1.0 (CHANGELOG.md says so then).
package genstage
