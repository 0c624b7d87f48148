package nodes

import (
	"math/bits"
	"sync"
)

// The sizes of the buffers that a node keeps for messages of its upper level: powers of two, in
// bits.
const (
	minBuffer = 7  // 128 bytes
	maxBuffer = 22 // 4 MiB
)

// buffers keeps the memory of released messages, by size, so that a small message never holds a
// large buffer.
type buffers struct {
	messages sync.Pool // *Message
	bytes    [maxBuffer + 1]sync.Pool
}

// message gives an empty message.
func (p *buffers) message() *Message {
	if m, ok := p.messages.Get().(*Message); ok {
		return m
	}
	return new(Message)
}

// get returns a buffer of n bytes with arbitrary contents.
func (p *buffers) get(n int) []byte {
	class := max(bits.Len(uint(max(n, 1)-1)), minBuffer)
	if class > maxBuffer {
		return make([]byte, n)
	}
	if b, ok := p.bytes[class].Get().(*[]byte); ok {
		return (*b)[:n]
	}
	if n >= 1<<maxBuffer/2 { // rounding up would waste more memory than reuse saves
		return make([]byte, n)
	}
	return make([]byte, n, 1<<class)
}

func (p *buffers) put(b []byte) {
	if c := cap(b); c >= 1<<minBuffer && c <= 1<<maxBuffer && c&(c-1) == 0 {
		p.bytes[bits.Len(uint(c))-1].Put(&b)
	}
}

// Release gives the message's memory back to the node that received it. It is optional, but makes a
// receiver of many messages faster. Afterwards neither the message nor anything that aliases it
// (Payload, Reason and the like, a Raw or a Cursor made of them) may be used; decoded terms may.
func (m *Message) Release() {
	if m.pool == nil {
		return
	}
	p := m.pool
	p.put(m.buf)
	*m = Message{}
	p.messages.Put(m)
}
