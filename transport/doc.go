// Package transport defines the plug-in contract for byte carriers, and turns a plug-in's socket
// into streams and listeners. The doc comments call this package the SDK.
//
// # The model
//
// A plug-in is a struct of callbacks, [Callbacks], one field per step of a socket's life. The
// plug-in's own socket context C is handed to every callback. [New] checks the struct once and
// gives a [Transport]; what it opens is a [Stream], what it listens on is a [Listener]. TCP, UNIX
// and in-memory plug-ins ship with the package ([TCP], [Unix], [NewMemory]); [FromNet] makes a
// Transport from any listener and dialer of package net.
//
// The life of a connecting socket, and of a listening one:
//
//	Socket ── Connect ── HandshakePacketHeaderSize ── … ── ConnectHandshakeComplete ── Read/Write/Writev … ── Close
//	Socket ── Listen ── Accept ┬─ Accept … ── Close
//	                           └─ HandshakePacketHeaderSize ── … ── AcceptHandshakeComplete ── Read/Write/Writev … ── Close
//
// The names and their order are those of the ei_socket_callbacks structure of Erlang's C library
// (ei_connect, "User Supplied Socket Implementation").
//
// # Who waits
//
// Without [FullImpl] a callback is one system call on a non-blocking descriptor: it returns EAGAIN
// or EINPROGRESS unchanged (a plug-in that waits for anything else, as to keep to a rate, is a
// FullImpl, or stands behind a virtual.Limit), and the SDK does all waiting, on a descriptor of its
// own that the Go poller owns: an epoll descriptor on Linux, made for the first wait that is not a
// short one; elsewhere a duplicate. Before a reader sleeps it may nap, or wait in a system call on
// its own thread: see [WithPolling]. With FullImpl the callback is the whole operation, within the
// time it is given, and the SDK runs it on a goroutine that it can leave behind, or, if the plug-in
// promises with [Direct] to return as soon as it is told to, on the caller's goroutine. A plug-in
// over another transport, such as one that encrypts, waits as the streams below it do: a
// [TimeLimit] makes contexts for these.
//
// For one C at most one Read and one Write or Writev run at once, possibly concurrently. Accept
// runs alone. Close, Export and Release run after all of them have returned. A callback that does
// not return within one second of being ended makes its socket dead: an error says so, and its C is
// closed only once it has returned. The following run on their caller's goroutine, so one that
// hangs holds up that caller (Close returns all the same): Accept, Connect, Read, Write and Writev
// without FullImpl; Read, Write and Writev with Direct; and those that have no time limit and no
// context (Socket, Listen, GetFD, Pending, LocalAddr, CloseWrite, Export, Import). The others,
// those of the handshake (HandshakePacketHeaderSize, CheckPeer, the hooks) and Interrupt, Close and
// Release, have a goroutine of their own. A panic in a callback is an error of that socket only.
//
// # Packets
//
// The SDK carries packets: those of the distribution's handshake, and then its frames. Over a
// carrier of bytes each has its length before it: [Callbacks].HandshakePacketHeaderSize is 2 or 4
// (4 for the frames). A carrier that keeps packets by itself, as WebSocket, SCTP or a SEQPACKET
// socket does, says 0, and there is no length. Then
//
//   - one Write, or one Writev, is one packet, of any size, 0 included (a tick of the distribution
//     is an empty packet). It goes out whole, and counts all of it, or not at all;
//   - one Read gives bytes of one packet only, and [ErrEndOfPacket] with the last of them; of a
//     packet that is longer than its buffer the next Read gives more. An empty packet is 0 bytes
//     and ErrEndOfPacket, where 0 bytes and nil are the end of the stream;
//   - each message of the handshake is a packet, and no two are joined.
//
// So it is up to the end of the handshake, and after it if FrameHeaderSize is 0, too: each frame is
// a packet. Otherwise the carrier becomes one of bytes there, and frames have their length.
// [Stream.ReadPDU] reads packets of either kind, and one [Stream.Writev] writes one.
//
// # Errors
//
// A method that takes a context waits until ctx ends at most; a callback has one second after that
// to return, as above. Once ctx has ended a read or a write fails at once and takes nothing, also
// where it need not have waited; under [NoWait] it tries once. The error is an *[OpError], except
// io.EOF, the end of a stream, ErrEndOfPacket, and the errors of the function next given to
// [Stream.ReadPDU]. To be tested with errors.Is and errors.As, it wraps
//
//	ctx's error                     ctx has ended; under NoWait, os.ErrDeadlineExceeded
//	net.ErrClosed                   Close or Release, be it during the wait
//	ErrBusy                         an operation in the same direction is outstanding; it is EBUSY
//	ErrPaused                       the direction is paused for a hand-off
//	ErrPoisoned                     an earlier write ended half-way
//	*CallbackError                  a fault of the plug-in: ErrContract, ErrPanic, ErrUnresponsive
//	syscall.ENOTCONN                Disconnect, or a virtual socket has taken the stream over
//	errors.ErrUnsupported           the plug-in, or the system, cannot
//	syscall.Errno                   what the plug-in or the system says: ECONNRESET, EMFILE
//
// Comments of single methods name what differs, and the errors that callers act on.
//
// # What a socket becomes
//
// A [Stream] reads and writes whole vectors, and whole packets through [Stream.ReadPDU], reading
// ahead. One operation per direction at a time; a second one gets [ErrBusy]. A [Queue] runs the
// calls of many goroutines one after another, on one socket or several. [NetConn] is the net.Conn
// face.
//
// # Beside the plug-ins
//
// Streams can also be made without a Transport: by [ConnectTCP] and [ConnectUnix] from a given
// local address, by [UnixPair], and by [AdoptStream] and [AdoptListener] of descriptors that came
// from elsewhere: from a supervisor, another process or package net. An [Addr] is made from text
// ([ParseAddr], [ParseInet], [FromUnixPath]), from package net's addresses ([FromNetAddr],
// [FromAddrPort]) or from a struct sockaddr ([ParseSockaddr]), and can be turned back into each of
// them. This vocabulary is that of Samba's tsocket guide, whose names the doc comments give; the
// module github.com/cnode-go/cnode/transport/tsocket has its datagram sockets.
//
// # Virtual sockets
//
// A virtual socket is a plug-in over another stream, whatever carries that: [Over] puts one there,
// and a Transport of your own can do so with each stream of the Transport that it wraps. Package
// [github.com/cnode-go/cnode/transport/virtual] has transports that trace, limit or disturb what
// passes.
//
// # A plug-in in 30 lines
//
// Wrap the callbacks of [TCPCallbacks] with a context of your own; the Example of Callbacks does so
// (example_unix_test.go, beside which are others), and package transporttest proves the result.
//
// # Stability
//
// What programs use of a Transport, and the fields of Callbacks, are stable: a plug-in that
// compiles today goes on compiling, and new fields are optional. Queue may change before 1.0.
// [Stream.Posts] is for package nodes: other programs cannot name what it takes.
package transport
