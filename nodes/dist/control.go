package dist

import (
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/ei"
)

// Control is a control message of any operation. Op determines which fields have a meaning; the
// others are zero after ParseControl and ignored by AppendControl.
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

// ParseControl reads the control message at c, just after the version byte, into ctl. The Raw
// fields alias c's input. With c.Atoms set nothing is allocated for atoms that were seen before.
//
// Every error is a *ControlError and leaves c where it was and ctl undefined. For an unknown
// operation it wraps ErrUnknownOp and holds the tuple: the message can be logged and the connection
// goes on. For a tuple whose size or elements do not fit its operation it wraps ErrShape or an
// error of package ei.
//
// See erl_dist_protocol, "Protocol between Connected Nodes".
func ParseControl(c *ei.Cursor, ctl *Control) error {
	start := *c
	*ctl = Control{}
	err := ctl.parse(c)
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrUnknownOp) {
		*c = start
		raw, rawErr := c.Raw()
		if rawErr != nil {
			err = rawErr
		}
		*c = start
		return &ControlError{Op: ctl.Op, Offset: start.Offset(), Raw: raw, Err: err}
	}
	var located *ControlError
	if !errors.As(err, &located) {
		located = &ControlError{Op: ctl.Op, Offset: c.Offset(), Err: err}
	}
	*c = start
	return located
}

func (ctl *Control) parse(c *ei.Cursor) error {
	arity, err := c.Tuple()
	if err != nil {
		return err
	}
	if arity == 0 {
		return fmt.Errorf("%w: an empty tuple", ErrShape)
	}
	op, err := c.Uint()
	if err != nil {
		return err
	}
	if op > 255 {
		return fmt.Errorf("%w %d", ErrUnknownOp, op)
	}
	ctl.Op = Op(op)
	s, ok := shapeOf(ctl.Op)
	if !ok {
		return ErrUnknownOp
	}
	want := 1 + len(s.fields)
	if ctl.Op == OpAltactSigSend && arity == want+1 {
		want++ // with a token; checked against the flags once they are read
	}
	if arity != want {
		return fmt.Errorf("%w: a tuple of %d elements, not %d", ErrShape, arity, want)
	}
	for _, f := range s.fields {
		if err := ctl.parseField(c, f); err != nil {
			return &ControlError{Op: ctl.Op, Offset: c.Offset(), Field: fieldNames[f], Err: err}
		}
	}
	if ctl.Op != OpAltactSigSend {
		return nil
	}
	if hasToken := ctl.Flags&AltactToken != 0; hasToken != (arity > 1+len(s.fields)) {
		return fmt.Errorf("%w: flags %#x in a tuple of %d elements", ErrShape, ctl.Flags, arity)
	} else if hasToken {
		ctl.Token, err = c.Raw()
	}
	return err
}

func (ctl *Control) parseField(c *ei.Cursor, f field) (err error) {
	switch f {
	case fieldFrom:
		ctl.From, err = c.Pid()
	case fieldFromProc:
		ctl.From, ctl.FromName, err = parseProc(c)
	case fieldTo:
		ctl.To, err = c.Pid()
	case fieldToProc:
		ctl.To, ctl.ToName, err = parseProc(c)
	case fieldToName:
		ctl.ToName, err = c.Atom()
	case fieldUnused:
		err = c.Skip()
	case fieldRef:
		ctl.Ref, err = c.Ref()
	case fieldID:
		before := *c
		if ctl.ID, err = c.Uint(); err == nil && ctl.ID == 0 {
			*c, err = before, fmt.Errorf("%w: an id of 0", ErrShape)
		}
	case fieldFlags:
		ctl.Flags, err = c.Uint()
	case fieldReason:
		ctl.Reason, err = c.Raw()
	case fieldToken:
		ctl.Token, err = c.Raw()
	case fieldLeader:
		ctl.GroupLeader, err = c.Pid()
	case fieldMFA:
		err = ctl.parseMFA(c)
	case fieldOptions:
		ctl.Options, err = c.Raw()
	case fieldResult:
		ctl.Result, err = parseResult(c)
	case fieldAltact:
		switch ctl.Flags & (AltactAlias | AltactName) {
		case AltactAlias:
			ctl.Ref, err = c.Ref()
		case AltactName:
			ctl.ToName, err = c.Atom()
		case 0:
			ctl.To, err = c.Pid()
		default:
			err = fmt.Errorf("%w: flags %#x name two kinds of receiver", ErrShape, ctl.Flags)
		}
	}
	return err
}

// parseProc reads a pid or the registered name that may stand for one.
func parseProc(c *ei.Cursor) (pid ei.Pid, name ei.Atom, err error) {
	tag, err := c.Peek()
	if err != nil {
		return pid, name, err
	}
	if tag.IsAtom() {
		name, err = c.Atom()
	} else {
		pid, err = c.Pid()
	}
	return pid, name, err
}

func (ctl *Control) parseMFA(c *ei.Cursor) error {
	before := *c
	n, err := c.Tuple()
	if err != nil {
		return err
	}
	if n != 3 {
		*c = before
		return fmt.Errorf("%w: a tuple of %d elements, not 3", ErrShape, n)
	}
	if ctl.Module, err = c.Atom(); err != nil {
		return err
	}
	if ctl.Function, err = c.Atom(); err != nil {
		return err
	}
	arity, err := c.Int()
	if err != nil {
		return err
	}
	if arity == int64(uint8(arity)) {
		ctl.Arity = uint8(arity)
	}
	return nil
}

func parseResult(c *ei.Cursor) (ei.Raw, error) {
	tag, err := c.Peek()
	if err != nil {
		return nil, err
	}
	if !tag.IsPid() && !tag.IsAtom() {
		return nil, fmt.Errorf("%w: %v, neither pid nor atom", ErrShape, tag)
	}
	return c.Raw()
}

// AppendControl appends the control message, without version byte. A field that the operation needs
// and that is not set (a zero pid where no name may stand, an empty Raw, an ID of 0) is a
// *ControlError that names it, and b comes back as it was.
func AppendControl(b []byte, ctl *Control) ([]byte, error) {
	s, ok := shapeOf(ctl.Op)
	if !ok {
		return b, &ControlError{Op: ctl.Op, Offset: -1, Err: ErrUnknownOp}
	}
	arity := 1 + len(s.fields)
	token := ctl.Op == OpAltactSigSend && ctl.Flags&AltactToken != 0
	if token {
		arity++
	}
	out := ei.AppendInt(ei.AppendTupleHeader(b, arity), int64(ctl.Op))
	var err error
	for _, f := range s.fields {
		if out, err = ctl.appendField(out, f); err != nil {
			return b, &ControlError{Op: ctl.Op, Offset: -1, Field: fieldNames[f], Err: err}
		}
	}
	if token {
		if out, err = ctl.appendField(out, fieldToken); err != nil {
			return b, &ControlError{Op: ctl.Op, Offset: -1, Field: fieldNames[fieldToken], Err: err}
		}
	}
	return out, nil
}

func (ctl *Control) appendField(b []byte, f field) ([]byte, error) {
	switch f {
	case fieldFrom:
		return appendPid(b, &ctl.From)
	case fieldFromProc:
		return appendProc(b, &ctl.From, ctl.FromName)
	case fieldTo:
		return appendPid(b, &ctl.To)
	case fieldToProc:
		return appendProc(b, &ctl.To, ctl.ToName)
	case fieldToName:
		return ei.AppendAtom(b, ctl.ToName)
	case fieldUnused:
		return ei.AppendAtom(b, "")
	case fieldRef:
		return appendRef(b, &ctl.Ref)
	case fieldID:
		if ctl.ID == 0 {
			return b, fmt.Errorf("%w: not set", ErrShape)
		}
		return ei.AppendUint(b, ctl.ID), nil
	case fieldFlags:
		return ei.AppendUint(b, ctl.Flags), nil
	case fieldReason:
		return appendRaw(b, ctl.Reason)
	case fieldToken:
		return appendRaw(b, ctl.Token)
	case fieldLeader:
		return appendPid(b, &ctl.GroupLeader)
	case fieldMFA:
		b, err := ei.AppendAtom(ei.AppendTupleHeader(b, 3), ctl.Module)
		if err == nil {
			b, err = ei.AppendAtom(b, ctl.Function)
		}
		return ei.AppendInt(b, int64(ctl.Arity)), err
	case fieldOptions:
		return appendRaw(b, ctl.Options)
	case fieldResult:
		return appendRaw(b, ctl.Result)
	case fieldAltact:
		switch ctl.Flags & (AltactAlias | AltactName) {
		case AltactAlias:
			return appendRef(b, &ctl.Ref)
		case AltactName:
			return ei.AppendAtom(b, ctl.ToName)
		case 0:
			return appendPid(b, &ctl.To)
		}
		return b, fmt.Errorf("%w: flags %#x name two kinds of receiver", ErrShape, ctl.Flags)
	}
	return b, fmt.Errorf("%w: no such element", ErrShape)
}

// appendPid refuses a pid that was not set: a peer drops the connection at a pid without a node.
func appendPid(b []byte, pid *ei.Pid) ([]byte, error) {
	if pid.Node == "" {
		return b, fmt.Errorf("%w: not set", ErrShape)
	}
	return ei.AppendPid(b, *pid)
}

func appendRef(b []byte, ref *ei.Ref) ([]byte, error) {
	if ref.Node == "" {
		return b, fmt.Errorf("%w: not set", ErrShape)
	}
	return ei.AppendRef(b, *ref)
}

func appendProc(b []byte, pid *ei.Pid, name ei.Atom) ([]byte, error) {
	if name != "" || *pid == (ei.Pid{}) {
		return ei.AppendAtom(b, name)
	}
	return appendPid(b, pid)
}

func appendRaw(b []byte, raw ei.Raw) ([]byte, error) {
	if len(raw) == 0 {
		return b, fmt.Errorf("%w: not set", ErrShape)
	}
	return append(b, raw...), nil
}
