// Package discovery keeps a node connected to other nodes: those of a list, or those that DNS,
// Kubernetes, a port mapper or libcluster's gossip name at the moment.
//
// [KeepConnected] connects to every node that a [Source] names, and connects again when a
// connection is lost: after a delay that doubles from try to try, of a random length, so that
// nodes which have lost each other in the same moment do not all try in the same moment.
//
//	k := discovery.KeepConnected(node, discovery.Gossip{Secret: "somepassword"}, nil)
//	defer k.Close()
//
// A node needs none of this to be called, and whoever sends connects on demand anyway. It is for
// nodes that are to be there before anybody sends: so that others list them (Node.list(:hidden) in
// Elixir, nodes(hidden) in Erlang; Node.list() if nodes.Config.Visible is set), that what they
// monitor, and the groups and topics that they are in, are known on both sides, and that somebody
// hears when a peer is gone. Erlang nodes tell each other of visible nodes that they know, and
// connect to these; a hidden node is connected to exactly those nodes that it, or they, have
// connected to.
//
// # Sources
//
// Each stands opposite a strategy of Elixir's libcluster, and makes the same names, so that a Go
// node and Elixir nodes with the same settings find each other:
//
//	List        Cluster.Strategy.Epmd (hosts)
//	DNS         Cluster.Strategy.DNSPoll (query, node_basename)
//	SRV         the same with SRV records, whose ports it gives to the node as a Resolver
//	Kubernetes  Cluster.Strategy.Kubernetes.DNS, Kubernetes.DNSSRV, Kubernetes (mode: :dns)
//	EPMD        Cluster.Strategy.LocalEpmd, ErlangHosts
//	Gossip      Cluster.Strategy.Gossip
//
// In Elixir the name follows from the environment (RELEASE_NODE=myapp@${POD_IP}, say); a Go node
// sets the same as nodes.Config.Name if others are to find it by these names.
//
// # One connection to each
//
// Two nodes have one connection, whoever wants it: several Keepers, sends that connect on demand,
// and peers that connect at the same time all get the same one. A Keeper that finds a connection
// counts it as its own; it closes none when it ends, and none of a peer that its source names no
// more, unless Options.Disconnect says so.
//
// # Moves and workers
//
// A Keeper belongs to a program. If the node goes on in another one (an operating-system process),
// the Keeper ends without disconnecting anybody, and the other program starts one, which finds the
// connections that have moved along. If only a connection moves (nodes.Conn.Detach), its peer is
// left alone until it is connected to this program again.
//
// In a node with workers each worker can have a Keeper, of the same source: the parent process
// (workers.Front) sees to it that one worker makes the connection, and the others send through that
// worker's connection. If that worker ends, the connection does, and any of them makes the next
// one.
//
// # Stability
//
// The names of nodes that the sources make are libcluster's, and stay. Names in Go may change
// before 1.0, and Options may get further fields; CHANGELOG.md says so then.
package discovery
