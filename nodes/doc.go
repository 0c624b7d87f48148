// Package nodes makes a Go program a C-node: a member of an Erlang cluster that real Erlang nodes connect to, message, link, monitor
// and call.
//
// # The model
//
// A [Node] has a name (alive@host), a cookie (for single peers another one: Config.Cookies), and a creation, which tells this life of the
// name from earlier ones. It finds other nodes through a [Resolver] (the port mapper, if nothing else is said), and speaks to them over a
// transport.Transport. A [Conn] is the one connection to one other node.
//
// There are two levels, and the upper one is built on the lower.
//
// The lower level is that of the C library, each call with a context: [Node.Listen], [Node.Publish], [Listener.Accept],
// [Node.Connect], [Conn.Receive], [Conn.Send], [Conn.Call], [Conn.Close]. The caller receives, one message at a time, in its own
// goroutine.
//
// The upper level begins with [Node.Start]: the node listens, is published, accepts, connects on demand, and receives by itself. A
// [Mailbox] is a process as the cluster sees it: it has a pid, can be registered, linked and monitored, and hears of nodes that come and
// go ([Mailbox.MonitorNodes]). A [Server] is a registered process made of Go functions, like a gen_server. [Node.Expose] makes a Go
// function callable by rpc:call and erpc:call.
//
// # Wire to mailbox
//
// In reading order: transport/tcp_unix.go (bytes), transport/pdu.go (packet), recv.go (frame, tick), nodes/dist/frame.go and control.go
// (control message), route.go (what it asks for), deliver.go and mailbox.go (queue). The payload stays bytes until it is received; it is
// decoded in the receiver's goroutine. Out: mailbox.go or send.go (term and control message in one buffer), transport/queue.go (order,
// combining, back-pressure), transport/stream.go, the plug-in's Writev.
//
// # Goroutines, queues and who owns what
//
// A connection has one goroutine that receives (the caller's own on the lower level) and none that waits to send: a lone message is written
// by its sender, a burst by a goroutine that ends with it. The queue in front of a connection is bounded (Config.QueueLimit): senders wait.
// A mailbox is bounded (MailboxOptions.Limit): senders wait, or the mailbox ends. Signals from one sender are never reordered: one
// goroutine reads a connection and puts each message where it belongs before it reads the next.
//
// A Conn owns its stream, its queue and its tick timer; a Listener its socket and the handshakes in progress; a Node owns all of these
// and the registration at the port mapper. Node.Close ends them in this order: registration, mailboxes (so that their peers are told),
// listeners and connections, goroutines.
//
// # Moving to another process
//
// A connection, or a whole node, goes on in another process without its peers noticing. The process that has it freezes it between two
// bytes ([Conn.Freeze], [Node.Freeze]) and gets its state, as bytes, and the descriptors; the other one stages it ([Node.Stage],
// [Restore]) and touches nothing. Then the one releases and the other starts, or the one thaws and the other discards: who carries state
// and descriptors between them, and how the two agree, is not this package's affair. [Conn.Detach] and [Node.Adopt] are both halves in
// one call each. Plug-ins without Import are refused by their names before anything changes.
//
// What moves: what was read and not consumed, what was to be sent, links and monitors, and of a node its mailboxes with their unread
// messages, names, counters, listeners and registration. Goroutines do not: whoever waits gets [ErrMoved], and nothing was sent; but a
// Call whose request is out has lost its reply only: the request is, or will be, handled. Functions and handlers finish before. In the
// new process Config.Setup registers mailboxes, handlers and servers as always; under the name of an old one they become that process,
// pid and all. A state is numbered fields: a program of another version skips one that it does not know, or, where nothing of it may be
// lost, refuses the state (a [StateError], with ErrStateField): at hello, if the two sides tell each other their [StateFeatures].
//
// # Several processes
//
// A [Front] and its workers are one node: the front accepts, and each connection is a worker's. All of the above holds in each worker; a
// process has one pid in the whole node, and is reached from every worker. See docs/workers.md.
//
// # Limits on what peers can do
//
// Handshakes: Config.MaxHandshakes at once, Config.HandshakeTimeout each, 4 KiB a packet. Frames: Config.MaxFrame; memory for a large one
// is set aside as it arrives. Atoms remembered: 1,024 a connection. Remote calls running: Config.MaxCalls, of which each peer has a share;
// waiting for one, 4 MiB a peer. Read by a Call for others, on the lower level: 10,000 messages, 64 MiB. Waiting for a peer that does not
// read: what answers it at once, four times Config.QueueLimit and a megabyte at least; what tells it of processes that have ended, 64 MiB,
// where each signal counts 512 bytes and its reason, and the signals of one process may exceed it when there are no others. More ends the
// connection (transport.ErrQueueFull at once; ErrEndsUnread when the peer has read next to nothing for a Config.TickInterval in which the
// process that ends waits for room). A malformed frame or control message ends its connection, an unknown control message is skipped, a
// term that cannot be decoded is an error of whoever decodes it; what the upper level was to decode is logged, as a warning once a
// connection.
//
// # Counterparts in C
//
//	ei_connect_init, ei_connect_xinit   New          ei_send, ei_send_encoded          Conn.Send, Conn.SendRaw
//	ei_listen, ei_xlisten               Listen       ei_reg_send, ei_send_reg_encoded  Conn.SendName, Conn.SendNameRaw
//	ei_publish, ei_unpublish            Publish      ei_receive_msg, ei_xreceive_msg   Conn.Receive, Conn.ReceiveInto
//	ei_accept                           Accept       ei_rpc                            Conn.Call
//	ei_connect                          Connect      ei_self, ei_make_pid, ei_make_ref Conn.Self, NewPid, NewRef
//	ei_connect_host_port, ei_xconnect   ConnectAddr  ei_close_connection               Conn.Close
package nodes
