// Package dist has the words of the Erlang distribution protocol that a program meets: flags
// ([Flags]), operations and control messages ([Op], [Control]), names of nodes ([SplitName]), who a
// peer is ([Peer]), and what can be wrong with a handshake, a frame or a control message. How these
// are written and read is in package internal/protocol, by which package nodes speaks.
//
// # Flags
//
// A node announces what it can do as [Flags]; a connection uses what both have announced
// ([Flags.Negotiate]). A node refuses a peer that lacks flags that it requires ([Mandatory25],
// [Mandatory26]); these grow with OTP releases, which is why old libraries stop connecting. So the
// error says which flags, by name, and which OTP requires them. [FlagsLibei] is what the C library
// announces; [FlagsDefault] has more:
//
//   - FlagDistMonitorName: an Erlang node sends a peer without it nothing about
//     monitors at all, not even of pids (measured with OTP 25, 27 and 29).
//   - FlagSpawn: rpc:call and erpc:call arrive as SPAWN_REQUEST.
//   - FlagExitPayload and FlagSendSender: the newer forms of exits and sends.
//   - FlagAlias and FlagAltactSig: replies to gen_server:call go to an alias, and messages may have
//     priority. OTP 25 to 27 know only the former, OTP 28 and 29 both; OTP 30 drops the former.
//   - FlagDistHdrAtomCache, FlagFragments: frames with headers and fragments.
//
// # The handshake
//
// A is the side that connected, B the one that accepted; a [HandshakeError] names the message at
// which a handshake ended:
//
//	A  send_name        its name, flags and creation
//	B  send_status      ok, ok_simultaneous, nok, not_allowed, alive, or a name for A
//	A  (true or false)  only after alive: is the old connection dead?
//	B  send_challenge   its name, flags and creation, and a random number
//	A  challenge_reply  the digest of cookie and number, and a number of its own
//	B  challenge_ack    the digest of cookie and that number
//
// # Names
//
// A node's name is alive@host. One's own name is letters, digits, "-" and "_", and a host in ASCII
// ([CheckOwnName]), which is what Erlang nodes accept; a peer's can be anything that an atom can be
// ([SplitName]). A node may come without a name: it announces only its host, and B gives it a name
// and a creation (status named:). The creation tells one incarnation of a name from the next; it is
// part of every pid.
//
// # Control messages
//
// Op's constants show each tuple, with the manual's names of the fields. Some must be answered:
// UNLINK_ID; MONITOR_P of something that does not exist, by MONITOR_P_EXIT noproc; SPAWN_REQUEST by
// SPAWN_REPLY, always and before any other signal of the new process: the request's {reply, …}
// option is not sent. Without it erpc:call fails although the result has come.
//
// A TT variant carries a trace token and is otherwise the same; Op.Base folds them. An operation
// from the future is ErrUnknownOp, with the tuple in ControlError.Raw; the connection stays usable.
//
// # Where it is specified
//
//	manual                                                 here
//	erl_dist_protocol, "Distribution Handshake"            errors.go, peer.go
//	erl_dist_protocol, "Distribution Flags"                flags.go
//	erl_dist_protocol, "Protocol between Connected Nodes"  op.go, control.go
//	erl_dist_protocol, "New Ctrlmessages for ..."          op.go
package dist
