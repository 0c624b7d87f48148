// Package nodes makes a Go program a C-node: a member of an Erlang cluster that real Erlang nodes
// connect to, message, link, monitor and call.
//
// # Where to begin
//
// A first program meets ten names: [New] makes a [Node] from a [Config], whose [PortMapper] may run
// a port mapper, too; [FuncOf] makes a Go function one that others call, alone or in a [Server];
// [ERPCAs] calls functions of other nodes, [CallNameAs] their servers; a [Mailbox] sends and
// receives, and [Messages] is a loop over what it receives. The others belong together as follows.
//
//	for                          names
//	other ways to call           CallAs, RPCAs, MulticallAs, Answer, Request, WaitAs, Answered, Caller
//	what a call or link fails by Error, ExitError, RPCError, ERPCError, SpawnError, Raise, Class, the errors Err…
//	functions that are called    Func, FuncOptions, MethodsOf; of their ctx: CallOf, CallerOf, ConnOf, MailboxOf,
//	                             GroupLeaderOf, TraceLabelOf, WithGroupLeader, WithTraceLabel, NoConnect, EndAtStop
//	processes                    MailboxOptions, Full, AliasOption, SpawnOptions, Handler, Call, NoReply, Message
//	messages without Start, as   Conn, Listener, Message
//	in C
//	how nodes find each other    Resolver, Endpoint, PortMapper, Static, FixedPort, SocketDir, AliveDir, CheckReachable
//	who looks after a node       Rule, Permission, Stats, PeerStats, State, NodeEvent, NodeTypes, DownReason
//	moving a node, or a          Frozen, Staged, Restore, StagedConn, Moved, NotMovableError
//	connection (most programs
//	use nodes/upgrade)
//	a node of several processes  package nodes/workers
//	authors of plug-ins that     Publisher, Publication, Registration
//	publish a node
//
// # The model
//
// A [Node] has a name (alive@host), a cookie (Config.Cookies sets others for single peers), and a
// creation, which distinguishes this incarnation of the name from earlier ones. It finds other
// nodes through a [Resolver] (by default the port mapper), and speaks to them over a
// transport.Transport. A [Conn] is a connection to another node; there is at most one to each.
//
// There are two levels, and the upper one is built on the lower.
//
// The lower level mirrors the C library, with a context for each call: [Node.Listen],
// [Node.Publish], [Listener.Accept], [Node.Connect], [Conn.Receive], [Conn.Send], [Conn.RPC],
// [Conn.Shutdown], [Conn.Close]. The caller receives, one message at a time, in its own goroutine,
// and answers what its peers ask for (see Config.Flags).
//
// The upper level begins with [Node.Start]: the node listens, is published, accepts, connects on
// demand, and receives by itself. A [Mailbox] is a process as the cluster sees it: it has a pid,
// can be registered, linked and monitored, and hears of nodes that come and go
// ([Mailbox.MonitorNodes]; for a loop, [Node.WatchNodes]). It can have aliases, references to which
// others send until it ends them ([Mailbox.Alias]); by one that is for priority, messages come
// before others. A [Server] is a registered process made of Go functions, like a gen_server;
// package nodes/supervisor starts it again when it ends. [Node.Expose] makes a Go function callable
// by rpc:call, erpc:call and spawn; while it runs it is a process, too ([MailboxOf]). [Node.ERPC]
// calls functions of other nodes; a Mailbox spawns processes there ([Mailbox.SpawnLink]).
//
// [Node.Stats] and [Node.Measure] say what a node does; a trace goes along with calls and messages
// ([WithTraceLabel]). Packages nodes/metrics, nodes/health and nodes/observer are for those who
// look after a node.
//
// Functions, requests and replies are of Go types; ei.Append and ei.Unmarshal say how these and
// Erlang's terms become each other:
//
//	n, err := nodes.New(nodes.Config{Name: "go@127.0.0.1", Cookie: "secret"})
//	err = n.Start(ctx)
//	defer n.Close()
//	quote := func(o Order) (Quote, error) { ... }
//	n.Expose("shop", "quote", nodes.FuncOf(quote))                                   // rpc:call(Go, shop, quote, [Order])
//	_, err = n.Serve("shop", nodes.Server{On: map[string]nodes.Func{                 // gen_server:call({shop, Go}, {quote, Order})
//		"quote": nodes.FuncOf(quote),
//	}}, nil)
//	total, err := nodes.ERPCAs[int](ctx, n, "x@127.0.0.1", "bank", "total", 2026)           // erpc:call
//	order, err := nodes.CallNameAs[Order](ctx, n, "x@127.0.0.1", "orders", ei.Atom("next")) // gen_server:call
//	for order, err := range nodes.Messages[Order](ctx, box) { ... }                         // receive
//
// Below that there are terms, for what has no Go type:
//
//	date, err := n.ERPC(ctx, "x@127.0.0.1", "erlang", "date")                        // erpc:call
//	box, err := n.NewMailbox(nil)                                                    // a process
//	err = box.SendName(ctx, "x@127.0.0.1", "server", ei.Tuple{box.Pid(), ei.Atom("hello")})
//	ref, err := box.MonitorName(ctx, "x@127.0.0.1", "server")                        // erlang:monitor
//	for {
//		m, err := box.Receive(ctx)
//		...
//		if m.Op == dist.OpMonitorPExit { // the DOWN of m.Ref
//			reason, err := m.Reason.Decode()
//			...
//		}
//		term, err := m.Term() // whatever was sent
//		...
//	}
//
// The example*_test.go of this directory are whole programs: example_test.go (first steps,
// servers), example_calls_test.go (calls out), example_move_test.go (hand-off).
// docs/how-to/call-other-nodes.md has all ways to call another node.
//
// # Who owns what
//
// docs/explanation/architecture.md follows a message through the files, each way. A connection has
// one goroutine that receives (the caller's own on the lower level), so signals from one sender
// stay in order, and none that waits for something to send. A Conn owns its stream, its queue and
// its tick timer; a Listener its socket and the handshakes in progress; a Node all of these and its
// registration. Node.Close ends them in this order: registration, mailboxes (so that their peers
// are told), listeners and connections, goroutines.
//
// # Who waits for whom
//
// What a connection brings is always read: answers, signals and ticks do not wait behind a message
// that nobody takes, or a request that has no place. So nodes that call each other back, however
// many at once, do not come to stand still:
//
//	who                                     waits for                              how long
//	the reader of a connection              nobody; see below                      -
//	who sends to another node               room in the connection's queue, which  the context; the end of the connection
//	                                        that node's reader makes
//	who sends to a mailbox of this node     room for it, or for what came later    the context
//	a running function that does so         nobody; as the reader                  -
//	a call (RPC, Call, …)                   the answer, which a reader brings;     the context; the end of the connection
//	                                        it has no place of MaxCalls meanwhile
//	a request of a peer                     a place: a function that ends, that    as long as the caller does
//	                                        waits for an answer, or whose caller
//	                                        has given up
//	a function that has ended               the queue of its caller's connection   as a sender
//	the reader of a connection between      the queue of the connection that it    as a sender
//	workers                                 passes messages on to
//
// Nobody in this table waits, over others, for itself, unless the program's own functions do: a
// Server that calls another one of which it is called, say, or two loops that each send to the
// other's mailbox without receiving; their contexts should have deadlines.
//
// What the reader does not wait for takes memory: Config.OverflowLimit, of which each peer has a
// share. Messages go into mailboxes beyond MailboxOptions.Limit, and requests wait for places. When
// a peer has had its share, its requests are refused (system_limit), and its messages wait after
// all, and with them whatever else it sends. When full mailboxes have held its connection for two
// seconds of the last ten, the one with most of its share ends, with reason mailbox_full, whose
// links and monitors hear of it, though it may receive all the time; one with FullWait ends only
// when nothing has made room for two seconds. The log has a warning for a mailbox that is over its
// limit, which says what comes next, and an error for one that ends for it; Stats counts both.
// Nothing else is dropped of what comes for a process that goes on, and the order of what one
// process sends stays. How a receiver says how much may come is docs/how-to/slow-receivers.md.
//
// # What waits, and its errors
//
// A method that takes a context stops waiting when ctx ends; the error is then ctx's, or
// os.ErrDeadlineExceeded under transport.NoWait. A method that sends to a process, or links to it
// or monitors it, waits
//
//   - for a connection to the process's node, if there is none: Config.HandshakeTimeout at most;
//   - for room: while more than Config.QueueLimit bytes wait on the connection or, in this process,
//     while the mailbox is full;
//   - while the node, or the connection, is frozen, until Thaw or Release.
//
// It does not wait for the other process to receive. A method that takes no context may wait for
// the end of a freeze as well; if it waits for anything else, its comment says so. Most errors are
// wrapped in an *[Error]. Test for them with errors.Is and errors.As; they are
//
//	ErrNoConnection             a connection on demand could not be made; beside it is what the Resolver,
//	                            transport or handshake said
//	dist.ErrInvalidName         no node can have that name, a pid's or a reference's node neither; nothing was tried
//	ErrHandshakeTimeout         beside ErrNoConnection: Config.HandshakeTimeout is over. It is
//	                            context.DeadlineExceeded, too, also if ctx goes on
//	those of Conn.Err           the connection has ended, perhaps during the wait
//	those of Mailbox.Err        the mailbox whose method was called has ended: *ExitError or ErrMoved
//	ErrMoved                    the node, or its connection to that peer, goes on in another process; nothing was sent
//	ErrClosed                   the node, listener or connection was closed here, perhaps during the wait
//	ErrUnnamed                  a dynamic node that has no name yet cannot make a pid or a reference
//	those of ei.Append          a term that cannot be encoded; nothing was sent
//	*dist.ControlError          a name, pid or reference that cannot be encoded; nothing was sent
//	*dist.FrameError            a message beyond 4 GiB to a peer that takes no fragments (dist.ErrTooLong); nothing was sent
//
// The comments of the methods say what differs, and name the errors that callers may act on.
//
// # How a node, and a loop, ends
//
// [Node.Shutdown] has two steps, which [Node.State] tells apart: the node drains, so that nobody
// finds it any more, and serves on ([Node.Drain], [Node.OnDrain], Config.DrainGrace); then it
// stops: it turns calls away, and ends its Servers as soon as they have done what they had
// received. Node.Draining, Node.Stopping and Node.Done are channels to wait for that.
//
// Loops over messages and events, of this package and of those beside it ([Messages],
// [Mailbox.All], [Node.WatchNodes]; those of pg, pubsub and discovery), end as a range over a
// channel does: when the context ends, or the node, or what they read was closed by the program.
// That is no error; ctx.Err and Err of what was read say which it was. What goes wrong is an error,
// in the last pair.
//
// # Moving to another process
//
// A connection, or a whole node, can go on in another process without its peers noticing. The old
// process freezes it between two bytes ([Conn.Freeze], [Node.Freeze]) and gets its state, as bytes,
// and the descriptors; the new process stages it ([Node.Stage], [Restore]), which neither reads nor
// writes. Then the old process releases it and the new one starts it, or the old process thaws it
// and the new one discards it. How state and descriptors get from one process to the other, and how
// the two agree, is left to the caller. [Conn.Detach] and [Node.Adopt] do each half in one call.
// Plug-ins without Import are refused by name before anything changes.
//
// What moves: bytes read and not yet consumed, bytes still to be sent, links and monitors, and for
// a node its mailboxes with their unread messages and aliases, names, counters, listeners and
// registration. Goroutines do not move: calls that are waiting return [ErrMoved], and nothing was
// sent; except that a Call whose request is already out loses only its reply: the request is, or
// will be, handled. Running functions and handlers finish before the move. In the new process
// Config.Setup registers mailboxes, handlers and servers as always; one that is registered under
// the name of an old process becomes that process, pid and all, and has what
// MailboxOptions.Handover returned (Mailbox.Inherited). A state consists of numbered fields:
// another version of the program skips a field that it does not know or, if the field must not be
// lost, refuses the state (ErrStateFormat). As Offer and Config.Terms name the
// form of the state at hello, the refusal comes before anything stops.
//
// # Several processes
//
// A [Front] and its workers are one node: the front accepts connections, and each connection
// belongs to a worker. All of the above holds in each worker, except that such a node moves by
// [Front.Freeze] and [Front.UpgradeWorkers] only; a process has one pid in the whole node, and is
// reached from every worker. See docs/operate/workers.md.
//
// # Limits on what peers can do
//
//	what                                    limit                                  and then
//	handshakes at once                      Config.MaxHandshakes, HandshakeTimeout an older one is ended
//	a handshake packet                      4 KiB                                  the handshake fails
//	a frame                                 Config.MaxFrame; beyond 4 MiB memory   the connection ends
//	                                        grows as the frame arrives
//	a message in fragments, or in its       Config.MaxFrame                        the connection ends: ErrFrameTooLong
//	whole form if its atoms are in a cache
//	incomplete messages                     65,536 a connection; a share of        the connection ends:
//	                                        Config.OverflowLimit                   dist.ErrTooMuchIncomplete
//	atoms of the peer's cache               2,048 a connection                     it overwrites its own
//	atoms remembered                        1,024 a connection                     made anew each time
//	functions running                       a share of Config.MaxCalls             requests wait
//	waiting requests, and messages in       a share of Config.OverflowLimit, each  system_limit, mailbox_full
//	full mailboxes, or for functions        (for these, see Mailbox.SetLimit, too)
//	what Conn.RPC reads for                 10,000 messages, 64 MiB                ErrTooManyUnread
//	other receivers
//	immediate answers that a peer does not  64 MiB, or four times QueueLimit;      the connection ends:
//	read                                    128 MiB of those in fragments          transport.ErrQueueFull
//	exit signals that it does not read      64 MiB                                 whoever ends a process waits; after
//	                                                                               TickInterval ErrEndsUnread
//	links and monitors that a peer makes    none, as in Erlang                     250 bytes each
//
// A malformed frame or control message ends its connection, an unknown control message is skipped,
// a term that cannot be decoded is an error for whoever decodes it.
//
// The pid in a message, or in a call, is the peer's word: it may name a process of a third node.
// What this package sends there for a peer is nothing that a runtime system refuses, which would
// cost the connection with that node (but OTP 25 may refuse identifiers with its own name that it
// cannot have made); a program that passes terms on itself decodes them strictly first
// (ei.DecodeOptions), and encodes them anew.
//
// # Counterparts in C
//
// docs/reference/libei.md has all functions of the C library, and what differs.
//
//	ei_connect_init, ei_connect_xinit   New          ei_send, ei_send_encoded          Conn.Send, Conn.SendRaw
//	ei_listen, ei_xlisten               Listen       ei_reg_send, ei_send_reg_encoded  Conn.SendName, Conn.SendNameRaw
//	ei_publish, ei_unpublish            Publish      ei_receive_msg, ei_xreceive_msg   Conn.Receive, Conn.ReceiveInto
//	ei_accept                           Accept       ei_rpc                            Conn.RPC
//	ei_connect                          Connect      ei_self, ei_make_pid, ei_make_ref Conn.Self, NewPid, NewRef
//	ei_connect_host_port, ei_xconnect   ConnectAddr  ei_close_connection               Conn.Shutdown, Conn.Close
//
// # Stability
//
// The names in README.md and in the example*_test.go of this directory are stable. Those for
// moving, workers and plug-ins (see above) may change in a minor version before 1.0, as
// CHANGELOG.md then says. A state of Freeze is read by the next version of this package, or refused
// with ErrStateFormat before anything changes.
package nodes
