package nodes

import (
	"context"
	"sync"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// A parting is the signals that a process which ends has for the processes of one node, or of one worker of this node, in their order. A
// node that does not read holds up its own signals only.
type parting struct {
	n       *Node
	to      extent
	conn    *Conn // counts them in its exits; nil: there is no connection, or they are for this node
	signals []*dist.Control
	bytes   int  // of reasons
	prompt  bool // they do not wait for room: a peer can start any number of such processes, and has to read how they end
}

// Up to this many signals of a process that ends, and bytes of reasons, go out at once, whatever waits before them: some are sent by a
// goroutine that reads. Any more wait for their turn, as does a process that ends in Erlang.
const (
	exitSignals = 64
	exitBytes   = 256 << 10
)

// lastWords lists the signals that tell of the end of the mailbox; b.mu is held. Without a connection the other side knows already.
func (b *Mailbox) lastWords(reason ei.Term) map[extent]*parting {
	if len(b.links)+len(b.watchers)+len(b.watching) == 0 {
		return nil
	}
	raw, all := exitReason(reason), map[extent]*parting{}
	add := func(to extent, ctl *dist.Control) {
		w := all[to]
		if w == nil {
			w = &parting{n: b.n, to: to, prompt: b.private}
			all[to] = w
		}
		w.signals = append(w.signals, ctl)
		w.bytes += len(ctl.Reason)
	}
	tell := func(ctl *dist.Control) { add(b.n.extentOf(ctl.To), ctl) }
	for pid, l := range b.links {
		if l.active {
			sendExit(tell, b.pid, pid, raw)
		}
	}
	for id, w := range b.watchers {
		sendDown(tell, b.pid, w, id.ref, raw)
	}
	for ref, t := range b.watching {
		add(extent{t.node, t.worker}, demonitor(b.pid, t, ref)) // whoever has the name by now
	}
	for _, w := range all {
		b.n.procs.exits.Enter()
		if w.conn = b.n.Conn(w.to.node); w.conn != nil {
			w.conn.exits.Enter()
		}
	}
	return all
}

// leave undoes the Enter of lastWords: the signals are out, or left to the connection. From then on a freeze does not wait for them.
func (w *parting) leave() {
	if w.conn != nil {
		w.conn.exits.Leave()
	}
	w.n.procs.exits.Leave()
}

// say passes the signals to tell.
func (w *parting) say(tell teller) {
	defer w.leave()
	for _, ctl := range w.signals {
		tell(ctl)
	}
}

// sayNow sends the signals without waiting; what is too much to go out at once is left to a goroutine of the connection. If that has no
// room, later waits for some.
func (w *parting) sayNow() (later func()) {
	c := w.way()
	switch {
	case w.isHere():
		w.sayHere()
	case c == nil:
		w.say(func(*dist.Control) {})
	case len(w.signals) > exitSignals || w.bytes > exitBytes || !w.prompt && c.isFull():
		if !c.sayIfRoom(w) {
			return func() { c.sayInTurn(w) }
		}
	default:
		w.say(c.tell)
	}
	return nil
}

// sayHere tells processes of this node. A process that ends because of this tells others within the same call, and so on: since a chain of
// links may be longer than a stack is deep, the call goes on on another goroutine now and then.
func (w *parting) sayHere() {
	deep := &w.n.procs.telling
	defer deep.Add(-1)
	if deep.Add(1)%maxNested != 0 {
		w.say(w.n.localSignal)
		return
	}
	apart(func() { w.say(w.n.localSignal) })
}

// sayElsewhere sends the signals that are not for asker, and returns those that are for processes of this node, or nil. If a connection has
// no room for its signals a goroutine sends them; wait waits for these goroutines.
func sayElsewhere(words map[extent]*parting, asker extent) (here *parting, wait func()) {
	var said sync.WaitGroup
	for to, w := range words {
		switch {
		case to == asker:
		case w.isHere():
			here = w
		default:
			if later := w.sayNow(); later != nil {
				said.Add(1)
				w.n.goroutines.Run(func() { defer said.Done(); later() })
			}
		}
	}
	return here, said.Wait
}

// sayBy sends the signals in their turn, until ctx ends; from then on without waiting.
func (w *parting) sayBy(ctx context.Context) {
	if c := w.way(); c != nil {
		w.say(c.tellInTurn(ctx))
	} else {
		w.sayNow()
	}
}

func (w *parting) isHere() bool { return w.to == extent{node: w.n.Name()} }

// way is the connection to the other node or worker; nil if there is none, and the other side knows, or if the signals are for processes
// here.
func (w *parting) way() *Conn {
	if w.to.worker != 0 {
		return w.n.part.sibling(w.to.worker)
	}
	return w.conn
}

// Partings are the signals of ended processes that a connection has yet to send. One goroutine sends them, while there are any; while the
// connection stands still none does, for what is left may move with it.
type partings struct {
	mu      sync.Mutex
	signals []*dist.Control // the first is being sent
	bytes   int             // what they count towards maxPartings
	saying  wait.Pausable   // a turn sends all that there is; the bell rings also when there is room for more
}

// At most maxPartings bytes of signals wait for a peer, or those of one process; each signal counts its reason and signalCost. If there is
// no room for more the process that ends waits for it, as long as something goes out to the peer within Config.TickInterval: what has gone
// out is counted by whole writes, and a slow line takes seconds for one.
const (
	maxPartings = DefaultMailboxLimit
	signalCost  = 512
)

// sayInTurn leaves the signals to the goroutine that sends those for the peer, and waits for room. A peer that leaves no room, and does not
// read, loses the connection; the end of the connection ends every wait for room.
func (c *Conn) sayInTurn(w *parting) {
	if !c.partingRoom(w.cost()) {
		w.leave()
		c.fail(ErrEndsUnread)
		return
	}
	defer c.partings.mu.Unlock()
	c.queueParting(w)
}

// sayIfRoom is sayInTurn that does not wait; false if it would have to.
func (c *Conn) sayIfRoom(w *parting) bool {
	p := &c.partings
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.saying.Halted() || !p.takes(w.cost()) {
		return false
	}
	c.queueParting(w)
	return true
}

// cost is what the signals count towards maxPartings.
func (w *parting) cost() int { return w.bytes + signalCost*len(w.signals) }

// takes tells whether there is room for that many bytes more; p.mu is held.
func (p *partings) takes(bytes int) bool { return len(p.signals) == 0 || p.bytes+bytes <= maxPartings }

// queueParting queues signals for which there is room; partings.mu is held.
func (c *Conn) queueParting(w *parting) {
	defer w.leave()
	p := &c.partings
	if len(p.signals) == 0 {
		c.n.procs.partings.Enter()
	}
	p.signals, p.bytes = append(p.signals, w.signals...), p.bytes+w.cost()
	c.sayPartings()
}

// partingRoom waits while the connection stands still, and for room for that many bytes more. If it returns true, partings.mu is held;
// false: the peer has read nothing for a Config.TickInterval.
func (c *Conn) partingRoom(bytes int) bool {
	p := &c.partings
	patience := c.n.cfg.TickInterval
	late := time.NewTimer(patience)
	defer late.Stop()
	_, before := c.q.Buffered()
	for {
		p.mu.Lock()
		switch {
		case p.saying.Halted():
			p.mu.Unlock()
			_ = c.frozen.Pass(context.Background())
			late.Reset(patience)
			continue
		case p.takes(bytes):
			return true
		}
		room := p.saying.Changed.Next()
		p.mu.Unlock()
		select {
		case <-room:
		case <-late.C:
			_, sent := c.q.Buffered()
			if sent == before {
				return false
			}
			before = sent // the peer reads
			late.Reset(patience)
		}
	}
}

// sayPartings begins to send what waits, unless that is in progress or halted; partings.mu is held.
func (c *Conn) sayPartings() {
	p := &c.partings
	if len(p.signals) > 0 && !p.saying.Runs() && p.saying.Begin() {
		ctx := p.saying.Context()
		c.n.goroutines.Run(func() { c.sayAll(ctx) })
	}
}

// sayAll sends what waits, and what is added meanwhile, until the connection is to stand still: then ctx ends.
func (c *Conn) sayAll(ctx context.Context) {
	p := &c.partings
	p.mu.Lock()
	defer p.mu.Unlock()
	for ctx.Err() == nil && len(p.signals) > 0 {
		ctl := p.signals[0]
		p.mu.Unlock()
		err := c.sendSignal(ctx, ctl)
		unsaid := err != nil && ctx.Err() != nil && c.Err() == nil // another failure is the connection's end, which tells the peer
		p.mu.Lock()
		if !unsaid {
			p.signals[0], p.signals = nil, p.signals[1:]
			p.bytes -= len(ctl.Reason) + signalCost
			if p.bytes <= maxPartings/2 { // not after every signal
				p.saying.Changed.Ring()
			}
			c.noneParting()
		}
	}
	p.saying.Done()
	c.sayPartings() // the halt may be over already
}

// noneParting notes that nothing waits any more, if that is so; partings.mu is held.
func (c *Conn) noneParting() {
	if p := &c.partings; len(p.signals) == 0 {
		p.signals = nil
		c.n.procs.partings.Leave()
	}
}

// holdPartings stops the sending of what waits, until letPartings.
func (c *Conn) holdPartings(ctx context.Context) error {
	return c.partings.saying.Pause(ctx, &c.partings.mu)
}

// letPartings ends holdPartings.
func (c *Conn) letPartings() {
	c.partings.mu.Lock()
	defer c.partings.mu.Unlock()
	c.partings.saying.Resume()
	c.sayPartings()
}

// dropPartings is letPartings for a connection that sends what waits in another process. If it is just being sent here, since nothing holds
// it, the goroutine that does so finds that the connection has ended.
func (c *Conn) dropPartings() {
	p := &c.partings
	p.mu.Lock()
	defer p.mu.Unlock()
	p.saying.Resume()
	if !p.saying.Runs() && len(p.signals) > 0 {
		p.signals, p.bytes = nil, 0
		c.noneParting()
	}
}

// appendPartings appends what waits, in the form in which it would go out.
func (c *Conn) appendPartings(b []byte) (_ []byte, err error) {
	c.partings.mu.Lock()
	defer c.partings.mu.Unlock()
	for _, ctl := range c.partings.signals {
		if ctl, payload, ok := c.agreed(ctl); ok {
			if b, err = dist.AppendFrame(b, ctl, payload); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}
