package nodes

import (
	"cmp"
	"context"
	"fmt"

	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/nodes/internal/move"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/transport/handoff"
)

// Freeze stops the connection between two bytes, to hand it to another process. It belongs to this
// process until Release; after Thaw it goes on as if nothing had happened. One of the two must be
// called. The state and the one descriptor are for Node.Stage. What the plug-in has put into the
// state, session keys say, is cleared by Thaw and Release; clear copies yourself. Release ends the
// connection here without a byte to the peer: links and monitors with the peer's processes are gone
// from the processes here, without a signal. Its error says that freeing the socket here has failed
// (*transport.OpError).
//
// Senders and receivers wait until Thaw, and get ErrMoved after Release. Freeze waits for
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
// connection of its own caller waits in vain. It waits 200 ms for replies that are left for later
// (NoReply, CallOf). Then such a Reply is ErrMoved after Release, and the caller gets a DOWN, as
// soon as the other process starts the connection. A plug-in without Import is a *NotMovableError,
// before anything has changed; while another Freeze is in progress the error is handoff.ErrBusy, in
// a node with workers errors.ErrUnsupported, once Shutdown has begun to end the connection
// ErrClosed. After an error everything goes on.
func (c *Conn) Freeze(ctx context.Context) (handoff.Frozen, error) {
	f, err := c.freeze(ctx)
	if err != nil {
		return nil, wrap("freeze connection to", c.Name(), err)
	}
	return f, nil
}

func (c *Conn) freeze(ctx context.Context) (*move.Frozen, error) {
	if err := cmp.Or(c.Err(), wait.TakesTime(ctx)); err != nil {
		return nil, err
	}
	if c.n.ids.Worker != 0 {
		return nil, errWorkers
	}
	if c.l.Leaves() { // Shutdown
		return nil, ErrClosed
	}
	if err := c.movable(); err != nil {
		return nil, err
	}
	fd, err := c.l.Stream().Descriptor()
	if err != nil {
		return nil, err
	}
	if err := c.drain(ctx); err != nil {
		return nil, err
	}
	c.n.awaitLater(ctx, c)
	resting, cancel := context.WithTimeout(ctx, c.n.freezeTime)
	defer cancel()
	for {
		if err := c.l.Suspend(resting, c.n.procs.barrier); err != nil {
			c.l.ResumeReading()
			return nil, err
		}
		state, err := c.describe(ctx)
		if err != nil {
			c.thaw()
			return nil, err
		}
		if c.exits.Count() == 0 {
			release := func() error { return c.release(true) }
			return &move.Frozen{Bytes: state, FDs: []int{fd}, Keys: states.Keys, GoOn: c.thaw, GiveUp: release}, nil
		}
		clearKeys(state)
		c.l.Unsuspend() // a process that ended before it was described has yet to tell the peer
		if err := c.exits.Wait(resting); err != nil {
			c.l.ResumeReading()
			return nil, err
		}
	}
}

// thaw lets a frozen connection go on.
func (c *Conn) thaw() {
	c.l.Unsuspend()
	c.l.ResumeReading()
}

// describe writes the state of a frozen connection.
func (c *Conn) describe(ctx context.Context) ([]byte, error) {
	s, err := c.snapshot()
	if err != nil {
		return nil, err
	}
	defer clear(s.Export)
	s.Bonds = c.n.bondsWith(c.Name())
	s.Giver = &states.Giver{Instance: c.n.instance, Worker: c.n.cfg.Worker}
	ctx, cancel := context.WithTimeout(ctx, c.n.freezeTime+c.l.FragmentsTime())
	defer cancel()
	return form.Write(ctx.Err, states.KindConn, s)
}

// drain stops the reader at a moment when functions and servers have answered all that has come
// over the connection.
func (c *Conn) drain(ctx context.Context) error {
	draining, cancel := context.WithTimeout(ctx, c.n.cfg.DrainTimeout)
	defer cancel()
	_, err := wait.ByTurns(draining, c.answered, func() (func(), error) {
		stopping, cancel := context.WithTimeout(ctx, c.n.freezeTime)
		defer cancel()
		return c.l.ResumeReading, c.l.StopReading(stopping)
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
	carried, _ := c.n.carriers.ID(c.tr)
	s := &states.Conn{TransportID: carried, Self: string(name), SelfCreation: creation, Made: c.made}
	if err := c.l.Snapshot(s); err != nil {
		return nil, err
	}
	c.ties.Describe(s)
	s.Orphans = c.orphans.state()
	for _, m := range c.unread.messages {
		s.Unread = append(s.Unread, m.state())
	}
	return s, nil
}

// A Moved is a connection on its way: it belongs to whoever holds it. Node.Adopt takes it, Close
// ends it.
type Moved struct {
	State []byte // as Freeze gives it; Adopt and Close clear the keys in it
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
		return nil, wrap("detach connection to", c.Name(), err)
	}
	fd, err := descriptor.Duplicate(f.FDs[0])
	if err != nil {
		f.Thaw()
		return nil, wrap("detach connection to", c.Name(), err)
	}
	moved := &Moved{f.Bytes, fd}
	f.Bytes = nil
	if err := f.Release(); err != nil { // this does not concern the other process
		c.n.log.Warn("releasing a connection", "peer", c.Name(), "error", err)
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

// release is giveUp of a connection that was this process's.
func (c *Conn) release(forget bool) error {
	c.n.log.Info("connection moved", "peer", c.Name())
	c.reportDown(ErrMoved)
	return wrap("release connection to", c.Name(), c.giveUp(forget))
}

// giveUp ends a connection that stands still in this process, without a byte on it: another process
// has it. With forget, processes here lose their links and monitors with the peer's, which have
// moved along.
func (c *Conn) giveUp(forget bool) error {
	return c.l.GiveUp(func() {
		if forget {
			for _, b := range c.n.procs.all() {
				b.forget(c)
			}
			c.n.watches.HearDown(reported{c})
		}
		c.n.leave(c, forget)
	})
}

// movable is nil if the connection can be handed over; else the error names its plug-in.
func (c *Conn) movable() error {
	return movable(c.tr, c.l.Stream().Descriptor)
}
