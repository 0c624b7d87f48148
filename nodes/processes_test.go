package nodes

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/states"
)

// Register refuses a mailbox of another node, and names that Erlang has for nobody; a name that
// cannot be an atom can be neither served, nor sent to, called or monitored, and leaves no monitor
// that a peer does not know of.
func TestNamesAreOfTheNode(t *testing.T) {
	w := newWorld(t, "memory")
	a, other := w.started("alice"), w.started("bob")
	require.ErrorContains(t, a.Register(t.Context(), "foo", box(t, other)), "another Node's")
	require.Nil(t, a.Whereis("foo"))
	b := box(t, a)
	require.ErrorContains(t, a.Register(t.Context(), "", b), "empty")
	require.ErrorContains(t, a.Register(t.Context(), "undefined", b), "whereis")
	require.Nil(t, a.Whereis("undefined"))
	require.ErrorContains(t, a.Register(t.Context(), "joe", nil), "nil")
	_, err := a.Handle("x", nil, nil)
	require.ErrorContains(t, err, "Handler is nil")
	require.NoError(t, a.Register(t.Context(), "foo", b))
	for _, name := range []string{strings.Repeat("x", 256), "\xff"} {
		_, err := a.Serve(name, Server{}, nil)
		require.ErrorIs(t, err, ei.ErrAtom)
		for _, node := range []string{"alice@test", "bob@test"} {
			var e *dist.ControlError
			require.ErrorAs(t, b.SendName(w.ctx(), node, name, "hi"), &e, "%s: %.5q", node, name)
			_, err := b.MonitorName(w.ctx(), node, name)
			require.ErrorAs(t, err, &e, "%s: %.5q", node, name)
			_, err = a.CallName(w.ctx(), node, name, "hi")
			require.ErrorAs(t, err, &e, "%s: %.5q", node, name)
		}
	}
	require.Empty(t, watchingOf(b))
	require.NoError(t, b.SendName(w.ctx(), "alice@test", "nobody", "hi"))
}

// A call that is cut off by the Close of its own node says so, whatever it was about to do.
func TestCallBesideClose(t *testing.T) {
	for range 20 {
		w := newWorld(t, "memory")
		a, b := w.started("alice"), w.started("bob")
		serve(t, b, "s", Server{Call: func(context.Context, *Call) (any, error) { return "x", nil }})
		var all sync.WaitGroup
		called := make(chan struct{}, 1)
		for range 8 {
			all.Go(func() {
				for {
					_, err := a.CallName(w.ctx(), "bob@test", "s", "x")
					if err != nil {
						require.ErrorIs(t, err, ErrClosed)
						return
					}
					select {
					case called <- struct{}{}:
					default:
					}
				}
			})
		}
		arrives(t, called, "an answer")
		require.NoError(t, a.Close())
		all.Wait()
	}
}

// A process that gets back a monitor by a name which it has no longer, from a connection or node
// that was frozen, is found by that name; one with other monitors is not looked at, and one that
// has ended is not kept.
func TestMonitorByFormerNameComesBack(t *testing.T) {
	n := newWorld(t, "memory").started("alice")
	id := bonds.MonitorID{Ref: ei.Ref{Node: "peer@test", Creation: 7, Len: 3, ID: [5]uint32{1, 2, 3}}, Node: "peer@test"}
	by := states.Watcher{Ref: id.Ref, Pid: ei.Pid{Node: id.Node, ID: 1, Creation: 7}}
	note := func(b *Mailbox) {
		require.True(t, b.watched(id.Ref, bonds.Watcher{Pid: by.Pid, Name: by.Name}))
		n.procs.mu.Lock()
		defer n.procs.mu.Unlock()
		n.procs.noteFormer(b, by.Name)
	}
	b, named, ended := box(t, n), box(t, n), box(t, n)
	note(b)
	require.Empty(t, n.procs.former)
	by.Name = "joe"
	require.NoError(t, n.Register(t.Context(), "joe", named))
	note(named)
	require.Empty(t, n.procs.former)
	note(b)
	require.Contains(t, n.procs.former, b)
	n.procs.unwatchByFormerName(id)
	require.Empty(t, watchersOf(b))
	require.NoError(t, ended.Close())
	require.False(t, ended.watched(id.Ref, bonds.Watcher{Pid: by.Pid, Name: by.Name}))
	require.False(t, ended.linked(by.Pid))
	n.procs.mu.Lock()
	n.procs.noteFormer(ended, by.Name)
	n.procs.mu.Unlock()
	require.NotContains(t, n.procs.former, ended)
}
