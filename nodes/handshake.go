package nodes

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/lazymap"
	"github.com/cnode-go/cnode/transport"
)

// packets carries handshake packets over a stream, each preceded by its length in 2 or 4 bytes, or
// alone where the carrier keeps packets, until ctx ends.
type packets struct {
	ctx   context.Context
	s     *transport.Stream
	q     queue.Queue
	size  int // of the length; 0: there is none
	spoke func()

	head [4]byte
	body []byte
	vec  [1][]byte // what is read next
	step int
}

func newPackets(ctx context.Context, s *transport.Stream) (*packets, error) {
	size, err := s.HandshakePacketHeaderSize(ctx)
	if err != nil {
		return nil, err
	}
	return &packets{ctx: ctx, s: s, q: s.Posts(nil), size: size}, nil
}

// ReadPacket reads one packet, which is valid until the next call.
func (p *packets) ReadPacket() ([]byte, error) {
	p.step = 0
	n, err := p.s.ReadPDU(p.ctx, p.next)
	if err != nil {
		return nil, p.cause(err)
	}
	if p.size == 0 {
		p.body = p.body[:n]
	}
	if p.spoke != nil {
		p.spoke()
	}
	return p.body, nil
}

func (p *packets) next() ([][]byte, error) {
	switch p.step++; {
	case p.size == 0 && p.step == 1: // more room than a packet may take
		p.body = make([]byte, dist.MaxHandshakePacket+1)
		p.vec[0] = p.body
		return p.vec[:], nil
	case p.size == 0:
		return nil, fmt.Errorf("%w: packet of more than %d bytes", dist.ErrMalformed, dist.MaxHandshakePacket)
	case p.step == 1:
		p.vec[0] = p.head[4-p.size:]
		return p.vec[:], nil
	case p.step == 2:
		n := binary.BigEndian.Uint32(p.head[:])
		if n > dist.MaxHandshakePacket {
			// the first bytes of a record with a hello, or an alert
			if p.size == 2 && (n == 0x1603 || n == 0x1503) {
				return nil, fmt.Errorf("%w: the peer speaks TLS, and this connection does not", dist.ErrMalformed)
			}
			return nil, fmt.Errorf("%w: packet of %d bytes", dist.ErrMalformed, n)
		}
		p.body = make([]byte, n)
		p.vec[0] = p.body
		return p.vec[:], nil
	}
	return nil, nil
}

// WritePackets writes packets in one write, or in one each where the carrier keeps packets.
func (p *packets) WritePackets(ps ...[]byte) error {
	var b []byte
	for _, q := range ps {
		switch {
		case p.size == 0:
			if err := p.write(q); err != nil {
				return err
			}
			continue
		case p.size == 4:
			b = binary.BigEndian.AppendUint32(b, uint32(len(q)))
		case len(q) > math.MaxUint16:
			return fmt.Errorf("%w: packet of %d bytes", dist.ErrMalformed, len(q))
		default:
			b = binary.BigEndian.AppendUint16(b, uint16(len(q)))
		}
		b = append(b, q...)
	}
	if len(b) == 0 {
		return nil
	}
	return p.write(b)
}

func (p *packets) write(b []byte) error {
	_, err := p.q.Deliver(p.ctx, b)
	return p.cause(err)
}

// cause replaces err by the cause for which ctx ended, if it did.
func (p *packets) cause(err error) error {
	if err != nil && p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	return err
}

// initiate runs the connecting side of the handshake.
func (n *Node) initiate(ctx context.Context, s *transport.Stream, i *initiative) (dist.Peer, error) {
	n.peers.GiveName(&i.Attempt)
	p, err := newPackets(ctx, s)
	if err != nil {
		return dist.Peer{}, err
	}
	self, over := n.self()
	defer over()
	return dist.Initiate(p, self, dist.InitiateOptions{
		Want: i.want, Version5: i.at.Version5,
		// The peer believes that a connection is up. If there is none here, the peer's is dead. If
		// the peer's name was not given that is certain only if no node at all is connected. A
		// connection that has come up while this attempt was on its way is not dead.
		AliveAnswer: func(string) bool {
			if i.want != "" {
				return ctx.Err() == nil && n.Conn(i.want) == nil
			}
			return ctx.Err() == nil && len(n.Peers()) == 0
		},
		CheckPeer: func(name string) error {
			if i.met != nil {
				if err := i.met(name); err != nil {
					return err
				}
			}
			if err := n.peers.Commit(ctx, &i.Attempt); err != nil {
				return err
			}
			return n.checkPeer(ctx, s, name)
		},
	})
}

// respond runs the accepting side. The attempt gets its place on the table of peers.
func (n *Node) respond(ctx context.Context, s *transport.Stream, a *attempt, spoke func()) (dist.Peer, error) {
	p, err := newPackets(ctx, s)
	if err != nil {
		return dist.Peer{}, err
	}
	p.spoke = spoke
	who, err := dist.ReadName(p)
	if err != nil {
		return dist.Peer{}, err
	}
	self, over := n.self()
	defer over()
	return dist.Respond(p, self, who, dist.RespondOptions{
		Decide: func(who dist.Name) (dist.Verdict, error) {
			if who.Dynamic() {
				v := n.nameFor(who)
				n.peers.Decide(n.Name(), v.Name, &a.Attempt)
				return v, nil
			}
			n.awaitEnd(ctx, who.Name)
			return dist.Verdict{Status: n.peers.Decide(n.Name(), who.Name, &a.Attempt)}, nil
		},
		CheckPeer: func(name string) error { return n.checkPeer(ctx, s, name) },
		Proven:    func() error { return n.peers.Proven(n.Name(), &a.Attempt) },
	})
}

// endGrace is how long we wait for the end of a connection to be noticed when its peer connects
// anew, before we ask the peer whether that connection is dead (status alive). The C library cannot
// answer that: its programs would be refused when they come back at once.
const endGrace = 100 * time.Millisecond

// awaitEnd waits a little for the end of the connection to a peer that connects anew.
func (n *Node) awaitEnd(ctx context.Context, name string) {
	c := n.Conn(name)
	if c == nil || c.remoteLink { // the peer is not asked about another worker's connection
		return
	}
	select {
	case <-c.l.Done():
		return
	default:
	}
	t := time.NewTimer(endGrace)
	defer t.Stop()
	select {
	case <-c.l.Done():
	case <-t.C:
	case <-ctx.Done():
	}
}

// nameFor makes a name for a peer that asks for one, in the manner of net_kernel.
func (n *Node) nameFor(who dist.Name) dist.Verdict {
	for {
		name := dynamicName() + "@" + who.Name
		if !n.peers.Has(name) && name != n.Name() {
			return dist.Verdict{Status: dist.StatusNamed, Name: name, Creation: max(randomCreation(), 4)}
		}
	}
}

func (n *Node) checkPeer(ctx context.Context, s *transport.Stream, name string) error {
	if n.cfg.CheckPeer != nil {
		if err := n.guarded("Config.CheckPeer", func() error { return n.cfg.CheckPeer(ctx, name) }); err != nil {
			return err
		}
	}
	return s.CheckPeer(ctx, name)
}

// guarded calls a function of the application's that strangers can reach: a panic in it is an
// error, and the log has its stack.
func (n *Node) guarded(what string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			n.mishap(what+" panicked", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("%s panicked: %v", what, p)
		}
	}()
	return f()
}

// self is what the node says of itself in a handshake; over is called at the end of the handshake.
func (n *Node) self() (s dist.Self, over func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.used = true
	s = dist.Self{
		Name: n.name, Flags: n.cfg.Flags, Creation: n.creation, Cookie: n.cfg.Cookie, Cookies: n.cfg.Cookies,
		Challenge: n.challenges.make(), IsOwn: n.challenges.has,
	}
	if s.Name == "" {
		s.Name, s.Dynamic = n.cfg.Host, true
	}
	return s, func() { n.challenges.drop(s.Challenge) }
}

// challenges holds the challenges that a node has sent in handshakes in progress, in either role. A
// peer that sends one of them back did not generate it: it does not know the cookie, and wants this
// node's digest of the challenge, to present it to this node on another connection. (The protocol's
// digest covers neither the nodes' names nor the direction; between different nodes nothing can be
// done about that, nor between workers, which do not know each other's challenges.)
type challenges struct {
	mu  sync.Mutex
	own map[uint32]struct{}
}

// make returns a new challenge, which is remembered until drop.
func (c *challenges) make() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		v := max(rand.Uint32(), 1)
		if _, taken := c.own[v]; !taken {
			lazymap.Put(&c.own, v, struct{}{})
			return v
		}
	}
}

func (c *challenges) has(v uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.own[v]
	return ok
}

func (c *challenges) drop(v uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.own, v)
}
