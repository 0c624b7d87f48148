// Package virtual makes transports over any other transport, under any protocol: [Fault] makes
// carriers misbehave in a repeatable way, for tests; [Limit] makes them slow; [Trace] shows what
// passes, in a log or to Wireshark. They can be stacked in any order. See the tsocket guide,
// "Virtual Sockets".
//
// [FaultStream], [LimitStream] and [TraceStream] do so for a single stream, wherever it comes from.
// They take it over as [transport.Over] does: what it has read ahead goes along, the old stream is
// disconnected, using it is ENOTCONN and its Close closes nothing. They fail, and leave the stream
// as it is, if an operation is outstanding on it ([transport.ErrBusy]), or it is no longer usable.
//
// The module transport/tsocket has the same for datagrams.
//
// A virtual socket is a plug-in of package transport like any other, and uses nothing but what that
// package offers to all: socket.go is a pattern for one of your own.
//
// # Stability
//
// The functions are stable. The faults that a seed gives, and the texts in the log, may differ from
// version to version.
package virtual
