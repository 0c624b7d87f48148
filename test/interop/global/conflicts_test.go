package global

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/global"
)

// next is the next message of a process.
func next(t testing.TB, b *nodes.Mailbox) ei.Term {
	t.Helper()
	m, err := b.Receive(within(t))
	require.NoError(t, err)
	term, err := m.Term()
	require.NoError(t, err)
	return term
}

// Two partitions have the same name, with each method, and with a Go node whose name is less than
// the Erlang node's, which then resolves the conflict, and greater.
func TestConflicts(t *testing.T) {
	methods := map[string]global.Method{
		"random_exit_name": global.RandomExit, "random_notify_name": global.RandomNotify, "notify_all_name": global.NotifyAll,
	}
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		e := r.Start(t, otp.Options{EpmdPort: port})
		for _, first := range []string{"g", "z"} {
			e.Anew(t)
			e.Do(t, "[global:unregister_name(N) || N <- global:registered_names()]")
			m := startMember(t, uniqueName(first), port)
			ours := map[string]*nodes.Mailbox{}
			for name, method := range methods {
				require.Equal(t, "yes", spawnNamed(t, e, name, name))
				ours[name] = m.process(t)
				require.NoError(t, m.Register(within(t), name, ours[name], method))
			}
			m.connect(t, e)
			meet(t, []member{m}, []*otp.Node{e})
			if first == "g" {
				require.True(t, isPid(t, e, "random_exit_name", ours["random_exit_name"].Pid()))
				require.Equal(t, "dead", got(t, e, "random_exit_name"))
				require.True(t, isPid(t, e, "random_notify_name", ours["random_notify_name"].Pid()))
				require.Equal(t, "[{global_name_conflict,random_notify_name}]", got(t, e, "random_notify_name"))
			} else {
				pid, ok := m.Whereis("random_exit_name")
				require.True(t, ok)
				require.Equal(t, ei.Atom(e.Name()), pid.Node)
				<-ours["random_exit_name"].Done()
				var exit *nodes.ExitError
				require.True(t, errors.As(ours["random_exit_name"].Err(), &exit))
				require.Equal(t, ei.Atom("killed"), exit.Reason)
				require.Equal(t, ei.Tuple{ei.Atom("global_name_conflict"), ei.Atom("random_notify_name")}, next(t, ours["random_notify_name"]))
			}
			_, ok := m.Whereis("notify_all_name")
			require.False(t, ok)
			require.Equal(t, "undefined", whereis(t, e, "notify_all_name"))
			told := next(t, ours["notify_all_name"]).(ei.Tuple)
			require.Equal(t, ei.Atom("notify_all_name"), told[1])
			require.Equal(t, ei.Atom(e.Name()), told[2].(ei.Pid).Node)
			require.Contains(t, got(t, e, "notify_all_name"), "{global_name_conflict,notify_all_name,<")
			require.NoError(t, m.n.Close())
		}
	})
}

// A third node asks ours, global:resolve_it/4, when ours has the process: with a method of global,
// and with a Go function.
func TestAskedAboutConflict(t *testing.T) {
	pairs(t, func(t *testing.T, r, other otp.Release) {
		port := r.Epmd(t)
		e := r.Start(t, otp.Options{EpmdPort: port, Name: uniqueName("e")})
		n := other.Start(t, otp.Options{EpmdPort: port})
		m := startMember(t, uniqueName("z"), port)
		m.n.Expose("shop", "keeper", func(_ context.Context, args []ei.Term) (any, error) { return args[2], nil })
		m.connect(t, e)
		meet(t, []member{m}, []*otp.Node{e})
		kept, notified := m.process(t), m.process(t)
		require.NoError(t, m.Register(within(t), "kept", kept, global.Method{Module: "shop", Function: "keeper"}))
		require.NoError(t, m.Register(within(t), "notified", notified, global.RandomNotify))
		require.Equal(t, "yes", spawnNamed(t, n, "kept", "random_exit_name"))
		require.Equal(t, "yes", spawnNamed(t, n, "notified", "random_exit_name"))
		e.Eval(t, "net_kernel:connect_node('"+n.Name()+"')")
		meet(t, []member{m}, []*otp.Node{e, n})
		for _, at := range []*otp.Node{e, n} {
			require.True(t, isPid(t, at, "kept", kept.Pid()))
		}
		require.Equal(t, ei.Tuple{ei.Atom("global_name_conflict"), ei.Atom("notified")}, next(t, notified))
		pid, ok := m.Whereis("notified")
		require.True(t, ok)
		require.Equal(t, ei.Atom(n.Name()), pid.Node)
	})
}
