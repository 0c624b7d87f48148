package cookbook

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/global"
	"github.com/cnode-go/cnode/nodes/metrics"
	"github.com/cnode-go/cnode/nodes/nodestest"
	"github.com/cnode-go/cnode/nodes/pg"
	"github.com/cnode-go/cnode/nodes/pubsub"
)

func TestPrice(t *testing.T) {
	net := nodestest.New(t)
	n, shop := net.Node("till"), net.BEAM("shop")
	shop.Expose("Elixir.Shop", "item", nodestest.Returns(`#{sku => <<"pear">>, price => 45, left => 3}`))
	price, err := Price(t.Context(), n, "shop@test", "pear")
	require.NoError(t, err)
	require.Equal(t, 45, price)
	shop.Expose("Elixir.Shop", "item", nodestest.Raises(nodes.ClassError, "none"))
	_, err = Price(t.Context(), n, "shop@test", "pear")
	require.ErrorContains(t, err, "has no pear")
	shop.Stop()
	_, err = Price(t.Context(), n, "shop@test", "pear")
	require.ErrorContains(t, err, "closed")
}

func TestSetup(t *testing.T) {
	net := nodestest.New(t)
	net.Node("till", func(cfg *nodes.Config) { cfg.Setup = Setup })
	shop := net.BEAM("shop")
	total, err := shop.RPC("till@test", "shop", "total", `[#{sku => <<"pear">>, price => 45, left => 3}]`)
	require.NoError(t, err)
	require.Equal(t, ei.Int(45), total)
	_, err = shop.RPC("till@test", "shop", "total", `[#{sku => <<"pear">>, price => 45, left => 0}]`)
	require.ErrorContains(t, err, "sold_out")
}

func TestCounter(t *testing.T) {
	p := nodestest.Serve(t, NewCounter())
	count, err := nodestest.Call[int](p, ei.T("add", 2))
	require.NoError(t, err)
	require.Equal(t, 2, count)
	p.Cast(ei.Atom("reset"))
	count, err = nodestest.Call[int](p, ei.T("add", 1))
	require.NoError(t, err)
	require.Equal(t, 1, count)
}

func TestSupervised(t *testing.T) {
	a, b := nodestest.Pair(t)
	s, err := Supervised(t.Context(), a)
	require.NoError(t, err)
	first := a.Whereis("counter")
	first.Exit(ei.Atom("bug"))
	require.Eventually(t, func() bool { now := a.Whereis("counter"); return now != nil && now != first }, expect.Limit, time.Millisecond)
	count, err := nodes.CallNameAs[int](t.Context(), b, a.Name(), "counter", ei.T("add", 2))
	require.NoError(t, err)
	require.Equal(t, 2, count)
	require.NoError(t, s.Shutdown(t.Context()))
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := nodestest.Pair(t)
		box, err := b.NewMailbox(nil)
		require.NoError(t, err)
		var why ei.Term
		over := make(chan struct{})
		go func() {
			defer close(over)
			why, err = Follow(t.Context(), a, box.Pid())
		}()
		synctest.Wait()
		box.Exit(ei.Atom("done"))
		<-over
		require.NoError(t, err)
		require.Equal(t, ei.Atom("done"), why)
	})
}

func TestWorker(t *testing.T) {
	a, b := nodestest.Pair(t)
	scope, err := pg.Start(t.Context(), a, "", nil)
	require.NoError(t, err)
	there, err := pg.Start(t.Context(), b, "", nil)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	jobs, over := make(chan string, 1), make(chan error, 1)
	go func() { over <- Worker(ctx, a, scope, func(job string) { jobs <- job }) }()
	members := func() (all []ei.Pid) {
		for pid := range there.Members("workers") {
			all = append(all, pid)
		}
		return all
	}
	require.Eventually(t, func() bool { return len(members()) == 1 }, expect.Limit, time.Millisecond)
	box, err := b.NewMailbox(nil)
	require.NoError(t, err)
	require.NoError(t, box.Send(t.Context(), members()[0], "wrap"))
	require.Equal(t, "wrap", expect.Returns(t, jobs))
	cancel()
	require.NoError(t, expect.Returns(t, over))
	require.Eventually(t, func() bool { return len(members()) == 0 }, expect.Limit, time.Millisecond)
}

func TestAnnounce(t *testing.T) {
	a, b := nodestest.Pair(t)
	here, err := pubsub.Start(t.Context(), a, "Shop.PubSub", nil)
	require.NoError(t, err)
	there, err := pubsub.Start(t.Context(), b, "Shop.PubSub", nil)
	require.NoError(t, err)
	pushed := make(chan pubsub.Push[map[string]ei.Raw], 1)
	box, err := b.NewMailbox(nil)
	require.NoError(t, err)
	require.NoError(t, there.Subscribe(box, "shop:lobby"))
	go func() {
		for push, err := range nodes.Messages[pubsub.Push[map[string]ei.Raw]](t.Context(), box) {
			if err == nil {
				pushed <- push
			}
		}
	}()
	for {
		require.NoError(t, Announce(t.Context(), here, Item{SKU: "pear", Price: 40}))
		select { // the two have yet to find each other
		case push := <-pushed:
			require.Equal(t, "price_changed", push.Event)
			require.Equal(t, `<<"pear">>`, push.Payload["sku"].String())
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestEverywhere(t *testing.T) {
	net := nodestest.New(t)
	n := net.Node("till")
	for _, x := range []struct{ name, left string }{{"a", "1"}, {"b", "2"}} {
		net.BEAM(x.name).Expose("stock", "left", nodestest.Returns(x.left))
	}
	require.Equal(t, map[string]int{"a@test": 1, "b@test": 2}, Everywhere(t.Context(), n, []string{"a@test", "b@test", "gone@test"}))
}

func TestLeader(t *testing.T) {
	n := nodestest.New(t).Node("till", func(cfg *nodes.Config) { cfg.Visible = true })
	g, err := global.Start(t.Context(), n, nil)
	require.NoError(t, err)
	stop := errors.New("enough")
	require.ErrorIs(t, Leader(t.Context(), g, func(context.Context) error { return stop }), stop)
}

func TestWatched(t *testing.T) {
	a, b := nodestest.Pair(t, func(cfg *nodes.Config) { cfg.Setup = Setup })
	counted := make(chan string, 10)
	server := httptest.NewServer(Watched(a, func(name string, outcome metrics.Outcome) { counted <- name + " " + string(outcome) }))
	defer server.Close()
	_, err := b.ERPC(t.Context(), a.Name(), "shop", "total", []Item{})
	require.NoError(t, err)
	require.Contains(t, expect.Returns(t, counted), "shop:total")
	r, err := server.Client().Get(server.URL + "/health/ready")
	require.NoError(t, err)
	require.NoError(t, r.Body.Close())
	require.Equal(t, 200, r.StatusCode)
}

func TestService(t *testing.T) {
	dir := nodes.SocketDir(sockdir.New(t))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- Service(ctx, nodes.Config{Name: "till@test", Cookie: "x", Resolver: dir}) }()
	shop, err := nodes.New(nodes.Config{Name: "shop@test", Cookie: "x", Resolver: dir})
	require.NoError(t, err)
	defer shop.Close()
	shop.Expose("Elixir.Shop", "item", nodes.FuncOf(func(sku string) (Item, error) {
		if sku != "pear" {
			return Item{}, errors.New("none")
		}
		return Item{sku, 45, 3}, nil
	}))
	require.NoError(t, shop.Start(t.Context()))
	isThere := func() bool { _, err := shop.Connect(t.Context(), "till@test"); return err == nil }
	require.Eventually(t, isThere, expect.Limit, 10*time.Millisecond)
	price, err := nodes.CallNameAs[int](t.Context(), shop, "till@test", "packer", ei.T("pack", "pear"))
	require.NoError(t, err)
	require.Equal(t, 45, price)
	_, err = nodes.CallNameAs[int](t.Context(), shop, "till@test", "packer", ei.T("pack", "plum"))
	require.ErrorContains(t, err, "none")
	stop()
	require.NoError(t, <-ended)
}
