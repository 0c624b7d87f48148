package nodes

import (
	"bytes"
	"context"
	"sync/atomic"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

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
