package chaos

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/nodes/global"
	"github.com/cnode-go/cnode/nodes/pg"
	"github.com/cnode-go/cnode/nodes/supervisor"
)

//go:embed testdata/comings.erl
var comings string

// Functions, processes, links, monitors, members of groups, global names and supervised servers
// come and go, both ways between a node of Go and a real one, while processes of either are killed,
// connections closed, and the Erlang node killed and started anew. What waits for anything hears of
// it; and when all is over nothing is left: no mailbox, link or monitor, also not in the processes
// that were there all the time, no member, no name, and no goroutine.
func TestComings(t *testing.T) {
	need.Long(t, 60*time.Second)
	otp.Each(t, func(t *testing.T, r otp.Release) {
		s := newComings(t, r)
		s.hold(t) // what is set up once does not count
		mailboxes, state, goroutines := s.holds(t)
		s.begin(t)

		end := time.Now().Add(time.Duration(otp.Times("CNODE_CHAOS", 1)) * time.Second)
		var doers sync.WaitGroup
		for i, f := range []func(context.Context, *rand.Rand){
			s.calls, s.calls, s.spawns, s.spawns, s.bonds, s.bonds, s.groups, s.names, s.kills, s.closes, s.restarts,
		} {
			doers.Go(func() {
				r := rand.New(rand.NewPCG(*seed, uint64(i)))
				for n := 0; n == 0 || time.Now().Before(end) && !t.Failed(); n++ {
					ctx, stop := context.WithTimeout(context.Background(), patience)
					f(ctx, r)
					stop()
				}
			})
		}
		ended := make(chan struct{})
		go func() { defer close(ended); doers.Wait() }()
		select {
		case <-ended:
		case <-time.After(time.Until(end) + 3*patience):
			panic("something hangs") // which shows all goroutines
		}
		s.hold(t)
		require.Eventually(t, func() bool { return s.n.Stats().Calls == 0 && s.n.Stats().Mailboxes == mailboxes }, patience, 10*time.Millisecond,
			"not %d mailboxes: %+v", mailboxes, s.n.Stats())
		require.Eventually(t, func() bool {
			_, now, running := s.holds(t)
			return now <= state+64 && running <= goroutines+3 // numbers grow by some bytes
		}, patience, 100*time.Millisecond, "more than %d bytes of state, or %d goroutines", state, goroutines)
		require.Empty(t, slices.Collect(s.scope.Members("group")))
		require.Empty(t, slices.Collect(s.global.Names()))
		require.Zero(t, s.n.Stats().Malformed)
		t.Logf("%d Erlang nodes, %d global names; %+v", s.started, s.named.Load(), s.n.Stats())
	})
}

// comingsScene is the Go node and the Erlang node that there is at present.
type comingsScene struct {
	t       *testing.T
	r       otp.Release
	port    int
	n       *nodes.Node
	anchor  *nodes.Mailbox // there all the time
	scope   *pg.Scope
	global  *global.Global
	erl     *otp.Node
	started int
	named   atomic.Int64
}

const (
	erlName      = "come@127.0.0.1"
	comingsStart = "comings:start('%s')"
)

func newComings(t *testing.T, r otp.Release) *comingsScene {
	t.Helper()
	s := &comingsScene{t: t, r: r, port: r.Epmd(t)}
	t.Logf("-chaos.seed=%d", *seed)
	ctx := context.Background()
	n, err := nodes.New(nodes.Config{
		Name: "go@127.0.0.1", Cookie: otp.DefaultCookie, HandshakeTimeout: patience, Logger: otp.Log(t, "the Go node"),
		Visible:  true, // for global
		Resolver: &nodes.PortMapper{Client: epmd.Client{Addr: fmt.Sprintf("127.0.0.1:%d", s.port)}},
		Setup: func(n *nodes.Node) (err error) {
			if s.scope, err = pg.Start(ctx, n, "", nil); err != nil {
				return err
			}
			if s.global, err = global.Start(ctx, n, nil); err != nil {
				return err
			}
			// a process that ends when it is told to, and is linked with the anchor
			n.Expose("chaos", "box", nodes.FuncOf(func(ctx context.Context) (ei.Pid, error) {
				b, err := n.NewMailbox(nil)
				if err != nil {
					return ei.Pid{}, err
				}
				if err := b.Link(ctx, s.anchor.Pid()); err != nil {
					return ei.Pid{}, err
				}
				go func() {
					defer b.Close()
					ctx, stop := context.WithTimeout(context.Background(), time.Second)
					defer stop()
					_, _ = b.Receive(ctx)
				}()
				return b.Pid(), nil
			}))
			n.Expose("chaos", "anchor", nodes.FuncOf(func() ei.Pid { return s.anchor.Pid() }))
			n.Expose("chaos", "kill", nodes.FuncOf(func(ctx context.Context, name ei.Atom) error {
				b := n.Whereis(string(name))
				if b == nil {
					return nil
				}
				return s.anchor.SendExit(ctx, b.Pid(), ei.Atom("kill"))
			}))
			_, err = supervisor.Supervise(ctx, n, "kept", func() nodes.Server {
				return nodes.Server{Call: func(_ context.Context, c *nodes.Call) (any, error) { return c.Request, nil }}
			}, &supervisor.Options{Intensity: 1_000_000})
			return errors.Join(err, equip(n))
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	require.NoError(t, n.Start(ctx))
	s.n = n
	s.anchor = must(n.NewMailbox(&nodes.MailboxOptions{TrapExit: true}))
	require.NoError(t, n.Register(ctx, "anchor", s.anchor))
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for m, err := range s.anchor.All(ctx) {
			if err != nil {
				return
			}
			m.Release()
		}
	}()
	t.Cleanup(func() { s.anchor.Close(); <-drained })
	s.erl = s.start("net_adm:ping('%s')") // it does nothing yet
	require.NotNil(t, s.erl)
	t.Cleanup(func() { s.erl.Close() })
	return s
}

// start starts the Erlang node, which then evaluates an expression; nil if that fails.
func (s *comingsScene) start(then string) *otp.Node {
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	e, err := s.r.Launch(ctx, otp.Options{Name: erlName, EpmdPort: s.port})
	if err == nil {
		err = e.LoadContext(ctx, comings)
	}
	if err == nil {
		_, err = e.EvalContext(ctx, fmt.Sprintf(then, s.n.Name()))
	}
	if err != nil {
		s.t.Errorf("no Erlang node: %v", err)
		return nil
	}
	s.started++
	return e
}

// begin has the Erlang node do what it does.
func (s *comingsScene) begin(t *testing.T) {
	t.Helper()
	require.Equal(t, "ok", s.erl.Eval(t, fmt.Sprintf(comingsStart, s.n.Name())))
}

// hold stops what the Erlang node does, and ends the connection.
func (s *comingsScene) hold(t *testing.T) {
	t.Helper()
	require.Equal(t, "ok", s.erl.Eval(t, "comings:stop()"))
	if c := s.n.Conn(erlName); c != nil {
		require.NoError(t, c.Close())
	}
	require.Eventually(t, func() bool { return s.n.Conn(erlName) == nil }, patience, time.Millisecond)
}

// holds is how many mailboxes the node has, how many bytes describe what it has of links, monitors
// and unread messages, and how many goroutines there are.
func (s *comingsScene) holds(t *testing.T) (mailboxes, state, goroutines int) {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	f, err := s.n.Freeze(ctx)
	require.NoError(t, err)
	state = len(f.State())
	f.Thaw()
	runtime.GC()
	return s.n.Stats().Mailboxes, state, runtime.NumGoroutine()
}

// calls calls functions and servers of the Erlang node, some of which take longer than the call
// waits.
func (s *comingsScene) calls(ctx context.Context, r *rand.Rand) {
	within, stop := context.WithTimeout(ctx, time.Duration(1+r.IntN(200))*time.Millisecond)
	defer stop()
	switch r.IntN(5) { // whatever the answer is, it comes
	case 0:
		_, _ = s.n.ERPC(within, erlName, "timer", "sleep", r.IntN(100))
	case 1:
		_, _ = s.n.RPC(within, erlName, "erlang", "exit", ei.Atom("bye"))
	case 2:
		_, _ = s.n.CallName(within, erlName, "comings", ei.Atom("hello"))
	case 3:
		_, _ = s.n.CallName(within, erlName, "nobody", ei.Atom("hello"))
	case 4: // calls back
		_, _ = s.n.ERPC(within, erlName, "erpc", "call", ei.Atom(s.n.Name()), ei.Atom("chaos"), ei.Atom("wait"), []any{1})
	}
}

// spawns makes processes on the Erlang node, with links and monitors, which end by themselves, by
// an exit signal, or with their node.
func (s *comingsScene) spawns(ctx context.Context, r *rand.Rand) {
	b := must(s.n.NewMailbox(&nodes.MailboxOptions{TrapExit: true}))
	defer b.Close()
	ms := r.IntN(200)
	var pid ei.Pid
	var err error
	linked := r.IntN(2) == 0
	if linked {
		pid, err = b.SpawnLink(ctx, erlName, "timer", "sleep", ms)
	} else {
		pid, _, err = b.SpawnMonitor(ctx, erlName, "timer", "sleep", ms)
	}
	if err != nil {
		return
	}
	if r.IntN(3) == 0 {
		_ = b.SendExit(ctx, pid, ei.Atom("kill"))
	}
	if r.IntN(4) == 0 {
		return // with the link or the monitor
	}
	if _, err := b.Receive(ctx); err != nil {
		s.t.Errorf("a process of the Erlang node has ended, and nobody says so (linked: %v): %v", linked, err)
	}
}

// bonds makes links and monitors between the anchor and processes of the Erlang node.
func (s *comingsScene) bonds(ctx context.Context, r *rand.Rand) {
	v, err := s.n.ERPC(ctx, erlName, "comings", "idle", r.IntN(300))
	pid, ok := v.(ei.Pid)
	if err != nil || !ok {
		return
	}
	switch r.IntN(4) {
	case 0:
		if s.anchor.Link(ctx, pid) == nil && r.IntN(2) == 0 {
			_ = s.anchor.Unlink(ctx, pid)
		}
	case 1:
		if ref, err := s.anchor.Monitor(ctx, pid); err == nil && r.IntN(2) == 0 {
			s.anchor.Demonitor(context.Background(), ref)
		}
	case 2:
		if ref, err := s.anchor.MonitorName(ctx, erlName, "comings", nodes.AliasReply); err == nil {
			s.anchor.Demonitor(context.Background(), ref)
			s.anchor.Unalias(ref)
		}
	case 3:
		_ = s.anchor.Send(ctx, pid, ei.Atom("hello"))
	}
}

// groups has a process join a group, once or twice, and leave it, or end.
func (s *comingsScene) groups(ctx context.Context, r *rand.Rand) {
	b := must(s.n.NewMailbox(nil))
	defer b.Close()
	for range 1 + r.IntN(2) {
		if err := s.scope.Join(ctx, "group", b); err != nil {
			s.t.Errorf("join: %v", err)
		}
	}
	pause(r, 50)
	if r.IntN(2) == 0 {
		if err := s.scope.Leave(ctx, "group", b); err != nil {
			s.t.Errorf("leave: %v", err)
		}
	}
}

// names gives a process a global name for a while, if others let it.
func (s *comingsScene) names(ctx context.Context, r *rand.Rand) {
	b := must(s.n.NewMailbox(nil))
	defer b.Close()
	ctx, stop := context.WithTimeout(ctx, 2*time.Second)
	defer stop()
	if s.global.Register(ctx, "name", b, global.Method{}) == nil {
		s.named.Add(1)
		if r.IntN(2) == 0 {
			_ = s.global.Unregister(ctx, "name")
		}
	}
	pause(r, 100)
}

// kills kills a process of this node: the supervised server, as a rule.
func (s *comingsScene) kills(ctx context.Context, r *rand.Rand) {
	pause(r, 100)
	if b := s.n.Whereis("kept"); b != nil {
		_ = s.anchor.SendExit(ctx, b.Pid(), ei.Atom("kill"))
	}
}

// closes closes the connection.
func (s *comingsScene) closes(ctx context.Context, r *rand.Rand) {
	pause(r, 400)
	if c := s.n.Conn(erlName); c != nil {
		if r.IntN(2) == 0 {
			_ = c.Close()
		} else {
			_ = c.Shutdown(ctx)
		}
	}
}

// restarts kills the Erlang node, and starts another one of the same name.
func (s *comingsScene) restarts(_ context.Context, r *rand.Rand) {
	pause(r, 3000)
	if log := s.erl.Log(); strings.Contains(log, "comings: ") {
		s.t.Errorf("the Erlang node says:\n%s", log)
		return
	}
	s.erl.Close()
	if e := s.start(comingsStart); e != nil {
		s.erl = e
	}
}
