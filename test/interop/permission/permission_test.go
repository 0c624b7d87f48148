//go:build linux

package permission

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
)

// limit is for what takes milliseconds, unless something is broken.
const limit = 2 * time.Minute

// A scene is a guarded node and the peers that it tells apart.
type scene struct {
	p          *otp.Program
	admin, web *otp.Node
	refunds    string
}

func newScene(t *testing.T, r otp.Release, workers int) *scene {
	port := r.Epmd(t)
	s := &scene{refunds: filepath.Join(t.TempDir(), "refunds")}
	cmd := exec.Command(os.Args[0])
	cmd.Env = gonode.Environment(t, port, envServe+"="+strconv.Itoa(workers), envRefunds+"="+s.refunds)
	s.p = otp.Serve(t, cmd)
	s.admin = r.Start(t, otp.Options{Name: "admin", EpmdPort: port})
	s.web = r.Start(t, otp.Options{Name: "web", EpmdPort: port})
	return s
}

func eval(t *testing.T, e *otp.Node, expr string) string {
	t.Helper()
	return e.Eval(t, "N = '"+nodeName+"', "+expr)
}

func is(t *testing.T, e *otp.Node, want, expr string) {
	t.Helper()
	require.Equal(t, want, eval(t, e, expr), expr)
}

func TestRules(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		s := newScene(t, r, 0)
		s.start(t)
		s.refuses(t)
	})
}

// With workers the processes are another worker's than the one that the web node is connected to;
// then the workers go on in new processes.
func TestRulesWithWorkers(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		s := newScene(t, r, 2)
		before := s.processes(t)
		require.NotEqual(t, before[0], before[1])
		s.start(t)
		s.refuses(t)
		require.NoError(t, syscall.Kill(s.p.Pid(), syscall.SIGUSR1))
		require.Eventually(t, func() bool {
			now := s.processes(t)
			return now[0] != before[0] && now[1] != before[1]
		}, limit, 10*time.Millisecond)
		s.start(t)
		s.refuses(t)
	})
}

// processes are those that the two nodes are connected to.
func (s *scene) processes(t *testing.T) (at [2]string) {
	t.Helper()
	for i, e := range []*otp.Node{s.admin, s.web} {
		at[i] = eval(t, e, `rpc:call(N, w, process, [])`)
	}
	return at
}

// start makes the two processes, in the admin's worker, after it has ended those that there are.
func (s *scene) start(t *testing.T) {
	t.Helper()
	is(t, s.admin, "[true,true]", `[begin R = monitor(process, {X, N}), P = rpc:call(N, w, whereis, [X]), is_pid(P) andalso exit(P, kill),
		receive {'DOWN', R, process, _, _} -> is_pid(rpc:call(N, w, start, [X])) after 10000 -> late end end || X <- [till, secret]]`)
}

// before is what the web node's expressions begin with: it learns pids from the admin's node, and
// tells what has come, of a signal its reason.
const before = `Pid = fun(Name) -> rpc:call('admin@127.0.0.1', rpc, call, [N, w, whereis, [Name]]) end,
	Comes = fun() -> receive {'DOWN', _, process, _, Why} -> {down, Why}; {'EXIT', _, Why} -> {exit, Why} after 10000 -> late end end,
	process_flag(trap_exit, true), `

func (s *scene) refuses(t *testing.T) {
	t.Helper()
	refunds := func() int {
		b, _ := os.ReadFile(s.refunds)
		return len(b)
	}
	had := refunds()
	heard := eval(t, s.admin, `gen_server:call({secret, N}, heard)`)
	for _, tt := range []struct{ want, expr string }{
		{"14", `rpc:call(N, shop, quote, [2])`},
		{"14", `erpc:call(N, shop, quote, [2])`},
		{"14", `erpc:call(N, erlang, apply, [fun shop:quote/1, [2]])`},
		{"[{ok,14}]", `erpc:multicall([N], shop, quote, [2])`},
		{"14", `rpc:block_call(N, shop, quote, [2])`},
		{"{badrpc,{'EXIT',{eacces,[{shop,refund,1,[]}]}}}", `rpc:call(N, shop, refund, [2])`},
		{"{badrpc,{'EXIT',{eacces,[{shop,refund,1,[]}]}}}", `rpc:block_call(N, shop, refund, [2])`},
		{"{badrpc,{'EXIT',{eacces,[{shop,quote,2,[]}]}}}", `rpc:call(N, shop, quote, [1, 2])`},
		{"{badrpc,{'EXIT',{eacces,[{init,stop,0,[]}]}}}", `rpc:call(N, init, stop, [])`},
		{"error:{exception,eacces,[{shop,refund,0,[]}]}", `erpc:call(N, fun shop:refund/0)`},
		{"error:{exception,eacces,[{shop,refund,1,[]}]}", `erpc:call(N, erlang, apply, [shop, refund, [2]])`},
		{"ok", `erpc:cast(N, shop, refund, [2])`},
		{"true", `rpc:cast(N, shop, refund, [2])`},
		{"{down,{eacces,[{shop,quote,1,[]}]}}", `spawn_monitor(N, shop, quote, [2]), Comes()`},
		{"{down,{eacces,[{shop,refund,0,[]}]}}", `spawn_monitor(N, fun shop:refund/0), Comes()`},
		{"{exit,{eacces,[{shop,refund,1,[]}]}}", `spawn_link(N, shop, refund, [2]), Comes()`},

		{heard, `rpc:call('admin@127.0.0.1', gen_server, call, [{secret, N}, heard])`},
		{"true", `is_integer(gen_server:call({till, N}, heard))`},
		{"true", `is_integer(gen_server:call(Pid(till), heard))`},
		{"exit:{noproc,{gen_server,call,[{secret,'" + nodeName + "'},heard,infinity]}}", `gen_server:call({secret, N}, heard, infinity)`},
		{"true", `P = Pid(secret), try gen_server:call(P, heard, infinity) catch exit:{noproc, _} -> true end`},
		{"true", `try sys:get_status({secret, N}) catch exit:{noproc, _} -> true end`},
		{"{down,noproc}", `monitor(process, {secret, N}), Comes()`},
		{"{down,noproc}", `monitor(process, Pid(secret)), Comes()`},
		{"{exit,noproc}", `link(Pid(secret)), Comes()`},
		{"{exit,noproc}", `link(Pid(till)), Comes()`},
		{"true", `exit(Pid(secret), kill), exit(Pid(till), kill)`},
		{"hello", `{secret, N} ! hello`},
		{"hello", `Pid(secret) ! hello`},
		{"ok", `gen_server:cast({secret, N}, hello)`},
		{"abcast", `rpc:abcast([N], secret, hello)`},
		{"{[],['" + nodeName + "']}", `rpc:sbcast([N], secret, hello)`},
		{"{[],['" + nodeName + "']}", `rpc:multi_server_call([N], secret, hello)`},
		{"{['" + nodeName + "'],[]}", `rpc:sbcast([N], till, hello)`},
		{"pong", `net_adm:ping(N)`},
		{"true", `lists:member(N, nodes(connected))`},
	} {
		require.Equal(t, tt.want, eval(t, s.web, before+tt.expr), tt.expr)
	}
	// what the node asks of the web node is answered, whoever asks
	is(t, s.admin, "'"+s.web.Name()+"'", `rpc:call(N, w, ask, ['`+s.web.Name()+`'])`)

	is(t, s.admin, heard, `gen_server:call({secret, N}, heard)`)
	require.Equal(t, had, refunds())
	is(t, s.admin, "ok", `rpc:call(N, shop, refund, [2])`)
	require.Equal(t, had+1, refunds())
}
