package protocol

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// ParseControl reads the control message at c, just after the version byte, into ctl. The Raw
// fields alias c's input. With c.Atoms set nothing is allocated for atoms that were seen before.
//
// Every error is a *ControlError and leaves c where it was and ctl undefined. For an unknown
// operation it wraps ErrUnknownOp and holds the tuple: the message can be logged and the connection
// goes on. For a tuple whose size or elements do not fit its operation it wraps ErrShape or an
// error of package ei.
//
// See erl_dist_protocol, "Protocol between Connected Nodes".
func ParseControl(c *ei.Cursor, ctl *dist.Control) error {
	start := *c
	*ctl = dist.Control{}
	err := parse(c, ctl)
	if err == nil {
		return nil
	}
	if errors.Is(err, dist.ErrUnknownOp) {
		*c = start
		raw, rawErr := c.Raw()
		if rawErr != nil {
			err = rawErr
		}
		*c = start
		return &dist.ControlError{Op: ctl.Op, Offset: start.Offset(), Raw: raw, Err: err}
	}
	var located *dist.ControlError
	if !errors.As(err, &located) {
		located = &dist.ControlError{Op: ctl.Op, Offset: c.Offset(), Err: err}
	}
	*c = start
	return located
}

func parse(c *ei.Cursor, ctl *dist.Control) error {
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
		return fmt.Errorf("%w %d", dist.ErrUnknownOp, op)
	}
	ctl.Op = dist.Op(op)
	fields, ok := layoutOf(ctl.Op)
	if !ok {
		return dist.ErrUnknownOp
	}
	want := 1 + len(fields)
	token := ctl.Op != ctl.Op.Base()
	if ctl.Op == dist.OpAltactSigSend {
		token = arity == want // checked against the flags once they are read
	}
	if !token && slices.Contains(fields, fieldToken) {
		want--
	}
	if arity != want {
		return fmt.Errorf("%w: a tuple of %d elements, not %d", ErrShape, arity, want)
	}
	for _, f := range fields {
		if f == fieldToken {
			if ctl.Op == dist.OpAltactSigSend && token != (ctl.Flags&dist.AltactToken != 0) {
				return fmt.Errorf("%w: flags %#x in a tuple of %d elements", ErrShape, ctl.Flags, arity)
			}
			if !token {
				continue
			}
		}
		if err := parseField(c, ctl, f); err != nil {
			return &dist.ControlError{Op: ctl.Op, Offset: c.Offset(), Field: fieldNames[f], Err: err}
		}
	}
	return nil
}

func parseField(c *ei.Cursor, ctl *dist.Control, f field) (err error) {
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
		err = parseMFA(c, ctl)
	case fieldOptions:
		ctl.Options, err = c.Raw()
	case fieldResult:
		ctl.Result, err = parseResult(c)
	case fieldAltact:
		switch ctl.Flags & (dist.AltactAlias | dist.AltactName) {
		case dist.AltactAlias:
			ctl.Ref, err = c.Ref()
		case dist.AltactName:
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

func parseMFA(c *ei.Cursor, ctl *dist.Control) error {
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
func AppendControl(b []byte, ctl *dist.Control) ([]byte, error) {
	fields, ok := layoutOf(ctl.Op)
	if !ok {
		return b, &dist.ControlError{Op: ctl.Op, Offset: -1, Err: dist.ErrUnknownOp}
	}
	arity := 1 + len(fields)
	token := ctl.Op != ctl.Op.Base() || ctl.Op == dist.OpAltactSigSend && ctl.Flags&dist.AltactToken != 0
	if !token && slices.Contains(fields, fieldToken) {
		arity--
	}
	out := ei.AppendInt(ei.AppendTupleHeader(b, arity), int64(ctl.Op))
	var err error
	for _, f := range fields {
		if f == fieldToken && !token {
			continue
		}
		if out, err = appendField(out, ctl, f); err != nil {
			return b, &dist.ControlError{Op: ctl.Op, Offset: -1, Field: fieldNames[f], Err: err}
		}
	}
	return out, nil
}

func appendField(b []byte, ctl *dist.Control, f field) ([]byte, error) {
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
		switch ctl.Flags & (dist.AltactAlias | dist.AltactName) {
		case dist.AltactAlias:
			return appendRef(b, &ctl.Ref)
		case dist.AltactName:
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
