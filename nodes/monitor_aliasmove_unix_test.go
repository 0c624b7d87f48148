//go:build unix

package nodes

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// Aliases, and what has come to them with priority, go on in another process; in that of a server
// or a mailbox that is registered there again, too.
func TestAliasesMove(t *testing.T) {
	for _, kind := range movers {
		for _, registered := range []bool{false, true} {
			w := newWorld(t, kind)
			peer := w.started("peer")
			sender := box(t, peer)
			n := w.started("front", func(cfg *Config) {
				cfg.Setup = func(n *Node) error {
					if !registered && n.inherited.Load() != nil {
						return nil
					}
					_, err := n.register("b", nil, &MailboxOptions{Priority: true})
					return err
				}
			})
			b := n.Whereis("b")
			explicit, once, ended := aliasOf(t, b), aliasOf(t, b, AliasReply), aliasOf(t, b, AliasReply)
			first := aliasOf(t, b, AliasPriority)
			watched := of(b.Monitor(w.ctx(), sender.Pid(), AliasReply)).must(t)
			require.NoError(t, sender.SendAlias(w.ctx(), ended, ei.Atom("before")))
			require.NoError(t, sender.SendPriority(w.ctx(), first, ei.Atom("p1")))
			require.NoError(t, sender.SendPriority(w.ctx(), first, ei.Atom("p2")))
			require.Eventually(t, func() bool { return unreadOf(b) == 3 }, tooLong, tick)

			n = upgrade(t, n)
			b = n.Whereis("b")
			for _, text := range []string{"x", "y"} {
				for _, to := range []ei.Ref{explicit, once, ended, watched} {
					require.NoError(t, sender.SendAlias(w.ctx(), to, ei.Atom(text)))
				}
			}
			require.NoError(t, sender.SendPriority(w.ctx(), first, ei.Atom("p3")))
			require.NoError(t, sender.SendAlias(w.ctx(), explicit, ei.Atom("last")))
			require.Eventually(t, func() bool { return unreadOf(b) == 9 }, tooLong, tick)
			require.Equal(t, []string{"p1", "p2", "p3", "before", "x", "x", "x", "y"}, textsUntil(t, b, "last"))
			require.Empty(t, watchingOf(b))
			require.False(t, b.Unalias(once))
			require.True(t, b.Unalias(explicit))
			require.True(t, b.Unalias(first))
		}
	}
}

// A reply that comes after the move of the node that has called is dropped.
func TestReplyAfterMove(t *testing.T) {
	n, p := newWorld(t, movers[0]).met("front")
	done := async(func() (ei.Term, error) { return n.CallName(soon(t), "wire@test", "srv", ei.Atom("question")) })
	ctl, _ := p.Next()
	ref := ctl.Ref
	p.Next()
	n = upgrade(t, n)
	require.ErrorIs(t, arrives(t, done, "the call").err, ErrMoved)
	lost := n.Stats().Undeliverable
	p.Send(dist.Control{Op: dist.OpAltactSigSend, Flags: dist.AltactAlias, From: p.Self, Ref: ref},
		ei.Tuple{otp.AliasTag(ref), ei.Atom("late")})
	require.Eventually(t, func() bool { return n.Stats().Undeliverable == lost+1 }, tooLong, tick)
}

// A state whose aliases are another node's, or two mailboxes', is refused.
func TestStateOfAliases(t *testing.T) {
	n := newWorld(t, movers[0]).started("front")
	a, b := box(t, n), box(t, n)
	same := aliasOf(t, a)
	for _, ref := range []ei.Ref{same, {Node: "other@test", Creation: same.Creation, Len: 3}} {
		b.bonds.PutAlias(ref, bonds.Explicit)
		f := freeze(t, n)
		_, err := Restore(again(n), f.State(), duplicates(t, f.Descriptors()))
		require.ErrorIs(t, err, ErrState)
		require.ErrorContains(t, err, "alias")
		f.Thaw()
		b.bonds.ClearAliases()
	}
}
