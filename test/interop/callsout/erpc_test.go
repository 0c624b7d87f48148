package callsout

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
)

// A call from Go has what erpc:call of another Erlang node has: the same result, or the same class
// and reason.
func classes(t *testing.T, erl *otp.Node, n *nodes.Node) {
	for _, tt := range []struct {
		fun    string
		args   string
		class  nodes.Class // of the *nodes.Raise; "": none
		signal bool
	}{
		{"echo", "[{a, [1.5], <<\"b\">>}]", "", false},
		{"raise", "[throw, {bad, 1}]", nodes.ClassThrow, false},
		{"raise", "[exit, {bad, 1}]", nodes.ClassExit, false},
		{"raise", "[exit, noconnection]", nodes.ClassExit, false},
		{"raise", "[error, {erpc, timeout}]", nodes.ClassError, false},
		{"raise", "[error, badarg]", nodes.ClassError, false},
		{"sum", "[a]", nodes.ClassError, false},
		{"echo", "[1, 2]", nodes.ClassError, false}, // undef
		{"killed", "[]", "", true},
	} {
		args, _ := ei.Elements(parse(t, tt.args))
		var list []any
		for _, a := range args {
			list = append(list, a)
		}
		v, err := n.ERPC(soon(t), erl.Name(), "calls", tt.fun, list...)
		got := ""
		if e := new(nodes.ERPCError); errors.As(err, &e) {
			got = ei.Tuple{ei.Atom(e.Class), e.Reason}.String()
		} else {
			require.NoError(t, err)
			got = ei.Tuple{ei.Atom("ok"), v}.String()
		}
		want := erl.Eval(t, fmt.Sprintf(`try {ok, erpc:call(node(), calls, %s, %s, 60000)} catch C:R -> {C, R} end`, tt.fun, tt.args))
		require.Equal(t, parse(t, want).String(), got, tt)
		raise := new(nodes.Raise)
		require.Equal(t, tt.class != "", errors.As(err, &raise), tt)
		if tt.class != "" {
			require.Equal(t, tt.class, raise.Class)
		}
		require.Equal(t, tt.signal, errors.As(err, new(*nodes.ExitError)))
		require.False(t, errors.Is(err, nodes.ErrNoConnection), tt)
	}
	_, err := n.ERPC(soon(t), erl.Name(), "calls", "sum", ei.Atom("a"))
	raise := new(nodes.Raise)
	require.ErrorAs(t, err, &raise)
	require.Equal(t, ei.Atom("badarith"), raise.Reason)
	frames, _ := ei.Elements(raise.Stack)
	require.Contains(t, fmt.Sprint(frames), "{calls,inner,1,", "the stack is the function's own")

	_, err = nodes.ERPCAs[int](soon(t), n, erl.Name(), "calls", "echo", slices.Repeat([]any{0}, 5000)...)
	refused := new(nodes.SpawnError)
	require.ErrorAs(t, err, &refused, "%v", err)
	require.Equal(t, ei.Atom("system_limit"), refused.Reason)
	quiet(t, n, 0)
}

// Who gives up leaves nothing behind on either side, and what comes late disturbs nobody.
func givenUp(t *testing.T, erl *otp.Node, n *nodes.Node) {
	box, err := n.NewMailbox(nil)
	require.NoError(t, err)
	for _, caller := range []nodes.Caller{n, box} {
		ctx, cancel := context.WithCancel(soon(t))
		failed := make(chan error, 1)
		go func() {
			_, err := nodes.ERPCAs[ei.Term](ctx, caller, erl.Name(), "calls", "wait", ei.Atom("late"), 1)
			failed <- err
		}()
		erl.Becomes(t, "is_pid(whereis(late))", "true")
		require.Equal(t, "1", erl.Eval(t, `{_, L} = process_info(whereis(late), monitored_by), length(L)`))
		cancel()
		require.ErrorIs(t, <-failed, context.Canceled)
		erl.Becomes(t, "process_info(whereis(late), monitored_by)", "{monitored_by,[]}")
		erl.Do(t, "P = whereis(late), R = monitor(process, P), P ! go, receive {'DOWN', R, _, _, _} -> ok end")
		v, err := nodes.ERPCAs[int](soon(t), caller, erl.Name(), "calls", "echo", 7)
		require.NoError(t, err)
		require.Equal(t, 7, v)
	}
	ctx, cancel := context.WithTimeout(soon(t), 20*time.Millisecond)
	defer cancel()
	_, err = n.ERPC(ctx, erl.Name(), "timer", "sleep", 200)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	quiet(t, n, 1)
}

// The node that is called dies: calls, requests and mailboxes that wait hear of it.
func killed(t *testing.T, erl *otp.Node, n *nodes.Node) {
	box, err := n.NewMailbox(nil)
	require.NoError(t, err)
	request, err := n.ERPCRequest(soon(t), erl.Name(), "calls", "wait", ei.Atom("one"), 1)
	require.NoError(t, err)
	failed := make(chan error, 2)
	go func() {
		_, err := nodes.ERPCAs[ei.Term](soon(t), box, erl.Name(), "calls", "wait", ei.Atom("two"), 1)
		failed <- err
	}()
	go func() {
		for _, answer := range n.Multicall(soon(t), []string{erl.Name()}, "calls", "wait", ei.Atom("three"), 1) {
			failed <- answer.Err
		}
	}()
	pid, ref, err := box.SpawnMonitor(soon(t), erl.Name(), "calls", "wait", ei.Atom("four"), 1)
	require.NoError(t, err)
	erl.Becomes(t, "lists:all(fun(N) -> is_pid(whereis(N)) end, [one, two, three, four])", "true")
	erl.Kill()
	_, err = request.Wait(soon(t))
	require.ErrorIs(t, err, nodes.ErrNoConnection)
	require.ErrorAs(t, err, new(*nodes.ERPCError))
	require.ErrorIs(t, <-failed, nodes.ErrNoConnection)
	require.ErrorIs(t, <-failed, nodes.ErrNoConnection)
	m, err := box.Receive(soon(t))
	require.NoError(t, err)
	require.Equal(t, ref, m.Ref)
	require.Equal(t, pid, m.From)
	_, err = n.ERPC(soon(t), erl.Name(), "calls", "echo", 1)
	require.ErrorIs(t, err, nodes.ErrNoConnection)
	quiet(t, n, 1)
}

// Nodes of all releases at once, a C node, and one that is not there.
func TestMulticall(t *testing.T) {
	port := otp.Epmd(t)
	n := started(t, port)
	want := map[string]string{}
	var names []string
	var erl []*otp.Node
	for i, r := range otp.Releases(t) {
		e := erlang(t, r, otp.Options{EpmdPort: port, Hidden: i == 1})
		want[e.Name()] = strconv.Itoa(r.Number)
		names, erl = append(names, e.Name()), append(erl, e)
	}
	cnode := exec.Command(filepath.Join(otp.Libei(t), "ei_echo"), "c@127.0.0.1", otp.DefaultCookie)
	cnode.Env = []string{"ERL_EPMD_PORT=" + strconv.Itoa(port)}
	c := otp.Serve(t, cnode)
	names = append(names, "nobody@127.0.0.1", c.Name)
	got := map[string]string{}
	for node, answer := range nodes.MulticallAs[string](soon(t), n, names, "erlang", "system_info", ei.Atom("otp_release")) {
		switch node {
		case "nobody@127.0.0.1":
			require.ErrorIs(t, answer.Err, nodes.ErrNoConnection)
		case c.Name:
			require.ErrorIs(t, answer.Err, errors.ErrUnsupported)
		default:
			require.NoError(t, answer.Err)
			got[node] = answer.Value
		}
	}
	require.Equal(t, want, got)

	// Leaving the loop gives the others up.
	go func() {
		for _, e := range erl {
			for text := ""; text != "true" && t.Context().Err() == nil; {
				text, _ = e.EvalContext(t.Context(), "is_pid(whereis(w))")
			}
		}
		_, _ = erl[1].EvalContext(t.Context(), "w ! go")
	}()
	for node, answer := range nodes.MulticallAs[string](soon(t), n, names[:len(erl)], "calls", "wait", ei.Atom("w"), "gone") {
		require.NoError(t, answer.Err)
		require.Equal(t, erl[1].Name(), node)
		require.Equal(t, "gone", answer.Value)
		break
	}
	for _, e := range slices.Delete(slices.Clone(erl), 1, 2) {
		e.Becomes(t, "process_info(whereis(w), monitored_by)", "{monitored_by,[]}")
	}
	quiet(t, n, 0)
}

// Requests are out before their answers are waited for; these come as the other node gives them.
func requests(t *testing.T, erl *otp.Node, n *nodes.Node) {
	var requests []*nodes.Request
	for i := range 3 {
		request, err := n.ERPCRequest(soon(t), erl.Name(), "calls", "wait", ei.Atom("r"+strconv.Itoa(i)), i)
		require.NoError(t, err)
		requests = append(requests, request)
	}
	erl.Becomes(t, "lists:all(fun(N) -> is_pid(whereis(N)) end, [r0, r1, r2])", "true")
	erl.Do(t, "r2 ! go")
	var order []int
	for request := range nodes.Answered(soon(t), requests...) {
		i, err := nodes.WaitAs[int](soon(t), request)
		if len(order) == 2 {
			require.ErrorAs(t, err, new(*nodes.Raise))
			require.Same(t, requests[1], request)
			break
		}
		require.NoError(t, err)
		order = append(order, i)
		erl.Do(t, []string{"r0 ! go", "r1 ! {exit, crash}"}[len(order)-1])
	}
	require.Equal(t, []int{2, 0}, order)

	erl.Do(t, "register(srv, spawn(calls, serve, []))")
	for i := range 3 {
		requests[i], _ = n.SendRequestName(soon(t), erl.Name(), "srv", i)
	}
	for i, request := range requests {
		v, err := nodes.WaitAs[int](soon(t), request)
		require.NoError(t, err)
		require.Equal(t, i, v)
	}
	quiet(t, n, 0)
}

// A cast runs, and nobody hears of it.
func cast(t *testing.T, erl *otp.Node, n *nodes.Node) {
	require.NoError(t, n.ERPCCast(soon(t), erl.Name(), "persistent_term", "put", ei.Atom("cast"), 1))
	erl.Becomes(t, "persistent_term:get(cast, none)", "1")
	require.NoError(t, n.Multicast(soon(t), []string{erl.Name()}, "persistent_term", "put", ei.Atom("cast"), 2))
	erl.Becomes(t, "persistent_term:get(cast, none)", "2")
	require.NoError(t, n.ERPCCast(soon(t), erl.Name(), "calls", "raise", ei.Atom("exit"), 1))
	quiet(t, n, 0)
}
