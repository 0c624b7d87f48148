// Package supervisor starts processes of a node, and starts them again when they end: it is
// stdlib's supervisor, with its strategies, restart intensity, shutdown times and automatic
// shutdown, for processes made of Go functions, and for those of Erlang nodes.
// supervisor:which_children and the like, Elixir's Supervisor.which_children, sys and observer look
// into it from other nodes.
//
//	_, err := supervisor.Start(ctx, n, "shop", &supervisor.Options{Strategy: supervisor.RestForOne},
//		supervisor.Server("stock", func() nodes.Server { return newStock() }, nil),
//		supervisor.Server("pricing", func() nodes.Server { return newPricing() }, nil),
//	)
//
// Call Start in nodes.Config.Setup: then, if the node moves to another process of the operating
// system, the supervisor goes on there, with its pid, its links and, of those children that have a
// registered name, the same processes. docs/how-to/supervise-from-go.md has more of that, and
// docs/how-to/supervise-from-elixir.md an Erlang or Elixir supervisor over Go processes.
//
// # Stability
//
// Strategies, restarts and what other nodes ask for are OTP's, and stay. Names in Go may change
// before 1.0 (CHANGELOG.md says so then); start_child, which is refused, may be added.
package supervisor
