package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// FrameKind is the form of a frame between connected nodes.
//
// See erl_dist_protocol, "Protocol between Connected Nodes", and erl_ext_dist,
// "Distribution Header".
type FrameKind uint8

// The kinds of frames.
const (
	KindInvalid FrameKind = iota // none of the others
	KindTick                     // no bytes: the peer is alive
	// 'p', 131, control message, and 131, payload if there is one
	KindPassThrough
	// 131 'D': atom cache, control message and payload without 131
	KindHeader
	KindFirstFragment // 131 'E': the first part of a long frame with header
	KindNextFragment  // 131 'F': a further part
)

// String names the kind.
func (k FrameKind) String() string {
	switch k {
	case KindInvalid:
		return "invalid"
	case KindTick:
		return "tick"
	case KindPassThrough:
		return "pass-through"
	case KindHeader:
		return "distribution header"
	case KindFirstFragment:
		return "first fragment"
	case KindNextFragment:
		return "fragment"
	}
	return fmt.Sprintf("FrameKind(%d)", uint8(k))
}

const (
	lengthSize    = 4   // the length before every frame between connected nodes
	passThrough   = 'p' // begins a frame without distribution header
	distHeader    = 'D'
	firstFragment = 'E'
	nextFragment  = 'F'
)

// classify tells the kind of a frame (its bytes after the 4-byte length) by its
// first bytes. A *FrameError wraps ErrNotNegotiated for a kind whose flags are
// not in negotiated, and ErrFrame for bytes that begin no frame.
func classify(frame []byte, negotiated dist.Flags) (FrameKind, error) {
	switch {
	case len(frame) == 0:
		return KindTick, nil
	case frame[0] == passThrough:
		return KindPassThrough, nil
	case len(frame) < 2 || frame[0] != ei.VersionMagic:
		return KindInvalid, &dist.FrameError{Err: fmt.Errorf("%w: starts with %.2x", dist.ErrFrame, frame)}
	}
	kind, agreed := KindInvalid, negotiated.Has(dist.FlagFragments)
	switch frame[1] {
	case distHeader:
		kind, agreed = KindHeader, negotiated.HasHeaders()
	case firstFragment:
		kind = KindFirstFragment
	case nextFragment:
		kind = KindNextFragment
	default:
		return KindInvalid, &dist.FrameError{Err: fmt.Errorf("%w: starts with %.2x", dist.ErrFrame, frame)}
	}
	if !agreed {
		return kind, &dist.FrameError{Kind: kind.String(), Err: ErrNotNegotiated}
	}
	return kind, nil
}

// passedThrough reads a frame without distribution header into ctl and returns its payload, nil if
// the operation has none. Bytes after the term are to be ignored, as OTP does, and so are bytes
// after a control message without payload.
func passedThrough(frame []byte, atoms *ei.AtomTable, ctl *dist.Control) (ei.Raw, error) {
	c := ei.NewCursor(frame[1:])
	c.Atoms = atoms
	if err := c.Version(); err != nil {
		return nil, &dist.FrameError{Kind: KindPassThrough.String(), Err: fmt.Errorf("%w: control message: %w", dist.ErrFrame, err)}
	}
	if err := ParseControl(&c, ctl); err != nil {
		var located *dist.ControlError
		if errors.As(err, &located) {
			located.Offset++ // the cursor began after the 'p'
		}
		return nil, err
	}
	if !ctl.Op.HasPayload() {
		return nil, nil
	}
	rest := frame[len(frame)-c.Len():]
	if len(rest) < 2 || rest[0] != ei.VersionMagic {
		return nil, &dist.FrameError{Kind: KindPassThrough.String(), Err: fmt.Errorf("%w: no payload behind %v", dist.ErrFrame, ctl.Op)}
	}
	return ei.Raw(rest[1:]), nil
}

// AppendFrame appends a whole pass-through frame, length included. payload is a term without
// version byte; it must be given exactly when ctl's operation has one.
func AppendFrame(b []byte, ctl *dist.Control, payload ei.Raw) ([]byte, error) {
	out, err := AppendFrameHead(b, 0, ctl, len(payload))
	if err != nil {
		return b, err
	}
	if ctl.Op.HasPayload() == (len(payload) == 0) {
		return b, &dist.FrameError{Kind: KindPassThrough.String(),
			Err: fmt.Errorf("%w: payload of %d bytes for %v", dist.ErrFrame, len(payload), ctl.Op)}
	}
	return append(out, payload...), nil
}

// EmptyHeaderSize is how many bytes come before the control message of a frame with a header of no
// atoms, its length among them.
const EmptyHeaderSize = lengthSize + 3

// AppendFrameHead appends what comes before the payload of a frame: the length, which already
// counts the payload bytes that the caller sends after it, and the control message. So a large
// payload is not copied; for one that is encoded in place, FinishFrame sets the length.
//
// If the negotiated flags have headers (Flags.HasHeaders), the frame has a distribution header, of
// no atoms; else version bytes, that of the payload among them. The atoms of control message and
// payload are sent as text either way; see AtomRefs for the other one.
func AppendFrameHead(b []byte, negotiated dist.Flags, ctl *dist.Control, payload int) ([]byte, error) {
	start, headers := len(b), negotiated.HasHeaders()
	out := append(b, 0, 0, 0, 0)
	if headers {
		out = append(out, ei.VersionMagic, distHeader, 0)
	} else {
		out = append(out, passThrough, ei.VersionMagic)
	}
	out, err := AppendControl(out, ctl)
	if err == nil && !headers && ctl.Op.HasPayload() {
		out = append(out, ei.VersionMagic)
	}
	if err == nil {
		err = setLength(out[start:], payload)
	}
	if err != nil {
		return b, err
	}
	return out, nil
}

// FinishFrame sets the length of a frame whose payload was appended after
// AppendFrameHead; frame begins with the length and ends with the payload.
// The error is a *FrameError: ErrTooLong for a frame of 4 GiB or more, ErrFrame for one of less
// than the four bytes of the length.
func FinishFrame(frame []byte) error {
	if len(frame) < lengthSize {
		return &dist.FrameError{Err: fmt.Errorf("%w: %d bytes, shorter than its length", dist.ErrFrame, len(frame))}
	}
	return setLength(frame, 0)
}

// AppendTick appends a tick: a frame of no bytes.
func AppendTick(b []byte) []byte { return append(b, 0, 0, 0, 0) }

func setLength(frame []byte, more int) error {
	n := uint64(len(frame) - lengthSize)
	if more < 0 || n+uint64(more) > math.MaxUint32 {
		return &dist.FrameError{Kind: KindPassThrough.String(), Err: dist.ErrTooLong}
	}
	binary.BigEndian.PutUint32(frame, uint32(n+uint64(more)))
	return nil
}
