package genstage

import (
	"errors"

	"github.com/cnode-go/cnode/ei"
)

// errStarting keeps the node from being handed over while Produce or Subscribe runs.
var errStarting = errors.New("a stage starts")

// A state is what a producer hands over.
type state struct {
	Consumers []handed
	Buffer    []ei.Raw
	Holds     bool
}

type handed struct {
	Pid     ei.Pid
	Key     ei.Binary
	Tag     ei.Raw
	Monitor ei.Ref
	Demand  int64
	// Something was being sent: nobody knows whether it was.
	Unsure bool
}

// handOver describes the producer for that in the next process.
func (p *Producer) handOver() ([]byte, error) {
	if !p.mu.TryLock() {
		return nil, errStarting
	}
	defer p.mu.Unlock()
	s := state{Buffer: p.buffer, Holds: p.holds}
	for _, c := range p.ordered() {
		s.Consumers = append(s.Consumers, handed{c.pid, ei.Binary(c.key), c.tag, c.monitor, c.demand, c.waits > 0 || c.monitor.Len == 0})
	}
	return ei.Append(nil, s)
}

// inherit takes over from the producer in the process before, if there was one; mu is held.
func (p *Producer) inherit() error {
	before, ok := p.b.Inherited()
	if !ok || len(before) == 0 {
		return nil
	}
	var s state
	c := ei.NewCursor(before)
	if err := c.Unmarshal(&s); err != nil {
		return err
	}
	p.buffer, p.holds = s.Buffer, s.Holds
	for _, h := range s.Consumers {
		// who has asked for it is not told: it is its node that has, as a rule
		c := &consumer{pid: h.Pid, asker: string(h.Pid.Node), key: string(h.Key), tag: h.Tag, monitor: h.Monitor, demand: h.Demand}
		p.spend(c, subscriptionCost+2*len(c.key))
		p.add(c)
		if c.monitor.Len > 0 {
			p.monitors[c.monitor] = c
		}
		if h.Unsure {
			p.unsure = append(p.unsure, c)
		}
	}
	return nil
}

// What a subscription hands over.
type subscribed struct {
	Ref       ei.Ref
	Pending   int
	Cancelled bool
}

// handOver describes the subscription for that in the next process.
func (s *Subscription) handOver() ([]byte, error) {
	if !s.mu.TryLock() {
		return nil, errStarting
	}
	defer s.mu.Unlock()
	return ei.Append(nil, subscribed{s.ref, s.pending, s.cancelled})
}

// inherit takes over from the subscription in the process before, if there was one; mu is held.
func (s *Subscription) inherit() (bool, error) {
	before, ok := s.b.Inherited()
	if !ok || len(before) == 0 {
		return false, nil
	}
	var was subscribed
	c := ei.NewCursor(before)
	err := c.Unmarshal(&was)
	if err == nil {
		s.ref, s.pending, s.cancelled = was.Ref, was.Pending, was.Cancelled
		s.tag, err = ei.AppendRef(nil, s.ref)
	}
	return err == nil, err
}
