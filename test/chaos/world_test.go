package chaos

import (
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/epmd"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

var seed = flag.Uint64("chaos.seed", rand.Uint64(), "what happens, and how often; not in which order, since the goroutines' is not known")

// patience is more than anything here takes, however busy the machine is.
const patience = time.Minute

// A world is some nodes, and what is done with them until its time is up.
type world struct {
	t     *testing.T
	nodes []*nodes.Node
	fresh map[*nodes.Node]int // how many mailboxes they had to begin with
	end   time.Time
	parts uint64
	doers sync.WaitGroup
}

// begin starts nodes that find each other by what resolver gives for each of them.
func begin(t *testing.T, resolver func() nodes.Resolver) *world {
	t.Helper()
	w := &world{t: t, fresh: map[*nodes.Node]int{}, end: time.Now().Add(time.Duration(otp.Times("CNODE_CHAOS", 1)) * time.Second)}
	t.Logf("-chaos.seed=%d", *seed)
	for _, name := range []string{"ann@127.0.0.1", "bob@127.0.0.1", "cat@127.0.0.1"} {
		n, err := nodes.New(nodes.Config{Name: name, Cookie: "secret", Resolver: resolver(), HandshakeTimeout: patience, Setup: equip})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, n.Close()) })
		require.NoError(t, n.Start(t.Context()))
		w.nodes, w.fresh[n] = append(w.nodes, n), n.Stats().Mailboxes
	}
	return w
}

// equip gives a node what the others call.
func equip(n *nodes.Node) error {
	n.Expose("chaos", "echo", func(_ context.Context, args []ei.Term) (any, error) { return args[0], nil })
	n.Expose("chaos", "fail", func(_ context.Context, args []ei.Term) (any, error) { panic(args[0]) })
	n.Expose("chaos", "wait", func(ctx context.Context, args []ei.Term) (any, error) {
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
		return args[0], nil
	})
	_, err := n.Serve("server", nodes.Server{Call: func(_ context.Context, c *nodes.Call) (any, error) { return c.Request, nil }}, nil)
	return err
}

// overUnix and overTCP are how nodes find each other.
func overUnix(t *testing.T) func() nodes.Resolver {
	dir := nodes.SocketDir(sockdir.New(t))
	return func() nodes.Resolver { return dir }
}

func overTCP(t *testing.T) func() nodes.Resolver {
	mapper := port.Vacant(t)
	return func() nodes.Resolver { return &nodes.PortMapper{Client: epmd.Client{Addr: mapper}, Embed: true} }
}

// play has several goroutines do f again and again. What f does must come to its end by itself.
func (w *world) play(several int, f func(ctx context.Context, r *rand.Rand, one, other *nodes.Node)) {
	for range several {
		w.parts++
		part := w.parts
		w.doers.Go(func() {
			r := rand.New(rand.NewPCG(*seed, part))
			for time.Now().Before(w.end) && !w.t.Failed() {
				one := r.IntN(len(w.nodes))
				other := (one + 1 + r.IntN(len(w.nodes)-1)) % len(w.nodes)
				ctx, stop := context.WithTimeout(context.Background(), patience)
				f(ctx, r, w.nodes[one], w.nodes[other])
				stop()
			}
		})
	}
}

// over waits for all that is played. Then the nodes are as they were, and can be ended.
func (w *world) over() {
	w.t.Helper()
	ended := make(chan struct{})
	go func() { defer close(ended); w.doers.Wait() }()
	select {
	case <-ended:
	case <-time.After(5 * patience):
		panic("something hangs") // which shows all goroutines
	}
	for _, n := range w.nodes {
		require.Eventually(w.t, func() bool { return n.Stats().Mailboxes == w.fresh[n] && n.Stats().Calls == 0 }, patience, time.Millisecond,
			"%+v", n.Stats())
		require.Zero(w.t, n.Stats().Malformed)
		ctx, stop := context.WithTimeout(context.Background(), patience)
		require.NoError(w.t, n.Shutdown(ctx))
		stop()
	}
}

// must is for what cannot fail.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
