package nodes

import (
	"context"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/seqtrace"
)

// WithTraceLabel derives a context for calls and messages that carry a token of sequential tracing
// with this label: seq_trace:set_token(label, Label). The processes that get them have it, and pass
// it on with what they send because of it: seq_trace:get_token(label) in a BEAM, TraceLabelOf here.
// Nothing is traced because of such a token. nil: none is carried. It goes only to nodes that
// announce that they take any term as a label (dist.FlagBigSeqtraceLabels), as those of OTP 21 and
// later do. A label that cannot be encoded is none.
func WithTraceLabel(ctx context.Context, label ei.Term) context.Context {
	return seqtrace.WithLabel(ctx, label)
}

// TraceLabelOf is the label of the token of sequential tracing that ctx carries: that of
// WithTraceLabel, or, in a Func or a Server's function, the one with which the message has come.
// What is called and sent with ctx, and the reply to the call, carries it on. nil: there is none.
func TraceLabelOf(ctx context.Context) ei.Term { return seqtrace.Of(ctx).Label() }

// WithTraceOf derives a context for what is done because of a message: it carries the message's
// token of sequential tracing, if it has one. A function's context does so by itself; this is for
// Handlers, and for whoever receives from a Mailbox.
func (m *Message) WithTraceOf(ctx context.Context) context.Context { return m.trace().Within(ctx) }

// trace is what the message has brought; nil: nothing, or nothing that can be passed on.
func (m *Message) trace() *seqtrace.Trace { return seqtrace.Read(m.Token) }
