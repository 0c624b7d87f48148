// Package beam passes messages with attachments between processes, as Docker's pkg/beam did over
// UNIX sockets, and libchan after it.
//
// Both directions, a payload of any bytes, one descriptor or none. [Send], [Receive], [SendPipe]
// and [SocketPair] are the functions of that package, and handoff.FileConn is FdConn;
// for more than occasional messages there is [Conn]. SendPipe opens further connections over one.
//
// Over a stream, which SocketPair makes, messages are framed, as in libchan; over sequenced packets
// (handoff.PacketPair) a packet is a message:
//
//	┌───┬────────────────────┬─────── … ───────┐
//	│ A │ length             │ payload         │      A: 1 bit, there is an attachment
//	│ 1 │ 31 bits            │ length bytes    │
//	└───┴────────────────────┴─────── … ───────┘
//	 + descriptor, with the first byte
//
// The first beam had no frames: its messages are what a read returns, up to 4096 bytes, each with a
// descriptor. A Conn speaks that form on a stream with [Options].Unframed.
//
// Package handoff says who owns a descriptor and when, what the limits of each system are, and what
// the errors mean, such as handoff.ErrMalformed.
package beam
