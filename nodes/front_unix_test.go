//go:build unix

package nodes

import (
	"context"
	"errors"
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

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

const frontName = "front@127.0.0.1"

// doomed is a peer whose connection breaks while its worker moves.
const doomed = "doomed@127.0.0.1"

// workerPatience is that of fronts whose workers are to serve: on a busy machine one may be kept from it for longer than by default.
const workerPatience = 10 * time.Second

// testWorker is what a worker of these tests does.
func testWorker() int {
	if os.Getenv(testSlowVariable) != "" && strings.HasPrefix(os.Getenv(WorkerVariable), moveMark) {
		time.Sleep(moveLimit + time.Second)
	}
	var n *Node
	w, err := StartWorker(context.Background(), Config{
		Cookie: "secret", Resolver: testPeers(), Transports: testTransports(), moveReached: testPeers().disturb,
		Setup: func(node *Node) error { n = node; return setUpTestWorker(node) },
		Handover: func(context.Context) ([]byte, error) { // between the readers' halt and that of all else
			if c := n.Conn(doomed); c != nil {
				c.fail(ErrClosed)
			}
			return nil, nil
		},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		return 1
	}
	if err := w.Wait(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		return 1
	}
	return 0
}

// testPeersVariable is the directory in which the nodes of a test write down where they are.
const testPeersVariable = "CNODE_TEST_PEERS"

// testHangVariable makes a worker that is never ready.
const testHangVariable = "CNODE_TEST_HANG"

// testHoldVariable makes a worker that is ready once there is a file.
const testHoldVariable = "CNODE_TEST_HOLD"

// testSlowVariable makes a worker's new process one that takes its time to start.
const testSlowVariable = "CNODE_TEST_SLOW"

// A peersDir is a Resolver: a file a node, with its address.
type peersDir string

func testPeers() peersDir { return peersDir(os.Getenv(testPeersVariable)) }

func (d peersDir) Resolve(_ context.Context, node string) (Endpoint, error) {
	text, err := os.ReadFile(filepath.Join(string(d), node))
	if err != nil {
		return Endpoint{}, err
	}
	addr, err := transport.ParseAddr(string(text))
	at := Endpoint{Addr: addr}
	if _, ok := addr.(transport.UnixAddr); ok {
		at.Transport = transport.Unix()
	}
	return at, err
}

func (d peersDir) Publish(_ context.Context, p Presence) (Publication, error) {
	path := filepath.Join(string(d), p.Name)
	return peersEntry(path), os.WriteFile(path, []byte(p.Addr.String()), 0o600)
}

type peersEntry string

func (peersEntry) Creation() uint32 { return 0 }
func (e peersEntry) Close() error   { return os.Remove(string(e)) }

// setUpTestWorker gives each worker a fixed process and functions to try everything with.
func setUpTestWorker(n *Node) error {
	if os.Getenv(testHangVariable) != "" {
		select {}
	}
	if path := os.Getenv(testHoldVariable); path != "" {
		for begun := time.Now(); time.Since(begun) < tooLong; time.Sleep(tick) {
			if _, err := os.Stat(path); err == nil {
				break
			}
		}
	}
	if err := setUpWitness(n); err != nil {
		return err
	}
	setUpFlood(n)
	setUpApart(n)
	setUpCarriages(n)
	setUpCloses(n)
	if err := setUpHeirs(n); err != nil {
		return err
	}
	if _, err := n.Serve("echo", Server{
		Call: func(_ context.Context, c *Call) (any, error) { return c.Request, nil },
		Info: func(ctx context.Context, self *Mailbox, m *Message) {
			if t, _ := m.Term(); t != nil {
				if tuple, ok := t.(ei.Tuple); ok && len(tuple) == 2 {
					_ = self.Send(ctx, tuple[0].(ei.Pid), tuple[1])
				}
			}
		},
	}, nil); err != nil {
		return err
	}
	n.Expose("w", "pid", func(context.Context, []ei.Term) (any, error) { return os.Getpid(), nil })
	n.Expose("w", "echo", func(context.Context, []ei.Term) (any, error) { return n.Whereis("echo").Pid(), nil })
	// A process, registered if it has a name, that answers calls, collects numbers, and ends on request.
	n.Expose("w", "start", func(_ context.Context, args []ei.Term) (any, error) {
		var got ei.List
		b, err := n.Serve(string(args[0].(ei.Atom)), Server{
			Call: func(ctx context.Context, c *Call) (any, error) {
				switch r := c.Request.(type) {
				case ei.Tuple: // {call, To, Request}, or {ask, To, Request}: by a mailbox
					if r[0] == ei.Atom("ask") {
						return n.Whereis("echo").Call(ctx, r[1].(ei.Pid), r[2])
					}
					return n.Call(ctx, r[1].(ei.Pid), r[2])
				default:
					switch r {
					case ei.Atom("got"):
						return got, nil
					case ei.Atom("pid"):
						return os.Getpid(), nil
					}
					return r, nil
				}
			},
			Info: func(ctx context.Context, self *Mailbox, m *Message) {
				t, err := m.Term()
				if err != nil {
					return
				}
				switch t := t.(type) {
				case ei.Int:
					got = append(got, t)
				case ei.Atom:
					self.Exit(t)
				case ei.Tuple:
					switch t[0] {
					case ei.Atom("link"):
						_ = self.Link(ctx, t[1].(ei.Pid))
					case ei.Atom("monitor"):
						_, _ = self.Monitor(ctx, t[1].(ei.Pid))
					case ei.Atom("send"):
						_ = self.Send(ctx, t[1].(ei.Pid), t[2])
					}
				}
			},
		}, nil)
		if err != nil {
			return nil, err
		}
		return b.Pid(), nil
	})
	n.Expose("w", "whereis", func(ctx context.Context, args []ei.Term) (any, error) {
		pid, err := n.Lookup(ctx, string(args[0].(ei.Atom)))
		if err != nil {
			return ei.Atom("undefined"), nil
		}
		return pid, nil
	})
	n.Expose("w", "ask", func(ctx context.Context, args []ei.Term) (any, error) { // connects, if need be
		return n.CallName(ctx, string(args[0].(ei.Atom)), string(args[1].(ei.Atom)), args[2])
	})
	n.Expose("w", "questions", func(context.Context, []ei.Term) (any, error) { // to the front, ever
		n.part.mu.Lock()
		defer n.part.mu.Unlock()
		return n.part.last, nil
	})
	n.Expose("w", "again", func(ctx context.Context, _ []ei.Term) (any, error) {
		_, err := StartWorker(ctx, Config{Cookie: "secret"})
		child, err2 := exec.CommandContext(ctx, os.Args[0], "-test.run=^$").CombinedOutput()
		return fmt.Sprint(errors.Is(err, ErrNotWorker), IsWorker(), err2, strings.Contains(string(child), "worker:")), nil
	})
	n.Expose("w", "sever", func(context.Context, []ei.Term) (any, error) { // the ways to the other workers
		n.part.mu.Lock()
		defer n.part.mu.Unlock()
		for _, c := range n.part.siblings {
			c.fail(ErrTickTimeout)
		}
		return ei.Atom("ok"), nil
	})
	var limit unix.Rlimit
	n.Expose("w", "nofiles", func(context.Context, []ei.Term) (any, error) { // no number is left for a descriptor
		err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
		none := limit
		none.Cur = 3
		return ei.Atom("ok"), errors.Join(err, unix.Setrlimit(unix.RLIMIT_NOFILE, &none))
	})
	n.Expose("w", "files", func(context.Context, []ei.Term) (any, error) {
		return ei.Atom("ok"), unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	})
	n.Expose("w", "second", func(context.Context, []ei.Term) (any, error) { // is how long it takes
		time.Sleep(time.Second)
		return ei.Atom("ok"), nil
	})
	n.Expose("w", "open", func(context.Context, []ei.Term) (any, error) {
		fds, _ := descriptors()
		return fds, nil
	})
	return nil
}

// A frontWorld is a front with real workers, and nodes that connect to it.
type frontWorld struct {
	t   *testing.T
	f   *Front
	dir string
}

func newFrontWorld(t *testing.T, workers int, edit ...func(*FrontConfig)) *frontWorld {
	t.Helper()
	w := &frontWorld{t: t, dir: t.TempDir()}
	cfg := FrontConfig{
		Node:    Config{Name: frontName, Cookie: "secret", Resolver: peersDir(w.dir)},
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
	var err error
	w.f, err = StartFront(patience(t), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { soon(t, "Close of the front", func() { require.NoError(t, w.f.Close()) }) })
	return w
}

// node starts a node that can be found.
func (w *frontWorld) node(name string) *Node {
	w.t.Helper()
	n, err := New(Config{Name: name, Cookie: "secret", Resolver: peersDir(w.dir)})
	require.NoError(w.t, err)
	require.NoError(w.t, n.Start(patience(w.t)))
	w.t.Cleanup(func() { require.NoError(w.t, n.Close()) })
	return n
}

func (w *frontWorld) rpc(n *Node, fun string, args ...any) ei.Term {
	w.t.Helper()
	v, err := n.RPC(patience(w.t), frontName, "w", fun, args...)
	require.NoError(w.t, err)
	return v
}

// worker is the process that a node's connection is served by.
func (w *frontWorld) worker(n *Node) int { return int(w.rpc(n, "pid").(ei.Int)) }

// crewman is the worker that a process is.
func (w *frontWorld) crewman(pid int) *crewman {
	w.t.Helper()
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	for _, c := range w.f.crew {
		if c.proc.pid == pid {
			return c
		}
	}
	require.FailNow(w.t, "no such worker")
	return nil
}

// served is worker of a front that may lose patience with one: the node comes again.
func (w *frontWorld) served(n *Node) int {
	w.t.Helper()
	for begun := time.Now(); ; time.Sleep(tick) {
		v, err := n.RPC(patience(w.t), frontName, "w", "pid")
		if err == nil {
			return int(v.(ei.Int))
		}
		require.Less(w.t, time.Since(begun), tooLong, err)
	}
}

// spread starts nodes until there is one on each of so many workers.
func (w *frontWorld) spread(workers int) []*Node {
	w.t.Helper()
	var ns []*Node
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

func (w *frontWorld) mailbox(n *Node, o *MailboxOptions) *Mailbox {
	w.t.Helper()
	b, err := n.NewMailbox(o)
	require.NoError(w.t, err)
	return b
}

func (w *frontWorld) receive(b *Mailbox) *Message {
	w.t.Helper()
	m, err := b.Receive(patience(w.t))
	require.NoError(w.t, err)
	return m
}

func TestFrontServes(t *testing.T) {
	w := newFrontWorld(t, 3)
	ns := w.spread(3)
	pids := map[int]bool{}
	for _, info := range w.f.Workers() {
		pids[info.PID] = true
	}
	require.Len(t, pids, 3)
	for _, n := range ns {
		require.True(t, pids[w.worker(n)])
		v, err := n.CallName(patience(t), frontName, "echo", ei.Int(7))
		require.NoError(t, err)
		require.Equal(t, ei.Int(7), v)
	}
	require.NoError(t, w.f.Shutdown(patience(t)))
	for pid := range pids {
		require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
	}
}

// A front that is shut down while a worker moves has the new process finish.
func TestShutdownWhileWorkerMoves(t *testing.T) {
	w := newFrontWorld(t, 1)
	a := w.node("a@127.0.0.1")
	pid := w.worker(a)
	called := async(func() (ei.Term, error) { return a.RPC(patience(t), frontName, "w", "second") })
	upgraded := async(func() ([]WorkerUpgrade, error) { return w.f.UpgradeWorkers(patience(t)) })
	require.Eventually(t, func() bool { // it waits for the function
		w.f.mu.Lock()
		defer w.f.mu.Unlock()
		for _, c := range w.f.crew {
			return c.moves > 0
		}
		return false
	}, tooLong, tick)
	require.NoError(t, w.f.Shutdown(patience(t)))
	require.NoError(t, arrives(t, called, "the answer").err)
	r := arrives(t, upgraded, "the upgrade")
	require.NoError(t, r.err)
	for _, u := range r.v {
		require.ErrorIs(t, syscall.Kill(max(u.New, pid), 0), syscall.ESRCH)
	}
}

// A worker is one once, and what it starts is none.
func TestWorkerOnce(t *testing.T) {
	w := newFrontWorld(t, 1)
	a := w.node("a@127.0.0.1")
	require.Equal(t, ei.Binary("true true <nil> false"), w.rpc(a, "again"))
	w.worker(a)
}

// A peer reaches processes of workers that it has no connection to: by pid and by name, in order, with links, monitors and calls.
func TestAcrossWorkers(t *testing.T) {
	w := newFrontWorld(t, 3)
	ns := w.spread(3)
	a, b := ns[0], ns[1]
	there := w.rpc(b, "start", ei.Atom("")).(ei.Pid)
	named := w.rpc(b, "start", ei.Atom("joe")).(ei.Pid)
	require.NotEqual(t, there, named)
	require.Equal(t, named, w.rpc(a, "whereis", ei.Atom("joe")))
	_, err := a.RPC(patience(t), frontName, "w", "start", ei.Atom("joe"))
	require.Error(t, err, "the name is taken in the node")

	// Messages, in order, to both.
	box := w.mailbox(a, &MailboxOptions{TrapExit: true})
	const many = 2000
	for i := range many {
		require.NoError(t, box.Send(patience(t), there, i))
		require.NoError(t, box.SendName(patience(t), frontName, "joe", i))
	}
	for _, pid := range []ei.Pid{there, named} {
		v, err := a.Call(patience(t), pid, ei.Atom("got"))
		require.NoError(t, err)
		got, _ := elements(v)
		require.Len(t, got, many)
		for i, n := range got {
			require.Equal(t, ei.Int(i), n)
		}
	}
	v, err := a.CallName(patience(t), frontName, "joe", ei.Atom("pid"))
	require.NoError(t, err)
	require.Equal(t, ei.Int(w.worker(b)), v)

	// Monitors, by pid and by name, and a link.
	byPid, err := box.Monitor(patience(t), there)
	require.NoError(t, err)
	byName, err := box.MonitorName(patience(t), frontName, "joe")
	require.NoError(t, err)
	gone, err := box.MonitorName(patience(t), frontName, "joe")
	require.NoError(t, err)
	box.Demonitor(gone)
	require.NoError(t, box.Link(patience(t), named))
	require.NoError(t, box.Send(patience(t), there, ei.Atom("done")))
	m := w.receive(box)
	require.Equal(t, byPid, m.Ref)
	require.NoError(t, box.Send(patience(t), named, ei.Atom("done")))
	seen := 0
	for range 2 {
		switch m := w.receive(box); {
		case m.Ref == byName:
			seen |= 1
		case m.From == named && m.Ref == (ei.Ref{}):
			seen |= 2
		}
	}
	require.Equal(t, 3, seen)
	require.Equal(t, ei.Atom("undefined"), w.rpc(a, "whereis", ei.Atom("joe")))
	w.rpc(a, "start", ei.Atom("joe"))

	// What is not there.
	ref, err := box.Monitor(patience(t), there)
	require.NoError(t, err)
	require.Equal(t, ref, w.receive(box).Ref)
	_, err = a.CallName(patience(t), frontName, "nobody", 1)
	require.ErrorIs(t, err, ErrNoProc)
}

// A name that moves on, and ends, does not leave messages for it going round between workers that remember where it was.
func TestNameMovesOn(t *testing.T) {
	w := newFrontWorld(t, 2)
	ns := w.spread(2)
	for i := range 4 {
		here, there := ns[i%2], ns[(i+1)%2]
		joe := w.rpc(here, "start", ei.Atom("joe")).(ei.Pid)
		v, err := there.CallName(patience(t), frontName, "joe", ei.Atom("pid"))
		require.NoError(t, err)
		require.Equal(t, ei.Int(w.worker(here)), v)
		box := w.mailbox(here, nil)
		require.NoError(t, box.Send(patience(t), joe, ei.Atom("done")))
		require.Eventually(t, func() bool { return w.rpc(there, "whereis", ei.Atom("joe")) == ei.Atom("undefined") }, tooLong, tick)
	}
	for _, n := range ns {
		_, err := n.CallName(patience(t), frontName, "joe", 1)
		require.ErrorIs(t, err, ErrNoProc)
	}
}

// A name that moves on between two workers is found at once by a third one that remembers where it was; and what those two have with each
// other goes on.
func TestNameMovesOnElsewhere(t *testing.T) {
	w := newFrontWorld(t, 3)
	ns := w.spread(3)
	one, two := w.rpc(ns[1], "start", ei.Atom("")).(ei.Pid), w.rpc(ns[2], "start", ei.Atom("")).(ei.Pid)
	watch := w.mailbox(ns[0], nil)
	for i := range 4 {
		at := ns[1+i%2]
		joe := w.rpc(at, "start", ei.Atom("joe")).(ei.Pid)
		v, err := ns[0].CallName(patience(t), frontName, "joe", ei.Atom("pid"))
		require.NoError(t, err)
		require.Equal(t, ei.Int(w.worker(at)), v)
		v, err = ns[0].Call(patience(t), one, ei.Tuple{ei.Atom("call"), two, ei.Atom("pid")})
		require.NoError(t, err)
		require.Equal(t, ei.Int(w.worker(ns[2])), v)
		_, err = watch.Monitor(patience(t), joe)
		require.NoError(t, err)
		require.NoError(t, watch.Send(patience(t), joe, ei.Atom("done")))
		w.receive(watch)
		require.Eventually(t, func() bool { return w.rpc(at, "whereis", ei.Atom("joe")) == ei.Atom("undefined") }, tooLong, tick)
	}
}

// Processes of two workers have to do with each other.
func TestBetweenWorkers(t *testing.T) {
	w := newFrontWorld(t, 3)
	ns := w.spread(3)
	one := w.rpc(ns[0], "start", ei.Atom("")).(ei.Pid)
	two := w.rpc(ns[1], "start", ei.Atom("")).(ei.Pid)
	v, err := ns[2].Call(patience(t), one, ei.Tuple{ei.Atom("call"), two, ei.Atom("pid")})
	require.NoError(t, err)
	require.Equal(t, ei.Int(w.worker(ns[1])), v)
	for _, caller := range []*Mailbox{w.mailbox(ns[2], nil), w.mailbox(ns[0], nil)} {
		v, err := caller.Call(patience(t), one, ei.Tuple{ei.Atom("ask"), two, ei.Atom("pid")})
		require.NoError(t, err)
		require.Equal(t, ei.Int(w.worker(ns[1])), v)
	}

	watch := w.mailbox(ns[2], nil)
	ref, err := watch.Monitor(patience(t), one)
	require.NoError(t, err)
	require.NoError(t, watch.Send(patience(t), one, ei.Tuple{ei.Atom("link"), two}))
	_, err = ns[2].Call(patience(t), one, ei.Tuple{ei.Atom("call"), two, ei.Atom("pid")}) // behind the link: both know of it
	require.NoError(t, err)
	require.NoError(t, watch.Send(patience(t), two, ei.Atom("boom")))
	m := w.receive(watch)
	require.Equal(t, ref, m.Ref)
	reason, err := m.Reason.Decode()
	require.NoError(t, err)
	require.Equal(t, ei.Atom("boom"), reason)
}

// A worker sends to a peer that another worker is connected to, and connects to one that nobody is.
func TestWorkersShareConnections(t *testing.T) {
	w := newFrontWorld(t, 3)
	ns := w.spread(3)
	_, err := ns[2].Serve("me", Server{Call: func(_ context.Context, c *Call) (any, error) { return c.Request, nil }}, nil)
	require.NoError(t, err)
	for _, n := range ns[:2] {
		require.Equal(t, ei.Int(5), w.rpc(n, "ask", ei.Atom(ns[2].Name()), ei.Atom("me"), ei.Int(5)))
	}
	require.Equal(t, []string{frontName}, ns[2].Peers())

	fresh := w.node("fresh@127.0.0.1")
	_, err = fresh.Serve("me", Server{Call: func(_ context.Context, c *Call) (any, error) { return c.Request, nil }}, nil)
	require.NoError(t, err)
	results := make(chan result[ei.Term], 3)
	for _, n := range ns { // all at once
		go func() {
			results <- of(n.RPC(patience(t), frontName, "w", "ask", ei.Atom("fresh@127.0.0.1"), ei.Atom("me"), ei.Int(6)))
		}()
	}
	for range ns {
		r := <-results
		require.NoError(t, r.err)
		require.Equal(t, ei.Int(6), r.v)
	}
	require.Equal(t, []string{frontName}, fresh.Peers())
}

// A worker that hangs is passed over, and taken again when it goes on.
func TestWorkerHangs(t *testing.T) {
	w := newFrontWorld(t, 3, func(c *FrontConfig) { c.Patience = time.Second })
	ns := w.spread(3)
	victim := w.served(ns[1])
	require.NoError(t, syscall.Kill(victim, syscall.SIGSTOP))
	t.Cleanup(func() { _ = syscall.Kill(victim, syscall.SIGCONT) })
	time.Sleep(2 * heardLately) // what it has said just now speaks for it
	at := map[int]bool{}
	for i := range 20 {
		n := w.node(fmt.Sprintf("other%d@127.0.0.1", i))
		at[w.served(n)] = true
	}
	require.NotContains(t, at, victim)
	require.NoError(t, syscall.Kill(victim, syscall.SIGCONT))
	require.Equal(t, victim, w.worker(ns[1]), "its connection has lived through it")
	for i, begun := 0, time.Now(); w.served(w.node(fmt.Sprintf("later%d@127.0.0.1", i))) != victim; i++ {
		require.Less(t, time.Since(begun), tooLong)
	}
}

// A peer that connects twice gets to the worker that it was at.
func TestDuplicates(t *testing.T) {
	w := newFrontWorld(t, 3, func(c *FrontConfig) { // never the same worker twice, if it were for that
		last := -1
		c.Choose = func(_ string, ws []WorkerInfo) int { last++; return last % len(ws) }
	})
	n := w.node("dup@127.0.0.1")
	first := w.worker(n)
	old := n.Conn(frontName)
	twin, err := New(Config{Name: "dup@127.0.0.1", Cookie: "secret", Resolver: peersDir(w.dir)})
	require.NoError(t, err)
	defer twin.Close()
	c, err := twin.Connect(patience(t), frontName)
	require.NoError(t, err)
	arrives(t, old.Done(), "the end of the first connection")
	v, err := c.Call(patience(t), "w", "pid")
	require.NoError(t, err)
	require.Equal(t, ei.Int(first), v)
}

// Sessions that the BIND 10 form cannot carry go another way.
func TestFrontOverUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	w := newFrontWorld(t, 2, func(c *FrontConfig) {
		c.Node.Transport, c.Node.Listen, c.Choose = transport.Unix(), transport.UnixAddr(path), LeastSessions
	})
	ns := w.spread(2)
	there := w.rpc(ns[0], "start", ei.Atom("joe")).(ei.Pid)
	for _, n := range ns {
		v, err := n.Call(patience(t), there, ei.Int(3))
		require.NoError(t, err)
		require.Equal(t, ei.Int(3), v)
	}
}

// A worker whose socket takes no more is passed over, and gets another socket.
func TestWorkerIsFull(t *testing.T) {
	w := newFrontWorld(t, 1, func(c *FrontConfig) { c.Patience = 10 * time.Second })
	n := w.node("peer@127.0.0.1")
	victim := w.worker(n)
	for round := range 2 {
		w.worker(n)
		at, err := transport.AddrPort(w.f.Addr())
		require.NoError(t, err)
		require.NoError(t, syscall.Kill(victim, syscall.SIGSTOP))
		w.f.mu.Lock()
		for _, c := range w.f.crew {
			c.heard.Store(time.Now().Add(time.Minute).UnixNano()) // it is not asked whether it is there
		}
		w.f.mu.Unlock()
		var conns []net.Conn
		for i := range 2 * maxUntaken {
			conn, err := net.Dial("tcp", at.String())
			require.NoError(t, err)
			conns = append(conns, conn)
			_, err = conn.Write(append(namePacket(t, fmt.Sprintf("x%d-%d@h", round, i)), make([]byte, 60_000)...))
			require.NoError(t, err)
		}
		time.Sleep(100 * time.Millisecond)
		require.NoError(t, syscall.Kill(victim, syscall.SIGCONT))
		for _, conn := range conns {
			conn.Close()
		}
		other := w.node(fmt.Sprintf("other%d@127.0.0.1", round))
		require.Equal(t, victim, w.worker(other))
		require.Equal(t, victim, w.worker(n))
	}
}

// Peers that say their names and no more keep none of their worker's other sessions waiting.
func TestSilentPeersOfAWorker(t *testing.T) {
	w := newFrontWorld(t, 1)
	at, err := transport.AddrPort(w.f.Addr())
	require.NoError(t, err)
	for round := range 2 {
		for i := range 3 {
			conn, err := net.Dial("tcp", at.String())
			require.NoError(t, err)
			defer conn.Close()
			_, err = conn.Write(namePacket(t, fmt.Sprintf("silent%d-%d@h", round, i)))
			require.NoError(t, err)
			_, err = conn.Read(make([]byte, 2)) // the worker's answer
			require.NoError(t, err)
		}
		w.worker(w.node(fmt.Sprintf("peer%d@127.0.0.1", round)))
	}
}

// namePacket is the first packet of a peer.
func namePacket(t *testing.T, name string) []byte {
	t.Helper()
	packet, err := dist.AppendName([]byte{0, 0}, dist.Name{Version: dist.Version6, Flags: dist.FlagsDefault, Creation: 5, Name: name})
	require.NoError(t, err)
	packet[1] = byte(len(packet) - 2)
	return packet
}

func TestChoose(t *testing.T) {
	ws := []WorkerInfo{{Slot: 0, Sessions: 3}, {Slot: 1, Sessions: 1}, {Slot: 2, Sessions: 1}}
	require.Equal(t, 1, LeastSessions("x@y", ws))
	counts := map[int]int{}
	for i := range 3000 {
		name := fmt.Sprintf("node%d@host", i)
		slot := ws[ByName(name, ws)].Slot
		counts[slot]++
		for gone := range ws { // only those of a worker that is not there move
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

func TestStartFrontRefuses(t *testing.T) {
	for _, tt := range []struct {
		cfg  FrontConfig
		want string
	}{
		{FrontConfig{Node: Config{Name: "a@b", Cookie: "c"}}, "Workers is 0"},
		{FrontConfig{Node: Config{Host: "b", Cookie: "c"}, Workers: 1}, ErrUnnamed.Error()},
		{FrontConfig{Node: Config{Name: "a@b", Cookie: "c", Transport: transport.NewMemory(), Listen: transport.MemoryAddr("x"), Resolver: Static{}}, Workers: 1}, "cannot be handed off"},
		{FrontConfig{Node: Config{Name: "a@b", Cookie: "c", Resolver: Static{}}, Workers: 2, Command: func() *exec.Cmd { return exec.Command("/bin/false") }}, "ended before it was ready"},
		{FrontConfig{Node: Config{Name: "a@b", Cookie: "c", Also: []Endpoint{{}}}, Workers: 1}, "Also[0]"},
		{FrontConfig{Node: Config{Name: "a@b", Cookie: "c", Resolver: Static{},
			Also: []Endpoint{{Addr: transport.MemoryAddr("x"), Transport: transport.NewMemory()}}}, Workers: 1}, "cannot be handed off"},
	} {
		_, err := StartFront(patience(t), tt.cfg)
		require.ErrorContains(t, err, tt.want)
	}
	require.False(t, IsWorker())
	_, err := StartWorker(patience(t), Config{})
	require.ErrorIs(t, err, ErrNotWorker)
	require.True(t, strings.HasPrefix(err.Error(), "start worker: "))
}

// A front that has stood still looks first at what its workers have said meanwhile.
func TestFrontIsLate(t *testing.T) {
	w := newFrontWorld(t, 1)
	var c *crewman
	w.f.mu.Lock()
	for _, c = range w.f.crew {
	}
	w.f.mu.Unlock()
	s := &session{s: keptSocket(-1), due: time.Now().Add(-time.Second), timer: time.NewTimer(time.Hour)}
	c.recall(s)
	require.True(t, s.late)
	require.True(t, s.timer.Stop(), "it was set again")
	s = &session{s: keptSocket(-1), due: time.Now(), timer: time.NewTimer(time.Hour)}
	c.recall(s)
	require.False(t, s.late)
}
