package gate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/internal/host"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/virtual"
)

// ErrClosed is the error of a gate that was closed.
var ErrClosed = errors.New("gate: closed")

// Options are what a gate needs beside its Config. Nil is the default.
type Options struct {
	// Logger gets connections (Info), refusals and failures (Warn; of refusals those beyond 20 a
	// second as Debug). Nil: nothing is logged.
	Logger *slog.Logger
	// OnDecision hears of each decision of the rules, on the goroutine that reads the connection.
	// It must not wait. Nil: nobody does.
	OnDecision func(Decision)
	// Learn lets pass what no rule allows. OnDecision hears of it as refused.
	Learn bool
	// Capture records all connections, for Wireshark and its kin; TLS in plain. Nil: none.
	Capture *virtual.Capture

	setupTime time.Duration // of a handshake; 0: net_setuptime's default
}

// A Gate joins two networks: see the package. It is safe for concurrent use.
type Gate struct {
	cfg    Config
	opts   Options
	limits Limits
	log    *slog.Logger
	rules  table
	kept   [keptKinds]*tally
	trs    [2]transport.Transport // of outside and inside

	ctx      context.Context
	end      context.CancelFunc
	work     sync.WaitGroup // sessions
	arrivals sync.WaitGroup // handshakes in progress

	mu         sync.Mutex
	doors      []*door
	sessions   map[*session]struct{}
	known      map[string]*acquaintance
	tried      map[string]struct{} // names of nodes outside that have not shown the cookie
	since      time.Time           // when tried was begun
	challenges map[uint32]int
	attempts   int                  // handshakes in progress
	from       map[netip.Prefix]int // those, by host
	shaking    int                  // those in which a name has come
	closed     bool
	hurry      context.Context // of these: ends when they have to
	cut        context.CancelFunc
	stays      chan struct{} // while the gate moves; closed when it goes on here
	strays     chan stray    // those in which a name comes meanwhile

	passed, refused, failed atomic.Int64
	hits                    []atomic.Int64 // of decisions, by rule; the last one: no rule
	memory                  atomic.Int64   // what messages take that have not passed
	second, loud            atomic.Int64   // of what is logged: when, and how many as warnings
}

// New makes a gate, which Start opens. The error wraps ErrConfig, or is a
// *tlstransport.OptionError.
func New(cfg *Config, opts *Options) (*Gate, error) {
	g := &Gate{
		cfg: *cfg, limits: cfg.Limits.filled(), log: slog.New(slog.DiscardHandler),
		sessions: map[*session]struct{}{}, known: map[string]*acquaintance{}, challenges: map[uint32]int{},
		tried: map[string]struct{}{}, since: time.Now(), from: map[netip.Prefix]int{}, strays: make(chan stray),
		hits: make([]atomic.Int64, len(cfg.Rules)+1),
	}
	if opts != nil {
		g.opts = *opts
	}
	g.kept = tallies(g.limits)
	g.opts.setupTime = cmp.Or(g.opts.setupTime, setupTime)
	if g.opts.Logger != nil {
		g.log = g.opts.Logger
	}
	err := cfg.check()
	if err == nil {
		g.rules, err = compile(cfg.Rules)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	for i, s := range cfg.sides() {
		if g.trs[i], err = g.transport(s); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrConfig, sideNames[i], err)
		}
	}
	g.ctx, g.end = context.WithCancel(context.Background())
	g.hurry, g.cut = context.WithCancel(g.ctx)
	return g, nil
}

func (g *Gate) transport(s *Side) (tr transport.Transport, err error) {
	tr = transport.TCP()
	if s.OptFile != "" {
		if tr, err = tlstransport.FromOptFile(s.OptFile, &tlstransport.Options{Logger: g.opts.Logger}); err != nil {
			return nil, err
		}
	}
	return g.recorded(tr), nil
}

func (g *Gate) recorded(tr transport.Transport) transport.Transport {
	if g.opts.Capture == nil {
		return tr
	}
	return virtual.Trace(tr, virtual.TraceOptions{Capture: g.opts.Capture})
}

// over gives the transport for an address.
func (g *Gate) over(side int, addr transport.Addr) transport.Transport {
	if _, ok := addr.(transport.UnixAddr); ok {
		return g.recorded(transport.Unix())
	}
	return g.trs[side]
}

func (g *Gate) table() table { return g.rules }

// Start opens a listener for each node that can be connected to, and registers its name. It waits
// for the port mappers until ctx ends. Close ends what it has begun; after an error nothing is
// open.
func (g *Gate) Start(ctx context.Context) error {
	g.work.Go(g.watch)
	for side, s := range g.cfg.sides() {
		for _, n := range s.Nodes {
			if err := g.open(ctx, side, n); err != nil {
				return errors.Join(fmt.Errorf("gate: listen for %s: %w", n.Name, err), g.Close())
			}
		}
	}
	return nil
}

// A door is where nodes of one side find a node of the other one. A handshake does not say whom it
// is for, so that each node has a listener of its own.
type door struct {
	g        *Gate
	node     Node
	side     int // of the node; those who want it are of the other one
	listener *transport.Listener
	serving  sync.WaitGroup
	keeper   *epmd.Keeper // nil: the name is not registered
}

func (g *Gate) open(ctx context.Context, side int, n Node) error {
	near := g.cfg.sides()[1-side]
	var addr transport.Addr = transport.UnixAddr(n.Path)
	if n.Path == "" {
		var err error
		if addr, err = transport.ParseAddr(net.JoinHostPort(near.Listen, fmt.Sprint(n.Port))); err != nil {
			return err
		}
	}
	l, err := g.over(1-side, addr).Listen(addr, 0)
	if err != nil {
		return err
	}
	d := &door{g: g, node: n, side: side, listener: l}
	if near.PortMapper != "" && n.Path == "" {
		if err := d.register(ctx, near.PortMapper); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	g.add(d)
	g.log.Info("listening", "node", n.Name, "address", l.Addr().String(), "from", sideNames[1-side])
	return nil
}

func (g *Gate) add(d *door) {
	g.mu.Lock()
	g.doors = append(g.doors, d)
	g.mu.Unlock()
	d.serving.Go(d.serve)
}

func (d *door) register(ctx context.Context, mapper string) error {
	port, err := transport.Port(d.listener.Addr())
	if err != nil {
		return err
	}
	alive, _, err := dist.SplitName(d.node.Name)
	if err != nil {
		return err
	}
	d.keeper, err = (&epmd.Client{Addr: mapper}).Keep(ctx, epmd.Registration{Name: alive, Port: port, Type: epmd.TypeHidden}, nil)
	return err
}

// serve accepts connections. One that fails in its handshake has cost the node behind nothing,
// unless its name may come.
func (d *door) serve() {
	for {
		s, err := d.listener.Accept(d.g.ctx)
		if err != nil {
			if d.g.ctx.Err() == nil && !errors.Is(err, transport.ErrPaused) {
				d.g.log.Error("no more connections are accepted", "node", d.node.Name, "error", err)
			}
			return
		}
		d.come(s)
	}
}

// come begins a handshake.
func (d *door) come(s *transport.Stream) {
	done, err := d.g.begin(s.RemoteAddr())
	if err != nil {
		d.fail(s, err)
		return
	}
	d.g.arrivals.Go(func() {
		defer done()
		d.welcome(s)
	})
}

// fail ends a connection that is none yet.
func (d *door) fail(s *transport.Stream, err error) {
	d.g.failed.Add(1)
	d.g.log.Log(context.Background(), d.g.loudness(), "connection refused", "node", d.node.Name, "remote", s.RemoteAddr().String(),
		"error", err)
	_ = s.Close()
}

var errSessions = errors.New("too many connections: Limits.Sessions")

// begin makes room for a handshake; done is to be called at its end.
func (g *Gate) begin(remote transport.Addr) (done func(), err error) {
	var from netip.Prefix
	if at, err := transport.AddrPort(remote); err == nil {
		from = host.Of(at.Addr())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.sessions) >= g.limits.Sessions {
		return nil, errSessions
	}
	if g.attempts >= g.limits.Sessions || g.from[from] >= max(g.limits.Sessions/4, 1) {
		return nil, errors.New("too many handshakes are in progress: Limits.Sessions")
	}
	g.attempts++
	g.from[from]++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.attempts--
		if g.from[from]--; g.from[from] == 0 {
			delete(g.from, from)
		}
	}, nil
}

// meet tells whether a node may come by its name, and whether its name may be told to nodes of the
// other side, for which it becomes an atom.
func (g *Gate) meet(side int, name string) error {
	s := g.cfg.sides()[side]
	switch {
	case !s.admits(name) && !(side == inside && len(s.Names) == 0):
		return fmt.Errorf("%w: names of this side have no pattern for it", dist.ErrNotAllowed)
	case g.cfg.sides()[1-side].has(name):
		return fmt.Errorf("%w: it is the name of a node of the other side", dist.ErrNotAllowed)
	case s.cookieOf(name) == "":
		return fmt.Errorf("%w: there is neither a cookie_file of this side nor one of this name", dist.ErrNotAllowed)
	}
	if side == inside || slices.Contains(s.Names, name) {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.since) > 24*time.Hour {
		clear(g.tried)
		g.since = time.Now()
	}
	_, tried := g.tried[name]
	switch {
	case tried || g.known[name] != nil:
		return nil
	case len(g.known) >= g.limits.Names:
		return errNames
	case len(g.tried) >= g.limits.Names:
		return fmt.Errorf("%w: too many names in a day without the cookie: Limits.Names", dist.ErrNotAllowed)
	}
	g.tried[name] = struct{}{}
	return nil
}

var errNames = fmt.Errorf("%w: too many names: Limits.Names", dist.ErrNotAllowed)

// acquaintance gives what is remembered of a node outside, which has shown its cookie; a new one
// counts.
func (g *Gate) acquaintance(name string) (*acquaintance, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	k := g.known[name]
	if k == nil {
		if o := &g.cfg.Outside; len(g.known) >= g.limits.Names && !slices.Contains(o.Names, name) && !o.has(name) {
			return nil, errNames
		}
		k = newAcquaintance()
		g.known[name] = k
	}
	delete(g.tried, name)
	return k, nil
}

// observe counts a decision, logs a refusal, and tells who wants to know.
func (g *Gate) observe(d Decision) {
	if g.opts.OnDecision != nil {
		g.opts.OnDecision(d)
	}
	rule := d.Rule
	if rule < 0 {
		rule = len(g.hits) - 1
	}
	g.hits[rule].Add(1)
	if !d.Allowed {
		g.logRefusal(d)
	}
}

// loudRefusals are logged as warnings in a second.
const loudRefusals = 20

// loudness is the level of the next refusal.
func (g *Gate) loudness() slog.Level {
	if now := time.Now().Unix(); g.second.Swap(now) != now {
		g.loud.Store(0)
	}
	if g.loud.Add(1) > loudRefusals {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

func (g *Gate) logRefusal(d Decision) {
	g.refused.Add(1)
	rule := "none"
	if d.Rule >= 0 {
		rule = fmt.Sprint(d.Rule + 1)
	}
	g.log.Log(context.Background(), g.loudness(), "refused", "peer", d.Peer, "operation", d.Op.String(), "target", d.Target, "rule", rule,
		"reason", d.Reason)
}

// A SessionInfo is a connection through the gate.
type SessionInfo struct {
	Outside, Inside string // the names of both nodes
	FromInside      bool   // the node inside has connected
	Since           time.Time
	Passed, Refused int64 // messages of the node outside
	Atoms           int   // that this name has brought
}

// Sessions gives the connections, by the names of the nodes outside.
func (g *Gate) Sessions() []SessionInfo {
	g.mu.Lock()
	sessions := slices.Collect(maps.Keys(g.sessions))
	g.mu.Unlock()
	list := []SessionInfo{} // not null, as JSON
	for _, x := range sessions {
		list = append(list, x.info())
	}
	slices.SortFunc(list, func(a, b SessionInfo) int {
		return cmp.Or(cmp.Compare(a.Outside, b.Outside), cmp.Compare(a.Inside, b.Inside))
	})
	return list
}

// Stats are a gate's counts since it was made, by moves that it has survived.
type Stats struct {
	Sessions int   // connections now
	Names    int   // names of nodes outside that have come
	Passed   int64 // messages of nodes outside that have passed
	Refused  int64 // and those that have not
	Failed   int64 // handshakes that have failed
	// Rules is how often each rule has decided, since the first configuration with this rule at this
	// place; the last one is for what no rule decides.
	Rules []int64
}

// Stats gives the counts.
func (g *Gate) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := Stats{Sessions: len(g.sessions), Names: len(g.known), Passed: g.passed.Load(), Refused: g.refused.Load(), Failed: g.failed.Load()}
	for i := range g.hits {
		s.Rules = append(s.Rules, g.hits[i].Load())
	}
	return s
}

// Addr is where nodes find a node of the other side; nil: the gate has none of that name.
func (g *Gate) Addr(node string) transport.Addr {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, d := range g.doors {
		if d.node.Name == node {
			return d.listener.Addr()
		}
	}
	return nil
}

// Close ends all connections, and waits until everything is closed.
func (g *Gate) Close() error {
	g.mu.Lock()
	g.closed = true
	doors, sessions := g.doors, slices.Collect(maps.Keys(g.sessions))
	g.doors = nil
	g.mu.Unlock()
	g.end()
	var err error
	for _, d := range doors {
		err = errors.Join(err, d.listener.Close())
		if d.keeper != nil {
			err = errors.Join(err, d.keeper.Close())
		}
		d.serving.Wait()
	}
	for _, x := range sessions {
		x.close(ErrClosed)
	}
	g.wait()
	return err
}

// wait waits for all that has been begun, when g.ctx has ended.
func (g *Gate) wait() {
	g.arrivals.Wait()
	g.work.Wait()
}

// matches tells whether a name is one of patterns, in which * stands for any characters.
func matches(patterns []string, name string) bool {
	for _, p := range patterns {
		head, rest, star := strings.Cut(p, "*")
		switch {
		case !star:
			if p == name {
				return true
			}
		case strings.HasPrefix(name, head) && matchesRest(rest, name[len(head):]):
			return true
		}
	}
	return false
}

// matchesRest tells whether s is what comes behind a *.
func matchesRest(pattern, s string) bool {
	part, rest, more := strings.Cut(pattern, "*")
	if !more {
		return strings.HasSuffix(s, part)
	}
	i := strings.Index(s, part)
	return i >= 0 && matchesRest(rest, s[i+len(part):])
}
