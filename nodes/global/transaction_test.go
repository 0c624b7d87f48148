package global

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// A single try is one whatever context NoWait's has become.
func TestNoWait(t *testing.T) {
	w := newWorld(t)
	m := w.member(t, "a@test", nil)
	lock := Lock{Resource: "res"}
	require.NoError(t, m.SetLock(within(t), m.process(t), lock))
	derived, cancel := context.WithCancel(transport.NoWait())
	defer cancel()
	for _, ctx := range []context.Context{transport.NoWait(), nodes.NoConnect(transport.NoWait()), derived} {
		require.ErrorIs(t, m.SetLock(ctx, m.process(t), lock), ErrLocked)
		require.ErrorIs(t, m.Trans(ctx, lock, func(context.Context) error { return nil }), ErrLocked)
	}
}

// A lock is on the nodes that it says, and on no other.
func TestLockOnNodes(t *testing.T) {
	w := newWorld(t)
	a, b := w.meeting(t)
	box := a.process(t)
	require.NoError(t, a.SetLock(within(t), box, Lock{Resource: "res", Nodes: []string{"b@test"}}))
	require.NoError(t, a.SetLock(transport.NoWait(), a.process(t), Lock{Resource: "res", Nodes: []string{"a@test"}}))
	require.ErrorIs(t, b.SetLock(transport.NoWait(), b.process(t), Lock{Resource: "res", Nodes: []string{"b@test"}}), ErrLocked)
	require.NoError(t, a.DelLock(within(t), box, Lock{Resource: "res", Nodes: []string{"b@test"}}))
	require.NoError(t, b.SetLock(transport.NoWait(), b.process(t), Lock{Resource: "res", Nodes: []string{"b@test"}}))
}

// Who has no time to wait for the answers has the lock released all the same.
func TestDelLockWithoutTime(t *testing.T) {
	w := newWorld(t)
	a, b := w.meeting(t)
	box, lock := a.process(t), Lock{Resource: "res"}
	require.NoError(t, a.SetLock(within(t), box, lock))
	over, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, a.DelLock(over, box, lock), context.Canceled)
	require.NoError(t, b.SetLock(within(t), b.process(t), lock))
}

// A transaction hears that it has lost its lock.
func TestLockerKilled(t *testing.T) {
	w := newWorld(t)
	m := w.member(t, "a@test", nil)
	err := m.Trans(within(t), Lock{Resource: "res"}, func(ctx context.Context) error {
		if err := m.process(t).SendExit(ctx, m.lockerPid(), ei.Atom("kill")); err != nil {
			return err
		}
		<-ctx.Done()
		return context.Cause(ctx)
	})
	ended := &nodes.ExitError{}
	require.ErrorAs(t, err, &ended)
	require.Equal(t, ei.Term(ei.Atom("killed")), ended.Reason)
	require.NoError(t, m.Trans(within(t), Lock{Resource: "res"}, func(ctx context.Context) error { return ctx.Err() }))
}

// A requester of one's own enters again; a call that is the requester does not.
func TestReentrant(t *testing.T) {
	w := newWorld(t)
	m := w.member(t, "a@test", nil)
	for requester, ok := range map[any]bool{"me": true, nil: false} {
		lock := Lock{Resource: fmt.Sprint("res", requester), Requester: requester}
		require.NoError(t, m.Trans(within(t), lock, func(context.Context) error {
			err := m.Trans(transport.NoWait(), lock, func(context.Context) error { return nil })
			if ok { // and has released the lock, as in Erlang
				require.NoError(t, err)
				require.NoError(t, m.SetLock(transport.NoWait(), m.process(t), Lock{Resource: lock.Resource}))
			} else {
				require.ErrorIs(t, err, ErrLocked)
			}
			return nil
		}))
	}
}
