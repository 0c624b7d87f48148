//go:build unix

package nodes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// duplicates is what the other process gets.
func duplicates(t testing.TB, fds []int) []int {
	t.Helper()
	var dups []int
	for _, fd := range fds {
		dups = append(dups, of(descriptor.Duplicate(fd)).must(t))
	}
	return dups
}

// again is the configuration that a node was made with, as far as it matters.
func again(n *Node) Config {
	cfg := n.cfg
	cfg.Alive, cfg.Host = "", ""
	return cfg
}

// restore makes a node of a frozen one, which is closed with the test.
func restore(t testing.TB, cfg Config, f *Frozen) *Staged {
	t.Helper()
	s := of(Restore(cfg, f.State(), duplicates(t, f.Descriptors()))).must(t)
	t.Cleanup(func() { s.Node().Close() })
	return s
}

// upgrade freezes a node and lets another Node value go on with it.
func upgrade(t testing.TB, n *Node) *Node {
	t.Helper()
	f := freeze(t, n)
	s := restore(t, again(n), f)
	s.Node().freezeTime = tooLong // as that of the first one
	require.NoError(t, f.Release())
	require.ErrorIs(t, n.Err(), ErrMoved)
	require.NoError(t, s.Start(soon(t)))
	return s.Node()
}

// A name that was unregistered and registered again is restored as one name.
func TestUpgradeRegisteredAgain(t *testing.T) {
	n := newWorld(t, movers[0]).started("front")
	a, b := registered(t, n, "again"), box(t, n)
	require.NoError(t, n.Unregister(context.Background(), "again"))
	require.NoError(t, n.Register(t.Context(), "again", a))
	require.NoError(t, n.Register(t.Context(), "on", a))
	require.NoError(t, n.Unregister(context.Background(), "on"))
	require.NoError(t, n.Register(t.Context(), "on", b))
	n = upgrade(t, n)
	require.Equal(t, a.Pid(), n.Whereis("again").Pid())
	require.Equal(t, b.Pid(), n.Whereis("on").Pid())
}

// A node of many kinds of processes moves under load, again and again.
func TestUpgradeUnderLoad(t *testing.T) {
	inWorlds(t, movers, func(t *testing.T, w *world) {
		ctx := w.ctx()
		peer := w.started("peer")
		in := newNumbers(-1)
		var served sync.Map
		n := w.started("front", func(c *Config) {
			c.Setup = func(n *Node) error {
				_, err := n.Serve("server", Server{Call: func(_ context.Context, c *Call) (any, error) {
					if _, again := served.LoadOrStore(c.Request, true); again {
						return nil, errors.New("served twice")
					}
					return c.Request, nil
				}}, nil)
				n.Expose("m", "f", func(_ context.Context, args []ei.Term) (any, error) { return args[0], nil })
				_, err2 := n.Handle("sink", func(_ *Mailbox, m *Message) { in.take(m); m.Release() }, nil)
				b, err3 := n.NewMailbox(nil)
				return errors.Join(err, err2, err3, n.Register(ctx, "box", b))
			}
		})
		box := n.Whereis("box").Pid()
		watcher := trapping(t, peer)
		require.NoError(t, watcher.MonitorNode(ctx, "front@test"))
		require.NoError(t, watcher.Link(ctx, box))
		ref := monitor(t, watcher, box)

		var stop atomic.Bool
		var wg sync.WaitGroup
		var sent int64
		wg.Go(func() {
			b, _ := peer.NewMailbox(nil)
			for ; !stop.Load(); sent++ {
				if !assert.NoError(t, b.SendName(ctx, "front@test", "sink", numberedPair(sent))) {
					return
				}
			}
		})
		calls, rpcs := 0, 0
		wg.Go(func() {
			for ; !stop.Load(); calls++ {
				got, err := peer.CallName(ctx, "front@test", "server", calls)
				if err != nil || got != ei.Int(calls) {
					t.Errorf("call %d: %v %v", calls, got, err)
					return
				}
			}
		})
		wg.Go(func() {
			for ; !stop.Load(); rpcs++ {
				got, err := peer.RPC(ctx, "front@test", "m", "f", rpcs)
				if err != nil || got != ei.Int(rpcs) {
					t.Errorf("rpc %d: %v %v", rpcs, got, err)
					return
				}
			}
		})
		wg.Go(func() { // messages that are not received until the end
			b, _ := peer.NewMailbox(nil)
			for i := range 1000 {
				if !assert.NoError(t, b.Send(ctx, box, i)) {
					return
				}
			}
		})
		const moves = 20
		var silence time.Duration
		for range moves {
			begin := time.Now()
			n = upgrade(t, n)
			silence += time.Since(begin)
			c := n.Conn("peer@test")
			require.NotNil(t, c)
			before := c.l.Traffic().MessagesReceived
			require.Eventually(t, func() bool { return c.l.Traffic().MessagesReceived > before+10 }, tooLong, tick/10)
			require.Equal(t, box, n.Whereis("box").Pid())
		}
		stop.Store(true)
		wg.Wait()
		in.finish(sent)
		in.wait(t, "to the sink")
		t.Logf("%d messages, %d calls, %d rpcs, %v a move", sent, calls, rpcs, silence/moves)
		require.Nil(t, watcher.take(), "nobody has noticed")
		require.EqualValues(t, 1, peer.Stats().Connections)
		b := n.Whereis("box")
		for i := range 1000 {
			m := receive(t, b)
			require.Equal(t, ei.Int(i), content(t, m))
			require.Same(t, n.Conn("peer@test"), m.Conn())
		}
		b.Exit(ei.Atom("done"))
		first := receive(t, watcher)
		require.True(t, first.Ref == ref || receive(t, watcher).Ref == ref)
		c := connect(t, peer, "front@test")
		require.Same(t, peer.Conn("front@test"), c)
		other := w.started("other") // the listener has stayed
		connect(t, other, "front@test")
	})
}

// Identities: mailboxes with and without a name, links between them, a blob, and what goroutines of
// the application were doing.
func TestUpgradeIdentities(t *testing.T) {
	w := newWorld(t, "tcp")
	ctx := w.ctx()
	setup := func(n *Node) error {
		blob, restored := n.Inherited()
		b, err := n.NewMailbox(nil)
		if err != nil {
			return err
		}
		if restored && string(blob) != "blob" {
			return fmt.Errorf("blob %q", blob)
		}
		if err := b.SendName(ctx, n.Name(), "one", "from Setup"); err != nil && !restored {
			return err
		}
		return errors.Join(n.Register(ctx, "one", b), n.Register(ctx, "two", b))
	}
	n := w.started("front", func(c *Config) {
		c.Setup = setup
		c.Handover = func(context.Context) ([]byte, error) { return []byte("blob"), nil }
	})
	_, inherited := n.Inherited()
	require.False(t, inherited)
	one := n.Whereis("one")
	require.Same(t, one, n.Whereis("two"))
	nameless := box(t, n, &MailboxOptions{TrapExit: true, Limit: 1 << 20, Full: FullExit})
	require.NoError(t, nameless.Link(ctx, one.Pid()))
	ref := monitor(t, nameless, one.Pid())
	require.NoError(t, one.Send(ctx, nameless.Pid(), "unread"))
	handled := make(chan *Message, 10)
	registered(t, n, "handler")
	require.NoError(t, one.SendName(ctx, n.Name(), "handler", "late"))
	waiting := async(func() (*Message, error) { return one.Receive(context.Background()) })
	f := freeze(t, n)
	_, err := n.Freeze(ctx)
	require.ErrorIs(t, err, handoff.ErrBusy)
	lateRef := of(n.NewRef()).must(t)
	latePid := of(n.NewPid()).must(t)
	late := async(func() (*Mailbox, error) { return n.NewMailbox(nil) })
	blocked := async(func() (any, error) { return nil, one.Send(ctx, nameless.Pid(), "not sent") })
	cfg := again(n)
	cfg.Setup = func(n *Node) error {
		_, err := n.Handle("handler", func(_ *Mailbox, m *Message) { handled <- m }, nil)
		return errors.Join(err, setup(n))
	}
	s := restore(t, cfg, f)
	restored := s.Node()
	defer restored.Close()
	boxes := s.Mailboxes()
	require.Len(t, boxes, 1)
	require.Equal(t, nameless.Pid(), boxes[0].Pid())
	require.Equal(t, nameless.opts, boxes[0].opts)
	_, err = boxes[0].Receive(brief(t))
	require.ErrorIs(t, err, context.DeadlineExceeded, "not yet")
	require.Empty(t, handled)
	require.NoError(t, f.Release())
	require.ErrorIs(t, (<-waiting).err, ErrMoved)
	require.ErrorIs(t, (<-late).err, ErrMoved)
	require.ErrorIs(t, (<-blocked).err, ErrMoved)
	require.ErrorIs(t, one.Err(), ErrMoved)
	require.NoError(t, n.Close())
	require.NoError(t, s.Start(ctx))
	require.Error(t, s.Start(ctx))
	arrives(t, handled, "what came before the handler")
	require.Equal(t, one.Pid(), restored.Whereis("two").Pid())
	require.Same(t, restored.Whereis("one"), restored.Whereis("two"))
	require.Equal(t, ei.Binary("unread"), term(t, boxes[0]))
	fresh := box(t, restored)
	require.Nil(t, n.procs.local(fresh.Pid()), "no pid twice")
	require.NotEqual(t, latePid, fresh.Pid())
	for range 10 {
		ref := of(restored.NewRef()).must(t)
		require.NotEqual(t, lateRef, ref)
		require.NotEqual(t, latePid, of(restored.NewPid()).must(t))
	}
	restored.Whereis("one").Exit(ei.Atom("end"))
	a := receive(t, boxes[0])
	require.True(t, a.Ref == ref || receive(t, boxes[0]).Ref == ref)
	require.Nil(t, restored.Whereis("two"))
}

// Under NoWait an operation does not wait for the end of a freeze either.
func TestFreezeNoWait(t *testing.T) {
	w := newWorld(t, "tcp")
	peer, n := w.started("peer"), w.started("front")
	b, other, there := box(t, n), box(t, n), box(t, peer)
	connect(t, n, "peer@test")
	f := freeze(t, n)
	inTime(t, "all that does not wait", func() {
		for _, to := range []ei.Pid{other.Pid(), there.Pid()} {
			require.ErrorIs(t, b.Send(transport.NoWait(), to, "not sent"), os.ErrDeadlineExceeded)
			require.ErrorIs(t, b.Link(transport.NoWait(), to), os.ErrDeadlineExceeded)
		}
		_, err := b.Receive(transport.NoWait())
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	})
	f.Thaw()
	require.NoError(t, b.Send(transport.NoWait(), there.Pid(), "sent"))
	require.Equal(t, ei.Binary("sent"), term(t, there))
}

// A call that waits for a process of its own node ends with the old process, and leaves no monitor
// on that process.
func TestUpgradeBesideCallHere(t *testing.T) {
	n := newWorld(t, "tcp").started("front")
	b := box(t, n)
	call := async(func() (ei.Term, error) { return n.Call(soon(t), b.Pid(), "hello") })
	receive(t, b)
	next := upgrade(t, n)
	require.ErrorIs(t, (<-call).err, ErrMoved)
	heir := next.procs.local(b.Pid())
	require.Empty(t, watchersOf(heir))
}

// What Config.Setup sends to a process that was restored is there when the node goes on.
func TestUpgradeSetupSends(t *testing.T) {
	w := newWorld(t, "tcp")
	ctx := w.ctx()
	n := w.started("front")
	old := box(t, n)
	f := freeze(t, n)
	cfg := again(n)
	cfg.Setup = func(n *Node) error {
		b, err := n.NewMailbox(nil)
		if err != nil {
			return err
		}
		return b.Send(ctx, old.Pid(), ei.Atom("hello"))
	}
	s := restore(t, cfg, f)
	require.NoError(t, f.Release())
	require.NoError(t, s.Start(ctx))
	i := slices.IndexFunc(s.Mailboxes(), func(b *Mailbox) bool { return b.Pid() == old.Pid() })
	require.Equal(t, ei.Atom("hello"), term(t, s.Mailboxes()[i]))
}

// Links and monitors that Setup makes in a node that is being restored count, as in one that
// starts, and Setup does not wait.
func TestUpgradeBondsOfSetup(t *testing.T) {
	w := newWorld(t, "tcp")
	ctx := w.ctx()
	peer := w.started("peer")
	there := trapping(t, peer)
	var again bool
	var a, b *Mailbox
	var refs []ei.Ref
	n := w.started("front", func(cfg *Config) {
		cfg.Setup = func(n *Node) (err error) {
			if a, err = n.register("a", nil, nil); err != nil {
				return err
			}
			if b, err = n.register("b", nil, &MailboxOptions{TrapExit: true}); err != nil || !again {
				return err
			}
			refs = nil
			gone, err := n.NewMailbox(nil)
			if err != nil {
				return err
			}
			gone.Close()
			for _, pid := range []ei.Pid{a.Pid(), gone.Pid(), there.Pid()} {
				ref, err := b.Monitor(ctx, pid)
				if err != nil {
					return err
				}
				refs = append(refs, ref)
			}
			ref, err := a.Monitor(ctx, b.Pid())
			a.Demonitor(context.Background(), ref)
			return errors.Join(err, a.Link(ctx, b.Pid()), a.Link(ctx, there.Pid()), b.MonitorNode(ctx, "peer@test"))
		}
	})
	connect(t, n, "peer@test")
	again = true
	upgrade(t, n)
	down := func(ref ei.Ref) {
		t.Helper()
		require.Equal(t, ref, receive(t, b).Ref)
	}
	down(refs[1])
	a.Exit(ei.Atom("over"))
	require.Equal(t, a.Pid(), receive(t, there).From)
	for range 2 { // of the link and of the monitor, in any order
		require.Equal(t, a.Pid(), receive(t, b).From)
	}
	there.Close()
	down(refs[2])
	peer.Close()
	require.Equal(t, ei.Tuple{ei.Atom("nodedown"), ei.Atom("peer@test")}, term(t, b))
}

// A mailbox with links of its own cannot become a restored process: the links would be to a pid
// that does not exist any more.
func TestUpgradeBondsBefore(t *testing.T) {
	w := newWorld(t, "tcp")
	ctx := w.ctx()
	n := w.started("front", func(cfg *Config) {
		cfg.Setup = func(n *Node) error {
			a, err := n.NewMailbox(nil)
			if err != nil {
				return err
			}
			b, err := n.NewMailbox(nil)
			if err != nil {
				return err
			}
			return errors.Join(a.Link(ctx, b.Pid()), n.Register(ctx, "a", a))
		}
	})
	f := freeze(t, n)
	_, err := Restore(again(n), f.State(), duplicates(t, f.Descriptors()))
	require.ErrorIs(t, err, ErrBonds)
	f.Thaw()
	require.NoError(t, n.Err())
}

// The counters of Stats go on, and the listener of Start serves its connections, as before.
func TestUpgradeKeepsCountersAndListener(t *testing.T) {
	n := newWorld(t, "tcp").started("front")
	for i, c := range n.stats.all() {
		c.Store(int64(i + 1))
	}
	n = upgrade(t, n)
	for i, c := range n.stats.all() {
		require.EqualValues(t, i+1, c.Load())
	}
	_, err := n.Listeners()[0].Accept(soon(t))
	require.ErrorIs(t, err, ErrBusy)
}

// What goes on in the place of a restored process has that one's nodedowns, and the monitors by a
// name that it had lost.
func TestUpgradeHeirOfNodedownAndFormerName(t *testing.T) {
	w := newWorld(t, "tcp")
	ctx := w.ctx()
	peer := w.started("peer")
	n := w.started("front", func(cfg *Config) {
		cfg.Setup = func(n *Node) error {
			b, err := n.NewMailbox(nil)
			return errors.Join(err, n.Register(ctx, "on", b))
		}
	})
	b := n.Whereis("on")
	require.NoError(t, b.MonitorNode(ctx, "peer@test"))
	require.NoError(t, n.Register(ctx, "was", b))
	watcher := box(t, peer)
	ref := of(watcher.MonitorName(ctx, n.Name(), "was")).must(t)
	watches := func(b *Mailbox) bool {
		return len(watchersOf(b)) > 0
	}
	require.Eventually(t, func() bool { return watches(b) }, tooLong, tick)
	require.NoError(t, n.Unregister(context.Background(), "was"))
	n = upgrade(t, n)
	heir := n.Whereis("on")
	require.True(t, watches(heir))
	watcher.Demonitor(context.Background(), ref)
	require.Eventually(t, func() bool { return !watches(heir) }, tooLong, tick)
	require.NoError(t, peer.Close())
	require.Equal(t, ei.Tuple{ei.Atom("nodedown"), ei.Atom("peer@test")}, term(t, heir))
}

// A Handler that takes the place of a process with unread messages may answer them, at any length.
func TestUpgradeLateMessages(t *testing.T) {
	w := newWorld(t, "tcp")
	ctx := w.ctx()
	from := box(t, w.started("peer"))
	var handles bool
	n := w.started("front", func(cfg *Config) {
		cfg.Setup = func(n *Node) error {
			if handles {
				_, err := n.Handle("late", func(b *Mailbox, m *Message) {
					assert.NoError(t, m.Conn().Send(ctx, m.From, make([]byte, 1<<20)))
				}, nil)
				return err
			}
			_, err := n.register("late", nil, nil)
			return err
		}
	})
	require.NoError(t, from.SendName(ctx, "front@test", "late", "question"))
	n.Whereis("late").arrived(t, 1)
	handles = true
	upgrade(t, n)
	require.Len(t, term(t, from), 1<<20)
	require.NoError(t, from.SendName(ctx, "front@test", "late", "another"))
	require.Len(t, term(t, from), 1<<20)
}

// freezes freezes a node, and thaws it.
func freezes(t testing.TB, n *Node) {
	t.Helper()
	f := freeze(t, n)
	f.Thaw()
}

// loop calls do on a goroutine, again and again, until the test ends.
func loop(t testing.TB, do func(ctx context.Context) error) {
	t.Helper()
	ctx, stop := context.WithCancel(soon(t))
	over := make(chan struct{})
	go func() {
		defer close(over)
		for ctx.Err() == nil {
			if err := do(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	}()
	t.Cleanup(func() { stop(); <-over })
}

// A new process that does not get ready leaves the old one as it was.
func TestUpgradeDiscard(t *testing.T) {
	w := newWorld(t, "tcp")
	ctx := w.ctx()
	peer := w.started("peer")
	n := w.started("front")
	connect(t, peer, "front@test")
	require.Eventually(t, func() bool { return n.Conn("peer@test") != nil }, tooLong, tick)
	f := freeze(t, n)
	before := leak.Descriptors()
	s := restore(t, again(n), f)
	require.NoError(t, s.Discard())
	require.NoError(t, s.Discard())
	require.ErrorIs(t, s.Node().Err(), ErrMoved)
	cfg := again(n)
	cfg.Setup = func(*Node) error { return errFault }
	_, err := Restore(cfg, f.State(), duplicates(t, f.Descriptors()))
	require.ErrorIs(t, err, errFault)
	cfg = again(n)
	cfg.Name = "other@test"
	_, err = Restore(cfg, f.State(), duplicates(t, f.Descriptors()))
	require.ErrorIs(t, err, ErrOtherNode)
	_, err = Restore(again(n), f.State(), duplicates(t, f.Descriptors()[:1]))
	require.ErrorIs(t, err, ErrState)
	_, err = Restore(again(n), f.State(), duplicates(t, append(f.Descriptors(), f.Descriptors()...)))
	require.ErrorIs(t, err, ErrState)
	_, err = Restore(again(n), f.State()[:30], duplicates(t, f.Descriptors()))
	require.Error(t, err)
	// the peer may go to sleep just now
	left := slices.DeleteFunc(leak.Left(before), func(fd string) bool { return strings.HasSuffix(fd, eventpoll) })
	require.Empty(t, left, "descriptors")
	f.Thaw()
	_, err = peer.RPC(ctx, "front@test", "m", "f")
	require.Error(t, err)
	require.NotNil(t, n.Conn("peer@test"))
	require.NoError(t, n.Conn("peer@test").Err())
}

// A node is discarded while it is still sending the signals of a process that ended in Setup.
func TestUpgradeDiscardBesideEnd(t *testing.T) {
	n, p := newWorld(t, movers[0]).met("front")
	require.Eventually(t, func() bool { return n.Conn("wire@test") != nil }, tooLong, tick)
	b := registered(t, n, "box")
	for i := range exitSignals + 1 {
		require.True(t, b.watched(monitorRef(p, i), bonds.Watcher{Pid: p.Self}))
	}
	f := freeze(t, n)
	defer f.Thaw()
	cfg := again(n)
	cfg.QueueLimit = 1 // there is no room for all signals
	cfg.Setup = func(n *Node) error {
		heir := registered(t, n, "box")
		heir.Close()
		require.NotEmpty(t, link.Within(&n.Conn("wire@test").l).Queue().Held(), "they wait")
		return errFault
	}
	_, err := Restore(cfg, f.State(), duplicates(t, f.Descriptors()))
	require.ErrorIs(t, err, errFault)
}

// A mailbox that ends between Restore and Start answers like any other that has ended.
func TestUpgradeMailboxEndsBeforeStart(t *testing.T) {
	w := newWorld(t, movers[0])
	ctx := w.ctx()
	var b *Mailbox
	n := w.started("front", func(cfg *Config) {
		cfg.Setup = func(n *Node) (err error) { b, err = n.register("b", nil, nil); return err }
	})
	f := freeze(t, n)
	s := restore(t, again(n), f)
	b.Exit(ei.Atom("over"))
	require.NoError(t, f.Release())
	require.NoError(t, s.Start(ctx))
	other := box(t, s.Node())
	inTime(t, "a call of a mailbox that has ended", func() {
		var exit *ExitError
		if err := b.Link(ctx, other.Pid()); !errors.As(err, &exit) {
			t.Errorf("Link: %v", err)
		}
		_ = b.Unlink(ctx, other.Pid())
		b.Close()
	})
}

// If a UNIX socket's path is not the listener's own to remove, the next process leaves it, too,
// when the node ends.
func TestUpgradeKeepsPath(t *testing.T) {
	for _, keeps := range []bool{true, false} {
		w := newWorld(t, "unix")
		n := w.started("front")
		path := of(transport.UnixPath(n.Listeners()[0].Addr())).must(t)
		if keeps {
			n.Listeners()[0].l.KeepPath()
		}
		n = upgrade(t, n)
		require.NoError(t, n.Close())
		if keeps {
			require.FileExists(t, path)
		} else {
			require.NoFileExists(t, path)
		}
	}
}

// A server, or a Handler, that nobody registers in the new process is a plain mailbox there. The
// log says so, also after another move.
func TestServerWithoutSuccessor(t *testing.T) {
	w := newWorld(t, movers[0])
	var log record
	n := w.started("front", logsTo(&log))
	serve(t, n, "late", Server{Call: func(context.Context, *Call) (any, error) { return 1, nil }})
	handle(t, n, "handler", func(*Mailbox, *Message) {})
	require.NoError(t, n.Register(t.Context(), "plain", box(t, n)))
	for moves := 1; moves <= 2; moves++ {
		n = upgrade(t, n)
		require.Len(t, log.Lines("level=WARN", "without its server"), 2*moves)
		for _, name := range []string{"late", "handler"} {
			require.Len(t, log.Lines("level=WARN", "without its server", "names=["+name+"]"), moves, name)
		}
	}
	for range 10 {
		handle(t, n, "", func(*Mailbox, *Message) {})
	}
	n = upgrade(t, n)
	require.Len(t, log.Lines("level=WARN", "without its server"), 2*2+10, "no more than ten of many")
	require.Len(t, log.Lines("level=WARN", "more processes go on without their servers", "count=2"), 1)
	_, err := n.CallName(brief(t), n.Name(), "late", 1)
	require.ErrorIs(t, err, context.DeadlineExceeded, "it is there, and nobody answers")
	require.ErrorIs(t, n.Register(t.Context(), "late", box(t, n)), ErrNameTaken)
	require.NoError(t, n.Whereis("late").Close())
	_, err = n.CallName(w.ctx(), n.Name(), "late", 1)
	require.ErrorIs(t, err, ErrNoProc)
}
