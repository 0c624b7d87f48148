package link

import (
	"math/bits"
	"sync"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
)

// An In is where a message goes that is received. Its operation is the plain one: what arrives as
// SEND_SENDER or with a trace token has OpSend; an exit signal has its reason in Reason, whether it
// came as payload or not.
type In struct {
	Control *dist.Control
	Payload *ei.Raw
	Memory  *Memory
}

// A Memory is what a message is in: its frame, and its payload, if that was made whole. The zero
// value is ready; what the last message was in is used again for the next.
type Memory struct {
	buf   []byte   // the frame
	whole []byte   // the payload, if it was made whole: see protocol.Arrival
	pool  *Buffers // where buf and whole come from; nil: they are used again for the next message
	// how it has come, while there may be references to the peer's cache of atoms in its terms: see
	// Conn.Resolve
	arrival *protocol.Arrival
}

// Of makes it one whose buffers come from p, and go back there.
func (m *Memory) Of(p *Buffers) { m.pool = p }

// Frame is a buffer of n bytes, of any contents, for the message's frame.
func (m *Memory) Frame(n int) []byte {
	m.buf = m.grow(n)
	return m.buf
}

// Size is how many bytes the buffers have.
func (m *Memory) Size() int { return cap(m.buf) + cap(m.whole) }

// Refs are what references in the message's terms stand for.
func (m *Memory) Refs() []ei.Atom {
	if m.arrival == nil {
		return nil
	}
	return m.arrival.Refs
}

// Release gives the buffers back, if they are a pool's: else it is false, and nothing has changed.
func (m *Memory) Release() bool {
	if m.pool == nil {
		return false
	}
	m.forgetArrival()
	m.pool.put(m.buf)
	m.pool.put(m.whole)
	*m = Memory{}
	return true
}

// forgetArrival lets go of the arrival, and so of the memory that it holds.
func (m *Memory) forgetArrival() {
	if m.arrival != nil {
		*m.arrival, m.arrival = protocol.Arrival{}, nil
	}
}

// wholeBuffer returns a buffer of n bytes, of any contents, for the payload.
func (m *Memory) wholeBuffer(n int) []byte {
	if cap(m.whole) < n {
		m.whole = m.grow(n)
	}
	return m.whole[:n]
}

// grow returns a buffer for a frame of n bytes.
func (m *Memory) grow(n int) []byte {
	if m.pool == nil {
		return make([]byte, n)
	}
	return m.pool.get(n)
}

// resolve puts atoms in the place of references, in terms of max bytes at most each in their whole
// form.
func (in In) resolve(max int) error {
	a := *in.Memory.arrival
	in.Memory.forgetArrival()
	isReason := len(a.Payload) > 0 && *in.Payload == nil
	if isReason { // it is taken again
		in.Control.Reason = nil
	}
	err := a.WholeFields(in.Control, max)
	if err != nil || len(a.Payload) == 0 {
		return err
	}
	if err = in.takePayload(&a, max); err == nil && isReason {
		in.takeReason(in.Control.Op)
	}
	return err
}

// takePayload takes the payload of an arrival, of max bytes at most in its whole form.
func (in In) takePayload(a *protocol.Arrival, max int) error {
	*in.Payload = a.Payload
	if len(a.Payload) > shortPayload {
		if has, err := a.HasRefs(); err != nil || !has {
			return err
		}
	}
	m := in.Memory
	var b []byte
	var err error
	if a.Memory == nil {
		size := len(a.Payload) * 3 / 2
		for _, atom := range a.Refs {
			size += len(atom)
		}
		b = m.wholeBuffer(size)
	}
	*in.Payload, err = a.Resolve(b, max)
	if cap(*in.Payload) > cap(m.whole) {
		m.whole = *in.Payload
	}
	return err
}

// shortPayload is the size, in bytes, of payloads that are copied in no more time than it takes to
// look whether they have references.
const shortPayload = 512

// takeReason makes the payload the reason, without what may follow its first term, if that is
// well-formed and has no references.
func (in In) takeReason(op dist.Op) {
	ctl := in.Control
	ctl.Op, ctl.Reason, *in.Payload = op, *in.Payload, nil
	if in.Memory.arrival != nil {
		return
	}
	if reason, err := FirstTerm(ctl.Reason); err == nil {
		ctl.Reason = reason
	}
}

// plain replaces the variants of an operation by the plain one. See erl_dist_protocol, "Control
// message".
func (in In) plain() {
	ctl := in.Control
	switch ctl.Op = ctl.Op.Base(); ctl.Op {
	case dist.OpSendSender:
		ctl.Op = dist.OpSend
	case dist.OpPayloadExit:
		in.takeReason(dist.OpExit)
	case dist.OpPayloadExit2:
		in.takeReason(dist.OpExit2)
	case dist.OpPayloadMonitorPExit:
		in.takeReason(dist.OpMonitorPExit)
	case dist.OpAltactSigSend:
		in.plainAltact()
	}
}

// plainAltact is plain for ALTACT_SIG_SEND. A combination of flags that has no meaning, or none
// that is known, stays what it is. Priority counts only where there is an alias.
func (in In) plainAltact() {
	ctl := in.Control
	kind := ctl.Flags &^ (dist.AltactPrio | dist.AltactToken)
	switch kind {
	case 0:
		ctl.Op = dist.OpSend
	case dist.AltactName:
		ctl.Op = dist.OpRegSend
	case dist.AltactAlias:
		ctl.Op = dist.OpAliasSend
	case dist.AltactExit, dist.AltactExit | dist.AltactAlias:
		in.takeReason(dist.OpExit2)
	default:
		return
	}
	if ctl.Flags &= dist.AltactPrio; kind&dist.AltactAlias == 0 {
		ctl.Flags = 0
	}
}

// The sizes of the buffers that a Buffers keeps: powers of two, in bits.
const (
	minBuffer = 7  // 128 bytes
	maxBuffer = 22 // 4 MiB
)

// Buffers keeps the memory of released messages, by size, so that a small message never holds a
// large buffer.
type Buffers struct {
	bytes [maxBuffer + 1]sync.Pool // *[]byte
	empty sync.Pool                // *[]byte, for those to be
}

// get returns a buffer of n bytes with arbitrary contents.
func (p *Buffers) get(n int) []byte {
	class := max(bits.Len(uint(max(n, 1)-1)), minBuffer)
	if class > maxBuffer {
		return make([]byte, n)
	}
	if kept, ok := p.bytes[class].Get().(*[]byte); ok {
		b := (*kept)[:n]
		*kept = nil
		p.empty.Put(kept)
		return b
	}
	if n >= 1<<maxBuffer/2 { // rounding up would waste more memory than reuse saves
		return make([]byte, n)
	}
	return make([]byte, n, 1<<class)
}

func (p *Buffers) put(b []byte) {
	c := cap(b)
	if c < 1<<minBuffer || c > 1<<maxBuffer || c&(c-1) != 0 {
		return
	}
	kept, ok := p.empty.Get().(*[]byte)
	if !ok {
		kept = new([]byte)
	}
	*kept = b
	p.bytes[bits.Len(uint(c))-1].Put(kept)
}
