package interop

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// A token of sequential tracing goes from Erlang through functions and Servers of ours and back,
// and from a context of ours through Erlang's processes.
func traceLabel(t *testing.T, m *meeting) {
	label := ei.List{ei.Tuple{ei.Binary("traceparent"), ei.Binary("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")}}
	m.tell(t, "L", label)
	got := make(chan ei.Term, 1)
	m.n.Expose("go", "label", nodes.FuncOf(func(ctx context.Context) (ei.Term, error) { return orNone(nodes.TraceLabelOf(ctx)), nil }))
	_, err := m.n.Serve("labels", nodes.Server{
		On: map[string]nodes.Func{"label": nodes.FuncOf(func(ctx context.Context) ei.Term { return orNone(nodes.TraceLabelOf(ctx)) })},
		Cast: func(ctx context.Context, _ ei.Term) {
			got <- orNone(nodes.TraceLabelOf(ctx))
		},
	}, nil)
	require.NoError(t, err)

	// into our functions, and the caller still has it after the reply
	m.is(t, [][2]string{
		{`gen_server:call({labels, N}, label)`, "none"},
		{`seq_trace:set_token(label, L), L = gen_server:call({labels, N}, label), {label, L} = seq_trace:get_token(label),
			seq_trace:set_token([]), ok`, "ok"},
		{`seq_trace:set_token(label, 7), seq_trace:set_token(send, true), {_, _, 0, _, _} = seq_trace:get_token(),
			7 = gen_server:call({labels, N}, label), {_, 7, Serial, _, _} = seq_trace:get_token(), {send, true} = seq_trace:get_token(send),
			seq_trace:set_token([]), Serial > 0`, "true"},
		{`seq_trace:set_token(label, L), L = erpc:call(N, go, label, []), seq_trace:set_token([]), ok`, "ok"},
		{`seq_trace:set_token(label, L), L = rpc:call(N, go, label, []), seq_trace:set_token([]), ok`, "ok"},
		{`gen_server:call({labels, N}, label)`, "none"},
	})

	// out of ours, from process to process there, and back
	m.erl.Do(t, m.about(`Server = fun(F) -> spawn(fun() -> (fun Loop() -> receive
			{'$gen_call', From, Request} -> gen:reply(From, F(Request)), Loop() end end)() end) end,
		register(second, Server(fun(_) -> gen_server:call({labels, N}, label) end)),
		register(first, Server(fun(R) -> gen_server:call(second, R) end)),
		register(caster, spawn(fun() -> (fun Loop() -> receive _ -> gen_server:cast({labels, N}, x), Loop() end end)() end))`))
	ctx := nodes.WithTraceLabel(background(t), label)
	reply, err := m.n.CallName(ctx, m.erl.Name(), "first", ei.Atom("go"))
	require.NoError(t, err)
	require.Equal(t, label.String(), reply.String())
	reply, err = m.n.CallName(background(t), m.erl.Name(), "first", ei.Atom("go"))
	require.NoError(t, err)
	require.Equal(t, "none", reply.String())

	b := m.mailbox(t, "B", nil)
	require.NoError(t, b.SendName(ctx, m.erl.Name(), "caster", ei.Atom("go")))
	require.Equal(t, label.String(), (<-got).String())
	for _, call := range []func(context.Context, string, string, string, ...any) (ei.Term, error){m.n.ERPC, m.n.RPC} {
		reply, err = call(ctx, m.erl.Name(), "seq_trace", "get_token", ei.Atom("label"))
		require.NoError(t, err)
		require.Equal(t, ei.Tuple{ei.Atom("label"), label}.String(), reply.String())
	}

	// a mailbox, from where it goes on
	m.erl.Do(t, m.about(`seq_trace:set_token(label, L), B ! first, seq_trace:set_token([])`))
	message, err := b.Receive(background(t))
	require.NoError(t, err)
	require.NoError(t, b.SendName(message.WithTraceOf(background(t)), m.erl.Name(), "caster", ei.Atom("go")))
	require.Equal(t, label.String(), (<-got).String())
}

func orNone(label ei.Term) ei.Term {
	if label == nil {
		return ei.Atom("none")
	}
	return label
}
