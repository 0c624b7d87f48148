package genstage

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"maps"
	"os"
	"slices"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// Who gets the events. All of it holds Producer.mu, and does not wait: what cannot be sent now
// waits for its way, with a goroutine, and the consumers there are left out until nothing waits.

const (
	// subscriptionCost is what a subscription takes besides its tag, in bytes, or more.
	subscriptionCost = 1 << 10
	// mostSpent is what the subscriptions of another node may take, and what they have waiting.
	mostSpent = 64 << 20
	// mostDemand is what a consumer may have demanded: the sum of all has to be a number.
	mostDemand = 1 << 40
)

// A consumer is a subscription.
type consumer struct {
	pid     ei.Pid
	asker   string // the node that has asked for it
	key     string // of Producer.consumers
	tag     ei.Raw // in a form that its node takes
	monitor ei.Ref // without words: none yet
	demand  int64
	turn    int64 // grows with each change of demand
	way     *way
	waits   int // how many errands on the way are its
	spent   int // bytes
	place   int // in Producer.ready; -1: it is not there
}

// A way leads to the consumers of a node or, in this node, to those that are one process: where one
// of them has no room, the others have none.
type way struct {
	consumers map[ei.Pid]map[*consumer]struct{}
	count     int
	waiting   []errand // of which the first is being done
}

// An errand is a message for a consumer; nil: it is to be monitored.
type errand struct {
	c       *consumer
	message func() (ei.Raw, error)
}

// wayTo is the key of a process's way.
func (p *Producer) wayTo(pid ei.Pid) ei.Pid {
	if pid.Node == p.b.Pid().Node {
		return pid
	}
	return ei.Pid{Node: pid.Node}
}

// of are the subscriptions of a process.
func (p *Producer) of(pid ei.Pid) map[*consumer]struct{} {
	if w := p.ways[p.wayTo(pid)]; w != nil {
		return w.consumers[pid]
	}
	return nil
}

// spend notes that a consumer takes more bytes.
func (p *Producer) spend(c *consumer, bytes int) {
	c.spent += bytes
	p.spent[c.asker] += bytes
}

// pay is spend if another node's consumers may take so much more.
func (p *Producer) pay(c *consumer, bytes int) bool {
	if p.spent[c.asker]+bytes > mostSpent && c.asker != p.b.Node().Name() {
		return false
	}
	p.spend(c, bytes)
	return true
}

// given is the reason that a peer gives for the end of a subscription, as its consumer gets it.
func (p *Producer) given(c *consumer, reason ei.Raw) ei.Raw {
	if ok := acceptable(reason, c.pid.Node); p.pay(c, len(ok)) {
		return ok
	}
	return undecodable
}

// settle gives back what a consumer takes that has gone, and for which nothing waits.
func (p *Producer) settle(c *consumer) {
	if c.waits > 0 || p.consumers[c.key] == c {
		return
	}
	if p.spent[c.asker] -= c.spent; p.spent[c.asker] == 0 {
		delete(p.spent, c.asker)
	}
	c.spent = 0
	if at := p.wayTo(c.pid); c.way.count == 0 && len(c.way.waiting) == 0 && p.ways[at] == c.way {
		delete(p.ways, at)
	}
}

// add makes a consumer one of the producer's.
func (p *Producer) add(c *consumer) {
	p.consumers[c.key] = c
	at := p.wayTo(c.pid)
	if c.way = p.ways[at]; c.way == nil {
		c.way = &way{consumers: map[ei.Pid]map[*consumer]struct{}{}}
		p.ways[at] = c.way
	}
	if c.way.consumers[c.pid] == nil {
		c.way.consumers[c.pid] = map[*consumer]struct{}{}
	}
	c.way.consumers[c.pid][c] = struct{}{}
	c.way.count++
	c.place = -1
	p.demand(c, 0)
	if len(c.way.waiting) == 0 {
		p.ready.add(c)
	} else {
		p.stuck++
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
	if !p.ready.remove(c) {
		p.stuck--
	}
	c.way.count--
	if of := c.way.consumers[c.pid]; len(of) > 1 {
		delete(of, c)
	} else {
		delete(c.way.consumers, c.pid)
	}
	if reason != nil {
		p.do(errand{c, func() (ei.Raw, error) { return order(toConsumer, p.b.Pid(), c.tag, ei.Tuple{cancelOrder, reason}) }})
	}
	p.settle(c)
	p.dispatch() // for Broadcast it may have been the slowest
	return c.monitor
}

// ordered are the consumers, those first that have demanded most.
func (p *Producer) ordered() []*consumer {
	return slices.SortedFunc(maps.Values(p.consumers), func(a, b *consumer) int {
		return cmp.Or(cmp.Compare(b.demand, a.demand), cmp.Compare(a.turn, b.turn))
	})
}

// available is how many events the consumers take now.
func (p *Producer) available() int64 {
	if p.dispatcher == Demand {
		return p.ready.sum
	}
	if p.stuck > 0 || len(p.ready.list) == 0 {
		return 0
	}
	return p.ready.list[0].demand
}

// demand adds to what a consumer has demanded. It goes before those who have demanded less.
func (p *Producer) demand(c *consumer, more int64) {
	isReady := p.ready.remove(c)
	c.demand += more
	p.turns++
	c.turn = p.turns
	if isReady {
		p.ready.add(c)
	}
}

// dispatch sends what is there and demanded.
func (p *Producer) dispatch() {
	for len(p.buffer) > 0 && p.begun && !p.holds && p.available() > 0 {
		to := p.ready.list
		if p.dispatcher == Demand {
			to = to[:1]
		}
		n := batch(p.buffer, to[0].demand)
		events := p.buffer[:n]
		if p.buffer = p.buffer[n:]; len(p.buffer) == 0 {
			p.buffer = nil
		}
		for _, c := range slices.Clone(to) {
			p.demand(c, -int64(n))
			p.do(errand{c, func() (ei.Raw, error) { return eventsMessage(p.b.Pid(), c.tag, events) }})
		}
	}
}

// do does an errand, after those that wait for the same way.
func (p *Producer) do(e errand) {
	w := e.c.way
	if len(w.waiting) == 0 {
		ref, err := p.attempt(noWait(), e)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			p.attempted(e, ref, err)
			return
		}
		for c := range w.all {
			p.ready.remove(c)
		}
		p.stuck += w.count
		p.background(func() { p.catchUp(w) })
	}
	w.waiting = append(w.waiting, e)
	e.c.waits++
	if e.message == nil {
		p.making++
	}
}

// attempt does an errand; it alone does not need mu.
func (p *Producer) attempt(ctx context.Context, e errand) (ref ei.Ref, err error) {
	if e.message == nil {
		return p.b.Monitor(ctx, e.c.pid)
	}
	m, err := e.message()
	if err == nil {
		err = p.b.Send(ctx, e.c.pid, m)
	}
	return ref, err
}

// attempted notes what has come of an errand.
func (p *Producer) attempted(e errand, ref ei.Ref, err error) {
	switch {
	case e.message == nil:
		p.monitored(e.c, ref, err)
	case err != nil: // its DOWN comes
		p.log.Debug("a consumer gets nothing", "consumer", e.c.pid, "error", err)
	}
}

// catchUp does what waits for a way, as its node reads.
func (p *Producer) catchUp(w *way) {
	defer p.ring()
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(w.waiting) > 0 {
		e := w.waiting[0]
		p.mu.Unlock()
		ref, err := p.attempt(nodes.NoConnect(p.ctx), e)
		p.mu.Lock()
		p.attempted(e, ref, err)
		if e.message == nil {
			if p.making--; p.making == 0 {
				clear(p.early)
			}
		}
		w.waiting[0] = errand{}
		w.waiting = w.waiting[1:]
		e.c.waits--
		p.settle(e.c)
	}
	w.waiting = nil
	p.stuck -= w.count
	for c := range w.all {
		p.ready.add(c)
	}
	p.dispatch()
}

// all yields the consumers there.
func (w *way) all(yield func(c *consumer) bool) {
	for _, of := range w.consumers {
		for c := range of {
			if !yield(c) {
				return
			}
		}
	}
}

// background runs f on a goroutine for whose end Done waits, unless the producer has ended.
func (p *Producer) background(f func()) {
	if p.ctx.Err() == nil {
		p.work.Go(f)
	}
}

// A ranking is a heap of consumers: first those that have demanded most, or least; of several, the
// one that has waited longest.
type ranking struct {
	mostFirst bool
	list      []*consumer
	sum       int64 // of what they have demanded
}

func (r *ranking) add(c *consumer) {
	r.sum += c.demand
	heap.Push(r, c)
}

// remove tells whether the consumer was there.
func (r *ranking) remove(c *consumer) bool {
	if c.place < 0 {
		return false
	}
	heap.Remove(r, c.place)
	r.sum -= c.demand
	return true
}

func (r *ranking) Len() int { return len(r.list) }

func (r *ranking) Less(i, j int) bool {
	a, b := r.list[i], r.list[j]
	if a.demand == b.demand {
		return a.turn < b.turn
	}
	return a.demand > b.demand == r.mostFirst
}

func (r *ranking) Swap(i, j int) {
	r.list[i], r.list[j] = r.list[j], r.list[i]
	r.list[i].place, r.list[j].place = i, j
}

func (r *ranking) Push(c any) {
	c.(*consumer).place = len(r.list)
	r.list = append(r.list, c.(*consumer))
}

func (r *ranking) Pop() any {
	last := len(r.list) - 1
	c := r.list[last]
	c.place, r.list[last], r.list = -1, nil, r.list[:last]
	return c
}
