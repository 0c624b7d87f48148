// Package packed writes messages that wait for long in few bytes: a control message has room for
// whatever one may have, and a frame a buffer that is used again, which is several times what most
// messages say.
package packed

import (
	"encoding/binary"
	"strings"
	"unsafe"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// Known is what a message need not say.
type Known struct {
	Peer     string // the node that it is from
	Creation uint32 // of the peer
	To       ei.Pid // the process that it is for
}

// What a packed message has, as a sum that it begins with; the common ones take one byte.
const (
	hasPeer    = 1 << iota // From is a process of the peer, in this life of that
	hasSelf                // To is the process that is known
	hasToName              // ToName
	hasRef                 // Ref
	hasPayload             // the payload, which has no length: it is the end
	hasToken               // Token
	hasFrom                // From
	hasTo                  // To
	hasFlags               // Flags
	hasReason              // Reason
)

// headRoom is how many bytes of all but the terms of a message are put together without an
// allocation.
const headRoom = 256

// Size is how many bytes a message is when it is packed; 0: it cannot be.
func Size(ctl *dist.Control, payload ei.Raw, k *Known) int {
	switch ctl.Op {
	case dist.OpSend, dist.OpRegSend, dist.OpAliasSend, dist.OpExit:
	default: // it has more than is packed
		return 0
	}
	var room [headRoom]byte
	return len(appendHead(room[:0], ctl, payload, k)) + len(ctl.Reason) + len(ctl.Token) + len(payload)
}

// Pack packs a message for which Size is not 0.
func Pack(ctl *dist.Control, payload ei.Raw, k *Known) string {
	var room [headRoom]byte
	head := appendHead(room[:0], ctl, payload, k)
	var s strings.Builder
	s.Grow(len(head) + len(ctl.Reason) + len(ctl.Token) + len(payload))
	s.Write(head)
	s.Write(ctl.Reason)
	s.Write(ctl.Token)
	s.Write(payload)
	return s.String()
}

// appendHead appends all but the terms.
func appendHead(b []byte, ctl *dist.Control, payload ei.Raw, k *Known) []byte {
	has := parts(ctl, payload, k)
	b = append(binary.AppendUvarint(b, has), byte(ctl.Op))
	if has&(hasPeer|hasFrom) != 0 {
		b = appendPid(b, ctl.From, has&hasFrom != 0)
	}
	if has&hasTo != 0 {
		b = appendPid(b, ctl.To, true)
	}
	if has&hasToName != 0 {
		b = appendAtom(b, ctl.ToName)
	}
	if has&hasRef != 0 {
		b = append(appendAtom(b, ctl.Ref.Node), ctl.Ref.Len)
		b = binary.AppendUvarint(b, uint64(ctl.Ref.Creation))
		for _, word := range ctl.Ref.ID {
			b = binary.AppendUvarint(b, uint64(word))
		}
	}
	if has&hasFlags != 0 {
		b = binary.AppendUvarint(b, ctl.Flags)
	}
	if has&hasReason != 0 {
		b = binary.AppendUvarint(b, uint64(len(ctl.Reason)))
	}
	if has&hasToken != 0 {
		b = binary.AppendUvarint(b, uint64(len(ctl.Token)))
	}
	return b
}

// parts is what the message has.
func parts(ctl *dist.Control, payload ei.Raw, k *Known) (has uint64) {
	switch from := &ctl.From; {
	case *from == ei.Pid{}:
	case string(from.Node) == k.Peer && from.Creation == k.Creation:
		has |= hasPeer
	default:
		has |= hasFrom
	}
	switch ctl.To {
	case ei.Pid{}:
	case k.To:
		has |= hasSelf
	default:
		has |= hasTo
	}
	for _, part := range [...]struct {
		is   bool
		what uint64
	}{
		{ctl.ToName != "", hasToName},
		{ctl.Ref.Len > 0, hasRef},
		{ctl.Flags != 0, hasFlags},
		{ctl.Reason != nil, hasReason},
		{ctl.Token != nil, hasToken},
		{payload != nil, hasPayload},
	} {
		if part.is {
			has |= part.what
		}
	}
	return has
}

func appendPid(b []byte, p ei.Pid, isWhole bool) []byte {
	b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(p.ID)), uint64(p.Serial))
	if isWhole {
		b = appendAtom(binary.AppendUvarint(b, uint64(p.Creation)), p.Node)
	}
	return b
}

func appendAtom(b []byte, a ei.Atom) []byte {
	return append(binary.AppendUvarint(b, uint64(len(a))), a...)
}

// Unpack reads what Pack has written, with the same k, into ctl and payload, which are zero. The
// terms are parts of a buffer that room returns.
func Unpack(packed string, k *Known, ctl *dist.Control, payload *ei.Raw, room func(n int) []byte) {
	r := reader(unsafe.Slice(unsafe.StringData(packed), len(packed)))
	has := r.uint()
	ctl.Op = dist.Op(r.take(1)[0])
	switch {
	case has&hasPeer != 0:
		ctl.From = r.pid(false)
		ctl.From.Node, ctl.From.Creation = ei.Atom(k.Peer), k.Creation
	case has&hasFrom != 0:
		ctl.From = r.pid(true)
	}
	switch {
	case has&hasSelf != 0:
		ctl.To = k.To
	case has&hasTo != 0:
		ctl.To = r.pid(true)
	}
	if has&hasToName != 0 {
		ctl.ToName = r.atom()
	}
	if has&hasRef != 0 {
		ctl.Ref.Node, ctl.Ref.Len, ctl.Ref.Creation = r.atom(), r.take(1)[0], uint32(r.uint())
		for i := range ctl.Ref.ID {
			ctl.Ref.ID[i] = uint32(r.uint())
		}
	}
	if has&hasFlags != 0 {
		ctl.Flags = r.uint()
	}
	var reason, token uint64
	if has&hasReason != 0 {
		reason = r.uint()
	}
	if has&hasToken != 0 {
		token = r.uint()
	}
	terms := reader(room(len(r)))
	copy(terms, r)
	if has&hasReason != 0 {
		ctl.Reason = terms.take(reason)
	}
	if has&hasToken != 0 {
		ctl.Token = terms.take(token)
	}
	if has&hasPayload != 0 {
		*payload = ei.Raw(terms)
	}
}

// A reader reads what appendHead has written.
type reader []byte

func (r *reader) take(n uint64) []byte {
	b := (*r)[:n:n]
	*r = (*r)[n:]
	return b
}

func (r *reader) uint() uint64 {
	x, n := binary.Uvarint(*r)
	*r = (*r)[n:]
	return x
}

func (r *reader) atom() ei.Atom { return ei.Atom(r.take(r.uint())) }

func (r *reader) pid(isWhole bool) (p ei.Pid) {
	p.ID, p.Serial = uint32(r.uint()), uint32(r.uint())
	if isWhole {
		p.Creation = uint32(r.uint())
		p.Node = r.atom()
	}
	return p
}
