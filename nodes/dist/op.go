package dist

import "fmt"

// Op is the operation of a control message, the first element of its tuple.
//
// See erl_dist_protocol, "Protocol between Connected Nodes".
type Op uint8

// The operations. TT variants carry a trace token (sequential tracing) and are
// otherwise the same as those without.
const (
	OpLink                Op = 1  // {1, From, To}
	OpSend                Op = 2  // {2, Unused, To}
	OpExit                Op = 3  // {3, From, To, Reason}
	OpUnlink              Op = 4  // {4, From, To}; obsolete, invalid towards OTP 26 and later
	OpNodeLink            Op = 5  // {5}; ancient, unused
	OpRegSend             Op = 6  // {6, From, Unused, ToName}
	OpGroupLeader         Op = 7  // {7, From, To}
	OpExit2               Op = 8  // {8, From, To, Reason}
	OpSendTT              Op = 12 // {12, Unused, To, Token}
	OpExitTT              Op = 13 // {13, From, To, Token, Reason}
	OpRegSendTT           Op = 16 // {16, From, Unused, ToName, Token}
	OpExit2TT             Op = 18 // {18, From, To, Token, Reason}
	OpMonitorP            Op = 19 // {19, From, ToProc, Ref}
	OpDemonitorP          Op = 20 // {20, From, ToProc, Ref}
	OpMonitorPExit        Op = 21 // {21, FromProc, To, Ref, Reason}
	OpSendSender          Op = 22 // {22, From, To}
	OpSendSenderTT        Op = 23 // {23, From, To, Token}
	OpPayloadExit         Op = 24 // {24, From, To}
	OpPayloadExitTT       Op = 25 // {25, From, To, Token}
	OpPayloadExit2        Op = 26 // {26, From, To}
	OpPayloadExit2TT      Op = 27 // {27, From, To, Token}
	OpPayloadMonitorPExit Op = 28 // {28, FromProc, To, Ref}
	OpSpawnRequest        Op = 29 // {29, ReqId, From, GroupLeader, {Module, Function, Arity}, OptList}
	OpSpawnRequestTT      Op = 30 // {30, ReqId, From, GroupLeader, {Module, Function, Arity}, OptList, Token}
	OpSpawnReply          Op = 31 // {31, ReqId, To, Flags, Result}
	OpSpawnReplyTT        Op = 32 // {32, ReqId, To, Flags, Result, Token}
	OpAliasSend           Op = 33 // {33, From, Alias}
	OpAliasSendTT         Op = 34 // {34, From, Alias, Token}
	OpUnlinkID            Op = 35 // {35, Id, From, To}
	OpUnlinkIDAck         Op = 36 // {36, Id, From, To}
	OpAltactSigSend       Op = 37 // {37, Flags, From, To} or {37, Flags, From, To, Token}
)

// Flags of SPAWN_REPLY, in Control.Flags.
const (
	SpawnLinked    = 1 // the new process is linked to the parent
	SpawnMonitored = 2 // the new process is monitored by the parent, with the request's reference
)

// Flags of ALTACT_SIG_SEND, in Control.Flags.
const (
	AltactPrio  = 1  // a priority signal
	AltactToken = 2  // a trace token is the last element
	AltactAlias = 4  // To is an alias, Control.Ref
	AltactName  = 8  // To is a registered name, Control.ToName
	AltactExit  = 16 // an exit signal, the payload is its reason
)

// shape is what one operation is.
type shape struct {
	name    string
	base    Op    // the operation without trace token
	payload bool  // a term follows the control message
	flags   Flags // what must be negotiated before it is sent
}

// shapes describes all operations of the protocol.
var shapes = [...]shape{
	OpLink:                {"LINK", OpLink, false, 0},
	OpSend:                {"SEND", OpSend, true, 0},
	OpExit:                {"EXIT", OpExit, false, 0},
	OpUnlink:              {"UNLINK", OpUnlink, false, 0},
	OpNodeLink:            {"NODE_LINK", OpNodeLink, false, 0},
	OpRegSend:             {"REG_SEND", OpRegSend, true, 0},
	OpGroupLeader:         {"GROUP_LEADER", OpGroupLeader, false, 0},
	OpExit2:               {"EXIT2", OpExit2, false, 0},
	OpSendTT:              {"SEND_TT", OpSend, true, 0},
	OpExitTT:              {"EXIT_TT", OpExit, false, 0},
	OpRegSendTT:           {"REG_SEND_TT", OpRegSend, true, 0},
	OpExit2TT:             {"EXIT2_TT", OpExit2, false, 0},
	OpMonitorP:            {"MONITOR_P", OpMonitorP, false, FlagDistMonitor},
	OpDemonitorP:          {"DEMONITOR_P", OpDemonitorP, false, FlagDistMonitor},
	OpMonitorPExit:        {"MONITOR_P_EXIT", OpMonitorPExit, false, FlagDistMonitor},
	OpSendSender:          {"SEND_SENDER", OpSendSender, true, FlagSendSender},
	OpSendSenderTT:        {"SEND_SENDER_TT", OpSendSender, true, FlagSendSender},
	OpPayloadExit:         {"PAYLOAD_EXIT", OpPayloadExit, true, FlagExitPayload},
	OpPayloadExitTT:       {"PAYLOAD_EXIT_TT", OpPayloadExit, true, FlagExitPayload},
	OpPayloadExit2:        {"PAYLOAD_EXIT2", OpPayloadExit2, true, FlagExitPayload},
	OpPayloadExit2TT:      {"PAYLOAD_EXIT2_TT", OpPayloadExit2, true, FlagExitPayload},
	OpPayloadMonitorPExit: {"PAYLOAD_MONITOR_P_EXIT", OpPayloadMonitorPExit, true, FlagDistMonitor | FlagExitPayload},
	OpSpawnRequest:        {"SPAWN_REQUEST", OpSpawnRequest, true, FlagSpawn},
	OpSpawnRequestTT:      {"SPAWN_REQUEST_TT", OpSpawnRequest, true, FlagSpawn},
	OpSpawnReply:          {"SPAWN_REPLY", OpSpawnReply, false, FlagSpawn},
	OpSpawnReplyTT:        {"SPAWN_REPLY_TT", OpSpawnReply, false, FlagSpawn},
	OpAliasSend:           {"ALIAS_SEND", OpAliasSend, true, FlagAlias},
	OpAliasSendTT:         {"ALIAS_SEND_TT", OpAliasSend, true, FlagAlias},
	OpUnlinkID:            {"UNLINK_ID", OpUnlinkID, false, FlagUnlinkID},
	OpUnlinkIDAck:         {"UNLINK_ID_ACK", OpUnlinkIDAck, false, FlagUnlinkID},
	OpAltactSigSend:       {"ALTACT_SIG_SEND", OpAltactSigSend, true, FlagAltactSig},
}

// shapeOf gives what is known of op, and false for an unknown one.
func shapeOf(op Op) (*shape, bool) {
	if int(op) >= len(shapes) || shapes[op].name == "" {
		return nil, false
	}
	return &shapes[op], true
}

// Known reports whether op is one of the constants.
func (op Op) Known() bool {
	_, ok := shapeOf(op)
	return ok
}

// HasPayload reports whether a term follows the control message: a message,
// an exit reason or an argument list. It is false for an unknown op.
func (op Op) HasPayload() bool {
	s, ok := shapeOf(op)
	return ok && s.payload
}

// Base gives the operation that a TT variant is a variant of, and op itself
// for any other: what matters to a receiver that does not trace.
func (op Op) Base() Op {
	if s, ok := shapeOf(op); ok {
		return s.base
	}
	return op
}

// Traced gives the variant of an operation that carries a trace token, and op itself for one that
// has none: that of ALTACT_SIG_SEND is told by AltactToken.
func (op Op) Traced() Op {
	switch op {
	case OpSend:
		return OpSendTT
	case OpRegSend:
		return OpRegSendTT
	case OpSendSender:
		return OpSendSenderTT
	case OpSpawnRequest:
		return OpSpawnRequestTT
	case OpSpawnReply:
		return OpSpawnReplyTT
	case OpAliasSend:
		return OpAliasSendTT
	}
	return op
}

// Flags gives the flags that both sides must have announced before op may be
// sent; 0 where none is needed. EXIT, EXIT2, MONITOR_P_EXIT and SEND give way
// to their newer forms once FlagExitPayload and FlagSendSender are negotiated.
func (op Op) Flags() Flags {
	if s, ok := shapeOf(op); ok {
		return s.flags
	}
	return 0
}

// String gives the protocol's name, "REG_SEND", or "op 99" for an unknown one.
func (op Op) String() string {
	if s, ok := shapeOf(op); ok {
		return s.name
	}
	return fmt.Sprintf("op %d", uint8(op))
}
