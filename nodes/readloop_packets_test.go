package nodes

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/link"
)

// Over a carrier that keeps packets, frames of any size are read whole, and a small message has a
// small buffer.
func TestFramesInPackets(t *testing.T) {
	w := newWorld(t, "packets")
	_, l := w.listening("bob", func(cfg *Config) { cfg.MaxFrame = 3 << 20 })
	p, c := w.joined(l, role("wire@test"))
	last := 0
	const first = link.FirstRoom
	for _, size := range []int{0, 1, first - 100, first, first + 1, 2 * first, 100_000, link.FrameStep, 2<<20 + 3, 5} {
		ctl := dist.Control{Op: dist.OpRegSend, From: p.Self, ToName: "there"}
		f := frame(t, ctl, make(ei.Binary, size))
		done := async(func() (int, error) { return 0, p.Write(append(protocol.AppendTick(nil), f...)) })
		m := receive(t, c)
		require.NoError(t, arrives(t, done, "the write").err)
		require.Len(t, content(t, m), size)
		buffer, _ := m.mem.Inside()
		require.LessOrEqual(t, cap(buffer), max(2*len(f), 128))
		last += len(f)
	}
	require.EqualValues(t, 10, c.l.Traffic().MessagesReceived)
	require.GreaterOrEqual(t, c.l.Traffic().BytesReceived, int64(last), "with lengths")
	f := frame(t, dist.Control{Op: dist.OpRegSend, From: p.Self, ToName: "there"}, make(ei.Binary, 4<<20))
	written := async(func() (int, error) { return 0, p.Write(f) })
	_, err := c.Receive(w.ctx())
	require.ErrorIs(t, err, ErrFrameTooLong)
	require.ErrorIs(t, ended(t, c), ErrFrameTooLong)
	arrives(t, written, "the write's end")
}

// A receive that ends in the middle of a packet goes on with it.
func TestPacketIsReceivedLater(t *testing.T) {
	p, c := newWorld(t, "packets").wired()
	f := frame(t, dist.Control{Op: dist.OpRegSend, From: p.Self, ToName: "there"}, make(ei.Binary, 3<<20))
	written := async(func() (int, error) { return 0, p.Write(f) })
	var m *Message
	for tries := 1; m == nil; tries *= 2 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(tries)*100*time.Microsecond)
		m, _ = c.Receive(ctx)
		cancel()
		require.NoError(t, c.Err())
	}
	require.Len(t, content(t, m), 3<<20)
	require.NoError(t, arrives(t, written, "the write").err)
}

// A tick is a packet of no byte, and a sign of life.
func TestTicksInPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // else ticks may come too late for such an interval
		w := newWorld(t, "packets")
		_, l := w.listening("bob", func(cfg *Config) { cfg.TickInterval = 10 * time.Millisecond })
		p, c := w.joined(l, role("wire@test"))
		require.Empty(t, of(p.ReadFrame(w.ctx())).must(t))
		received := c.l.Traffic().BytesReceived
		go func() { _, _ = c.Receive(context.Background()) }()
		require.NoError(t, p.Write(protocol.AppendTick(nil)))
		require.Eventually(t, func() bool { return c.l.Traffic().BytesReceived > received }, tooLong, tick)
		require.NoError(t, c.Close())
	})
}

// With SendWhole a message leaves in one frame, also to a peer that takes fragments.
func TestSendWhole(t *testing.T) {
	for _, kind := range []string{"memory", "packets"} {
		for _, whole := range []bool{false, true} {
			w := newWorld(t, kind)
			_, l := w.listening("bob", func(cfg *Config) { cfg.SendWhole = whole })
			self := role("wire@test")
			self.Flags &^= dist.FlagDistHdrAtomCache // as tcp_filter_dist has it
			p, c := w.joined(l, self)
			sent := async(func() (int, error) { return 0, c.Send(w.ctx(), p.Self, make(ei.Binary, 1<<20)) })
			body := of(p.ReadFrame(w.ctx())).must(t)
			if whole {
				require.Equal(t, []byte{131, 68, 0}, body[:3])
				require.Greater(t, len(body), 1<<20)
				require.NoError(t, arrives(t, sent, "the end of Send").err)
			} else {
				require.Equal(t, []byte{131, 69}, body[:2])
				require.NoError(t, c.Close())
				require.Error(t, arrives(t, sent, "the end of Send").err)
			}
		}
	}
}
