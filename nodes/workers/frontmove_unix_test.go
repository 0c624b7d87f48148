//go:build unix

package workers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/crew"
	"github.com/cnode-go/cnode/transport/handoff"
)

// move freezes the front and restores it as another Front value, as another process would.
func (w *frontWorld) move() {
	w.t.Helper()
	e := freeze(w.t, w.f)
	w.goOn(e, w.f.cfg)
}

// goOn is the second half of move: it restores the frozen front.
func (w *frontWorld) goOn(e *Frozen, cfg Config) {
	t := w.t
	t.Helper()
	g, err := Restore(cfg, e.State(), duplicates(t, e.Descriptors()))
	if err != nil {
		e.Thaw()
	}
	require.NoError(t, err)
	inTime(t, "Release", func() { require.NoError(t, e.Release()) })
	require.NoError(t, g.Start(soon(t)))
	old := w.f
	w.f = g.Front()
	inTime(t, "Close of the old front", func() { require.NoError(t, old.Close()) })
}

// A talker sends numbers to a process in a worker, without a pause, and gets each of them back.
type talker struct {
	stop chan struct{}
	done chan error
	sent int
}

func (w *frontWorld) talk(n *nodes.Node, to ei.Pid, lead ...ei.Term) *talker {
	t := w.t
	t.Helper()
	b := w.mailbox(n, nil)
	k := &talker{stop: make(chan struct{}), done: make(chan error, 1)}
	c := n.Conn(frontName)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() {
		defer b.Close()
		k.done <- func() error {
			const window = 50
			for i := 0; ; i++ {
				select {
				case <-k.stop:
					for j := max(i-window, 0); j < i; j++ {
						if err := k.expect(ctx, b, j); err != nil {
							return err
						}
					}
					k.sent = i
					return c.Err()
				default:
				}
				if err := b.Send(ctx, to, append(ei.Tuple(slices.Clone(lead)), b.Pid(), ei.Int(i))); err != nil {
					return err
				}
				if i >= window {
					if err := k.expect(ctx, b, i-window); err != nil {
						return err
					}
				}
			}
		}()
	}()
	return k
}

func (k *talker) expect(ctx context.Context, b *nodes.Mailbox, i int) error {
	m, err := b.Receive(ctx)
	if err != nil {
		return err
	}
	v, err := m.Term()
	if err != nil {
		return err
	}
	if v != ei.Int(i) {
		return fmt.Errorf("%v came, and %d is due", v, i)
	}
	return nil
}

// end requires that all numbers have come back, over the connection that was there from the
// beginning.
func (k *talker) end(t *testing.T) int {
	t.Helper()
	close(k.stop)
	select {
	case err := <-k.done:
		require.NoError(t, err)
	case <-soon(t).Done():
		t.Fatal("numbers are missing")
	}
	return k.sent
}

// The front goes on elsewhere, and neither peers nor workers notice.
func TestFrontMoves(t *testing.T) {
	w := newFrontWorld(t, 3)
	ns := w.spread(3)
	before, held := w.f.Workers(), sessions(w.f)
	joe := w.start(ns[0], "joe")
	var talkers []*talker
	for _, n := range ns {
		talkers = append(talkers, w.talk(n, joe, ei.Atom("send")))
	}
	for i := range 5 {
		w.move()
		require.ElementsMatch(t, before, w.f.Workers())
		n := w.node(fmt.Sprintf("fresh%d@127.0.0.1", i))
		require.Equal(t, joe, w.rpc(n, "whereis", ei.Atom("joe")))
		_, err := n.RPC(soon(t), frontName, "w", "start", ei.Atom("joe"))
		require.Error(t, err, "the name is taken in the node")
		require.NoError(t, n.Close())
		require.Eventually(t, func() bool { return sessions(w.f) == held }, tooLong, tick)
	}
	for _, k := range talkers {
		require.Positive(t, k.end(t))
	}
	for _, n := range ns { // the front still knows which worker has which peer
		at := w.worker(n)
		require.Equal(t, at, w.again(n))
	}
	// A worker that dies is replaced, although this front has not started it.
	require.NoError(t, syscall.Kill(before[0].PID, syscall.SIGKILL))
	require.Eventually(t, func() bool { return len(w.f.Workers()) == 3 && !slices.Contains(pids(w.f), before[0].PID) }, tooLong, tick)
}

func sessions(f *Front) (n int) {
	for _, info := range f.Workers() {
		n += info.Sessions
	}
	return n
}

// Each worker goes on in another process, and neither peers nor other workers notice.
func TestWorkersMove(t *testing.T) {
	t.Parallel() // it waits
	w := newFrontWorld(t, 3)
	ns := w.spread(3)
	held := sessions(w.f)
	var talkers []*talker
	for i, n := range ns {
		echo := w.rpc(ns[(i+1)%3], "echo").(ei.Pid) // reached by way of another worker
		talkers = append(talkers, w.talk(n, echo))
	}
	for range 3 {
		before := map[int]int{}
		for _, info := range w.f.Workers() {
			before[info.Slot] = info.PID
		}
		list := of(w.f.UpgradeWorkers(soon(t))).must(t)
		require.Len(t, list, 3)
		for _, u := range list {
			require.NoError(t, u.Err)
			require.Equal(t, before[u.Slot], u.Old)
			require.NotEqual(t, u.Old, u.New)
		}
		n := w.node(fmt.Sprintf("fresh%d@127.0.0.1", os.Getpid()))
		w.worker(n)
		require.NoError(t, n.Close())
		require.Eventually(t, func() bool { return sessions(w.f) == held }, tooLong, tick)
	}
	for _, k := range talkers {
		require.Positive(t, k.end(t))
	}
}

// Who has called a process of a worker, directly or by way of another one, and waits for an answer
// that comes later, hears that there is none when the worker goes on in another process.
func TestCallLeftForLaterOfWorker(t *testing.T) {
	w := newFrontWorld(t, 2)
	ns := w.spread(2)
	var calls []<-chan result[ei.Term]
	for i := range 4 {
		n, echo := ns[i/2], w.rpc(ns[i%2], "echo").(ei.Pid)
		calls = append(calls, async(func() (ei.Term, error) { return n.Call(soon(t), echo, ei.Atom("never")) }))
	}
	for _, call := range calls {
		for over := false; !over; { // a call that comes after a move has the next one
			list, err := w.f.UpgradeWorkers(soon(t))
			require.NoError(t, err)
			require.Len(t, list, 2)
			select {
			case r := <-call:
				var exit *nodes.ExitError
				require.ErrorAs(t, r.err, &exit)
				require.Equal(t, ei.Atom("shutdown"), exit.Reason)
				over = true
			case <-time.After(tick):
			}
		}
	}
}

// A connection that breaks while its worker moves is over for the front, too: another worker may
// connect to that peer.
func TestConnectionBreaksInMove(t *testing.T) {
	w := newFrontWorld(t, 2)
	ns := w.spread(2)
	held := sessions(w.f)
	n := w.node(doomed)
	at := w.worker(n)
	serve(t, n, "me", echoes)
	c := n.Conn(frontName)
	list := of(w.f.UpgradeWorkers(soon(t))).must(t)
	for _, u := range list {
		require.NoError(t, u.Err)
		if u.Old == at {
			at = u.New
		}
	}
	arrives(t, c.Done(), "the end of the connection")
	require.Eventually(t, func() bool { return sessions(w.f) == held }, tooLong, tick)
	for _, other := range ns {
		if w.worker(other) != at {
			require.Equal(t, ei.Int(7), w.rpc(other, "ask", ei.Atom(doomed), ei.Atom("me"), ei.Int(7)))
		}
	}
}

// A new process may take as long to start as any worker: nothing waits for it meanwhile.
func TestSlowSuccessor(t *testing.T) {
	t.Parallel() // it waits
	started := make(chan struct{}, 2)
	w := newFrontWorld(t, 1, func(cfg *Config) {
		command := cfg.Command
		cfg.Command = func() *exec.Cmd {
			cmd := command()
			cmd.Env = append(cmd.Env, testSlowVariable+"=yes")
			started <- struct{}{}
			return cmd
		}
	})
	<-started
	n := w.node("peer@127.0.0.1")
	old := w.worker(n)
	upgrade := async(func() ([]Upgrade, error) { return w.f.UpgradeWorkers(soon(t)) })
	arrives(t, started, "the new process")
	late := w.node("late@127.0.0.1")
	require.Equal(t, old, w.worker(late), "who comes meanwhile is served")
	r := arrives(t, upgrade, "the upgrade")
	list := of(r.v, r.err).must(t)
	require.Len(t, list, 1)
	require.NoError(t, list[0].Err)
	require.Equal(t, old, list[0].Old)
	for _, n := range []*nodes.Node{n, late} {
		require.Equal(t, list[0].New, w.worker(n))
	}
}

// A worker dies while the front stands still: the state and the descriptors that are handed over
// stay valid, and the new front notices the death.
func TestWorkerDiesInFreeze(t *testing.T) {
	w := newFrontWorld(t, 2)
	ns := w.spread(2)
	dead, lives := w.worker(ns[0]), w.worker(ns[1])
	e := freeze(t, w.f)
	require.NoError(t, syscall.Kill(dead, syscall.SIGKILL))
	require.Eventually(t, func() bool { return syscall.Kill(dead, 0) == syscall.ESRCH }, tooLong, tick)
	g, err := Restore(w.f.cfg, e.State(), duplicates(t, e.Descriptors()))
	if err != nil {
		e.Thaw()
	}
	require.NoError(t, err)
	for _, c := range (&frontWorld{t: t, f: g.f}).described().Crew {
		require.Equal(t, runtime.GOOS == "linux", c.Handle.Index() >= 0, "%d", c.PID)
	}
	require.NoError(t, e.Release())
	require.NoError(t, g.Start(soon(t)))
	require.NoError(t, w.f.Close())
	w.f = g.Front()
	require.Eventually(t, func() bool {
		pid, err := ns[0].RPC(soon(t), frontName, "w", "pid")
		return err == nil && pid != ei.Int(dead)
	}, tooLong, tick)
	require.Eventually(t, func() bool { return len(w.f.Workers()) == 2 }, tooLong, tick)
	require.Equal(t, lives, w.worker(ns[1]))
}

// A move that fails leaves the front as it was; and a front that is moving begins no other move or
// upgrade.
func TestFrontStaysWhenMoveFails(t *testing.T) {
	w := newFrontWorld(t, 2)
	ns := w.spread(2)
	joe := w.start(ns[0], "joe")
	k := w.talk(ns[1], joe, ei.Atom("send"))
	open, known := descriptors()
	for range 3 {
		e := freeze(t, w.f)
		_, err := w.f.Freeze(soon(t))
		require.ErrorIs(t, err, handoff.ErrBusy)
		_, err = w.f.UpgradeWorkers(soon(t))
		require.ErrorIs(t, err, handoff.ErrBusy)
		g := restore(t, w.f.cfg, e)
		require.NoError(t, g.Discard())
		for _, edit := range []func(*Config){
			func(c *Config) { c.Workers = 1 },
			func(c *Config) { c.Node.Name = "other@127.0.0.1" },
		} {
			cfg := w.f.cfg
			edit(&cfg)
			_, err = Restore(cfg, e.State(), duplicates(t, e.Descriptors()))
			require.Error(t, err)
		}
		_, err = Restore(w.f.cfg, e.State(), duplicates(t, e.Descriptors()[1:]))
		require.Error(t, err)
		_, err = nodes.Restore(nodes.Config{Cookie: "secret", Resolver: peersDir(w.dir)}, e.State(), duplicates(t, e.Descriptors()))
		require.ErrorIs(t, err, nodes.ErrState)
		e.Thaw()
		n := w.node("fresh@127.0.0.1")
		require.Equal(t, joe, w.rpc(n, "whereis", ei.Atom("joe")))
		require.NoError(t, n.Close())
		if known {
			require.Eventually(t, func() bool { now, _ := descriptors(); return now <= open }, tooLong, tick)
		}
	}
	_, err := w.f.n.Freeze(soon(t))
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.Positive(t, k.end(t))
}

// A front that is being shut down is not frozen any more: the front that would go on elsewhere has
// neither a name nor a listener.
func TestFrontFreezeBesideShutdown(t *testing.T) {
	w := newFrontWorld(t, 1)
	f := w.f
	f.n.Life.Work.Enter() // the freeze waits for it
	frozen := async(func() (*Frozen, error) { return f.Freeze(soon(t)) })
	require.Eventually(t, f.n.Life.IsMoving, tooLong, tick)
	over := async(func() (any, error) { return nil, f.Shutdown(soon(t)) })
	require.Eventually(t, func() bool { return len(f.Workers()) == 0 }, tooLong, tick, "the shutdown")
	f.n.Life.Work.Leave()
	require.ErrorIs(t, arrives(t, frozen, "the freeze").err, nodes.ErrClosed)
	require.NoError(t, arrives(t, over, "the end").err)
}

// A front that could not be frozen goes on, and can be frozen later.
func TestFrontFreezeGivesUp(t *testing.T) {
	starts, goOn := make(chan struct{}, 8), make(chan struct{})
	w := newFrontWorld(t, 1, func(cfg *Config) {
		command := cfg.Command
		cfg.Command = func() *exec.Cmd {
			if starts <- struct{}{}; len(starts) > 1 {
				<-goOn
			}
			return command()
		}
	})
	f := w.f
	require.NoError(t, syscall.Kill(f.Workers()[0].PID, syscall.SIGKILL))
	require.Eventually(t, func() bool { return len(starts) > 1 }, tooLong, tick) // the freeze waits for the new worker
	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	frozen := async(func() (*Frozen, error) { return f.Freeze(ctx) })
	require.Eventually(t, f.n.Life.IsFrozen, tooLong, tick)
	cancel()
	require.ErrorIs(t, arrives(t, frozen, "the freeze").err, context.Canceled)
	close(goOn)
	w.worker(w.node("peer@127.0.0.1"))
	require.NoError(t, thawed(f.Freeze(soon(t))))
}

// Shutdown waits for the end of a freeze: then either the workers can be told, or another process
// has the node.
func TestFrontShutdownBesideFreeze(t *testing.T) {
	for _, moves := range []bool{false, true} {
		t.Run(fmt.Sprint("moves ", moves), func(t *testing.T) {
			w := newFrontWorld(t, 1)
			n := w.node("peer@127.0.0.1")
			pid := w.worker(n)
			e := freeze(t, w.f)
			old := w.f
			over := async(func() (any, error) { return nil, old.Shutdown(soon(t)) })
			select {
			case <-over:
				require.Fail(t, "it does not wait")
			case <-time.After(20 * tick):
			}
			if moves {
				w.goOn(e, w.f.cfg)
			} else {
				e.Thaw()
			}
			require.NoError(t, arrives(t, over, "the end").err)
			if moves {
				require.Equal(t, pid, w.worker(n))
				require.Equal(t, pid, w.worker(w.node("other@127.0.0.1")))
			} else {
				require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
			}
		})
	}
}

// A worker that hangs is not moved, so that its peers need not wait for it: they are served by
// others meanwhile.
func TestUpgradeOfHangingWorker(t *testing.T) {
	t.Parallel() // it waits
	w := newFrontWorld(t, 2, func(c *Config) { c.Patience = time.Second })
	ns := w.spread(2)
	victim := w.served(ns[0])
	w.hangs(victim)
	upgraded := async(func() ([]Upgrade, error) { return w.f.UpgradeWorkers(soon(t)) })
	require.NoError(t, ns[0].Conn(frontName).Close())
	require.NotEqual(t, victim, w.served(ns[0]))
	r := arrives(t, upgraded, "the upgrade")
	require.NoError(t, r.err)
	for _, u := range r.v {
		if u.Old == victim {
			require.ErrorIs(t, u.Err, crew.ErrHangs)
		}
	}
	require.NoError(t, syscall.Kill(victim, syscall.SIGCONT))
	w.upgraded()
	require.NotEqual(t, victim, w.served(ns[0]))
}

// A front that takes over with more workers than there were waits, in UpgradeWorkers, for those
// that are starting.
func TestUpgradeAwaitsWorker(t *testing.T) {
	w := newFrontWorld(t, 1)
	old := w.f.Workers()[0].PID
	e := freeze(t, w.f)
	cfg := w.f.cfg
	cfg.Workers = 2
	held := filepath.Join(w.dir, "held")
	command, commands := cfg.Command, atomic.Int32{}
	cfg.Command = func() *exec.Cmd {
		cmd := command()
		if commands.Add(1) == 1 { // the worker that is added
			cmd.Env = append(cmd.Env, testHoldVariable+"="+held)
		}
		return cmd
	}
	w.goOn(e, cfg)
	require.Eventually(t, func() bool { return len(w.f.crew.Workers()) == 2 }, tooLong, tick)
	upgraded := async(func() ([]Upgrade, error) { return w.f.UpgradeWorkers(soon(t)) })
	require.Eventually(t, func() bool { // the first worker has been upgraded
		list := w.f.Workers()
		return len(list) == 1 && list[0].PID != old
	}, tooLong, tick)
	select {
	case <-upgraded:
		require.Fail(t, "it does not wait")
	case <-time.After(50 * tick):
	}
	require.EqualValues(t, 2, commands.Load(), "nobody is to take the other one's place yet")
	require.NoError(t, os.WriteFile(held, nil, 0o600))
	r := arrives(t, upgraded, "the upgrade")
	require.NoError(t, r.err)
	require.Len(t, r.v, 2)
	for _, u := range r.v {
		require.NoError(t, u.Err)
	}
}

// A front moves while a worker is starting: the worker goes on with the new front, and the old one
// does not complain that it has ended.
func TestFrontMovesWhileWorkerStarts(t *testing.T) {
	log, held := new(record), filepath.Join(t.TempDir(), "held")
	var commands atomic.Int32
	w := newFrontWorld(t, 1, func(cfg *Config) {
		cfg.Node.Logger = slog.New(slog.NewTextHandler(log, nil))
		command := cfg.Command
		cfg.Command = func() *exec.Cmd {
			cmd := command()
			if commands.Add(1) == 2 { // the replacement
				cmd.Env = append(cmd.Env, testHoldVariable+"="+held)
			}
			return cmd
		}
	})
	require.NoError(t, syscall.Kill(w.f.Workers()[0].PID, syscall.SIGKILL))
	starting := func() (pid int) {
		for _, c := range w.f.crew.Workers() {
			if i, ready := c.Info(); !ready {
				pid = i.PID
			}
		}
		return pid
	}
	require.Eventually(t, func() bool { return commands.Load() == 2 && starting() != 0 }, tooLong, tick)
	pid := starting()
	w.move()
	require.NoError(t, os.WriteFile(held, nil, 0o600))
	require.Equal(t, pid, w.worker(w.node("peer@127.0.0.1")))
	require.Empty(t, log.Lines("no worker"))
}
