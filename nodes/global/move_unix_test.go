//go:build unix

package global

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// newUnixWorld is a world whose nodes can move.
func newUnixWorld(t *testing.T) *world { return &world{cluster.Unix(t)} }

// move has a member go on as in another process.
func (w *world) move(t *testing.T, m member) member {
	t.Helper()
	moved := member{}
	cfg := w.Config(m.n.Name())
	cfg.Visible, cfg.Logger = true, logger(t)
	cfg.Setup = func(n *nodes.Node) (err error) {
		moved.Global, err = Start(t.Context(), n, nil)
		return err
	}
	s := gonode.Move(t, m.n, cfg)
	t.Cleanup(func() { s.Node().Close() })
	for _, b := range s.Mailboxes() {
		b.Close()
	}
	moved.n = s.Node()
	return moved
}

// What a move interrupts is released in the new process, which registers as before.
func TestMoveInTransaction(t *testing.T) {
	w := newUnixWorld(t)
	one, other := w.meeting(t)
	inside := make(chan struct{})
	var busy sync.WaitGroup
	busy.Go(func() {
		err := one.Trans(within(t), Lock{Resource: "res"}, func(ctx context.Context) error {
			close(inside)
			<-ctx.Done()
			return context.Cause(ctx)
		})
		if !errors.Is(err, nodes.ErrMoved) {
			t.Error(err)
		}
	})
	<-inside
	box := other.process(t)
	require.ErrorIs(t, other.SetLock(transport.NoWait(), box, Lock{Resource: "res"}), ErrLocked)
	one = w.move(t, one)
	require.NoError(t, other.SetLock(within(t), box, Lock{Resource: "res"}))
	require.NoError(t, other.DelLock(within(t), box, Lock{Resource: "res"}))
	busy.Wait()
	works(t, one, other, "x")
	works(t, other, one, "y")
}

// A partner is a liar that answers calls, tells what it hears, and counts that.
type partner struct {
	*liar
	heard chan ei.Tuple

	mu     sync.Mutex
	counts map[string]int
	mute   bool // answers nothing
}

func (w *world) partner(t *testing.T, name string) *partner {
	p := &partner{heard: make(chan ei.Tuple, 100), counts: map[string]int{}}
	p.liar = w.liar(t, name, func(from string, m ei.Term) {
		outer, ok := m.(ei.Tuple)
		if !ok || len(outer) < 2 {
			return
		}
		inner, ok := outer[len(outer)-1].(ei.Tuple)
		if !ok || len(inner) == 0 {
			return
		}
		p.mu.Lock()
		p.counts[string(tagOf(inner))]++
		mute := p.mute
		p.mu.Unlock()
		p.heard <- inner
		to, ok := replyTo(from, outer[1])
		if tagOf(outer) != "$gen_call" || !ok || mute {
			return
		}
		// it may be of a process before, which hears nothing any more
		if yes := (ei.Tuple{to.Tag, a("true")}); to.Alias.Len > 0 {
			_ = p.box.SendAlias(within(t), to.Alias, yes)
		} else {
			_ = p.box.Send(within(t), to.Pid, yes)
		}
	})
	return p
}

func (p *partner) setMute(mute bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = mute
}

func (p *partner) count(what string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts[what]
}

// hear waits for a cast, or a call.
func (p *partner) hear(t *testing.T, what string) ei.Tuple {
	t.Helper()
	for {
		select {
		case m := <-p.heard:
			if string(tagOf(m)) == what {
				return m
			}
		case <-within(t).Done():
			require.FailNow(t, "no "+what)
		}
	}
}

// begin begins a session, and gives its tag.
func (p *partner) begin(t *testing.T, one member) (tag ei.Term) {
	t.Helper()
	_, err := p.Connect(within(t), one.n.Name())
	require.NoError(t, err)
	tag = p.hear(t, "init_connect")[1].(ei.Tuple)[1]
	p.tell(one.n.Name(), initConnect(p.Name(), ei.Int(1), p.box.Pid()))
	eventually(t, func() bool {
		one.mu.RLock()
		defer one.mu.RUnlock()
		return one.server.Sessions[p.Name()].Begun
	})
	return tag
}

func (p *partner) lockSet(one member, tag ei.Term) {
	p.tell(one.n.Name(), cast(a("lock_set"), p.box.Pid(), a("true"), ei.List{}, tag))
}

func (p *partner) exchange(one member, tag ei.Term, names ...ei.Term) {
	p.tell(one.n.Name(), cast(a("exchange"), a(p.Name()), ei.List(names), ei.List{}, tag))
}

func (p *partner) resolved(one member, tag ei.Term) {
	p.tell(one.n.Name(), cast(a("resolved"), a(p.Name()), ei.List{}, ei.List{}, a("unused"), ei.List{}, tag))
}

// phase is how far the locker is.
func (m member) phase() phase {
	m.locker.mu.Lock()
	defer m.locker.mu.Unlock()
	if m.locker.doing == nil {
		return ""
	}
	return m.locker.doing.Phase
}

// A move between any two steps of a session changes nothing for the other node: it hears each
// message once, and the lock is held from the first to the last.
func TestMoveInSession(t *testing.T) {
	for step, name := range []string{"begun", "offered", "locked", "exchanged", "resolved", "ending"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newUnixWorld(t)
			one, l := w.member(t, "a@test", nil), w.partner(t, "l@test")
			moveAt := func(at int) {
				if at == step {
					one = w.move(t, one)
				}
			}
			tag := l.begin(t, one)
			moveAt(0)
			require.Equal(t, a("true"), l.hear(t, "lock_set")[2])
			moveAt(1)
			require.Equal(t, offered, one.phase())
			l.lockSet(one, tag)
			l.hear(t, "exchange")
			moveAt(2)
			l.exchange(one, tag, entry("x", l.box.Pid()))
			l.hear(t, "resolved")
			moveAt(3)
			require.Equal(t, both, one.phase())
			if name == "ending" {
				l.setMute(true)
			}
			l.resolved(one, tag)
			eventually(t, func() bool { return len(one.Known()) == 1 })
			moveAt(4)
			if name == "ending" {
				l.hear(t, "del_lock")
				l.setMute(false)
			}
			moveAt(5)
			eventually(t, func() bool { return !one.isLocked() })
			pid, ok := one.Whereis("x")
			require.True(t, ok)
			require.Equal(t, l.box.Pid(), pid)
			for _, what := range []string{"lock_set", "exchange", "resolved"} {
				require.Equal(t, 1, l.count(what), what)
			}
			if step > 0 {
				require.Equal(t, 1, l.count("set_lock"))
			}
		})
	}
}

// The other node makes the first move: it has an answer, and one, also if that is left to the new
// process. OTP's locker waits for it for ever, and has the lock meanwhile.
func TestMoveBeforeAnswer(t *testing.T) {
	for _, name := range []string{"not seen", "locking", "locked"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newUnixWorld(t)
			one, boss, l := w.member(t, "a@test", nil), w.partner(t, "p@test"), w.partner(t, "l@test")
			tag := boss.begin(t, one)
			boss.lockSet(one, tag)
			boss.exchange(one, tag)
			boss.hear(t, "resolved")
			boss.resolved(one, tag)
			eventually(t, func() bool { return len(one.Known()) == 1 && !one.isLocked() })

			one.isThere(one.helper, false) // without its locker, so that l is first
			tag = l.begin(t, one)
			l.lockSet(one, tag)
			eventually(t, func() bool {
				one.locker.mu.Lock()
				defer one.locker.mu.Unlock()
				return len(one.locker.inbox) == 1
			})
			switch name {
			case "locking":
				boss.setMute(true)
				one.isThere(one.helper, true)
				boss.hear(t, "set_lock") // the greatest node is locked first
				boss.setMute(false)
			case "locked":
				one.isThere(one.helper, true)
				l.hear(t, "exchange")
			}
			one = w.move(t, one)
			if name == "locked" {
				require.Equal(t, both, one.phase())
			}
			l.exchange(one, tag)
			l.hear(t, "resolved")
			require.Equal(t, both, one.phase())
			l.resolved(one, tag)
			eventually(t, func() bool { return len(one.Known()) == 2 && !one.isLocked() })
			require.Equal(t, 1, l.count("lock_set"))
			require.Equal(t, 1, l.count("exchange"))
		})
	}
}

// A node that was told of another one, and has not said so to that yet, says it in the new process:
// the other one waits for it.
func TestMoveWhileJoining(t *testing.T) {
	w := newUnixWorld(t)
	one, other := w.meeting(t)
	third := w.member(t, "c@test", nil)
	before := one
	for range waitsAtOnce {
		before.slots <- struct{}{} // it joins nobody
	}
	third.connect(t, "b@test")
	eventually(t, func() bool { return len(one.Known()) == 2 && len(third.Known()) == 2 && len(one.n.Peers()) == 2 })
	one = w.move(t, one)
	for _, m := range []member{third, one, other} {
		require.NoError(t, m.Sync(within(t)))
	}
	works(t, one, third, "x")
	for range waitsAtOnce {
		<-before.slots
	}
}

// A freeze that comes while the server is made anew fails, and does not wait for what waits for it.
func TestFreezeWhileMade(t *testing.T) {
	w := newUnixWorld(t)
	one := w.member(t, "a@test", nil)
	box := one.process(t)
	one.mu.Lock() // as makeServer has it
	_, err := one.n.Freeze(within(t))
	// the second if the server was just handling a message, which waits for the lock
	require.True(t, errors.Is(err, errBusy) || errors.Is(err, nodes.ErrDraining), "%v", err)
	require.NoError(t, one.n.Register(t.Context(), "x", box)) // the node goes on
	one.mu.Unlock()
	one = w.move(t, one)
	require.NotNil(t, one.n.Whereis(serverName))
}

// A state of another version, or of another form, is refused: the new process begins anew, and says
// so.
func TestRestoreOfAnotherVersion(t *testing.T) {
	w := newUnixWorld(t)
	g := w.member(t, "a@test", nil)
	state, err := g.handover()
	require.NoError(t, err)
	term, err := ei.Decode(state)
	require.NoError(t, err)
	whole := term.(ei.Tuple) // {cnode_global, Version, State}
	for _, tt := range []struct {
		state ei.Term
		says  string
	}{
		{ei.Tuple{whole[0], ei.Int(1), whole[2]}, "version 1, want 3"},
		{ei.Tuple{whole[0], ei.Int(2), ei.List{}}, "version 2, want 3"},
		{whole[:2], "cannot be read"},
		{append(whole[:3:3], ei.Int(1)), "cannot be read"},
		{ei.Tuple{whole[0], whole[1], ei.List{}}, "cannot be read"},
		{ei.Tuple{}, "cannot be read"},
		{whole, ""},
	} {
		raw, err := ei.Marshal(tt.state)
		require.NoError(t, err)
		var log bytes.Buffer
		other := &Global{log: slog.New(slog.NewTextHandler(&log, nil)), held: map[string]heldLock{}}
		other.outbox, other.locker = newOutbox(nil, nil, false), newLocker(other)
		other.server = newServer("a@test", g.n.Creation(), other)
		other.server.joins = g.joins
		other.restore(raw)
		require.Contains(t, log.String(), tt.says)
		require.Equal(t, tt.says == "", log.Len() == 0, log.String())
	}
}
