// Package nodestest is for the tests of programs that use package nodes: clusters in memory, Erlang
// nodes played by the test, networks that fail on demand, and Servers without a node. It needs no
// Erlang, no port mapper and no sockets, and works inside a testing/synctest bubble, where the time
// that ticks and time-outs take passes at once.
//
//	a, b := nodestest.Pair(t)                          // two nodes, started and connected
//	all := nodestest.Cluster(t, 3)                     // each connected to each
//
//	net := nodestest.New(t)                            // or piece by piece
//	shop := net.Node("shop")                           // shop@test
//	x := net.BEAM("x")                                 // x@test, to shop an Erlang node
//	x.Expose("stock", "count", nodestest.Returns("[1,2,3]"))
//	reply, err := x.Call("shop@test", "pricing", `{quote, "A"}`)
//	net.Cut(shop, x)
//
//	s, err := nodestest.StartSwarm(ctx, 300)           // many, for a real Erlang node to meet
//
//	p := nodestest.Serve(t, newPricing())              // a Server alone
//	q, err := nodestest.Call[Quote](p, ei.T("quote", "A"))
//
// Everything but a Swarm ends with the test.
// What goes wrong in the making of it fails the test at once; so the
// functions with a testing.TB are for the test's own goroutine. What nodes have to warn of is in
// the test's log.
//
// # Stability
//
// The names are stable from 0.1.0 on, but for Net, BEAM and Swarm, which
// may change in a minor version
// before 1.0, as CHANGELOG.md then says.
package nodestest
