//go:build unix

package upgrade

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/port"
)

// patience bounds every wait: ten times what a busy machine needs.
const patience = time.Minute

// stream is an Erlang module that uses a serve without pause: numbered messages that come back,
// calls, a link and a monitor.
const stream = `-module(stream).
-export([start/1, stop/0, bonds/0]).

start(N) ->
    register(watch, spawn(fun() -> ok = net_kernel:monitor_nodes(true, #{node_type => all}), watch([]) end)),
    Peer = rpc:call(N, erlang, whereis, [peer]),
    register(bonds, spawn(fun() ->
        process_flag(trap_exit, true), link(Peer), monitor(process, {peer, N}), bonds([]) end)),
    register(echoes, spawn(fun() -> echoes(N, 0, 0, none) end)),
    register(calls, spawn(fun() -> calls(N, 0, []) end)),
    Peer.

stop() -> {ask(echoes), ask(calls), ask(bonds), ask(watch)}.

bonds() -> ask(bonds).

ask(Name) -> Name ! {ask, self()}, receive {Name, X} -> X after 50000 -> timeout end.

watch(Seen) ->
    receive
        {ask, From} -> From ! {watch, Seen}, watch(Seen);
        {What, Node, _} -> watch([{What, Node} | Seen])
    end.

bonds(Seen) ->
    receive
        {ask, From} -> From ! {bonds, Seen}, bonds(Seen);
        {'EXIT', _, Why} -> bonds([{exit, Why} | Seen]);
        {'DOWN', _, _, _, Why} -> bonds([{down, Why} | Seen])
    end.

%% Sent and Got: how many; at most 500 are on their way.
echoes(N, Sent, Got, Bad) when Sent - Got < 500 ->
    Size = case Sent rem 500 of 499 -> 200000; _ -> Sent rem 300 end,
    {peer, N} ! {echo, self(), {Sent, binary:copy(<<1>>, Size)}},
    echoes(N, Sent + 1, Got, Bad, 0);
echoes(N, Sent, Got, Bad) -> echoes(N, Sent, Got, Bad, infinity).

echoes(N, Sent, Got, Bad, Wait) ->
    receive
        {ask, From} -> From ! {echoes, rest(Sent, Got, Bad)};
        {Got, _} -> echoes(N, Sent, Got + 1, Bad);
        Other -> echoes(N, Sent, Got + 1, case Bad of none -> {due, Got, came, element(1, Other)}; _ -> Bad end)
    after Wait -> echoes(N, Sent, Got, Bad)
    end.

rest(Sent, Sent, Bad) -> receive More -> {Sent, {more, More}} after 500 -> {Sent, Bad} end;
rest(Sent, Got, Bad) ->
    receive
        {Got, _} -> rest(Sent, Got + 1, Bad);
        Other -> {Sent, {due, Got, came, element(1, Other), Bad}}
    after 30000 -> {Sent, {missing, Got, Bad}}
    end.

calls(N, I, Pids) ->
    {ok, I} = gen_server:call({peer, N}, I, 30000),
    Pid = rpc:call(N, cnode, pid, []),
    true = is_integer(Pid),
    Next = case Pids of [Pid | _] -> Pids; _ -> [Pid | Pids] end,
    receive {ask, From} -> From ! {calls, {I + 1, lists:reverse(Next)}}
    after 0 -> calls(N, I + 1, Next)
    end.
`

// upgrades is how often a node is upgraded in one test; CNODE_UPGRADES says otherwise, for long
// runs.
func upgrades() int { return otp.Times("CNODE_UPGRADES", need.Fewer(4, 10)) }

// A served is a serve, and the processes that have come after it.
type served struct {
	name  string
	env   []string
	pid   int
	lines chan string
}

func serve(t *testing.T, env []string, args ...string) *served {
	t.Helper()
	in, out, err := os.Pipe()
	require.NoError(t, err)
	cmd := exec.Command(demo.Path(t), append([]string{"serve"}, args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, out, os.Stderr
	require.NoError(t, cmd.Start())
	require.NoError(t, out.Close())
	s := &served{env: env, pid: cmd.Process.Pid, lines: make(chan string, 1000)}
	said, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(said)
		for lines := bufio.NewScanner(in); lines.Scan(); {
			s.lines <- lines.Text()
		}
	}()
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = syscall.Kill(s.pid, syscall.SIGKILL)
		_ = cmd.Process.Kill()
		err := <-ended
		<-said
		in.Close()
		if s.pid != cmd.Process.Pid {
			require.NoError(t, err, "how the first process has ended")
		}
	})
	s.name = s.ready(t)
	return s
}

func (s *served) ready(t *testing.T) string {
	t.Helper()
	select {
	case line := <-s.lines:
		words := strings.Fields(line)
		require.Len(t, words, 3, line)
		return words[1]
	case <-time.After(patience):
		require.FailNow(t, "not ready in time")
		return ""
	}
}

// upgrade upgrades, and tells how long that took.
func (s *served) upgrade(t *testing.T) time.Duration {
	t.Helper()
	begin := time.Now()
	cmd := exec.Command(demo.Path(t), "upgrade", s.name)
	cmd.Env = s.env
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	var name string
	var old, pid int
	_, err = fmt.Sscanf(string(out), "upgraded %s %d %d\n", &name, &old, &pid)
	require.NoError(t, err, string(out))
	require.Equal(t, []any{s.name, s.pid}, []any{name, old})
	s.pid = pid
	require.Equal(t, s.name, s.ready(t))
	return time.Since(begin)
}

// A real node uses serve without pause, which goes on in one process after the other.
func TestUpgrade(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		t.Run("port mapper of its own", func(t *testing.T) {
			port := r.Epmd(t)
			s := serve(t, gonode.Environment(t, port), "--name", "up@127.0.0.1", "--cookie", otp.DefaultCookie)
			follow(t, s, r.Start(t, otp.Options{EpmdPort: port}))
		})
		t.Run("port mapper inside", func(t *testing.T) {
			port := port.Free(t)
			s := serve(t, gonode.Environment(t, port), "--name", "up@127.0.0.1", "--cookie", otp.DefaultCookie, "--epmd", "embedded")
			follow(t, s, r.Start(t, otp.Options{EpmdPort: port, ExtraArgs: []string{"-start_epmd", "false"}}))
		})
		for _, version := range otp.TLSVersions() {
			t.Run("over TLS "+version, func(t *testing.T) {
				port := r.Epmd(t)
				env := gonode.Environment(t, port)
				conf, err := otp.TLSFiles(filepath.Join(t.TempDir(), "tls"), demo.Path(t), version)
				require.NoError(t, err)
				s := serve(t, env, "--name", "up@127.0.0.1", "--cookie", otp.DefaultCookie, "--transport", "tls", "--tls-optfile", conf)
				follow(t, s, r.Start(t, otp.Options{EpmdPort: port, TLSOptFile: conf}))
			})
		}
	})
}

func follow(t *testing.T, s *served, erl *otp.Node) {
	names := erl.Eval(t, `lists:sort(element(2, net_adm:names('127.0.0.1')))`)
	require.Contains(t, names, `{"up",`)
	require.Contains(t, erl.Eval(t, "stream:start('"+s.name+"')"), "undef", "not loaded")
	erl.Load(t, stream)
	require.Equal(t, "pong", erl.Eval(t, "net_adm:ping('"+s.name+"')"))
	peer := erl.Eval(t, "stream:start('"+s.name+"')")
	require.True(t, strings.HasPrefix(peer, "<"), peer)
	pids := []string{strconv.Itoa(s.pid)}
	var took, worst time.Duration
	for range upgrades() {
		d := s.upgrade(t)
		took, worst = took+d, max(worst, d)
		pid := strconv.Itoa(s.pid)
		require.Equal(t, pid, erl.Eval(t, "rpc:call('"+s.name+"', cnode, pid, [])"))
		pids = append(pids, pid)
		require.Eventually(t, func() bool { // the calls have seen it, too
			return erl.Eval(t, "rpc:call('"+s.name+"', cnode, pid, [])") == pid
		}, patience, time.Millisecond)
	}
	require.Equal(t, names, erl.Eval(t, `lists:sort(element(2, net_adm:names('127.0.0.1')))`))
	require.Equal(t, peer, erl.Eval(t, "rpc:call('"+s.name+"', erlang, whereis, [peer])"))
	require.Equal(t, "[]", erl.Eval(t, "stream:bonds()"))
	var sent, calls int
	var rest string
	answer := strings.NewReplacer(" ", "", "\n", "").Replace(erl.Eval(t, "stream:stop()"))
	_, err := fmt.Sscanf(strings.NewReplacer("{", " ", "}", " ", ",", " ").Replace(answer), "%d none %d", &sent, &calls)
	require.NoError(t, err, answer)
	_, rest, _ = strings.Cut(answer, "[")
	require.True(t, strings.HasSuffix(answer, ",[],[]}"), "the link, the monitor, nodes that came and went: %s", answer)
	seen, _, _ := strings.Cut(rest, "]")
	require.Subset(t, pids, strings.Split(seen, ","))
	require.Positive(t, sent)
	t.Logf("%d upgrades of %v, the longest %v, commands included; %d messages there and back, %d calls, which %d processes answered",
		upgrades(), took/time.Duration(upgrades()), worst, sent, calls, strings.Count(seen, ",")+1)

	require.NoError(t, syscall.Kill(s.pid, syscall.SIGTERM))
	require.Eventually(t, func() bool {
		bonds := erl.Eval(t, "lists:sort(stream:bonds())")
		return strings.Contains(bonds, "down") && strings.Contains(bonds, "exit")
	}, patience, 10*time.Millisecond, "the link and the monitor have not survived")
}
