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
// more. If the node is still there, the connection is up, or nearly so, when the answer comes, and the peer has had time to accept it. If
// the answer is another one, it is closed.
//
// Where the connection is up at once, and the answer before was given lately, our name goes ahead of the answer, too, and the peer reads it
// meanwhile (initiateAhead). Nothing else is sent before the answer. So whoever has the port now, if it is another one, can learn our name,
// and no more: a peer's connection with us does not end over a name.
type headStart struct {
	addr   transport.Addr
	began  time.Time
	cancel context.CancelFunc
	made   chan *transport.Stream // one comes, nil if it was in vain
	up     bool                   // one has come

	query *query // of the port mapper, still to be made; nil: it was
}

// staleStart is the age from which a headStart is not used any more: an Erlang node waits seven seconds for the name of a peer.
const staleStart = time.Second

// slowAnswer is how long an answer takes that the peer may not have waited for, once it has our name.
const slowAnswer = 50 * time.Millisecond

// freshAnswer is the age up to which an answer of the port mapper is good enough for our name to go to where the node was.
const freshAnswer = 10 * time.Second

// find asks the Resolver for a node, and gets a head start meanwhile, which may be nil. Only the system's own sockets get one: what else
// connects may count its connections, or take its time.
func (n *Node) find(ctx context.Context, node string) (at Endpoint, h *headStart, err error) {
	p, ok := n.cfg.Resolver.(*PortMapper)
	if !ok || !transport.Plain(n.cfg.Transport) {
		at, err = n.cfg.Resolver.Resolve(ctx, node)
		return at, nil, err
	}
	q, err := p.query(ctx, node)
	if err != nil {
		return Endpoint{}, nil, err
	}
	if was, ok := q.last(); ok {
		h = n.startAhead(ctx, was.Addr, node)
		if h != nil && h.up && q.isFresh() {
			h.query = &q
			return was, h, nil
		}
	}
	at, err = q.ask(ctx)
	if err == nil {
		return at, h, nil
	}
	h.drop()
	if h != nil && lacksDescriptors(err) { // now there is one more
		at, err = q.ask(ctx)
	}
	return at, nil, err
}

func lacksDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// startAhead begins to connect to addr; nil: that is of no use. Within a machine a connection is made at once, or not at all, so that no
// goroutine has to wait for it.
func (n *Node) startAhead(ctx context.Context, addr transport.Addr, node string) *headStart {
	if ctx.Err() != nil {
		return nil
	}
	h := &headStart{addr: addr, began: time.Now(), made: make(chan *transport.Stream, 1)}
	connect := func(ctx context.Context) (up bool) {
		s, err := n.cfg.Transport.Connect(ctx, transport.WithPeerName(addr, node))
		if err != nil { // the connection proper says why
			s = nil
		}
		h.made <- s
		return s != nil
	}
	if at, err := transport.AddrPort(addr); err == nil && at.Addr().IsLoopback() {
		h.cancel = func() {}
		h.up = connect(transport.NoWait())
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

// errElsewhere: a node is not where it was.
var errElsewhere = errors.New("the port mapper gives another address")

// initiateEarly does the handshake over a head start. over is false if the peer has said nothing: whoever accepted the connection did not
// wait, or has ended meanwhile, and nothing is known of whoever listens now.
func (n *Node) initiateEarly(ctx context.Context, i *initiative, s *transport.Stream, opened func(*transport.Stream)) (c *Conn, over bool,
	err error) {
	heard := false
	c, err = n.initiateOver(ctx, i, s, func() {
		if !heard {
			heard = true
			opened(s)
		}
	})
	return c, err == nil || heard || ctx.Err() != nil, err
}

// initiateAhead is initiateEarly for a head start of which the port mapper is still to be asked: it is, after our name has gone out and
// before anything is read. If the node is not there, or has not waited, i.at says where it is.
func (n *Node) initiateAhead(ctx context.Context, i *initiative, h *headStart, opened func(*transport.Stream)) (c *Conn, over bool, err error) {
	var at Endpoint
	var refused error
	asked, slow := false, false
	ask := func() error {
		asked = true
		began := time.Now()
		if at, refused = h.query.ask(ctx); refused != nil {
			return refused
		}
		slow = time.Since(began) >= slowAnswer
		if at.Addr != i.at.Addr || at.Version5 != i.at.Version5 {
			return errElsewhere
		}
		return nil
	}
	i.confirm = ask
	c, over, err = n.initiateEarly(ctx, i, <-h.made, opened)
	i.confirm = nil
	if over && !(err != nil && slow && ctx.Err() == nil) {
		return c, true, err
	}
	n.givesNoName(i.attempt)
	if !asked || lacksDescriptors(refused) { // the connection is closed now
		_ = ask()
	}
	i.at.Addr, i.at.Version5 = at.Addr, at.Version5
	return nil, refused != nil, refused
}

// maxKnownPorts is how many nodes a PortMapper remembers the ports of.
const maxKnownPorts = 1024

// knownPorts are the ports that nodes had when the port mapper was last asked for them.
type knownPorts struct {
	mu sync.Mutex
	of map[string]knownPort
}

// A knownPort is what the port mapper has said of a node; the zero value: nothing.
type knownPort struct {
	port     uint16
	version5 bool
	asked    time.Time
}

func (k *knownPorts) get(node string) knownPort {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.of[node]
}

// set remembers a node's port, perhaps in the place of another node's.
func (k *knownPorts) set(node string, p knownPort) {
	k.mu.Lock()
	defer k.mu.Unlock()
	putFew(&k.of, node, p, maxKnownPorts)
}

// forget forgets a node, whose port is not known any more.
func (k *knownPorts) forget(node string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.of, node)
}
