package nodes_test

import (
	"context"
	"encoding/json"
	"errors"
	"expvar"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/metrics"
	"github.com/cnode-go/cnode/transport"
)

// heard collects what hooks hear, as text.
type heard struct {
	mu  sync.Mutex
	all []string
}

func (h *heard) add(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, fmt.Sprintf(format, args...))
}

func (h *heard) has(line string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Contains(h.all, line)
}

func (h *heard) hooks() *metrics.Hooks {
	return &metrics.Hooks{
		ConnUp:   func(c *metrics.Conn) { h.add("up %s %v", c.Peer, c.Initiated) },
		ConnDown: func(c *metrics.Conn, cause string, _ error) { h.add("down %s %s", c.Peer, cause) },
		HandshakeFailed: func(f metrics.Handshake) {
			if f.Initiated {
				h.add("failed with %s: %s", f.Peer, f.Cause)
			} else {
				h.add("failed: %s", f.Cause)
			}
		},
		Denied:      func(peer, op, target string) { h.add("denied %s %s %s", peer, op, target) },
		MailboxFull: func(process string) { h.add("full %s", process) },
		Overflow:    func(peer string, _ int) { h.add("overflow %s", peer) },
		CallEnded: func(_ context.Context, c *metrics.CallInfo) {
			h.add("%v %s %s %s %s", c.Out, c.Peer, c.Kind, c.Name(), c.Outcome)
		},
	}
}

// A pair are two nodes in memory.
func pair(t testing.TB, setup func(n *nodes.Node) error, edit ...func(name string, cfg *nodes.Config)) (shop, web *nodes.Node) {
	tr := transport.NewMemory()
	at := nodes.Static{"shop@host": {Addr: transport.MemoryAddr("shop")}, "web@host": {Addr: transport.MemoryAddr("web")}}
	start := func(name string, setup func(n *nodes.Node) error) *nodes.Node {
		cfg := nodes.Config{Name: name, Cookie: "secret", Transport: tr, Listen: at[name].Addr, Resolver: at, Setup: setup}
		for _, f := range edit {
			f(name, &cfg)
		}
		n, err := nodes.New(cfg)
		require.NoError(t, err)
		t.Cleanup(func() { n.Close() })
		require.NoError(t, n.Start(expect.Context(t)))
		return n
	}
	return start("shop@host", setup), start("web@host", nil)
}

func shopSetup(n *nodes.Node) error {
	n.Expose("shop", "quote", nodes.FuncOf(func(sku string) (int, error) {
		switch sku {
		case "none":
			return 0, errors.New("unknown")
		case "panic":
			panic("a bug")
		}
		return len(sku), nil
	}))
	_, err := n.Serve("orders", nodes.Server{
		On:   map[string]nodes.Func{"add": nodes.FuncOf(func(i int) int { return i + 1 })},
		Call: func(context.Context, *nodes.Call) (any, error) { return ei.Atom("yes"), nil },
	}, nil)
	return err
}

func TestHooks(t *testing.T) {
	ctx := expect.Context(t)
	var h heard
	shop, web := pair(t, func(n *nodes.Node) error {
		n.Measure(h.hooks())
		return shopSetup(n)
	}, func(name string, cfg *nodes.Config) {
		if name == "shop@host" {
			cfg.Rules = []nodes.Rule{{Permission: nodes.MayCall, Target: "shop:secret"}}
		}
	})
	for _, sku := range []string{"a", "none", "panic"} {
		_, _ = web.ERPC(ctx, "shop@host", "shop", "quote", sku)
	}
	_, _ = web.RPC(ctx, "shop@host", "shop", "made_up")
	_, err := web.RPC(ctx, "shop@host", "shop", "secret")
	require.Error(t, err)
	_, err = web.CallName(ctx, "shop@host", "orders", ei.T("add", 1))
	require.NoError(t, err)
	_, err = web.CallName(ctx, "shop@host", "orders", ei.Atom("other"))
	require.NoError(t, err)
	web.Expose("web", "list", nodes.FuncOf(func() int { return 1 }))
	_, err = shop.RPC(ctx, "web@host", "web", "list")
	require.NoError(t, err)
	_, err = shop.RPC(ctx, "web@host", "web", "not_there")
	require.Error(t, err)
	_, err = shop.ERPC(ctx, "web@host", "web", "not_there")
	require.Error(t, err)
	r, err := shop.SendRequestName(ctx, "web@host", "nobody", ei.Atom("x"))
	require.NoError(t, err)
	_, err = r.Wait(ctx)
	require.ErrorIs(t, err, nodes.ErrNoProc)
	_, err = shop.RPC(ctx, "gone@host", "a", "b")
	require.Error(t, err)
	require.NoError(t, web.Close())
	for _, line := range []string{
		"up web@host false", "down web@host peer_closed", "failed with gone@host: unreachable",
		"false web@host function shop:quote ok", "false web@host function shop:quote error", "false web@host function shop:quote panic",
		"false web@host function : refused", "denied web@host call shop:secret/0",
		"false web@host server orders:add ok", "false web@host server orders:call ok",
		"true web@host function web:list ok", "true web@host function web:not_there error",
		"true web@host server nobody:call error", "true gone@host function a:b lost",
	} {
		require.Eventually(t, func() bool { return h.has(line) }, expect.Limit, time.Millisecond, line)
	}
}

// The statistics are JSON, so that one line publishes them.
func TestStatsAreJSON(t *testing.T) {
	shop, web := pair(t, shopSetup)
	stop := shop.Measure(&metrics.Hooks{})
	v := expvar.Func(func() any { return shop.Stats() })
	_, err := web.ERPC(expect.Context(t), "shop@host", "shop", "quote", "abc")
	require.NoError(t, err)
	var s nodes.Stats
	require.Eventually(t, func() bool {
		s = nodes.Stats{}
		return json.Unmarshal([]byte(v.String()), &s) == nil && len(s.Functions) == 1 // the result may be there before the end
	}, expect.Limit, time.Millisecond)
	f := s.Functions[0]
	require.Equal(t, "shop:quote", f.Module+":"+f.Function)
	require.EqualValues(t, 1, f.Count())
	require.Zero(t, f.Errors())
	require.Len(t, f.Latency.Counts, len(f.Latency.Bounds)+1)
	stop()
	_, err = web.ERPC(expect.Context(t), "shop@host", "shop", "quote", "abc")
	require.NoError(t, err)
	require.EqualValues(t, 1, shop.Stats().Functions[0].Count())
}

func ExampleNode_Measure() {
	n, _ := nodes.New(nodes.Config{Name: "shop@host", Cookie: "secret"})
	n.Measure(&metrics.Hooks{
		ConnDown:  func(c *metrics.Conn, cause string, err error) { fmt.Println(c.Peer, "is gone:", cause) },
		CallEnded: func(_ context.Context, c *metrics.CallInfo) { fmt.Println(c.Name(), c.Duration, c.Outcome) },
	})
	expvar.Publish("cnode", expvar.Func(func() any { return n.Stats() }))
}
