package dist

import "fmt"

// Op is the operation of a control message, the first element of its tuple.
//
// See erl_dist_protocol, "Protocol between Connected Nodes".
type Op uint8

// The operations. Op.Traced gives the number of one that carries a trace token (sequential tracing)
// and is otherwise the same.
const (
	OpLink                Op = 1  // {1, From, To}
	OpSend                Op = 2  // {2, Unused, To}
	OpExit                Op = 3  // {3, From, To, Reason}
	OpUnlink              Op = 4  // {4, From, To}; obsolete, invalid towards OTP 26 and later
	OpNodeLink            Op = 5  // {5}; ancient, unused
	OpRegSend             Op = 6  // {6, From, Unused, ToName}
	OpGroupLeader         Op = 7  // {7, From, To}
	OpExit2               Op = 8  // {8, From, To, Reason}
	OpMonitorP            Op = 19 // {19, From, ToProc, Ref}
	OpDemonitorP          Op = 20 // {20, From, ToProc, Ref}
	OpMonitorPExit        Op = 21 // {21, FromProc, To, Ref, Reason}
	OpSendSender          Op = 22 // {22, From, To}
	OpPayloadExit         Op = 24 // {24, From, To}
	OpPayloadExit2        Op = 26 // {26, From, To}
	OpPayloadMonitorPExit Op = 28 // {28, FromProc, To, Ref}
	OpSpawnRequest        Op = 29 // {29, ReqId, From, GroupLeader, {Module, Function, Arity}, OptList}
	OpSpawnReply          Op = 31 // {31, ReqId, To, Flags, Result}
	OpAliasSend           Op = 33 // {33, From, Alias}
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
	payload bool  // a term follows the control message
	flags   Flags // what must be negotiated before it is sent
}

// shapes describes all operations of the protocol.
var shapes = [...]shape{
	OpLink:                {"LINK", false, 0},
	OpSend:                {"SEND", true, 0},
	OpExit:                {"EXIT", false, 0},
	OpUnlink:              {"UNLINK", false, 0},
	OpNodeLink:            {"NODE_LINK", false, 0},
	OpRegSend:             {"REG_SEND", true, 0},
	OpGroupLeader:         {"GROUP_LEADER", false, 0},
	OpExit2:               {"EXIT2", false, 0},
	OpMonitorP:            {"MONITOR_P", false, FlagDistMonitor},
	OpDemonitorP:          {"DEMONITOR_P", false, FlagDistMonitor},
	OpMonitorPExit:        {"MONITOR_P_EXIT", false, FlagDistMonitor},
	OpSendSender:          {"SEND_SENDER", true, FlagSendSender},
	OpPayloadExit:         {"PAYLOAD_EXIT", true, FlagExitPayload},
	OpPayloadExit2:        {"PAYLOAD_EXIT2", true, FlagExitPayload},
	OpPayloadMonitorPExit: {"PAYLOAD_MONITOR_P_EXIT", true, FlagDistMonitor | FlagExitPayload},
	OpSpawnRequest:        {"SPAWN_REQUEST", true, FlagSpawn},
	OpSpawnReply:          {"SPAWN_REPLY", false, FlagSpawn},
	OpAliasSend:           {"ALIAS_SEND", true, FlagAlias},
	OpUnlinkID:            {"UNLINK_ID", false, FlagUnlinkID},
	OpUnlinkIDAck:         {"UNLINK_ID_ACK", false, FlagUnlinkID},
	OpAltactSigSend:       {"ALTACT_SIG_SEND", true, FlagAltactSig},
}

// traced are the numbers of the operations with a trace token: what each is without it.
var traced = [...]Op{
	12: OpSend, 13: OpExit, 16: OpRegSend, 18: OpExit2, 23: OpSendSender, 25: OpPayloadExit,
	27: OpPayloadExit2, 30: OpSpawnRequest, 32: OpSpawnReply, 34: OpAliasSend,
}

// shapeOf gives what is known of op, and nothing of an unknown one.
func shapeOf(op Op) shape {
	if op = op.Base(); int(op) < len(shapes) {
		return shapes[op]
	}
	return shape{}
}

// Known reports whether op is one of the constants, or the traced variant of one.
func (op Op) Known() bool { return shapeOf(op).name != "" }

// HasPayload reports whether a term follows the control message: a message,
// an exit reason or an argument list. It is false for an unknown op.
func (op Op) HasPayload() bool { return shapeOf(op).payload }

// Base gives the operation that a traced variant is a variant of, and op itself
// for any other: what matters to a receiver that does not trace.
func (op Op) Base() Op {
	if int(op) < len(traced) && traced[op] != 0 {
		return traced[op]
	}
	return op
}

// Traced gives the variant of an operation that carries a trace token, SEND_TT for OpSend, and op
// itself for one that has none: that of ALTACT_SIG_SEND is told by AltactToken.
func (op Op) Traced() Op {
	for variant, base := range traced {
		if base == op {
			return Op(variant)
		}
	}
	return op
}

// Flags gives the flags that both sides must have announced before op may be
// sent; 0 where none is needed. EXIT, EXIT2, MONITOR_P_EXIT and SEND give way
// to their newer forms once FlagExitPayload and FlagSendSender are negotiated.
func (op Op) Flags() Flags { return shapeOf(op).flags }

// String gives the protocol's name, "REG_SEND", or "op 99" for an unknown one.
func (op Op) String() string {
	s := shapeOf(op)
	switch {
	case s.name == "":
		return fmt.Sprintf("op %d", uint8(op))
	case op != op.Base():
		return s.name + "_TT"
	}
	return s.name
}
