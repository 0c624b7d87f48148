package nodes

import (
	"bytes"
	"context"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
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

	buf   []byte   // the frame
	whole []byte   // the payload, if it was made whole: see dist.Arrival
	pool  *buffers // where buf and whole come from; nil: they are used again for the next message
	conn  *Conn    // the connection that the message came over; nil: it is from this node
	by    *Conn    // that of the peer for whom a process here has passed the message on; nil: none has
	// how it has come, while there may be references to the peer's cache of atoms in its terms: see
	// Conn.resolve
	arrival *dist.Arrival
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
		return c.peer.Name
	}
	return ""
}

// takeReason makes the payload the reason, without what may follow its first term, if that is
// well-formed and has no references.
func (m *Message) takeReason(op dist.Op) {
	m.Op, m.Reason, m.Payload = op, m.Payload, nil
	if m.arrival != nil {
		return
	}
	if reason, err := firstTerm(m.Reason); err == nil {
		m.Reason = reason
	}
}

// firstTerm is the first encoded term of raw, without what may follow it; the error says what is
// wrong with the term.
func firstTerm(raw ei.Raw) (ei.Raw, error) {
	c := ei.NewCursor(raw)
	return c.Raw()
}

// Conn is the connection of the peer that the message is from: over which it has come or, if this
// node has sent it because a peer has asked for that (rpc:sbcast/3, say), the peer's; nil for a
// message from this node.
func (m *Message) Conn() *Conn { return m.asker().toOthers() }

// refs are what references in its terms stand for.
func (m *Message) refs() []ei.Atom {
	if m.arrival == nil {
		return nil
	}
	return m.arrival.Refs
}

// resolve puts atoms in the place of references, in terms of max bytes at most each in their whole
// form.
func (m *Message) resolve(max int) error {
	a := *m.arrival
	m.forgetArrival()
	isReason := len(a.Payload) > 0 && m.Payload == nil
	if isReason { // it is taken again
		m.Reason = nil
	}
	err := a.WholeFields(&m.Control, max)
	if err != nil || len(a.Payload) == 0 {
		return err
	}
	if err = m.takePayload(&a, max); err == nil && isReason {
		m.takeReason(m.Op)
	}
	return err
}

// forgetArrival lets go of the arrival, and so of the memory that it holds.
func (m *Message) forgetArrival() {
	if m.arrival != nil {
		*m.arrival, m.arrival = dist.Arrival{}, nil
	}
}

// takePayload takes the payload of an arrival, of max bytes at most in its whole form.
func (m *Message) takePayload(a *dist.Arrival, max int) error {
	m.Payload = a.Payload
	if len(a.Payload) > shortPayload {
		if has, err := a.HasRefs(); err != nil || !has {
			return err
		}
	}
	var b []byte
	var err error
	if a.Memory == nil {
		size := len(a.Payload) * 3 / 2
		for _, atom := range a.Refs {
			size += len(atom)
		}
		b = m.wholeBuffer(size)
	}
	m.Payload, err = a.Resolve(b, max)
	if cap(m.Payload) > cap(m.whole) {
		m.whole = m.Payload
	}
	return err
}

// shortPayload is the size, in bytes, of payloads that are copied in no more time than it takes to
// look whether they have references.
const shortPayload = 512

// wholeBuffer returns a buffer of n bytes, of any contents, for the payload.
func (m *Message) wholeBuffer(n int) []byte {
	if cap(m.whole) < n {
		m.whole = m.grow(n)
	}
	return m.whole[:n]
}

// grow returns a buffer for a frame of n bytes.
func (m *Message) grow(n int) []byte {
	if m.pool == nil {
		return make([]byte, n)
	}
	return m.pool.get(n)
}

// plain replaces the variants of an operation by the plain one. See erl_dist_protocol, "Control
// message".
func (m *Message) plain() {
	switch m.Op = m.Op.Base(); m.Op {
	case dist.OpSendSender:
		m.Op = dist.OpSend
	case dist.OpPayloadExit:
		m.takeReason(dist.OpExit)
	case dist.OpPayloadExit2:
		m.takeReason(dist.OpExit2)
	case dist.OpPayloadMonitorPExit:
		m.takeReason(dist.OpMonitorPExit)
	case dist.OpAltactSigSend:
		m.plainAltact()
	}
}

// plainAltact is plain for ALTACT_SIG_SEND. A combination of flags that has no meaning, or none
// that is known, stays what it is. Priority counts only where there is an alias.
func (m *Message) plainAltact() {
	kind := m.Flags &^ (dist.AltactPrio | dist.AltactToken)
	switch kind {
	case 0:
		m.Op = dist.OpSend
	case dist.AltactName:
		m.Op = dist.OpRegSend
	case dist.AltactAlias:
		m.Op = dist.OpAliasSend
	case dist.AltactExit, dist.AltactExit | dist.AltactAlias:
		m.takeReason(dist.OpExit2)
	default:
		return
	}
	if m.Flags &= dist.AltactPrio; kind&dist.AltactAlias == 0 {
		m.Flags = 0
	}
}

// toAlias tells whether the control message, of a plain operation, is for an alias: Ref.
func toAlias(ctl *dist.Control) bool {
	return ctl.Op == dist.OpAliasSend || ctl.Op == dist.OpExit2 && ctl.Ref.Len > 0
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
	return messageCost + max(terms, cap(m.buf)+cap(m.whole))
}

// The sizes of the buffers that a node keeps for messages of its upper level: powers of two, in
// bits.
const (
	minBuffer = 7  // 128 bytes
	maxBuffer = 22 // 4 MiB
)

// buffers keeps the memory of released messages, by size, so that a small message never holds a
// large buffer.
type buffers struct {
	messages sync.Pool                // *Message
	bytes    [maxBuffer + 1]sync.Pool // *[]byte
	empty    sync.Pool                // *[]byte, for those to be
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

func (p *buffers) put(b []byte) {
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

// Release gives the message's memory back to the node that received it. It is optional, but makes a
// receiver of many messages faster. Afterwards neither the message nor anything that aliases it
// (Payload, Reason and the like, a Raw or a Cursor made of them) may be used; decoded terms may.
func (m *Message) Release() {
	if m.pool == nil {
		return
	}
	m.forgetArrival()
	p := m.pool
	p.put(m.buf)
	p.put(m.whole)
	*m = Message{}
	p.messages.Put(m)
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

// traced is the control message with its token, if it has one that the peer takes.
func (c *Conn) traced(ctl *dist.Control) *dist.Control {
	if len(ctl.Token) == 0 || !c.peer.Flags.Has(dist.FlagBigSeqtraceLabels) {
		return ctl
	}
	with := *ctl
	if with.Op = ctl.Op.Traced(); with.Op == dist.OpAltactSigSend {
		with.Flags |= dist.AltactToken
	}
	return &with
}
