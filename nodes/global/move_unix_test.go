//go:build unix

package global

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// newUnixWorld is a world whose nodes can move.
func newUnixWorld(t *testing.T, names ...string) *world {
	dir := sockdir.New(t)
	w := &world{tr: transport.Unix(), table: nodes.Static{}}
	for _, name := range names {
		w.table[name] = nodes.Endpoint{Addr: transport.UnixAddr(filepath.Join(dir, name))}
	}
	return w
}

// move has a member go on as in another process.
func (w *world) move(t *testing.T, m member) member {
	t.Helper()
	f, err := m.n.Freeze(within(t))
	require.NoError(t, err)
	var fds []int
	for _, fd := range f.Descriptors() {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		require.NoError(t, err)
		fds = append(fds, dup)
	}
	moved := member{}
	s, err := nodes.Restore(nodes.Config{
		Name: m.n.Name(), Cookie: "secret", Transport: w.tr, Resolver: w.table, Visible: true, Logger: logger(t),
		Setup: func(n *nodes.Node) (err error) {
			moved.Global, err = Start(t.Context(), n, nil)
			return err
		},
	}, f.State(), fds)
	require.NoError(t, err)
	t.Cleanup(func() { s.Node().Close() })
	require.NoError(t, f.Release())
	require.NoError(t, s.Start(within(t)))
	for _, b := range s.Mailboxes() {
		b.Close()
	}
	moved.n = s.Node()
	return moved
}

// What a move interrupts is released in the new process, which registers as before.
func TestMoveInTransaction(t *testing.T) {
	w := newUnixWorld(t, "a@test", "b@test")
	one, other := w.member(t, "a@test", nil), w.member(t, "b@test", nil)
	_, err := one.n.Connect(within(t), "b@test")
	require.NoError(t, err)
	require.NoError(t, one.Sync(within(t)))
	require.NoError(t, other.Sync(within(t)))
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

// A move between any two steps of a session changes nothing for the other node.
func TestMoveInSession(t *testing.T) {
	for step, name := range []string{"begun", "locked", "exchanged", "resolved"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newUnixWorld(t, "a@test", "l@test")
			one := w.member(t, "a@test", nil)
			heard := make(chan ei.Tuple, 100)
			l := w.liar(t, "l@test", func(_ string, m ei.Term) {
				if m, ok := m.(ei.Tuple); ok {
					heard <- m
				}
			})
			// answer says true to the locker, or to its end
			answer := func(m ei.Tuple) {
				to, ok := replyTo("a@test", m[1])
				if !ok || tagOf(m) != "$gen_call" {
					return
				}
				err := error(nil)
				if yes := (ei.Tuple{to.tag, a("true")}); to.alias.Len > 0 {
					err = l.box.SendAlias(within(t), to.alias, yes)
				} else {
					err = l.box.Send(within(t), to.pid, yes)
				}
				require.NoError(t, err)
			}
			hear := func(what string) ei.Tuple {
				for {
					select {
					case m := <-heard:
						if inner, _ := m[len(m)-1].(ei.Tuple); tagOf(m) == "$gen_cast" && isAtom(inner[0], what) {
							return inner
						}
						answer(m)
					case <-within(t).Done():
						require.FailNow(t, "no "+what)
					}
				}
			}
			moveAt := func(at int) {
				if at == step {
					one = w.move(t, one)
				}
			}
			_, err := one.n.Connect(within(t), "l@test")
			require.NoError(t, err)
			tag := hear("init_connect")[1].(ei.Tuple)[1]
			l.tell("a@test", cast(a("init_connect"), ei.Tuple{ei.Int(8), ei.Int(1)}, a("l@test"),
				ei.Tuple{a("locker"), a("x"), ei.Map{}, l.box.Pid()}))
			eventually(t, func() bool {
				one.mu.RLock()
				defer one.mu.RUnlock()
				return one.server.sessions["l@test"].begun
			})
			moveAt(0)
			require.Equal(t, a("true"), hear("lock_set")[2])
			moveAt(1)
			l.tell("a@test", cast(a("lock_set"), l.box.Pid(), a("true"), ei.List{}, tag))
			hear("exchange")
			moveAt(2)
			l.tell("a@test", cast(a("exchange"), a("l@test"), ei.List{entry("x", l.box.Pid())}, ei.List{}, tag))
			hear("resolved")
			moveAt(3)
			l.tell("a@test", cast(a("resolved"), a("l@test"), ei.List{}, ei.List{}, a("unused"), ei.List{}, tag))
			eventually(t, func() bool { return len(one.Known()) == 1 })
			eventually(t, func() bool {
				for len(heard) > 0 {
					answer(<-heard)
				}
				return !one.isLocked()
			})
			pid, ok := one.Whereis("x")
			require.True(t, ok)
			require.Equal(t, l.box.Pid(), pid)
		})
	}
}

// A freeze that comes while the server is made anew fails, and does not wait for what waits for it.
func TestFreezeWhileMade(t *testing.T) {
	w := newUnixWorld(t, "a@test")
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
	w := newUnixWorld(t, "a@test")
	g := w.member(t, "a@test", nil)
	state, err := g.handover()
	require.NoError(t, err)
	term, err := ei.Decode(state)
	require.NoError(t, err)
	whole := term.(ei.Tuple)
	for _, tt := range []struct {
		state ei.Term
		says  string
	}{
		{append(ei.Tuple{whole[0], ei.Int(2)}, whole[2:]...), "version 2, want 1"},
		{append(ei.Tuple{whole[0]}, whole[2:]...), "want 1"},
		{whole[:7], "cannot be read"},
		{append(whole[:8:8], ei.Int(1)), "cannot be read"},
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
