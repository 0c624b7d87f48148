// Package cnodeprom shows a node of package nodes to Prometheus: its connections, messages, calls
// and limits, and what goes wrong.
//
//	n, err := nodes.New(cfg)
//	prometheus.MustRegister(cnodeprom.New(n, nil)) // before n.Start
//	http.Handle("/metrics", promhttp.Handler())
//
// dashboard.json beside this package is a dashboard of Grafana for these metrics;
// docs/operate/metrics.md has a list of them, and alerts. A worker of a node with several
// (workers.Front) is measured by itself: call New in Config.Setup, and have each worker scraped.
package cnodeprom

import (
	"cmp"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/metrics"
)

// The values that stand for zeros in Options.
const (
	DefaultMaxPeers     = 100
	DefaultKeepPeers    = 15 * time.Minute
	DefaultMaxFunctions = 100
)

// Options of a Collector. nil, and the zero Options, are the defaults.
type Options struct {
	// MaxPeers is how many peers have series of their own. A peer that comes when there are so many
	// takes the place of the one that has been gone for longest; if all of them are there it is
	// counted as peer "other". Those that are there for a command only (metrics.Conn.Temporary) are
	// counted as peer "temporary". So a cluster whose nodes come and go under new names does not fill
	// Prometheus.
	MaxPeers int
	// KeepPeers is for how long a peer that is gone keeps its series: longer than the ranges of the
	// alerts that ask for them. If it comes back later its counters begin at 0, as after a restart
	// of this node, which rate and increase allow for.
	KeepPeers time.Duration
	// MaxFunctions is how many functions and servers have series of their own, of those that are
	// called here and of those that this node calls. The rest is module "other".
	MaxFunctions int
	// ConstLabels are on all series, such as {"node": n.Name()} if one program has several nodes.
	ConstLabels prometheus.Labels
}

// A Collector has the metrics of a node. It is a prometheus.Collector.
type Collector struct {
	n    *nodes.Node
	o    Options
	stop func()

	conns sync.Map // *metrics.Conn to *peer
	peers metrics.Peers[peer]
	mu    sync.Mutex
	known map[bool]map[[3]string]bool // functions with series of their own, by Out

	handshakes *prometheus.CounterVec
	full       prometheus.Counter
	descs      map[string]*prometheus.Desc
}

// A peer counts what happens with one peer, or all others.
type peer struct {
	up, queueFull, ticksMissed, overflows atomic.Int64
	in, out                               traffic
	ended, denied                         counts // by cause, by op
}

// counts count by a word.
type counts struct {
	mu sync.Mutex
	of map[string]int64
}

func (c *counts) add(word string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[string]int64{}
	}
	c.of[word]++
}

// all has the counts, and zeros for words that have not come yet: Prometheus sees no increase in a
// series that begins with 1.
func (c *counts) all(zeros ...string) map[string]int64 {
	all := map[string]int64{}
	for _, word := range zeros {
		all[word] = 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.Copy(all, c.of)
	return all
}

type traffic struct {
	messages [metrics.Sizes]atomic.Int64
	bytes    atomic.Int64
}

func (t *traffic) add(bytes int) {
	t.messages[metrics.SizeOf(bytes)].Add(1)
	t.bytes.Add(int64(bytes))
}

// The metrics that Collect makes, with their labels.
var described = []struct {
	name, help string
	labels     []string
}{
	{"cnode_state", "The state of the node: 1 for the one that it is in.", []string{"state"}},
	{"cnode_published", "Whether the node is found under its name: not after it has begun to drain, or its listener has broken.", nil},
	{"cnode_connections", "Connections to other nodes that are up.", []string{"peer"}},
	{"cnode_connections_up_total", "Connections to other nodes that came up.", []string{"peer"}},
	{"cnode_connections_ended_total", "Connections that ended, by cause.", []string{"peer", "cause"}},
	{"cnode_denied_total", "What Config.Rules have refused.", []string{"peer", "op"}},
	{"cnode_messages_total", "Messages over connections, by the size of their frames: the largest of the class.",
		[]string{"peer", "direction", "size"}},
	{"cnode_message_bytes_total", "Bytes of messages over connections.", []string{"peer", "direction"}},
	{"cnode_queue_bytes", "Bytes that wait for a peer to read.", []string{"peer"}},
	{"cnode_queue_full_total", "Senders that had to wait, since the peer does not read fast enough (Config.QueueLimit).", []string{"peer"}},
	{"cnode_ticks_missed_total", "Intervals in which nothing came from a peer; the fourth in a row ends the connection.", []string{"peer"}},
	{"cnode_overflow_messages_total", "Messages of a peer that were kept beyond the limits of mailboxes.", []string{"peer"}},
	{"cnode_overflow_bytes", "Memory of messages beyond the limits of mailboxes (Config.OverflowLimit).", nil},
	{"cnode_mailboxes", "Processes of the node.", nil},
	{"cnode_mailbox_messages", "Messages that a registered process has not received yet.", []string{"process"}},
	{"cnode_mailbox_bytes", "Memory of messages that a registered process has not received yet.", []string{"process"}},
	{"cnode_malformed_total", "Frames and control messages of peers that are malformed.", nil},
	{"cnode_undeliverable_total", "Messages to processes that do not exist.", nil},
	{"cnode_calls_running", "Functions that run for callers: places of Config.MaxCalls.", nil},
	{"cnode_calls_waiting", "Calls that wait for a place.", nil},
	{"cnode_calls_refused_total", "Calls that were refused, since their peer had its share of memory.", nil},
	{"cnode_panics_total", "Functions of the program that have panicked, by what called them.", []string{"kind"}},
	{"cnode_calls_total", "Calls that are over: served (in), or made (out).",
		[]string{"direction", "kind", "module", "function", "outcome"}},
	{"cnode_call_duration_seconds", "How long functions ran (in), or answers took (out).",
		[]string{"direction", "kind", "module", "function"}},
}

// New measures a node (see nodes.Node.Measure), and makes a Collector of what it finds. Call it
// before the node starts, or in Config.Setup. o may be nil.
func New(n *nodes.Node, o *Options) *Collector {
	c := &Collector{n: n, known: map[bool]map[[3]string]bool{false: {}, true: {}}}
	if o != nil {
		c.o = *o
	}
	c.peers.Most, c.peers.Keep = c.o.MaxPeers, c.o.KeepPeers
	if c.peers.Most <= 0 {
		c.peers.Most = DefaultMaxPeers
	}
	if c.peers.Keep <= 0 {
		c.peers.Keep = DefaultKeepPeers
	}
	if c.o.MaxFunctions <= 0 {
		c.o.MaxFunctions = DefaultMaxFunctions
	}
	c.handshakes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cnode_handshakes_failed_total", ConstLabels: c.o.ConstLabels,
		Help: "Handshakes that failed, begun by others (in) or here (out), by cause.",
	}, []string{"direction", "cause"})
	for _, way := range []string{"in", "out"} { // see counts.all
		for _, cause := range []string{"cookie", "timeout", "refused", "incompatible", "unreachable", "crowded", "error"} {
			c.handshakes.WithLabelValues(way, cause)
		}
	}
	c.full = prometheus.NewCounter(prometheus.CounterOpts{Name: "cnode_mailboxes_full_total",
		Help: "Processes that ended, since nobody received from them.", ConstLabels: c.o.ConstLabels})
	c.descs = map[string]*prometheus.Desc{}
	for _, d := range described {
		c.descs[d.name] = prometheus.NewDesc(d.name, d.help, d.labels, c.o.ConstLabels)
	}
	c.stop = n.Measure(c.hooks())
	return c
}

// Close ends the measurement: what counts events stands still from now on.
func (c *Collector) Close() { c.stop() }

func (c *Collector) hooks() *metrics.Hooks {
	return &metrics.Hooks{
		ConnUp: func(conn *metrics.Conn) {
			p := c.peers.Up(conn)
			p.up.Add(1)
			c.conns.Store(conn, p)
		},
		ConnDown: func(conn *metrics.Conn, cause string, _ error) {
			c.conns.Delete(conn)
			c.peers.Down(conn).ended.add(cause)
		},
		HandshakeFailed: func(h metrics.Handshake) { c.handshakes.WithLabelValues(direction(h.Initiated), h.Cause).Inc() },
		MessageIn:       func(conn *metrics.Conn, bytes int) { c.of(conn).in.add(bytes) },
		MessageOut:      func(conn *metrics.Conn, bytes int) { c.of(conn).out.add(bytes) },
		QueueFull:       func(conn *metrics.Conn) { c.of(conn).queueFull.Add(1) },
		TickMissed:      func(conn *metrics.Conn) { c.of(conn).ticksMissed.Add(1) },
		Overflow:        func(name string, _ int) { c.named(cmp.Or(name, "local")).overflows.Add(1) },
		MailboxFull:     func(string) { c.full.Inc() },
		Denied:          func(name, op, _ string) { c.named(name).denied.add(op) },
	}
}

// direction is that of a call, a message or a handshake.
func direction(out bool) string {
	if out {
		return "out"
	}
	return "in"
}

// of is the peer of a connection.
func (c *Collector) of(conn *metrics.Conn) *peer {
	if p, ok := c.conns.Load(conn); ok {
		return p.(*peer)
	}
	return c.peers.OfConn(conn) // it came up before New, or has just ended
}

func (c *Collector) named(name string) *peer {
	_, p := c.peers.Of(name)
	return p
}

// Describe is part of prometheus.Collector.
func (c *Collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
	c.handshakes.Describe(out)
	c.full.Describe(out)
}

// Collect is part of prometheus.Collector.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	c.handshakes.Collect(out)
	c.full.Collect(out)
	s, state := c.n.Stats(), c.n.State()
	c.mu.Lock() // one at a time
	defer c.mu.Unlock()
	send := func(kind prometheus.ValueType, name string, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(c.descs[name], kind, v, labels...)
	}
	gauge := func(name string, v int, labels ...string) { send(prometheus.GaugeValue, name, float64(v), labels...) }
	count := func(name string, v int64, labels ...string) {
		send(prometheus.CounterValue, name, float64(v), labels...)
	}

	for is := nodes.StateStarting; is <= nodes.StateClosed; is++ {
		gauge("cnode_state", one(is == state), is.String())
	}
	gauge("cnode_published", one(s.Published))
	gauge("cnode_overflow_bytes", s.Overflow)
	gauge("cnode_mailboxes", s.Mailboxes)
	gauge("cnode_calls_running", s.Calls)
	gauge("cnode_calls_waiting", s.CallsWaiting)
	count("cnode_calls_refused_total", s.CallsRefused)
	count("cnode_malformed_total", s.Malformed)
	count("cnode_undeliverable_total", s.Undeliverable)

	for _, q := range s.Queues {
		gauge("cnode_mailbox_messages", q.Messages, q.Name)
		gauge("cnode_mailbox_bytes", q.Bytes, q.Name)
	}
	up, queued := map[string]int{}, map[string]int{}
	for _, p := range s.Peers {
		name, _ := c.peers.Of(p.Name)
		up[name]++
		queued[name] += p.BytesQueued
	}
	for name, p := range c.peers.All() {
		gauge("cnode_connections", up[name], name)
		gauge("cnode_queue_bytes", queued[name], name)
		count("cnode_connections_up_total", p.up.Load(), name)
		for cause, n := range p.ended.all("tick_timeout", "malformed", "error") {
			count("cnode_connections_ended_total", n, name, cause)
		}
		for op, n := range p.denied.all() {
			count("cnode_denied_total", n, name, op)
		}
		count("cnode_queue_full_total", p.queueFull.Load(), name)
		count("cnode_ticks_missed_total", p.ticksMissed.Load(), name)
		count("cnode_overflow_messages_total", p.overflows.Load(), name)
		for way, t := range map[string]*traffic{"in": &p.in, "out": &p.out} {
			for size := range t.messages {
				if n := t.messages[size].Load(); n > 0 {
					count("cnode_messages_total", n, name, way, metrics.Size(size).String())
				}
			}
			count("cnode_message_bytes_total", t.bytes.Load(), name, way)
		}
	}
	c.collectCalls(s.Functions, count, out)
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}

// collectCalls sends what is known of functions, those beyond MaxFunctions together.
func (c *Collector) collectCalls(all []metrics.CallStats, count func(string, int64, ...string), out chan<- prometheus.Metric) {
	type series struct {
		outcomes map[metrics.Outcome]int64
		latency  metrics.Histogram
	}
	sums := map[[4]string]*series{}
	panics := map[metrics.Kind]int64{metrics.KindFunction: 0, metrics.KindServer: 0} // from the start: see counts.all
	for _, f := range all {
		if !f.Out {
			panics[f.Kind] += f.Outcomes[metrics.OutcomePanicked]
		}
		known, is := c.known[f.Out], [3]string{string(f.Kind), f.Module, f.Function}
		switch {
		case known[is]:
		case f.Module == metrics.Other || len(known) >= c.o.MaxFunctions:
			is[1], is[2] = metrics.Other, ""
		default:
			known[is] = true
		}
		to := [4]string{direction(f.Out), is[0], is[1], is[2]}
		sum := sums[to]
		if sum == nil {
			sums[to] = &series{f.Outcomes, f.Latency}
			continue
		}
		for outcome, n := range f.Outcomes {
			sum.outcomes[outcome] += n
		}
		for i, n := range f.Latency.Counts {
			sum.latency.Counts[i] += n
		}
		sum.latency.Sum += f.Latency.Sum
	}
	for kind, n := range panics {
		count("cnode_panics_total", n, string(kind))
	}
	for labels, sum := range sums {
		sum.outcomes[metrics.OutcomePanicked] += 0 // see counts.all
		for outcome, n := range sum.outcomes {
			count("cnode_calls_total", n, append(labels[:], string(outcome))...)
		}
		buckets, n := map[float64]uint64{}, uint64(0)
		for i, bound := range sum.latency.Bounds {
			n += uint64(sum.latency.Counts[i])
			buckets[bound.Seconds()] = n
		}
		n += uint64(sum.latency.Counts[len(sum.latency.Bounds)])
		out <- prometheus.MustNewConstHistogram(c.descs["cnode_call_duration_seconds"], n, sum.latency.Sum.Seconds(), buckets, labels[:]...)
	}
}
