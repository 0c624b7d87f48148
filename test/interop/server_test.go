package interop

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/stretchr/testify/require"
)

// goServer is a server that counts, answers late, from another goroutine or not at all, fails, and
// ends.
func goServer(n *nodes.Node) nodes.Server {
	total, late := int64(0), (*nodes.Call)(nil)
	return nodes.Server{
		Call: func(ctx context.Context, c *nodes.Call) (any, error) {
			switch request := c.Request.(type) {
			case ei.Int:
				total += int64(request)
				return total, nil
			case ei.Atom:
				switch request {
				case "wait":
					late = c
					return nodes.NoReply, nil
				case "release":
					err := late.Reply(ctx, ei.Atom("released"))
					return errors.Is(err, nodes.ErrReplied), nil
				case "elsewhere":
					go func() { _ = c.Reply(ctx, ei.Atom("from_elsewhere")) }()
					return nodes.NoReply, nil
				case "fail":
					return nil, errors.New("no luck")
				case "raise":
					return nil, &nodes.Raise{Class: nodes.ClassError, Reason: ei.Tuple{ei.Atom("bad"), ei.Int(1)}}
				case "panic":
					panic("oh dear")
				case "peer":
					return ei.Atom(nodes.ConnOf(ctx).Name()), nil
				}
			}
			return c.Request, nil
		},
		Cast: func(_ context.Context, request ei.Term) { total += int64(request.(ei.Int)) },
		Info: func(ctx context.Context, self *nodes.Mailbox, m *nodes.Message) {
			if t, err := m.Term(); err == nil {
				if from, ok := t.(ei.Tuple); ok && len(from) == 2 {
					answer := ei.Tuple{ei.Atom("counter"), ei.Atom(n.Name()), from[1]}
					switch to := from[0].(type) {
					case ei.Pid:
						_ = self.Send(ctx, to, answer)
					case ei.Ref:
						_ = self.SendAlias(ctx, to, answer)
					}
				}
			}
		},
	}
}

// Erlang calls, casts and sends to a server of ours as to its own.
func callServer(t *testing.T, m *meeting) {
	server, err := m.n.Serve("counter", goServer(m.n), nil)
	require.NoError(t, err)
	_, err = m.n.Serve("stopped", goServer(m.n), nil)
	require.NoError(t, err)
	m.tell(t, "S", server.Pid())
	m.is(t, [][2]string{
		{`gen_server:call({counter, N}, 5, infinity)`, `5`},
		{`gen_server:call(S, 1, infinity)`, `6`},
		{`gen_server:cast({counter, N}, 10), gen_server:cast(S, 20), gen_server:call(S, 0, infinity)`, `36`},
		{`gen_server:abcast([N], counter, 4), gen_server:call(S, 0, infinity)`, `40`},
		{`gen_server:multi_call([N, node()], counter, 1, 20000) =:= {[{N, 41}], [node()]}`, `true`},
		{`gen_server:call(S, elsewhere, infinity)`, `from_elsewhere`},
		{`gen_server:call(S, fail, infinity)`, `{error,<<"no luck">>}`},
		{`gen_server:call(S, raise, infinity)`, `{error,{bad,1}}`},
		{`gen_server:call(S, peer, infinity) =:= node()`, `true`},
		{`gen_statem:call(S, {some, "thing"})`, `{some,"thing"}`},
		{`R = gen_server:send_request(S, {x}), gen_server:receive_response(R, 20000)`, `{reply,{x}}`},
		{`S ! {self(), hello}, receive {counter, N, hello} -> ok after 20000 -> none end`, `ok`},
		{`A = alias(), S ! {A, hello}, receive {counter, N, hello} -> unalias(A) after 20000 -> none end`, `true`},

		// A reply that comes too late is dropped: the alias does not exist any more.
		{`try gen_server:call(S, wait, 20) catch exit:{Why, {gen_server, call, [S, wait, 20]}} -> Why end`, `timeout`},
		{`gen_server:call(S, release, infinity), gen_server:call(S, release, infinity)`, `true`},
		{`receive X -> X after 0 -> nothing end`, `nothing`},

		// The old ways of package rpc.
		{`rpc:sbcast([N, node()], counter, x) =:= {[N], [node()]}`, `true`},
		{`rpc:sbcast([N], nobody, x) =:= {[], [N]}`, `true`},
		{`rpc:multi_server_call([N], counter, {question})`, `{[{question}],[]}`},
		{`rpc:multi_server_call([N], nobody, x) =:= {[], [N]}`, `true`},
		{`rpc:server_call(N, counter, counter, {question})`, `{question}`},

		// What module sys says.
		{`try sys:get_state({counter, N}, 20000) catch error:Why -> Why end`, `{unknown_system_msg,get_state}`},
		{`gen_server:stop({stopped, N})`, `ok`},
		{`try gen_server:call({stopped, N}, 1) catch exit:{Why, _} -> Why end`, `noproc`},

		// Its end is that of a process.
		{`try gen_server:call(S, panic) catch exit:{Why, {gen_server, call, [S, panic]}} -> Why end`, `{go_panic,<<"oh dear">>}`},
		{`try gen_server:call(S, 1) catch exit:{Why, {gen_server, call, [S, 1]}} -> Why end`, `noproc`},
		{`try gen_server:call({counter, N}, 1) catch exit:{Why, _} -> Why end`, `noproc`},
	})
	require.ErrorContains(t, server.Err(), "oh dear")
}

// A process of a third node passes on a call of Erlang's.
func forwardedCall(t *testing.T, m *meeting) {
	third := startNode(t, config(m.erl.EpmdPort()))
	_, err := m.n.Serve("counter", goServer(m.n), nil)
	require.NoError(t, err)
	_, err = third.Handle("proxy", func(b *nodes.Mailbox, msg *nodes.Message) {
		payload := ei.Raw(bytes.Clone(msg.Payload))
		go func() { _ = b.SendName(context.Background(), m.n.Name(), "counter", payload) }()
	}, nil)
	require.NoError(t, err)
	m.tell(t, "T", ei.Atom(third.Name()))
	m.is(t, [][2]string{{`gen_server:call({proxy, T}, 1, infinity)`, `1`}})
}

// A node that shuts down finishes the calls that it has, and takes no more.
func shutDown(t *testing.T, m *meeting) {
	begun, finish := make(chan struct{}), make(chan struct{})
	m.n.Expose("gofun", "slow", func(context.Context, []ei.Term) (any, error) {
		close(begun)
		<-finish
		return "finished", nil
	})
	b := m.mailbox(t, "B", nil)
	answer := m.erl.Async(t, m.about(`erpc:call(N, gofun, slow, [])`))
	await(t, begun)
	m.eval(t, `monitor(process, B), monitor_node(N, true), net_adm:ping(N)`)
	ended := make(chan error)
	go func() { ended <- m.n.Shutdown(background(t)) }()
	m.is(t, [][2]string{{`(fun F() -> case erl_epmd:port_please(hd(string:split(atom_to_list(N), "@")), {127,0,0,1}) of
		noport -> unpublished; _ -> timer:sleep(1), F() end end)()`, `unpublished`}})
	require.NoError(t, b.Err())
	close(finish)
	require.Equal(t, `<<"finished">>`, answer())
	require.NoError(t, await(t, ended))
	m.is(t, [][2]string{{`[receive {'DOWN', _, process, B, Why} -> Why after 20000 -> none end,
		receive {nodedown, N} -> down after 20000 -> none end]`,
		`[shutdown,down]`}})
}
