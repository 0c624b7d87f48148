package discovery

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/discovery"
	"github.com/cnode-go/cnode/transport"
)

func TestMain(m *testing.M) { gonode.Main(m, envServe, serve) }

// Events are what the functions of a Keeper's Options hear, by node.
type events struct{ sync.Map }

type event struct {
	what string
	discovery.Peer
}

func (e *events) of(node string) chan event {
	c, _ := e.LoadOrStore(node, make(chan event, 10000))
	return c.(chan event)
}

// options are short delays, and functions that note what they hear.
func (e *events) options() *discovery.Options {
	put := func(what string) func(discovery.Peer) {
		return func(p discovery.Peer) {
			select {
			case e.of(p.Node) <- event{what, p}:
			default: // nobody looks at all the failures
			}
		}
	}
	return &discovery.Options{
		MinDelay: 20 * time.Millisecond, MaxDelay: 200 * time.Millisecond,
		OnConnected: put("connected"), OnLost: put("lost"), OnFailed: put("failed"),
	}
}

// next is the next event about a node that is not among those to be skipped.
func (e *events) next(t testing.TB, node string, skip ...string) event {
	t.Helper()
	for {
		if got := expect.Returns(t, e.of(node)); !slices.Contains(skip, got.what) {
			return got
		}
	}
}

func keep(t testing.TB, n *nodes.Node, s discovery.Source, o *discovery.Options) *discovery.Keeper {
	k := discovery.KeepConnected(n, s, o)
	t.Cleanup(func() { _ = k.Close() })
	return k
}

// watched are the events of WatchNodes, in order.
func watched(t testing.TB, n *nodes.Node) func() nodes.NodeEvent {
	ctx, cancel := context.WithCancel(context.Background())
	c := make(chan nodes.NodeEvent, 1000)
	var all sync.WaitGroup
	all.Go(func() {
		for e := range n.WatchNodes(ctx) {
			c <- e
		}
	})
	t.Cleanup(func() { cancel(); all.Wait() })
	return func() nodes.NodeEvent { t.Helper(); return expect.Returns(t, c) }
}

func parseAddr(t testing.TB, text string) transport.Addr {
	a, err := transport.ParseAddr(text)
	require.NoError(t, err)
	return a
}
