package nodes

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/inbox"
	"github.com/cnode-go/cnode/transport"
)

// reason receives an exit signal or the message of a monitor.
func reason(t testing.TB, b *Mailbox, op dist.Op) (*Message, ei.Term) {
	t.Helper()
	m := receive(t, b)
	require.Equal(t, op, m.Op)
	require.Equal(t, b.Pid(), m.To)
	return m, decode(t, m.Reason)
}

// exited gives the reason of a mailbox's end.
func exited(t testing.TB, b *Mailbox) ei.Term {
	t.Helper()
	arrives(t, b.Done(), "the end of a mailbox")
	var e *ExitError
	require.ErrorAs(t, b.Err(), &e)
	require.Equal(t, b.Pid(), e.Pid)
	return e.Reason
}

func TestMailboxSend(t *testing.T) {
	inWorlds(t, kinds, func(t *testing.T, w *world) {
		a, b := w.started("alice"), w.started("bob")
		from, near, far := box(t, a), registered(t, a, "near"), box(t, b)
		require.NoError(t, b.Register(t.Context(), "far", far))
		ctx := w.ctx()
		for i, to := range []*Mailbox{near, far} {
			name := []string{"near", "far"}[i]
			node := string(to.Pid().Node)
			require.NoError(t, from.Send(ctx, to.Pid(), ei.Tuple{from.Pid(), ei.Int(1)}))
			require.NoError(t, from.SendName(ctx, node, name, "two"))
			require.NoError(t, from.SendName(ctx, node, "nobody", "lost"))
			require.NoError(t, from.Send(ctx, ei.Pid{Node: to.Pid().Node, ID: 4711, Creation: 1}, "lost"))
			wrong := to.Pid()
			wrong.Creation++
			require.NoError(t, from.Send(ctx, wrong, "to an earlier life"))
			require.NoError(t, from.Send(ctx, to.Pid(), "three"))
			m := receive(t, to)
			require.Equal(t, dist.OpSend, m.Op)
			require.Equal(t, from.Pid(), m.From, "SEND_SENDER was agreed on")
			require.Equal(t, ei.Binary("two"), term(t, to))
			require.Equal(t, ei.Binary("three"), term(t, to))
			require.Zero(t, unread(to))
			require.EqualValues(t, 3, to.n.Stats().Undeliverable)
			require.Error(t, from.Send(ctx, to.Pid(), make(chan int)))
		}
		require.ErrorIs(t, from.SendName(ctx, "nobody@test", "x", 1), ErrNoConnection)
		require.ErrorIs(t, from.SendName(ctx, "nobody@test", "x", 1), ErrUnknownNode)
		err := from.SendName(ctx, "no node", "x", 1)
		require.ErrorIs(t, err, dist.ErrInvalidName)
		require.NotErrorIs(t, err, ErrNoConnection, "there was nothing to connect to")
	})
}

func TestMailboxOrder(t *testing.T) {
	const senders, each = 4, 2500
	inWorlds(t, []string{"tcp", "memory"}, func(t *testing.T, w *world) {
		a, b := w.started("alice"), w.started("bob")
		to := of(b.NewMailbox(&MailboxOptions{Limit: 4 << 10})).must(t) // full most of the time
		var wg sync.WaitGroup
		for s := range senders {
			from := box(t, []*Node{a, b}[s%2])
			wg.Go(func() {
				for i := range each {
					if !assert.NoError(t, from.Send(w.ctx(), to.Pid(), []int{s, i})) {
						return
					}
				}
			})
		}
		next := make([]ei.Int, senders)
		n := 0
		for m, err := range to.All(w.ctx()) {
			require.NoError(t, err)
			v := content(t, m)
			s := v.(ei.List)[0].(ei.Int)
			require.Equal(t, next[s], v.(ei.List)[1])
			next[s]++
			if n++; n == senders*each {
				break
			}
		}
		wg.Wait()
	})
}

func TestMailboxReceive(t *testing.T) {
	a := newWorld(t, "memory").started("alice")
	b := box(t, a)
	ctx, cancel := context.WithCancel(soon(t))
	received := async(func() (*Message, error) { return b.Receive(ctx) })
	cancel()
	require.ErrorIs(t, arrives(t, received, "the cancelled Receive").err, context.Canceled)

	// Several receivers share the messages.
	results := make(chan ei.Term, 100)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for m, err := range b.All(context.Background()) {
				if err != nil {
					return
				}
				v, _ := m.Term()
				results <- v
			}
		})
	}
	seen := map[ei.Term]bool{}
	for i := range 100 {
		require.NoError(t, b.Send(soon(t), b.Pid(), i))
	}
	for range 100 {
		seen[arrives(t, results, "a message")] = true
	}
	require.Len(t, seen, 100)
	require.NoError(t, b.Close())
	inTime(t, "All", wg.Wait)

	// The end drops what is unread.
	b = box(t, a)
	require.NoError(t, b.Send(soon(t), b.Pid(), "last"))
	require.NoError(t, b.Close())
	other := box(t, a)
	require.NoError(t, other.Send(soon(t), b.Pid(), "too late"))
	_, err := b.Receive(soon(t))
	require.ErrorIs(t, err, ErrClosed)
	require.NotContains(t, err.Error(), "\n")
	require.NoError(t, a.Register(ctx, "other", other))
	var e *ExitError
	for _, err := range []error{ // a process that has ended sends nothing any more
		b.Send(soon(t), other.Pid(), 1), b.SendName(soon(t), a.Name(), "other", 1), b.SendExit(soon(t), other.Pid(), "x"),
		b.SendAlias(soon(t), ei.Ref{Node: "nobody@test", Creation: 1, Len: 3}, 1),
	} {
		require.ErrorAs(t, err, &e)
	}
	require.Zero(t, unread(other))
	require.NoError(t, other.Err())
	require.ErrorAs(t, err, &e)
	require.Equal(t, ei.Atom("normal"), e.Reason)
	require.Equal(t, ei.Atom("normal"), exited(t, b))
	b.Exit(ei.Atom("again"))
	require.Equal(t, ei.Atom("normal"), exited(t, b), "the first reason counts")
}

// Several receivers that wait each get one of several messages, though only one receiver is woken.
func TestMailboxWakesReceivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := box(t, newWorld(t, "memory").started("alice"))
		var received []<-chan result[*Message]
		for range 3 {
			received = append(received, async(func() (*Message, error) { return b.Receive(t.Context()) }))
		}
		synctest.Wait()
		b.mu.Lock()
		for range received {
			b.push(&Message{Payload: ei.Raw{97, 1}})
		}
		b.mu.Unlock()
		for _, r := range received {
			require.NoError(t, arrives(t, r, "a message").err)
		}
	})
}

// A full mailbox does not keep a reader from halting: the mailbox takes what has been read already.
func TestMailboxFullBesideHalt(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		b, p := w.met("bob")
		full := registered(t, b, "full", &MailboxOptions{Limit: 1})
		for i := range 3 {
			p.Say("full", ei.Int(i))
		}
		synctest.Wait()
		c := b.Conn("wire@test")
		require.NoError(t, c.l.StopReading(w.ctx()))
		c.l.ResumeReading()
		for i := range 3 {
			require.Equal(t, ei.Int(i), term(t, full))
		}
	})
}

func TestMailboxFullBlocks(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const limit, share = 10 << 10, 100_000
		a, b, c := w.started("alice"), w.started("bob", func(cfg *Config) { cfg.OverflowLimit = 2 * share }), w.started("carol")
		full := box(t, b, &MailboxOptions{Limit: limit})
		other := box(t, b)
		here, remote, third := box(t, b), box(t, a), box(t, c)
		sent := make(map[*Mailbox]int)
		var mu sync.Mutex
		ctx, cancel := context.WithCancel(context.Background())
		for _, from := range []*Mailbox{here, remote} {
			go func() {
				for {
					if from.Send(ctx, full.Pid(), make([]byte, 1000)) != nil {
						return
					}
					mu.Lock()
					sent[from]++
					mu.Unlock()
				}
			}()
		}
		synctest.Wait()
		require.LessOrEqual(t, unread(full), limit+share)
		require.Greater(t, unread(full), limit+share-3*(1000+messageCost))
		mu.Lock()
		require.Less(t, sent[here], 10)
		require.Less(t, sent[remote], 10+(share+queue.DefaultLimit+200<<10)/1000, "in the end the sender of a remote node waits too")
		mu.Unlock()
		// Others do not wait.
		require.NoError(t, third.Send(w.ctx(), other.Pid(), "hello"))
		require.Equal(t, ei.Binary("hello"), term(t, other))
		require.NoError(t, here.Send(w.ctx(), other.Pid(), "hello too"))
		require.Equal(t, ei.Binary("hello too"), term(t, other))
		// Room lets the next one in: one from the other node may take more of it.
		const received = 3
		for range received {
			receive(t, full)
			synctest.Wait()
			require.LessOrEqual(t, unread(full), limit+share+1000+messageCost, "it was the turn of the sender of this node, too")
			require.Greater(t, unread(full), limit+share-3*(1000+messageCost))
		}
		// A Send that gives up has sent nothing.
		cancel()
		synctest.Wait()
		mu.Lock()
		total := sent[here] + sent[remote]
		mu.Unlock()
		for i := range total - received {
			_, err := full.Receive(w.ctx())
			require.NoError(t, err, i)
		}
		synctest.Wait()
		require.Zero(t, unread(full))
		require.Zero(t, b.Stats().Overflow)

		// One message may exceed the limit when there is no other.
		require.NoError(t, here.Send(w.ctx(), full.Pid(), make([]byte, 5*limit)))
		require.Len(t, term(t, full), 5*limit)

		// The end of the mailbox, or of the connection, ends the waiting.
		require.NoError(t, here.Send(w.ctx(), full.Pid(), make([]byte, 5*limit)))
		waiting := async(func() (int, error) { return 0, here.Send(w.ctx(), full.Pid(), 1) })
		require.NoError(t, remote.Send(w.ctx(), full.Pid(), 2))
		synctest.Wait()
		require.NoError(t, full.Close())
		require.NoError(t, (<-waiting).err)
		require.NoError(t, remote.Send(w.ctx(), other.Pid(), "on"))
		require.Equal(t, ei.Binary("on"), term(t, other))
	})
}

func TestMailboxFullExits(t *testing.T) {
	w := newWorld(t, "tcp")
	a, b := w.started("alice"), w.started("bob")
	full := registered(t, b, "full", &MailboxOptions{Limit: 11 << 10, Full: FullExit})
	watcher, linked := box(t, a), box(t, a)
	of(watcher.MonitorName(w.ctx(), "bob@test", "full")).must(t)
	require.NoError(t, linked.Link(w.ctx(), full.Pid()))
	for range 20 {
		require.NoError(t, watcher.SendName(w.ctx(), "bob@test", "full", make([]byte, 1000)))
	}
	require.Equal(t, ei.Atom("mailbox_full"), exited(t, full))
	_, why := reason(t, watcher, dist.OpMonitorPExit)
	require.Equal(t, ei.Atom("mailbox_full"), why)
	require.Equal(t, ei.Atom("mailbox_full"), exited(t, linked))
	require.Zero(t, unread(full))
	_, err := full.Receive(w.ctx())
	require.ErrorIs(t, err, ErrClosed)
	require.Nil(t, b.Whereis("full"))
}

// Signals that become messages are subject to the limit too: otherwise a peer could fill the memory
// with them.
func TestMailboxLimitsSignals(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const limit = 10 << 10
		b, p := w.met("bob", func(cfg *Config) { cfg.OverflowLimit = limit })
		full := box(t, b, &MailboxOptions{Limit: limit, TrapExit: true})
		why := of(ei.Append(nil, make([]byte, 1000))).must(t)
		pid := of(ei.AppendPid(nil, p.Self)).must(t)
		go func() {
			for i := range 1000 {
				ref := ei.Ref{Node: "bob@test", Creation: b.Creation(), Len: 3, ID: [5]uint32{uint32(i)}}
				if p.Write(frame(t, dist.Control{Op: dist.OpExit2, From: p.Self, To: full.Pid(), Reason: why}, nil)) != nil ||
					p.Write(frame(t, dist.Control{Op: dist.OpSpawnReply, To: full.Pid(), Ref: ref, Result: pid}, nil)) != nil {
					return
				}
			}
		}()
		time.Sleep(time.Second)
		synctest.Wait()
		full.mu.Lock()
		n := full.inbox.Len()
		full.mu.Unlock()
		require.LessOrEqual(t, n, 2*limit/len(why), "what they hold counts")
		p.Close()
	})
}

func TestRegister(t *testing.T) {
	a := newWorld(t, "memory").started("alice")
	one, two := registered(t, a, "x"), box(t, a)
	require.ErrorIs(t, a.Register(t.Context(), "x", two), ErrNameTaken)
	require.ErrorIs(t, a.Register(t.Context(), "x", one), ErrNameTaken)
	require.NoError(t, a.Register(t.Context(), "y", one))
	require.ErrorIs(t, a.Register(t.Context(), "net_kernel", one), ErrNameTaken)
	require.Same(t, one, a.Whereis("x"))
	require.NoError(t, a.Unregister(context.Background(), "x"))
	require.ErrorIs(t, a.Unregister(context.Background(), "x"), ErrNoProc)
	require.Nil(t, a.Whereis("x"))
	require.NoError(t, a.Register(t.Context(), "x", two))
	require.NoError(t, one.Close())
	require.Nil(t, a.Whereis("y"))
	require.Same(t, two, a.Whereis("x"), "the name has moved on")
	require.ErrorIs(t, a.Register(t.Context(), "z", one), ErrClosed)
	require.Equal(t, 3, a.Stats().Mailboxes)
	require.NoError(t, a.Close())
	require.Equal(t, ei.Atom("shutdown"), exited(t, two))
	require.ErrorIs(t, a.Register(t.Context(), "z", two), ErrClosed)
	_, err := a.NewMailbox(nil)
	require.ErrorIs(t, err, ErrClosed)
}

// All that a message keeps in memory counts, used or not, such as the unused element of a SEND.
func TestMailboxCountsFrames(t *testing.T) {
	b, p := newWorld(t, "memory").met("bob")
	full := box(t, b, &MailboxOptions{Limit: 100 << 10, Full: FullExit})
	control := of(ei.AppendTerm([]byte{112, 131}, ei.Tuple{ei.Int(dist.OpSend), ei.Binary(make([]byte, 60<<10)), full.Pid()})).must(t)
	send := framed(append(control, 131, 97, 1))
	require.NoError(t, p.Write(send))
	require.Eventually(t, func() bool { return unread(full) > 60<<10 }, tooLong, tick)
	require.NoError(t, p.Write(send))
	require.Equal(t, ei.Atom("mailbox_full"), exited(t, full))
}

// With NoWait a receiver gets a message or none, and a sender to a full mailbox an error.
func TestMailboxNoWait(t *testing.T) {
	n := newWorld(t, "memory").started("alice")
	a := box(t, n)
	b := box(t, n, &MailboxOptions{Limit: 1000})
	_, err := b.Receive(transport.NoWait())
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, a.Send(transport.NoWait(), b.Pid(), ei.Binary(make([]byte, 2000))))
	require.ErrorIs(t, a.Send(transport.NoWait(), b.Pid(), ei.Atom("one more")), os.ErrDeadlineExceeded)
	of(b.Receive(transport.NoWait())).must(t)
	require.NoError(t, a.Send(transport.NoWait(), b.Pid(), ei.Atom("now")))
	b.Close()
	require.NoError(t, a.Send(transport.NoWait(), b.Pid(), ei.Atom("to nobody")))
	_, err = b.Receive(transport.NoWait())
	require.ErrorIs(t, err, ErrClosed)
}

// What a message counts is the memory that it takes, wherever it comes from.
func TestMailboxCountsMemory(t *testing.T) {
	w := newWorld(t, "memory")
	a, b := w.started("alice"), w.started("bob")
	to := box(t, b)
	for _, from := range []*Mailbox{box(t, a), box(t, b)} {
		for _, size := range []int{0, 100, 1100, 70_000, 5 << 20} {
			require.NoError(t, from.Send(w.ctx(), to.Pid(), ei.Binary(make([]byte, size))))
			require.Eventually(t, to.hasMessage, tooLong, tick)
			counted := unread(to)
			m := receive(t, to)
			memory := int(unsafe.Sizeof(*m)) + m.mem.Size()
			if frame, _ := m.mem.Inside(); frame == nil || size > 128<<10 { // it is not within the frame
				memory = int(unsafe.Sizeof(*m)) + max(m.mem.Size(), cap(m.Payload))
			}
			require.GreaterOrEqual(t, counted, memory, size)
			require.LessOrEqual(t, counted, memory+64, size)
			require.Zero(t, unread(to))
		}
	}
}

// The log tells of a mailbox that is over its limit, and of one that ends for it, by its names.
func TestFullMailboxIsLogged(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		log := new(record)
		b := w.started("bob", func(c *Config) { c.Logger, c.OverflowLimit = slog.New(slog.NewTextHandler(log, nil)), 10_000 })
		full := registered(t, b, "full", &MailboxOptions{Limit: 1})
		linked := box(t, b)
		require.NoError(t, full.Link(w.ctx(), linked.Pid()))
		p := w.peer(b.Listeners()[0], role("wire@test"))
		for i := range 4 {
			p.Say("full", ei.Int(i))
		}
		synctest.Wait()
		require.Len(t, log.Lines("level=WARN", "mailbox over its limit", full.Pid().String(), "full"), 1)
		require.Less(t, b.Stats().Overflow, 3*1000)
		began := time.Now()
		for range 20 {
			p.Say("full", ei.Binary(make([]byte, 1000)))
		}
		require.Equal(t, mailboxFull, exited(t, full))
		require.Equal(t, mailboxFull, exited(t, linked))
		require.Equal(t, inbox.Patience, time.Since(began))
		require.Len(t, log.Lines("level=ERROR", "mailbox ended", full.Pid().String(), "full", "for 2s out of 10s", "held", "wire@test"), 1)
		require.Zero(t, unread(full))
		require.EqualValues(t, 1, b.Stats().MailboxesFull)
	})
}
