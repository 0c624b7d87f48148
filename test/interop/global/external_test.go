package global

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/global"
)

// A process of a hidden node has a name by way of an Erlang node, and by way of another one once
// that has died.
func external(t *testing.T, a, b *otp.Node) {
	m := startMember(t, uniqueName("z"), a.EpmdPort())
	m.connect(t, a)
	m.connect(t, b)
	meet(t, []member{m}, []*otp.Node{a, b})
	cfg := config(t, uniqueName("hidden"), a.EpmdPort())
	cfg.Visible = false
	var starting error
	cfg.Setup = func(n *nodes.Node) error {
		_, starting = global.Start(t.Context(), n, nil)
		return nil
	}
	n := gonode.Start(t, cfg)
	require.ErrorIs(t, starting, global.ErrHidden)

	box, err := n.NewMailbox(nil)
	require.NoError(t, err)
	x, err := global.RegisterExternal(within(t), n, "outside", box, global.Method{}, a.Name(), b.Name())
	require.NoError(t, err)
	require.Equal(t, a.Name(), x.Host())
	for _, e := range []*otp.Node{a, b} {
		require.True(t, isPid(t, e, "outside", box.Pid()))
	}
	pid, ok := m.Whereis("outside")
	require.True(t, ok)
	require.Equal(t, box.Pid(), pid)
	taken, err := n.NewMailbox(nil)
	require.NoError(t, err)
	_, err = global.RegisterExternal(within(t), n, "outside", taken, global.Method{}, b.Name())
	require.ErrorIs(t, err, global.ErrTaken)
	b.Eval(t, "global:send(outside, hello)")
	_, err = box.Receive(within(t))
	require.NoError(t, err)

	a.Kill()
	eventually(t, func() bool { return x.Host() == b.Name() })
	require.NoError(t, box.Err())
	eventually(t, func() bool { return isPid(t, b, "outside", box.Pid()) })
	eventually(t, func() bool { pid, _ := m.Whereis("outside"); return pid == box.Pid() })
	require.NoError(t, x.Unregister(within(t)))
	require.Equal(t, "undefined", whereis(t, b, "outside"))
	require.False(t, slices.Contains(m.Known(), n.Name()))

	// its end
	x, err = global.RegisterExternal(within(t), n, "outside", box, global.Method{}, b.Name())
	require.NoError(t, err)
	box.Close()
	eventually(t, func() bool { return whereis(t, b, "outside") == "undefined" })
	eventually(t, func() bool { _, ok := m.Whereis("outside"); return !ok })
	require.NoError(t, x.Unregister(within(t)))
}
