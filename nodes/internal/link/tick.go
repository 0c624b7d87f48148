package link

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/clock"
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

	flow flow

	// what answerTick knows of the peer's last tick; used by the reader only
	seen     int64     // bytes ever given to the queue
	answered time.Time // when the tick was answered; zero: it was not
}

// A flow is what comes from a peer to which nothing is sent. A BEAM sends no ticks beside its
// messages, so that there is none to answer, and ends the connection if it hears nothing for its
// net_ticktime, which it does not tell, and which may be shorter than ours. (A hidden node is sent
// ticks all the same: need_to_tick of OTP's dist_util.) So as long as messages come they are
// answered by ticks, often enough for any net_ticktime.
type flow struct {
	on     atomic.Bool // something has come since the last look; set under mu
	came   int64       // messages and parts of them, at the last look
	posted int64       // bytes ever given to the queue, at the last look
}

// MissedTicks is after how many tick intervals without a byte from the peer a connection ends
// (net_tickintensity of OTP).
const MissedTicks = 4

// flowInterval is the time between two looks at a flow.
const flowInterval = time.Second

func (t *ticker) begin(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = c.env.beat()
	t.schedule(c)
}

// beat is the last of the moments at which connections of the node tick, four in each interval.
// Together they cost a fraction of what it takes to wake up for each of them: a node of OTP has one
// moment for all.
func (v *Env) beat() time.Time {
	now := time.Now()
	return now.Add(-(now.Sub(v.made) % max(v.TickInterval/4, 1)))
}

// schedule sets the timer for the next tick; t.mu is held.
func (t *ticker) schedule(c *Conn) {
	if t.over || t.turns.Halted() {
		return
	}
	left := max(c.env.TickInterval-time.Since(t.last), 0)
	if t.flow.on.Load() {
		left = min(left, flowInterval)
	}
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

// unhold lets the clock go on. If it was held for an interval, a tick goes out at once: whatever
// was sent since the last one was sent before. The silent intervals begin anew then, for nobody
// could read.
func (t *ticker) unhold(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turns.Resume()
	if time.Since(t.held) >= c.env.TickInterval {
		t.posted, t.missed = c.posted(), 0
	}
	t.schedule(c)
}

func (t *ticker) tick(c *Conn) {
	t.mu.Lock()
	if t.over || t.turns.Runs() || !t.turns.Begin() {
		t.mu.Unlock()
		return
	}
	due := time.Since(t.last) >= c.env.TickInterval
	if due {
		t.last = c.env.beat()
	}
	t.mu.Unlock()
	var dead error
	if due {
		dead = t.look(c)
	}
	t.answer(c)
	t.mu.Lock()
	t.turns.Done()
	if dead == nil {
		t.schedule(c)
	}
	t.mu.Unlock()
	if dead != nil {
		c.Fail(dead)
	}
}

// look sends a tick when nothing went out for an interval, and counts the intervals in which
// nothing came. A hidden peer that was silent gets a tick in any case: a primitive one does nothing
// but answer ticks. Bytes that wait unread are a sign of life too, since it is only this side that
// does not receive. They are none if nothing can be sent to the peer, which has left then, or if
// the peer's system has not answered for MissedTicks intervals. Once this side has ended its
// direction (bye) it sends no tick.
func (t *ticker) look(c *Conn) (dead error) {
	received := c.received.Load() + c.rd.steps.Load()
	queued, sent := c.q.Buffered()
	idle := queued == 0 && sent == t.posted
	if idle {
		c.q.Trim()
	}
	var deaf error // why nothing can be sent
	if !c.leaves.Load() && (idle || received == t.received && !c.peer.Announced.Has(dist.FlagPublished)) {
		deaf = c.sendTick()
	}
	t.posted = c.posted()
	unread := func() bool {
		pending, err := c.s.PendingBytes()
		return pending > 0 || err != nil || !c.reading.Load()
	}
	switch {
	case deaf == nil && received != t.received:
		t.missed = 0
	case deaf == nil && unread():
		t.missed = 0
		if d, err := c.s.Unacknowledged(); err == nil && d >= MissedTicks*c.env.TickInterval {
			return ErrTickTimeout
		}
	default:
		t.missed++
		if m := c.measured(); m != nil && m.TickMissed != nil {
			m.TickMissed(&c.record)
		}
		switch {
		case t.missed < MissedTicks:
		case deaf != nil:
			return fmt.Errorf("%w, and nothing can be sent to it: %w", ErrTickTimeout, deaf)
		default:
			return ErrTickTimeout
		}
	}
	t.received = received
	return nil
}

// flows is called by the reader when a message has come, or a part of it.
func (t *ticker) flows(c *Conn) {
	if t.flow.on.Load() || !c.env.Published {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer == nil || t.flow.on.Swap(true) {
		return
	}
	t.flow.came, t.flow.posted = -1, c.posted()
	t.schedule(c)
}

// answer sends a tick if messages have come since the last look, or wait unread, and nothing has
// gone out. If none has come the looks end, until flows begins them anew.
func (t *ticker) answer(c *Conn) {
	if !t.flow.on.Load() {
		return
	}
	pending, err := c.s.PendingBytes()
	t.mu.Lock()
	f := &t.flow
	came := c.messages.Load() + c.rd.steps.Load()
	if came == f.came && (err != nil || pending == 0) {
		f.on.Store(false)
		came = c.messages.Load() + c.rd.steps.Load()
		f.on.Store(came != f.came) // flows may just have found the looks going on
	}
	queued, sent := c.q.Buffered()
	silent := f.on.Load() && queued == 0 && sent == f.posted && !c.leaves.Load()
	f.came, f.posted = came, sent+int64(queued)
	t.mu.Unlock()
	if !silent {
		return
	}
	_ = c.sendTick() // look tells of an error
	t.mu.Lock()
	defer t.mu.Unlock()
	f.posted = c.posted()
}

// answerPause is longer than a round trip to anywhere, and shorter than the time between two ticks
// of a BEAM with a net_ticktime of 4 s.
const answerPause = 750 * time.Millisecond

// answerTick is called by the reader when a tick has come. A peer with a shorter net_ticktime than
// ours lives by the answers. But an answer looks like any tick, so two nodes could answer each
// other for ever; and counting our own ticks does not help, since a BEAM answers none of them. What
// tells an answer is that it comes soon after what it answers. So a tick gets no answer if
// something has gone out since the tick before, or is about to; nor if the tick before was answered
// within the answerPause. The next one is answered then: a peer that ticks in any interval gets an
// answer to every other tick at least, and of answers to answers each side gives back only half.
func (t *ticker) answerTick(c *Conn) {
	queued, sent := c.q.Buffered()
	posted := sent + int64(queued)
	if queued > 0 || posted != t.seen || time.Since(t.answered) < answerPause {
		t.seen, t.answered = posted, time.Time{}
		return
	}
	_ = c.sendTick()
	t.seen, t.answered = c.posted(), time.Now()
}

// state describes the clock of a frozen connection.
func (t *ticker) state(c *Conn) states.Clock {
	t.mu.Lock()
	defer t.mu.Unlock()
	return states.Clock{
		Age: max(time.Since(t.last), 0), Idle: c.posted() == t.posted,
		Heard: c.received.Load()+c.rd.steps.Load() != t.received, Missed: t.missed, At: clock.Now(),
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
		most := c.env.TickInterval
		var frozen time.Duration // before it came here
		if now := clock.Now(); s.At > 0 && s.At < now {
			frozen = min(time.Duration(now-s.At), most)
		}
		t.held = t.held.Add(-frozen)
		t.last = t.last.Add(-min(min(max(s.Age, 0), most)+frozen, most))
		t.missed = min(max(s.Missed, 0), MissedTicks-1)
		if s.Idle {
			t.posted = c.posted()
		}
		if !s.Heard {
			t.received = c.received.Load()
		}
	}
}
