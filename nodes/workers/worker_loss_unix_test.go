//go:build unix

package workers

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/nodes/internal/talk"
)

// Workers that live, but have lost the way to each other, get another one.
func TestWorkersLoseEachOther(t *testing.T) {
	t.Parallel() // it waits
	w := newFrontWorld(t, 2)
	ns := w.spread(2)
	var pids, workers [2]ei.Term
	for i, n := range ns {
		pids[i], workers[i] = w.rpc(n, "start", ei.Atom("")), ei.Int(w.worker(n))
	}
	joined := func() {
		t.Helper()
		require.Eventually(t, func() bool {
			for i, n := range ns {
				ask := ei.Tuple{ei.Atom("call"), pids[1-i], ei.Atom("pid")}
				// between the workers
				if v, err := n.Call(soon(t), pids[i].(ei.Pid), ask); err != nil || v != workers[1-i] {
					return false
				}
				// over both
				if v, err := n.Call(soon(t), pids[1-i].(ei.Pid), ei.Atom("pid")); err != nil || v != workers[1-i] {
					return false
				}
			}
			return true
		}, tooLong, tick)
	}
	for range 3 {
		for _, n := range ns {
			w.rpc(n, "sever")
			joined()
		}
	}
	for _, n := range ns { // no descriptor is free for the next way, or the next few
		w.rpc(n, "nofiles")
		w.rpc(n, "sever")
		time.Sleep(2 * siblingPause)
		w.rpc(n, "files")
		joined()
	}
	w.rpc(ns[0], "sever") // and they move while they ask
	w.upgraded()
	for i, n := range ns {
		pids[i], workers[i] = w.rpc(n, "start", ei.Atom("")), ei.Int(w.worker(n))
	}
	joined()
}

// A worker that dies loses its own sessions only, and is replaced. Links, monitors and calls of
// others to its processes end.
func TestWorkerDies(t *testing.T) {
	log := new(record)
	w := newFrontWorld(t, 3, func(cfg *Config) { cfg.Node.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	ns := w.spread(3)
	a, b, c := ns[0], ns[1], ns[2]
	victim := w.worker(b)
	there := w.start(b, "joe")
	box := w.mailbox(a, &nodes.MailboxOptions{TrapExit: true})
	require.NoError(t, box.Link(soon(t), there))
	ref := monitor(t, box, there)
	cb := b.Conn(frontName)
	ca, cc := a.Conn(frontName), c.Conn(frontName)
	of(a.Call(soon(t), there, ei.Int(1))).must(t)

	require.NoError(t, syscall.Kill(victim, syscall.SIGKILL))
	arrives(t, cb.Done(), "the end of the connection")
	seen := 0
	for range 2 {
		if m := w.receive(box); m.Ref == ref {
			seen |= 1
		} else if m.From == there {
			seen |= 2
		}
	}
	require.Equal(t, 3, seen)
	require.NoError(t, ca.Err())
	require.NoError(t, cc.Err())
	// what was in the dying worker's socket ends with the worker
	require.Eventually(t, func() bool {
		pid, err := b.RPC(soon(t), frontName, "w", "pid")
		return err == nil && pid != ei.Int(victim)
	}, tooLong, tick)
	require.Eventually(t, func() bool { // the front knows of it, too, and has another one
		list := w.f.Workers()
		return len(list) == 3 && !slices.ContainsFunc(list, func(i Info) bool { return i.PID == victim })
	}, tooLong, tick)
	require.Len(t, log.Lines("worker ended", fmt.Sprint("pid=", victim)), 1)
	require.Eventually(t, func() bool { return len(log.Lines("worker replaced")) == 1 }, tooLong, tick)
	require.Equal(t, ei.Atom("undefined"), w.rpc(a, "whereis", ei.Atom("joe")))
	again := w.start(b, "joe")
	require.NotEqual(t, there, again)
	require.Equal(t, ei.Int(2), of(a.CallName(soon(t), frontName, "joe", ei.Int(2))).must(t))
}

// A killer is a log that kills the new process of a worker as soon as it says that it has it.
type killer struct {
	slot int64
	dead chan int
}

func (k *killer) Handle(_ context.Context, r slog.Record) error {
	at := map[string]int64{}
	r.Attrs(func(a slog.Attr) bool {
		if a.Value.Kind() == slog.KindInt64 {
			at[a.Key] = a.Value.Int64()
		}
		return true
	})
	if r.Message == "worker upgraded" && at["slot"] == k.slot {
		_ = syscall.Kill(int(at["to"]), syscall.SIGKILL)
		k.dead <- int(at["to"])
	}
	return nil
}

func (k *killer) Enabled(context.Context, slog.Level) bool { return true }
func (k *killer) WithAttrs([]slog.Attr) slog.Handler       { return k }
func (k *killer) WithGroup(string) slog.Handler            { return k }

// A worker whose new process dies after it has taken the worker over is not upgraded, whether it is
// the first, while others still move, or the last.
func TestWorkerDiesUpgraded(t *testing.T) {
	t.Parallel() // it waits
	for slot := range 3 {
		k := &killer{int64(slot), make(chan int, 1)}
		w := newFrontWorld(t, 3, func(cfg *Config) { cfg.Node.Logger = slog.New(k) })
		list := of(w.f.UpgradeWorkers(soon(t))).must(t)
		require.Len(t, list, 3)
		for _, u := range list {
			if u.Slot != slot {
				require.NoError(t, u.Err)
				require.NotZero(t, u.New)
				continue
			}
			require.ErrorContains(t, u.Err, fmt.Sprintf("(%d) had it, and has ended (signal: killed)", arrives(t, k.dead, "the death")))
			require.Zero(t, u.New)
		}
	}
}

// The links and monitors that a worker's peers have with processes of another worker move with the
// worker: when the other one dies, the peers are told.
func TestWorkerDiesAfterAnotherMoved(t *testing.T) {
	w := newFrontWorld(t, 2)
	ns := w.spread(2)
	there := w.start(ns[1], "joe")
	linked, watching := w.mailbox(ns[0], &nodes.MailboxOptions{TrapExit: true}), w.mailbox(ns[0], nil)
	require.NoError(t, linked.Link(soon(t), there))
	ref := monitor(t, watching, there)
	_, err := ns[0].Call(soon(t), there, ei.Int(1)) // the link and the monitor are there
	require.NoError(t, err)
	of(w.workerProcess(w.worker(ns[0])).Upgrade()).must(t)
	w.worker(ns[0])
	require.NoError(t, syscall.Kill(w.worker(ns[1]), syscall.SIGKILL))
	require.Equal(t, there, w.receive(linked).From)
	require.Equal(t, ref, w.receive(watching).Ref)
}

// A replacement for a worker that hangs before it is ready is replaced as well.
func TestReplacementHangs(t *testing.T) {
	t.Parallel() // it waits
	var starts atomic.Int32
	w := newFrontWorld(t, 1, func(cfg *Config) {
		command := cfg.Command
		cfg.workerStart = 10 * time.Second
		cfg.Command = func() *exec.Cmd {
			cmd := command()
			if starts.Add(1) == 2 {
				cmd.Env = append(cmd.Env, testHangVariable+"=yes")
			}
			return cmd
		}
	})
	n := w.node("peer@127.0.0.1")
	require.NoError(t, syscall.Kill(w.worker(n), syscall.SIGKILL))
	require.Eventually(t, func() bool { return starts.Load() >= 3 && len(w.f.Workers()) == 1 }, 2*tooLong, tick)
}

// If a message's descriptor is lost, because none was free, only what the message was about is
// affected.
func TestLostDescriptorEndsOnlyItsMatter(t *testing.T) {
	t.Parallel() // it waits
	for name, m := range map[string]talk.Message{
		"worker link": &talk.WorkerLink{Part: 9}, "session socket": &talk.SessionSocket{}, "session": &talk.Session{Plugin: "tcp"},
		"move":        &talk.Move{ID: 3},
		"remote link": &talk.RemoteLink{Part: 9, Peer: &dist.Peer{Name: "lost@127.0.0.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFrontWorld(t, 2)
			ns := w.spread(2)
			c := ns[0].Conn(frontName)
			for _, man := range w.f.crew.Workers() {
				man.Say(m)
			}
			for range 2 {
				for _, n := range ns {
					w.worker(n)
				}
			}
			require.NoError(t, c.Err())
		})
	}
}

// A worker that has no free descriptor for a while loses the sessions that come meanwhile, and no
// others.
func TestSessionsLost(t *testing.T) {
	w := newFrontWorld(t, 1)
	n := w.node("peer@127.0.0.1")
	w.rpc(n, "nofiles")
	// the first one breaks the socket for sessions, and the next ones do not get another
	for i := range 3 {
		name := fmt.Sprintf("lost%d@h", i)
		conn := w.stranger(name)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(workerPatience/2)))
		_, err := conn.Read(make([]byte, 1))
		require.Error(t, err)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the connection ends, and that at once")
		held, _ := w.held(name)
		require.Empty(t, held)
	}
	w.rpc(n, "files")
	w.worker(w.node("other@127.0.0.1"))
	require.Eventually(t, func() bool {
		return !slices.ContainsFunc(w.described().Crew, func(c states.Crewman) bool {
			return len(c.Untaken) > 0 || c.Hangs || c.Sessions != 2
		})
	}, tooLong, tick)
}

// A worker that loses a session gets no others for a while, whomever Config.Choose prefers.
func TestSessionsGoElsewhere(t *testing.T) {
	w := newFrontWorld(t, 2, func(cfg *Config) {
		cfg.Choose = func(_ string, candidates []Info) int {
			return slices.IndexFunc(candidates, func(i Info) bool { return i.Slot == 0 || len(candidates) == 1 })
		}
	})
	n := w.node("a@127.0.0.1")
	preferred := w.worker(n)
	w.rpc(n, "nofiles")
	unlucky, err := nodes.New(nodes.Config{Name: "b@127.0.0.1", Cookie: "secret", Resolver: peersDir(w.dir)})
	require.NoError(t, err)
	defer unlucky.Close()
	_, err = unlucky.Connect(soon(t), frontName)
	require.Error(t, err)
	for _, name := range []string{"c@127.0.0.1", "d@127.0.0.1"} {
		require.NotEqual(t, preferred, w.served(w.node(name))) // it loses those that come too late for that
	}
	w.rpc(n, "files")
	again := 0
	require.Eventually(t, func() bool {
		again++
		return w.worker(w.node(fmt.Sprintf("again%d@127.0.0.1", again))) == preferred
	}, tooLong, 100*tick)
}

// standStill stops a process. kill(2) returns before the threads have stopped; they may still
// handle what has just come.
func standStill(t *testing.T, pid int) {
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	if runtime.GOOS != "linux" {
		return
	}
	require.Eventually(t, func() bool {
		threads := of(filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))).must(t)
		return len(threads) > 0 && !slices.ContainsFunc(threads, func(name string) bool {
			stat, err := os.ReadFile(name)
			_, state, _ := strings.Cut(string(stat), ") ")
			return err == nil && state[0] != 'T'
		})
	}, tooLong, tick)
}

// If a worker dies while another one waits for a way to its peer, the other one connects by itself.
func TestWayFromDeadWorker(t *testing.T) {
	w := newFrontWorld(t, 2)
	ns := w.spread(2)
	x, c := ns[0], ns[1]
	serve(t, x, "box", echoes)
	holder := w.worker(x)
	asked := w.rpc(c, "questions")
	standStill(t, holder)
	called := async(func() (ei.Term, error) {
		return c.RPC(soon(t), frontName, "w", "ask", ei.Atom(x.Name()), ei.Atom("box"), ei.Int(4))
	})
	require.Eventually(t, func() bool { return w.rpc(c, "questions") != asked }, tooLong, tick)
	require.NoError(t, syscall.Kill(holder, syscall.SIGKILL))
	r := arrives(t, called, "the answer")
	require.NoError(t, r.err)
	require.Equal(t, ei.Int(4), r.v)
}

// A worker that has no free descriptor for a relay link to another worker does not report that
// worker's processes as missing: it ends the peer's connection.
func TestNoDescriptorForBranch(t *testing.T) {
	w := newFloodWorld(t)
	joe := w.start(w.far, "")
	w.rpc(w.mate, "nofiles")
	b := w.mailbox(w.peer, nil)
	up := w.peer.Conn(frontName)
	ref := monitor(t, b, joe)
	m := w.receive(b)
	require.Equal(t, ref, m.Ref)
	require.Equal(t, ei.Atom("noconnection"), decode(t, m.Reason))
	require.Error(t, up.Err())
	w.rpc(w.mate, "files")
	require.Equal(t, ei.Int(1), of(w.peer.Call(soon(t), joe, ei.Int(1))).must(t))
}

// A worker that has no free descriptor for another worker's way to a peer says so to the other one,
// which asks again.
func TestNoDescriptorForMeeting(t *testing.T) {
	w := newFrontWorld(t, 2)
	ns := w.spread(2)
	x, y := ns[0], ns[1]
	serve(t, x, "me", echoes)
	w.rpc(x, "nofiles")
	before := w.rpc(y, "questions").(ei.Int)
	asked := async(func() (ei.Term, error) {
		return y.RPC(soon(t), frontName, "w", "ask", ei.Atom(x.Name()), ei.Atom("me"), ei.Int(1))
	})
	require.Eventually(t, func() bool { return w.rpc(y, "questions").(ei.Int) >= before+3 }, tooLong, tick)
	w.rpc(x, "files")
	got := arrives(t, asked, "the answer")
	require.NoError(t, got.err)
	require.Equal(t, ei.Int(1), got.v)
}
