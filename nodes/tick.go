package nodes

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// A ticker keeps one connection alive and notices when it is not. It is the timer's only owner.
type ticker struct {
	mu       sync.Mutex
	timer    *time.Timer
	over     bool
	turns    wait.Pausable // ticks
	last     time.Time     // of the last tick
	held     time.Time     // since when the clock was held, the last time
	posted   int64         // bytes ever given to the queue, at the last tick
	received int64
	missed   int

	asked atomic.Bool // a tick of ours has gone out, and the next one of the peer's may be its answer
}

func (t *ticker) begin(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = time.Now()
	t.schedule(c)
}

// schedule sets the timer for the next tick; t.mu is held.
func (t *ticker) schedule(c *Conn) {
	if t.over || t.turns.Halted() {
		return
	}
	left := max(c.n.cfg.TickInterval-time.Since(t.last), 0)
	if t.timer == nil {
		t.timer = time.AfterFunc(left, func() { t.tick(c) })
	} else {
		t.timer.Reset(left)
	}
}

func (t *ticker) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	t.stop()
}

func (t *ticker) stop() {
	if t.timer != nil {
		t.timer.Stop()
	}
}

// hold stops the clock, and waits for the tick in progress.
func (t *ticker) hold(ctx context.Context) error {
	err := t.turns.Pause(ctx, &t.mu)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held = time.Now()
	t.stop()
	return err
}

// unhold lets the clock go on. If it was held for an interval, a tick goes out at once: whatever was sent since the last one was sent
// before. The silent intervals begin anew then, for nobody could read.
func (t *ticker) unhold(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turns.Resume()
	if time.Since(t.held) >= c.n.cfg.TickInterval {
		queued, sent := c.q.Buffered()
		t.posted, t.missed = sent+int64(queued), 0
	}
	t.schedule(c)
}

func (t *ticker) tick(c *Conn) {
	t.mu.Lock()
	if t.over || t.turns.Runs() || !t.turns.Begin() {
		t.mu.Unlock()
		return
	}
	t.last = time.Now()
	t.mu.Unlock()
	dead := t.look(c)
	t.mu.Lock()
	t.turns.Done()
	if dead == nil {
		t.schedule(c)
	}
	t.mu.Unlock()
	if dead != nil {
		c.fail(dead)
	}
}

// look sends a tick when nothing went out for an interval, and counts the intervals in which nothing came. A hidden peer that was silent
// gets a tick in any case: a primitive one does nothing but answer ticks. Bytes that wait unread are a sign of life too, since it is only
// this side that does not receive. They are none if nothing can be sent to the peer, which has left then, or if the peer's system has not
// answered for missedTicks intervals. Once this side has ended its direction (bye) it sends no tick.
func (t *ticker) look(c *Conn) (dead error) {
	received := c.received.Load() + c.rd.steps.Load()
	queued, sent := c.q.Buffered()
	idle := queued == 0 && sent == t.posted
	if idle {
		c.q.Trim()
	}
	var deaf error // why nothing can be sent
	if !c.leaves.Load() && (idle || received == t.received && !c.peer.Announced.Has(dist.FlagPublished)) {
		t.asked.Store(true)
		deaf = c.sendTick()
		queued, sent = c.q.Buffered()
	}
	t.posted = sent + int64(queued)
	pending, err := c.s.PendingBytes()
	unread := pending > 0 || err != nil || !c.reading.Load()
	switch {
	case deaf == nil && received != t.received:
		t.missed = 0
	case deaf == nil && unread:
		t.missed = 0
		if d, err := c.s.Unacknowledged(); err == nil && d >= missedTicks*c.n.cfg.TickInterval {
			return ErrTickTimeout
		}
	default:
		t.missed++
		switch {
		case t.missed < missedTicks:
		case deaf != nil:
			return fmt.Errorf("%w, and nothing can be sent to it: %w", ErrTickTimeout, deaf)
		default:
			return ErrTickTimeout
		}
	}
	t.received = received
	return nil
}

// state describes the clock of a frozen connection.
func (t *ticker) state(c *Conn) states.Clock {
	t.mu.Lock()
	defer t.mu.Unlock()
	queued, sent := c.q.Buffered()
	return states.Clock{
		Age: max(time.Since(t.last), 0), Idle: sent+int64(queued) == t.posted,
		Heard: c.received.Load()+c.rd.steps.Load() != t.received, Missed: t.missed, Asked: t.asked.Load(), At: moment(),
	}
}

// restore sets the clock of a staged connection. s may be nil.
func (t *ticker) restore(c *Conn, s *states.Clock) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turns.Halt()
	t.last = time.Now()
	t.held = t.last
	t.posted, t.received = -1, -1
	if s != nil {
		most := c.n.cfg.TickInterval
		var frozen time.Duration // before it came here
		if now := moment(); s.At > 0 && s.At < now {
			frozen = min(time.Duration(now-s.At), most)
		}
		t.held = t.held.Add(-frozen)
		t.last = t.last.Add(-min(min(max(s.Age, 0), most)+frozen, most))
		t.missed = min(max(s.Missed, 0), missedTicks-1)
		t.asked.Store(s.Asked)
		if s.Idle {
			queued, sent := c.q.Buffered()
			t.posted = sent + int64(queued)
		}
		if !s.Heard {
			t.received = c.received.Load()
		}
	}
}
