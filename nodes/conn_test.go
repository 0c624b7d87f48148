package nodes

import (
	"context"
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/transport"
)

func TestConnExchange(t *testing.T) {
	inWorlds(t, kinds, func(t *testing.T, w *world) {
		ca, cb := w.pair()
		require.Equal(t, "bob@test", ca.Name())
		require.Equal(t, "alice@test", cb.Name())
		require.Equal(t, dist.FlagsDefault, ca.Peer().Announced)
		require.Equal(t, ca.Node().Creation(), cb.Peer().Creation)
		require.Same(t, ca, ca.Node().Conn("bob@test"))
		require.Equal(t, []string{"alice@test"}, cb.Node().Peers())

		ctx := w.ctx()
		require.NoError(t, ca.Send(ctx, cb.Self(), ei.Tuple{ei.Atom("hello"), ca.Self()}))
		m := receive(t, cb)
		require.Equal(t, dist.OpSend, m.Op)
		require.Equal(t, cb.Self(), m.To)
		term := content(t, m)
		require.Equal(t, ei.Tuple{ei.Atom("hello"), ca.Self()}, term)

		require.NoError(t, cb.SendName(ctx, "somebody", []any{1, "two", true}))
		require.NoError(t, cb.SendRaw(ctx, ca.Self(), ei.AppendInt(nil, 7)))
		require.NoError(t, cb.SendNameRaw(ctx, "other", ei.AppendInt(nil, 8)))
		m = receive(t, ca)
		require.Equal(t, dist.OpRegSend, m.Op)
		require.Equal(t, ei.Atom("somebody"), m.ToName)
		require.Equal(t, cb.Self(), m.From)
		term = content(t, m)
		require.Equal(t, ei.List{ei.Int(1), ei.Binary("two"), ei.Atom("true")}, term)
		for i, to := range []ei.Atom{"", "other"} {
			require.NoError(t, ca.ReceiveInto(ctx, m))
			require.Equal(t, to, m.ToName)
			c := ei.NewCursor(m.Payload)
			v := of(c.Int()).must(t)
			require.EqualValues(t, 7+i, v)
		}

		stats := ca.Node().Stats().Peers[0]
		require.Equal(t, []int64{1, 3}, []int64{stats.MessagesSent, stats.MessagesReceived})

		require.NoError(t, ca.Close())
		require.NoError(t, ca.Close(), "twice is once")
		_, err := cb.Receive(ctx)
		require.ErrorIs(t, err, io.EOF)
		require.ErrorIs(t, ended(t, cb), io.EOF)
		require.ErrorIs(t, ca.Err(), ErrClosed)
		_, err = ca.Receive(ctx)
		require.ErrorIs(t, err, ErrClosed)
		require.ErrorIs(t, ca.Send(ctx, cb.Self(), 1), ErrClosed)
		require.ErrorIs(t, cb.Send(ctx, ca.Self(), 1), io.EOF)
		<-cb.l.Left()
		require.Empty(t, cb.Node().Peers())
		require.Nil(t, ca.Node().Conn("bob@test"))
	})
}

// A Receive that is given up in the middle of a frame loses nothing of it.
func TestReceiveCancelled(t *testing.T) {
	p, c := newWorld(t, "memory").wired()
	big := make(ei.Binary, 2*link.TrustedFrame)
	for i := range big {
		big[i] = byte(i >> 4)
	}
	var all []byte
	var want []ei.Term
	for _, term := range []ei.Term{ei.Atom("one"), big, ei.Tuple{ei.Atom("three"), big[:5000]}, ei.Atom("four")} {
		want = append(want, term)
		all = append(all, frame(t, dist.Control{Op: dist.OpSend, To: c.Self()}, term)...)
	}
	written := async(func() (int, error) {
		for len(all) > 0 { // in pieces that fit no frame
			n := min(100_003, len(all))
			if err := p.Write(all[:n]); err != nil {
				return 0, err
			}
			all = all[n:]
		}
		return 0, nil
	})
	var got []ei.Term
	for tries := 0; len(got) < len(want); tries++ {
		ctx, cancel := context.WithCancel(soon(t))
		if tries%2 == 0 {
			stop := context.AfterFunc(ctx, func() {})
			go cancel() // while it waits, or before
			defer stop()
		}
		m, err := c.Receive(ctx)
		cancel()
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			continue
		}
		term := content(t, m)
		got = append(got, term)
	}
	require.NoError(t, (<-written).err)
	for i := range want {
		require.True(t, ei.Identical(want[i], got[i]), i)
	}
}

func TestReceiveIsForOne(t *testing.T) {
	w := newWorld(t, "memory")
	fixed := func(cfg *Config) { cfg.Resolver = Static{"bob@test": {Addr: transport.MemoryAddr("bob@test")}} }
	ca, cb := w.pair(fixed)
	first := async(func() (*Message, error) { return cb.Receive(w.ctx()) })
	require.Eventually(t, link.Within(&cb.l).Reading, tooLong, tick)
	_, err := cb.Receive(w.ctx())
	require.ErrorIs(t, err, ErrBusy)
	require.NoError(t, ca.SendName(w.ctx(), "x", 1))
	require.NoError(t, (<-first).err)

	require.NoError(t, ca.Node().Start(w.ctx()))
	_, err = ca.Receive(w.ctx())
	require.ErrorIs(t, err, ErrBusy, "Start has taken over")
}

func TestSendUnencodable(t *testing.T) {
	ca, cb := newWorld(t, "memory").pair()
	for _, v := range []any{nil, make(chan int), ei.Atom(string(make([]byte, 300)))} {
		require.Error(t, ca.Send(soon(t), cb.Self(), v))
		require.Error(t, ca.SendName(soon(t), "x", v))
	}
	require.Error(t, ca.Send(soon(t), ei.Pid{}, 1), "a pid of nobody")
	require.ErrorIs(t, ca.SendRaw(soon(t), cb.Self(), nil), dist.ErrFrame)
	require.ErrorIs(t, ca.SendNameRaw(soon(t), "x", ei.Raw{}), dist.ErrFrame)
	marshalled := of(ei.Marshal(7)).must(t)
	require.ErrorIs(t, ca.SendRaw(soon(t), cb.Self(), marshalled), dist.ErrFrame, "two version bytes")
	require.ErrorIs(t, ca.SendNameRaw(soon(t), "x", marshalled), dist.ErrFrame)
	require.ErrorIs(t, ca.Send(soon(t), cb.Self(), ei.Raw(marshalled)), ei.ErrTag)
	link := dist.Control{Op: dist.OpLink, From: ca.Self(), To: cb.Self()}
	require.ErrorIs(t, ca.SendControl(soon(t), &link, ei.AppendInt(nil, 1)), dist.ErrFrame)
	require.Error(t, ca.SendControl(soon(t), &dist.Control{Op: 99}, nil))
	require.NoError(t, ca.Err(), "the connection is unharmed")
	require.NoError(t, ca.Send(soon(t), cb.Self(), ei.Atom("fine")))
	require.Equal(t, ei.Atom("fine"), term(t, cb))
}

// Yield may be called by any goroutine, during a Receive, and during a Call that reads in place of
// one.
func TestYieldBesideReceive(t *testing.T) {
	ca, cb := newWorld(t, "tcp").pair()
	stop := make(chan struct{})
	yielded := async(func() (int, error) {
		for {
			select {
			case <-stop:
				return 0, nil
			default:
				cb.Yield()
			}
		}
	})
	for i := range 100 {
		require.NoError(t, ca.Send(soon(t), cb.Self(), i))
		require.Equal(t, ei.Int(i), term(t, cb))
	}
	close(stop)
	require.NoError(t, arrives(t, yielded, "Yield").err)
}

// Under NoWait, calls that would have to wait return an error, and the connection goes on.
func TestConnNoWait(t *testing.T) {
	need.Long(t, 8*time.Second)
	inWorlds(t, kinds, func(t *testing.T, w *world) {
		ca, cb := w.pair()
		_, err := ca.Receive(transport.NoWait())
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		to := ei.Pid{Node: ei.Atom(ca.Name()), ID: 1}
		sent := 0
		// until there is no room anywhere
		for size := 1 << 20; err == nil || sent == 0; sent++ {
			err = ca.Send(transport.NoWait(), to, ei.Binary(make([]byte, size)))
		}
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NoError(t, ca.Err())
		for range sent - 1 {
			m := receive(t, cb)
			require.Greater(t, len(m.Payload), 1<<20)
		}
		require.NoError(t, ca.Send(w.ctx(), to, ei.Atom("on")))
		m := receive(t, cb)
		require.Less(t, len(m.Payload), 100)
	})
}

// While a Call reads from the connection, a Receive under NoWait gets nothing.
func TestConnNoWaitBesideCall(t *testing.T) {
	ca, cb := newWorld(t, "tcp").pair()
	call := async(func() (ei.Term, error) { return ca.RPC(soon(t), "m", "f") })
	receive(t, cb)
	require.Eventually(t, func() bool { return len(ca.l.Turn()) == 1 }, tooLong, tick)
	inTime(t, "Receive", func() {
		_, err := ca.Receive(transport.NoWait())
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	})
	require.NoError(t, cb.Close())
	require.Error(t, (<-call).err)
}
