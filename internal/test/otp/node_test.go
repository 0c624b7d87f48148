package otp

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEval(t *testing.T) {
	Each(t, func(t *testing.T, r Release) {
		t.Parallel()
		n := r.Start(t, Options{Local: true})
		for _, tt := range []struct{ expr, want string }{
			{`erlang:system_info(otp_release)`, strconv.Quote(strconv.Itoa(r.Number))},
			{`1 + 1.`, `2`},
			{`X = 7, {X, X * X}`, `{7,49}`},
			{`X = 8, X`, `8`}, // no variable is kept
			{"{a, 'B c', \"text\", <<1,2,255>>, #{k => [1|2]}}", `{a,'B c',"text",<<1,2,255>>,#{k => [1|2]}}`},
			{`<<"grüße"/utf8>>`, `<<"grüße"/utf8>>`},
			{`lists:seq(0, 20) -- lists:seq(2, 20)`, `[0,1]`},
			{`atom_to_list(a, b)`, `error:undef`},
			{`1 = 2`, `error:{badmatch,2}`},
			{`throw(ball)`, `throw:ball`},
			{`exit({shutdown, x})`, `exit:{shutdown,x}`},
			{`self() ! kept, ok`, `ok`},
			{`receive kept -> got after 0 -> lost end`, `got`},
			{`exit(self(), kill), receive after infinity -> ok end`, `exit:killed`},
			{`receive kept -> got after 0 -> lost end`, `lost`},
			{`io:format("noise ~p~n", [1])`, `ok`},
			{`byte_size(<<0:8000000>>)`, `1000000`},
		} {
			require.Equal(t, tt.want, n.Eval(t, tt.expr), tt.expr)
		}
		require.Contains(t, n.Eval(t, `1 +`), "error:{badmatch,{error,")
		require.Contains(t, n.Log(), "noise 1")
		require.Equal(t, "nonode@nohost", n.Do(t, "node()"))
		require.Len(t, n.Do(t, "lists:duplicate(300000, $x)"), 300000+2)
	})
}

// While one expression waits, others are evaluated, and one that is queued behind
// it is not taken for a message.
func TestEvalTogether(t *testing.T) {
	n := Releases(t)[0].Start(t, Options{Local: true})
	n.Do(t, "register(main, self())")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := n.EvalContext(ctx, "receive Any -> Any end")
	require.ErrorIs(t, err, context.Canceled)
	waits := n.Async(t, "register(second, self()), main ! first, receive go -> went end")
	require.Equal(t, "meanwhile", n.Eval(t, "meanwhile"))
	require.Equal(t, "went", func() string { n.Do(t, "second ! go"); return waits() }())
}

func TestNodeIsAlone(t *testing.T) {
	t.Setenv("ERL_FLAGS", "-env CNODE_LEAK yes")
	Each(t, func(t *testing.T, r Release) {
		port := r.Epmd(t)
		n := r.Start(t, Options{Name: "fixed", Cookie: "secret", EpmdPort: port, Env: []string{"GIVEN=1"},
			ExtraArgs: []string{"-kernel", "net_ticktime", "8"}})
		require.Equal(t, "fixed@127.0.0.1", n.Name())
		require.Equal(t, "fixed", n.Alive())
		require.Equal(t, "'fixed@127.0.0.1'", n.Eval(t, "node()"))
		require.Equal(t, n.Cookie(), n.Eval(t, "erlang:get_cookie()"))
		require.Equal(t, strconv.Quote(n.Home()), n.Eval(t, `os:getenv("HOME")`))
		require.Equal(t, `{"1",false}`, n.Eval(t, `{os:getenv("GIVEN"), os:getenv("CNODE_LEAK")}`))
		require.Equal(t, "8", n.Eval(t, "net_kernel:get_net_ticktime()"))
		require.Equal(t, strconv.Quote(strconv.Itoa(n.Pid())), n.Eval(t, "os:getpid()"))
		require.Equal(t, strconv.Itoa(port), strconv.Itoa(n.EpmdPort()))
		info, err := os.Stat(filepath.Join(n.Home(), ".erlang.cookie"))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o400), info.Mode().Perm())
		require.Equal(t, "[{127,0,0,1}]", n.Eval(t, `lists:usort([A || P <- erlang:ports(), {ok, {A, _}} <- [inet:sockname(P)]])`))

		// A name that is taken already is an error with the node's own words.
		_, err = r.Launch(context.Background(), Options{Name: "fixed", EpmdPort: port})
		require.ErrorContains(t, err, "did not start")
		require.ErrorContains(t, err, "seems to be in use")
	})
}

func TestLaunchGivesUp(t *testing.T) {
	r := Releases(t)[0]
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := r.Launch(ctx, Options{Local: true})
	require.ErrorIs(t, err, context.Canceled)
}

func TestEnd(t *testing.T) {
	Each(t, func(t *testing.T, r Release) {
		t.Parallel()
		port := r.Epmd(t)
		watcher := r.Start(t, Options{EpmdPort: port})
		for name, end := range map[string]func(*Node){
			"stop":  func(n *Node) { n.Stop(t) },
			"kill":  func(n *Node) { n.Kill() },
			"close": func(n *Node) { n.Close() },
			"halt": func(n *Node) {
				_, err := n.EvalContext(context.Background(), "halt(3)")
				require.ErrorIs(t, err, errEnded)
				<-n.Done()
			},
		} {
			n := r.Start(t, Options{EpmdPort: port})
			watcher.Do(t, "true = net_kernel:connect_node('"+n.Name()+"'), erlang:monitor_node('"+n.Name()+"', true)")
			end(n)
			select {
			case <-n.Done():
			default:
				t.Fatalf("%s: the node runs on", name)
			}
			require.Equal(t, "down", watcher.Eval(t, "receive {nodedown, '"+n.Name()+"'} -> down end"), name)
			_, err := n.EvalContext(context.Background(), "ok")
			require.ErrorIs(t, err, errEnded)
		}
	})
}
