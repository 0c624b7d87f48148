package transporttest

// rules are the contract, in the order in which they are tried: rules that others depend on come
// first.
func rules() []rule {
	return []rule{
		{"BoundAddress", "Listen gives the address really bound: a connection made to it arrives at this listener's Accept.", boundAddress, true},
		{"Connects", "Every connection that is made is accepted, as often as one is made.", connects, true},
		{"Descriptor", "GetFD gives a real descriptor of the socket's own, the same until Close; or -1 and errors.ErrUnsupported, every " +
			"time.", descriptors, false},
		{"Mode", "The plug-in leaves the descriptor's blocking mode alone; with FullImpl a callback leaves it as found.", mode, false},
		{"HeaderSize", "HandshakePacketHeaderSize is 2 or 4, or 0 where packets are kept; the same at both ends.", headerSize, false},
		{"WaitsForBytes", "Read reports neither bytes nor the end of the stream while nothing has come: it waits, or it times out " +
			"(os.ErrDeadlineExceeded, context.DeadlineExceeded or EAGAIN).",
			waitsForBytes, false},
		{"ReadCount", "Read counts the bytes that it put into the buffer, between 1 and its length, and touches nothing beyond.", readCount,
			false},
		{"WriteCount", "Write and Writev take at least one byte, and count exactly the bytes that they took; they leave these as they are, and " +
			"Writev its vector, and keep none of them.", writeCount, false},
		{"Exchange", "A new connection carries bytes both ways.", exchange, true},
		{"Packets", "Where packets are kept, one Write or Writev is one packet, and a Read gives bytes of one packet only, with " +
			"ErrEndOfPacket at its end; an empty one is a packet, too.", boundaries, false},
		{"CloseOnExec", "A descriptor is close-on-exec, wherever it comes from: no child process gets it.", closeOnExec, false},

		{"PeerAddress", "Accept gives the address of the peer.", peerAddress, false},
		{"LocalAddress", "LocalAddr is the address of this end.", localAddress, false},
		{"NamedAddress", "Socket and Connect understand an address that carries the peer's node name.", namedAddress, false},
		{"OddAddress", "An address of an unknown kind is an error, or taken for what it is.", oddAddress, false},
		{"RefusedConnect", "Connect to where nobody listens is an error.", refusedConnect, false},

		{"Contents", "The bytes read are the bytes written: none changed, lost, repeated or moved, whatever the sizes of writes and reads.",
			contents, false},
		{"Writev", "A vector arrives whole and in order, however many buffers it has.", vectors, false},

		{"ReadDeadline", "A Read whose time is over is a time-out, not before; the stream goes on, and the buffer is the caller's.",
			readDeadline, false},
		{"ReadNoWait", "A Read with a time of 0 succeeds when bytes have come, and is a time-out at once when none has.", readNoWait, false},
		{"WriteDeadline", "A Write whose time is over is a time-out, and counts what it has taken.", writeDeadline, false},
		{"WriteNoWait", "A Write with a time of 0 succeeds while there is room, and is a time-out at once when there is none.", writeNoWait,
			false},
		{"AcceptDeadline", "An Accept whose time is over is a time-out; the listener goes on.", acceptDeadline, false},
		{"AcceptNoWait", "An Accept with a time of 0 succeeds when somebody has connected, and is a time-out at once when nobody has.",
			acceptNoWait, false},
		{"ConnectDeadline", "A Connect whose time is over is a time-out.", connectDeadline, false},
		{"ConnectNoWait", "A Connect with a time of 0 that cannot succeed is a time-out at once.", connectNoWait, false},
		{"LongWaits", "Operations wait as long as they are told to: without end, or for months.", longWaits, false},
		{"TimeoutsLoseNothing", "A Read that times out takes no byte from the stream.", timeoutsLoseNothing, false},

		{"CancelRead", "A cancelled Read ends at once with the context's error; the stream goes on.", cancelRead, false},
		{"CancelWrite", "A cancelled Write ends at once with the context's error.", cancelWrite, false},
		{"CancelAccept", "A cancelled Accept ends at once with the context's error; the listener goes on.", cancelAccept, false},
		{"CancelConnect", "A cancelled Connect ends at once with the context's error.", cancelConnect, false},
		{"CancelOneWay", "Cancelling reads leaves a write in flight alone.", cancelOneWay, false},
		{"EndedContext", "With a context that has ended nothing happens but its error.", endedContext, false},

		{"PartialWrites", "A write of more than the carrier holds waits for the reader, and arrives whole.", partialWrites, false},
		{"BigTransfers", "Megabytes both ways at once arrive whole.", bigTransfers, false},
		{"PendingBytes", "Pending counts bytes that have come: it is never negative, nor a megabyte where few were sent, takes none, and never " +
			"fails on an open connection.", pendingBytes, false},
		{"ReaderBesideWriter", "A waiting Read does not hinder a Write, nor a waiting Write a Read.", readerBesideWriter, false},
		{"Busy", "A second operation in a direction is ErrBusy, and the first one goes on.", busy, false},
		{"Separate", "Connections have nothing to do with each other: no byte goes astray, and closing one leaves the others alone.",
			separate, false},

		{"EndOfStream", "After the peer's Close come the bytes that it had written, and then the end of the stream, again and again.",
			endOfStream, false},
		{"CloseKeepsWritten", "What Write has counted reaches a peer that reads it only after the Close.", closeKeepsWritten, false},
		{"EndReachesReader", "The peer's Close ends a waiting Read with the end of the stream.", endReachesReader, false},
		{"WritesToNobody", "Writes fail when the peer has closed.", writesToNobody, false},
		{"CutOff", "A waiting Write fails when the peer has closed.", cutOff, false},
		{"Reset", "A connection that is reset ends a Read with an error, never with the end of the stream, and fails writes; others go on.",
			resets, false},
		{"CloseWrite", "CloseWrite ends the sending direction, in order, and leaves the other one alone.", closeWrite, false},
		{"CloseWriteEndsWrite", "CloseWrite ends a Write in progress at once, with an error; what that has counted arrives.", closeWriteEndsWrite,
			false},

		{"Close", "Close succeeds, once and again; later use is net.ErrClosed; what a listener has accepted outlives it.", closes, false},
		{"CloseEndsRead", "Close ends a waiting Read at once with net.ErrClosed.", closeEndsRead, false},
		{"CloseEndsWrite", "Close ends a waiting Write at once with net.ErrClosed.", closeEndsWrite, false},
		{"CloseEndsAccept", "Close ends a waiting Accept at once with net.ErrClosed.", closeEndsAccept, false},

		{"Hooks", "The handshake's hooks succeed on a connection that works, and leave it working, both ways.", hooks, false},
		{"Moves", "A stream that is exported, imported and released goes on where it was, with all that it has written and all that comes; " +
			"its peer sees nothing, and its Reads end in time and when they are cancelled. One that is only exported goes on, too, and can be " +
			"exported again.", moves, false},
		{"MovesMidway", "A stream can be exported and moved wherever it stands: in the midst of what the peer writes, " +
			"and of a write whose time " +
			"was over.", movesMidway, false},
		{"RefusedImport", "What Import refuses stays open, and its connection as it is.", refusedImport, false},
		{"Release", "Release says nothing on the connection: who else holds the descriptor can go on.", releases, false},
		{"MovesListener", "A listener that is imported from its descriptor goes on at the same address.", movesListener, false},

		{"Leaks", "Close and Release leave no descriptor and no goroutine behind, none of hooks or of CloseWrite either; nor do a Connect, an " +
			"Import, a Read and an Accept that fail.", leaks, false},

		{"NoPanic", "A callback does not panic.", nil, false},
		{"Returns", "A callback comes back within a second of being ended, by Interrupt if the plug-in has that.", nil, false},
	}
}
