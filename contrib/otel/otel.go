// Package cnodeotel gives a node of package nodes OpenTelemetry's traces and metrics: a span for
// each call that the node serves or makes, and what happens with connections.
//
//	n, err := nodes.New(cfg)
//	t, err := cnodeotel.Start(n, nil) // before n.Start; with the global providers and propagator
//	defer t.Close()
//
// The context of a function carries its span, and a call made with that context is a span below it.
//
// # From node to node
//
// A trace goes along in the label of the token of sequential tracing (seq_trace) that each message
// of Erlang's distribution may have: a list of pairs of binaries, what the propagator has injected,
// [{<<"traceparent">>, <<"00-…">>}]. Nothing in a message, or in a function's arguments, changes,
// and the processes of a BEAM pass the label on by themselves with what they send because of a
// message: from Go through any of them to Go it is one trace. In Erlang, with the library
// opentelemetry:
//
//	{label, Carrier} = seq_trace:get_token(label),
//	otel_propagator_text_map:extract(Carrier)                             % a call of Go's
//	seq_trace:set_token(label, otel_propagator_text_map:inject([]))       % a call to Go
//
// It goes only to nodes that announce that they take any term as a label, as those of OTP 21 and
// later do. A token with any other label is the program's own: it is passed on unchanged, is an
// attribute of the span, erlang.seq_trace.label, and no trace takes its place. A process of a BEAM
// keeps a token until it receives a message without one: an answer of erpc, say, is none with one,
// as between BEAMs. The message with which a BEAM makes a connection to a node arrives without (OTP
// 25 to 29).
package cnodeotel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/rpcconv"
	"go.opentelemetry.io/otel/trace"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/metrics"
)

const scope = "github.com/cnode-go/cnode/contrib/otel"

// The values that stand for zeros in Options.
const (
	DefaultMaxPeers     = 100
	DefaultKeepPeers    = 15 * time.Minute
	DefaultMaxFunctions = 100
)

// Options of Start. nil, and the zero Options, are the defaults.
type Options struct {
	// TracerProvider makes the spans; nil: the global one of package otel.
	TracerProvider trace.TracerProvider
	// MeterProvider has the metrics; nil: the global one of package otel.
	MeterProvider metric.MeterProvider
	// Propagator reads and writes the traces of messages; nil: the global one of package otel, which
	// is none unless the program sets one. propagation.TraceContext{} is W3C's.
	Propagator propagation.TextMapPropagator
	// Trusts tells whether a trace that a node sends goes on here; a caller may make up any. nil: all
	// do.
	Trusts func(peer string) bool
	// MaxPeers is how many peers have metrics of their own. A peer that comes when there are so many
	// takes the place of the one that has been gone for longest; if all of them are there it is peer
	// "other". Those that are there for a command only (metrics.Conn.Temporary) are peer "temporary".
	// Spans have the names.
	MaxPeers int
	// KeepPeers is for how long a peer that is gone keeps its metrics: longer than the interval in
	// which they are read. If it comes back later its counters begin at 0.
	KeepPeers time.Duration
	// MaxFunctions is how many functions have metrics of their own: those that come first. The rest
	// is method "_OTHER". Spans have the names.
	MaxFunctions int
}

// Telemetry is what Start has begun.
type Telemetry struct {
	n      *nodes.Node
	o      Options
	tracer trace.Tracer
	stop   func()
	seen   metric.Registration

	peers            metrics.Peers[peer]
	methods          names
	served           rpcconv.ServerCallDuration
	made             rpcconv.ClientCallDuration
	handshakes, full metric.Int64Counter
	in, out          traffic
}

// A peer counts what has happened with one peer, or all others.
type peer struct {
	mu     sync.Mutex
	events map[event]int64
}

// An event is what is counted of a peer, by its counter and what else it is counted by.
type event struct {
	counter string
	by      attribute.KeyValue // zero: nothing
}

func (p *peer) count(counter string, by attribute.KeyValue) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.events == nil {
		p.events = map[event]int64{}
	}
	p.events[event{counter, by}]++
}

func (p *peer) counts() map[event]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.events)
}

type traffic struct {
	messages [metrics.Sizes]atomic.Int64
	bytes    atomic.Int64
}

func (t *traffic) add(bytes int) {
	t.messages[metrics.SizeOf(bytes)].Add(1)
	t.bytes.Add(int64(bytes))
}

// names are those that came first.
type names struct {
	most  int
	other string
	mu    sync.Mutex
	known map[string]bool
}

// of is the name, or that of the others.
func (s *names) of(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.known[name] && len(s.known) >= s.most {
		return s.other
	}
	s.known[name] = true
	return name
}

// The attributes of spans and metrics that the semantic conventions have no word for.
const (
	attrPeer      = attribute.Key("erlang.peer.node")
	attrLabel     = attribute.Key("erlang.seq_trace.label")
	attrKind      = attribute.Key("erlang.call.kind")
	attrCause     = attribute.Key("cnode.cause")
	attrDirection = attribute.Key("cnode.direction")
	attrSize      = attribute.Key("cnode.size")
	attrState     = attribute.Key("cnode.state")
	attrProcess   = attribute.Key("erlang.process.name")
)

// Start measures a node (see nodes.Node.Measure). Call it before the node starts, or in
// Config.Setup. The error is that of an instrument that cannot be made. o may be nil.
func Start(n *nodes.Node, o *Options) (*Telemetry, error) {
	t := &Telemetry{n: n}
	if o != nil {
		t.o = *o
	}
	if t.o.TracerProvider == nil {
		t.o.TracerProvider = otel.GetTracerProvider()
	}
	if t.o.MeterProvider == nil {
		t.o.MeterProvider = otel.GetMeterProvider()
	}
	if t.o.Propagator == nil {
		t.o.Propagator = otel.GetTextMapPropagator()
	}
	if t.o.MaxPeers <= 0 {
		t.o.MaxPeers = DefaultMaxPeers
	}
	if t.o.MaxFunctions <= 0 {
		t.o.MaxFunctions = DefaultMaxFunctions
	}
	if t.o.KeepPeers <= 0 {
		t.o.KeepPeers = DefaultKeepPeers
	}
	t.peers.Most, t.peers.Keep = t.o.MaxPeers, t.o.KeepPeers
	t.methods = names{most: t.o.MaxFunctions, other: otherMethod, known: map[string]bool{}}
	t.tracer = t.o.TracerProvider.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL))
	if err := t.instruments(t.o.MeterProvider.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL))); err != nil {
		return nil, fmt.Errorf("telemetry of %s: %w", n.Name(), err)
	}
	t.stop = n.Measure(t.hooks())
	return t, nil
}

// Close ends the measurement. It does not close the providers.
func (t *Telemetry) Close() error {
	t.stop()
	return t.seen.Unregister()
}

// The counters of events with peers.
var counters = [...][2]string{
	{"cnode.connection.up", "Connections that came up, by peer."},
	{"cnode.connection.ended", "Connections that ended, by peer and cause."},
	{"cnode.queue.full", "Senders that had to wait for a peer to read."},
	{"cnode.tick.missed", "Intervals in which nothing came from a peer."},
	{"cnode.mailbox.overflow", "Messages of a peer that were kept beyond the limits of mailboxes."},
	{"cnode.denied", "What Config.Rules have refused, by peer and operation."},
}

func (t *Telemetry) instruments(m metric.Meter) error {
	var all []metric.Observable
	var failed []error
	note := func(o metric.Observable, err error) {
		all, failed = append(all, o), append(failed, err)
	}
	events := map[string]metric.Int64ObservableCounter{}
	for _, c := range counters {
		o, err := m.Int64ObservableCounter(c[0], metric.WithDescription(c[1]), metric.WithUnit("{event}"))
		note(o, err)
		events[c[0]] = o
	}
	gauge := func(name, description, unit string) metric.Int64ObservableUpDownCounter {
		o, err := m.Int64ObservableUpDownCounter(name, metric.WithDescription(description), metric.WithUnit(unit))
		note(o, err)
		return o
	}
	count := func(name, description, unit string) metric.Int64ObservableCounter {
		o, err := m.Int64ObservableCounter(name, metric.WithDescription(description), metric.WithUnit(unit))
		note(o, err)
		return o
	}
	state := gauge("cnode.state", "1 for the state that the node is in.", "1")
	connections := gauge("cnode.connection.count", "Connections that are up.", "{connection}")
	queued := gauge("cnode.queue.size", "Bytes that wait for a peer to read.", "By")
	mailboxes := gauge("cnode.mailbox.count", "Processes of the node.", "{process}")
	overflow := gauge("cnode.mailbox.overflow.size", "Memory of messages beyond the limits of mailboxes.", "By")
	unread := gauge("cnode.mailbox.message.count", "Messages that a registered process has not received yet.", "{message}")
	running := gauge("cnode.call.running", "Functions that run for callers.", "{call}")
	waiting := gauge("cnode.call.waiting", "Calls that wait for a place.", "{call}")
	refused := count("cnode.call.refused", "Calls that were refused for want of memory.", "{call}")
	undeliverable := count("cnode.message.undeliverable", "Messages to processes that do not exist.", "{message}")
	malformed := count("cnode.message.malformed", "Frames and control messages that are malformed.", "{message}")
	messages := count("cnode.message.count", "Messages over connections, by direction and size.", "{message}")
	bytes := count("cnode.message.size", "Bytes of messages over connections, by direction.", "By")
	var err error
	t.handshakes, err = m.Int64Counter("cnode.handshake.failed", metric.WithDescription("Handshakes that failed, by direction and cause."),
		metric.WithUnit("{event}"))
	failed = append(failed, err)
	t.full, err = m.Int64Counter("cnode.mailbox.full", metric.WithDescription("Processes that ended, since nobody received from them."),
		metric.WithUnit("{event}"))
	failed = append(failed, err)
	t.served, err = rpcconv.NewServerCallDuration(m)
	failed = append(failed, err)
	t.made, err = rpcconv.NewClientCallDuration(m)
	if err := errors.Join(append(failed, err)...); err != nil {
		return err
	}
	t.seen, err = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := t.n.Stats()
		o.ObserveInt64(state, 1, metric.WithAttributes(attrState.String(t.n.State().String())))
		up := map[string][2]int{}
		for _, p := range s.Peers {
			name, _ := t.peers.Of(p.Name)
			up[name] = [2]int{up[name][0] + 1, up[name][1] + p.BytesQueued}
		}
		for name, p := range t.peers.All() {
			of := metric.WithAttributes(attrPeer.String(name))
			if sum, is := up[name]; is {
				o.ObserveInt64(connections, int64(sum[0]), of)
				o.ObserveInt64(queued, int64(sum[1]), of)
			}
			for e, n := range p.counts() {
				if e.by.Valid() {
					o.ObserveInt64(events[e.counter], n, of, metric.WithAttributes(e.by))
				} else {
					o.ObserveInt64(events[e.counter], n, of)
				}
			}
		}
		for _, q := range s.Queues {
			o.ObserveInt64(unread, int64(q.Messages), metric.WithAttributes(attrProcess.String(q.Name)))
		}
		o.ObserveInt64(mailboxes, int64(s.Mailboxes))
		o.ObserveInt64(overflow, int64(s.Overflow))
		o.ObserveInt64(running, int64(s.Calls))
		o.ObserveInt64(waiting, int64(s.CallsWaiting))
		o.ObserveInt64(refused, s.CallsRefused)
		o.ObserveInt64(undeliverable, s.Undeliverable)
		o.ObserveInt64(malformed, s.Malformed)
		for way, sum := range map[string]*traffic{"in": &t.in, "out": &t.out} {
			for size := range sum.messages {
				if n := sum.messages[size].Load(); n > 0 {
					o.ObserveInt64(messages, n, metric.WithAttributes(attrDirection.String(way), attrSize.String(metrics.Size(size).String())))
				}
			}
			o.ObserveInt64(bytes, sum.bytes.Load(), metric.WithAttributes(attrDirection.String(way)))
		}
		return nil
	}, all...)
	return err
}

func (t *Telemetry) hooks() *metrics.Hooks {
	named := func(name string) *peer {
		_, p := t.peers.Of(name)
		return p
	}
	none := attribute.KeyValue{}
	return &metrics.Hooks{
		ConnUp: func(c *metrics.Conn) { t.peers.Up(c).count("cnode.connection.up", none) },
		ConnDown: func(c *metrics.Conn, cause string, _ error) {
			t.peers.Down(c).count("cnode.connection.ended", attrCause.String(cause))
		},
		HandshakeFailed: func(h metrics.Handshake) {
			way := "in"
			if h.Initiated {
				way = "out"
			}
			t.handshakes.Add(context.Background(), 1, metric.WithAttributes(attrDirection.String(way), attrCause.String(h.Cause)))
		},
		MessageIn:   func(_ *metrics.Conn, bytes int) { t.in.add(bytes) },
		MessageOut:  func(_ *metrics.Conn, bytes int) { t.out.add(bytes) },
		QueueFull:   func(c *metrics.Conn) { t.peers.OfConn(c).count("cnode.queue.full", none) },
		TickMissed:  func(c *metrics.Conn) { t.peers.OfConn(c).count("cnode.tick.missed", none) },
		Overflow:    func(name string, _ int) { named(cmp.Or(name, "local")).count("cnode.mailbox.overflow", none) },
		MailboxFull: func(string) { t.full.Add(context.Background(), 1) },
		Denied:      func(name, op, _ string) { named(name).count("cnode.denied", attrKind.String(op)) },
		CallBegun:   t.begin,
		CallEnded:   t.end,
	}
}

// otherMethod is the method that is not known, or beyond the limit: see rpc.method of the
// conventions.
const otherMethod = "_OTHER"

// method is the name of what is called by the conventions: shop/quote.
func method(c *metrics.CallInfo) string {
	if c.Module == "" {
		return otherMethod
	}
	return c.Module + "/" + c.Function
}

type spanKey struct{ t *Telemetry }

func (t *Telemetry) trusts(peer string) bool { return t.o.Trusts == nil || t.o.Trusts(peer) }

// begin begins the span of a call.
func (t *Telemetry) begin(ctx context.Context, c *metrics.CallInfo) context.Context {
	name := method(c)
	attrs := []attribute.KeyValue{semconv.RPCSystemNameKey.String("erlang"), semconv.RPCMethod(name), attrKind.String(string(c.Kind))}
	if name == otherMethod {
		name = "erlang"
	}
	kind := trace.SpanKindServer
	if c.Out {
		kind = trace.SpanKindClient
	}
	attrs = append(attrs, of(c)...)
	label := nodes.TraceLabelOf(ctx)
	carrier, ours := carried(label)
	if label != nil && !ours {
		attrs = append(attrs, attrLabel.String(metrics.Clip(ei.Brief(label, 100))))
	}
	if ours && !trace.SpanContextFromContext(ctx).IsValid() && (c.Out || t.trusts(c.Peer)) {
		ctx = t.o.Propagator.Extract(ctx, carrier)
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(attrs...))
	ctx = context.WithValue(ctx, spanKey{t}, span) // others that measure may put theirs on top of it
	if label == nil || ours {
		ctx = t.Inject(ctx)
	}
	return ctx
}

// of says who the other node is: nothing of a call within this one.
func of(c *metrics.CallInfo) (attrs []attribute.KeyValue) {
	if c.Peer == "" {
		return nil
	}
	attrs = append(attrs, attrPeer.String(c.Peer))
	_, host, _ := strings.Cut(c.Peer, "@")
	switch {
	case host == "": // the program has called what is no node
	case c.Out:
		attrs = append(attrs, semconv.ServerAddress(host))
	default:
		attrs = append(attrs, semconv.ClientAddress(host))
	}
	return attrs
}

// end ends the span of a call, and counts the call.
func (t *Telemetry) end(ctx context.Context, c *metrics.CallInfo) {
	attrs := []attribute.KeyValue{semconv.RPCResponseStatusCodeKey.String(string(c.Outcome))}
	span, ok := ctx.Value(spanKey{t}).(trace.Span)
	if !ok {
		return
	}
	if c.Outcome != metrics.OutcomeOK {
		attrs = append(attrs, semconv.ErrorTypeKey.String(string(c.Outcome)))
		if c.Err != nil {
			span.SetStatus(codes.Error, metrics.Clip(c.Err.Error()))
		} else {
			span.SetStatus(codes.Error, string(c.Outcome))
		}
	}
	span.SetAttributes(attrs...)
	span.End()
	attrs = append(attrs, semconv.RPCMethod(t.methods.of(method(c))))
	if c.Out {
		t.made.Record(ctx, c.Duration.Seconds(), system, attrs...)
	} else {
		t.served.Record(ctx, c.Duration.Seconds(), system, attrs...)
	}
}

const system = rpcconv.SystemNameAttr("erlang")

// Inject has messages that are sent with the context carry its span, in place of what they would
// carry: for casts, Send and its kin outside of functions. Calls do so by themselves.
func (t *Telemetry) Inject(ctx context.Context) context.Context {
	c := propagation.MapCarrier{}
	t.o.Propagator.Inject(ctx, c)
	if len(c) == 0 {
		return ctx
	}
	var label ei.List
	for _, key := range c.Keys() {
		label = append(label, ei.Tuple{ei.Binary(key), ei.Binary(c[key])})
	}
	return nodes.WithTraceLabel(ctx, label)
}

// Extract derives a context for what is done because of a message, in a Handler, or by whoever
// receives from a Mailbox: spans that are started with it are in the message's trace. Functions
// have that by themselves.
func (t *Telemetry) Extract(ctx context.Context, m *nodes.Message) context.Context {
	ctx = m.WithTraceOf(ctx)
	peer := ""
	if c := m.Conn(); c != nil {
		peer = c.Name()
	}
	if c, ours := carried(nodes.TraceLabelOf(ctx)); ours && t.trusts(peer) {
		ctx = t.o.Propagator.Extract(ctx, c)
	}
	return ctx
}

// mostPairs is how many pairs a label may have: traceparent, tracestate, baggage, and some more.
const mostPairs = 16

// carried reads a label as a list of pairs of texts; false: it is something else.
func carried(label ei.Term) (propagation.MapCarrier, bool) {
	list, ok := label.(ei.List)
	if !ok || len(list) == 0 || len(list) > mostPairs {
		return nil, false
	}
	c := propagation.MapCarrier{}
	for _, t := range list {
		pair, ok := t.(ei.Tuple)
		if !ok || len(pair) != 2 {
			return nil, false
		}
		key, ok1 := text(pair[0])
		value, ok2 := text(pair[1])
		if !ok1 || !ok2 {
			return nil, false
		}
		c[key] = value
	}
	return c, true
}

func text(t ei.Term) (string, bool) {
	if b, ok := t.(ei.Binary); ok {
		return string(b), true
	}
	return ei.Charlist(t)
}
