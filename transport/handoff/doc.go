// Package handoff passes descriptors, and the sessions behind them, between processes of one
// machine over UNIX sockets.
//
// # The model
//
// A descriptor is a number by which a process names an open file. Sent over a UNIX socket, it
// becomes a second name for the same open file, in the receiving process and with another number:
// the connection, its unread bytes, the position in a file, the O_NONBLOCK flag and shutdown are
// shared from then on; close is not. Bytes that a process has already read into a buffer do not go
// with the descriptor: they have to be sent along.
//
// A message is a payload, and descriptors beside it in ancillary data (SCM_RIGHTS, see unix(7)). A
// carrier is an agreement about payloads. There are three, each a package of its own. Below them is
// [Conn], which sends and receives single messages.
//
// # Who owns a descriptor, and when
//
//	sending     the caller's, before, during and after; it may close it as soon as Send has returned (darwin: as soon as the peer has it)
//	in flight   the system's; if nobody receives the message, because the socket is closed first, the system closes it
//	received    an FDSet's: of the message, of a session
//	stolen      the caller's, by FDSet.Steal or FDSet.File
//	left over   closed by FDSet.Close
//
// A message that is an error in any way leaves no descriptor open: those that came with it are
// closed before the error is returned. All received descriptors have close-on-exec set, without a
// moment in which a child could inherit them, and none is 0, 1 or 2. The sender decides whether
// they block, what they are, and whose they are: look with [Inspect] before use.
//
// To send a descriptor that belongs to package net or os, [Lend] it: methods File and Fd are not
// needed, and would change its blocking mode.
//
// # Carriers
//
// Each is a package below this one, with the format of another program, which may be at the other
// end:
//
//	bind10    socket sessions, one way: BIND 10's socketsession
//	beam      messages with an attachment, both ways: Docker's beam
//	jsoncomm  JSON documents with a set of descriptors: osbuild's jsoncomm
//
// # Handing over for good: Offer and Acceptance
//
// A process gives all that it serves to another process, and at most one of the two is the owner at
// any time: an [Offer] gives, and an [Acceptance] takes. The protocol does not know what it hands
// over: callbacks freeze, stage, start and thaw it. The module's
// docs/explanation/who-owns-a-connection.md draws its steps, and says what follows at each if a
// side dies.
//
// The token is one byte in a pipe made for the hand-off. Before the token is written, the old owner
// can resume; after that, only by reading the token back itself, and then it closes both ends of
// the pipe; once the new owner has read the token, the old owner can only Release. The pipe
// decides, never a timer or what is known about a process. A [Control] is a socket at which an
// owner is found; [ChannelPair] makes a channel to a process that is about to be started.
//
// # What waits, and its errors
//
// A method that takes a context waits at most until ctx ends: a send waits for room at the peer, a
// receive for a message, and both for their turn if several calls run at once. ([Offer.Give] and
// [Acceptance.Take] finish a hand-off that is already decided even after that, within Deadlines.)
// Other methods do not wait unless their comments say so. As a rule the error is a
// *[transport.OpError]; io.EOF, the end, is not wrapped, and Offer and Acceptance return a
// *[Error]. To be tested with errors.Is, it wraps
//
//	ctx's error                    ctx has ended; under transport.NoWait, os.ErrDeadlineExceeded
//	syscall.EAGAIN                 what never waits would have to: TrySend, bind10
//	net.ErrClosed                  Close was called, before or during the wait
//	syscall.EPIPE, ECONNRESET      the peer has closed; ErrLeft on a Channel
//	syscall.EMFILE                 a function that makes sockets found no descriptor left
//	errors.ErrUnsupported          the system cannot: see Limits
//
// and the errors of this package that the methods' comments name.
//
// # What to choose
//
//	a server gives accepted sockets to workers and must never wait for them     bind10.Forwarder, bind10.Receiver
//	one thing and a word about it, either way; new connections on request       beam.Conn
//	structured requests with several descriptors, other languages               jsoncomm.Conn; jsoncomm.Socket if the other end has datagrams
//	sessions outlive the processes that serve them, such as BEAMs               the module contrib/front
//	all that a process serves goes on in another one, or does not move at all   Offer, Acceptance
//	a protocol of one's own                                                     Conn, over sequenced packets
//
// For a protocol of your own, sequenced packets are the best kind of socket: they have boundaries
// and an end, and descriptors stay with the packet that they were sent with. On a stream a
// descriptor may arrive with bytes that were sent before it; the carriers take care of that, so
// read from a carrier's socket only through the carrier.
//
// # Whom to trust
//
// A path admits the users that its file mode and its directory admit; an abstract name admits
// everybody. [PeerCred] tells which process connected; a bind10.Receiver takes sessions only from
// its own user and from root, unless configured otherwise; a jsoncomm.Socket can check the sender
// of each datagram. A peer that is admitted may still send lies: lengths are checked before memory
// is allocated for them, and a message that contradicts itself is an error.
//
// # Limits
//
//	                           Linux                    freebsd                darwin                  windows
//	descriptors a message      253                      fewer, see its sysctl  fewer                   –
//	descriptors in flight      RLIMIT_NOFILE a user     the system's           the system's            –
//	too many in flight         ETOOMANYREFS             EMSGSIZE, ENOBUFS      ENOBUFS                 –
//	sequenced packets          yes                      yes                    no                      –
//	abstract names             yes                      no                     no                      –
//	close-on-exec              at once                  at once                under syscall.ForkLock  –
//	descriptors that are cut   closed by the system     all are dropped        may be left open        –
//	path                       107 bytes                103                    103                     –
//	longest packet             SO_SNDBUF, 208 KiB       SO_SNDBUF              SO_SNDBUF, 2 KiB        –
//
// Programs linked with musl send 252 descriptors at most. On Windows every function returns
// errors.ErrUnsupported. The columns for freebsd and darwin are from their documentation.
//
// # Stability
//
// The forms of the messages are stable: a process of one version hands over to one of the next. The
// names may change in a minor version before 1.0, as CHANGELOG.md then says.
package handoff
