//go:build unix

package workers

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// With rules, a peer may have a process answer a call that another worker has made, by passing the
// request on; nothing else that it has sent to a process of another worker gets there.
func TestRulesOfOtherWorkers(t *testing.T) {
	w := newFrontWorld(t, 2, func(cfg *Config) {
		command := cfg.Command
		cfg.Command = func() *exec.Cmd {
			cmd := command()
			cmd.Env = append(cmd.Env, testRulesVariable+"=1")
			return cmd
		}
	})
	ns := w.spread(2)
	a, b := ns[0], ns[1]
	echo := w.rpc(b, "echo").(ei.Pid) // of b's worker
	var from ei.Pid                   // of a's worker
	handle(t, a, "relay", func(self *nodes.Mailbox, m *nodes.Message) {
		defer m.Release()
		request, err := m.Term()
		if err == nil {
			from = request.(ei.Tuple)[1].(ei.Tuple)[0].(ei.Pid)
			err = self.Send(soon(t), echo, request)
		}
		if err != nil {
			t.Error(err)
		}
	})
	require.Equal(t, ei.Int(7), w.rpc(a, "ask", ei.Atom(a.Name()), ei.Atom("relay"), ei.Int(7)))
	require.Equal(t, ei.Int(0), w.rpc(b, "denied"))

	own, err := a.NewRef() // no call of the node's
	require.NoError(t, err)
	victim := w.rpc(a, "echo").(ei.Pid)
	for i, to := range []ei.Pid{from, victim} {
		box := w.mailbox(a, nil)
		require.NoError(t, box.Send(soon(t), echo, ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{to, own}, ei.Int(1)}))
		of(a.Call(soon(t), echo, ei.Int(2))).must(t) // which follows
		require.Equal(t, ei.Int(i+1), w.rpc(b, "denied"))
	}
}
