// Package metrics has what a node tells of what it does: Hooks, functions of the program's that
// nodes.Node.Measure has called as things happen, and the records of nodes.Stats. It depends on
// nothing: contrib/prometheus and contrib/otel are made on it.
//
//	n.Measure(&metrics.Hooks{
//		ConnDown:  func(c *metrics.Conn, cause string, err error) { downs.Add(cause, 1) },
//		CallEnded: func(ctx context.Context, c *metrics.CallInfo) { slow(c.Function, c.Duration) },
//	})
//
// # Stability
//
// The names are stable; Hooks and the records get new fields in minor versions: write literals with
// their names. Kinds, outcomes and causes, as texts, stay, and new ones may come.
package metrics

import (
	"context"
	"time"
)

// Hooks are functions that a node calls as things happen; any of them may be nil. They run on the
// goroutines of the node, among them those that read connections, and some with its locks held: so
// they may be called at the same time, must not wait, must not use the node, and must not panic.
// Names are as Clip makes them, whatever a peer or the program has written; errors are as they are.
type Hooks struct {
	// ConnUp hears of a connection to another node, ConnDown of its end. The cause is one word: closed
	// (here), peer_closed (or reset), tick_timeout, superseded (by another connection to that node),
	// moved (it goes on in another process), malformed (what the peer has sent), or error.
	ConnUp   func(c *Conn)
	ConnDown func(c *Conn, cause string, err error)
	// HandshakeFailed hears of handshakes that failed, whichever side has begun them.
	HandshakeFailed func(h Handshake)
	// MessageIn and MessageOut hear of each message and signal that has come, and of each message
	// that was given to the connection's queue, with the size in bytes of its frame; that of its
	// term if it has come in several.
	MessageIn, MessageOut func(c *Conn, bytes int)
	// QueueFull hears of a sender that found Config.QueueLimit bytes waiting, and has to wait.
	QueueFull func(c *Conn)
	// TickMissed hears of an interval (Config.TickInterval) in which nothing has come; the fourth
	// one in a row ends the connection.
	TickMissed func(c *Conn)
	// Overflow hears of a message that was put into a mailbox beyond its limit, at the expense of
	// the peer's share of Config.OverflowLimit ("": of this node), with the memory that it takes.
	Overflow func(peer string, bytes int)
	// MailboxFull hears of a process that has ended, since it was full.
	MailboxFull func(process string)
	// Denied hears of what Config.Rules have refused a peer: the operation ("call", "send"), and a
	// function or a process, which is the peer's word.
	Denied func(peer, op, target string)
	// CallBegun hears of a call that begins: of a function or a Server's function that is about to
	// run, or of one that this node makes elsewhere. What runs, or goes out, gets the context that
	// it returns, derived from ctx. CallEnded gets that context, and the same CallInfo, when it is
	// over.
	CallBegun func(ctx context.Context, c *CallInfo) context.Context
	CallEnded func(ctx context.Context, c *CallInfo)
}

// A Conn is a connection to another node. All hooks get the same record of a connection: a program
// may keep what it counts by this pointer. Somebody who sends at once may be heard before ConnUp.
type Conn struct {
	Peer      string // the name of the other node
	Initiated bool   // by this node
	Adopted   bool   // it has come from another process
	// Temporary: the peer is there for an occasion, a command or a remote shell, and its name will
	// hardly come again: it is a dynamic one, or as erl_call, the remote shells and commands of
	// releases, and cnode-demo make theirs. See Peers.
	Temporary bool
	Since     time.Time
}

// A Handshake is one that failed.
type Handshake struct {
	// Peer is the node that was to be connected to, if this node began, or else the address from
	// which somebody came.
	Peer      string
	Initiated bool // by this node
	// Cause is one word: cookie, timeout, refused (Config.CheckPeer here, or the other node),
	// incompatible (flags, or the protocol), unreachable, crowded (Config.MaxHandshakes), or error.
	Cause string
	Err   error
}

// A Kind is what is called.
type Kind string

// The kinds.
const (
	KindFunction Kind = "function" // rpc, erpc, spawn
	KindServer   Kind = "server"   // gen_server
)

// An Outcome is what became of a call.
type Outcome string

// The outcomes.
const (
	OutcomeOK        Outcome = "ok"
	OutcomeFailed    Outcome = "error"     // the function has returned an error, or the other side an exception
	OutcomePanicked  Outcome = "panic"     // the Go function has panicked
	OutcomeRefused   Outcome = "refused"   // it is not there, takes other arguments, or Config.Rules refuse it
	OutcomeAbandoned Outcome = "abandoned" // the caller has given up, or the context has ended
	OutcomeLost      Outcome = "lost"      // there was no connection, or it was lost
)

// A CallInfo is of a call that this node serves, or makes. What goes to a Server and wants no
// answer is a call, too, when this node serves it.
type CallInfo struct {
	Out  bool   // this node makes it
	Peer string // the other node; "": this one
	Kind Kind
	// Module and Function are those of a Function; of one that is not exposed here they are "",
	// since the peer may make up any. Of a Server Module is its registered name ("": none), and
	// Function the name of one of Server.On, or "call" or "cast".
	Module, Function string

	// Set for CallEnded.
	Duration time.Duration // of the function's run, or until the answer came
	Outcome  Outcome
	Err      error // beside an Outcome that is not OutcomeOK
}

// Name is shop:quote, or the name of the Server and of its function.
func (c *CallInfo) Name() string { return c.Module + ":" + c.Function }
