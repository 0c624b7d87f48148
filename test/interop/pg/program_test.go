//go:build linux

package pg

import (
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
)

// A program is a running cnode-demo serve, of whose group g the process peer is a member.
type program struct {
	*otp.Program
	command func(args ...string) *exec.Cmd
}

func serve(t *testing.T, port int, args ...string) *program {
	t.Helper()
	env := gonode.Environment(t, port)
	p := &program{command: func(args ...string) *exec.Cmd {
		cmd := exec.Command(demo.Path(t), args...)
		cmd.Env = env
		return cmd
	}}
	name := fmt.Sprintf("served%d@127.0.0.1", started.Add(1))
	p.Program = otp.Serve(t, p.command(append([]string{"serve", "--name", name, "--cookie", otp.DefaultCookie, "--pg", "g",
		"--log-level", "info"}, args...)...))
	t.Cleanup(func() {
		if log := p.Log(); strings.Contains(log, "panic") {
			t.Errorf("the node says:\n%s", log)
		}
	})
	return p
}

// serve leaves its group when it is told to end, in each of its processes, and answers for a while
// before it is gone.
func TestServeDrains(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		for name, args := range map[string][]string{"alone": nil, "workers": {"--workers", "2"}} {
			t.Run(name, func(t *testing.T) {
				port := r.Epmd(t)
				erl := start(t, r, port)
				scopeOf(t, erl)
				p := serve(t, port, args...)
				erl.Do(t, fmt.Sprintf(`pong = net_adm:ping('%s')`, p.Name))
				everybody := []string{p.Name}
				if args != nil {
					everybody = append(everybody, p.Name)
				}
				seesErl(t, erl, "g", everybody...)
				erl.Do(t, fmt.Sprintf(`{Ref, All} = pg:monitor(g), put(ref, Ref), put(all, All), monitor_node('%s', true)`, p.Name))
				require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGTERM))
				require.Equal(t, "{[],{ok,hello},down}", erl.Do(t, `Ref = get(ref), All = get(all),
					(fun F([]) -> ok; F(L) -> receive {Ref, leave, g, Gone} -> F(L -- Gone) after 20000 -> exit({late, L}) end end)(All),
					{pg:get_members(g), gen_server:call(hd(All), hello), receive {nodedown, _} -> down after 20000 -> up end}`))
				<-p.Done()
			})
		}
	})
}

// With workers each worker's process is a member, wherever the connection is; Erlang nodes and a Go
// node see each once, and one less for the moment when a worker is killed.
func TestWorkers(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl := []*otp.Node{start(t, r, port), start(t, r, port), start(t, r, port)}
		var scopes []string
		for _, e := range erl {
			scopes = append(scopes, scopeOf(t, e))
		}
		p := serve(t, port, "--workers", "3", "--dispatch", "least")
		n, s := goNode(t, port, false)
		a := box(t, n)
		require.NoError(t, s.Join(soon(t), ei.Atom("g"), a))
		_, err := n.Connect(soon(t), p.Name)
		require.NoError(t, err)
		for _, e := range erl {
			e.Do(t, fmt.Sprintf(`pong = net_adm:ping('%s')`, p.Name))
		}
		three := []string{p.Name, p.Name, p.Name}
		everybody := func() {
			t.Helper()
			for _, e := range erl {
				seesErl(t, e, "g", three...)
				require.Equal(t, "3", e.Do(t, `length(lists:usort(pg:get_members(g)))`))
			}
			sees(t, s, ei.Atom("g"), append(slices.Clone(three), n.Name())...)
		}
		everybody()
		out, err := p.command("upgrade", p.Name).CombinedOutput()
		require.NoError(t, err, "%s", out)
		everybody()
		for _, e := range erl {
			pid, err := strconv.Atoi(e.Do(t, fmt.Sprintf(`rpc:call('%s', cnode, pid, [])`, p.Name)))
			require.NoError(t, err)
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
			e.Do(t, fmt.Sprintf(`W = fun W() -> case net_adm:ping('%s') of pong -> ok; _ -> timer:sleep(10), W() end end, W()`, p.Name))
		}
		for _, e := range erl {
			e.Do(t, fmt.Sprintf(`W = fun W() -> case net_adm:ping('%s') of pong -> ok; _ -> timer:sleep(10), W() end end, W()`, p.Name))
		}
		_, err = n.Connect(soon(t), p.Name)
		if n.Conn(p.Name) == nil {
			require.NoError(t, err)
		}
		everybody()
		for i, e := range erl {
			require.Equal(t, scopes[i], scopeOf(t, e))
		}
	})
}
