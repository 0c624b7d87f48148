package gate_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/gate"
	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/internal/test/otp"
)

// A process that is a gate, and those that follow it.
type process struct {
	cmd   *exec.Cmd
	lines chan string // of its output; closed when all processes have ended
}

func (w *world) process(t *testing.T, dies handoffpoint.Point) *process {
	text, err := json.Marshal(w.cfg)
	require.NoError(t, err)
	p := &process{cmd: exec.Command(os.Args[0]), lines: make(chan string, 100)}
	p.cmd.Env = append(os.Environ(), configVariable+"="+string(text), deathVariable+"="+string(dies))
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		for range p.lines {
		}
		_ = p.cmd.Wait()
	})
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	require.Contains(t, <-p.lines, "ready")
	return p
}

// A gate, or the process that is to go on, is killed at each point of a move: what follows is as if
// nothing had been, or both nodes see that the other one is down, and meet again by a new gate.
func TestKilledWhileMoving(t *testing.T) {
	t.Parallel()
	r := otp.Releases(t)[0]
	w := newWorld(t, r, r)
	w.cfg.Rules = []gate.Rule{{Op: gate.MaySend, Target: "echo", Allow: true}}
	points := []handoffpoint.Point{
		handoffpoint.OwnerGreeted, handoffpoint.OwnerFrozen, handoffpoint.OwnerDescriptorsSent, handoffpoint.OwnerAccepted,
		handoffpoint.OwnerCommitted, handoffpoint.OwnerReleased,
		handoffpoint.HeirGreeted, handoffpoint.HeirStateAll, handoffpoint.HeirStaged, handoffpoint.HeirOwns, handoffpoint.HeirStarted,
	}
	if testing.Short() {
		points = points[3:8]
	}
	for _, at := range points {
		t.Run(string(at), func(t *testing.T) {
			p := w.process(t, at)
			require.Equal(t, "pong", w.ask(t, "net_adm:ping(IN)"))
			// The load lasts until it is told how many more messages there are to be: no move is too late.
			load := w.outer.Async(t, w.in(`
				register(load, self()), monitor_node(IN, true), Big = binary:copy(<<1>>, 100000),
				F = fun F(I, Last) ->
					End = receive {more, N} -> I + N after 0 -> Last end,
					M = case I rem 7 of 0 -> {I, Big}; _ -> I end, {echo, IN} ! {self(), M},
					receive
						{echo, M} when I < End -> F(I + 1, End); {echo, M} -> up; {echo, _} -> wrong;
						{nodedown, IN} -> down
					after 30000 -> silent end
				end, F(1, infinity)`)) // which is more than any number
			w.outer.Becomes(t, "is_pid(whereis(load))", "true")
			require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
			var said string
			if line, ok := <-p.lines; ok {
				said = line
			}
			survives := strings.HasPrefix(string(at), "heir") && at != handoffpoint.HeirOwns && at != handoffpoint.HeirStarted ||
				at == handoffpoint.OwnerCommitted || at == handoffpoint.OwnerReleased
			if survives {
				w.outer.Do(t, "catch load ! {more, 1000}") // load tells if it is not there any more
			}
			got := load()
			t.Log(got, said)
			if survives {
				require.Equal(t, "up", got, said)
			} else {
				require.Equal(t, "down", got, said)
				w.inner.Becomes(t, w.in("lists:member(OUT, nodes(connected))"), "false")
			}
			_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
			for range p.lines {
			}
			mapped := fmt.Sprintf("{ok, L} = erl_epmd:names({127,0,0,1}), lists:keymember(%q, 1, L)", w.inner.Alive())
			w.outer.Becomes(t, mapped, "false")
			w.inner.Becomes(t, w.in("lists:member(OUT, nodes(connected))"), "false")
			w.outer.Becomes(t, w.in("lists:member(IN, nodes(connected))"), "false")
		})
	}
	p := w.process(t, "")
	require.Equal(t, "pong", w.ask(t, "net_adm:ping(IN)"))
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	require.Contains(t, <-p.lines, "ready")
	require.Equal(t, "pong", w.ask(t, "net_adm:ping(IN)"))
	for _, n := range []*otp.Node{w.outer, w.inner} {
		require.NotContains(t, strings.ToLower(n.Log()), "corrupt")
		require.NotContains(t, strings.ToLower(n.Log()), "malformed")
	}
}
