package nodestest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/nodestest"
)

// newPricing is the Server that the examples test.
func newPricing(n *nodes.Node) nodes.Server {
	prices := map[string]int{"apple": 30}
	return nodes.Server{On: map[string]nodes.Func{
		"price": nodes.FuncOf(func(item string) (int, bool) { p, ok := prices[item]; return p, ok }),
		"set":   nodes.FuncOf(func(item string, price int) { prices[item] = price }),
		"stock": nodes.FuncOf(func(ctx context.Context) ([]int, error) { // asks an Erlang node
			return nodes.RPCAs[[]int](ctx, n, "erl@test", "stock", "count")
		}),
	}}
}

// A Server alone.
func TestExampleServer(t *testing.T) {
	p := nodestest.Serve(t, newPricing(nil))
	p.Cast(ei.T("set", "pear", 45))
	price, err := nodestest.Call[int](p, ei.T("price", "pear"))
	require.NoError(t, err)
	assert.Equal(t, 45, price)
}

// Two nodes.
func TestExamplePair(t *testing.T) {
	a, b := nodestest.Pair(t)
	_, err := b.Serve("pricing", newPricing(b), nil)
	require.NoError(t, err)
	price, err := nodes.CallNameAs[int](t.Context(), a, b.Name(), "pricing", ei.T("price", "apple"))
	require.NoError(t, err)
	assert.Equal(t, 30, price)
}

// An Erlang node that calls, and is called. [7,8,9] comes as Erlang sends it, as a string of bytes.
func TestExampleBEAM(t *testing.T) {
	net := nodestest.New(t)
	shop, erl := net.Node("shop"), net.BEAM("erl")
	_, err := shop.Serve("pricing", newPricing(shop), nil)
	require.NoError(t, err)

	erl.Expose("stock", "count", nodestest.Returns("[7,8,9]"))
	reply, err := erl.Call("shop@test", "pricing", "stock")
	require.NoError(t, err)
	assert.Equal(t, "[7,8,9]", reply.String())

	erl.Expose("stock", "count", nodestest.Raises(nodes.ClassError, "{badmatch, none}"))
	reply, err = erl.Call("shop@test", "pricing", "stock")
	require.NoError(t, err)
	assert.Contains(t, reply.String(), "badmatch")
}

// Time-outs pass at once inside a bubble.
func TestExampleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := nodestest.New(t)
		shop, erl := net.Node("shop"), net.BEAM("erl")
		erl.Serve("stock", nodestest.Hangs())

		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := shop.CallName(ctx, "erl@test", "stock", ei.Atom("count"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 5*time.Second, time.Since(began))
	})
}

// A node that goes down and comes back, and a network that says nothing any more.
func TestExampleNodeDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := nodestest.New(t)
		shop, erl := net.Node("shop"), net.BEAM("erl")
		erl.Serve("stock", nodestest.Returns("42"))
		ask := func() error {
			_, err := shop.CallName(t.Context(), "erl@test", "stock", ei.Atom("count"))
			return err
		}
		require.NoError(t, ask())
		erl.Stop()
		require.ErrorIs(t, ask(), nodes.ErrNoConnection)
		erl.Start()
		require.NoError(t, ask())

		net.Silence(shop, erl)
		began := time.Now()
		require.ErrorIs(t, ask(), nodes.ErrNoConnection)
		assert.Greater(t, time.Since(began), 45*time.Second, "the ticks that did not come")
	})
}
