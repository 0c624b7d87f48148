//go:build unix

package nodes

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/transport/handoff"
)

// Messages beyond the limit move with their node, in order.
func TestOverflowMoves(t *testing.T) {
	n, p := newWorld(t, "tcp").met("alice")
	b := registered(t, n, "slow", &MailboxOptions{Limit: 3000})
	p.flood(b.Pid(), 0, 100, 100)
	require.Eventually(t, func() bool { return unreadOf(b) == 100 }, tooLong, tick)
	require.NotZero(t, n.Stats().Overflow)
	for i := range 20 {
		require.Equal(t, i, received(t, b, p))
	}
	p.flood(b.Pid(), 100, 10, 100)
	require.Eventually(t, func() bool { return unreadOf(b) == 90 }, tooLong, tick)
	n = upgrade(t, n)
	b = n.Whereis("slow")
	p.flood(b.Pid(), 110, 10, 100)
	for i := 20; i < 120; i++ {
		require.Equal(t, i, received(t, b, p))
	}
	require.Zero(t, n.Stats().Overflow)
}

// A freeze of a connection waits for the answers to requests beyond the limit, too; not once the
// server has ended.
func TestFreezeAwaitsRequestsThatOverflow(t *testing.T) {
	for _, ends := range []bool{false, true} {
		t.Run(fmt.Sprint("ends ", ends), func(t *testing.T) {
			w := newWorld(t, "tcp")
			peer := w.started("peer")
			r := w.shuttle("peer@test", true)
			s := newSlow()
			b := serve(t, r.n[0], "srv", s.server(), &MailboxOptions{Limit: 1})
			const calls = 5
			answers := make(chan error, calls)
			for i := range calls {
				request := ei.Tuple{ei.Int(i), ei.Binary(make([]byte, 300))}
				go func() { _, err := peer.CallName(w.ctx(), "mover@test", "srv", request); answers <- err }()
			}
			<-s.entered
			b.arrived(t, calls-1)
			frozen := async(func() (handoff.Frozen, error) { return r.c.Freeze(w.ctx()) })
			require.Eventually(t, func() bool { return r.c.works.Count() == calls }, tooLong, tick)
			if ends {
				b.Exit(ei.Atom("shutdown"))
			}
			close(s.proceed)
			f := arrives(t, frozen, "the freeze").must(t)
			require.Zero(t, r.c.works.Count())
			f.Thaw()
			for range calls {
				require.Equal(t, ends, arrives(t, answers, "an answer") != nil)
			}
		})
	}
}
