// Package protocol is the Erlang distribution protocol on bytes: what two nodes say to each other
// over a connection, from the first byte of the handshake to the control messages that carry
// messages, links and monitors, in the words of package dist. It does no I/O, keeps no clock and
// takes no lock; package nodes does, and calls it.
//
// # The connection's life
//
// First comes the handshake, in packets with a 2-byte length over TCP, 4-byte
// over TLS. A is the side that connected, B the one that accepted:
//
//	A  send_name        its name, flags and creation
//	B  send_status      ok, ok_simultaneous, nok, not_allowed, alive, or a name for A
//	A  (true or false)  only after alive: is the old connection dead?
//	B  send_challenge   its name, flags and creation, and a random number
//	A  challenge_reply  the digest of cookie and number, and a number of its own
//	B  challenge_ack    the digest of cookie and that number
//
// [Initiate] is A and [ReadName] followed by [Respond] is B, each one function to be read from top
// to bottom, over a [PacketConn] of whole packets. B checks A's digest before it gives its own.
// Both return a [dist.Peer], or a [*dist.HandshakeError] that names the phase, the peer and the
// cause.
//
// Then come frames with a 4-byte length. A frame of no bytes is a tick. Any
// other is a control message, a tuple whose first element is the operation
// ([dist.Op]), followed, for some operations, by one more term, the payload: the
// message that is sent, the reason of an exit, the arguments of a spawn.
//
//	00 00 00 33   70   83 {6, From, '', peer}   83 hello
//	length        'p'  control (REG_SEND)       payload
//
// A [Reader] reads one into a [dist.Control], which has the fields of all
// operations, and leaves the payload encoded; [AppendFrame] and
// [AppendFrameHead] write one. Both allocate nothing, given a table of atoms.
//
// # Headers, atoms and fragments
//
// With [dist.FlagDistHdrAtomCache], or [dist.FlagFragments], a frame begins with a distribution
// header instead. With the former it may name atoms of the message, either by their text, to be
// remembered at one of 2048 places, or by the place where the receiver has the atom from an earlier
// header. In the message two bytes stand for such an atom, the index among those of the header:
//
//	00 00 00 33   83 44   02 0800 01 03614068 2a           ...       ...
//	length        header  two atoms: a new one, a cached   control   payload, with ATOM_CACHE_REFs
//
// With [dist.FlagFragments] a message may come in several frames, those of other
// messages and ticks between them. The first has the header, the control
// message and the beginning of the payload; the numbers count down to 1.
//
// The Reader reads all kinds of frames. It keeps the peer's cache and the messages that are
// incomplete, within [Limits]; both can be taken out and put into another Reader
// ([Reader.Restore]), for a connection that goes on elsewhere. A payload can be decoded by a cursor
// that is given the atoms ([Arrival].Refs), or be made independent of them ([Arrival.Whole]).
//
// A header that names no atom is the cheapest to write: [AppendFrameHead]. For one that does,
// [AtomRefs] packs the message, which can be done at any time, and [SentAtoms] writes the header,
// in the order in which frames are sent. [Cut] divides a message into [Fragments], uncopied.
//
// # Versions
//
// Version 5 of the handshake is that of OTP 22 and older, version 6 that of OTP 23 and later. In
// version 5 the name carries half of the flags, and a complement follows the challenge. Some later
// nodes still send such a name when they do not know better (OTP 23 and 24 to a node that no port
// mapper has told them about), and OTP accepts it: all but 25.0 to 25.2, which close the
// connection. As B this package always accepts it; as A it speaks version 5 on request
// (InitiateOptions.Version5). OTP 22 and older are refused, for want of FlagHandshake23.
//
// # Two at once
//
// Two nodes may connect to each other at the same time, or again while an old connection is not
// known to be dead. B alone decides, in RespondOptions.Decide. An Erlang node decides as follows:
//
//   - no connection and no attempt of its own: ok.
//   - its own attempt is pending: if its name sorts after A's, nok (A then
//     waits for B's attempt); else it gives up its own and says ok_simultaneous.
//   - there is a connection: alive. If A answers true, it replaces the old one,
//     after A has proven the cookie.
//
// # Trust
//
// The handshake proves that both sides know the cookie, by MD5 and without binding it to the
// connection: somebody in between can relay it. It protects against mistakes, not attackers; for
// those there is TLS below. Everything read here is checked against the bytes present before it is
// used, and no size in it is trusted. Digests are compared in constant time, and no error contains
// one.
//
// # Where it is specified
//
//	manual                                                 here
//	erl_dist_protocol, "Distribution Handshake"            message.go, initiate.go, respond.go
//	erl_dist_protocol, "Protocol between Connected Nodes"  fields.go, control.go, frame.go
//	erl_dist_protocol, "New Ctrlmessages for ..."          fields.go
//	erl_ext_dist, "Distribution Header"                    atomcache.go, sentatoms.go, reader.go
//	erl_ext_dist, "... for fragmented messages"            assemble.go, fragment.go
//	ei_connect: ei_connect, ei_accept                      Initiate, Respond
//	ei_connect: ei_send, ei_reg_send, ei_receive           AppendFrame, Reader
//
// The tests replay dialogues that were recorded with OTP 25, 27 and 29; see
// testdata/dialogues, whose files are readable text.
package protocol
