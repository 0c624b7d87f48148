package interop

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/stretchr/testify/require"
)

// background gives a context for what takes milliseconds unless something is broken.
func background(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// config is the configuration of a node of this process, which uses the port mapper at port.
func config(port int) nodes.Config {
	return nodes.Config{
		Name: uniqueName(), Cookie: otp.DefaultCookie, Resolver: gonode.Mapper(port), Transport: usual.tr, HandshakeTimeout: otp.HandshakeTime,
	}
}

// newNode makes a node, which is closed when the test ends.
func newNode(t testing.TB, cfg nodes.Config) *nodes.Node {
	t.Helper()
	cfg.Logger = otp.Log(t, cfg.Name)
	n, err := nodes.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("closing %s: %v", cfg.Name, err)
		}
	})
	return n
}

// startNode makes a node and starts it.
func startNode(t testing.TB, cfg nodes.Config) *nodes.Node {
	t.Helper()
	n := newNode(t, cfg)
	require.NoError(t, n.Start(background(t)))
	return n
}

// A meeting is a real Erlang node and a started node of this process that can meet.
type meeting struct {
	erl   *otp.Node
	n     *nodes.Node
	known []string
}

func newMeeting(t *testing.T, r otp.Release, extraArgs ...string) *meeting {
	t.Helper()
	port := r.Epmd(t)
	return &meeting{
		erl: start(t, r, otp.Options{EpmdPort: port, ExtraArgs: extraArgs}),
		n:   startNode(t, config(port)),
	}
}

// tell makes a term of ours known to the Erlang node, under the name of a variable.
func (m *meeting) tell(t testing.TB, variable string, term ei.Term) {
	t.Helper()
	_, err := m.n.RPC(background(t), m.erl.Name(), "persistent_term", "put", ei.Atom(variable), term)
	require.NoError(t, err)
	m.known = append(m.known, variable)
}

// eval evaluates an expression in which N stands for our node's name, an atom, and the variables of
// tell for their terms.
func (m *meeting) eval(t testing.TB, expr string) string {
	t.Helper()
	return m.erl.Eval(t, m.about(expr))
}

func (m *meeting) about(expr string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "N = '%s', ", m.n.Name())
	for _, v := range m.known {
		fmt.Fprintf(&b, "%s = persistent_term:get('%s'), ", v, v)
	}
	return b.String() + expr
}

// is checks the values of expressions.
func (m *meeting) is(t testing.TB, tests [][2]string) {
	t.Helper()
	for _, tt := range tests {
		require.Equal(t, tt[1], m.eval(t, tt[0]), tt[0])
	}
}

// pid evaluates an expression that gives a pid, and gives it as our side sees it.
func (m *meeting) pid(t testing.TB, expr string) ei.Pid {
	t.Helper()
	m.erl.Do(t, m.about("persistent_term:put(pid, begin "+expr+" end)"))
	term, err := m.n.RPC(background(t), m.erl.Name(), "persistent_term", "get", ei.Atom("pid"))
	require.NoError(t, err)
	require.IsType(t, ei.Pid{}, term)
	return term.(ei.Pid)
}

// mailbox makes a mailbox, which the Erlang node knows under the name of a variable.
func (m *meeting) mailbox(t testing.TB, variable string, o *nodes.MailboxOptions) *nodes.Mailbox {
	t.Helper()
	b, err := m.n.NewMailbox(o)
	require.NoError(t, err)
	m.tell(t, variable, b.Pid())
	return b
}

// await takes what comes over a channel, or the news that it was closed.
func await[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	return expect.Returns(t, c)
}

// receive takes the next message of a mailbox, a term, as text.
func receive(t testing.TB, b *nodes.Mailbox) string {
	t.Helper()
	m, err := b.Receive(background(t))
	require.NoError(t, err)
	term, err := m.Term()
	require.NoError(t, err)
	return term.String()
}

// down takes the next message of a mailbox, which must be the end of what it monitors by ref, and
// gives the reason as text.
func down(t testing.TB, b *nodes.Mailbox, ref ei.Ref) string {
	t.Helper()
	m, err := b.Receive(background(t))
	require.NoError(t, err)
	require.Equal(t, dist.OpMonitorPExit, m.Op)
	require.Equal(t, ref, m.Ref)
	return m.Reason.String()
}

// exit takes the next message of a mailbox, which must be the exit signal of a process, and gives
// the reason as text.
func exit(t testing.TB, b *nodes.Mailbox, from ei.Pid) string {
	t.Helper()
	m, err := b.Receive(background(t))
	require.NoError(t, err)
	require.Equal(t, dist.OpExit, m.Op)
	require.Equal(t, from, m.From)
	return m.Reason.String()
}

// ended waits for the end of a mailbox, and gives its reason as text.
func ended(t testing.TB, b *nodes.Mailbox) string {
	t.Helper()
	await(t, b.Done())
	var e *nodes.ExitError
	require.ErrorAs(t, b.Err(), &e)
	return e.Reason.String()
}
