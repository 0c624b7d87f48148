package nodes

import (
	"context"
	"sync"
	"time"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// An exitQueue is the signals of ended processes, and of ended monitors, that a connection has yet
// to send. One goroutine sends them, while there are any; while the connection stands still none
// does, for what is left may move with it.
type exitQueue struct {
	mu      sync.Mutex
	signals []*dist.Control // the first is being sent
	bytes   int             // what they count towards maxExitQueue
	// a turn sends all that there is; the bell rings also when there is room for more
	saying wait.Pausable
}

// At most maxExitQueue bytes of signals wait for a peer, or those of one process; each signal
// counts its reason and signalCost. If there is no room for more the process that ends waits for
// it, as long as the peer reads something within each Config.TickInterval.
const (
	maxExitQueue = DefaultMailboxLimit
	signalCost   = 512
)

// sayInTurn leaves the signals to the goroutine that sends those for the peer, and waits for room.
// A peer that leaves no room, and does not read, loses the connection; the end of the connection
// ends every wait for room.
func (c *Conn) sayInTurn(w *exitNotice) {
	if !c.exitQueueRoom(w.cost()) {
		w.leave()
		c.fail(ErrEndsUnread)
		return
	}
	defer c.exitQueue.mu.Unlock()
	c.queueExitNotice(w)
}

// sayIfRoom is sayInTurn that does not wait; false if it would have to.
func (c *Conn) sayIfRoom(w *exitNotice) bool {
	p := &c.exitQueue
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.saying.Halted() || !p.takes(w.cost()) {
		return false
	}
	c.queueExitNotice(w)
	return true
}

// sayLater leaves a signal, whose place among others does not matter, to the goroutine that sends
// those of ended processes, if senders wait for room. It does not wait; false: the caller is to
// send it.
func (c *Conn) sayLater(ctl *dist.Control) bool {
	if !c.isFull() {
		return false
	}
	w := &exitNotice{n: c.n, conn: c, signals: []*dist.Control{ctl}}
	c.n.procs.exits.Enter()
	c.exits.Enter()
	if !c.sayIfRoom(w) {
		w.leave()
		return false
	}
	return true
}

// cost is what the signals count towards maxExitQueue.
func (w *exitNotice) cost() int { return w.bytes + signalCost*len(w.signals) }

// takes tells whether there is room for that many bytes more; p.mu is held.
func (p *exitQueue) takes(bytes int) bool {
	return len(p.signals) == 0 || p.bytes+bytes <= maxExitQueue
}

// queueExitNotice queues signals for which there is room; exitQueue.mu is held.
func (c *Conn) queueExitNotice(w *exitNotice) {
	defer w.leave()
	p := &c.exitQueue
	if len(p.signals) == 0 {
		c.n.procs.exitQueues.Enter()
	}
	p.signals, p.bytes = append(p.signals, w.signals...), p.bytes+w.cost()
	c.sendExitQueue()
}

// exitQueueRoom waits while the connection stands still, and for room for that many bytes more. If
// it returns true, exitQueue.mu is held; false: the peer has read nothing for a
// Config.TickInterval.
func (c *Conn) exitQueueRoom(bytes int) bool {
	p := &c.exitQueue
	patience := c.n.cfg.TickInterval
	late := time.NewTimer(patience)
	defer late.Stop()
	var before *progress // nil: no wait has begun
	for {
		p.mu.Lock()
		switch {
		case p.saying.Halted():
			p.mu.Unlock()
			_ = c.life.Before(context.Background(), life.Frozen)
			late.Reset(patience)
			continue
		case p.takes(bytes):
			return true
		}
		room := p.saying.Changed.Next()
		p.mu.Unlock()
		if before == nil {
			now := c.progress()
			before = &now
		}
		select {
		case <-room:
		case <-late.C:
			now := c.progress()
			if now == *before {
				return false
			}
			before = &now // the peer reads
			late.Reset(patience)
		}
	}
}

// exitsSaid waits until the signals of all processes that have ended are in the connection's queue
// of messages.
func (c *Conn) exitsSaid(ctx context.Context) error {
	if err := c.exits.Wait(ctx); err != nil {
		return err
	}
	for p := &c.exitQueue; ; {
		p.mu.Lock()
		empty, change := len(p.signals) == 0, p.saying.Changed.Next()
		p.mu.Unlock()
		if empty {
			return nil
		}
		select {
		case <-change:
		case <-c.done:
			return c.Err()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// sendExitQueue begins to send what waits, unless that is in progress or halted; exitQueue.mu is
// held.
func (c *Conn) sendExitQueue() {
	p := &c.exitQueue
	if len(p.signals) > 0 && !p.saying.Runs() && p.saying.Begin() {
		ctx := p.saying.Context()
		c.n.goroutines.Run(func() { c.sayAll(ctx) })
	}
}

// sayAll sends what waits, and what is added meanwhile, until the connection is to stand still:
// then ctx ends.
func (c *Conn) sayAll(ctx context.Context) {
	p := &c.exitQueue
	p.mu.Lock()
	defer p.mu.Unlock()
	for ctx.Err() == nil && len(p.signals) > 0 {
		ctl := p.signals[0]
		p.mu.Unlock()
		err := c.sendSignal(ctx, ctl)
		// another failure is the connection's end, which tells the peer
		unsaid := err != nil && ctx.Err() != nil && c.Err() == nil
		p.mu.Lock()
		if !unsaid {
			p.signals[0], p.signals = nil, p.signals[1:]
			p.bytes -= len(ctl.Reason) + signalCost
			if p.bytes <= maxExitQueue/2 { // not after every signal
				p.saying.Changed.Ring()
			}
			c.exitQueueEmpty()
		}
	}
	p.saying.Done()
	c.sendExitQueue() // the halt may be over already
}

// exitQueueEmpty notes that nothing waits any more, if that is so; exitQueue.mu is held.
func (c *Conn) exitQueueEmpty() {
	if p := &c.exitQueue; len(p.signals) == 0 {
		p.signals = nil
		c.n.procs.exitQueues.Leave()
	}
}

// holdExitQueue stops the sending of what waits, until letExitQueue.
func (c *Conn) holdExitQueue(ctx context.Context) error {
	return c.exitQueue.saying.Pause(ctx, &c.exitQueue.mu)
}

// letExitQueue ends holdExitQueue.
func (c *Conn) letExitQueue() {
	c.exitQueue.mu.Lock()
	defer c.exitQueue.mu.Unlock()
	c.exitQueue.saying.Resume()
	c.sendExitQueue()
}

// dropExitQueue is letExitQueue for a connection that sends what waits in another process. If it is
// just being sent here, since nothing holds it, the goroutine that does so finds that the
// connection has ended.
func (c *Conn) dropExitQueue() {
	p := &c.exitQueue
	p.mu.Lock()
	defer p.mu.Unlock()
	p.saying.Resume()
	if !p.saying.Runs() && len(p.signals) > 0 {
		p.signals, p.bytes = nil, 0
		c.exitQueueEmpty()
	}
}

// appendExitQueue appends what waits, in the form in which it would go out.
func (c *Conn) appendExitQueue(b []byte) (_ []byte, err error) {
	c.exitQueue.mu.Lock()
	defer c.exitQueue.mu.Unlock()
	for _, ctl := range c.exitQueue.signals {
		if ctl, payload, ok := c.agreed(ctl); ok {
			if b, err = dist.AppendFrame(b, ctl, payload); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}
