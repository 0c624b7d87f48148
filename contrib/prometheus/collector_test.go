package cnodeprom_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/prometheus"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/test/expect"
	"github.com/cnode-go/cnode/test/leak"
	"github.com/cnode-go/cnode/test/otp"
	"github.com/cnode-go/cnode/transport"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

// A scraped is what Prometheus gets.
type scraped map[string]*dto.MetricFamily

// scrape gets the metrics over HTTP, as text, and has them parsed by Prometheus's own parser.
func scrape(t testing.TB, r *prometheus.Registry) (s scraped, text string) {
	t.Helper()
	server := httptest.NewServer(promhttp.HandlerFor(r, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}))
	defer server.Close()
	answer, err := http.Get(server.URL)
	require.NoError(t, err)
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.StatusCode, "%s", b)
	parser := expfmt.NewTextParser(model.LegacyValidation)
	s, err = parser.TextToMetricFamilies(bytes.NewReader(b))
	require.NoError(t, err, "%s", b)
	return s, string(b)
}

// value is that of the series which has the labels, "peer=a,direction=in"; of a histogram the
// count. -1: there is none.
func (s scraped) value(name, labels string) float64 {
	for _, m := range s[name].GetMetric() {
		var all []string
		for _, l := range m.GetLabel() {
			all = append(all, l.GetName()+"="+l.GetValue())
		}
		if strings.Join(all, ",") != labels {
			continue
		}
		switch {
		case m.Counter != nil:
			return m.Counter.GetValue()
		case m.Histogram != nil:
			return float64(m.Histogram.GetSampleCount())
		}
		return m.Gauge.GetValue()
	}
	return -1
}

func setup(n *nodes.Node) error {
	n.Expose("shop", "quote", nodes.FuncOf(func(sku string) (int, error) {
		if sku == "" {
			return 0, errors.New("no sku")
		}
		return len(sku), nil
	}))
	_, err := n.Serve("orders", nodes.Server{On: map[string]nodes.Func{"add": nodes.FuncOf(func(i int) int { return i + 1 })}}, nil)
	return err
}

// Prometheus's own parser and linter have nothing to say about the metrics of a node that talks
// with OTP, and the metrics say what has happened.
func TestWithOTP(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl := r.Start(t, otp.Options{EpmdPort: port})
		name := fmt.Sprintf("shop%d@127.0.0.1", r.Number)
		cfg := nodes.Config{
			Name: name, Cookie: otp.DefaultCookie, HandshakeTimeout: otp.HandshakeTime, Setup: setup,
			Resolver: &nodes.PortMapper{Client: epmd.Client{Addr: "127.0.0.1:" + strconv.Itoa(port)}},
			Rules:    []nodes.Rule{{Permission: nodes.MayCall, Target: "shop:secret"}},
		}
		n, err := nodes.New(cfg)
		require.NoError(t, err)
		t.Cleanup(func() { n.Close() })
		c := cnodeprom.New(n, nil)
		registry := prometheus.NewPedanticRegistry()
		require.NoError(t, registry.Register(c))
		ctx := expect.Context(t)
		require.NoError(t, n.Start(ctx))

		at := fmt.Sprintf("N = '%s', ", name)
		require.Equal(t, "[3,3,3,3,3]", erl.Eval(t, at+`[erpc:call(N, shop, quote, [<<"abc">>]) || _ <- lists:seq(1, 5)]`))
		erl.Do(t, at+`{'EXIT', _} = (catch erpc:call(N, shop, quote, [<<>>])), 2 = gen_server:call({orders, N}, {add, 1}),
			{badrpc, _} = rpc:call(N, shop, secret, []),
			{badrpc, _} = rpc:call(N, made, up, []), {nobody, N} ! binary:copy(<<1>>, 100000)`)
		_, err = n.RPC(ctx, erl.Name(), "erlang", "date")
		require.NoError(t, err)
		_, err = n.ERPC(ctx, erl.Name(), "erlang", "error", ei.Atom("x"))
		require.Error(t, err)
		cfg.Name, cfg.Cookie, cfg.Setup, cfg.Rules = "stranger@127.0.0.1", "wrong", nil, nil
		stranger, err := nodes.New(cfg)
		require.NoError(t, err)
		defer stranger.Close()
		_, err = stranger.Connect(ctx, name)
		require.Error(t, err)

		peer := "peer=" + erl.Name()
		expected := map[string]map[string]float64{
			"cnode_state":                   {"state=running": 1, "state=draining": 0},
			"cnode_published":               {"": 1},
			"cnode_connections":             {peer: 1},
			"cnode_connections_up_total":    {peer: 1},
			"cnode_denied_total":            {"op=call," + peer: 1},
			"cnode_handshakes_failed_total": {"cause=cookie,direction=in": 1, "cause=timeout,direction=out": 0},
			"cnode_messages_total":          {"direction=in," + peer + ",size=256KiB": 1},
			"cnode_undeliverable_total":     {"": 1},
			"cnode_calls_total": {
				"direction=in,function=quote,kind=function,module=shop,outcome=ok":       5,
				"direction=in,function=quote,kind=function,module=shop,outcome=error":    1,
				"direction=in,function=quote,kind=function,module=shop,outcome=panic":    0,
				"direction=in,function=add,kind=server,module=orders,outcome=ok":         1,
				"direction=in,function=,kind=function,module=,outcome=refused":           1,
				"direction=out,function=date,kind=function,module=erlang,outcome=ok":     1,
				"direction=out,function=error,kind=function,module=erlang,outcome=error": 1,
			},
			"cnode_call_duration_seconds": {"direction=in,function=quote,kind=function,module=shop": 6},
		}
		var s scraped
		var text string
		require.Eventually(t, func() bool {
			s, text = scrape(t, registry)
			return s.value("cnode_undeliverable_total", "") == 1 && s.value("cnode_handshakes_failed_total", "cause=cookie,direction=in") == 1 &&
				s.value("cnode_calls_total", "direction=in,function=,kind=function,module=,outcome=refused") == 1
		}, expect.Limit, expect.Limit/1000)
		for metric, all := range expected {
			for labels, want := range all {
				require.Equal(t, want, s.value(metric, labels), "%s{%s}: %s", metric, labels, text)
			}
		}
		require.Greater(t, s.value("cnode_message_bytes_total", "direction=in,"+peer), 100000.0)

		problems, err := testutil.GatherAndLint(registry)
		require.NoError(t, err)
		require.Empty(t, problems)
		require.True(t, registry.Unregister(c))

		erl.Close()
		require.Eventually(t, func() bool {
			r := prometheus.NewRegistry()
			r.MustRegister(c)
			s, _ := scrape(t, r)
			return s.value("cnode_connections_ended_total", "cause=peer_closed,"+peer) == 1 && s.value("cnode_connections", peer) == 0
		}, expect.Limit, expect.Limit/1000)
	})
}

// Peers and functions beyond the limits are counted together, and nothing is counted twice.
func TestBounds(t *testing.T) {
	ctx := expect.Context(t)
	tr, at := transport.NewMemory(), nodes.Static{}
	start := func(name string, before func(*nodes.Node)) *nodes.Node {
		addr := transport.MemoryAddr(name)
		at[name+"@host"] = nodes.Endpoint{Addr: addr}
		n, err := nodes.New(nodes.Config{Name: name + "@host", Cookie: "secret", Transport: tr, Listen: addr, Resolver: at})
		require.NoError(t, err)
		t.Cleanup(func() { n.Close() })
		if before != nil {
			before(n)
		}
		require.NoError(t, n.Start(ctx))
		return n
	}
	registry := prometheus.NewPedanticRegistry()
	var c *cnodeprom.Collector
	shop := start("shop", func(n *nodes.Node) {
		c = cnodeprom.New(n, &cnodeprom.Options{MaxPeers: 2, MaxFunctions: 1, ConstLabels: prometheus.Labels{"node": "shop"}})
		registry.MustRegister(c)
	})
	for i := range 5 {
		shop.Expose("f", fmt.Sprint(i), nodes.FuncOf(func() int { return i }))
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		n := start(name, nil)
		for i := range 5 {
			_, err := n.ERPC(ctx, "shop@host", "f", fmt.Sprint(i))
			require.NoError(t, err)
		}
	}
	var s scraped
	sum := func(metric, label string) (all, other float64) {
		for _, m := range s[metric].GetMetric() {
			all += m.GetCounter().GetValue()
			for _, l := range m.GetLabel() {
				if l.GetName() == label && l.GetValue() == "other" {
					other += m.GetCounter().GetValue()
				}
			}
		}
		return all, other
	}
	require.Eventually(t, func() bool {
		s, _ = scrape(t, registry)
		all, _ := sum("cnode_calls_total", "module")
		return all == 20
	}, expect.Limit, expect.Limit/1000)
	_, other := sum("cnode_calls_total", "module")
	require.Equal(t, 16.0, other)
	require.Len(t, s["cnode_call_duration_seconds"].GetMetric(), 2)
	all, other := sum("cnode_connections_up_total", "peer")
	require.Equal(t, []float64{4, 2}, []float64{all, other})
	require.Len(t, s["cnode_connections"].GetMetric(), 3)
	c.Close()
}

func ExampleNew() {
	n, _ := nodes.New(nodes.Config{Name: "shop@host", Cookie: "secret"})
	prometheus.MustRegister(cnodeprom.New(n, nil)) // before n.Start
	http.Handle("/metrics", promhttp.Handler())
	_ = n.Start(context.Background())
}
