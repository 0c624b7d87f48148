//go:build unix

package nodes

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A connection whose plug-in cannot be handed over is refused by the plug-in's name, before
// anything changes, and so is a node with it.
func TestFreezeRefused(t *testing.T) {
	for plugin, kind := range map[string]string{"memory": "memory", "stuck": "tcp"} {
		w := newWorld(t, kind)
		edit := func(*Config) {}
		if plugin == "stuck" {
			w.tr = newSick(t, "", fails).transport() // a copy of TCP's callbacks
			edit = func(c *Config) { c.Transport = immovable(t) }
		}
		ca, cb := w.pair(edit)
		n := w.started("front", edit)
		for what, freeze := range map[string]func() error{
			"detach":     func() error { _, err := ca.Detach(w.ctx()); return err },
			"connection": func() error { return thawed(ca.Freeze(w.ctx())) },
			"node":       func() error { return thawed(n.Freeze(w.ctx())) },
		} {
			err := freeze()
			var not *NotMovableError
			require.ErrorAs(t, err, &not, what)
			require.Equal(t, plugin, not.Plugin)
			require.ErrorIs(t, err, errors.ErrUnsupported)
			require.ErrorContains(t, err, plugin)
		}
		require.NoError(t, ca.Err())
		require.True(t, ca.l.Life().IsOpen())
		require.False(t, n.life.IsMoving())
		require.NoError(t, ca.Send(w.ctx(), cb.Self(), 1))
	}
	require.ErrorIs(t, thawed(newWorld(t, "tcp").node("").Freeze(soon(t))), ErrUnnamed)
}

// A node of which one connection is frozen, or held up, is not frozen: Config.Handover is not
// called then, nor is Config.Thawed, and all goes on.
func TestFreezeBesideFrozenConn(t *testing.T) {
	w := newWorld(t, "tcp")
	peer := w.started("peer")
	peer.Expose("m", "f", func(context.Context, []ei.Term) (any, error) { return 1, nil })
	var handed, thawed int
	n := w.started("front", func(c *Config) {
		c.Handover = func(context.Context) ([]byte, error) { handed++; return nil, nil }
		c.Thawed = func() { thawed++ }
	})
	c := connect(t, n, "peer@test")
	f := freeze(t, c)
	_, err := n.Freeze(w.ctx())
	require.ErrorIs(t, err, handoff.ErrBusy)
	require.ErrorContains(t, err, "peer@test")
	require.Zero(t, handed)
	require.Zero(t, thawed)
	f.Thaw()
	of(n.RPC(w.ctx(), "peer@test", "m", "f")).must(t)

	whole := freeze(t, n)
	_, err = c.Freeze(w.ctx())
	require.ErrorIs(t, err, handoff.ErrBusy)
	whole.Thaw()
	require.Equal(t, []int{1, 1}, []int{handed, thawed})
	of(n.RPC(w.ctx(), "peer@test", "m", "f")).must(t)
}

// A frozen connection that is to end does so when it is thawed.
func TestFreezeThaw(t *testing.T) {
	ca, cb := newWorld(t, "tcp").pair()
	f := freeze(t, ca)
	_, err := ca.Freeze(soon(t))
	require.ErrorIs(t, err, handoff.ErrBusy)
	closed := async(func() (any, error) { return nil, ca.Close() })
	sent := async(func() (any, error) { return nil, ca.Send(soon(t), cb.Self(), 1) })
	ctx, cancel := context.WithCancel(soon(t))
	cancel()
	require.ErrorIs(t, ca.Send(ctx, cb.Self(), 1), context.Canceled)
	select {
	case <-closed:
		require.Fail(t, "closed while frozen")
	case <-sent:
		require.Fail(t, "sent while frozen")
	case <-time.After(20 * time.Millisecond):
	}
	f.Thaw()
	f.Thaw()
	require.NoError(t, f.Release(), "too late")
	require.NoError(t, (<-closed).err)
	<-sent
	for err = nil; err == nil; {
		_, err = cb.Receive(soon(t))
	}
	require.ErrorIs(t, err, io.EOF)
}
