package cnodeotel_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
	collectmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collecttrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	wiremetrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	wire "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/cnode-go/cnode/contrib/otel"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/epmd"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

// A collector receives OTLP over HTTP, and has what has come.
type collector struct {
	mu      sync.Mutex
	spans   []*wire.Span
	metrics map[string]*wiremetrics.Metric
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r.URL.Path {
	case "/v1/traces":
		var m collecttrace.ExportTraceServiceRequest
		err = errors.Join(err, proto.Unmarshal(b, &m))
		for _, resource := range m.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
	case "/v1/metrics":
		var m collectmetrics.ExportMetricsServiceRequest
		err = errors.Join(err, proto.Unmarshal(b, &m))
		for _, resource := range m.ResourceMetrics {
			for _, scope := range resource.ScopeMetrics {
				for _, one := range scope.Metrics {
					c.metrics[one.Name] = one
				}
			}
		}
	default:
		err = errors.New("unknown path")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

// telemetry has providers that export to a collector.
type telemetry struct {
	*collector
	traces  *trace.TracerProvider
	metrics *metric.MeterProvider
}

func newTelemetry(t testing.TB) *telemetry {
	c := &collector{metrics: map[string]*wiremetrics.Metric{}}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	ctx := context.Background()
	at := strings.TrimPrefix(server.URL, "http://")
	spans, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpoint(at), otlptracehttp.WithInsecure())
	require.NoError(t, err)
	numbers, err := otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpoint(at), otlpmetrichttp.WithInsecure())
	require.NoError(t, err)
	meters := metric.NewMeterProvider(metric.WithReader(metric.NewPeriodicReader(numbers)))
	all := &telemetry{c, trace.NewTracerProvider(trace.WithBatcher(spans)), meters}
	t.Cleanup(func() {
		require.NoError(t, errors.Join(all.traces.Shutdown(ctx), all.metrics.Shutdown(ctx)))
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return all
}

func (c *telemetry) options() *cnodeotel.Options {
	return &cnodeotel.Options{TracerProvider: c.traces, MeterProvider: c.metrics, Propagator: propagation.TraceContext{}}
}

// span waits for a span that has arrived.
func (c *telemetry) span(t testing.TB, is func(s *wire.Span) bool) (found *wire.Span) {
	t.Helper()
	require.Eventually(t, func() bool {
		require.NoError(t, c.traces.ForceFlush(context.Background()))
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, s := range c.spans {
			if is(s) {
				found = s
			}
		}
		return found != nil
	}, expect.Limit, expect.Limit/1000)
	return found
}

func attr(all []*common.KeyValue, key string) string {
	for _, a := range all {
		if a.Key == key {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

// A trace goes from Go through two processes of Erlang to Go, and from Erlang to Go; spans and
// metrics arrive by OTLP, as the semantic conventions have them.
func TestWithOTP(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		all, port, ctx := newTelemetry(t), r.Epmd(t), expect.Context(t)
		erl := r.Start(t, otp.Options{EpmdPort: port})
		start := func(alive string) *nodes.Node {
			n, err := nodes.New(nodes.Config{
				Name: fmt.Sprintf("%s%d@127.0.0.1", alive, r.Number), Cookie: otp.DefaultCookie, HandshakeTimeout: otp.HandshakeTime,
				Resolver: &nodes.PortMapper{Client: epmd.Client{Addr: "127.0.0.1:" + strconv.Itoa(port)}},
			})
			require.NoError(t, err)
			t.Cleanup(func() { n.Close() })
			measured, err := cnodeotel.Start(n, all.options())
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, measured.Close()) })
			require.NoError(t, n.Start(ctx))
			return n
		}
		front, shop := start("front"), start("shop")
		shop.Expose("shop", "label", nodes.FuncOf(func(ctx context.Context) string { return fmt.Sprint(nodes.TraceLabelOf(ctx)) }))
		_, err := shop.Serve("orders", nodes.Server{On: map[string]nodes.Func{"add": nodes.FuncOf(func(i int) (int, error) {
			if i < 0 {
				return 0, errors.New("negative")
			}
			return i + 1, nil
		})}}, nil)
		require.NoError(t, err)
		erl.Do(t, fmt.Sprintf(`Server = fun(F) -> spawn(fun() -> (fun Loop() -> receive
				{'$gen_call', From, Request} -> gen:reply(From, F(Request)), Loop() end end)() end) end,
			register(second, Server(fun(X) -> gen_server:call({orders, '%[1]s'}, {add, X}) end)),
			register(first, Server(fun(X) -> gen_server:call(second, X) end)),
			pong = net_adm:ping('%[1]s')`, shop.Name())) // a BEAM's message that makes the connection has no such token

		// Go, Erlang, Erlang, Go
		rooted, root := all.traces.Tracer("test").Start(ctx, "root")
		reply, err := front.CallName(rooted, erl.Name(), "first", 41)
		require.NoError(t, err)
		require.Equal(t, ei.Int(42), reply)
		_, err = front.CallName(rooted, erl.Name(), "first", -1)
		require.NoError(t, err)
		root.End()
		trace := root.SpanContext().TraceID()
		made := all.span(t, func(s *wire.Span) bool { return s.Name == "first/call" })
		served := all.span(t, func(s *wire.Span) bool {
			return s.Name == "orders/add" && s.Status.GetCode() == wire.Status_STATUS_CODE_UNSET
		})
		wrong := all.span(t, func(s *wire.Span) bool {
			return s.Name == "orders/add" && s.Status.GetCode() == wire.Status_STATUS_CODE_ERROR
		})
		for _, s := range []*wire.Span{made, served, wrong} {
			require.Equal(t, trace[:], s.TraceId, s)
			require.Equal(t, "erlang", attr(s.Attributes, "rpc.system.name"))
		}
		rootID := root.SpanContext().SpanID()
		require.Equal(t, rootID[:], made.ParentSpanId)
		require.Equal(t, wire.Span_SPAN_KIND_CLIENT, made.Kind)
		require.Equal(t, "127.0.0.1", attr(made.Attributes, "server.address"))
		require.Equal(t, wire.Span_SPAN_KIND_SERVER, served.Kind)
		require.Equal(t, "orders/add", attr(served.Attributes, "rpc.method"))
		require.Equal(t, erl.Name(), attr(served.Attributes, "erlang.peer.node"))
		require.Equal(t, "error", attr(wrong.Attributes, "error.type"))
		parents := [][]byte{made.SpanId}
		all.mu.Lock()
		for _, s := range all.spans {
			if s.Name == "first/call" {
				parents = append(parents, s.SpanId)
			}
		}
		all.mu.Unlock()
		require.Contains(t, parents, served.ParentSpanId, "the parent is the call by which it all began")

		// Erlang, Go
		const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		answer := erl.Eval(t, fmt.Sprintf(`seq_trace:set_token(label, [{<<"traceparent">>, <<"%s">>}]), L = rpc:call('%s', shop, label, []),
			seq_trace:set_token([]), L`, parent, shop.Name()))
		require.Contains(t, answer, "0af7651916cd43dd8448eb211c80319c", "the function's own calls carry the trace on")
		require.NotContains(t, answer, "b7ad6b7169203331", "as children of its span")
		s := all.span(t, func(s *wire.Span) bool { return s.Name == "shop/label" })
		require.Equal(t, "0af7651916cd43dd8448eb211c80319c", fmt.Sprintf("%x", s.TraceId))
		require.Equal(t, "b7ad6b7169203331", fmt.Sprintf("%x", s.ParentSpanId))

		// a label of the program's own
		require.Equal(t, `<<"{mine,7}">>`, erl.Eval(t, fmt.Sprintf(`seq_trace:set_token(label, {mine, 7}), L = rpc:call('%s', shop, label, []),
			seq_trace:set_token([]), L`, shop.Name())))
		s = all.span(t, func(s *wire.Span) bool { return attr(s.Attributes, "erlang.seq_trace.label") != "" })
		require.Equal(t, "{mine,7}", attr(s.Attributes, "erlang.seq_trace.label"))
		require.Empty(t, s.ParentSpanId)

		require.NoError(t, all.metrics.ForceFlush(ctx))
		all.mu.Lock()
		defer all.mu.Unlock()
		for _, name := range []string{
			"rpc.server.call.duration", "rpc.client.call.duration", "cnode.connection.up", "cnode.connection.count", "cnode.message.count",
			"cnode.message.size", "cnode.state", "cnode.mailbox.count", "cnode.call.running",
		} {
			require.Contains(t, all.collector.metrics, name)
		}
		var errs, calls uint64
		for _, p := range all.collector.metrics["rpc.server.call.duration"].GetHistogram().GetDataPoints() {
			if attr(p.Attributes, "rpc.method") == "orders/add" {
				calls += p.Count
				if attr(p.Attributes, "error.type") == "error" {
					errs += p.Count
				}
			}
		}
		require.Equal(t, []uint64{2, 1}, []uint64{calls, errs})
	})
}

// A world is nodes in memory.
type world struct {
	*cluster.Cluster
	t testing.TB
}

func newWorld(t testing.TB) *world { return &world{cluster.New(t), t} }

// start starts a node; nil: nobody measures it.
func (w *world) start(name string, o *cnodeotel.Options) *nodes.Node {
	n := w.New(w.Config(name))
	if o != nil {
		measured, err := cnodeotel.Start(n, o)
		require.NoError(w.t, err)
		w.t.Cleanup(func() { require.NoError(w.t, measured.Close()) })
	}
	require.NoError(w.t, n.Start(expect.Context(w.t)))
	return n
}

// What a peer says is a trace goes no further if it is not trusted, and methods have a limit.
func TestTrustAndLimits(t *testing.T) {
	all, ctx, w := newTelemetry(t), expect.Context(t), newWorld(t)
	start := w.start
	o := all.options()
	o.Trusts, o.MaxFunctions = func(string) bool { return false }, 1
	shop, web := start("shop@host", o), start("web@host", nil)
	for _, name := range []string{"first", "second"} {
		shop.Expose("f", name, nodes.FuncOf(func() int { return 1 }))
		label := ei.List{ei.Tuple{ei.Binary("traceparent"), ei.Binary("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")}}
		_, err := web.ERPC(nodes.WithTraceLabel(ctx, label), "shop@host", "f", name)
		require.NoError(t, err)
	}
	s := all.span(t, func(s *wire.Span) bool { return s.Name == "f/second" })
	require.Empty(t, s.ParentSpanId)
	require.NotEqual(t, "0af7651916cd43dd8448eb211c80319c", fmt.Sprintf("%x", s.TraceId))
	require.NoError(t, all.metrics.ForceFlush(ctx))
	all.mu.Lock()
	defer all.mu.Unlock()
	var methods []string
	for _, p := range all.collector.metrics["rpc.server.call.duration"].GetHistogram().GetDataPoints() {
		methods = append(methods, attr(p.Attributes, "rpc.method"))
	}
	require.ElementsMatch(t, []string{"f/first", "_OTHER"}, methods)
}

// Spans arrive whatever was called and however long an error is: one that no backend takes would
// take the whole batch along.
func TestOddTexts(t *testing.T) {
	all, ctx, w := newTelemetry(t), expect.Context(t), newWorld(t)
	shop, web := w.start("shop@host", all.options()), w.start("web@host", nil)
	sender, err := shop.NewMailbox(nil)
	require.NoError(t, err)
	odd := []string{
		"\xff\xfe", strings.Repeat("\xff", 5<<20), strings.Repeat("x", 5<<20), "", "a\x00b", "\x1b[2J", `"a"'b'\`, "a\nb", "@", "a@\xff",
	}
	web.Expose("web", "fail", nodes.FuncOf(func(i int) (int, error) {
		return 0, &nodes.Raise{Class: nodes.ClassError, Reason: ei.Binary(odd[i])}
	}))
	var calls int
	shop.Expose("shop", "fail", nodes.FuncOf(func(i int) (int, error) { return 0, errors.New(odd[i]) }))
	for i, name := range odd {
		_, err := shop.RPC(ctx, web.Name(), name, name)
		require.Error(t, err)
		_, err = shop.CallName(ctx, web.Name(), name, ei.Atom("x"))
		require.Error(t, err)
		_, err = shop.ERPC(ctx, name, "m", "f")
		require.Error(t, err)
		_, err = shop.ERPC(ctx, web.Name(), "web", "fail", i)
		require.Error(t, err)
		_, err = web.ERPC(ctx, shop.Name(), "shop", "fail", i)
		require.Error(t, err)
		_ = sender.SendName(nodes.WithTraceLabel(ctx, ei.Binary(name)), web.Name(), "nobody", ei.Atom("x"))
		_, err = web.ERPC(nodes.WithTraceLabel(ctx, ei.Atom("label"+name[:min(len(name), 20)])), shop.Name(), "m", "f")
		require.Error(t, err)
		calls += 6
	}
	require.Eventually(t, func() bool {
		require.NoError(t, all.traces.ForceFlush(ctx))
		all.mu.Lock()
		defer all.mu.Unlock()
		return len(all.spans) == calls
	}, expect.Limit, expect.Limit/1000)
	require.NoError(t, all.metrics.ForceFlush(ctx))
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, s := range all.spans {
		require.LessOrEqual(t, len(s.Name), 2*1024+1)
		require.LessOrEqual(t, len(s.Status.GetMessage()), 1024)
		for _, a := range s.Attributes {
			require.LessOrEqual(t, len(a.Value.GetStringValue()), 2*1024+1)
		}
	}
}

// A call within the node has no other node, not one without a name.
func TestLocalCallsHaveNoPeer(t *testing.T) {
	all, ctx, w := newTelemetry(t), expect.Context(t), newWorld(t)
	shop := w.start("shop@host", all.options())
	shop.Expose("shop", "quote", nodes.FuncOf(func() int { return 1 }))
	_, err := shop.ERPC(ctx, shop.Name(), "shop", "quote")
	require.NoError(t, err)
	for _, kind := range []wire.Span_SpanKind{wire.Span_SPAN_KIND_CLIENT, wire.Span_SPAN_KIND_SERVER} {
		s := all.span(t, func(s *wire.Span) bool { return s.Kind == kind })
		for _, a := range s.Attributes {
			require.NotContains(t, []string{"erlang.peer.node", "server.address", "client.address"}, a.Key)
			require.NotEmpty(t, a.Value.GetStringValue(), a.Key)
		}
	}
}

// The span of a function that has panicked says why, that of a Server, too.
func TestPanicsSayWhy(t *testing.T) {
	all, ctx, w := newTelemetry(t), expect.Context(t), newWorld(t)
	shop, web := w.start("shop@host", all.options()), w.start("web@host", nil)
	bug := nodes.FuncOf(func() int { panic("no price") })
	shop.Expose("shop", "quote", bug)
	_, err := shop.Serve("orders", nodes.Server{On: map[string]nodes.Func{"add": bug}}, nil)
	require.NoError(t, err)
	_, err = web.ERPC(ctx, shop.Name(), "shop", "quote")
	require.Error(t, err)
	_, err = web.CallName(ctx, shop.Name(), "orders", ei.Atom("add"))
	require.Error(t, err)
	for _, name := range []string{"shop/quote", "orders/add"} {
		s := all.span(t, func(s *wire.Span) bool { return s.Name == name })
		require.Equal(t, "panic", attr(s.Attributes, "error.type"))
		require.Contains(t, s.Status.GetMessage(), "no price")
	}
}

// up is how many connections of each peer have come up, as the last export has it.
func (c *telemetry) up(t testing.TB) map[string]int64 {
	require.NoError(t, c.metrics.ForceFlush(context.Background()))
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]int64{}
	for _, p := range c.collector.metrics["cnode.connection.up"].GetSum().GetDataPoints() {
		all[attr(p.Attributes, "erlang.peer.node")] = p.GetAsInt()
	}
	delete(c.collector.metrics, "cnode.connection.up")
	return all
}

// Peers that are gone, and those that are there for a command, take no room, and are forgotten.
func TestPeersThatAreGone(t *testing.T) {
	all, ctx, w := newTelemetry(t), expect.Context(t), newWorld(t)
	o := all.options()
	o.MaxPeers, o.KeepPeers = 2, time.Hour
	shop := w.start("shop@host", o)
	join := func(n *nodes.Node) *nodes.Node {
		_, err := n.Connect(ctx, shop.Name())
		require.NoError(t, err)
		require.Eventually(t, func() bool { return shop.Conn(n.Name()) != nil }, expect.Limit, time.Millisecond)
		return n
	}
	gone := func(n *nodes.Node) {
		require.NoError(t, n.Close())
		require.Eventually(t, func() bool { return shop.Conn(n.Name()) == nil }, expect.Limit, time.Millisecond)
	}
	for i := range 5 {
		cfg := w.Config("")
		cfg.Host = "host"
		gone(join(w.New(cfg)))
		gone(join(w.start(fmt.Sprintf("pod%d@host", i), nil)))
	}
	join(w.start("web@host", nil))
	require.Eventually(t, func() bool { return len(all.up(t)) == 3 }, expect.Limit, time.Millisecond)
	require.Equal(t, map[string]int64{"temporary": 5, "pod4@host": 1, "web@host": 1}, all.up(t))

	o.KeepPeers = time.Nanosecond
	other := w.start("other@host", o)
	pod := w.start("pod@host", nil)
	_, err := pod.Connect(ctx, other.Name())
	require.NoError(t, err)
	require.Eventually(t, func() bool { return all.up(t)["pod@host"] == 1 }, expect.Limit, time.Millisecond)
	require.NoError(t, pod.Close())
	require.Eventually(t, func() bool { return all.up(t)["pod@host"] == 0 }, expect.Limit, time.Millisecond)
}

func ExampleStart() {
	otel.SetTextMapPropagator(propagation.TraceContext{}) // and the providers, as in any program
	n, err := nodes.New(nodes.Config{Name: "shop@host", Cookie: "secret"})
	if err != nil {
		return
	}
	t, err := cnodeotel.Start(n, nil)
	if err != nil {
		return
	}
	defer t.Close()
	_ = n.Start(context.Background())
}
