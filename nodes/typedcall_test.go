package nodes

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/transport"
)

// as makes the same reply to two typed calls, and says what becomes of it.
func as[R any](t *testing.T, ctx context.Context, caller Caller, to string, reply ei.Term) string {
	t.Helper()
	v, err := CallNameAs[R](ctx, caller, to, "echo", reply)
	r, rpcErr := RPCAs[R](ctx, caller, to, "m", "echo", reply)
	require.Equal(t, v, r)
	said := func(err error) string {
		var reason *ei.ReasonError
		var mismatch *ei.UnmarshalError
		switch {
		case err == nil:
			return fmt.Sprintf("%v", v)
		case errors.As(err, &reason):
			return "reason " + reason.Reason.String()
		case errors.As(err, &mismatch):
			return "mismatch " + mismatch.Got
		}
		return err.Error()
	}
	require.Equal(t, said(err), said(rpcErr))
	if err != nil {
		require.ErrorContains(t, err, "call echo at "+to+": ")
		require.ErrorContains(t, rpcErr, "call m:echo/1 at "+to+": ")
	}
	return said(err)
}

func TestCallAs(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		serve(t, there, "echo", Server{Call: func(_ context.Context, c *Call) (any, error) { return c.Request, nil }})
		there.Expose("m", "echo", FuncOf(func(v ei.Term) ei.Term { return v }))
		for _, tt := range []struct {
			as   func(*testing.T, context.Context, Caller, string, ei.Term) string
			want map[string]string // what becomes of a reply
		}{
			{as[item], map[string]string{
				`#{sku => <<"A1">>, price => 2}`:       `{A1 2}`,
				`{ok, #{sku => <<"A1">>, price => 2}}`: `{A1 2}`,
				`ok`:                                   `{ 0}`,
				`{error, not_found}`:                   `reason not_found`,
				`{error, {bad, 1}}`:                    `reason {bad,1}`,
				`error`:                                `reason error`,
				`[7]`:                                  `mismatch list [7]`,
				`{ok, 1}`:                              `mismatch integer 1`,
				`{ok, 1, 2}`:                           `mismatch tuple {ok,1,2}`,
				`{ok, #{sku => 1}}`:                    `mismatch integer 1`,
			}},
			{as[int], map[string]string{`7`: `7`, `{ok, 7}`: `7`, `ok`: `0`, `{error, 7}`: `reason 7`}},
			{as[*int], map[string]string{`nil`: `<nil>`, `{ok, undefined}`: `<nil>`, `ok`: `<nil>`}},
			{as[ei.Atom], map[string]string{`ok`: `ok`, `error`: `error`, `{ok, yes}`: `yes`, `{error, no}`: `reason no`}},
			{as[struct{}], map[string]string{`ok`: `{}`, `{error, no}`: `reason no`}},
			{as[ei.Term], map[string]string{`ok`: `ok`, `{ok, 1}`: `{ok,1}`, `{error, no}`: `{error,no}`}},
			{as[any], map[string]string{`{error, no}`: `{error,no}`}},
			{as[ei.Result[int]], map[string]string{`{ok, 1}`: `{1 <nil>}`, `{error, no}`: `{0 no}`}},
			{as[struct {
				_ struct{} `ei:"tuple=ok"`
				N int
			}], map[string]string{`{ok, 1}`: `{{} 1}`, `{error, no}`: `reason no`}},
		} {
			for reply, want := range tt.want {
				require.Equal(t, want, tt.as(t, w.ctx(), here, there.Name(), parse(t, reply)), reply)
				require.Equal(t, want, tt.as(t, w.ctx(), box(t, here), there.Name(), parse(t, reply)), reply)
			}
		}
	})
}

// What ends a call otherwise is an error of the type that says so.
func TestCallAsFailures(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		srv := serve(t, there, "srv", Server{On: map[string]Func{
			"exit": FuncOf(func(ctx context.Context) { MailboxOf(ctx).Exit(ei.Atom("crash")) }),
			"who":  FuncOf(func(ctx context.Context) ei.Pid { return CallOf(ctx).From }),
		}})
		raise := func(class string, v ei.Term) error { return &Raise{Class: Class(class), Reason: v} }
		there.Expose("m", "raise", FuncOf(raise))
		there.Expose("m", "again", FuncOf(func(ctx context.Context, class string, v ei.Term) (int, error) {
			return RPCAs[int](ctx, there, there.Name(), "m", "raise", class, v)
		}))
		for _, fun := range []string{"raise", "again"} { // an exception goes through
			for class, why := range map[Class]ei.Term{ClassError: ei.Atom("badarith"), ClassExit: ei.Tuple{ei.Atom("bad"), ei.Int(1)}} {
				_, err := RPCAs[int](w.ctx(), here, there.Name(), "m", fun, string(class), why)
				var r *Raise
				require.ErrorAs(t, err, &r)
				require.Equal(t, class, r.Class, err)
				require.Equal(t, why, r.Reason)
				require.ErrorAs(t, err, new(*RPCError))
			}
		}
		v := of(RPCAs[string](w.ctx(), here, there.Name(), "m", "raise", "throw", "thrown")).must(t)
		require.Equal(t, "thrown", v, "as with rpc:call")

		b := box(t, here)
		who := of(CallNameAs[ei.Pid](w.ctx(), b, there.Name(), "srv", ei.Atom("who"))).must(t)
		require.Equal(t, b.Pid(), who)
		who = of(CallAs[ei.Pid](w.ctx(), b, srv.Pid(), ei.Atom("who"))).must(t)
		require.Equal(t, b.Pid(), who)

		_, err := CallNameAs[int](w.ctx(), here, there.Name(), "srv", ei.Atom("exit"))
		require.Equal(t, ei.Atom("crash"), exitOf(t, err))
		arrives(t, srv.Done(), "the end")
		_, err = CallNameAs[int](w.ctx(), here, there.Name(), "srv", 1)
		require.ErrorIs(t, err, ErrNoProc)
		_, err = CallAs[int](w.ctx(), here, srv.Pid(), 1)
		require.ErrorIs(t, err, ErrNoProc)
		_, err = CallNameAs[int](w.ctx(), here, "nobody@test", "srv", 1)
		require.ErrorIs(t, err, ErrNoConnection)
		_, err = CallNameAs[int](w.ctx(), here, there.Name(), "srv", make(chan int))
		require.Error(t, err)
		var typeFault *ei.MappingError
		_, err = RPCAs[chan int](w.ctx(), here, there.Name(), "m", "raise", "throw", 1)
		require.ErrorAs(t, err, &typeFault)
	})
}

// What rpc:call says of a function's end, as the exception that it was.
func TestRPCErrorIsRaise(t *testing.T) {
	for text, want := range map[string]*Raise{
		`{'EXIT', {badarg, [{m, f, [1], []}, {m, g, 2, [{line, 7}]}]}}`: {Class: ClassError, Reason: ei.Atom("badarg")},
		`{'EXIT', {badarg, []}}`:       {Class: ClassError, Reason: ei.Atom("badarg")},
		`{'EXIT', {shutdown, [1]}}`:    {Class: ClassExit, Reason: parse(t, `{shutdown, [1]}`)},
		`{'EXIT', {shutdown, normal}}`: {Class: ClassExit, Reason: parse(t, `{shutdown, normal}`)},
		`{'EXIT', killed}`:             {Class: ClassExit, Reason: ei.Atom("killed")},
		`nodedown`:                     nil,
		`{'EXIT'}`:                     nil,
		`{exit, 1}`:                    nil,
	} {
		var r *Raise
		found := errors.As(error(&RPCError{parse(t, text)}), &r)
		require.Equal(t, want != nil, found, text)
		if found {
			require.Equal(t, want.Class, r.Class, text)
			require.Equal(t, want.Reason, r.Reason, text)
		}
	}
}

// Messages gives those that fit, and ends as Receive does.
func TestMessages(t *testing.T) {
	var log record
	w := newWorld(t, "memory")
	here := w.started("alice")
	there := w.started("bob", logsTo(&log))
	b := registered(t, there, "items", &MailboxOptions{TrapExit: true})
	from := box(t, here)
	require.NoError(t, from.Link(w.ctx(), b.Pid()))
	for _, v := range []any{item{"A1", 1}, ei.Atom("what"), 1, item{"B2", 2}, map[ei.Atom]any{"sku": 1}, item{"C3", 3}} {
		require.NoError(t, from.Send(w.ctx(), b.Pid(), v))
	}
	ctx, cancel := context.WithCancel(w.ctx())
	defer cancel()
	var got []item
	for v, err := range Messages[item](ctx, b) {
		require.NoError(t, err)
		if got = append(got, v); len(got) == 2 {
			break
		}
	}
	require.Equal(t, []item{{"A1", 1}, {"B2", 2}}, got)
	from.Exit(ei.Atom("crash")) // a signal
	for v, err := range Messages[item](ctx, b) {
		require.NoError(t, err)
		got = append(got, v)
		cancel()
	}
	require.Len(t, got, 3)
	require.Len(t, log.Lines("called with what it cannot take"), 1)

	// messages that do not fit do not keep it from ending
	full := box(t, there)
	for _, text := range []string{"what", "left"} {
		require.NoError(t, full.Send(w.ctx(), full.Pid(), ei.Atom(text)))
	}
	for v, err := range Messages[item](ctx, full) {
		require.Fail(t, "the context has ended", "%v %v", v, err)
	}
	require.Equal(t, ei.Raw("w\x04left"), receive(t, full).Payload)
	for _, err := range Messages[chan int](w.ctx(), full) {
		require.ErrorAs(t, err, new(*ei.MappingError))
	}

	b.Close()
	for _, err := range Messages[ei.Term](w.ctx(), b) {
		require.NoError(t, err)
	}
}

// A loop over messages ends without an error for the end of its context, of its node, and by Close;
// what goes wrong is an error.
func TestLoopsEnd(t *testing.T) {
	for how, c := range map[string]struct {
		end   func(b *Mailbox, cancel func())
		wrong ei.Atom
	}{
		"context":  {func(_ *Mailbox, cancel func()) { cancel() }, ""},
		"close":    {func(b *Mailbox, _ func()) { b.Close() }, ""},
		"node":     {func(b *Mailbox, _ func()) { b.n.Close() }, ""},
		"shutdown": {func(b *Mailbox, _ func()) { _ = b.n.Shutdown(context.Background()) }, ""},
		"moved":    {func(b *Mailbox, _ func()) { b.moveOut() }, ""},
		"killed":   {func(b *Mailbox, _ func()) { b.Exit(ei.Atom("killed")) }, "killed"},
		"stopped":  {func(b *Mailbox, _ func()) { b.Exit(ei.Atom("shutdown")) }, "shutdown"},
	} {
		for kind, loop := range loops {
			t.Run(kind+" "+how, func(t *testing.T) {
				w := newWorld(t, "memory")
				b := box(t, w.started("alice"))
				ctx, cancel := context.WithCancel(w.ctx())
				defer cancel()
				require.NoError(t, b.Send(ctx, b.Pid(), 1))
				took := make(chan struct{})
				over := async(func() (int, error) { return 0, loop(ctx, b, func(int) { close(took) }) })
				arrives(t, took, "the message")
				c.end(b, cancel)
				err := arrives(t, over, "the end of the loop").err
				if c.wrong == "" {
					require.NoError(t, err)
				} else {
					require.Equal(t, c.wrong, exitOf(t, err))
				}
			})
		}
	}
	b := box(t, newWorld(t, "memory").started("alice"))
	require.NoError(t, b.Send(context.Background(), b.Pid(), 1))
	n := 0
	for _, err := range b.All(transport.NoWait()) {
		require.NoError(t, err)
		n++
	}
	require.Equal(t, 1, n, "what was there")
}

// A mailbox calls functions in its own name, and as long as it lives.
func TestMailboxCallsFunctions(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		hangs := exposeHang(there)
		there.Expose("m", "who", func(ctx context.Context, args []ei.Term) (any, error) {
			return ei.T("caller", CallerOf(ctx), args[0]), nil
		})
		why := &Raise{Class: ClassError, Reason: ei.Atom("why")}
		there.Expose("m", "raise", func(context.Context, []ei.Term) (any, error) { return nil, why })
		type call func(ctx context.Context, node, mod, fun string, args ...any) (ei.Term, error)
		b := box(t, here)
		for name, calls := range map[string]call{"rpc": b.RPC, "erpc": b.ERPC} {
			got, err := calls(w.ctx(), there.Name(), "m", "who", 7)
			require.NoError(t, err, name)
			require.Equal(t, ei.Tuple{ei.Atom("caller"), b.Pid(), ei.Int(7)}, got, name)
			_, err = calls(w.ctx(), there.Name(), "m", "raise")
			var r *Raise
			require.ErrorAs(t, err, &r, name)
			require.Equal(t, why.Reason, r.Reason, name)
			_, err = calls(w.ctx(), "nobody@test", "m", "who", 7)
			require.ErrorIs(t, err, ErrNoConnection, name)
		}
		for name, calls := range map[string]func(*Mailbox) call{
			"rpc": func(b *Mailbox) call { return b.RPC }, "erpc": func(b *Mailbox) call { return b.ERPC },
		} {
			ends := box(t, here)
			called := async(func() (ei.Term, error) { return calls(ends)(w.ctx(), there.Name(), "m", "hang") })
			arrives(t, hangs, "the call")
			require.NoError(t, ends.Close(), name)
			got := <-called
			require.ErrorContains(t, got.err, ends.Err().Error(), name)
		}
	})
}
