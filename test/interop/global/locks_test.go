package global

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes/global"
	"github.com/cnode-go/cnode/transport"
)

// Locks exclude each other from both sides, and end with their holders.
func locks(t *testing.T, a, b *otp.Node) {
	m := startMember(t, uniqueName("g"), a.EpmdPort())
	m.connect(t, a)
	m.connect(t, b)
	meet(t, []member{m}, []*otp.Node{a, b})

	// Erlang has it, then Go
	require.Equal(t, "true", a.Eval(t, `P = self(),
		H = spawn(fun() -> P ! {locked, global:set_lock({res, self()})}, receive stop -> ok end end),
		persistent_term:put(holder, H), receive {locked, Is} -> Is end`))
	box := m.process(t)
	lock := global.Lock{Resource: "res"}
	require.ErrorIs(t, m.SetLock(transport.NoWait(), box, lock), global.ErrLocked)
	a.Eval(t, `persistent_term:get(holder) ! stop`)
	require.NoError(t, m.SetLock(within(t), box, lock))
	require.NoError(t, m.SetLock(within(t), box, lock), "the same requester")
	require.Equal(t, "false", b.Eval(t, `global:set_lock({res, self()}, [node() | nodes()], 0)`))
	require.NoError(t, m.DelLock(within(t), box, lock))
	require.Equal(t, "true", b.Eval(t, `R = global:set_lock({res, self()}, [node() | nodes()], 0), global:del_lock({res, self()}), R`))

	// a holder that ends
	require.NoError(t, m.SetLock(within(t), box, lock))
	box.Close()
	eventually(t, func() bool {
		return b.Eval(t, `R = global:set_lock({res, self()}, [node() | nodes()], 0), global:del_lock({res, self()}), R`) == "true"
	})

	// transactions from everywhere, one at a time
	var inside, done atomic.Int32
	counted := func(context.Context) error {
		if inside.Add(1) != 1 {
			t.Error("two have the lock")
		}
		time.Sleep(time.Millisecond)
		inside.Add(-1)
		done.Add(1)
		return nil
	}
	m.n.Expose("counter", "in", func(ctx context.Context, _ []ei.Term) (any, error) { return true, counted(ctx) })
	others := []func() string{
		a.Async(t, text(`[global:trans({count, self()}, fun() -> rpc:call('%s', counter, in, []) end) || _ <- lists:seq(1, 5)]`, m.n.Name())),
		b.Async(t, text(`[global:trans({count, self()}, fun() -> rpc:call('%s', counter, in, []) end) || _ <- lists:seq(1, 5)]`, m.n.Name())),
	}
	for range 5 {
		require.NoError(t, m.Trans(within(t), global.Lock{Resource: "count"}, counted))
	}
	for _, f := range others {
		require.Equal(t, "[true,true,true,true,true]", f())
	}
	require.EqualValues(t, 15, done.Load())
}
