//go:build unix

package callsout

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A move to another process ends the calls that wait; spawned processes keep their links and
// monitors, and a request for one is answered in the new process.
func TestMove(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl := erlang(t, r, otp.Options{EpmdPort: port})
		cfg := config(t, port)
		cfg.Setup = func(n *nodes.Node) error {
			box, err := n.NewMailbox(&nodes.MailboxOptions{TrapExit: true})
			if err == nil {
				err = n.Register(t.Context(), "box", box)
			}
			return err
		}
		n := gonode.Start(t, cfg)
		box := n.Whereis("box")
		linked, err := box.SpawnLink(soon(t), erl.Name(), "calls", "wait", ei.Atom("linked"), 1)
		require.NoError(t, err)
		watched, ref, err := box.SpawnMonitor(soon(t), erl.Name(), "calls", "wait", ei.Atom("watched"), 1)
		require.NoError(t, err)
		failed := make(chan error, 1)
		go func() {
			_, err := nodes.ERPCAs[ei.Term](context.Background(), box, erl.Name(), "calls", "wait", ei.Atom("called"), 1)
			failed <- err
		}()
		request, err := n.ERPCRequest(soon(t), erl.Name(), "calls", "wait", ei.Atom("requested"), 1)
		require.NoError(t, err)
		erl.Becomes(t, "lists:all(fun(N) -> is_pid(whereis(N)) end, [linked, watched, called, requested])", "true")
		erl.Pause(t)
		asked, err := box.SpawnRequest(soon(t), erl.Name(), &nodes.SpawnOptions{Monitor: true}, "calls", "raise", ei.Atom("exit"), 9)
		require.NoError(t, err)

		s := gonode.Move(t, n, cfg)
		n = s.Node()
		t.Cleanup(func() { n.Close() })
		require.ErrorIs(t, <-failed, nodes.ErrMoved)
		_, err = request.Wait(soon(t))
		require.ErrorIs(t, err, nodes.ErrMoved)

		box = n.Whereis("box")
		erl.Continue(t)
		m, err := box.Receive(soon(t))
		require.NoError(t, err)
		require.Equal(t, dist.OpSpawnReply, m.Op)
		require.Equal(t, asked, m.Ref)
		pid, err := m.Spawned()
		require.NoError(t, err)
		m, err = box.Receive(soon(t))
		require.NoError(t, err)
		require.Equal(t, asked, m.Ref)
		require.Equal(t, pid, m.From)
		// what nobody waits for any more is dropped
		erl.Do(t, "called ! go, requested ! go, linked ! {exit, l}, watched ! {exit, w}")
		ends := map[ei.Pid]ei.Ref{}
		for range 2 {
			m, err := box.Receive(soon(t))
			require.NoError(t, err)
			ends[m.From] = m.Ref
		}
		require.Equal(t, map[ei.Pid]ei.Ref{linked: {}, watched: ref}, ends)
		v, err := n.ERPC(soon(t), erl.Name(), "calls", "echo", 1)
		require.NoError(t, err)
		require.Equal(t, ei.Int(1), v)
		quiet(t, n, 1)
	})
}
