package nodes

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/seqtrace"
)

// A peer may write anything into a token: what a third node could refuse goes no further.
func TestTraceTokens(t *testing.T) {
	pid := ei.Pid{Node: "a@host", ID: 1, Creation: 4}
	impossible := ei.Pid{Node: "a@host", ID: 1 << 31, Creation: 4}
	token := func(elements ...ei.Term) ei.Raw {
		return encode(t, ei.Tuple(elements))
	}
	good := ei.List{ei.Tuple{ei.Binary("traceparent"), ei.Binary("x")}}
	for _, tt := range []struct {
		name  string
		token ei.Raw
		want  ei.Term
	}{
		{"list", token(ei.Int(0), good, ei.Int(7), pid, ei.Int(6)), good},
		{"pid", token(ei.Int(63), pid, ei.Int(0), pid, ei.Int(0)), pid},
		{"none", nil, nil},
		{"no tuple", ei.AppendInt(nil, 1), nil},
		{"short", token(ei.Int(0), good, ei.Int(7), pid), nil},
		{"impossible pid", token(ei.Int(0), ei.Tuple{impossible}, ei.Int(7), pid, ei.Int(6)), nil},
		{"flags", token(ei.Int(64), good, ei.Int(7), pid, ei.Int(6)), nil},
		{"negative flags", token(ei.Int(-1), good, ei.Int(7), pid, ei.Int(6)), nil},
		{"serial", token(ei.Int(0), good, ei.Int(1<<59), pid, ei.Int(6)), nil},
		{"negative serial", token(ei.Int(0), good, ei.Int(-1), pid, ei.Int(6)), nil},
		{"serial that is none", token(ei.Int(0), good, ei.Atom("x"), pid, ei.Int(6)), nil},
		{"cut", token(ei.Int(0), good, ei.Int(7), pid, ei.Int(6))[:12], nil},
	} {
		m := &Message{Control: dist.Control{Token: tt.token}}
		ctx := m.WithTraceOf(context.Background())
		require.Equal(t, tt.want, TraceLabelOf(ctx), tt.name)
		var ctl dist.Control
		ctl.From = pid
		seqtrace.Of(ctx).Mark(&ctl)
		require.Equal(t, tt.want != nil, ctl.Token != nil, tt.name)
	}
	ctl := dist.Control{From: pid}
	m := &Message{Control: dist.Control{Token: token(ei.Int(1), good, ei.Int(7), pid, ei.Int(6))}}
	m.trace().Mark(&ctl)
	require.Equal(t, token(ei.Int(1), good, ei.Int(8), pid, ei.Int(7)), ctl.Token, "the next number, and that of the message before")
	require.Nil(t, TraceLabelOf(WithTraceLabel(m.WithTraceOf(context.Background()), nil)))
}
