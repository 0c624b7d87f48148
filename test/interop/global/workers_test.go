//go:build linux

package global

import (
	"fmt"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
)

// A crew is a Go node with three workers, and three Erlang nodes, each with its connection at
// another worker.
type crew struct {
	name string
	p    *otp.Program
	es   []*otp.Node
	at   []string // the workers' processes
}

func newCrew(t *testing.T, es []*otp.Node) *crew {
	for _, e := range es {
		e.Anew(t)
		e.Do(t, "[global:unregister_name(N) || N <- global:registered_names()]")
	}
	c := &crew{name: uniqueName("crew"), es: es}
	c.p = served(t, c.name, es[0].EpmdPort(), 3)
	for begun := time.Now(); ; {
		c.at = nil
		for _, e := range c.es {
			eventually(t, func() bool { return c.eval(t, e, "net_adm:ping(N)") == "pong" })
			c.at = append(c.at, c.eval(t, e, "rpc:call(N, w, pid, [])"))
		}
		if distinct(c.at) == 3 {
			break
		}
		require.Less(t, time.Since(begun), limit, "three workers: %v", c.at)
		for _, e := range c.es[1:] {
			c.eval(t, e, "disconnect_node(N)")
		}
	}
	c.meet(t)
	return c
}

func distinct(list []string) int { return len(slices.Compact(slices.Sorted(slices.Values(list)))) }

func (c *crew) eval(t *testing.T, e *otp.Node, format string, args ...any) string {
	t.Helper()
	return e.Eval(t, fmt.Sprintf("N = '%s', ", c.name)+fmt.Sprintf(format, args...))
}

// meet waits until all know all.
func (c *crew) meet(t *testing.T) {
	t.Helper()
	for _, e := range c.es {
		eventually(t, func() bool {
			if c.eval(t, e, "net_adm:ping(N)") != "pong" || c.eval(t, e, "length(gen_server:call(global_name_server, get_known))") != "3" ||
				c.eval(t, e, "length(nodes())") != "3" {
				return false
			}
			return c.eval(t, e, "length(rpc:call(N, w, known, []))") == "3"
		}, func() string {
			return e.Name() + " knows " + c.eval(t, e, "{gen_server:call(global_name_server, get_known), nodes(), rpc:call(N, w, known, [])}")
		})
		require.Equal(t, "ok", e.Eval(t, "global:sync()"))
	}
}

// agree waits until all have the same names, and gives them.
func (c *crew) agree(t *testing.T) (names string) {
	t.Helper()
	eventually(t, func() bool {
		names = c.es[0].Eval(t, "lists:sort(global:registered_names())")
		for _, e := range c.es {
			if e.Eval(t, "lists:sort(global:registered_names())") != names || c.eval(t, e, "lists:sort(rpc:call(N, w, names, []))") != names {
				return false
			}
		}
		return true
	}, func() string {
		for _, e := range c.es {
			names += "\n" + e.Eval(t, "lists:sort(global:registered_names())") + c.eval(t, e, "lists:sort(rpc:call(N, w, names, []))")
		}
		return names
	})
	return names
}

// owner gives the worker that decides.
func (c *crew) owner(t *testing.T) (i int) {
	t.Helper()
	i = -1
	eventually(t, func() bool {
		i = slices.IndexFunc(c.es, func(e *otp.Node) bool { return c.eval(t, e, "rpc:call(N, w, owner, [])") == "true" })
		return i >= 0
	})
	return i
}

func TestWorkers(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		var es []*otp.Node
		for range 3 {
			es = append(es, r.Start(t, otp.Options{EpmdPort: port}))
		}
		t.Run("names", func(t *testing.T) { workersNames(t, es) })
		t.Run("moves", func(t *testing.T) { workersMove(t, es) })
	})
}

// Names of a node with workers: whichever worker a process is in, and a peer connected to. One of
// the workers decides; when it dies, another one does.
func workersNames(t *testing.T, es []*otp.Node) {
	c := newCrew(t, es)
	for i, e := range c.es {
		require.Equal(t, "true", c.eval(t, e, "is_pid(rpc:call(N, w, register, [{go, %d}]))", i))
		require.Equal(t, "yes", spawnNamed(t, e, fmt.Sprintf("{erl,%d}", i), "random_exit_name"))
		require.Equal(t, "no", c.eval(t, e, "rpc:call(N, w, register, [{erl, 0}])"))
	}
	all := "[{erl,0},{erl,1},{erl,2},{go,0},{go,1},{go,2}]"
	require.Equal(t, all, c.agree(t))
	for _, e := range c.es {
		for i := range c.es {
			require.Equal(t, "true", c.eval(t, e, "global:whereis_name({go, %d}) =:= rpc:call(N, w, whereis, [{go, %d}])", i, i))
		}
	}
	require.Equal(t, "ok", c.eval(t, c.es[0], "rpc:call(N, w, unregister, [{go, 1}])"))
	require.Equal(t, "[{erl,0},{erl,1},{erl,2},{go,0},{go,2}]", c.agree(t))
	waits := []func() string{}
	for _, e := range c.es {
		waits = append(waits, e.Async(t, fmt.Sprintf(`[global:trans({x, self()}, fun() -> here end), rpc:call('%s', w, trans, [x])]`, c.name)))
	}
	for _, f := range waits {
		require.Equal(t, "[here,ok]", f())
	}

	i := c.owner(t)
	pid, err := strconv.Atoi(c.at[i])
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	c.meet(t)
	names := c.agree(t)
	require.NotContains(t, names, fmt.Sprintf("{go,%d}", i), "it was the owner's")
	require.Contains(t, names, "{erl,0},{erl,1},{erl,2}")
	for i, e := range c.es {
		require.Equal(t, "true", c.eval(t, e, "is_pid(rpc:call(N, w, register, [{again, %d}]))", i))
		require.Equal(t, "yes", spawnNamed(t, e, fmt.Sprintf("{anew,%d}", i), "random_exit_name"))
	}
	names = c.agree(t)
	for i := range c.es {
		require.Contains(t, names, fmt.Sprintf("{again,%d}", i))
	}
}

// The workers' processes are replaced by new ones: names and nodes stay.
func workersMove(t *testing.T, es []*otp.Node) {
	c := newCrew(t, es)
	for i, e := range c.es {
		require.Equal(t, "true", c.eval(t, e, "is_pid(rpc:call(N, w, register, [{go, %d}]))", i))
	}
	require.Equal(t, "yes", spawnNamed(t, c.es[0], "erl", "random_exit_name"))
	before := c.agree(t)
	require.NoError(t, syscall.Kill(c.p.Pid(), syscall.SIGUSR1))
	for i, e := range c.es {
		eventually(t, func() bool { return c.eval(t, e, "rpc:call(N, w, pid, [])") != c.at[i] })
	}
	require.Equal(t, before, c.agree(t))
	c.meet(t)
	c.owner(t)
	for i, e := range c.es {
		require.Equal(t, "true", c.eval(t, e, "is_pid(rpc:call(N, w, register, [{again, %d}]))", i))
		require.Equal(t, "yes", spawnNamed(t, e, fmt.Sprintf("{anew,%d}", i), "random_exit_name"))
		require.Equal(t, "true", c.eval(t, e, "global:send({go, %d}, stop), true", i))
	}
	want := "[erl,{again,0},{again,1},{again,2},{anew,0},{anew,1},{anew,2}]"
	eventually(t, func() bool { return c.es[0].Eval(t, "lists:sort(global:registered_names())") == want })
	require.Equal(t, want, c.agree(t))
}
