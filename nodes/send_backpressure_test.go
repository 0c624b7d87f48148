package nodes

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/link"
)

// A peer that does not read: senders wait until their contexts end, with nothing sent then, memory
// is bounded, and senders to other peers do not wait.
func TestPeerThatNeverReads(t *testing.T) {
	for kind, sizes := range map[string][]int{"tcp": {300, 300_000}, "unix": {5000}, "memory": {300, 300_000}} {
		for _, size := range sizes {
			t.Run(fmt.Sprint(kind, "/", size), func(t *testing.T) {
				w := newWorld(t, kind)
				a := w.started("alice")
				b := w.started("bob")
				p, c := w.ambush("wire@test").meet(a)
				here, there := box(t, a), box(t, b)

				before, sent, full := heap(), 0, 0
				numbered := func() []byte { return append([]byte{byte(sent), byte(sent >> 8)}, make([]byte, size)...) }
				for {
					ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
					err := here.Send(ctx, p.Self, numbered())
					cancel()
					if err != nil {
						require.ErrorIs(t, err, context.DeadlineExceeded)
						if full++; full == 5 { // the kernel finds room for a while
							break
						}
						continue
					}
					full = 0
					if sent++; sent*size > 100<<20 {
						t.Fatal("senders do not wait")
					}
				}
				require.Less(t, heap()-before, int64(8<<20), "memory of what waits")
				require.NoError(t, c.Err(), "the connection lives")

				// A sender that waits is released by its context, at any time.
				ctx, cancel := context.WithCancel(context.Background())
				waiting := async(func() (int, error) {
					for { // the kernel may find some more room
						if err := here.Send(ctx, p.Self, numbered()); err != nil {
							return 0, err
						}
						sent++
					}
				})
				linking := async(func() (int, error) { return 0, here.Link(ctx, p.Self) })
				calling := async(func() (ei.Term, error) { return a.Call(ctx, p.Self, make([]byte, size)) })
				flushing := async(func() (int, error) { return 0, c.Flush(ctx) })
				require.NoError(t, here.Send(w.ctx(), there.Pid(), "others go on"))
				require.Equal(t, ei.Binary("others go on"), term(t, there))
				cancel()
				require.ErrorIs(t, arrives(t, waiting, "the Send").err, context.Canceled)
				require.ErrorIs(t, arrives(t, calling, "the Call").err, context.Canceled)
				require.ErrorIs(t, arrives(t, flushing, "the Flush").err, context.Canceled)
				arrives(t, linking, "the Link") // there may be room for that much

				// When the peer reads at last, all that was sent is there, whole and in order, and
				// nothing else.
				for i := range sent {
					ctl, got := p.Next()
					for ctl.From != here.Pid() || ctl.Op != dist.OpSendSender { // of the Call and the Link
						ctl, got = p.Next()
					}
					require.Len(t, got, size+2)
					require.Equal(t, []byte{byte(i), byte(i >> 8)}, []byte(got.(ei.Binary)[:2]))
				}
				require.NoError(t, here.Send(w.ctx(), p.Self, "behind"))
				for {
					ctl, got := p.Next()
					if ctl.From == here.Pid() && ctl.Op == dist.OpSendSender {
						require.Equal(t, ei.Binary("behind"), got)
						break
					}
				}
			})
		}
	}
}

// Senders that wait for a peer which does not read get an error when the connection ends.
func TestCloseBesideWaitingSend(t *testing.T) {
	inWorlds(t, kinds, func(t *testing.T, w *world) {
		a := w.started("alice")
		p, c := w.ambush("wire@test").meet(a)
		here := box(t, a)
		for _, size := range []int{10, 100_000, 5 << 20} {
			go func() {
				for here.Send(context.Background(), p.Self, make([]byte, size)) == nil && c.Err() == nil {
				}
			}()
		}
		waiting := async(func() (int, error) {
			for {
				if err := c.Send(context.Background(), p.Self, make([]byte, 50_000)); err != nil {
					return 0, err
				}
			}
		})
		before := int64(-1)
		require.Eventually(t, func() bool { // a carrier below may hold as much as the connection
			queued, sent := link.Within(&c.l).Queue().Buffered()
			stands := queued > 0 && sent == before
			before = sent
			return stands
		}, tooLong, tick)
		inTime(t, "Close", func() { require.NoError(t, c.Close()) })
		require.ErrorIs(t, arrives(t, waiting, "the Send").err, ErrClosed)
	})
}
