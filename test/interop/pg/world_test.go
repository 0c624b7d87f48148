package pg

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/pg"
)

// limit is for what takes milliseconds, unless something is broken.
const limit = 2 * time.Minute

func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// both runs f as subtests: for a hidden Go node and a visible one.
func both(t *testing.T, f func(t *testing.T, visible bool)) {
	t.Run("hidden", func(t *testing.T) { f(t, false) })
	t.Run("visible", func(t *testing.T) { f(t, true) })
}

func startScope(t *testing.T, e *otp.Node) {
	t.Helper()
	require.Equal(t, "ok", e.Do(t, "{ok, _} = pg:start(pg), ok"))
}

// start starts an Erlang node with scope pg.
func start(t *testing.T, r otp.Release, port int) *otp.Node {
	t.Helper()
	e := r.Start(t, otp.Options{EpmdPort: port, ExtraArgs: []string{
		"-connect_all", "false", "-kernel", "prevent_overlapping_partitions", "false",
	}})
	startScope(t, e)
	return e
}

var started atomic.Int64

// goNode starts a Go node with scope pg.
func goNode(t *testing.T, port int, visible bool, edit ...func(cfg *nodes.Config)) (*nodes.Node, *pg.Scope) {
	t.Helper()
	var s *pg.Scope
	cfg := goConfig(t, port, visible)
	cfg.Setup = func(n *nodes.Node) (err error) { s, err = pg.Start(t.Context(), n, "", nil); return err }
	for _, edit := range edit {
		edit(&cfg)
	}
	t.Cleanup(func() { s.Close() })
	return gonode.Start(t, cfg), s
}

func goConfig(t *testing.T, port int, visible bool) nodes.Config {
	cfg := gonode.Config(t, fmt.Sprintf("go%d@127.0.0.1", started.Add(1)), port)
	cfg.Visible = visible
	return cfg
}

func box(t *testing.T, n *nodes.Node) *nodes.Mailbox {
	t.Helper()
	b, err := n.NewMailbox(nil)
	require.NoError(t, err)
	return b
}

func connect(t *testing.T, n *nodes.Node, e *otp.Node) {
	t.Helper()
	_, err := n.Connect(soon(t), e.Name())
	require.NoError(t, err)
}

// members are those of a group that a Go node sees, by node, sorted.
func members(s *pg.Scope, group any) (all []string) {
	for p := range s.Members(group) {
		all = append(all, string(p.Node))
	}
	slices.Sort(all)
	return all
}

// sees waits until a Go node sees members on these nodes.
func sees(t *testing.T, s *pg.Scope, group any, want ...string) {
	t.Helper()
	slices.Sort(want)
	require.Eventually(t, func() bool { return slices.Equal(want, members(s, group)) }, limit, time.Millisecond,
		"want %v", want)
	require.Equal(t, want, members(s, group))
}

// seesErl waits until an Erlang node sees members of a group on these nodes.
func seesErl(t *testing.T, e *otp.Node, group string, want ...string) {
	t.Helper()
	slices.Sort(want)
	text := "[" + strings.Join(quoted(want), ",") + "]"
	var got string
	if !eventually(func() bool {
		got = e.Eval(t, fmt.Sprintf("lists:sort([node(P) || P <- pg:get_members(%s)])", group))
		return got == text
	}) {
		require.Equal(t, text, got)
	}
}

func eventually(is func() bool) bool {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if is() {
			return true
		}
	}
	return false
}

func quoted(names []string) (all []string) {
	for _, n := range names {
		all = append(all, "'"+n+"'")
	}
	return all
}

// told is what an expression begins with that looks at what the scope has told: members are seen
// before those are told who monitor them.
const told = `_ = sys:get_state(pg), `

// same requires that the scope of an Erlang node is still the one that it has had.
func scopeOf(t *testing.T, e *otp.Node) string { t.Helper(); return e.Eval(t, "whereis(pg)") }

// member makes a member of a group on an Erlang node, and registers it.
func member(t *testing.T, e *otp.Node, name, group string) {
	t.Helper()
	require.Equal(t, "ok", e.Do(t, fmt.Sprintf(
		`F = fun F() -> receive stop -> ok; {ask, From} -> From ! {answer, node()}, F(); _ -> F() end end,
		P = spawn(F), register(%s, P), pg:join(%s, P)`, name, group)))
}

// stop ends a member, whose name is free then.
func stop(t *testing.T, e *otp.Node, name string) {
	t.Helper()
	e.Do(t, fmt.Sprintf(`M = monitor(process, %s), %[1]s ! stop,
		receive {'DOWN', M, _, _, _} -> ok end`, name))
}
