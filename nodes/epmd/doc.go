// Package epmd is the Erlang port mapper: a client, and a server to embed where no epmd runs.
//
// # The model
//
// A port mapper is one process per machine that knows, for each Erlang node there, the part of its
// name before the "@" and the TCP port on which it accepts distribution connections. To reach
// alice@host a node asks the port mapper of host for alice.
//
// A node registers and keeps the connection open: the registration lasts exactly as long as the
// connection ([Client.Register], [Registered]). The port mapper gives it a creation, a number that
// tells this incarnation of the name from earlier ones; the port mapper counts per name and
// remembers names that are no longer registered. A port mapper that restarts has forgotten
// everything: [Client.Keep] registers again by itself, while the node goes on under its first
// creation.
//
// Every other request has a connection of its own, which the port mapper closes after the answer:
// [Client.Resolve], [Client.Names], [Client.Dump], [Client.Kill], [Client.Stop].
//
//	client := &epmd.Client{}                                     // this machine's, on ERL_EPMD_PORT
//	held, err := client.Keep(ctx, epmd.Registration{Name: "alice", Port: port}, nil)
//	if errors.Is(err, epmd.ErrNoPortMapper) { ... }              // nobody listens: embed a Server, and try again
//	defer held.Close()
//	info, err := client.Resolve(ctx, "otherhost", "bob")         // info.Port
//
// # The server
//
// [Server] answers every request with the same bytes as the epmd of OTP 25; erl and epmd -names
// cannot tell them apart. [ListenAddrs] and [Listen] open the listeners that the environment asks
// for.
//
// The differences are these. A client that does not read its answer delays nobody else, and is cut
// off after the packet timeout, which covers a whole request, not each part. If there is no room,
// the oldest connection without a name ends. A name that is given up is free for every request sent
// afterwards (on Windows, a little later). Nothing is written to disk.
//
// # Moving to another process
//
// A registration ([Keeper.Freeze], [Client.Stage]), and a server with its listeners, table and the
// registrations that it holds ([Server.Freeze], [Server.Stage]), go on in another process, and
// neither the port mapper nor its clients notice: Freeze gives a state and descriptors, Thaw or
// Release follows, and at the other end Start or Discard.
//
// # Security
//
// The protocol has no authentication. As in OTP, registrations, dumps and commands are accepted
// only from the same machine, and everybody who reaches the port may ask for names; kill while
// names are registered, and stop, need [Server.Relaxed]. What comes from a peer is bounded before
// memory is set aside for it: requests 3 KiB, answers to the client 2 KiB, listings 8 MiB,
// connections [Server.MaxConns], of which strangers, who cannot register, have 128 at most.
//
// # Specification
//
// "EPMD Protocol" in the document erl_dist_protocol of ERTS, and epmd's manual page. Where they are
// silent the behaviour was measured. The counterparts in C are ei_publish ([Client.Register]),
// ei_unpublish ([Client.Stop]) and the first step of ei_connect ([Client.Resolve]); in Erlang, the
// module erl_epmd.
//
// # Stability
//
// Client, Server and the errors are stable. What moves them to another process (Freeze, Stage and
// their types) may change in a minor version before 1.0, as CHANGELOG.md then says.
package epmd
