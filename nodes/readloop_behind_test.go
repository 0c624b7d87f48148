package nodes

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// Bytes behind a term in its frame are ignored, as in Erlang (measured: OTP 25, 27, 29).
func TestBytesBehindATerm(t *testing.T) {
	n, p := newWorld(t, "memory").met("alice")
	exposeAll(n)
	serve(t, n, "server", Server{
		Call: func(_ context.Context, c *Call) (any, error) { return c.Request, nil },
		Info: func(ctx context.Context, b *Mailbox, m *Message) {
			if term, err := m.Term(); err == nil {
				_ = b.Send(ctx, p.Self, term)
			}
		},
	})
	ref := ei.Ref{Node: "wire@test", Creation: 77, Len: 3, ID: [5]uint32{9, 9, 9}}
	send := func(ctl dist.Control, payload ei.Term) {
		f := append(frame(t, ctl, payload), 131, 97, 1, 0)
		binary.BigEndian.PutUint32(f, uint32(len(f)-4))
		require.NoError(t, p.Write(f))
	}
	hello := ei.Tuple{ei.Atom("hello"), ei.Int(1)}
	for _, tt := range []struct {
		name           ei.Atom
		payload, reply ei.Term
	}{
		{"server", hello, hello},
		{"server", ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{p.Self, ref}, hello}, ei.Tuple{ref, hello}},
		{"rex", ei.Tuple{p.Self, ei.Tuple{ei.Atom("call"), ei.Atom("m"), ei.Atom("echo"), ei.List{hello}, ei.Atom("user")}},
			ei.Tuple{ei.Atom("rex"), ei.List{hello}}},
	} {
		send(dist.Control{Op: dist.OpRegSend, From: p.Self, ToName: tt.name}, tt.payload)
		_, reply := p.Next()
		require.Equal(t, tt.reply, reply)
	}

	send(dist.Control{Op: dist.OpMonitorP, From: p.Self, ToName: "nobody", Ref: ref}, nil)
	require.Equal(t, ei.Atom("noproc"), p.down(ref))
	options := encode(t, ei.List{ei.Atom("monitor")})
	send(dist.Control{Op: dist.OpSpawnRequest, Ref: ref, From: p.Self, GroupLeader: p.Self, Module: "erpc", Function: "execute_call",
		Options: options}, ei.List{ref, ei.Atom("m"), ei.Atom("echo"), ei.List{hello}})
	ctl, _ := p.Next()
	require.Equal(t, dist.OpSpawnReply, ctl.Op)
	require.Equal(t, ei.Tuple{ref, ei.Atom("return"), ei.List{hello}}, p.down(ref))

	// Signals with a reason.
	b := box(t, n)
	p.Send(dist.Control{Op: dist.OpLink, From: p.Self, To: b.Pid()}, nil)
	send(dist.Control{Op: dist.OpPayloadExit2, From: p.Self, To: b.Pid()}, hello)
	ctl, why := p.Next()
	require.Equal(t, dist.OpPayloadExit, ctl.Op)
	require.Equal(t, hello, why)
	b = trapping(t, n)
	received := func() ei.Term {
		m := receive(t, b)
		return decode(t, m.Reason)
	}
	p.Send(dist.Control{Op: dist.OpLink, From: p.Self, To: b.Pid()}, nil)
	send(dist.Control{Op: dist.OpPayloadExit, From: p.Self, To: b.Pid()}, hello)
	require.Equal(t, hello, received())
	monitor := monitor(t, b, p.Self)
	ctl, _ = p.Next()
	require.Equal(t, dist.OpMonitorP, ctl.Op)
	send(dist.Control{Op: dist.OpPayloadMonitorPExit, From: p.Self, To: b.Pid(), Ref: monitor}, hello)
	require.Equal(t, hello, received())

	// The reply to a call of ours.
	answered := async(func() (ei.Term, error) { return n.Call(soon(t), p.Self, hello) })
	ctl, _ = p.Next()
	require.Equal(t, dist.OpMonitorP, ctl.Op)
	send(dist.Control{Op: dist.OpSend, To: ctl.From}, ei.Tuple{ctl.Ref, hello})
	require.Equal(t, hello, arrives(t, answered, "the reply").must(t))
	require.NoError(t, n.Conn("wire@test").Err())
}
