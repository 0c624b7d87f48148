package nodes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// textsUntil receives messages, as text, until one is last.
func textsUntil(t testing.TB, b *Mailbox, last string) (got []string) {
	t.Helper()
	for {
		m := receive(t, b)
		text := m.Op.String()
		if m.Payload != nil {
			term := content(t, m)
			text = term.String()
		}
		if text == last {
			return got
		}
		got = append(got, text)
	}
}

// prioritised makes a mailbox that receives first what comes with priority.
func prioritised(t testing.TB, n *Node) *Mailbox {
	t.Helper()
	return box(t, n, &MailboxOptions{Priority: true, TrapExit: true})
}

func aliasOf(t testing.TB, b *Mailbox, o ...AliasOption) ei.Ref {
	t.Helper()
	return of(b.Alias(context.Background(), o...)).must(t)
}

// ALTACT_SIG_SEND is received as the plain operation.
func TestAltactBecomesPlain(t *testing.T) {
	n, p := newWorld(t, "tcp").met("alice")
	b := prioritised(t, n)
	require.NoError(t, n.Register(t.Context(), "b", b))
	plain, first := aliasOf(t, b), aliasOf(t, b, AliasPriority)
	token := ei.Raw{byte(ei.TagNilExt)}
	const prio = dist.AltactPrio
	for _, tt := range []struct {
		ctl  dist.Control
		want dist.Control
	}{
		{dist.Control{To: b.Pid()}, dist.Control{Op: dist.OpSend, To: b.Pid()}},
		{dist.Control{To: b.Pid(), Flags: prio}, dist.Control{Op: dist.OpSend, To: b.Pid()}},
		{dist.Control{To: b.Pid(), Flags: dist.AltactToken, Token: token}, dist.Control{Op: dist.OpSend, To: b.Pid(), Token: token}},
		{dist.Control{ToName: "b", Flags: dist.AltactName}, dist.Control{Op: dist.OpRegSend, ToName: "b"}},
		{dist.Control{ToName: "b", Flags: dist.AltactName | prio}, dist.Control{Op: dist.OpRegSend, ToName: "b"}},
		{dist.Control{Ref: plain, Flags: dist.AltactAlias}, dist.Control{Op: dist.OpAliasSend, Ref: plain}},
		{dist.Control{Ref: plain, Flags: dist.AltactAlias | prio}, dist.Control{Op: dist.OpAliasSend, Ref: plain}},
		{dist.Control{Ref: first, Flags: dist.AltactAlias}, dist.Control{Op: dist.OpAliasSend, Ref: first}},
		{dist.Control{Ref: first, Flags: dist.AltactAlias | prio}, dist.Control{Op: dist.OpAliasSend, Ref: first, Flags: prio}},
		{dist.Control{To: b.Pid(), Flags: dist.AltactExit}, dist.Control{Op: dist.OpExit, To: b.Pid()}},
		{dist.Control{To: b.Pid(), Flags: dist.AltactExit | prio}, dist.Control{Op: dist.OpExit, To: b.Pid()}},
		{dist.Control{Ref: plain, Flags: dist.AltactAlias | dist.AltactExit | prio}, dist.Control{Op: dist.OpExit, To: b.Pid()}},
		{dist.Control{Ref: first, Flags: dist.AltactAlias | dist.AltactExit | prio}, dist.Control{Op: dist.OpExit, To: b.Pid(), Flags: prio}},
	} {
		tt.ctl.Op, tt.ctl.From, tt.want.From = dist.OpAltactSigSend, p.Self, p.Self
		p.Send(tt.ctl, ei.Atom("x"))
		m := receive(t, b)
		if tt.want.Op == dist.OpExit {
			require.Equal(t, "x", m.Reason.String())
			tt.want.Reason = m.Reason
		}
		require.Equal(t, tt.want, m.Control, tt.ctl)
	}

	// What has no meaning is skipped, and the connection goes on.
	for _, flags := range []uint64{32, dist.AltactName | dist.AltactExit, 1 << 40} {
		ctl := dist.Control{Op: dist.OpAltactSigSend, From: p.Self, Flags: flags, To: b.Pid(), ToName: "b"}
		p.Send(ctl, ei.Atom("skipped"))
	}
	p.Say("b", ei.Atom("last"))
	require.Empty(t, textsUntil(t, b, "last"))
	// An exit signal to an alias ends a process that does not trap exits.
	victim := box(t, n)
	at := aliasOf(t, victim)
	p.Send(dist.Control{Op: dist.OpAltactSigSend, Flags: dist.AltactAlias | dist.AltactExit, From: p.Self, Ref: at}, ei.Atom("why"))
	arrives(t, victim.Done(), "the end")
	require.ErrorContains(t, victim.Err(), "why")
}

// An alias takes messages until it ends, whoever sends them.
func TestAlias(t *testing.T) {
	w := newWorld(t, "tcp")
	here, there := w.started("here"), w.started("there")
	old := role("wire@test")
	old.Flags &^= dist.FlagAltactSig
	p := w.peer(here.Listeners()[0], old)
	for name, sender := range map[string]func(ctx context.Context, to ei.Ref, term any) error{
		"a process of this node": box(t, here).SendAlias,
		"one of another node":    box(t, there).SendAlias,
		"one that has it urgent": box(t, there).SendPriority,
		"an older node": func(_ context.Context, to ei.Ref, term any) error {
			p.Send(dist.Control{Op: dist.OpAliasSend, From: p.Self, Ref: to}, term.(ei.Term))
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := box(t, here)
			lost := here.Stats().Undeliverable
			send := func(to ei.Ref, text string) { require.NoError(t, sender(w.ctx(), to, ei.Atom(text))) }
			explicit, once, last := aliasOf(t, b, AliasExplicit), aliasOf(t, b, AliasReply), aliasOf(t, b)
			require.NotEqual(t, explicit, last)
			for _, text := range []string{"a", "b"} {
				send(explicit, text)
				send(once, "once_"+text)
			}
			send(last, "last")
			require.Equal(t, []string{"a", "once_a", "b"}, textsUntil(t, b, "last"))
			require.True(t, b.Unalias(explicit))
			require.False(t, b.Unalias(explicit))
			require.False(t, b.Unalias(once))
			send(explicit, "gone")
			send(last, "last")
			require.Empty(t, textsUntil(t, b, "last"))
			require.Equal(t, lost+2, here.Stats().Undeliverable)

			require.NoError(t, b.Close())
			require.False(t, b.Unalias(last))
			send(last, "gone")
			require.Eventually(t, func() bool { return here.Stats().Undeliverable == lost+3 }, tooLong, tick)
			_, err := b.Alias(context.Background())
			require.ErrorAs(t, err, new(*ExitError))
			require.Zero(t, here.procs.aliases.Len())
		})
	}
}

// Only one of many senders gets through to an alias for one message.
func TestAliasForOneMessage(t *testing.T) {
	n := newWorld(t, "tcp").started("alice")
	b, last := box(t, n), box(t, n)
	for range 20 {
		once := aliasOf(t, b, AliasReply)
		sent := make(chan error)
		const senders = 8
		for range senders {
			go func() { sent <- last.SendAlias(soon(t), once, ei.Atom("x")) }()
		}
		for range senders {
			require.NoError(t, arrives(t, sent, "a sender"))
		}
		require.NoError(t, last.Send(soon(t), b.Pid(), ei.Atom("last")))
		require.Equal(t, []string{"x"}, textsUntil(t, b, "last"))
	}
}

func TestAliasErrors(t *testing.T) {
	n := newWorld(t, "tcp").started("alice")
	b := box(t, n)
	for _, options := range [][]AliasOption{
		{AliasDemonitor}, {AliasExplicit, AliasReply}, {AliasReply | AliasDemonitor}, {64}, {AliasPriority, -1},
	} {
		_, err := b.Alias(context.Background(), options...)
		require.Error(t, err, options)
		require.Empty(t, maps.Collect(b.bonds.Aliases()))
	}
	for _, options := range [][]AliasOption{{AliasPriority}, {AliasExplicit, AliasDemonitor}, {16}} {
		_, err := b.Monitor(soon(t), b.Pid(), options...)
		require.ErrorContains(t, err, "AliasExplicit", options)
		require.Empty(t, watchingOf(b))
	}
	_, err := n.Whereis("rex").Alias(context.Background())
	require.ErrorIs(t, err, errors.ErrUnsupported)

	// An alias that somebody makes up is nobody's.
	ref := of(n.NewRef()).must(t)
	require.NoError(t, b.SendAlias(soon(t), ref, ei.Atom("x")))
	require.NoError(t, b.SendPriority(soon(t), ei.Ref{Node: "alice@test", Creation: 4, Len: 1}, ei.Atom("x")))
	require.Error(t, b.SendPriority(soon(t), ref, make(chan int)))
	require.Equal(t, int64(2), n.Stats().Undeliverable)
}

// A monitor may be an alias, which ends before it, with it, or takes it along.
func TestMonitorWithAlias(t *testing.T) {
	w := newWorld(t, "tcp")
	n, far := w.started("alice"), w.started("bob")
	for _, tt := range []struct {
		how            AliasOption
		take           []string // of two messages
		watches, stays bool     // the monitor after these, the alias after the monitor's end
	}{
		{0, nil, true, false},
		{AliasExplicit, []string{"one", "two"}, true, true},
		{AliasExplicit | AliasPriority, []string{"one", "two"}, true, true},
		{AliasDemonitor, []string{"one", "two"}, true, false},
		{AliasReply, []string{"one"}, false, false},
	} {
		for _, at := range []*Node{n, far} {
			for _, end := range []string{"down", "demonitor", "node"} {
				if end == "node" && at == n {
					continue
				}
				t.Run(fmt.Sprint(tt.how, at.Name(), end), func(t *testing.T) {
					b, watched := box(t, n), box(t, at)
					var options []AliasOption
					if tt.how != 0 {
						options = append(options, tt.how)
					}
					ref := of(b.Monitor(w.ctx(), watched.Pid(), options...)).must(t)
					require.Eventually(t, func() bool { return len(watchersOf(watched)) == 1 }, tooLong, tick)
					for _, text := range []string{"one", "two"} {
						require.NoError(t, watched.SendAlias(w.ctx(), ref, ei.Atom(text)))
					}
					require.NoError(t, watched.Send(w.ctx(), b.Pid(), ei.Atom("last")))
					require.Equal(t, tt.take, textsUntil(t, b, "last"))
					require.Equal(t, tt.watches, len(watchingOf(b)) == 1)
					if !tt.watches {
						require.Eventually(t, func() bool { return len(watchersOf(watched)) == 0 }, tooLong, tick)
						return
					}
					switch end {
					case "down":
						require.NoError(t, watched.Close())
					case "demonitor":
						b.Demonitor(context.Background(), ref)
					case "node":
						require.NoError(t, n.Conn(far.Name()).Close())
					}
					if end != "demonitor" {
						require.Equal(t, dist.OpMonitorPExit, receive(t, b).Op)
					}
					require.Equal(t, tt.stays, b.Unalias(ref))
				})
			}
		}
	}
	require.Zero(t, n.procs.aliases.Len())
}

// The memory of aliases that have ended is given back.
func TestAliasMemory(t *testing.T) {
	n := newWorld(t, "tcp").started("alice")
	b, ctx := box(t, n), soon(t)
	before := heap()
	all := make([]ei.Ref, need.Fewer(20_000, 100_000))
	for i := range all {
		all[i] = aliasOf(t, b, AliasReply)
	}
	full := heap()
	for i, ref := range all {
		if i%2 == 0 {
			require.True(t, b.Unalias(ref))
		} else {
			require.NoError(t, b.SendAlias(ctx, ref, ei.Int(i)))
			m := of(b.Receive(ctx)).must(t)
			m.Release()
		}
	}
	all = nil
	runtime.KeepAlive(b)
	require.Less(t, heap(), before+(full-before)/10)
}

// The memory of monitors that have ended is given back, on both sides, though a few stay.
func TestMonitorMemory(t *testing.T) {
	w := newWorld(t, "tcp")
	n, far := w.started("alice"), w.started("bob")
	b, ctx := box(t, n), w.ctx()
	for _, at := range []*Node{n, far} {
		watched := box(t, at)
		before := heap()
		refs := make([]ei.Ref, need.Fewer(5_000, 20_000))
		for i := range refs {
			ref := of(b.Monitor(ctx, watched.Pid())).must(t)
			refs[i] = ref
		}
		watchers := func(count int) func() bool {
			return func() bool {
				watched.mu.Lock()
				defer watched.mu.Unlock()
				_, _, is := watched.bonds.Counts()
				return is == count
			}
		}
		require.Eventually(t, watchers(len(refs)), tooLong, tick)
		full := heap()
		const stay = 3
		for _, ref := range refs[stay:] {
			b.Demonitor(context.Background(), ref)
		}
		require.Eventually(t, watchers(stay), tooLong, tick)
		refs = nil
		require.Less(t, heap(), before+(full-before)/10)
		runtime.KeepAlive(watched)
	}
	runtime.KeepAlive(b)
}

// Messages with priority are received before others, in order, where both the mailbox and the alias
// are for that.
func TestPriority(t *testing.T) {
	w := newWorld(t, "tcp")
	n, far := w.started("alice"), w.started("bob")
	for _, tt := range []struct {
		mailbox, alias, ahead bool
	}{{true, true, true}, {true, false, false}, {false, true, false}, {false, false, false}} {
		for _, at := range []*Node{n, far} {
			t.Run(fmt.Sprint(tt, at.Name()), func(t *testing.T) {
				b := box(t, n, &MailboxOptions{Priority: tt.mailbox, TrapExit: true})
				how := AliasExplicit
				if tt.alias {
					how |= AliasPriority
				}
				alias, sender := aliasOf(t, b, how), box(t, at)
				var ordinary, urgent []string
				for i := range 1000 {
					text := fmt.Sprint("n", i)
					require.NoError(t, sender.Send(w.ctx(), b.Pid(), ei.Atom(text)))
					ordinary = append(ordinary, text)
				}
				for i := range 3 {
					text := fmt.Sprint("p", i)
					require.NoError(t, sender.SendPriority(w.ctx(), alias, ei.Atom(text)))
					urgent = append(urgent, text)
				}
				require.NoError(t, sender.SendAlias(w.ctx(), alias, ei.Atom("last")))
				require.Eventually(t, func() bool { return unreadOf(b) == 1004 }, tooLong, tick)
				want := append(ordinary[:1000:1000], urgent...)
				if tt.ahead {
					want = append(urgent, ordinary...)
				}
				require.Equal(t, want, textsUntil(t, b, "last"))
			})
		}
	}
}

func unreadOf(b *Mailbox) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.inbox.Len()
}

// What goes ahead has a limit, too, and takes part in what happens at the limit.
func TestPriorityLimit(t *testing.T) {
	w := newWorld(t, "tcp")
	n, far := w.started("alice"), w.started("bob")
	for _, full := range []Full{FullBlock, FullExit} {
		b := box(t, n, &MailboxOptions{Priority: true, Limit: 3 * messageCost, Full: full})
		alias, sender := aliasOf(t, b, AliasPriority), box(t, far)
		for i := range 9 {
			require.NoError(t, sender.SendPriority(w.ctx(), alias, ei.Int(i)))
		}
		if full == FullExit {
			arrives(t, b.Done(), "the end of the mailbox")
			require.ErrorContains(t, b.Err(), "mailbox_full")
			continue
		}
		require.NoError(t, sender.SendAlias(w.ctx(), alias, ei.Atom("last"))) // that has room
		require.Eventually(t, func() bool { return unreadOf(b) == 10 }, tooLong, tick)
		require.Positive(t, b.overflowOf(far.Name()))
		// a goroutine of the program waits until there is room
		own, short := box(t, n), brief(t)
		require.Error(t, own.SendPriority(short, alias, ei.Atom("late")))
		require.Equal(t, strings.Fields("0 1 2 3 4 5 6 7 8"), textsUntil(t, b, "last"))
		require.Zero(t, b.overflowOf(far.Name()))
		require.NoError(t, own.SendPriority(short, alias, ei.Atom("in_time")))

		// What overflows goes with the mailbox.
		for i := range 9 {
			require.NoError(t, sender.SendPriority(w.ctx(), alias, ei.Int(i)))
		}
		require.Eventually(t, func() bool { return unreadOf(b) == 10 }, tooLong, tick)
		b.exitFull("test")
		require.Zero(t, b.overflowOf(far.Name()))
	}
}

// What leaves with priority has the form that the peer knows; what is large leaves without.
func TestSendPriority(t *testing.T) {
	w := newWorld(t, "tcp")
	ref := ei.Ref{Node: "wire@test", Creation: 77, Len: 3, ID: [5]uint32{1, 2, 3}}
	large := ei.Binary(make([]byte, maxPriority))
	for i, tt := range []struct {
		without dist.Flags
		term    ei.Term
		want    dist.Control
	}{
		{0, ei.Atom("x"), dist.Control{Op: dist.OpAltactSigSend, Flags: dist.AltactAlias | dist.AltactPrio}},
		{0, large[:maxPriority-5], dist.Control{Op: dist.OpAltactSigSend, Flags: dist.AltactAlias | dist.AltactPrio}},
		{0, large[:maxPriority-4], dist.Control{Op: dist.OpAltactSigSend, Flags: dist.AltactAlias}},
		{dist.FlagAlias, ei.Atom("x"), dist.Control{Op: dist.OpAltactSigSend, Flags: dist.AltactAlias | dist.AltactPrio}},
		{dist.FlagAltactSig, ei.Atom("x"), dist.Control{Op: dist.OpAliasSend}},
		{dist.FlagAltactSig | dist.FlagAlias, ei.Atom("x"), dist.Control{}},
	} {
		n := w.started(fmt.Sprint("n", i))
		b, peer := box(t, n), role("wire@test")
		peer.Flags &^= tt.without
		p := w.peer(n.Listeners()[0], peer)
		err := b.SendPriority(w.ctx(), ref, tt.term)
		if tt.want.Op == 0 {
			require.ErrorIs(t, err, errors.ErrUnsupported)
			continue
		}
		require.NoError(t, err)
		ctl, term := p.Next()
		tt.want.From, tt.want.Ref = b.Pid(), ref
		require.Equal(t, tt.want, ctl)
		require.Equal(t, tt.term, term)
		p.Close()
	}
}

// A call asks for its reply at an alias, takes it however it comes, and none that comes too late.
func TestCallsUseAliases(t *testing.T) {
	for _, tt := range []struct {
		without dist.Flags
		reply   dist.Op
	}{
		{0, dist.OpAltactSigSend},
		{0, dist.OpSend}, // of an older gen, or a node written by hand
		{dist.FlagAlias, dist.OpAltactSigSend},
		{dist.FlagAltactSig, dist.OpAliasSend},
		{dist.FlagAltactSig | dist.FlagAlias, dist.OpSend},
	} {
		w := newWorld(t, "tcp")
		n := w.started("alice")
		peer := role("wire@test")
		peer.Flags &^= tt.without
		p := w.peer(n.Listeners()[0], peer)
		b := box(t, n)
		for name, call := range map[string]func(context.Context, string, string, any) (ei.Term, error){
			"of the node": n.CallName, "of a mailbox": b.CallName,
		} {
			t.Run(fmt.Sprint(name, tt), func(t *testing.T) {
				ctx, giveUp := context.WithCancel(w.ctx())
				defer giveUp()
				done := async(func() (ei.Term, error) { return call(ctx, "wire@test", "srv", ei.Atom("question")) })
				ctl, _ := p.Next()
				require.Equal(t, dist.OpMonitorP, ctl.Op)
				ref := ctl.Ref
				ctl, request := p.Next()
				require.Equal(t, dist.OpRegSend, ctl.Op)
				tag := func() ei.Term {
					if tt.without == dist.FlagAlias|dist.FlagAltactSig {
						return ref
					}
					return otp.AliasTag(ref)
				}
				require.Equal(t, genCallFrom(ctl.From, tag(), ei.Atom("question")), request)
				reply := func(text string) {
					answer := dist.Control{Op: tt.reply, From: p.Self, Ref: ref, Flags: dist.AltactAlias}
					if tt.reply == dist.OpSend {
						answer.To = ctl.From
					}
					p.Send(answer, ei.Tuple{tag(), ei.Atom(text)})
				}
				reply("answer")
				require.Equal(t, ei.Atom("answer"), arrives(t, done, "the reply").must(t))
				p.Next() // DEMONITOR_P
				lost := n.Stats().Undeliverable
				reply("too_late")
				require.Eventually(t, func() bool { return n.Stats().Undeliverable == lost+1 }, tooLong, tick)

				// The same after a call that has been given up.
				done = async(func() (ei.Term, error) { return call(ctx, "wire@test", "srv", ei.Atom("question")) })
				ctl, _ = p.Next()
				ref = ctl.Ref
				ctl, _ = p.Next()
				giveUp()
				require.ErrorIs(t, arrives(t, done, "the end").err, context.Canceled)
				p.Next()
				reply("too_late")
				require.Eventually(t, func() bool { return n.Stats().Undeliverable == lost+2 }, tooLong, tick)
				require.NoError(t, b.Send(w.ctx(), b.Pid(), ei.Atom("last")))
				require.Empty(t, textsUntil(t, b, "last"))
				require.Zero(t, n.procs.aliases.Len())
			})
		}
		p.Close()
	}
}
