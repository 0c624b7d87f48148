//go:build unix

package workers

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/nodes/internal/crew"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/states"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/transport"
)

const frontName = "front@127.0.0.1"

// doomed is a peer whose connection breaks while its worker moves.
const doomed = "doomed@127.0.0.1"

// workerPatience is the Patience of fronts whose workers must not be passed over: on a busy machine
// a worker may take longer to answer than the default allows.
const workerPatience = 10 * time.Second

// A frontWorld is a front with real workers, and nodes that connect to it.
type frontWorld struct {
	t   *testing.T
	f   *Front
	dir string
}

// notInFront is a Handover that must not be called: Setup, Handover and Thawed are for workers
// only.
func notInFront(context.Context) ([]byte, error) { panic("a front has no Setup") }

func newFrontWorld(t *testing.T, workers int, edit ...func(*Config)) *frontWorld {
	t.Helper()
	w := &frontWorld{t: t, dir: sockdir.New(t)}
	cfg := Config{
		Node:    nodes.Config{Name: frontName, Cookie: "secret", Resolver: peersDir(w.dir), Handover: notInFront},
		Workers: workers, Patience: workerPatience,
		Command: func() *exec.Cmd {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), testPeersVariable+"="+w.dir, "GORACE=atexit_sleep_ms=0")
			cmd.Stderr = os.Stderr
			return cmd
		},
	}
	for _, e := range edit {
		e(&cfg)
	}
	w.f = of(Start(soon(t), cfg)).must(t)
	t.Cleanup(func() { inTime(t, "Close of the front", func() { require.NoError(t, w.f.Close()); <-w.f.Done() }) })
	return w
}

// node starts a node that the workers can find.
func (w *frontWorld) node(name string) *nodes.Node {
	w.t.Helper()
	n := of(nodes.New(nodes.Config{Name: name, Cookie: "secret", Resolver: peersDir(w.dir)})).must(w.t)
	require.NoError(w.t, n.Start(soon(w.t)))
	w.t.Cleanup(func() { require.NoError(w.t, n.Close()) })
	return n
}

func (w *frontWorld) rpc(n *nodes.Node, fun string, args ...any) ei.Term {
	w.t.Helper()
	return of(n.RPC(soon(w.t), frontName, "w", fun, args...)).must(w.t)
}

// start starts a process of the worker that serves a node's connection, under a name if it is given
// one.
func (w *frontWorld) start(n *nodes.Node, name string) ei.Pid {
	w.t.Helper()
	return w.rpc(n, "start", ei.Atom(name)).(ei.Pid)
}

// echoes answers a call with its request.
var echoes = nodes.Server{Call: func(_ context.Context, c *nodes.Call) (any, error) { return c.Request, nil }}

// again connects a second time under a node's name, which ends its first connection, and gives the
// worker that has the second one.
func (w *frontWorld) again(n *nodes.Node) int {
	w.t.Helper()
	old := n.Conn(frontName)
	twin := of(nodes.New(nodes.Config{Name: n.Name(), Cookie: "secret", Resolver: peersDir(w.dir)})).must(w.t)
	defer twin.Close()
	connect(w.t, twin, frontName)
	arrives(w.t, old.Done(), "the end of the first connection")
	return w.worker(twin)
}

// stranger connects without a node, and says a node's name.
func (w *frontWorld) stranger(name string) net.Conn {
	w.t.Helper()
	at := of(transport.AddrPort(w.f.Addr())).must(w.t)
	conn := of(net.Dial("tcp", at.String())).must(w.t)
	w.t.Cleanup(func() { conn.Close() })
	of(conn.Write(namePacket(w.t, name))).must(w.t)
	return conn
}

// worker is the id of the process that serves a node's connection.
func (w *frontWorld) worker(n *nodes.Node) int { return int(w.rpc(n, "pid").(ei.Int)) }

// workerProcess is the worker that has a process, as the front sees it.
func (w *frontWorld) workerProcess(pid int) *crew.Worker {
	w.t.Helper()
	for _, c := range w.f.crew.Workers() {
		if i, _ := c.Info(); i.PID == pid {
			return c
		}
	}
	require.FailNow(w.t, "no such worker")
	return nil
}

// described is what the front would say of its workers in its state just now.
func (w *frontWorld) described() (s states.Front) {
	w.t.Helper()
	require.NoError(w.t, w.f.crew.Describe(new(descriptor.Table), &s))
	return s
}

// number is the number of the worker that has a process.
func (w *frontWorld) number(pid int) int {
	w.t.Helper()
	for _, c := range w.described().Crew {
		if c.PID == pid {
			return c.Part
		}
	}
	require.FailNow(w.t, "no such worker")
	return 0
}

// held is which workers have a peer, and the number of the one that has its connection.
func (w *frontWorld) held(peer string) (held []states.Held, at int) {
	for _, r := range w.described().Routes {
		if r.Peer == peer {
			return r.Held, r.At
		}
	}
	return nil, 0
}

// hangs stops a worker's process, until the test continues the process or ends. It waits until the
// front has not heard of the worker lately: as long as it has, the worker counts as alive.
func (w *frontWorld) hangs(pid int) {
	w.t.Helper()
	standStill(w.t, pid)
	w.t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	man := w.workerProcess(pid)
	require.Eventually(w.t, func() bool { return !man.HeardLately() }, tooLong, tick)
}

// served is worker for a front that may lose patience with a worker: then it tries again.
func (w *frontWorld) served(n *nodes.Node) int {
	w.t.Helper()
	for begun := time.Now(); ; time.Sleep(tick) {
		v, err := n.RPC(soon(w.t), frontName, "w", "pid")
		if err == nil {
			return int(v.(ei.Int))
		}
		require.Less(w.t, time.Since(begun), tooLong, err)
	}
}

// spread starts nodes until each of so many workers has one.
func (w *frontWorld) spread(workers int) []*nodes.Node {
	w.t.Helper()
	var ns []*nodes.Node
	seen := map[int]bool{}
	for i := 0; len(ns) < workers; i++ {
		require.Less(w.t, i, 100)
		n := w.node(fmt.Sprintf("peer%d@127.0.0.1", i))
		if at := w.served(n); !seen[at] {
			seen[at] = true
			ns = append(ns, n)
		}
	}
	return ns
}

func (w *frontWorld) mailbox(n *nodes.Node, o *nodes.MailboxOptions) *nodes.Mailbox {
	w.t.Helper()
	b := box(w.t, n, o)
	return b
}

func (w *frontWorld) receive(b *nodes.Mailbox) *nodes.Message {
	w.t.Helper()
	return of(b.Receive(soon(w.t))).must(w.t)
}

// A worker's statistics say that the node is published while the front's do: through moves of both,
// when the name is taken back or published again, and in a worker that takes another one's place.
func TestWorkersArePublished(t *testing.T) {
	t.Parallel() // it waits
	w := newFrontWorld(t, 2)
	ns := w.spread(2)
	are := func(want ei.Term) {
		t.Helper()
		for _, n := range ns {
			require.Eventually(t, func() bool {
				v, err := n.RPC(soon(t), frontName, "w", "published")
				return err == nil && v == want
			}, tooLong, tick)
		}
	}
	are(ei.Atom("true"))
	w.move()
	are(ei.Atom("true"))
	w.upgraded()
	are(ei.Atom("true"))

	require.NoError(t, w.f.n.Unpublish(context.Background()))
	are(ei.Atom("false"))
	w.upgraded()
	are(ei.Atom("false"))
	w.move()
	are(ei.Atom("false"))
	victim := w.worker(ns[0])
	require.NoError(t, syscall.Kill(victim, syscall.SIGKILL))
	// found again, though not by the front
	require.NoError(t, os.WriteFile(filepath.Join(w.dir, frontName), []byte(w.f.Addr().String()), 0o600))
	survivor := w.worker(ns[1])
	require.NotEqual(t, survivor, victim)
	require.Eventually(t, func() bool { return len(w.f.Workers()) == 2 && !slices.Contains(pids(w.f), victim) }, tooLong, tick)
	ns[0] = w.elsewhere(survivor, "later")
	are(ei.Atom("false"))

	require.NoError(t, w.f.n.Publish(soon(t), w.f.l))
	are(ei.Atom("true"))
}

// When a front is shut down while a worker moves, the new process is told to finish.
func TestShutdownWhileWorkerMoves(t *testing.T) {
	t.Parallel() // it waits
	w := newFrontWorld(t, 1)
	a := w.node("a@127.0.0.1")
	pid := w.worker(a)
	called := async(func() (ei.Term, error) { return a.RPC(soon(t), frontName, "w", "second") })
	require.Eventually(t, func() bool { _, err := os.Stat(peersDir(w.dir).path(secondBegun)); return err == nil }, tooLong, tick)
	upgraded := async(func() ([]Upgrade, error) { return w.f.UpgradeWorkers(soon(t)) })
	require.Eventually(t, func() bool { // the move waits for the function
		for _, c := range w.described().Crew {
			return c.Moves > 0
		}
		return false
	}, tooLong, tick)
	require.NoError(t, os.WriteFile(peersDir(w.dir).path(secondEnds), nil, 0o600))
	require.NoError(t, w.f.Shutdown(soon(t)))
	require.NoError(t, arrives(t, called, "the answer").err)
	r := arrives(t, upgraded, "the upgrade")
	require.NoError(t, r.err)
	for _, u := range r.v {
		require.ErrorIs(t, syscall.Kill(max(u.New, pid), 0), syscall.ESRCH)
	}
}

// A process becomes a worker only once, and processes that it starts are no workers.
func TestWorkerIsOneOnce(t *testing.T) {
	w := newFrontWorld(t, 1)
	a := w.node("a@127.0.0.1")
	require.Equal(t, ei.Binary("true true <nil> false"), w.rpc(a, "again"))
	w.worker(a)
}

// A peer that connects a second time gets to the worker that has its first connection.
func TestSecondConnectReachesSameWorker(t *testing.T) {
	// by itself, this never chooses the same worker twice
	w := newFrontWorld(t, 3, func(c *Config) {
		last := -1
		c.Choose = func(_ string, ws []Info) int { last++; return last % len(ws) }
	})
	n := w.node("dup@127.0.0.1")
	first := w.worker(n)
	require.Equal(t, first, w.again(n))
}

// Sessions that the BIND 10 form cannot carry go another way.
func TestFrontOverUnix(t *testing.T) {
	path := filepath.Join(sockdir.New(t), "s")
	w := newFrontWorld(t, 2, func(c *Config) {
		c.Node.Transport, c.Node.Listen, c.Choose = transport.Unix(), transport.UnixAddr(path), BySessions
	})
	ns := w.spread(2)
	there := w.start(ns[0], "joe")
	for _, n := range ns {
		require.Equal(t, ei.Int(3), of(n.Call(soon(t), there, ei.Int(3))).must(t))
	}
}

// A worker whose socket takes no more is passed over, and gets another socket.
func TestWorkerIsFull(t *testing.T) {
	w := newFrontWorld(t, 1, func(c *Config) {
		c.Patience, c.trust = 10*time.Second, time.Hour // the worker is not probed
	})
	n := w.node("peer@127.0.0.1")
	victim := w.worker(n)
	for round := range 2 {
		w.worker(n)
		require.Eventually(t, w.idle, tooLong, tick, "more than MaxUntaken would be too many, not the socket full")
		at := of(transport.AddrPort(w.f.Addr())).must(t)
		standStill(t, victim)
		before := w.socket()
		w.narrow()
		l := w.f.Listener()
		resume := of(w.f.n.PauseAccepting(soon(t), l)).must(t) // until all sessions that are to fill the socket have come
		var conns []net.Conn
		for i := range 2 * crew.MaxUntaken {
			conn, err := net.Dial("tcp", at.String())
			require.NoError(t, err)
			conns = append(conns, conn)
			of(conn.Write(append(namePacket(t, fmt.Sprintf("x%d-%d@h", round, i)), make([]byte, 60_000)...))).must(t)
		}
		resume()
		require.Eventually(t, func() bool { return w.socket() > before }, tooLong, tick, "the socket takes all of them")
		require.NoError(t, syscall.Kill(victim, syscall.SIGCONT))
		for _, conn := range conns {
			conn.Close()
		}
		other := w.node(fmt.Sprintf("other%d@127.0.0.1", round))
		require.Equal(t, victim, w.worker(other))
		require.Equal(t, victim, w.worker(n))
	}
}

// idle tells whether the workers have taken all that they were given.
func (w *frontWorld) idle() bool {
	return !slices.ContainsFunc(w.described().Crew, func(c states.Crewman) bool { return len(c.Untaken) > 0 })
}

// narrow gives the socket for sessions of the only worker the smallest buffer that the system
// allows.
func (w *frontWorld) narrow() {
	for _, c := range w.f.crew.Workers() {
		raw := of(c.Forwarder().SyscallConn()).must(w.t)
		require.NoError(w.t, raw.Control(func(fd uintptr) {
			require.NoError(w.t, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 1))
		}))
	}
}

// socket is the number of the only worker's latest socket for sessions.
func (w *frontWorld) socket() (number uint64) {
	for _, c := range w.described().Crew {
		number = c.Socket
	}
	return number
}

// Peers that only say their names do not keep the other sessions of their worker waiting.
func TestSilentPeersOfAWorker(t *testing.T) {
	w := newFrontWorld(t, 1)
	for round := range 2 {
		for i := range 3 {
			conn := w.stranger(fmt.Sprintf("silent%d-%d@h", round, i))
			of(conn.Read(make([]byte, 2))).must(t) // the worker's answer
		}
		w.worker(w.node(fmt.Sprintf("peer%d@127.0.0.1", round)))
	}
}

func TestLeastSessionsAndByNameChoose(t *testing.T) {
	ws := []Info{{Slot: 0, Sessions: 3}, {Slot: 1, Sessions: 1}, {Slot: 2, Sessions: 1}}
	require.Equal(t, 1, BySessions("x@y", ws))
	counts := map[int]int{}
	for i := range 3000 {
		name := fmt.Sprintf("node%d@host", i)
		slot := ws[ByName(name, ws)].Slot
		counts[slot]++
		for gone := range ws { // only the names of a worker that is missing move
			left := slices.Delete(slices.Clone(ws), gone, gone+1)
			if now := left[ByName(name, left)].Slot; ws[gone].Slot != slot {
				require.Equal(t, slot, now)
			}
		}
	}
	for _, n := range counts {
		require.Greater(t, n, 850)
	}
}

// A worker that does not finish is killed when the time for that is over, and Shutdown says so.
func TestShutdownOfStoppedWorker(t *testing.T) {
	t.Parallel() // it waits
	w := newFrontWorld(t, 1)
	pid := w.f.Workers()[0].PID
	standStill(t, pid)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, w.f.Shutdown(ctx), context.Canceled)
	require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH, "the worker has ended")
	require.ErrorIs(t, w.f.Err(), nodes.ErrClosed)
}

func TestStartFrontRefuses(t *testing.T) {
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{Node: nodes.Config{Name: "a@b", Cookie: "c"}}, "Workers is 0"},
		{Config{Node: nodes.Config{Host: "b", Cookie: "c"}, Workers: 1}, nodes.ErrUnnamed.Error()},
		{Config{Node: nodes.Config{Host: "b", Cookie: "c"}, Workers: maxWorkers + 1}, "Workers is 1025"},
		{Config{Node: nodes.Config{Name: "a@b", Cookie: "c", Resolver: nodes.Static{},
			Transport: transport.NewMemory(), Listen: transport.MemoryAddr("x")}, Workers: 1}, "cannot be handed off"},
		{Config{Node: nodes.Config{Name: "a@b", Cookie: "c", Resolver: nodes.Static{}}, Workers: 2,
			Command: func() *exec.Cmd { return exec.Command("/bin/false") }}, "ended before it was ready"},
		{Config{Node: nodes.Config{Name: "a@b", Cookie: "c", Also: []nodes.Endpoint{{}}}, Workers: 1}, "Also[0]"},
		{Config{Node: nodes.Config{Name: "a@b", Cookie: "c", Resolver: nodes.Static{},
			Also: []nodes.Endpoint{{Addr: transport.MemoryAddr("x"), Transport: transport.NewMemory()}}}, Workers: 1}, "cannot be handed off"},
	} {
		_, err := Start(soon(t), tt.cfg)
		require.ErrorContains(t, err, tt.want)
	}
	// its own workers would start fronts as well, and so on
	t.Run("in a worker", func(t *testing.T) {
		t.Setenv(inside.Variable, "3,4")
		cfg := Config{Node: nodes.Config{Name: "a@b", Cookie: "c", Resolver: nodes.Static{}}, Workers: 1}
		_, err := Start(soon(t), cfg)
		require.ErrorIs(t, err, ErrIsWorker)
		_, err = Restore(cfg, nil, nil)
		require.Error(t, err)
	})
	require.False(t, IsWorker())
	_, err := Join(soon(t), nodes.Config{})
	require.ErrorIs(t, err, ErrNotWorker)
	require.True(t, strings.HasPrefix(err.Error(), "start worker: "))
}

// A panic of Config.Choose refuses the session, and says whose fault it is.
func TestChoosePanics(t *testing.T) {
	n, err := nodes.New(nodes.Config{Name: "a@b", Cookie: "c", Resolver: nodes.Static{}})
	require.NoError(t, err)
	defer n.Close()
	f := &Front{n: insideOf(n), cfg: Config{Choose: func(string, []Info) int { panic("a bug") }}}
	_, err = f.choose("peer@test", []crew.Info{{PID: 1}})
	require.ErrorContains(t, err, "Config.Choose panicked: a bug")
	f.cfg.Choose = func(peer string, candidates []Info) int {
		require.Equal(t, []Info{{1, 2, 3}, {4, 5, 6}}, candidates)
		return 1
	}
	at := of(f.choose("peer@test", []crew.Info{{Slot: 1, PID: 2, Sessions: 3}, {Slot: 4, PID: 5, Sessions: 6}})).must(t)
	require.Equal(t, 1, at)
}
