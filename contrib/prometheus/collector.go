// Package cnodeprom shows a node of package nodes to Prometheus: its connections, messages, calls
// and limits, and what goes wrong.
//
//	n, err := nodes.New(cfg)
//	prometheus.MustRegister(cnodeprom.New(n, nil)) // before n.Start
//	http.Handle("/metrics", promhttp.Handler())
//
// dashboard.json beside this package is a dashboard of Grafana for these metrics; docs/metrics.md
// has a list of them, and alerts. A worker of a node with several (nodes.Front) is measured by
// itself: call New in Config.Setup, and have each worker scraped.
package cnodeprom

import (
	"cmp"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/metrics"
)

// DefaultMaxPeers and DefaultMaxFunctions stand for zeros in Options.
const (
	DefaultMaxPeers     = 100
	DefaultMaxFunctions = 100
)

// Options of a Collector. nil, and the zero Options, are the defaults.
type Options struct {
	// MaxPeers is how many peers have series of their own, those that came first; what concerns the
	// others is counted together, as peer "other". So a cluster whose nodes come and go under new
	// names does not fill Prometheus.
	MaxPeers int
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
	mu    sync.Mutex
	peers map[string]*peer
	known map[bool]map[[3]string]bool // functions with series of their own, by Out

	ended, handshakes, denied *prometheus.CounterVec
	full                      prometheus.Counter
	fixed                     []prometheus.Collector
	descs                     map[string]*prometheus.Desc
}

// A peer counts what happens with one peer, or all others.
type peer struct {
	up, queueFull, ticksMissed, overflows atomic.Int64
	in, out                               traffic
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
	{"cnode_messages_total", "Messages over connections, by the size of their frames: the largest of the class.",
		[]string{"peer", "direction", "size"}},
	{"cnode_message_bytes_total", "Bytes of messages over connections.", []string{"peer", "direction"}},
	{"cnode_queue_bytes", "Bytes that wait for a peer to read.", []string{"peer"}},
	{"cnode_queue_full_total", "Senders that had to wait, since the peer does not read fast enough (Config.QueueLimit).", []string{"peer"}},
	{"cnode_ticks_missed_total", "Intervals in which nothing came from a peer; the fourth in a row ends the connection.", []string{"peer"}},
	{"cnode_overflow_messages_total", "Messages of a peer that were kept beyond the limits of mailboxes.", []string{"peer"}},
	{"cnode_overflow_bytes", "Memory of messages beyond the limits of mailboxes (Config.OverflowLimit).", nil},
	{"cnode_mailboxes", "Processes of the node.", nil},
	{"cnode_malformed_total", "Frames and control messages of peers that are malformed.", nil},
	{"cnode_undeliverable_total", "Messages to processes that do not exist.", nil},
	{"cnode_calls_running", "Functions that run for callers: places of Config.MaxCalls.", nil},
	{"cnode_calls_waiting", "Calls that wait for a place.", nil},
	{"cnode_calls_refused_total", "Calls that were refused, since their peer had its share of memory.", nil},
	{"cnode_calls_total", "Calls that are over: served (in), or made (out).",
		[]string{"direction", "kind", "module", "function", "outcome"}},
	{"cnode_call_duration_seconds", "How long functions ran (in), or answers took (out).",
		[]string{"direction", "kind", "module", "function"}},
}

// New measures a node (see nodes.Node.Measure), and makes a Collector of what it finds. Call it
// before the node starts, or in Config.Setup. o may be nil.
func New(n *nodes.Node, o *Options) *Collector {
	c := &Collector{n: n, peers: map[string]*peer{}, known: map[bool]map[[3]string]bool{false: {}, true: {}}}
	if o != nil {
		c.o = *o
	}
	if c.o.MaxPeers <= 0 {
		c.o.MaxPeers = DefaultMaxPeers
	}
	if c.o.MaxFunctions <= 0 {
		c.o.MaxFunctions = DefaultMaxFunctions
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: c.o.ConstLabels}, labels)
		c.fixed = append(c.fixed, v)
		return v
	}
	c.ended = vec("cnode_connections_ended_total", "Connections that ended, by cause.", "peer", "cause")
	c.handshakes = vec("cnode_handshakes_failed_total", "Handshakes that failed, begun by others (in) or here (out), by cause.",
		"direction", "cause")
	for _, way := range []string{"in", "out"} { // Prometheus sees no increase in a series that begins with 1
		for _, cause := range []string{"cookie", "timeout", "refused", "incompatible", "unreachable", "crowded", "error"} {
			c.handshakes.WithLabelValues(way, cause)
		}
	}
	c.denied = vec("cnode_denied_total", "What Config.Rules have refused.", "peer", "op")
	c.full = prometheus.NewCounter(prometheus.CounterOpts{Name: "cnode_mailboxes_full_total",
		Help: "Processes that ended, since nobody received from them.", ConstLabels: c.o.ConstLabels})
	c.fixed = append(c.fixed, c.full)
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
			p := c.peer(conn.Peer)
			p.up.Add(1)
			c.conns.Store(conn, p)
		},
		ConnDown: func(conn *metrics.Conn, cause string, _ error) {
			c.conns.Delete(conn)
			c.ended.WithLabelValues(c.label(conn.Peer), cause).Inc()
		},
		HandshakeFailed: func(h metrics.Handshake) { c.handshakes.WithLabelValues(direction(h.Initiated), h.Cause).Inc() },
		MessageIn:       func(conn *metrics.Conn, bytes int) { c.of(conn).in.add(bytes) },
		MessageOut:      func(conn *metrics.Conn, bytes int) { c.of(conn).out.add(bytes) },
		QueueFull:       func(conn *metrics.Conn) { c.of(conn).queueFull.Add(1) },
		TickMissed:      func(conn *metrics.Conn) { c.of(conn).ticksMissed.Add(1) },
		Overflow:        func(name string, _ int) { c.peer(cmp.Or(name, "local")).overflows.Add(1) },
		MailboxFull:     func(string) { c.full.Inc() },
		Denied:          func(name, op, _ string) { c.denied.WithLabelValues(c.label(name), op).Inc() },
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
	return c.peer(conn.Peer) // it came up before New, or has just ended
}

// label is the name under which a peer is counted.
func (c *Collector) label(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.labelLocked(name)
}

func (c *Collector) labelLocked(name string) string {
	if name == "" || c.peers[name] != nil {
		return name
	}
	if len(c.peers) >= c.o.MaxPeers {
		return metrics.Other
	}
	return name
}

func (c *Collector) peer(name string) *peer {
	c.mu.Lock()
	defer c.mu.Unlock()
	name = c.labelLocked(name)
	p := c.peers[name]
	if p == nil {
		p = new(peer)
		c.peers[name] = p
	}
	return p
}

// Describe is part of prometheus.Collector.
func (c *Collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
	for _, f := range c.fixed {
		f.Describe(out)
	}
}

// Collect is part of prometheus.Collector.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	for _, f := range c.fixed {
		f.Collect(out)
	}
	s, state := c.n.Stats(), c.n.State() // not with the lock that hooks want, too
	c.mu.Lock()                          // one at a time
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

	up, queued := map[string]int{}, map[string]int{}
	for _, p := range s.Peers {
		name := c.labelLocked(p.Name)
		up[name]++
		queued[name] += p.BytesQueued
		if c.peers[name] == nil {
			c.peers[name] = new(peer)
		}
	}
	for name, p := range c.peers {
		gauge("cnode_connections", up[name], name)
		gauge("cnode_queue_bytes", queued[name], name)
		count("cnode_connections_up_total", p.up.Load(), name)
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
	for _, f := range all {
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
	for labels, sum := range sums {
		sum.outcomes[metrics.OutcomePanicked] += 0 // a first one is an increase
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
