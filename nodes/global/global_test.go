package global

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes"
)

func TestTwoNodes(t *testing.T) {
	w := newWorld(t)
	a, b := w.member(t, "a@test", nil), w.member(t, "b@test", nil)
	before := a.process(t)
	require.NoError(t, a.Register(within(t), "before", before, Method{}))
	a.connect(t, "b@test")
	require.NoError(t, a.Sync(within(t)))
	require.NoError(t, b.Sync(within(t)))
	pid, ok := b.Whereis("before")
	require.True(t, ok)
	require.Equal(t, before.Pid(), pid)
	one := b.process(t)
	require.NoError(t, b.Register(within(t), "one", one, Method{}))
	pid, ok = a.Whereis("one")
	require.True(t, ok)
	require.Equal(t, one.Pid(), pid)
	require.ErrorIs(t, a.Register(within(t), "one", a.process(t), Method{}), ErrTaken)
	require.ErrorIs(t, a.Register(within(t), "two", before, Method{}), ErrNamed)
	one.Close()
	eventually(t, func() bool { _, ok := a.Whereis("one"); return !ok })
	require.NoError(t, b.Unregister(within(t), "before"))
	_, ok = a.Whereis("before")
	require.False(t, ok)
	require.Empty(t, slices.Collect(b.Names()))
}

// A node takes part from later on: what others have said before was for nobody.
func TestLateStart(t *testing.T) {
	w := newWorld(t)
	a := w.member(t, "a@test", nil)
	cfg := w.Config("b@test")
	cfg.Visible, cfg.Logger = true, logger(t)
	n := w.Start(cfg)
	_, err := n.Connect(within(t), "a@test")
	require.NoError(t, err)
	eventually(t, func() bool { return a.n.Conn("b@test") != nil })
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Start(over, n, nil)
	require.ErrorIs(t, err, context.Canceled)
	g, err := Start(t.Context(), n, nil)
	require.NoError(t, err)
	_, err = Start(t.Context(), n, nil)
	require.ErrorIs(t, err, nodes.ErrNameTaken)
	require.NoError(t, g.Sync(within(t)))
	require.NoError(t, a.Sync(within(t)))
	works(t, a, member{g, n}, "x")
}

// After Close nothing of it is left, and the other nodes go on.
func TestClose(t *testing.T) {
	w := newWorld(t)
	one, other := w.meeting(t)
	kept := one.process(t)
	require.NoError(t, one.Register(within(t), "kept", kept, Method{}))
	require.NoError(t, one.Err())
	require.NoError(t, one.Global.Close())
	<-one.Global.Done()
	require.ErrorIs(t, one.Err(), nodes.ErrClosed)
	for _, name := range []string{serverName, ownerName, helperName} {
		require.Nil(t, one.n.Whereis(name))
	}
	require.ErrorIs(t, one.Register(within(t), "late", one.process(t), Method{}), nodes.ErrClosed)
	require.ErrorIs(t, one.Unregister(within(t), "kept"), nodes.ErrClosed)
	require.ErrorIs(t, one.SetLock(within(t), kept, Lock{Resource: "stock"}), nodes.ErrClosed)
	require.Error(t, one.Sync(within(t)))
	require.NoError(t, one.Global.Close(), "once more")

	pid, ok := other.Whereis("kept")
	require.True(t, ok)
	require.Equal(t, kept.Pid(), pid)
	require.NoError(t, other.Register(within(t), "on", other.process(t), Method{}))
	kept.Close()
	eventually(t, func() bool { _, ok := other.Whereis("kept"); return !ok })
}
