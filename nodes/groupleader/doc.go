// Package groupleader prints where an Erlang process would print, and reads what is typed there. It
// speaks the I/O protocol (OTP stdlib, "The Erlang I/O Protocol"), from either side.
//
// A process of Erlang prints to its group leader. A function that is called by rpc:call, erpc:call
// or spawn has the caller's, so what it prints appears in the caller's shell. In a Go function that
// a peer has called, [Of] is that group leader:
//
//	n.Expose("shop", "report", nodes.FuncOf(func(ctx context.Context) error {
//		_, err := fmt.Fprintf(groupleader.Of(ctx), "%d orders\n", orders)
//		return err
//	}))
//
// The other way round, [Serve] makes a process of Go that is a group leader: what functions of
// other nodes print that were called with it (nodes.WithGroupLeader) goes to an io.Writer. Under
// the name user it is, as on a node of Erlang, that of callers which name no other one: the C
// library, say.
//
// # Stability
//
// The I/O protocol is OTP's, and stays. Names in Go may change before 1.0; CHANGELOG.md says so
// then.
package groupleader
