package nodes

import (
	"fmt"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/link"
)

// A Message is what a connection or a mailbox receives: the control message, and the term that came
// with it. Its operation is the plain one: what arrives as SEND_SENDER or with a trace token has
// OpSend; an exit signal has its reason in Reason, whether it came as payload or not. What arrives
// as ALTACT_SIG_SEND is an OpSend, OpRegSend, OpAliasSend or OpExit2; if it is for an alias, Ref is
// the alias, and AltactPrio in Flags says that it was sent with priority. It is erlang_msg of the C
// library.
type Message struct {
	dist.Control
	// Payload is the term sent, without version byte; nil if the operation has none. It has not
	// been checked, so it may be anything: decode it (Term), and strictly (ei.DecodeOptions) before
	// passing it on to another node, which would end its connection with this one over a term that
	// it refuses. Bytes after the term mean nothing, as in Erlang. It is valid as long as the
	// Message is; if ReceiveInto has filled the Message, until the next call.
	Payload ei.Raw

	mem  link.Memory
	conn *Conn // the connection that the message came over; nil: it is from this node
	by   *Conn // that of the peer for whom a process here has passed the message on; nil: none has
	// a freeze of conn waits for the answer; guarded by the mutex of the mailbox that has the message
	owed bool

	byFunction bool // a running function of this node has sent it
}

// Term decodes the payload, which messages (OpSend, OpRegSend, OpAliasSend) have. Signals such as
// OpMonitorPExit carry their contents in other fields: for these the error is ErrNoTerm. Term
// allocates; ei.NewCursor(m.Payload) does not.
func (m *Message) Term() (ei.Term, error) {
	switch m.Op {
	case dist.OpSend, dist.OpRegSend, dist.OpAliasSend:
	default:
		if len(m.Payload) == 0 {
			return nil, fmt.Errorf("%v: %w", m.Op, ErrNoTerm)
		}
	}
	c := ei.NewCursor(m.Payload)
	return c.Term()
}

// asker is the connection of the peer that is behind the message; nil: a process of this node.
func (m *Message) asker() *Conn {
	if m.by != nil {
		return m.by
	}
	return m.conn
}

// waits tells whether the sender waits for room in the mailbox: a goroutine of the program on this
// node. Peers and functions do not.
func (m *Message) waits() bool { return m.asker() == nil && !m.byFunction }

// payer is the peer in whose name the message takes memory; "": a process of this node.
func (m *Message) payer() string {
	if c := m.asker(); c != nil {
		return c.Name()
	}
	return ""
}

// Conn is the connection of the peer that the message is from: over which it has come or, if this
// node has sent it because a peer has asked for that (rpc:sbcast/3, say), the peer's; nil for a
// message from this node.
func (m *Message) Conn() *Conn { return m.asker().toOthers() }

// in is where a link puts the message.
func (m *Message) in() link.In {
	return link.In{Control: &m.Control, Payload: &m.Payload, Memory: &m.mem}
}

// goesAhead tells whether a message is received before those without priority: see
// Mailbox.isOpenTo.
func (m *Message) goesAhead() bool {
	return m.Flags&dist.AltactPrio != 0 && (m.Op == dist.OpAliasSend || m.Op == dist.OpExit)
}

// cost is what a message counts towards the limit: the buffer of its frame, which it keeps whole,
// or its terms if it has no such buffer.
func cost(m *Message) int {
	terms := cap(m.Payload) + cap(m.Reason) + cap(m.Token) + cap(m.Options) + cap(m.Result)
	return messageCost + max(terms, m.mem.Size())
}

// newMessage is an empty message whose memory is the node's.
func (n *Node) newMessage() *Message {
	m, ok := n.messages.Get().(*Message)
	if !ok {
		m = new(Message)
	}
	m.mem.Of(&n.links.Buffers)
	return m
}

// Release gives the message's memory back to the node that received it. It is optional, but makes a
// receiver of many messages faster. Afterwards neither the message nor anything that aliases it
// (Payload, Reason and the like, a Raw or a Cursor made of them) may be used; decoded terms may.
func (m *Message) Release() {
	if !m.mem.Release() {
		return
	}
	n := m.conn.n
	*m = Message{}
	n.messages.Put(m)
}
