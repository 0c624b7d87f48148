package nodes

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/protocol/packets"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/handshake"
	"github.com/cnode-go/cnode/transport"
)

// handshakes makes a node's connections, whichever side begins.
type handshakes struct {
	n          *Node
	challenges handshake.Challenges
}

// initiate runs the connecting side of the handshake.
func (h *handshakes) initiate(ctx context.Context, s *transport.Stream, i *initiative) (dist.Peer, error) {
	h.n.peers.GiveName(&i.Attempt)
	p, err := packets.New(ctx, s)
	if err != nil {
		return dist.Peer{}, err
	}
	self, over := h.self()
	defer over()
	return protocol.Initiate(p, self, protocol.InitiateOptions{
		Want: i.want, Version5: i.at.Version5,
		// The peer believes that a connection is up. If there is none here, the peer's is dead. If
		// the peer's name was not given that is certain only if no node at all is connected. A
		// connection that has come up while this attempt was on its way is not dead.
		AliveAnswer: func(string) bool {
			if i.want != "" {
				return ctx.Err() == nil && h.n.Conn(i.want) == nil
			}
			return ctx.Err() == nil && len(h.n.Peers()) == 0
		},
		CheckPeer: func(name string) error {
			if i.met != nil {
				if err := i.met(name); err != nil {
					return err
				}
			}
			if err := h.n.peers.Commit(ctx, &i.Attempt); err != nil {
				return err
			}
			return h.checkPeer(ctx, s, name)
		},
	})
}

// respond runs the accepting side. The attempt gets its place on the table of peers.
func (h *handshakes) respond(ctx context.Context, s *transport.Stream, a *attempt, spoke func()) (dist.Peer, error) {
	p, err := packets.New(ctx, s)
	if err != nil {
		return dist.Peer{}, err
	}
	p.Spoke = spoke
	who, err := protocol.ReadName(p)
	if err != nil {
		return dist.Peer{}, err
	}
	self, over := h.self()
	defer over()
	return protocol.Respond(p, self, who, protocol.RespondOptions{
		Decide: func(who protocol.Name) (protocol.Verdict, error) {
			if who.Dynamic() {
				v := h.nameFor(who)
				h.n.peers.Decide(h.n.Name(), v.Name, &a.Attempt)
				return v, nil
			}
			h.awaitEnd(ctx, who.Name)
			return protocol.Verdict{Status: h.n.peers.Decide(h.n.Name(), who.Name, &a.Attempt)}, nil
		},
		CheckPeer: func(name string) error { return h.checkPeer(ctx, s, name) },
		Proven:    func() error { return h.n.peers.Proven(h.n.Name(), &a.Attempt) },
	})
}

// endGrace is how long we wait for the end of a connection to be noticed when its peer connects
// anew, before we ask the peer whether that connection is dead (status alive). The C library cannot
// answer that: its programs would be refused when they come back at once.
const endGrace = 100 * time.Millisecond

// awaitEnd waits a little for the end of the connection to a peer that connects anew.
func (h *handshakes) awaitEnd(ctx context.Context, name string) {
	c := h.n.Conn(name)
	if c == nil || c.ties.IsRemote { // the peer is not asked about another worker's connection
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
func (h *handshakes) nameFor(who protocol.Name) protocol.Verdict {
	for {
		name := dynamicName() + "@" + who.Name
		if !h.n.peers.Has(name) && name != h.n.Name() {
			return protocol.Verdict{Status: protocol.StatusNamed, Name: name, Creation: max(rand.Uint32(), 4)}
		}
	}
}

func (h *handshakes) checkPeer(ctx context.Context, s *transport.Stream, name string) error {
	if h.n.cfg.CheckPeer != nil {
		if err := h.n.faults.guarded("Config.CheckPeer", func() error { return h.n.cfg.CheckPeer(ctx, name) }); err != nil {
			return err
		}
	}
	return s.CheckPeer(ctx, name)
}

// self is what the node says of itself in a handshake; over is called at the end of the handshake.
func (h *handshakes) self() (s protocol.Self, over func()) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	h.n.used = true
	s = protocol.Self{
		Name: h.n.name, Flags: h.n.cfg.Flags, Creation: h.n.creation, Cookie: h.n.cfg.Cookie, Cookies: h.n.cfg.Cookies,
		Challenge: h.challenges.Make(), IsOwn: h.challenges.Has,
	}
	if s.Name == "" {
		s.Name, s.Dynamic = h.n.cfg.Host, true
	}
	return s, func() { h.challenges.Drop(s.Challenge) }
}
