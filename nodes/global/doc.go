// Package global makes a Go node a member of Erlang's global: its processes have names that all
// nodes of the cluster know, it finds the processes of others by theirs, and takes part in locks.
//
//	cfg.Visible = true // global knows visible nodes only
//	cfg.Setup = func(n *nodes.Node) (err error) {
//		names, err = global.Start(ctx, n, nil)
//		return err
//	}
//	…
//	err = names.Register(ctx, "shop", box, global.RandomNotify) // global:register_name/3
//	pid, ok := names.Whereis("till")                            // global:whereis_name/1
//
// Then gen_server:call({global, shop}, Request), or GenServer.call({:global, :shop}, request) in
// Elixir, reaches the mailbox from every node. A hidden node uses RegisterExternal.
//
// A name is any term. A Go string is an atom, as names are everywhere; what Erlang calls {global,
// <<"shop">>}, and Elixir {:global, "shop"}, is ei.Binary("shop").
//
// The protocol is version 8 of global_name_server, that of OTP 25 to 29; its manual is global(3) of
// kernel. docs/how-to/global-names.md shows names and locks from both sides, and
// docs/explanation/promises.md says what happens on net splits, in a move and with workers.
//
// # Stability
//
// The protocol is OTP's, and stays. Names in Go may change before 1.0, and so may how long this
// side waits for a node that does not go on; CHANGELOG.md says so then.
package global
