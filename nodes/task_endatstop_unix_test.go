//go:build unix

package nodes

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// The node's shutdown, and a move, do not wait for a function that has said so.
func TestEndAtStop(t *testing.T) {
	w := newWorld(t, "unix")
	a, b := w.started("alice"), w.started("bob")
	begun := make(chan struct{}, 1)
	b.Expose("p", "watch", FuncOf(func(ctx context.Context) {
		EndAtStop(ctx)
		begun <- struct{}{}
		<-ctx.Done()
	}))
	watch := func() ei.Ref {
		_, ref, err := box(t, a).SpawnMonitor(w.ctx(), b.Name(), "p", "watch")
		require.NoError(t, err)
		arrives(t, begun, "the function")
		return ref
	}
	watch()
	f := freeze(t, b)
	f.Thaw()
	watch()
	require.NoError(t, b.Shutdown(w.ctx()))
	EndAtStop(context.Background())
}
