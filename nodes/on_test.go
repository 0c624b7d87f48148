package nodes

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// parse reads a term of Erlang.
func parse(t testing.TB, text string) ei.Term {
	t.Helper()
	v, err := ei.Parse(text)
	require.NoError(t, err, text)
	return v
}

type item struct {
	SKU   string
	Price float64
}

// An inventory is a Server's state, and its methods are the functions.
type inventory struct {
	items []item
	told  chan string
	later chan *Call
}

func (v *inventory) Add(ctx context.Context, i item, times int) (int, error) {
	switch {
	case times < 0:
		return 0, errors.New("less than nothing")
	case times == 0:
		return 0, &ei.ReasonError{Reason: ei.Tuple{ei.Atom("bad"), ei.Int(0)}}
	case times > 10:
		return 0, &Raise{Reason: ei.Atom("too_many")}
	}
	for range times {
		v.items = append(v.items, i)
	}
	if CallOf(ctx) == nil {
		v.told <- fmt.Sprintf("%d of %s", times, i.SKU)
	}
	return len(v.items), nil
}

func (v *inventory) Count() int { return len(v.items) }

func (v *inventory) Later(ctx context.Context) (any, error) {
	v.later <- CallOf(ctx)
	return NoReply, nil
}

func (v *inventory) Nothing() any { return nil }

func (v *inventory) Stop(ctx context.Context) { MailboxOf(ctx).Exit(ei.Atom("normal")) }

func TestServerOn(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		v := &inventory{told: make(chan string, 10), later: make(chan *Call, 1)}
		on := of(MethodsOf(v)).must(t)
		on["terms"] = func(_ context.Context, args []ei.Term) (any, error) { return args, nil }
		infos := make(chan ei.Term, 10)
		self := serve(t, there, "shop", Server{On: on, Info: func(_ context.Context, _ *Mailbox, m *Message) {
			v := content(t, m)
			infos <- v
		}})
		on["count"] = nil // the Server has its own

		for _, tt := range [][2]string{
			{`count`, `0`},
			{`{count}`, `0`},
			{`{add, #{sku => <<"A1">>, price => 2}, 3}`, `3`},
			{`{add, #{sku => <<"A1">>, price => 2}, -1}`, `{error,<<"less than nothing">>}`},
			{`{add, #{sku => <<"A1">>, price => 2}, 0}`, `{error,{bad,0}}`},
			{`{add, #{sku => <<"A1">>, price => 2}, 11}`, `{error,too_many}`},
			{`{add, #{sku => 1, price => 2}, 3}`, `{error,{badarg,<<"argument 1: ei: item.sku: integer 1 where `},
			{`{add, #{sku => <<"A1">>}, x}`, `{error,{badarg,<<"argument 2: ei: `},
			{`{terms, [1000, x], <<"y">>}`, `[[1000,x],<<"y">>]`},
			{`nothing`, `{error,<<"`},
		} {
			got := of(here.CallName(w.ctx(), there.Name(), "shop", parse(t, tt[0]))).must(t)
			require.True(t, strings.HasPrefix(got.String(), tt[1]), "%s: %s", tt[0], got)
		}

		called := async(func() (ei.Term, error) { return here.Call(w.ctx(), self.Pid(), ei.Atom("later")) })
		c := arrives(t, v.later, "the call")
		got, err := here.Call(w.ctx(), self.Pid(), ei.Atom("count"))
		require.NoError(t, err, "others go on meanwhile")
		require.Equal(t, ei.Int(3), got)
		there.Expose("m", "later", on["later"])
		_, err = here.RPC(w.ctx(), there.Name(), "m", "later")
		require.ErrorContains(t, err, "the result of m:later/0: NoReply is no term", "it is for calls of a Server")
		require.Nil(t, arrives(t, v.later, "the call of no Server"))
		require.NoError(t, c.Reply(w.ctx(), item{"B2", 1}))
		a := arrives(t, called, "the late reply").must(t)
		require.Equal(t, `#{price => 1.0,sku => <<"B2">>}`, a.String())

		// casts and other messages
		b := box(t, here)
		require.NoError(t, b.Cast(w.ctx(), self.Pid(), ei.T("add", item{"cast", 1}, 1)))
		require.Equal(t, "1 of cast", arrives(t, v.told, "the cast"))
		require.NoError(t, b.Send(w.ctx(), self.Pid(), ei.T("add", item{"info", 1}, 2)))
		require.Equal(t, "2 of info", arrives(t, v.told, "the message"))

		// what no function takes goes to Info, as it came
		for _, text := range []string{`other`, `{add}`, `{add,1}`, `{count,1}`, `{}`, `[]`, `7`, `{'$gen_cast',{add,1}}`,
			`{'$gen_cast',x}`, `#{}`} {
			require.NoError(t, b.Send(w.ctx(), self.Pid(), parse(t, text)))
			require.Equal(t, text, arrives(t, infos, text).String())
		}

		require.NoError(t, b.Send(w.ctx(), self.Pid(), ei.Atom("stop")))
		arrives(t, self.Done(), "the end")
	})
}

// A call that no function takes is answered, be there a Call, or an Info, or not; the function
// without a name comes before it.
func TestServerOnUnknown(t *testing.T) {
	w := newWorld(t, "memory")
	here, there := w.started("alice"), w.started("bob")
	on := func(more map[string]Func) map[string]Func {
		m := map[string]Func{"one": FuncOf(func(int) string { return "one" })}
		for name, fn := range more {
			m[name] = fn
		}
		return m
	}
	whole := map[string]Func{"": FuncOf(func(i item) string { return "whole " + i.SKU })}
	call := func(_ context.Context, c *Call) (any, error) { return ei.Tuple{ei.Atom("call"), c.Request}, nil }
	for name, s := range map[string]Server{
		"on": {On: on(nil)}, "whole": {On: on(whole)}, "call": {On: on(nil), Call: call}, "both": {On: on(whole), Call: call},
		"info": {On: on(nil), Info: func(context.Context, *Mailbox, *Message) {}},
	} {
		serve(t, there, name, s)
	}
	for _, tt := range [][3]string{
		{"on", `{one, 1}`, `<<"one">>`},
		{"on", `{one, 1, 2}`, `{error,{unknown_request,{one,1,2}}}`},
		{"on", `{two, [<<"x">>]}`, `{error,{unknown_request,{two,[<<"x">>]}}}`},
		{"on", `''`, `{error,{unknown_request,''}}`},
		{"on", `{'', 1}`, `{error,{unknown_request,{'',1}}}`},
		{"on", `{1, one}`, `{error,{unknown_request,{1,one}}}`},
		{"info", `{one, 1, 2}`, `{error,{unknown_request,{one,1,2}}}`},
		{"whole", `{one, 1}`, `<<"one">>`},
		{"whole", `#{sku => <<"A1">>}`, `<<"whole A1">>`},
		{"whole", `{one, 1, 2}`, `{error,{badarg,<<"argument 1: ei: item: tuple {one,1,2} where `},
		{"whole", `''`, `{error,{badarg,`},
		{"call", `one`, `{call,one}`},
		{"call", `{one, x}`, `{error,{badarg,`},
		{"both", `one`, `{error,{badarg,`},
	} {
		got := of(here.CallName(w.ctx(), there.Name(), tt[0], parse(t, tt[1]))).must(t)
		require.True(t, strings.HasPrefix(got.String(), tt[2]), "%s: %s: %s", tt[0], tt[1], got)
	}

	_, err := there.Serve("bad", Server{On: map[string]Func{"x": nil}}, nil)
	require.ErrorContains(t, err, `the function "x" is nil`)
	require.Nil(t, there.Whereis("bad"))
}

// What module sys asks for is not for a function of that name; what cannot be decoded is answered.
func TestServerOnOddMessages(t *testing.T) {
	n, p := newWorld(t, "memory").met("alice")
	self := serve(t, n, "srv", Server{On: map[string]Func{
		"system": FuncOf(func(a, b any) int { panic("not for it") }),
		"any":    FuncOf(func(any) int { return 1 }),
		"terms":  func(context.Context, []ei.Term) (any, error) { return 1, nil },
	}})
	ref := ei.Ref{Node: "wire@test", Creation: 77, Len: 3}
	ask := func(kind ei.Atom, request ei.Raw) ei.Term {
		payload := of(ei.Append(nil, ei.T(kind, ei.Tuple{p.Self, ref}, request))).must(t)
		p.Send(dist.Control{Op: dist.OpRegSend, From: p.Self, ToName: "srv"}, ei.Raw(payload))
		_, reply := p.Next()
		require.Equal(t, ref, reply.(ei.Tuple)[0])
		return reply.(ei.Tuple)[1]
	}
	encoded := func(v any) ei.Raw {
		return of(ei.Append(nil, v)).must(t)
	}
	twice := ei.Raw{116, 0, 0, 0, 2, 97, 1, 97, 1, 97, 1, 97, 2} // a map with equal keys
	require.Equal(t, ei.Int(1), ask("$gen_call", encoded(ei.T("any", 5))))
	for _, request := range []any{ei.T("any", twice), ei.T("terms", twice)} {
		reply := ask("$gen_call", encoded(request)).(ei.Tuple)
		require.Equal(t, ei.Atom("error"), reply[0])
		require.Equal(t, ei.Atom("badarg"), reply[1].(ei.Tuple)[0])
	}
	require.Equal(t, ei.Tuple{ei.Atom("error"), ei.Atom("badarg")}, ask("$gen_call", twice))
	require.Equal(t, "{error,{unknown_system_msg,get_state}}", ask("system", encoded(ei.Atom("get_state"))).String())
	require.Equal(t, ei.Atom("ok"), ask("system", encoded(ei.Tuple{ei.Atom("terminate"), ei.Atom("normal")})))
	arrives(t, self.Done(), "the end")
}

// A caller that gives wrong arguments hears of it, and the log does not. If nobody hears of it, as
// in a cast, or of an error, a peer gets one warning in the log, without a stack, however often it
// does so.
func TestWrongArgumentsInTheLog(t *testing.T) {
	var log record
	w := newWorld(t, "memory")
	there := w.started("bob", logsTo(&log))
	here := w.started("alice")
	there.Expose("m", "double", FuncOf(func(n int) int { return 2 * n }))
	serve(t, there, "srv", Server{On: map[string]Func{
		"double": FuncOf(func(n int) (int, error) { return 2 * n, errors.New("it went wrong") }),
	}})
	b := box(t, here)
	for range 10 {
		_, err := here.RPC(w.ctx(), there.Name(), "m", "double", ei.Atom("x"))
		require.ErrorContains(t, err,
			`{badrpc,{'EXIT',{badarg,[{m,double,[x],[]},{m,double,1,[{file,"argument 1: ei: atom x where an integer is due"},{line,0}]}]}}}`)
		_, err = here.RPC(w.ctx(), there.Name(), "m", "double")
		require.ErrorContains(t, err, `{badrpc,{'EXIT',{undef,[{m,double,[],[]},{m,double,0,[{file,"did you mean m:double/1?"},{line,0}]}]}}}`)
		_, err = here.RPC(w.ctx(), there.Name(), "m", "doubel", 1)
		require.ErrorContains(t, err, "did you mean m:double/1?")
		require.NoError(t, here.ERPCCast(w.ctx(), there.Name(), "m", "nothing", 1))
		v := of(here.CallName(w.ctx(), there.Name(), "srv", ei.T("double", "x"))).must(t)
		require.Equal(t, "{error,{badarg,<<\"argument 1: ei: binary <<\\\"x\\\">> where an integer is due\">>}}", v.String())
		for _, arg := range []any{1, ei.Atom("x")} {
			require.NoError(t, b.SendName(w.ctx(), there.Name(), "srv", ei.T("double", arg)))
			require.NoError(t, b.CastName(w.ctx(), there.Name(), "srv", ei.T("double", arg)))
		}
	}
	of(b.CallName(w.ctx(), there.Name(), "srv", ei.T("double", 1))).must(t) // comes last
	for _, line := range []string{
		`it cannot take" node=bob@test function=m:double/1 peer=alice@test error="argument 1: ei: atom x where an integer is due"`,
		`it cannot take" node=bob@test function=m:double/0 peer=alice@test error="0 arguments for 1 parameters; did you mean m:double/1?"`,
		`it cannot take" node=bob@test function="srv, double" peer=alice@test error="argument 1: ei: `,
		`nobody to hear of it" node=bob@test function="srv, double" peer=alice@test error="it went wrong"`,
	} {
		require.Eventually(t, func() bool { return len(log.Lines("level=WARN", line)) == 1 }, tooLong, tick, line)
	}
	require.Len(t, log.Lines("level=WARN"), 4)
	// who calls what is not there may look which functions there are
	for _, line := range []string{
		`m:doubel/1 peer=alice@test hint="did you mean m:double/1?"`, "m:nothing/1 peer=alice@test\n",
	} {
		require.Len(t, log.Lines("level=INFO", `msg="called what is not exposed" node=bob@test function=`+line), 1)
	}
	// the program's own faults are seen, too, without a peer
	for range 10 {
		require.NoError(t, there.Whereis("srv").SendName(w.ctx(), there.Name(), "srv", ei.T("double", "own")))
	}
	of(b.CallName(w.ctx(), there.Name(), "srv", ei.T("double", 1))).must(t)
	require.NotEmpty(t, log.Lines("level=WARN", "called with what it cannot take", "function=\"srv, double\"", "own"))
	require.Empty(t, log.Lines("level=ERROR"))
}
