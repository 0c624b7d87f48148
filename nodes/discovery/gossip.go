package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/cnode-go/cnode/nodes"
)

// The defaults of Gossip. Those of the group and the interval are libcluster's.
const (
	defaultGossipGroup    = "233.252.1.32:45892"
	defaultGossipInterval = 5 * time.Second
	defaultForget         = 30 * time.Second
	defaultMaxNodes       = 1024
)

// How many names that were not known before count: at once, and a second. The others are dropped;
// who is there says so again within seconds.
const (
	newAtOnce    = 64
	newPerSecond = 16
)

// Gossip is a Source that names the nodes which announce themselves by UDP multicast, and announces
// the node itself: nodes that listen connect to it. Opposite it is libcluster's
//
//	strategy: Cluster.Strategy.Gossip,
//	config: [
//	  secret: "somepassword", multicast_if: "192.168.1.1",
//	  multicast_addr: "233.252.1.32", port: 45892, multicast_ttl: 1]
//
// of which nothing need be set. broadcast_only and if_addr have no counterpart.
//
// Without a Secret whoever can send a datagram to this machine makes the node connect to a host of
// his choice, and begin a handshake there, of which he can try to guess the cookie; with one he
// still can repeat what he has heard. Use gossip where the network is yours. What strangers send
// takes little: datagrams over 1,400 bytes, and what is no announcement, are dropped, of names that
// were not known before 16 a second count, and there are MaxNodes at most.
type Gossip struct {
	// Secret encrypts what is announced, and only what was encrypted with it is heard. "": nothing
	// is encrypted, and nothing that is counts.
	Secret string
	// Group is the multicast address and port, of IPv4; zero: libcluster's.
	Group netip.AddrPort
	// Interface, by its name or one of its addresses, is where the datagrams go and come from. "":
	// the system chooses, by its route to the group.
	Interface string
	// TTL is how many routers, and one, a datagram may pass; 0: 1, so that it stays in the local
	// network.
	TTL int
	// Interval is the longest time between two announcements; they come after random times. 0:
	// libcluster's.
	Interval time.Duration
	// Forget is after how long a node is named no more that has not announced itself; it must be
	// several times the other nodes' interval. 0: six of libcluster's.
	Forget time.Duration
	// MaxNodes is how many nodes are named at most. 0: more than a cluster has.
	MaxNodes int
	// ListenOnly makes the node announce nothing.
	ListenOnly bool
}

// Nodes listens and announces until ctx ends; a node that drains is announced no more. A node
// without a name, a dynamic one that is not connected yet, is announced once it has one. The error
// is a *nodes.Error: why nothing can be sent, and the rest goes on; or why the socket cannot be
// had, or has broken.
func (g Gossip) Nodes(ctx context.Context, n *nodes.Node) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		s, err := g.open()
		if err == nil {
			stop := context.AfterFunc(ctx, func() { s.conn.Close() })
			err = s.run(ctx, n, yield)
			stop()
			s.conn.Close()
		}
		if err != nil && err != errNoMore && ctx.Err() == nil {
			yield(nil, wrap("gossip at", g.group().String(), err))
		}
	}
}

// errNoMore: whoever asks for nodes has had enough.
var errNoMore = errors.New("no more")

func (g Gossip) group() netip.AddrPort {
	return cmp.Or(g.Group, netip.MustParseAddrPort(defaultGossipGroup))
}

// A gossiping is a socket in use.
type gossiping struct {
	Gossip
	conn  *net.UDPConn
	to    netip.AddrPort
	seal  *sealer
	heard *roll
	alien bool // something that is no announcement has been logged
}

// open makes the socket, which other programs of this machine can have as well.
func (g Gossip) open() (*gossiping, error) {
	to := g.group()
	if !to.Addr().Is4() || !to.Addr().IsMulticast() || to.Port() == 0 {
		return nil, fmt.Errorf("Gossip.Group is %v: want a multicast address of IPv4, and a port", to)
	}
	at, err := interfaceOf(g.Interface)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenMulticastUDP("udp4", at, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return nil, err
	}
	p := ipv4.NewPacketConn(conn)
	// to the other nodes of this machine as well
	if err := errors.Join(p.SetMulticastLoopback(true), p.SetMulticastTTL(cmp.Or(g.TTL, 1))); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	g.Interval, g.Forget = defaulted(g.Interval, defaultGossipInterval), defaulted(g.Forget, defaultForget)
	heard := &roll{forget: g.Forget, most: cmp.Or(max(g.MaxNodes, 0), defaultMaxNodes)}
	return &gossiping{Gossip: g, conn: conn, to: to, seal: newSealer(g.Secret), heard: heard}, nil
}

// interfaceOf finds an interface by its name or an address; nil for "".
func interfaceOf(name string) (*net.Interface, error) {
	addr, err := netip.ParseAddr(name)
	if err != nil {
		if name == "" {
			return nil, nil
		}
		at, err := net.InterfaceByName(name)
		if err != nil {
			return nil, fmt.Errorf("Gossip.Interface is %q: %w", name, err)
		}
		return at, nil
	}
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, at := range all {
		addrs, _ := at.Addrs()
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == addr {
				return &at, nil
			}
		}
	}
	return nil, fmt.Errorf("Gossip.Interface is %q: no interface has that address", name)
}

// run announces and listens.
func (s *gossiping) run(ctx context.Context, n *nodes.Node, yield func([]string, error) bool) error {
	buf := make([]byte, 1<<16) // whole datagrams: of a longer one Windows says nothing but that
	var next time.Time         // when the next announcement is due
	for {
		now := time.Now()
		if n.State() >= nodes.StateDraining {
			s.ListenOnly = true
		}
		if !s.ListenOnly && !now.Before(next) {
			next = now.Add(1 + rand.N(s.Interval))
			if err := s.announce(n.Name()); ctx.Err() != nil { // with which the socket is closed
				return nil
			} else if err != nil && !yield(nil, wrap("gossip at", s.to.String(), err)) {
				return errNoMore
			}
		}
		if s.heard.tidy(now) && !yield(s.heard.list(), nil) {
			return errNoMore
		}
		until := s.heard.due
		if !s.ListenOnly && (until.IsZero() || next.Before(until)) {
			until = next
		}
		if err := s.conn.SetReadDeadline(until); err != nil && ctx.Err() == nil {
			return err
		}
		size, err := s.conn.Read(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			if node, ok := s.understand(buf[:size], n.Logger()); ok && node != n.Name() && node != noNode &&
				s.heard.add(node, time.Now()) && !yield(s.heard.list(), nil) {
				return errNoMore
			}
		case !isTimeout(err):
			return err
		}
	}
}

func isTimeout(err error) bool {
	var late net.Error
	return errors.As(err, &late) && late.Timeout()
}

func (s *gossiping) announce(node string) error {
	if node == "" {
		return nil
	}
	text, err := appendHeartbeat(nil, node)
	if err == nil {
		_, err = s.conn.WriteToUDPAddrPort(s.seal.seal(text), s.to)
	}
	return err
}

// understand reads a datagram. The first one that is no announcement is logged: the secret may be
// another one.
func (s *gossiping) understand(b []byte, log *slog.Logger) (node string, ok bool) {
	if len(b) <= maxDatagram {
		if text, opened := s.seal.open(b); opened {
			node, ok = parseHeartbeat(text)
		}
	}
	if !ok && !s.alien {
		s.alien = true
		log.Warn("discovery: a datagram that is no announcement, or was made with another secret; further ones are not logged",
			"group", s.to.String(), "bytes", len(b))
	}
	return node, ok
}

// A roll is the list of nodes that have announced themselves lately.
type roll struct {
	forget time.Duration
	most   int
	at     map[string]time.Time // when each was last heard
	due    time.Time            // before which none is to be forgotten; zero: there are none
	fresh  float64              // how many new names have come, less what has been allowed since
	since  time.Time            // of fresh
}

// add notes that a node has announced itself; true if it is new.
func (r *roll) add(node string, now time.Time) bool {
	_, known := r.at[node]
	if !known {
		r.fresh = max(0, r.fresh-now.Sub(r.since).Seconds()*newPerSecond)
		r.since = now
		if len(r.at) >= r.most || r.fresh+1 > newAtOnce {
			return false
		}
		r.fresh++
	}
	if r.at == nil {
		r.at = map[string]time.Time{}
	}
	r.at[node] = now
	if r.due.IsZero() {
		r.due = now.Add(r.forget)
	}
	return !known
}

// tidy forgets the nodes that have been silent for too long; true if there are any.
func (r *roll) tidy(now time.Time) (changed bool) {
	if r.due.IsZero() || now.Before(r.due) {
		return false
	}
	r.due = time.Time{}
	for node, at := range r.at {
		until := at.Add(r.forget)
		switch {
		case !now.Before(until):
			delete(r.at, node)
			changed = true
		case r.due.IsZero() || until.Before(r.due):
			r.due = until
		}
	}
	return changed
}

// list are the nodes, by name.
func (r *roll) list() []string { return slices.Sorted(maps.Keys(r.at)) }
