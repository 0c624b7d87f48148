package nodes

import (
	"encoding/binary"
	"strings"
	"unsafe"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/inbox"
)

// A Message has room for whatever a control message may have, and a buffer that is used again. For
// one that waits long, beyond the limit of its mailbox, that is several times what it says: so the
// mailbox keeps it packed, until it is received.

// A kind is what a mailbox's inbox has to know of messages.
type kind struct{ b *Mailbox }

// Payer is the message's.
func (kind) Payer(m *Message) string { return m.payer() }

// What a packed message has, as a sum that it begins with; the common ones take one byte.
const (
	packsPeer    = 1 << iota // From is a process of the peer, in this life of that
	packsSelf                // To is the mailbox
	packsToName              // ToName
	packsRef                 // Ref
	packsPayload             // Payload, which has no length: it is the end
	packsToken               // Token
	packsFrom                // From
	packsTo                  // To
	packsFlags               // Flags
	packsReason              // Reason
)

// Packed is how many bytes the message is when it is packed; 0: it cannot be.
func (k kind) Packed(m *Message) int {
	switch m.Op {
	case dist.OpSend, dist.OpRegSend, dist.OpAliasSend, dist.OpExit:
	default: // it has more than is packed
		return 0
	}
	if m.conn == nil {
		return 0
	}
	var room [256]byte
	return len(k.packHead(room[:0], m)) + len(m.Reason) + len(m.Token) + len(m.Payload)
}

// packHead appends all but the terms.
func (k kind) packHead(b []byte, m *Message) []byte {
	has := uint64(0)
	set := func(is bool, what uint64) bool {
		if is {
			has |= what
		}
		return is
	}
	peer := &m.conn.peer
	_ = m.From == (ei.Pid{}) || set(string(m.From.Node) == peer.Name && m.From.Creation == peer.Creation, packsPeer) ||
		set(true, packsFrom)
	_ = m.To == (ei.Pid{}) || set(m.To == k.b.pid, packsSelf) || set(true, packsTo)
	set(m.ToName != "", packsToName)
	set(m.Ref.Len > 0, packsRef)
	set(m.Flags != 0, packsFlags)
	set(m.Reason != nil, packsReason)
	set(m.Token != nil, packsToken)
	set(m.Payload != nil, packsPayload)

	b = append(binary.AppendUvarint(b, has), byte(m.Op))
	if has&(packsPeer|packsFrom) != 0 {
		b = packPid(b, m.From, has&packsFrom != 0)
	}
	if has&packsTo != 0 {
		b = packPid(b, m.To, true)
	}
	if has&packsToName != 0 {
		b = packAtom(b, m.ToName)
	}
	if has&packsRef != 0 {
		b = append(packAtom(b, m.Ref.Node), m.Ref.Len)
		b = binary.AppendUvarint(b, uint64(m.Ref.Creation))
		for _, word := range m.Ref.ID {
			b = binary.AppendUvarint(b, uint64(word))
		}
	}
	if has&packsFlags != 0 {
		b = binary.AppendUvarint(b, m.Flags)
	}
	if has&packsReason != 0 {
		b = binary.AppendUvarint(b, uint64(len(m.Reason)))
	}
	if has&packsToken != 0 {
		b = binary.AppendUvarint(b, uint64(len(m.Token)))
	}
	return b
}

func packPid(b []byte, p ei.Pid, isWhole bool) []byte {
	b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(p.ID)), uint64(p.Serial))
	if isWhole {
		b = packAtom(binary.AppendUvarint(b, uint64(p.Creation)), p.Node)
	}
	return b
}

func packAtom(b []byte, a ei.Atom) []byte {
	return append(binary.AppendUvarint(b, uint64(len(a))), a...)
}

// Pack packs a message. What is left of it says where it has come from.
func (k kind) Pack(m *Message) (rest *Message, packed string) {
	var room [256]byte
	head := k.packHead(room[:0], m)
	var s strings.Builder
	s.Grow(len(head) + len(m.Reason) + len(m.Token) + len(m.Payload))
	s.Write(head)
	s.Write(m.Reason)
	s.Write(m.Token)
	s.Write(m.Payload)
	return m.conn.rest(m.owed), s.String()
}

// rest is what is left of the connection's messages when they are packed. It is not to be changed.
func (c *Conn) rest(owed bool) *Message {
	both := c.rests.Load()
	if both == nil {
		both = &[2]Message{{conn: c}, {conn: c, owed: true}}
		if !c.rests.CompareAndSwap(nil, both) {
			both = c.rests.Load()
		}
	}
	if owed {
		return &both[1]
	}
	return &both[0]
}

// markOwed notes that a freeze of its connection waits for the answer to an unread message.
func markOwed(e *inbox.Entry[*Message]) {
	if e.IsPacked() {
		e.Message = e.Message.conn.rest(true)
	} else {
		e.Message.owed = true
	}
}

// Unpack makes the message anew, in memory of the node's.
func (k kind) Unpack(rest *Message, packed string) *Message {
	buffers := &k.b.n.buffers
	m := buffers.message()
	m.pool, m.conn, m.owed = buffers, rest.conn, rest.owed
	r := unpacker(unsafe.Slice(unsafe.StringData(packed), len(packed)))
	has := r.uint()
	m.Op = dist.Op(r.take(1)[0])
	switch {
	case has&packsPeer != 0:
		m.From = r.pid(false)
		m.From.Node, m.From.Creation = ei.Atom(m.conn.peer.Name), m.conn.peer.Creation
	case has&packsFrom != 0:
		m.From = r.pid(true)
	}
	switch {
	case has&packsSelf != 0:
		m.To = k.b.pid
	case has&packsTo != 0:
		m.To = r.pid(true)
	}
	if has&packsToName != 0 {
		m.ToName = r.atom()
	}
	if has&packsRef != 0 {
		m.Ref.Node, m.Ref.Len, m.Ref.Creation = r.atom(), r.take(1)[0], uint32(r.uint())
		for i := range m.Ref.ID {
			m.Ref.ID[i] = uint32(r.uint())
		}
	}
	if has&packsFlags != 0 {
		m.Flags = r.uint()
	}
	var reason, token uint64
	if has&packsReason != 0 {
		reason = r.uint()
	}
	if has&packsToken != 0 {
		token = r.uint()
	}
	m.buf = buffers.get(len(r))
	copy(m.buf, r)
	terms := unpacker(m.buf)
	if has&packsReason != 0 {
		m.Reason = terms.take(reason)
	}
	if has&packsToken != 0 {
		m.Token = terms.take(token)
	}
	if has&packsPayload != 0 {
		m.Payload = ei.Raw(terms)
	}
	return m
}

// An unpacker reads what packHead has written.
type unpacker []byte

func (r *unpacker) take(n uint64) []byte {
	b := (*r)[:n:n]
	*r = (*r)[n:]
	return b
}

func (r *unpacker) uint() uint64 {
	x, n := binary.Uvarint(*r)
	*r = (*r)[n:]
	return x
}

func (r *unpacker) atom() ei.Atom { return ei.Atom(r.take(r.uint())) }

func (r *unpacker) pid(isWhole bool) (p ei.Pid) {
	p.ID, p.Serial = uint32(r.uint()), uint32(r.uint())
	if isWhole {
		p.Creation = uint32(r.uint())
		p.Node = r.atom()
	}
	return p
}
