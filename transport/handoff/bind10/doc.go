// Package bind10 forwards sessions of sockets between processes, in the format of BIND 10's module
// socketsession (socketsession.h), whose programs may be at the other end.
//
// One direction, a stream, no answer. A front-end process accepts connections, or receives
// datagrams, and gives each to a worker: the socket, both endpoints, and the bytes that it has
// read. SocketSessionForwarder is [Forwarder] here, and SocketSessionReceiver is [Receiver].
//
//	 0        1         3        7      11         15       19            19+L     23+L
//	┌────────┬─────────┬────────┬──────┬──────────┬────────┬───── … ─────┬────────┬───── … ─────┬────────┬── … ──┐
//	│ 0      │ H       │ family │ type │ protocol │ L      │ local       │ R      │ remote      │ D      │ data  │
//	│ 1 byte │ 2 bytes │ 4      │ 4    │ 4        │ 4      │ sockaddr    │ 4      │ sockaddr    │ 4      │ D     │
//	└────────┴─────────┴────────┴──────┴──────────┴────────┴───── … ─────┴────────┴───── … ─────┴────────┴── … ──┘
//	 + descriptor       └───────────────────────── H = 24 + L + R bytes ─────────────────────────────────┘ 1 ≤ D ≤ 65535
//
// Numbers are big-endian; a sockaddr is the system's own structure, so both processes are on one
// system. Family AF_UNIX is an addition of this package. Nothing marks a boundary: after part of
// a session, or an error of the receiver, the connection is useless. The forwarder never waits,
// because it has clients to serve: if the receiver has no room, it closes the connection. The
// receiver waits for the rest of a session for a limited time.
//
// A receiver that stands still keeps what is in its socket, which may be hundreds of sessions.
// Where both ends are of this package, set [ReceiverOptions].Acknowledge: then each session that is
// taken is answered, by a byte that counts such sessions, the other way through the same
// connection, and [Forwarder.Untaken] tells how many have not been. Push only while there are few,
// keep these sockets open, and give them to another receiver once this one is gone:
//
//	if _, err := f.Untaken(transport.NoWait(), 15); err == nil { // at most 16 under way
//		err = f.PushConn(conn, data)
//	}
//
// Package handoff says who owns a descriptor and when, what the limits of each system are, and what
// the errors mean, such as handoff.ErrMalformed.
package bind10
