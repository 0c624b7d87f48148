// Package pg lets processes of a node be members of Erlang's process groups: those of OTP's module
// pg, of which each scope is a set of groups that all nodes with a scope of that name share.
//
//	scope, err := pg.Start(ctx, node, "", nil) // pg:start_link(pg)
//	err = scope.Join(ctx, "workers", box)      // pg:join(workers, Pid), :pg.join(:workers, pid)
//	for p := range scope.Members("workers") {  // pg:get_members(workers), :pg.get_members(:workers)
//		err = box.Send(ctx, p, "hello")
//	}
//	for change, err := range scope.Monitor(ctx, "workers") { // pg:monitor(workers)
//		...
//	}
//
// A group is any term. A Go string is an atom, as names are everywhere; a binary is an ei.Binary:
//
//	err = scope.Join(ctx, ei.Binary("room:1"), box) // pg:join(<<"room:1">>, Pid), :pg.join("room:1", pid)
//
// A scope is a process, registered under the scope's name, that tells those of other nodes who has
// joined and left here, and hears the same from them. There is no lock and no agreement: what one
// node sees is, a moment later, what all nodes see that are connected with it. A node that is lost
// takes its members along until it is back. Nodes of OTP 25 to 29, and of this library, take part,
// whether they are hidden or visible; docs/how-to/process-groups.md has the Erlang and the Elixir
// side, and docs/explanation/promises.md what happens on net splits, moves, and with workers.
// Between Erlang nodes, keep OTP 29 and OTP 25 apart, or give them scopes of different names: a
// scope of OTP 25 ends over what one of OTP 29 sends it.
//
// What other nodes tell is not trusted: a scope speaks for the processes of its own node only, what
// it says otherwise is dropped, and so is what no scope says; see also Options.Limit. A process of
// this node that somebody ends with exit(Pid, kill), the scope's own too, is replaced by another
// one, and the members stay.
//
// # Stability
//
// What goes over the wire is OTP's protocol, and stays. Names in Go may change before 1.0, and so
// may what counts towards Options.Limit; CHANGELOG.md says so then.
package pg
