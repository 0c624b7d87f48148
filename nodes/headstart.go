package nodes

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// A headStart is a connection to where a node was when the port mapper was last asked for it, begun before the port mapper is asked once
// more. If the node is still there, the connection is up, or nearly so, when the answer comes, and the peer has had time to accept it.
// Nothing is sent over it before that; if the answer is another one, it is closed.
type headStart struct {
	addr   transport.Addr
	began  time.Time
	cancel context.CancelFunc
	made   chan *transport.Stream // one comes, nil if it was in vain
}

// staleStart is the age from which a headStart is not used any more: an Erlang node waits seven seconds for the name of a peer.
const staleStart = time.Second

// find asks the Resolver for a node, and gets a head start meanwhile, which may be nil. Only the system's own sockets get one: what else
// connects may count its connections, or take its time.
func (n *Node) find(ctx context.Context, node string) (at Endpoint, h *headStart, err error) {
	p, ok := n.cfg.Resolver.(*PortMapper)
	if !ok || !transport.Plain(n.cfg.Transport) {
		at, err = n.cfg.Resolver.Resolve(ctx, node)
		return at, nil, err
	}
	at, err = p.resolve(ctx, node, func(addr transport.Addr) { h = n.startAhead(ctx, addr, node) })
	if err == nil {
		return at, h, nil
	}
	h.drop()
	if h != nil && (errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)) { // now there is one more
		at, err = p.Resolve(ctx, node)
	}
	return at, nil, err
}

// startAhead begins to connect to addr; nil: that is of no use. Within a machine a connection is made at once, or not at all, so that no
// goroutine has to wait for it.
func (n *Node) startAhead(ctx context.Context, addr transport.Addr, node string) *headStart {
	if ctx.Err() != nil {
		return nil
	}
	h := &headStart{addr: addr, began: time.Now(), made: make(chan *transport.Stream, 1)}
	connect := func(ctx context.Context) {
		s, err := n.cfg.Transport.Connect(ctx, transport.WithPeerName(addr, node))
		if err != nil { // the connection proper says why
			s = nil
		}
		h.made <- s
	}
	if at, err := transport.AddrPort(addr); err == nil && at.Addr().IsLoopback() {
		h.cancel = func() {}
		connect(transport.NoWait())
		return h
	}
	ctx, h.cancel = context.WithCancel(ctx)
	if !n.background(func() { connect(ctx) }) {
		h.cancel()
		return nil
	}
	return h
}

// take is the connection if it leads to addr; nil: there is none, or it does not come soon. It is called once, in place of drop.
func (h *headStart) take(addr transport.Addr) *transport.Stream {
	if h == nil {
		return nil
	}
	left := staleStart - time.Since(h.began)
	if h.addr != addr || left <= 0 {
		h.drop()
		return nil
	}
	select {
	case s := <-h.made:
		h.cancel()
		return s
	default:
	}
	late := time.NewTimer(left)
	defer late.Stop()
	select {
	case s := <-h.made:
		h.cancel()
		return s
	case <-late.C: // the system tries again after a second only
		h.drop()
		return nil
	}
}

// drop closes the connection, if there is one.
func (h *headStart) drop() {
	if h == nil {
		return
	}
	h.cancel()
	if s := <-h.made; s != nil {
		_ = s.Close()
	}
}

// maxKnownPorts is how many nodes a PortMapper remembers the ports of.
const maxKnownPorts = 1024

// knownPorts are the ports that nodes had when the port mapper was last asked for them.
type knownPorts struct {
	mu sync.Mutex
	of map[string]uint16
}

// get is a node's port; 0: unknown.
func (k *knownPorts) get(node string) uint16 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.of[node]
}

// set remembers a node's port, perhaps in the place of another node's.
func (k *knownPorts) set(node string, port uint16) {
	k.mu.Lock()
	defer k.mu.Unlock()
	putFew(&k.of, node, port, maxKnownPorts)
}

// forget forgets a node, whose port is not known any more.
func (k *knownPorts) forget(node string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.of, node)
}
