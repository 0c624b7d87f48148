package supervisor_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/supervisor"
)

// An absence is a Resolver that does not find the other node while it is away.
type absence struct {
	*cluster.Cluster
	away atomic.Bool
}

func (a *absence) Resolve(ctx context.Context, node string) (nodes.Endpoint, error) {
	if a.away.Load() {
		return nodes.Endpoint{}, nodes.ErrUnknownNode
	}
	return a.Cluster.Resolve(ctx, node)
}

// exposeWorkers exposes m:start(Name), which starts a Server, and m:run(Name), a function that runs
// as a process.
func exposeWorkers(n *nodes.Node) {
	n.Expose("m", "start", nodes.FuncOf(func(name string) (ei.Term, error) {
		b, err := n.Serve(name, nodes.Server{}, nil)
		if err != nil {
			return nil, err
		}
		return ei.Tuple{ei.Atom("ok"), b.Pid()}, nil
	}))
	n.Expose("m", "run", nodes.FuncOf(func(ctx context.Context, name string) error {
		b := nodes.MailboxOf(ctx)
		if err := n.Register(ctx, name, b); err != nil {
			return err
		}
		_, err := b.Receive(ctx)
		return err
	}))
}

// A lost node costs nothing of the intensity, however many children are there and however long it
// is away; a child that ends there by itself does.
func TestAbsentNode(t *testing.T) {
	const children = 4
	for _, strategy := range []supervisor.Strategy{supervisor.OneForOne, supervisor.OneForAll, supervisor.RestForOne} {
		s := newScene(t)
		table := &absence{Cluster: cluster.New(t)}
		start := func(name string) *nodes.Node {
			cfg := table.Config(name)
			cfg.Resolver = table
			return table.Start(cfg)
		}
		far := start("far@host")
		exposeWorkers(far)
		s.n = start("near@host")

		var list []supervisor.Child
		var failed atomic.Int32
		for i := range children {
			id := fmt.Sprint("c", i)
			c := supervisor.Remote(id, "far@host", "m", "start", id)
			if i%2 == 1 {
				c = supervisor.Child{ID: id, Start: func(ctx context.Context, sup *supervisor.Supervisor) (ei.Pid, error) {
					return sup.Mailbox().SpawnLink(ctx, "far@host", "m", "run", id)
				}}
			}
			begin := c.Start
			c.Start = func(ctx context.Context, sup *supervisor.Supervisor) (ei.Pid, error) {
				pid, err := begin(ctx, sup)
				if err != nil {
					failed.Add(1)
				}
				return pid, err
			}
			list = append(list, c)
		}
		s.start(&supervisor.Options{Strategy: strategy, Intensity: supervisor.NoRestarts, Delay: time.Millisecond}, list...)
		all := func(what string) {
			require.Eventually(t, func() bool {
				for i := range children {
					b := far.Whereis(fmt.Sprint("c", i))
					if b == nil {
						return false
					}
					if p, _ := far.Process(b.Pid()); !slices.Contains(p.LinkedWith, s.sup.Pid()) {
						return false
					}
				}
				return true
			}, expect.Limit, time.Millisecond, what)
		}
		all("at first")

		lose := func() {
			var were []*nodes.Mailbox
			for i := range children {
				were = append(were, far.Whereis(fmt.Sprint("c", i)))
			}
			require.NoError(t, s.n.Conn("far@host").Close())
			for _, was := range were { // they have heard of it later than the supervisor, perhaps
				<-was.Done()
			}
		}
		lose()
		all("the connection was lost")

		table.away.Store(true)
		lose()
		failed.Store(0)
		require.Eventually(t, func() bool { return failed.Load() > 3*children }, expect.Limit, time.Millisecond)
		table.away.Store(false)
		all("the node was away")

		far.Whereis("c0").Exit(ei.Atom("bug"))
		<-s.sup.Done()
	}
}
