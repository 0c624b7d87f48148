package genstage

import (
	"errors"
	"math"
	"os"
	"slices"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// Who gets the events. All of it holds Producer.mu, and does not wait: a consumer whose node does
// not read is left out, and has a goroutine that waits for it, until it reads.

// A consumer is a subscription.
type consumer struct {
	pid     ei.Pid
	key     string // of Producer.consumers
	tag     ei.Raw // in a form that its node takes
	monitor ei.Ref // without words: none yet
	demand  int64
	busy    bool     // a goroutine sends outbox
	outbox  []ei.Raw // messages, of which the first is being sent
}

// available is how many events the consumers take now.
func (p *Producer) available() (sum int64) {
	if len(p.order) == 0 {
		return 0
	}
	least := int64(math.MaxInt64)
	for _, c := range p.order {
		takes := c.demand
		if c.busy {
			takes = 0
		}
		sum, least = plus(sum, takes), min(least, takes)
	}
	if p.dispatcher == Broadcast {
		return least
	}
	return sum
}

// demand adds to what a consumer has demanded. It goes before those who have demanded less.
func (p *Producer) demand(c *consumer, more int64) {
	c.demand = plus(c.demand, more)
	p.place(c)
}

func (p *Producer) place(c *consumer) {
	p.order = slices.DeleteFunc(p.order, func(other *consumer) bool { return other == c })
	at := slices.IndexFunc(p.order, func(other *consumer) bool { return c.demand > other.demand })
	if at < 0 {
		at = len(p.order)
	}
	p.order = slices.Insert(p.order, at, c)
}

// dispatch sends what is there and demanded.
func (p *Producer) dispatch() {
	for len(p.buffer) > 0 && p.begun && !p.holds {
		most := p.available()
		var to []*consumer
		if p.dispatcher == Broadcast {
			to = p.order
		} else if i := slices.IndexFunc(p.order, func(c *consumer) bool { return !c.busy && c.demand > 0 }); i >= 0 {
			to = p.order[i : i+1]
			most = to[0].demand
		}
		n := batch(p.buffer, most)
		if n == 0 || len(to) == 0 {
			return
		}
		events := p.buffer[:n]
		if p.buffer = p.buffer[n:]; len(p.buffer) == 0 {
			p.buffer = nil
		}
		for _, c := range slices.Clone(to) {
			c.demand -= int64(n)
			p.place(c)
			m, err := eventsMessage(p.b.Pid(), c.tag, events)
			if err == nil {
				p.send(c, m)
			}
		}
	}
}

// send sends a message to a consumer, after those before it.
func (p *Producer) send(c *consumer, m ei.Raw) {
	if c.busy {
		c.outbox = append(c.outbox, m)
		return
	}
	err := p.b.Send(noWait(), c.pid, m)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.busy, c.outbox = true, append(c.outbox, m)
		p.background(func() { p.sendLater(c) })
	case err != nil: // its DOWN comes
		p.log.Debug("a consumer gets nothing", "consumer", c.pid, "error", err)
	}
}

// sendLater sends the outbox of a consumer as its node reads.
func (p *Producer) sendLater(c *consumer) {
	for {
		p.mu.Lock()
		if len(c.outbox) == 0 {
			c.busy, c.outbox = false, nil
			p.dispatch()
			p.mu.Unlock()
			p.ring()
			return
		}
		m := c.outbox[0]
		p.mu.Unlock()
		if err := p.b.Send(nodes.NoConnect(p.ctx), c.pid, m); err != nil {
			p.log.Debug("a consumer gets nothing", "consumer", c.pid, "error", err)
		}
		p.mu.Lock()
		c.outbox = c.outbox[1:]
		p.mu.Unlock()
	}
}

// remove ends a subscription, and tells the consumer, unless reason is nil: it has ended. It
// returns the monitor, which the caller ends without mu.
func (p *Producer) remove(c *consumer, reason ei.Raw) ei.Ref {
	if p.consumers[c.key] != c {
		return ei.Ref{}
	}
	delete(p.consumers, c.key)
	delete(p.monitors, c.monitor)
	p.order = slices.DeleteFunc(p.order, func(other *consumer) bool { return other == c })
	if reason != nil {
		if m, err := order(toConsumer, p.b.Pid(), c.tag, ei.Tuple{cancelOrder, reason}); err == nil {
			p.send(c, m)
		}
	}
	p.dispatch() // for Broadcast it may have been the slowest
	return c.monitor
}

// background runs f on a goroutine for whose end Done waits, unless the producer has ended.
func (p *Producer) background(f func()) {
	if p.ctx.Err() == nil {
		p.work.Go(f)
	}
}
