package nodes

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/inbox"
)

// flood sends a process numbered messages, with so many bytes each.
func (p *wire) flood(to ei.Pid, from, count, size int) {
	p.T.Helper()
	fill := ei.Binary(make([]byte, size))
	var b []byte
	for i := from; i < from+count; i++ {
		b = append(b, frame(p.T, dist.Control{Op: dist.OpSendSender, From: p.Self, To: to}, ei.Tuple{ei.Int(i), fill})...)
		if len(b) > 64<<10 || i == from+count-1 {
			require.NoError(p.T, p.Write(b))
			b = b[:0]
		}
	}
}

// received is the number of the next message, which is a peer's.
func received(t testing.TB, b *Mailbox, p *wire) int {
	t.Helper()
	m := receive(t, b)
	require.Equal(t, dist.OpSend, m.Op)
	require.Equal(t, p.Self, m.From)
	require.Equal(t, b.Pid(), m.To)
	require.Same(t, b.n.Conn(string(p.Self.Node)), m.Conn())
	v := content(t, m)
	m.Release()
	return int(v.(ei.Tuple)[0].(ei.Int))
}

// What waits beyond the limit takes what it counts.
func TestFloodTakesWhatItCounts(t *testing.T) {
	const size, most = 100, 900
	count := need.Fewer(50_000, 150_000)
	w := newWorld(t, "memory")
	n, p := w.met("alice")
	b := box(t, n, &MailboxOptions{Limit: 1 << 20})
	w.conn(n, "wire@test")
	before := heapBefore()
	p.flood(b.Pid(), 0, count, size)
	require.Eventually(t, func() bool { return unreadOf(b) == count }, tooLong, tick)
	takes, counts := int(heap()-before), unread(b)
	t.Logf("%d messages of %d bytes take %d KB, and count %d KB", count, size, takes>>10, counts>>10)
	require.Less(t, takes, most*count)
	require.InEpsilon(t, counts, takes, 0.25)
	require.Less(t, n.Stats().Overflow, counts)
	for i := range 5000 {
		require.Equal(t, i, received(t, b, p))
	}
	runtime.KeepAlive(b)
}

// A mailbox that has ended keeps nothing, whoever still has it.
func TestEndedMailboxKeepsNothing(t *testing.T) {
	const most, unread = int64(2 << 20), int64(20 << 20)
	hangs := func(ctx context.Context, _ *Mailbox, _ *Message) { <-ctx.Done() }
	for name, of := range map[string]func(n *Node) (*Mailbox, error){
		"mailbox": func(n *Node) (*Mailbox, error) { return n.NewMailbox(&MailboxOptions{Limit: int(unread / 2)}) },
		"server": func(n *Node) (*Mailbox, error) {
			return n.Serve("s", Server{Info: hangs}, &MailboxOptions{Limit: int(unread / 2)})
		},
	} {
		for how, end := range map[string]func(b *Mailbox, p *wire){
			"closed": func(b *Mailbox, _ *wire) { b.Close() },
			"killed": func(b *Mailbox, p *wire) {
				p.Send(dist.Control{Op: dist.OpExit2, From: p.Self, To: b.Pid(), Reason: exitReason(ei.Atom("kill"))}, nil)
			},
			"full": func(b *Mailbox, _ *wire) { b.exitFull("test") },
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				w := newWorld(t, "memory")
				n, p := w.met("alice")
				b, err := of(n)
				require.NoError(t, err)
				w.conn(n, "wire@test")
				before := heapBefore()
				const size = 100_000
				p.flood(b.Pid(), 0, int(unread/size), size)
				require.Eventually(t, func() bool { return unreadOf(b) >= int(unread/size)-1 }, tooLong, tick)
				require.Greater(t, heap()-before, unread/2)
				require.NotZero(t, n.Stats().Overflow)
				end(b, p)
				arrives(t, b.Done(), "the end")
				require.Eventually(t, func() bool { return heap()-before < most }, tooLong, tick)
				require.Zero(t, n.Stats().Overflow)
				require.Zero(t, unreadOf(b))
				_, err = b.Receive(w.ctx())
				require.ErrorIs(t, err, ErrClosed)
				runtime.KeepAlive(b)
			})
		}
	}
}

// A process that is slow, but receives, does not hold its sender's connection for longer than the
// policy says: it ends. With FullWait it gets everything instead. Nobody sleeps: the time is
// synctest's.
func TestSlowProcessDoesNotHoldItsLink(t *testing.T) {
	const limit, pause, count = 100_000, 5 * time.Millisecond, 4000
	for full, holds := range map[Full]bool{FullBlock: false, FullWait: true} {
		t.Run(fmt.Sprint("holds ", holds), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				log := new(record)
				n := w.started("alice", func(cfg *Config) { cfg.OverflowLimit, cfg.Logger = 2*limit, slog.New(slog.NewTextHandler(log, nil)) })
				n.Expose("m", "echo", FuncOf(func(s string) string { return s }))
				slow := registered(t, n, "slow", &MailboxOptions{Limit: limit / 10, Full: full})
				var got []int
				done := make(chan struct{})
				go func() {
					defer close(done)
					for m, err := range Messages[ei.Tuple](context.Background(), slow) {
						if err != nil {
							return
						}
						got = append(got, int(m[0].(ei.Int)))
						if len(got) == count {
							return
						}
						time.Sleep(pause)
					}
				}()
				a := w.started("bob")
				from := box(t, a)
				linked := box(t, a)
				require.NoError(t, linked.Link(w.ctx(), slow.Pid()))
				var sent atomic.Bool
				var worst time.Duration
				asked := make(chan struct{})
				go func() {
					defer close(asked)
					for !sent.Load() {
						begun := time.Now()
						of(a.RPC(context.Background(), n.Name(), "m", "echo", "hello")).must(t)
						worst = max(worst, time.Since(begun))
						time.Sleep(pause)
					}
				}()
				fill := ei.Binary(make([]byte, 100))
				for i := range count {
					require.NoError(t, from.Send(context.Background(), slow.Pid(), ei.Tuple{ei.Int(i), fill}))
				}
				require.NoError(t, a.Conn(n.Name()).Flush(context.Background()))
				sent.Store(true)
				<-asked
				<-done
				t.Logf("%d received, worst call %v", len(got), worst)
				require.True(t, slices.IsSorted(got))
				if holds {
					require.Len(t, got, count)
					require.NoError(t, slow.Err())
					require.Empty(t, log.Lines("mailbox ended"))
					require.Greater(t, worst, inbox.HoldLimit)
					return
				}
				require.Less(t, len(got), count)
				require.Equal(t, mailboxFull, exited(t, slow))
				require.Equal(t, mailboxFull, exited(t, linked))
				require.LessOrEqual(t, worst, inbox.HoldLimit+time.Second)
				require.Len(t, log.Lines("level=ERROR", "mailbox ended", "slow", "for 2s out of 10s", "bob@test"), 1)
				require.EqualValues(t, 1, n.Stats().MailboxesFull)
				require.Zero(t, n.Stats().Overflow)
			})
		})
	}
}

// For a mailbox that may not hold a connection, one that may does not end.
func TestWaitingMailboxDoesNotEndForAnother(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		n, p := w.met("alice", func(cfg *Config) { cfg.OverflowLimit = 400_000 })
		waits := box(t, n, &MailboxOptions{Limit: 1, Full: FullWait})
		blocks := box(t, n, &MailboxOptions{Limit: 1})
		p.flood(waits.Pid(), 0, 200, 100)
		synctest.Wait()
		begun := time.Now()
		go p.flood(blocks.Pid(), 0, 300, 100)
		require.Equal(t, mailboxFull, exited(t, blocks))
		require.Equal(t, inbox.HoldLimit, time.Since(begun))
		synctest.Wait()
		require.NoError(t, waits.Err())
		require.Equal(t, 200, unreadOf(waits))
	})
}
