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
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/prometheus"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/epmd"
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
	scraper, err := textparse.New(b, answer.Header.Get("Content-Type"), labels.NewSymbolTable(), textparse.ParserOptions{})
	require.NoError(t, err)
	for { // the server has another parser
		if _, err := scraper.Next(); err == io.EOF {
			return s, string(b)
		} else {
			require.NoError(t, err)
		}
	}
}

// value is that of the series which has the labels, "peer=a,direction=in"; of a histogram the
// count. -1: there is none.
func (s scraped) value(name, labelled string) float64 {
	for _, m := range s[name].GetMetric() {
		var all []string
		for _, l := range m.GetLabel() {
			all = append(all, l.GetName()+"="+l.GetValue())
		}
		if strings.Join(all, ",") != labelled {
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
			"cnode_mailbox_messages":        {"process=orders": 0},
			"cnode_panics_total":            {"kind=function": 0, "kind=server": 0},
			"cnode_connections_ended_total": {"cause=tick_timeout," + peer: 0, "cause=malformed," + peer: 0, "cause=error," + peer: 0},
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

		scraped := func() scraped {
			r := prometheus.NewRegistry()
			r.MustRegister(c)
			s, _ := scrape(t, r)
			return s
		}
		for _, how := range []string{"-R", "-r"} {
			cmd := exec.Command(r.Command("erl_call"), how, "-name", name, "-timeout", "30", "-c", otp.DefaultCookie, "-a", "shop quote [[97]]")
			cmd.Env = append(os.Environ(), fmt.Sprint("ERL_EPMD_PORT=", port))
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
		}
		erl.Close()
		require.Eventually(t, func() bool {
			s = scraped()
			return s.value("cnode_connections_ended_total", "cause=peer_closed,"+peer) == 1 && s.value("cnode_connections", peer) == 0 &&
				s.value("cnode_connections", "peer=temporary") == 0
		}, expect.Limit, expect.Limit/1000)
		require.Equal(t, 2.0, s.value("cnode_connections_up_total", "peer=temporary"))
		require.Len(t, s["cnode_connections"].GetMetric(), 2, "the BEAM, and all erl_calls")
	})
}

// A world is nodes in memory.
type world struct {
	*cluster.Cluster
	t testing.TB
}

func newWorld(t testing.TB) *world { return &world{cluster.New(t), t} }

// start starts a node of the host, or connects one without a name to shop@host.
func (w *world) start(name string, before func(*nodes.Node)) *nodes.Node {
	var cfg nodes.Config
	if name != "" {
		cfg = w.Config(name + "@host")
	} else {
		cfg = w.Config("")
		cfg.Host = "host"
	}
	n := w.New(cfg)
	if before != nil {
		before(n)
	}
	if name != "" {
		require.NoError(w.t, n.Start(expect.Context(w.t)))
		return n
	}
	_, err := n.Connect(expect.Context(w.t), "shop@host")
	require.NoError(w.t, err)
	return n
}

// shop starts shop@host, measured.
func (w *world) shop(o *cnodeprom.Options) (*nodes.Node, *prometheus.Registry) {
	registry := prometheus.NewPedanticRegistry()
	return w.start("shop", func(n *nodes.Node) { registry.MustRegister(cnodeprom.New(n, o)) }), registry
}

// until scrapes until something is so.
func until(t testing.TB, r *prometheus.Registry, is func(s scraped) bool) (s scraped) {
	t.Helper()
	var text string
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		if s, text = scrape(t, r); is(s) {
			return s
		}
		require.Less(t, time.Since(begun), expect.Limit, text)
	}
}

// Whatever a program calls, registers and is sent, each scrape is good: also those that come after.
func TestOddNames(t *testing.T) {
	ctx, w := expect.Context(t), newWorld(t)
	shop, registry := w.shop(nil)
	web := w.start("web", nil)
	sender, err := web.NewMailbox(nil)
	require.NoError(t, err)
	odd := map[string]string{
		"not UTF-8": "\xff\xfe", "not UTF-8 either": "\xff\xfd",
		"5 MB": strings.Repeat("x", 5<<20), "5 MB, not UTF-8": strings.Repeat("\xff", 5<<20),
		"empty": "", "NUL": "a\x00b", "SOH": "a\x01b", "escape": "\x1b[2J", "quotes": `"a"'b'\`, "lines": "a\nb\r\nc", "braces": `{peer="x"} 1`,
		"longest": strings.Repeat("\U0001f600", 255), "other": "other",
	}
	for what, name := range odd {
		self, err := shop.NewMailbox(nil)
		require.NoError(t, err)
		if shop.Register(t.Context(), name, self) == nil { // as many as may be
			require.NotContains(t, []string{"not UTF-8", "5 MB", "empty"}, what)
		}
		_, err = shop.RPC(ctx, web.Name(), name, name)
		require.Error(t, err, what)
		_, err = shop.ERPC(ctx, web.Name(), "m", name)
		require.Error(t, err, what)
		_, err = shop.CallName(ctx, web.Name(), name, ei.Atom("x"))
		require.Error(t, err, what)
		_, err = shop.ERPC(ctx, name, "m", "f")
		require.Error(t, err, what)
		_, _ = web.RPC(ctx, shop.Name(), name, name)
		_ = sender.SendName(ctx, shop.Name(), name, ei.Atom("x"))
		scrape(t, registry)
	}
	s := until(t, registry, func(s scraped) bool {
		return s.value("cnode_mailbox_messages", "process="+odd["quotes"]) == 1 &&
			s.value("cnode_mailbox_messages", "process=a\uFFFDb") == 2 // two names that differ in what is not fit
	})
	_, text := scrape(t, registry)
	require.Less(t, len(text), 1<<20)
	for _, family := range s {
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				require.LessOrEqual(t, len(l.GetValue()), 1024)
			}
		}
	}
}

// What a registered process has not received is a metric.
func TestQueues(t *testing.T) {
	ctx, w := expect.Context(t), newWorld(t)
	shop, registry := w.shop(nil)
	orders, err := shop.NewMailbox(nil)
	require.NoError(t, err)
	require.NoError(t, shop.Register(t.Context(), "orders", orders))
	for range 3 {
		require.NoError(t, orders.SendName(ctx, shop.Name(), "orders", ei.Binary("abc")))
	}
	s, _ := scrape(t, registry)
	require.Equal(t, 3.0, s.value("cnode_mailbox_messages", "process=orders"))
	require.Positive(t, s.value("cnode_mailbox_bytes", "process=orders"))
	orders.Close()
	s, _ = scrape(t, registry)
	require.Empty(t, s["cnode_mailbox_messages"].GetMetric())
}

// The first panic of all is an increase, as the alert wants it.
func TestFirstPanic(t *testing.T) {
	ctx, w := expect.Context(t), newWorld(t)
	shop, registry := w.shop(nil)
	shop.Expose("shop", "quote", nodes.FuncOf(func() int { panic("a bug") }))
	_, err := shop.Serve("orders", nodes.Server{On: map[string]nodes.Func{"add": nodes.FuncOf(func() int { panic("a bug") })}}, nil)
	require.NoError(t, err)
	s, _ := scrape(t, registry)
	require.Equal(t, []float64{0, 0}, []float64{s.value("cnode_panics_total", "kind=function"), s.value("cnode_panics_total", "kind=server")})
	_, err = shop.ERPC(ctx, shop.Name(), "shop", "quote")
	require.Error(t, err)
	_, err = shop.CallName(ctx, shop.Name(), "orders", ei.Atom("add"))
	require.Error(t, err)
	until(t, registry, func(s scraped) bool {
		return s.value("cnode_panics_total", "kind=function") == 1 && s.value("cnode_panics_total", "kind=server") == 1
	})
}

// Nodes that are there for a command share their series, and those that are gone lose theirs: a
// node that comes after more of them than MaxPeers has its own.
func TestPeersThatAreGone(t *testing.T) {
	ctx, w := expect.Context(t), newWorld(t)
	shop, registry := w.shop(&cnodeprom.Options{MaxPeers: 3})
	up := func(s scraped, peer string) float64 { return s.value("cnode_connections_up_total", "peer="+peer) }
	gone := func(n *nodes.Node) {
		require.NoError(t, n.Close())
		require.Eventually(t, func() bool { return shop.Conn(n.Name()) == nil }, expect.Limit, time.Millisecond)
	}
	for range 10 {
		gone(w.start("", nil))
	}
	for i := range 10 {
		pod := w.start(fmt.Sprint("pod", i), nil)
		_, err := pod.Connect(ctx, shop.Name())
		require.NoError(t, err)
		require.Eventually(t, func() bool { return shop.Conn(pod.Name()) != nil }, expect.Limit, time.Millisecond)
		gone(pod)
	}
	web := w.start("web", nil)
	_, err := web.Connect(ctx, shop.Name())
	require.NoError(t, err)
	s := until(t, registry, func(s scraped) bool {
		return s.value("cnode_connections", "peer=web@host") == 1 && up(s, "temporary") == 10
	})
	require.Len(t, s["cnode_connections"].GetMetric(), 4, "web, two pods that were there last, and those for a command")
	require.Equal(t, -1.0, up(s, "other"))
	require.Equal(t, 1.0, up(s, "pod9@host"))
	require.Equal(t, 1.0, s.value("cnode_connections_ended_total", "cause=peer_closed,peer=pod9@host"))
	require.Equal(t, -1.0, up(s, "pod1@host"))
}

// A peer that is gone keeps its series for a while, not for ever, and begins anew when it comes
// back.
func TestPeersAreForgotten(t *testing.T) {
	ctx, w := expect.Context(t), newWorld(t)
	shop, registry := w.shop(&cnodeprom.Options{KeepPeers: time.Nanosecond})
	for range 2 {
		web := w.start("web", nil)
		_, err := web.ERPC(ctx, shop.Name(), "m", "f")
		require.Error(t, err)
		s := until(t, registry, func(s scraped) bool { return s.value("cnode_connections", "peer=web@host") == 1 })
		require.Equal(t, 1.0, s.value("cnode_connections_up_total", "peer=web@host"))
		require.NoError(t, web.Close())
		s = until(t, registry, func(s scraped) bool { return len(s["cnode_connections"].GetMetric()) == 0 })
		for name, family := range s {
			for _, m := range family.GetMetric() {
				for _, l := range m.GetLabel() {
					require.NotEqual(t, "peer", l.GetName(), name)
				}
			}
		}
	}
}

// Peers and functions beyond the limits are counted together, and nothing is counted twice.
func TestBounds(t *testing.T) {
	ctx, w := expect.Context(t), newWorld(t)
	start := w.start
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
