package nodes

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/otp"
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

// maxUnread bounds the messages that a Call has read for other receivers and that nobody has
// received; their memory has the default limit of a mailbox.
const maxUnread = 10_000

// A backlog holds messages that were read but not dealt with: a Call read them for other receivers,
// or they were to be passed on when the reader stopped.
type backlog struct {
	messages []*Message // oldest first
	bytes    int
}

func (u *backlog) add(m *Message) {
	u.messages = append(u.messages, m)
	u.bytes += cost(m)
}

// putBack makes m the first message again.
func (u *backlog) putBack(m *Message) {
	u.messages = slices.Insert(u.messages, 0, m)
	u.bytes += cost(m)
}

func (u *backlog) take() *Message {
	m := u.messages[0]
	u.messages[0], u.messages = nil, u.messages[1:]
	u.bytes -= cost(m)
	return m
}

func (u *backlog) len() int { return len(u.messages) }

func (u *backlog) isFull() bool {
	return len(u.messages) >= maxUnread || u.bytes >= DefaultMailboxLimit
}

// A trace is a token of sequential tracing as one process has it: {Flags, Label, Serial, From,
// Previous}, as module seq_trace of Erlang and the distribution protocol know it. It goes along
// with messages that are sent because of the one that brought it.
type trace struct {
	flags int64
	label ei.Raw
	previous,
	serial atomic.Int64 // of the message that brought it; of what was sent last
}

type traceKey struct{}

// WithTraceLabel derives a context for calls and messages that carry a token of sequential tracing
// with this label: seq_trace:set_token(label, Label). The processes that get them have it, and pass
// it on with what they send because of it: seq_trace:get_token(label) in a BEAM, TraceLabelOf here.
// Nothing is traced because of such a token. nil: none is carried. It goes only to nodes that
// announce that they take any term as a label (dist.FlagBigSeqtraceLabels), as those of OTP 21 and
// later do. A label that cannot be encoded is none.
func WithTraceLabel(ctx context.Context, label ei.Term) context.Context {
	var t *trace
	if label != nil {
		if raw, err := ei.AppendTerm(nil, label); err == nil {
			t = &trace{label: raw}
		}
	}
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceLabelOf is the label of the token of sequential tracing that ctx carries: that of
// WithTraceLabel, or, in a Func or a Server's function, the one with which the message has come.
// What is called and sent with ctx, and the reply to the call, carries it on. nil: there is none.
func TraceLabelOf(ctx context.Context) ei.Term {
	if t := traceOf(ctx); t != nil {
		if label, err := t.label.Decode(); err == nil {
			return label
		}
	}
	return nil
}

// WithTraceOf derives a context for what is done because of a message: it carries the message's
// token of sequential tracing, if it has one. A function's context does so by itself; this is for
// Handlers, and for whoever receives from a Mailbox.
func (m *Message) WithTraceOf(ctx context.Context) context.Context { return m.trace().within(ctx) }

func traceOf(ctx context.Context) *trace {
	t, _ := ctx.Value(traceKey{}).(*trace)
	return t
}

func (t *trace) within(ctx context.Context) context.Context {
	if t == nil {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, t)
}

// The bounds for numbers in a token: a runtime system, which has made them, or gets them from here,
// does not look whether they are small ones.
const (
	mostTraceFlags  = 1<<6 - 1
	mostTraceSerial = 1 << 58
)

// trace is what the message has brought; nil: nothing, or nothing that can be passed on.
func (m *Message) trace() *trace {
	if len(m.Token) == 0 {
		return nil
	}
	c := ei.NewCursor(m.Token)
	if size, err := c.Tuple(); err != nil || size != 5 {
		return nil
	}
	var t trace
	var err error
	if t.flags, err = c.Int(); err != nil || t.flags < 0 || t.flags > mostTraceFlags {
		return nil
	}
	label, err := c.Raw()
	if err != nil || !otp.AcceptableEverywhere(label) { // else a third node would end its connection
		return nil
	}
	serial, err := c.Int()
	if err != nil || serial < 0 || serial > mostTraceSerial {
		return nil
	}
	t.label = bytes.Clone(label) // the message is released before
	t.previous.Store(serial)
	t.serial.Store(serial)
	return &t
}

// mark gives a control message the token, as of one more message from its sender.
func (t *trace) mark(ctl *dist.Control) {
	if t == nil || ctl.From.Node == "" {
		return
	}
	b := ei.AppendInt(ei.AppendTupleHeader(nil, 5), t.flags)
	b = ei.AppendInt(append(b, t.label...), t.serial.Add(1))
	b, err := ei.AppendTerm(b, ctl.From)
	if err == nil {
		ctl.Token = ei.AppendInt(b, t.previous.Load())
	}
}
