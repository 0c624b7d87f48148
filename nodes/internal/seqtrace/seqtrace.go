// Package seqtrace has the tokens of sequential tracing that go along with messages: module
// seq_trace of Erlang.
package seqtrace

import (
	"bytes"
	"context"
	"sync/atomic"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// A Trace is a token as one process has it: {Flags, Label, Serial, From, Previous}, as the
// distribution protocol knows it. It goes along with messages that are sent because of the one that
// brought it. nil is none.
type Trace struct {
	flags int64
	label ei.Raw
	previous,
	serial atomic.Int64 // of the message that brought it; of what was sent last
}

// Key is the key of a Trace in a context.
type Key struct{}

// Of is what a context carries.
func Of(ctx context.Context) *Trace {
	t, _ := ctx.Value(Key{}).(*Trace)
	return t
}

// Within is ctx with the Trace, or ctx if there is none.
func (t *Trace) Within(ctx context.Context) context.Context {
	if t == nil {
		return ctx
	}
	return context.WithValue(ctx, Key{}, t)
}

// WithLabel is ctx with a token of that label; with none if the label is nil, or cannot be encoded.
func WithLabel(ctx context.Context, label ei.Term) context.Context {
	var t *Trace
	if label != nil {
		if raw, err := ei.AppendTerm(nil, label); err == nil {
			t = &Trace{label: raw}
		}
	}
	return context.WithValue(ctx, Key{}, t)
}

// Label is the token's label; nil: there is none.
func (t *Trace) Label() ei.Term {
	if t != nil {
		if label, err := t.label.Decode(); err == nil {
			return label
		}
	}
	return nil
}

// The bounds for numbers in a token: a runtime system, which has made them, or gets them from here,
// does not look whether they are small ones.
const (
	mostFlags  = 1<<6 - 1
	mostSerial = 1 << 58
)

// Read is what a message has brought; nil: nothing, or nothing that can be passed on.
func Read(token ei.Raw) *Trace {
	if len(token) == 0 {
		return nil
	}
	c := ei.NewCursor(token)
	if size, err := c.Tuple(); err != nil || size != 5 {
		return nil
	}
	var t Trace
	var err error
	if t.flags, err = c.Int(); err != nil || t.flags < 0 || t.flags > mostFlags {
		return nil
	}
	label, err := c.Raw()
	if err != nil || !otp.AcceptableEverywhere(label) { // else a third node would end its connection
		return nil
	}
	serial, err := c.Int()
	if err != nil || serial < 0 || serial > mostSerial {
		return nil
	}
	t.label = bytes.Clone(label) // the message is released before
	t.previous.Store(serial)
	t.serial.Store(serial)
	return &t
}

// Mark gives a control message the token, as of one more message from its sender.
func (t *Trace) Mark(ctl *dist.Control) {
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
