package interop

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
	"github.com/stretchr/testify/require"
)

// The programs of docs/how-to/move-from-libei.md.

// The guide names every function, type and constant of the C library's header, whole, in each
// release: somebody who ports a program searches for them.
func TestFromLibeiNamesAll(t *testing.T) {
	otp.Libei(t)
	headers, err := filepath.Glob("/usr/lib/erlang/lib/erl_interface-*/include/ei.h")
	require.NoError(t, err)
	require.NotEmpty(t, headers)
	for _, r := range otp.Releases(t) {
		more, err := filepath.Glob(r.Command("../root/usr/lib/erlang/lib/erl_interface-*/include/ei.h"))
		require.NoError(t, err)
		headers = append(headers, more...)
	}
	guide, err := os.ReadFile("../../docs/reference/libei.md")
	require.NoError(t, err)
	named := map[string]bool{}
	for _, name := range regexp.MustCompile(`\w+`).FindAllString(string(guide), -1) {
		named[name] = true
	}
	names := regexp.MustCompile(`\b(?:ei_\w+|erl_\w+|erlang_\w+|(?:EI|ERL|ERLANG)_\w+|MAX\w*LEN\w*|NEW_FLOAT_EXT|Erl[A-Z]\w+|free_fun)\b`)
	for _, path := range headers {
		header, err := os.ReadFile(path)
		require.NoError(t, err)
		header = regexp.MustCompile(`(?s)/\*.*?\*/`).ReplaceAll(header, nil)
		found := names.FindAllString(string(header), -1)
		require.Greater(t, len(found), 240)
		for _, name := range found {
			require.True(t, named[name], "%s of %s", name, path)
		}
	}
}

// complexServer is the server of OTP's tutorial, "C Nodes".
func complexServer(ctx context.Context, n *nodes.Node, addr transport.Addr) error {
	l, err := n.Listen(ctx, addr) // ei_listen
	if err == nil {
		err = n.Publish(ctx, l) // ei_publish
	}
	for err == nil {
		var c *nodes.Conn
		// ei_accept; a handshake that fails is none of its errors
		if c, err = l.Accept(ctx); err == nil {
			go serveComplex(ctx, c)
		}
	}
	return err
}

// serveComplex answers {call, Pid, {foo, X}} with {cnode, X + 1}, and {call, Pid, {bar, X}} with
// {cnode, X * 2}.
func serveComplex(ctx context.Context, c *nodes.Conn) {
	defer c.Close()
	for {
		m, err := c.Receive(ctx) // ei_xreceive_msg; ticks do not come up
		if errors.Is(err, dist.ErrUnknownOp) {
			continue
		} else if err != nil {
			return // the end of the connection: c.Err() says why
		}
		if m.Op != dist.OpRegSend {
			continue
		}
		cur := ei.NewCursor(m.Payload) // no version byte
		if arity, err := cur.Tuple(); err != nil || arity != 3 || !cur.AtomIs("call") {
			continue
		}
		from, err1 := cur.Pid()
		arity, err2 := cur.Tuple()
		fun, err3 := cur.Atom()
		x, err4 := cur.Int()
		if errors.Join(err1, err2, err3, err4) != nil || arity != 2 {
			continue
		}
		if fun == "foo" {
			x++
		} else {
			x *= 2
		}
		if err := c.Send(ctx, from, ei.Tuple{ei.Atom("cnode"), ei.Int(x)}); err != nil { // ei_send
			return
		}
	}
}

// complexClient is the client: it sends to the name complex of an Erlang node, and waits for the
// answer.
func complexClient(ctx context.Context, n *nodes.Node, peer string, x int64, wait time.Duration) (ei.Term, error) {
	c, err := n.Connect(ctx, peer) // ei_connect
	if err != nil {
		return nil, err
	}
	defer c.Close()
	call := ei.Tuple{ei.Atom("call"), c.Self(), ei.Tuple{ei.Atom("foo"), ei.Int(x)}}
	if err := c.SendName(ctx, "complex", call); err != nil { // ei_reg_send
		return nil, err
	}
	short, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	// ei_xreceive_msg_tmo; context.DeadlineExceeded: nothing came; the connection is as before
	m, err := c.Receive(short)
	if err != nil {
		return nil, err
	}
	answer, err := m.Term()
	// ei_close_connection, once all that was sent has arrived
	return answer, errors.Join(err, c.Shutdown(ctx))
}

// fetchStdout is ei_xrpc_to with EI_RPC_FETCH_STDOUT, and ei_rpc_from until the result comes.
func fetchStdout(ctx context.Context, c *nodes.Conn, out io.Writer, mod, fun string, args ...ei.Term) (ei.Term, error) {
	request := ei.Tuple{ei.Atom("call"), ei.Atom(mod), ei.Atom(fun), ei.List(args), ei.Atom("send_stdout_to_caller")}
	if err := c.SendName(ctx, "rex", ei.Tuple{c.Self(), request}); err != nil {
		return nil, err
	}
	for {
		m, err := c.Receive(ctx)
		if err != nil {
			return nil, err
		}
		term, err := m.Term()
		t, ok := term.(ei.Tuple)
		if err != nil || !ok || len(t) != 2 {
			continue // not for us
		}
		switch text, _ := t[1].(ei.Binary); t[0] {
		case ei.Atom("rex_stdout"):
			if _, err := out.Write(text); err != nil {
				return nil, err
			}
		case ei.Atom("rex"):
			return t[1], nil
		}
	}
}

// watch links to a process and monitors it, by hand; Receive then gives an OpExit and an
// OpMonitorPExit when the process ends.
func watch(ctx context.Context, c *nodes.Conn, pid ei.Pid) (ei.Ref, error) {
	ref, err := c.Node().NewRef()
	if err == nil {
		err = c.SendControl(ctx, &dist.Control{Op: dist.OpLink, From: c.Self(), To: pid}, nil)
	}
	if err == nil {
		err = c.SendControl(ctx, &dist.Control{Op: dist.OpMonitorP, From: c.Self(), To: pid, Ref: ref}, nil)
	}
	return ref, err
}

// sendExit is ei_send_exit, with any term.
func sendExit(ctx context.Context, c *nodes.Conn, pid ei.Pid, reason any) error {
	raw, err := ei.Append(nil, reason)
	if err != nil {
		return err
	}
	return c.SendControl(ctx, &dist.Control{Op: dist.OpExit, From: c.Self(), To: pid, Reason: raw}, nil)
}

// sendOn sends a message with the trace token of another one, as the C library does by itself.
func sendOn(ctx context.Context, c *nodes.Conn, to ei.Pid, term any, m *nodes.Message) error {
	if m.Token == nil {
		return c.Send(ctx, to, term)
	}
	raw, err := ei.Append(nil, term)
	if err != nil {
		return err
	}
	return c.SendControl(ctx, &dist.Control{Op: dist.OpSend.Traced(), To: to, Token: m.Token}, raw)
}

func fromLibeiServer(t *testing.T, m *meeting) {
	erl, port := m.erl, m.erl.EpmdPort()
	cfg := config(port)
	cfg.Flags = dist.FlagsLibei
	n := newNode(t, cfg)
	m.n = n
	ctx, cancel := context.WithCancel(background(t))
	ended := make(chan error)
	go func() { ended <- complexServer(ctx, n, parseAddr(t, "127.0.0.1:0")) }()
	erl.Do(t, `(fun F() -> case net_kernel:connect_node('`+n.Name()+`') of true -> ok; _ -> timer:sleep(10), F() end end)()`)
	m.is(t, [][2]string{
		{`{any, N} ! {call, self(), {foo, 5}}, receive {cnode, X} -> X after 20000 -> none end`, `6`},
		{`{any, N} ! what, {any, N} ! {call, self(), {bar, 5}}, receive {cnode, X} -> X after 20000 -> none end`, `10`},
		// What it does not announce is not asked of it.
		{`rpc:call(N, erlang, node, [], 20000)`, `{badrpc,notsup}`},
	})
	cancel()
	require.ErrorIs(t, await(t, ended), context.Canceled)
}

func fromLibeiClient(t *testing.T, m *meeting) {
	erl, port := m.erl, m.erl.EpmdPort()
	ctx := background(t)
	n := newNode(t, config(port))
	_, err := complexClient(ctx, n, erl.Name(), 41, 50*time.Millisecond)
	require.ErrorIs(t, err, context.DeadlineExceeded, "nobody is called complex")
	erl.Do(t, `register(complex, spawn(fun F() -> receive {call, P, {foo, X}} -> P ! {cnode, X + 1} end, F() end))`)
	answer, err := complexClient(ctx, newNode(t, config(port)), erl.Name(), 41, limit)
	require.NoError(t, err)
	require.Equal(t, "{cnode,42}", answer.String())
}

// next takes the next message of the lower level.
func next(t testing.TB, c *nodes.Conn) *nodes.Message {
	t.Helper()
	m, err := c.Receive(background(t))
	require.NoError(t, err)
	return m
}

func fromLibeiByHand(t *testing.T, m *meeting) {
	erl, n, ctx := m.erl, newNode(t, config(m.erl.EpmdPort())), background(t)
	m.n = n
	c, err := n.Connect(ctx, erl.Name())
	require.NoError(t, err)

	var out bytes.Buffer
	result, err := fetchStdout(ctx, c, &out, "io", "put_chars", ei.Binary("hello"))
	require.NoError(t, err)
	require.Equal(t, "ok hello", result.String()+" "+out.String())

	m.tell(t, "C", c.Self())
	pid := m.pid(t, `spawn(fun() -> receive stop -> exit(bye) end end)`)
	ref, err := watch(ctx, c, pid)
	require.NoError(t, err)
	require.NoError(t, c.Send(ctx, pid, ei.Atom("stop")))
	for range 2 {
		switch got := next(t, c); got.Op {
		case dist.OpExit:
			require.Equal(t, pid, got.From)
			require.Equal(t, "bye", got.Reason.String())
		case dist.OpMonitorPExit:
			require.Equal(t, ref, got.Ref)
			require.Equal(t, "bye", got.Reason.String())
		default:
			t.Fatal(got.Op)
		}
	}

	pid = m.pid(t, `spawn(fun() -> process_flag(trap_exit, true), link(C), C ! linked, receive M -> C ! M end end)`)
	for got := next(t, c); got.Op != dist.OpSend; got = next(t, c) {
		require.Equal(t, dist.OpLink, got.Op)
	}
	require.NoError(t, sendExit(ctx, c, pid, ei.Tuple{ei.Atom("over"), ei.Int(7)}))
	exit, err := next(t, c).Term()
	require.NoError(t, err)
	require.Equal(t, ei.Tuple{ei.Atom("EXIT"), c.Self(), ei.Tuple{ei.Atom("over"), ei.Int(7)}}, exit)

	pid = m.pid(t, `spawn(fun() -> seq_trace:set_token(label, 17), C ! traced, seq_trace:set_token([]),
		receive _ -> C ! seq_trace:get_token() end end)`)
	traced := next(t, c)
	require.NoError(t, sendOn(ctx, c, pid, ei.Atom("back"), traced))
	token, err := next(t, c).Term()
	require.NoError(t, err)
	require.Equal(t, ei.Int(17), token.(ei.Tuple)[1])

	// A pid is one of the node, not of the connection that made it: an answer by another node
	// comes where that one is connected.
	other := start(t, erl.Release(), otp.Options{EpmdPort: erl.EpmdPort()})
	second, err := n.Connect(ctx, other.Name())
	require.NoError(t, err)
	mine, err := n.NewPid()
	require.NoError(t, err)
	for _, pid := range []ei.Pid{mine, c.Self()} {
		_, err = second.RPC(ctx, "erlang", "send", pid, ei.Atom("hello"))
		require.NoError(t, err)
		require.Equal(t, pid, next(t, second).To)
	}
}

// ei_global_register and its kin, with a process of the C library's kind, which has signals to
// read, and with a mailbox.
func fromLibeiGlobal(t *testing.T, m *meeting) {
	erl, upper, ctx := m.erl, m.n, background(t)
	c, err := newNode(t, config(erl.EpmdPort())).Connect(ctx, erl.Name())
	require.NoError(t, err)
	b, err := upper.NewMailbox(nil)
	require.NoError(t, err)
	for _, who := range []struct {
		pid  ei.Pid
		call func(fun string, args ...any) (ei.Term, error)
	}{
		{c.Self(), func(fun string, args ...any) (ei.Term, error) { return c.RPC(ctx, "global", fun, args...) }},
		{b.Pid(), func(fun string, args ...any) (ei.Term, error) {
			return upper.RPC(ctx, erl.Name(), "global", fun, args...)
		}},
	} {
		is := func(want ei.Term, fun string, args ...any) {
			t.Helper()
			got, err := who.call(fun, args...)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		is(ei.Atom("yes"), "register_name_external", ei.Atom("name"), who.pid)
		is(ei.List{ei.Atom("name")}, "registered_names")
		is(who.pid, "whereis_name", ei.Atom("name"))
		is(ei.Atom("ok"), "unregister_name_external", ei.Atom("name"))
		is(ei.Atom("undefined"), "whereis_name", ei.Atom("name"))
	}
	require.Contains(t, []dist.Op{dist.OpLink, dist.OpMonitorP}, next(t, c).Op, "global watches the process")
	_, err = upper.RPC(ctx, erl.Name(), "global", "register_name_external", ei.Atom("name"), b.Pid())
	require.NoError(t, err)
	require.NoError(t, b.Close())
	require.Equal(t, "undefined", erl.Eval(t, `(fun F() -> case global:whereis_name(name) of undefined -> undefined;
		_ -> timer:sleep(10), F() end end)()`))
}
