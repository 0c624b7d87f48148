package nodes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A FrozenConn is a connection that stands still between two bytes. It belongs to this process
// until Release; after Thaw it goes on as if nothing had happened. One of the two must be called.
type FrozenConn struct {
	c     *Conn
	state []byte
	fd    int
	over  atomic.Bool
}

// Freeze stops the connection, to hand it to another process. Senders and receivers wait until
// Thaw, and get ErrMoved after Release. Freeze waits for
//
//   - the message that is being handled: two seconds at most, else the error is
//     context.DeadlineExceeded;
//   - the functions that run for the peer, or wait for a place of Config.MaxCalls, and the peer's
//     requests to a Server, read or not: Config.DrainTimeout at most, else the error is ErrDraining
//     and says how many have no answer yet;
//   - writes in progress, and what ending processes have to tell the peer: two seconds at most,
//     else context.DeadlineExceeded. What there is of large messages in fragments has to be copied
//     several times, which takes some seconds for a gigabyte.
//
// While Freeze waits for functions and requests it reads the connection intermittently, as
// Node.Freeze does, since they may wait for the peer. A function or a Server.Call that freezes the
// connection of its own caller waits in vain. A Call whose reply is left for later (NoReply,
// CallOf) is the program's own affair: its Reply is ErrMoved after Release. A plug-in without
// Import is a *NotMovableError, before anything has changed; while another Freeze is in progress
// the error is handoff.ErrBusy, in a node with workers errors.ErrUnsupported, once Shutdown has
// begun to end the connection ErrClosed. After an error everything goes on.
func (c *Conn) Freeze(ctx context.Context) (*FrozenConn, error) {
	f, err := c.freeze(ctx)
	return f, wrap("freeze connection to", c.peer.Name, err)
}

func (c *Conn) freeze(ctx context.Context) (*FrozenConn, error) {
	if err := cmp.Or(c.Err(), wait.TakesTime(ctx)); err != nil {
		return nil, err
	}
	if c.n.part != nil {
		return nil, errWorkers
	}
	if c.leaves.Load() { // Shutdown
		return nil, ErrClosed
	}
	if err := c.movable(); err != nil {
		return nil, err
	}
	fd, err := c.s.Descriptor()
	if err != nil {
		return nil, err
	}
	if err := c.drain(ctx); err != nil {
		return nil, err
	}
	resting, cancel := context.WithTimeout(ctx, freezeBudget)
	defer cancel()
	for {
		if err := c.suspend(resting, c.n.procs.barrier); err != nil {
			c.resumeReading()
			return nil, err
		}
		f := &FrozenConn{c: c, fd: fd}
		s, err := c.snapshot()
		if err == nil {
			s.Bonds = c.n.bondsWith(c.peer.Name)
			s.Giver = &states.Giver{Instance: c.n.instance, Worker: c.n.cfg.Worker}
			describing, cancel := context.WithTimeout(ctx, freezeBudget+c.fragmentsTime())
			f.state, err = writeState(describing, states.KindConn, s)
			cancel()
			clear(s.Export)
		}
		if err != nil {
			f.Thaw()
			return nil, err
		}
		if c.exits.Count() == 0 {
			return f, nil
		}
		clearKeys(f.state)
		c.unsuspend() // a process that ended before it was described has yet to tell the peer
		if err := c.exits.Wait(resting); err != nil {
			c.resumeReading()
			return nil, err
		}
	}
}

// drain stops the reader at a moment when functions and servers have answered all that has come
// over the connection.
func (c *Conn) drain(ctx context.Context) error {
	draining, cancel := context.WithTimeout(ctx, c.n.cfg.DrainTimeout)
	defer cancel()
	_, err := byTurns(draining, c.answered, func() (func(), error) {
		stopping, cancel := context.WithTimeout(ctx, freezeBudget)
		defer cancel()
		return c.resumeReading, c.stopReading(stopping)
	})
	if owed := c.works.Count(); owed > 0 && draining.Err() != nil {
		return fmt.Errorf("%w: %d owe the peer an answer: %w", ErrDraining, owed, draining.Err())
	}
	return err
}

// snapshot describes a frozen connection.
func (c *Conn) snapshot() (*states.Conn, error) {
	name, creation, err := c.n.identity()
	if err != nil {
		return nil, err
	}
	export, ahead, err := c.s.Export()
	if err != nil {
		return nil, err
	}
	clock := c.ticks.state(c)
	carried, _ := c.n.transportIDOf(c.tr)
	s := &states.Conn{
		TransportID: carried, Export: export, Self: string(name), SelfCreation: creation, Peer: c.peer, Initiated: c.initiated, Pid: c.self,
		Ahead: ahead, Rest: c.q.Held(),
		Clock:    &clock,
		Received: c.received.Load(), Messages: c.messages.Load(), Sent: c.sentCount.Load(),
		Made: c.made,
	}
	s.Worker, s.Shadow = c.worker, c.remoteLink
	for l := range c.relayed.links {
		s.Links = append(s.Links, states.Crossing{Remote: l.remote, Local: l.local})
	}
	for ref, m := range c.relayed.monitors {
		s.Monitors = append(s.Monitors, states.CrossMonitor{Ref: ref, Watcher: m.watcher, Pid: m.pid, Name: m.name})
	}
	if held, ok := c.claim.(*frontClaim); ok {
		s.Staked, s.Stake = true, held.name
	}
	for _, m := range c.rd.unread.messages {
		s.Unread = append(s.Unread, m.state())
	}
	c.snapshotFragments(s)
	return s, nil
}

// snapshotFragments puts what headers and fragments have left into the state.
func (c *Conn) snapshotFragments(s *states.Conn) {
	s.Headers, s.Outgoing = c.hasHeaders(), c.out.Held()
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
	unsound := func(err error) error { return &StateError{"connection", fmt.Errorf("%w: %w", ErrState, err)} }
	if err := c.out.Stage(s.Outgoing); err != nil {
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
	incomplete := func(yield func(dist.Incomplete) bool) {
		for _, in := range s.Incoming {
			m := dist.Incomplete{Sequence: in.Sequence, Next: in.Next, Discarded: in.Discarded, Payload: in.Payload}
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
	c.n.incomplete.Force(c.peer.Name, c.rd.dist.Held())
	c.rd.held = c.rd.dist.Held()
	return nil
}

// State is what another process needs, beside the descriptor, to go on with the connection: see
// Node.Stage. What the plug-in has put into it, session keys say, is cleared by Thaw and Release;
// clear copies yourself.
func (f *FrozenConn) State() []byte { return f.state }

// clearKeys zeroes what plug-ins have put into a state, and nothing else: if it was staged in this
// process, parts of it are in use.
func clearKeys(state []byte) {
	for _, key := range states.Keys(state) {
		clear(key)
	}
}

// clearMessages zeroes messages: one that carries a session has the session's keys in it.
func clearMessages(list []states.LineMessage) {
	for i := range list {
		clear(list[i].JSON)
	}
}

// Descriptor is the connection's, and still belongs to it: pass it on before Thaw or Release.
func (f *FrozenConn) Descriptor() int { return f.fd }

// Thaw lets the connection go on here.
func (f *FrozenConn) Thaw() {
	if f.over.CompareAndSwap(false, true) {
		f.c.unsuspend()
		f.c.resumeReading()
		clearKeys(f.state)
	}
}

// Release ends the connection in this process, without a byte to the peer: the other process has
// it. Links and monitors with the peer's processes are gone from the processes here, without a
// signal; what they send to the peer from now on is ErrMoved (see there). An error says that
// freeing the socket here has failed (*transport.OpError): the connection is the other process's
// all the same. After Thaw, and when called again, Release does nothing.
func (f *FrozenConn) Release() error {
	if !f.over.CompareAndSwap(false, true) {
		return nil
	}
	clearKeys(f.state)
	return f.c.release(true)
}

// A Moved is a connection on its way: it belongs to whoever holds it. Node.Adopt takes it, Close
// ends it.
type Moved struct {
	State []byte // as FrozenConn.State; Adopt and Close clear the keys in it
	FD    int    // the connection's descriptor, owned; -1 once it is closed, or adopted
}

// Close closes the descriptor, if it has not been adopted: if it was the last one, the peer sees
// the end of the connection. It may be called more than once.
func (m *Moved) Close() error {
	clearKeys(m.State)
	fd := m.FD
	if m.FD = -1; fd < 0 {
		return nil
	}
	return descriptor.Close(fd)
}

// Detach takes the connection from its node without a byte to the peer: Freeze and Release. It
// waits as Freeze does. The errors are those of Freeze, and syscall.EMFILE if there is no
// descriptor left for the Moved; after an error the connection goes on.
func (c *Conn) Detach(ctx context.Context) (*Moved, error) {
	f, err := c.freeze(ctx)
	if err != nil {
		return nil, wrap("detach connection to", c.peer.Name, err)
	}
	fd, err := descriptor.Duplicate(f.fd)
	if err != nil {
		f.Thaw()
		return nil, wrap("detach connection to", c.peer.Name, err)
	}
	moved := &Moved{f.state, fd}
	f.state = nil
	if err := f.Release(); err != nil { // this does not concern the other process
		c.n.log.Warn("releasing a connection", "peer", c.peer.Name, "error", err)
	}
	return moved, nil
}

// answered waits until functions and servers have answered what has come over the connection so
// far.
func (c *Conn) answered(ctx context.Context) error {
	for _, b := range c.n.procs.all() {
		b.noteUnanswered(c)
	}
	return c.works.Wait(ctx)
}

// freezeBudget is how long a connection may take to come to rest. If a plug-in's callback does not
// return in that time, the connection stays here.
const freezeBudget = 2 * time.Second

// A connection is frozen in two steps: its reader stops between two messages, then everything else
// does. Between the two steps it can still send what running handlers have to say. An error that
// ends the connection takes effect only when it is thawed: a frozen connection may belong to
// another process already.

// stopReading stops the reader between two messages, and takes its token.
func (c *Conn) stopReading(ctx context.Context) error {
	if !c.life.Drain() {
		return handoff.ErrBusy
	}
	c.endPassing()
	err := c.s.PauseRead(ctx)
	if err == nil {
		select {
		case c.rd.busy <- struct{}{}:
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

// resumeReading undoes stopReading.
func (c *Conn) resumeReading() {
	c.s.Resume()
	<-c.rd.busy
	c.life.Set(life.Open)
}

// suspend stops everything but the reader, which has stopped: ticks, writes, and the end of the
// connection. barrier, if it is not nil, waits for goroutines that are just changing a process and
// sending the signal about the change, which is one step.
func (c *Conn) suspend(ctx context.Context, barrier func()) error {
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
		err = c.out.Hold(ctx)
	}
	if err == nil {
		err = c.q.Hold(ctx)
	}
	if err != nil {
		c.unsuspend()
	}
	return err
}

// unsuspend undoes suspend. If an error was to end the connection meanwhile, it ends now.
func (c *Conn) unsuspend() {
	c.q.Unhold()
	c.out.Unhold()
	c.ticks.unhold(c)
	c.mu.Lock()
	c.life.Set(life.Draining)
	ailment := c.pendingErr
	c.pendingErr = nil
	c.mu.Unlock()
	if ailment != nil {
		c.fail(ailment)
	}
}

// release is giveUp of a connection that was this process's.
func (c *Conn) release(forget bool) error {
	c.n.log.Info("connection moved", "peer", c.peer.Name)
	c.tellDown(ErrMoved)
	return wrap("release connection to", c.peer.Name, c.giveUp(forget))
}

// giveUp ends a connection that stands still in this process, without a byte on it: another process
// has it. With forget, processes here lose their links and monitors with the peer's, which have
// moved along.
func (c *Conn) giveUp(forget bool) error {
	c.mu.Lock()
	c.err = ErrMoved
	close(c.done)
	c.pendingErr = nil
	c.mu.Unlock()
	c.ticks.end()
	err := c.s.Release()
	c.out.End(ErrMoved, true)
	c.q.End(ErrMoved)
	c.rd.discard(c)
	c.life.Set(life.Draining)
	if forget {
		for _, b := range c.n.procs.all() {
			b.forget(c)
		}
		c.n.watches.tell(func(w *nodeWatch) { w.tellDown(c) })
	}
	c.n.leave(c, forget)
	close(c.left)
	<-c.rd.busy
	c.life.Set(life.Open)
	return err
}

// movable is nil if the connection can be handed over; else the error names its plug-in.
func (c *Conn) movable() error {
	return movable(c.tr, c.s.Descriptor)
}

// errWorkers: the connection's ways to other workers would have to move with it.
var errWorkers = fmt.Errorf("a node with workers moves by Front.Freeze and Front.UpgradeWorkers only: %w", errors.ErrUnsupported)
