package serve

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/pubsub"
)

// A peer is the registered process with which other programs test and measure this node. Terms that
// it sends back are not decoded, so that every byte returns as it came.
//
// Messages of one connection are handled in their order. Connections do not wait for each other:
// see lane.
type peer struct {
	node   *nodes.Node
	log    *slog.Logger
	pubsub *pubsub.PubSub // nil: none
	box    *nodes.Mailbox
	ctx    context.Context // of its sends
	end    context.CancelFunc

	mu      sync.Mutex
	closing bool
	lanes   map[*nodes.Conn]*lane
	// of sink, from the previous process, by the name of the connection's peer
	counts  map[string]map[sender]int64
	working int           // lanes with a goroutine
	resting chan struct{} // closed when working is 0; nil: nothing waits for that
}

const peerName = "peer"

// startPeer starts and registers the process. before is what handover gave in the previous process.
// stop ends the peer.
func startPeer(n *nodes.Node, log *slog.Logger, before []byte, ps *pubsub.PubSub) (*peer, error) {
	p := &peer{node: n, log: log, pubsub: ps, lanes: map[*nodes.Conn]*lane{}, counts: parseCounts(before)}
	p.ctx, p.end = context.WithCancel(context.Background())
	var err error
	// A linked process that ends does not take this one along.
	p.box, err = n.Handle(peerName, p.take, &nodes.MailboxOptions{TrapExit: true})
	if err != nil {
		p.end()
	}
	return p, err
}

// stop ends the process, which links and monitors report. What it has begun to do goes on until it
// is done or ctx ends.
func (p *peer) stop(ctx context.Context) {
	p.mu.Lock()
	p.closing = true
	p.mu.Unlock()
	p.box.Exit(ei.Atom("shutdown"))
	defer context.AfterFunc(ctx, p.end)()
	<-p.rest()
	p.end()
}

// take handles a message on its connection's own goroutine. A message that it does not understand
// is logged and dropped.
func (p *peer) take(self *nodes.Mailbox, m *nodes.Message) {
	if m.Op == dist.OpExit { // a client that was linked has ended
		m.Release()
		return
	}
	c := m.Conn()
	if call, ok := self.CallOf(m); ok { // gen_server:call(peer, T) is answered with {ok, T}
		size := jobSize + termSize*len(m.Payload)
		m.Release()
		// The size of the answer is not known, so the connection's goroutine must not send it.
		p.lane(c).take(job{call: call, cost: laneBudget + 1, size: size})
		return
	}
	r, err := parseRequest(m.Payload)
	if err != nil {
		p.lane(c).complain(err)
		m.Release()
		return
	}
	j := job{request: r, message: m, size: jobSize + len(m.Payload)}
	switch {
	case c == nil || r.from.node() != c.Name():
		// The answer does not go over c, and sending it may take time.
		j.cost = laneBudget + 1
	case r.verb == sink && !r.last:
		j.cost = 0
	case r.verb == source:
		j.cost = laneBudget + 1
	default:
		j.cost = sendCost + len(r.from.node()) + len(r.term)
	}
	p.lane(c).take(j)
}

// lane gives the lane of a connection; c is nil for a sender on this node.
func (p *peer) lane(c *nodes.Conn) *lane {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lanes[c]
	if l == nil {
		for old := range p.lanes {
			if old != nil && old.Err() != nil {
				delete(p.lanes, old)
			}
		}
		l = newLane(p, c)
		if before := p.counts[connName(c)]; before != nil {
			l.counts = before
			delete(p.counts, connName(c))
		}
		p.lanes[c] = l
	}
	return l
}

// begin counts a lane that starts to work; false once the peer is closing.
func (p *peer) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return false
	}
	p.working++
	return true
}

// finish counts a lane that has ended its work.
func (p *peer) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.working--; p.working == 0 && p.resting != nil {
		close(p.resting)
		p.resting = nil
	}
}

// rest gives a channel that is closed once no lane works; unless the peer is closing, a lane may
// begin again.
func (p *peer) rest() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.resting != nil {
		return p.resting
	}
	rest := make(chan struct{})
	if p.working == 0 {
		close(rest)
	} else {
		p.resting = rest
	}
	return rest
}

// A verb says what a client of the peer wants.
type verb uint8

const (
	echo    verb = iota + 1 // {echo, From, T}; From is a pid, or an alias in its place
	sink                    // {sink, From, Last, Bin}
	source                  // {source, From, N, B}
	publish                 // {publish, Topic, Message}
)

// A request is what a client asks for. term aliases the message.
type request struct {
	verb  verb
	from  sender
	last  bool
	times int64
	topic string
	term  ei.Raw
}

// A sender is where answers go to: a process or, if its pid is the zero one, the process that has
// made an alias.
type sender struct {
	pid   ei.Pid
	alias ei.Ref
}

func readSender(c *ei.Cursor) (to sender, err error) {
	if tag, _ := c.Peek(); tag.IsRef() {
		to.alias, err = c.Ref()
	} else {
		to.pid, err = c.Pid()
	}
	return to, err
}

// senderOf is the sender that term has given; false if t is another term.
func senderOf(t ei.Term) (to sender, ok bool) {
	switch t := t.(type) {
	case ei.Pid:
		to.pid = t
	case ei.Ref:
		to.alias = t
	default:
		return to, false
	}
	return to, true
}

func (to sender) term() ei.Term {
	if to.alias.Len > 0 {
		return to.alias
	}
	return to.pid
}

func (to sender) node() string {
	if to.alias.Len > 0 {
		return string(to.alias.Node)
	}
	return string(to.pid.Node)
}

var errRequest = errors.New("not a request")

func parseRequest(payload ei.Raw) (r request, err error) {
	c := ei.NewCursor(payload)
	arity, err := c.Tuple()
	switch {
	case err != nil:
		return r, err
	case arity == 3 && c.AtomIs("echo"):
		r.verb = echo
	case arity == 4 && c.AtomIs("sink"):
		r.verb = sink
	case arity == 4 && c.AtomIs("source"):
		r.verb = source
	case arity == 3 && c.AtomIs("publish"):
		return r, parsePublish(&c, &r)
	default:
		return r, errRequest
	}
	if r.from, err = readSender(&c); err != nil {
		return r, err
	}
	switch r.verb {
	case sink:
		r.last, err = c.Bool()
		return r, err // Bin is only counted
	case source:
		if r.times, err = c.Int(); err != nil {
			return r, err
		}
	}
	r.term, err = c.Raw() // must be well-formed, since it is sent to others
	return r, err
}

// laneGrace is how long a hand-off waits for what the peer still has to send.
const laneGrace = 2 * time.Second

// errOwing ends a hand-off: a client does not read what it has asked for, and the rest of that
// would be lost.
var errOwing = errors.New("the peer still has something to send that a client does not read")

// handover waits until the peer has done everything, and gives what its successor needs to know:
// the counts of sink. No new messages come meanwhile.
func (p *peer) handover(ctx context.Context) ([]byte, error) {
	t := time.NewTimer(laneGrace)
	defer t.Stop()
	select {
	case <-p.rest():
	case <-t.C:
		return nil, errOwing
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var list ei.List
	for c, l := range p.lanes {
		if c != nil && c.Err() != nil {
			continue
		}
		for from, n := range l.counts {
			list = append(list, ei.Tuple{ei.Binary(connName(c)), from.term(), ei.Int(n)})
		}
	}
	// of connections that have sent nothing since the last hand-off
	for name, counts := range p.counts {
		for from, n := range counts {
			list = append(list, ei.Tuple{ei.Binary(name), from.term(), ei.Int(n)})
		}
	}
	return ei.AppendTerm(nil, list)
}

// connName is the name of a connection's peer; "" for senders on this node.
func connName(c *nodes.Conn) string {
	if c == nil {
		return ""
	}
	return c.Name()
}

// parseCounts reads what handover has written, and leaves out what it does not understand.
func parseCounts(blob []byte) map[string]map[sender]int64 {
	counts := map[string]map[sender]int64{}
	c := ei.NewCursor(blob)
	t, err := c.Term()
	list, ok := t.(ei.List)
	if err != nil || !ok {
		return counts
	}
	for _, t := range list {
		entry, ok := t.(ei.Tuple)
		if !ok || len(entry) != 3 {
			continue
		}
		name, isName := entry[0].(ei.Binary)
		from, isSender := senderOf(entry[1])
		n, isCount := entry[2].(ei.Int)
		if !isName || !isSender || !isCount {
			continue
		}
		if counts[string(name)] == nil {
			counts[string(name)] = map[sender]int64{}
		}
		counts[string(name)][from] = int64(n)
	}
	return counts
}
