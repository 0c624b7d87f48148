//go:build unix

package supervisor_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/supervisor"
	"github.com/cnode-go/cnode/transport"
)

// movable starts a node over TCP, and returns the Config for the one that goes on in its place.
func movable(t *testing.T, name string, table nodes.Static, setup func(n *nodes.Node) error) (*nodes.Node, nodes.Config) {
	t.Helper()
	cfg := nodes.Config{Name: name, Cookie: "secret", Resolver: table, Setup: setup,
		Listen: transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0"))}
	n, err := nodes.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { n.Close() })
	require.NoError(t, n.Start(t.Context()))
	table[name] = nodes.Endpoint{Addr: n.Listeners()[0].Addr()}
	return n, cfg
}

// move has a node go on in another Node value.
func move(t *testing.T, n *nodes.Node, cfg nodes.Config) *nodes.Node {
	t.Helper()
	f, err := n.Freeze(expect.Context(t))
	require.NoError(t, err)
	var descriptors []int
	for _, fd := range f.Descriptors() {
		own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		require.NoError(t, err)
		descriptors = append(descriptors, own)
	}
	s, err := nodes.Restore(cfg, f.State(), descriptors)
	require.NoError(t, err)
	t.Cleanup(func() { s.Node().Close() })
	require.NoError(t, f.Release())
	require.NoError(t, s.Start(expect.Context(t)))
	return s.Node()
}

// A supervisor and its children move: those with a name, and those of other nodes, are the same
// processes; what was terminated, or is done, is not started; links go on.
func TestMove(t *testing.T) {
	ctx := expect.Context(t)
	table := nodes.Static{}
	peer, _ := movable(t, "peer@127.0.0.1", table, nil)
	starts := make(chan ei.Pid, 10)
	peer.Expose("worker", "start", nodes.FuncOf(func(ctx context.Context) (ei.Term, error) {
		b, err := peer.Serve("", nodes.Server{}, &nodes.MailboxOptions{TrapExit: true})
		if err != nil {
			return nil, err
		}
		starts <- b.Pid()
		return ei.Tuple{ei.Atom("ok"), b.Pid()}, nil
	}))
	parent, err := peer.NewMailbox(&nodes.MailboxOptions{TrapExit: true})
	require.NoError(t, err)
	s := &scene{t: t, ctx: ctx, fail: map[string]error{}}
	setup := func(n *nodes.Node) (err error) {
		s.n = n
		nameless := s.child("")
		nameless.ID = "nameless"
		s.sup, err = supervisor.Start(ctx, n, "sup", &supervisor.Options{Intensity: 10, Parent: parent.Pid()},
			s.child("a"), s.child("t", restart(supervisor.Temporary)), s.child("deleted"), s.child("c"), nameless,
			supervisor.Sub("sub", nil, s.child("d")),
			supervisor.Remote("remote", peer.Name(), "worker", "start"))
		return err
	}
	n, cfg := movable(t, "front@127.0.0.1", table, setup)
	remote := expect.Returns(t, starts)
	require.Equal(t, "+a +t +deleted +c + +d", s.did())
	s.exit("t", ei.Atom("normal"))
	require.Equal(t, "ok", s.ask(request("terminate_child", "c")))
	require.Equal(t, "ok", s.ask(request("terminate_child", "deleted")))
	require.Equal(t, "ok", s.ask(request("delete_child", "deleted")))
	s.did()
	children := s.ask(ei.Atom("which_children"))
	require.Contains(t, children, remote.String())
	mailboxes := n.Stats().Mailboxes
	pid := s.sup.Pid()

	n = move(t, n, cfg)
	require.Equal(t, pid, s.sup.Pid())
	require.Equal(t, "+a + +d", s.did(), "and nothing has terminated")
	nameless := func(list string) (string, string) { // a new process
		before, after, _ := strings.Cut(list, "{nameless,")
		pid, after, _ := strings.Cut(after, ",")
		return before + after, pid
	}
	was, old := nameless(children)
	is, now := nameless(s.ask(ei.Atom("which_children")))
	require.Equal(t, was, is)
	require.NotEqual(t, old, now)
	require.Equal(t, mailboxes, n.Stats().Mailboxes)
	s.exit("a", ei.Atom("bug"))
	require.Equal(t, "-a +a", s.did())
	killer, err := peer.NewMailbox(nil)
	require.NoError(t, err)
	require.NoError(t, killer.SendExit(ctx, remote, ei.Atom("kill")))
	second := expect.Returns(t, starts)
	require.Empty(t, starts)

	n = move(t, n, cfg)
	require.Equal(t, "ok", s.ask(request("terminate_child", "remote")), "by the message of sys, since it traps exits")
	require.Equal(t, "{error,not_found}", s.ask(request("restart_child", "t")))
	_, err = killer.Call(ctx, second, ei.Atom("there"))
	require.ErrorIs(t, err, nodes.ErrNoProc)
	require.NoError(t, s.sup.Shutdown(ctx))
	m, err := parent.Receive(ctx)
	require.NoError(t, err)
	require.Equal(t, dist.OpExit, m.Op)
	require.Equal(t, pid, m.From)
	require.NoError(t, n.Close())
}

// A freeze waits for a restart in progress, and what that needs of other processes goes on.
func TestMoveWaitsForRestart(t *testing.T) {
	table := nodes.Static{}
	s := &scene{t: t, ctx: expect.Context(t), fail: map[string]error{}}
	terminating, goOn := make(chan struct{}, 1), make(chan struct{})
	n, cfg := movable(t, "front@127.0.0.1", table, func(n *nodes.Node) (err error) {
		s.n = n
		slow := supervisor.Server("slow", func() nodes.Server {
			return nodes.Server{Terminate: func(context.Context, ei.Term) { terminating <- struct{}{}; <-goOn }}
		}, nil)
		slow.Shutdown = supervisor.Infinity
		s.sup, err = supervisor.Start(s.ctx, n, "sup", &supervisor.Options{Strategy: supervisor.OneForAll}, s.child("a"), s.child("c"), slow)
		return err
	})
	s.did()
	order := ei.Tuple{ei.Atom("system"), ei.Tuple{s.sup.Pid(), ei.Atom("t")}, ei.Tuple{ei.Atom("terminate"), ei.Atom("bug")}}
	require.NoError(t, s.sup.Mailbox().Send(s.ctx, n.Whereis("a").Pid(), order))
	<-terminating
	moved := make(chan *nodes.Node)
	go func() { moved <- move(t, n, cfg) }()
	expect.WaitsIn(t, "select", "(*Frozen).drain")
	close(goOn)
	n = expect.Returns(t, moved)
	require.Equal(t, "-a -c +a +c +a +c", s.did(), "restarted there, and registered here")
	require.Equal(t, "a c slow sup", s.running("a c slow sup"))
	require.NoError(t, s.sup.Shutdown(s.ctx))
	require.NoError(t, n.Close())
}
