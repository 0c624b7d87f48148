package callsout

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
)

const (
	// limit bounds what takes milliseconds unless something is broken.
	limit = 3 * time.Minute
	tick  = 10 * time.Millisecond
)

// calls is what the Erlang nodes have to call.
const calls = `-module(calls).
-compile([export_all, nowarn_export_all]).

echo(X) -> X.
raise(Class, Reason) -> erlang:raise(Class, Reason, []).
sum(N) -> 1 + inner(N).
inner(N) -> N + 1.
killed() -> exit(self(), kill), receive never -> ok end.
big(N) -> binary:copy(<<7>>, N).
size(B) -> byte_size(B).
print(Text) -> io:format("~ts", [Text]), printed.
ask() -> io:get_line("? ").
leader() -> group_leader().
whoami() -> {self(), process_info(self(), parent), group_leader()}.

%% a gen_server that answers {ok, Request}
serve() -> receive {'$gen_call', {_, [alias | A] = Tag}, X} -> A ! {Tag, {ok, X}}, serve() end.

%% runs under a name until it is told what to do
wait(Name, Tag) -> register(Name, self()), receive {exit, R} -> exit(R); go -> Tag end.
`

// erlang starts an Erlang node with the module calls.
func erlang(t *testing.T, r otp.Release, o otp.Options) *otp.Node {
	t.Helper()
	n := r.Start(t, o)
	n.Load(t, calls)
	return n
}

func config(t *testing.T, port int) nodes.Config {
	return gonode.Config(t, fmt.Sprintf("go%08x@127.0.0.1", rand.Uint32()), port)
}

// started makes a node of this process, which ends with the test.
func started(t *testing.T, port int, edit ...func(*nodes.Config)) *nodes.Node {
	t.Helper()
	cfg := config(t, port)
	for _, f := range edit {
		f(&cfg)
	}
	return gonode.Start(t, cfg)
}

// What Go asks of one Erlang node, which all of it has, one after the other.
func TestRequests(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl := erlang(t, r, otp.Options{EpmdPort: port})
		for _, x := range []struct {
			name string
			talk func(t *testing.T, erl *otp.Node, n *nodes.Node)
		}{
			{"classes", classes}, {"given up", givenUp}, {"requests", requests}, {"cast", cast}, {"spawn", spawn},
			{"a spawn given up", spawnGivenUp}, {"an orphan", spawnOrphan}, {"group leader", groupLeader}, {"killed", killed},
		} {
			t.Run(x.name, func(t *testing.T) {
				erl.Anew(t)
				x.talk(t, erl, started(t, port))
			})
		}
	})
}

func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

func parse(t testing.TB, text string) ei.Term {
	t.Helper()
	term, err := ei.Parse(text)
	require.NoError(t, err)
	return term
}

// quiet waits until the node has no mailboxes but its own two and so many more.
func quiet(t *testing.T, n *nodes.Node, more int) {
	t.Helper()
	require.Eventually(t, func() bool { return n.Stats().Mailboxes == 2+more }, limit, tick)
}
