// Package front is a front that accepts sessions and keeps them while the processes that serve
// them come and go.
//
// A Keeper owns the listeners. It gives each session, an accepted connection, to a worker: a
// process that connects to a UNIX socket, such as an Erlang or Elixir node with the package
// cnode, or a Go program. It keeps a duplicate of the session's descriptor. When the worker is
// killed, crashes or is restarted, the session goes to another worker, or is parked until one
// comes, and the client notices nothing:
//
//	clients ──► Keeper ──► worker 1
//	              │  └───► worker 2
//	              └ parked: no worker, or none has room
//
// # What survives
//
// A session moves only from a point that its worker has told: so many bytes consumed, so many
// written, and what the next worker has to know. When a worker's process is gone, the Keeper asks
// the kernel how far the connection really is. If that is one of the last two points, the session
// moves; else the client gets a reset, since to go on would be a guess. No clock decides. A worker
// that tells no points keeps the sessions in which nothing has been read or written.
//
// This works for TCP, and for sessions whose TLS the Keeper ends itself (ServeOptions.TLS).
// Sessions of UNIX listeners end with their worker. TLS that a worker ends cannot move: its keys
// die with the process.
//
// # Workers
//
// [Keeper.Workers] listens at two sockets. A worker that connects to PATH is a plain one: sessions
// come in BIND 10's form (package bind10), with at least one byte that the Keeper has read, so they
// suit protocols in which the client speaks first. They end with that worker. A worker
// that connects to PATH.control says so in its first packet, gets a socket on which its sessions
// come, and tells points. Which kind a worker is never depends on a session's data.
//
// A worker may also ask for a connection to another server, by a name: see [DialOptions]. It is a
// session of that worker's as any other, and goes to the next one that asks for the name.
//
// # Upgrades
//
// [Keeper.Give] hands everything over to a new process, which calls [Take]: listeners, sessions,
// their points and the workers' sockets. Workers and clients notice nothing. The TLS of sessions
// stays with the old process, since the keys cannot move: it ends after the last of them, see
// [Keeper.Shutdown]. Until then it carries their bytes, and the new one asks it how far they are,
// so they move between workers as others do.
//
// A new process that dies before it has taken over changes nothing. One that dies later is a front
// that dies: sessions go on with their workers, and those that wait for one end.
//
// # Limits
//
// Linux only: elsewhere New and Take return errors.ErrUnsupported. A worker in another PID
// namespace, as in another container, is seen to end on Linux 6.5 and newer only: before, the
// sessions of one that is killed end with it, and the log says so when it comes. A session's state
// and bytes that are not dealt with are MaxPoint bytes together at most. The kernel's counters are
// those of tcp(7), TCP_INFO, SIOCINQ and SIOCOUTQ.
package front
