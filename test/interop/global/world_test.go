package global

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/global"
)

// limit is for what takes milliseconds, or some seconds of OTP's pauses, unless something is
// broken: long enough for a machine that has much else to do.
const limit = 2 * time.Minute

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until f is true; what says what was waited for, and how it stands.
func eventually(t testing.TB, f func() bool, what ...func() string) {
	t.Helper()
	for begun := time.Now(); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > limit {
			for _, w := range what {
				t.Log(w())
			}
			require.FailNow(t, "it does not happen")
		}
	}
}

// uniqueName is one that the Erlang nodes of otp.Options, which begin with an n, are greater than.
func uniqueName(first string) string {
	return fmt.Sprintf("%s%08x@127.0.0.1", first, rand.Uint32())
}

// A member is a Go node that takes part in global.
type member struct {
	*global.Global
	n *nodes.Node
}

func config(t testing.TB, name string, port int) nodes.Config {
	cfg := gonode.Config(t, name, port)
	cfg.Visible = true
	return cfg
}

func startMember(t testing.TB, name string, port int) member {
	t.Helper()
	m := member{}
	m.start(t, config(t, name, port))
	return m
}

func (m *member) start(t testing.TB, cfg nodes.Config) {
	t.Helper()
	cfg.Setup = func(n *nodes.Node) (err error) {
		m.Global, err = global.Start(t.Context(), n, nil)
		return err
	}
	m.n = gonode.Start(t, cfg)
}

func (m member) process(t testing.TB) *nodes.Mailbox {
	t.Helper()
	b, err := m.n.NewMailbox(nil)
	require.NoError(t, err)
	t.Cleanup(func() { b.Close() })
	return b
}

// connect has a Go node connect to an Erlang node.
func (m member) connect(t testing.TB, e *otp.Node) {
	t.Helper()
	_, err := m.n.Connect(within(t), e.Name())
	require.NoError(t, err)
}

// meet waits until all have their names in common; more are nodes that it cannot ask.
func meet(t testing.TB, ms []member, es []*otp.Node, more ...string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Log(standing(ms, es))
		}
	}()
	others := len(ms) + len(es) + len(more) - 1
	for _, m := range ms {
		eventually(t, func() bool { return len(m.Known()) == others && len(m.n.Peers()) >= others },
			func() string { return fmt.Sprintf("%v knows %v", m.n.Name(), m.Known()) })
		require.NoError(t, m.Sync(within(t)))
	}
	for _, e := range es {
		eventually(t, func() bool {
			return e.Eval(t, "length(gen_server:call(global_name_server, get_known))") == strconv.Itoa(others)
		}, func() string {
			return e.Name() + " knows " + e.Eval(t, "gen_server:call(global_name_server, get_known)")
		})
		require.Equal(t, "ok", e.Eval(t, "global:sync()"))
	}
}

// standing is what nodes say about themselves when they do not agree.
func standing(ms []member, es []*otp.Node) string {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var b strings.Builder
	for _, m := range ms {
		fmt.Fprintf(&b, "%s: peers %v, known %v, names %v\n", m.n.Name(), m.n.Peers(), m.Known(), slices.Collect(m.Names()))
	}
	for _, e := range es {
		of := func(what, expr string) {
			answer, err := e.EvalContext(ctx, expr)
			fmt.Fprintf(&b, "%s: %s %s %v\n", e.Name(), what, answer, err)
		}
		of("nodes", "nodes()")
		of("server", "{global:info(), process_info(whereis(global_name_server), dictionary)}")
		of("locker", "{process_info(global:get_locker(), [current_function, messages]), ets:tab2list(global_locks)}")
		for _, m := range ms { // what it has in common with whom
			of("asks "+m.n.Name(), fmt.Sprintf("catch sys:get_state({global_name_server, '%s'})", m.n.Name()))
		}
	}
	return b.String()
}

// pairs runs f with each release and another one, by day with the first.
func pairs(t *testing.T, f func(t *testing.T, a, b otp.Release)) {
	all := otp.Releases(t)
	for i, r := range all[:need.Fewer(1, len(all))] {
		other := all[(i+1)%len(all)]
		t.Run(r.String(), func(t *testing.T) {
			t.Parallel()
			f(t, r, other)
		})
	}
}

// whereis is the process that an Erlang node has a name for, as its node and number.
func whereis(t testing.TB, e *otp.Node, name string) string {
	t.Helper()
	return e.Eval(t, fmt.Sprintf("case global:whereis_name(%s) of undefined -> undefined; P -> binary_to_list(term_to_binary(P)) end", name))
}

// isPid tells whether an Erlang node has a name for that process.
func isPid(t testing.TB, e *otp.Node, name string, pid ei.Pid) bool {
	t.Helper()
	text := whereis(t, e, name)
	if text == "undefined" {
		t.Logf("%s has none for %s; nodes %s, names %s", e.Name(), name, e.Eval(t, "nodes()"), e.Eval(t, "global:registered_names()"))
		return false
	}
	if was := decodePid(t, text); was != pid {
		t.Logf("%s has %v for %s, not %v", e.Name(), was, name, pid)
		return false
	}
	return true
}

func decodePid(t testing.TB, text string) ei.Pid {
	t.Helper()
	term, err := ei.Parse(text)
	require.NoError(t, err, text)
	var data []byte
	switch l := term.(type) {
	case ei.String:
		data = []byte(l)
	case ei.List:
		for _, e := range l {
			data = append(data, byte(e.(ei.Int)))
		}
	}
	p, err := ei.Decode(data)
	require.NoError(t, err)
	pid, ok := p.(ei.Pid)
	require.True(t, ok, text)
	return pid
}

// spawnNamed starts a process on an Erlang node that has a global name, and tells a name of its own
// what it has received.
func spawnNamed(t testing.TB, e *otp.Node, name, method string) string {
	t.Helper()
	return e.Eval(t, fmt.Sprintf(
		"P = spawn(fun() -> (fun F(L) -> receive {get, From} -> From ! {got, lists:reverse(L)}, F(L); "+
			"stop -> ok; M -> F([M | L]) end end)([]) end), "+
			"persistent_term:put({p, %s}, P), global:register_name(%s, P, fun global:%s/3)", name, name, method))
}

// got is what a process of spawnNamed has received.
func got(t testing.TB, e *otp.Node, name string) string {
	t.Helper()
	return e.Eval(t, fmt.Sprintf(
		"Q = persistent_term:get({p, %s}), case is_process_alive(Q) of true -> Q ! {get, self()}, receive {got, L} -> L end; false -> dead end",
		name))
}

func text(format string, args ...any) string { return strings.TrimSpace(fmt.Sprintf(format, args...)) }
