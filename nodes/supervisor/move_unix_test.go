//go:build unix

package supervisor_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/supervisor"
)

// A mover is a node that can go on in another Node value.
type mover struct {
	*nodes.Node
	cfg nodes.Config
}

func newMover(t *testing.T, w *cluster.Cluster, setup func(n *nodes.Node) error) *mover {
	t.Helper()
	m := &mover{cfg: w.Config("front@host")}
	m.cfg.Setup = setup
	m.Node = w.Start(m.cfg)
	return m
}

func (m *mover) move(t *testing.T) {
	t.Helper()
	s := gonode.Move(t, m.Node, m.cfg)
	t.Cleanup(func() { s.Node().Close() })
	m.Node = s.Node()
}

// A supervisor and its children move: those with a name, and those of other nodes, are the same
// processes; what was terminated, or is done, is not started; links go on.
func TestMove(t *testing.T) {
	ctx := expect.Context(t)
	w := cluster.Unix(t)
	peer := w.Start(w.Config("peer@host"))
	starts := make(chan ei.Pid, 10)
	peer.Expose("worker", "start", nodes.FuncOf(func(ctx context.Context) (ei.Term, error) {
		b, err := peer.Serve("", nodes.Server{}, &nodes.MailboxOptions{TrapExit: true})
		if err != nil {
			return nil, err
		}
		starts <- b.Pid()
		return ei.Tuple{ei.Atom("ok"), b.Pid()}, nil
	}))
	parent := cluster.Mailbox(t, peer, &nodes.MailboxOptions{TrapExit: true})
	s := &scene{t: t, ctx: ctx, fail: map[string]error{}}
	n := newMover(t, w, func(n *nodes.Node) (err error) {
		s.n = n
		nameless := s.child("")
		nameless.ID = "nameless"
		s.sup, err = supervisor.Start(ctx, n, "sup", &supervisor.Options{Intensity: 10, Parent: parent.Pid()},
			s.child("a"), s.child("t", restart(supervisor.Temporary)), s.child("deleted"), s.child("c"), nameless,
			supervisor.Sub("sub", nil, s.child("d")),
			supervisor.Remote("remote", peer.Name(), "worker", "start"))
		return err
	})
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

	n.move(t)
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
	killer := cluster.Mailbox(t, peer, nil)
	require.NoError(t, killer.SendExit(ctx, remote, ei.Atom("kill")))
	second := expect.Returns(t, starts)
	require.Empty(t, starts)

	n.move(t)
	require.Equal(t, "ok", s.ask(request("terminate_child", "remote")), "by the message of sys, since it traps exits")
	require.Equal(t, "{error,not_found}", s.ask(request("restart_child", "t")))
	_, err := killer.Call(ctx, second, ei.Atom("there"))
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
	s := &scene{t: t, ctx: expect.Context(t), fail: map[string]error{}}
	terminating, goOn := make(chan struct{}, 1), make(chan struct{})
	n := newMover(t, cluster.Unix(t), func(n *nodes.Node) (err error) {
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
	moved := make(chan bool)
	go func() { n.move(t); moved <- true }()
	expect.WaitsIn(t, "select", "(*Frozen).drain")
	close(goOn)
	expect.Returns(t, moved)
	require.Equal(t, "-a -c +a +c +a +c", s.did(), "restarted there, and registered here")
	require.Equal(t, "a c slow sup", s.running("a c slow sup"))
	require.NoError(t, s.sup.Shutdown(s.ctx))
	require.NoError(t, n.Close())
}
