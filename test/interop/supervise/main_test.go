package supervise

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/supervisor"
	"github.com/cnode-go/cnode/nodes/workers"
)

// envServe makes this test's binary a program that serves several for supervisors elsewhere, under
// the name that it holds.
const envServe = "CNODE_TEST_SUPERVISED"

// several are more processes than the restarts of a supervisor's defaults: Elixir's are 3 in 5 s.
var several = []string{"p1", "p2", "p3", "p4"}

func TestMain(m *testing.M) { gonode.Main(m, envServe, serve) }

func serve(name string) error {
	return gonode.Serve(workers.Config{Node: nodes.Config{Name: name, Cookie: otp.DefaultCookie, Setup: exposeSeveral}}, nil)
}

func exposeSeveral(n *nodes.Node) error {
	for _, name := range several {
		if err := supervisor.ExposeStart(n, name, newPricing, nil); err != nil {
			return err
		}
	}
	return nil
}

// program starts it, with the port mapper at port.
func program(t *testing.T, name string, port int) *otp.Program {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envServe+"="+name, "ERL_EPMD_PORT="+strconv.Itoa(port), "ERL_EPMD_ADDRESS=127.0.0.1")
	return otp.Serve(t, cmd)
}

// newPricing is a server with a state, a clean-up and a bug. What it has terminated with, it puts
// into terminated, of this process.
func newPricing() nodes.Server {
	total := 0
	return nodes.Server{
		On: map[string]nodes.Func{
			"add":  nodes.FuncOf(func(n int) int { total += n; return total }),
			"bug":  nodes.FuncOf(func() int { panic("a bug") }),
			"slow": nodes.FuncOf(func(ctx context.Context) any { return nodes.NoReply }),
			"exit": nodes.FuncOf(func(ctx context.Context, reason ei.Term) any {
				nodes.MailboxOf(ctx).Exit(reason)
				return nodes.NoReply
			}),
		},
		State: func() any { return total },
		SetState: func(state ei.Term) error {
			return ei.UnmarshalTerm(state, &total)
		},
		Terminate: func(_ context.Context, reason ei.Term) { terminated.Store(reason.String()) },
	}
}

var (
	terminated atomic.Value // of string: a test that looks into it has its process to itself
	names      atomic.Int64
)

func newName() string { return fmt.Sprintf("supervised%d@127.0.0.1", names.Add(1)) }

// start starts a node of this process.
func start(t *testing.T, port int, setup func(n *nodes.Node) error) (n *nodes.Node, log func() string) {
	t.Helper()
	logger, text := logging(t)
	cfg := gonode.Config(t, newName(), port)
	cfg.Logger, cfg.Setup = logger, setup
	return gonode.Start(t, cfg), text
}

// block is a piece of code of docs/how-to/supervise-from-elixir.md, which begins so.
func block(t *testing.T, begins string) string {
	t.Helper()
	page, err := os.ReadFile("../../../docs/how-to/supervise-from-elixir.md")
	require.NoError(t, err)
	_, code, ok := strings.Cut(string(page), begins)
	require.True(t, ok, "the page has the code")
	code, _, ok = strings.Cut(code, "```")
	require.True(t, ok)
	_, first, _ := strings.Cut(begins, "\n")
	return first + code
}

// whole is a module with a supervisor whose children the caller gives, and a gen_server.
const whole = `
-module(tsup).
-export([start/2, init/1, start_keeper/2, loop/1, handle_call/3, handle_cast/2, terminate/2]).

start(Flags, Children) ->
    {ok, Pid} = supervisor:start_link({local, ?MODULE}, ?MODULE, {supervisor, Flags, Children}),
    unlink(Pid),
    Pid.

start_keeper(Name, Value) -> gen_server:start({local, Name}, ?MODULE, {keeper, Value}, []).

loop(Name) -> register(Name, self()), receive _ -> ok end.

init({supervisor, Flags, Children}) -> {ok, {Flags, Children}};
init({keeper, Value}) -> process_flag(trap_exit, true), {ok, Value}.

handle_call(get, _, Value) -> {reply, Value, Value}.
handle_cast(crash, _) -> exit(crashed).
terminate(Reason, _) -> persistent_term:put(keeper_terminated, Reason).
`
