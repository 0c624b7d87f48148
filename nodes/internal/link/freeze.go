package link

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/form"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A connection is frozen in two steps: its reader stops between two messages, then everything else
// does. Between the two steps it can still send what running handlers have to say. An error that
// ends the connection takes effect only when it is thawed: a frozen connection may belong to
// another process already.

// StopReading stops the reader between two messages, and takes its turn. It waits for the message
// in progress, until ctx ends; handoff.ErrBusy: it is stopped already. If the connection has ended
// the error is Err's.
func (c *Conn) StopReading(ctx context.Context) error {
	if !c.life.Drain() {
		return handoff.ErrBusy
	}
	c.endPassing()
	err := c.s.PauseRead(ctx)
	if err == nil {
		select {
		case c.rd.turn <- struct{}{}:
			return nil
		case <-c.done:
			err = c.Err()
		case <-ctx.Done():
			err = ctx.Err()
		}
		c.s.Resume()
	}
	c.life.Set(life.Open)
	return err
}

// ResumeReading undoes StopReading.
func (c *Conn) ResumeReading() {
	c.s.Resume()
	<-c.rd.turn
	c.life.Set(life.Open)
}

// Suspend stops everything but the reader, which has stopped: ticks, writes, and the end of the
// connection. It waits for what is in progress, until ctx ends. barrier, if it is not nil, waits
// for goroutines that are just changing a process and sending the signal about the change, which is
// one step.
func (c *Conn) Suspend(ctx context.Context, barrier func()) error {
	c.mu.Lock()
	err := c.err
	if err == nil {
		c.life.Set(life.Frozen)
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if barrier != nil {
		barrier()
	}
	if err = c.ticks.hold(ctx); err == nil {
		err = c.fragments.Hold(ctx)
	}
	if err == nil {
		err = c.q.Hold(ctx)
	}
	if err != nil {
		c.Unsuspend()
	}
	return err
}

// Unsuspend undoes Suspend. If an error was to end the connection meanwhile, it ends now.
func (c *Conn) Unsuspend() {
	c.q.Unhold()
	c.fragments.Unhold()
	c.ticks.unhold(c)
	c.mu.Lock()
	c.life.Set(life.Draining)
	ailment := c.pendingErr
	c.pendingErr = nil
	c.mu.Unlock()
	if ailment != nil {
		c.Fail(ailment)
	}
}

// Snapshot puts what the link knows of a frozen connection into its state.
func (c *Conn) Snapshot(s *states.Conn) error {
	export, ahead, err := c.s.Export()
	if err != nil {
		return err
	}
	clock := c.ticks.state(c)
	s.Export, s.Ahead, s.Rest, s.Clock = export, ahead, c.q.Held(), &clock
	s.Peer, s.Pid, s.Initiated = c.peer, c.self, c.record.Initiated
	s.Received, s.Messages, s.Sent = c.received.Load(), c.messages.Load(), c.sentCount.Load()
	c.snapshotFragments(s)
	return nil
}

// Stage makes a new connection what another process has described: frozen, and without a reader. It
// waits for a plug-in, until ctx ends; the error is form.ErrMalformed for a state that contradicts
// itself. GiveUp, or Unsuspend and ResumeReading, are next, after an error GiveUp.
func (c *Conn) Stage(ctx context.Context, s *states.Conn) error {
	c.life.Set(life.Staged)
	c.received.Store(s.Received)
	c.messages.Store(s.Messages)
	c.sentCount.Store(s.Sent)
	c.rd.turn <- struct{}{}
	err := c.s.PauseRead(ctx)
	if err == nil {
		err = c.s.Preload(s.Ahead)
	}
	if err == nil {
		err = c.stageFragments(s)
	}
	if err == nil {
		err = c.q.Stage(ctx, s.Rest)
	}
	if err == nil {
		c.ticks.restore(c, s.Clock)
	}
	return err
}

// GiveUp ends a connection that stands still in this process, without a byte on it: another process
// has it. forget is called before anybody hears that the connection has left. The error says that
// freeing the socket has failed.
func (c *Conn) GiveUp(forget func()) error {
	c.mu.Lock()
	c.err = ErrMoved
	close(c.done)
	c.pendingErr = nil
	c.mu.Unlock()
	c.ticks.end()
	err := c.s.Release()
	c.fragments.End(ErrMoved, true)
	c.q.End(ErrMoved)
	c.rd.discard(c)
	c.life.Set(life.Draining)
	forget()
	close(c.left)
	<-c.rd.turn
	c.life.Set(life.Open)
	return err
}

// FragmentsTime is how long it may take to describe what is incomplete of messages, in either
// direction. The caller has the reader's turn.
func (c *Conn) FragmentsTime() time.Duration {
	const perByte = 10 * time.Nanosecond // it is copied several times
	bytes := c.fragments.Bytes()
	if c.rd.dist != nil {
		bytes += c.rd.dist.Held()
	}
	return time.Duration(bytes) * perByte
}

// snapshotFragments puts what headers and fragments have left into the state.
func (c *Conn) snapshotFragments(s *states.Conn) {
	s.Headers, s.Outgoing = c.hasHeaders(), c.fragments.Held()
	if c.rd.dist == nil {
		return
	}
	for place, atom := range c.rd.dist.Cached() {
		s.Cached = append(s.Cached, states.CachedAtom{Place: place, Atom: atom})
	}
	for m := range c.rd.dist.Incomplete() {
		in := states.Incoming{Sequence: m.Sequence, Next: m.Next, Discarded: m.Discarded, Payload: m.Payload}
		if !m.Discarded {
			in.Message = &states.Message{Control: m.Control}
		}
		for _, a := range m.Refs {
			in.Refs = append(in.Refs, states.Name{Name: a})
		}
		s.Incoming = append(s.Incoming, in)
	}
}

// stageFragments is the other side of snapshotFragments.
func (c *Conn) stageFragments(s *states.Conn) error {
	if err := c.fragments.Stage(s.Outgoing); err != nil {
		return unsound(err)
	}
	if !c.hasHeaders() {
		return nil
	}
	cached := func(yield func(int, ei.Atom) bool) {
		for _, a := range s.Cached {
			if !yield(a.Place, a.Atom) {
				return
			}
		}
	}
	incomplete := func(yield func(protocol.Incomplete) bool) {
		for _, in := range s.Incoming {
			m := protocol.Incomplete{Sequence: in.Sequence, Next: in.Next, Discarded: in.Discarded, Payload: in.Payload}
			if in.Message != nil {
				m.Control = in.Message.Control
			}
			for _, a := range in.Refs {
				m.Refs = append(m.Refs, a.Name)
			}
			if !yield(m) {
				return
			}
		}
	}
	c.rd.dist = c.rd.newReader(c.frameFlags())
	if err := c.rd.dist.Restore(cached, incomplete); err != nil {
		return unsound(err)
	}
	c.env.Incomplete.Force(c.peer.Name, c.rd.dist.Held())
	c.rd.held = c.rd.dist.Held()
	return nil
}

// unsound is the error of a state that contradicts itself.
func unsound(err error) error { return fmt.Errorf("%w: %w", form.ErrMalformed, err) }

// IsBroken tells whether a session could not be exported because it has ended, which no reader has
// noticed yet: a plug-in that writes by itself, as TLS does, got the error from the system. Any
// other error is the plug-in's own.
func IsBroken(err error) bool {
	for _, end := range []error{
		syscall.EPIPE, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENETUNREACH,
	} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}
