package dist

import "github.com/cnode-go/cnode/ei"

// Control is a control message of any operation. Op determines which fields have a meaning; the
// others are zero in what has come, and ignored in what goes out.
//
// Where a registered name may stand in place of a pid, exactly one of the two is set: From or
// FromName, To or ToName. (If both are zero, the name is the empty atom.)
type Control struct {
	Op Op // which message it is

	From     ei.Pid  // the sender; in MONITOR_P_EXIT the monitored process
	To       ei.Pid  // the receiver; in MONITOR_P, DEMONITOR_P the monitored process
	FromName ei.Atom // MONITOR_P_EXIT of a monitor that was set on a name
	ToName   ei.Atom // REG_SEND; MONITOR_P, DEMONITOR_P of a name; ALTACT_SIG_SEND with AltactName

	// the monitor; the alias of ALIAS_SEND (ALTACT_SIG_SEND with AltactAlias); the request of SPAWN_*
	Ref   ei.Ref
	ID    uint64 // UNLINK_ID, UNLINK_ID_ACK: 1 and up
	Flags uint64 // SPAWN_REPLY: SpawnLinked, …; ALTACT_SIG_SEND: AltactPrio, …

	// EXIT, EXIT2, MONITOR_P_EXIT (read it with Decode: no version byte); the PAYLOAD_ forms have
	// it as payload
	Reason ei.Raw
	Token  ei.Raw // the trace token of a TT operation, or of ALTACT_SIG_SEND with AltactToken

	// SPAWN_REQUEST: where output goes, what to run, and how. The payload is the list of arguments. It
	// must always be answered with a SPAWN_REPLY, badopt if Options is not a list of known options;
	// the options about replies stay with the requester.
	GroupLeader ei.Pid
	Module      ei.Atom // of what is to run
	Function    ei.Atom // its name
	// the number of arguments; 0 if the peer sent an impossible one, since a BEAM counts them itself
	Arity   uint8
	Options ei.Raw // a list, such as [monitor, link]

	Result ei.Raw // SPAWN_REPLY: the new pid, or an atom that says why there is none
}
