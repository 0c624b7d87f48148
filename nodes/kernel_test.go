package nodes

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// The processes that every node expects of another outlive whoever links them.
func TestKernelOutlivesLinks(t *testing.T) {
	w := newWorld(t, "memory")
	a, b := w.started("alice"), w.started("bob")
	m := trapping(t, b)
	for _, name := range []string{"net_kernel", "rex"} {
		require.NoError(t, m.Link(w.ctx(), a.Whereis(name).Pid()))
	}
	require.NoError(t, b.Conn(a.Name()).Close())
	require.Eventually(t, func() bool { return a.Conn(b.Name()) == nil }, tooLong, tick)
	v, err := m.CallName(w.ctx(), a.Name(), "net_kernel", ei.Tuple{ei.Atom("is_auth"), ei.Atom(b.Name())})
	require.NoError(t, err)
	require.Equal(t, ei.Atom("yes"), v)
	require.NotNil(t, a.Whereis("rex"))
}
