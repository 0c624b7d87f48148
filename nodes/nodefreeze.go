package nodes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/transport/handoff"
)

const (
	// shakeGrace is how long a freeze waits for handshakes that peers have started; one that takes
	// longer is cut off when the node is released.
	shakeGrace = 200 * time.Millisecond
	// freezers is how many connections are frozen at once.
	freezers = 16
)

// ErrDraining: when the drain time was over, functions or handlers were still running, or requests
// of the peer had no answer.
var ErrDraining = errors.New("functions or handlers did not finish in the drain time")

// Freeze stops the node, to hand it to another process: see Restore. It waits for a Start in
// progress, be it of the node or of what was restored, until ctx ends: so Config.Setup must not
// call it. Listeners stay open, also those that are opened before everything stands still, and
// connections arrive in their backlog. Running functions and handlers, and those that wait for a
// place of Config.MaxCalls, finish within Config.DrainTimeout, or the error is ErrDraining (a
// function's result must also have found room on the way to its caller); then everything stands
// still, and the state is written, within two seconds, or the error is context.DeadlineExceeded.
// Whatever fails, the node goes on as before. A connection or listener whose plug-in has no Import
// is a *NotMovableError, before anything has changed; while another Freeze is in progress the error
// is handoff.ErrBusy.
//
// While functions finish, reading pauses at times, each pause longer than the last, up to a quarter
// of Config.DrainTimeout or more. While peers keep calling, functions that take longer than such a
// pause are never all finished at once, nor perhaps are functions that wait for a peer themselves.
// Requests to a Server of this node that functions and servers make with the context that they were
// given are answered meanwhile.
//
// Goroutines of the application go on. Those that receive, send, link or register wait for Thaw,
// and get ErrMoved after Release: nothing was sent then. A message that such a goroutine has
// received but not dealt with is the program's own affair, and so is a Call to which such a
// goroutine owes the Reply: functions, handlers and servers leave none behind, and Config.Handover
// is the place to stop the other goroutines.
func (n *Node) Freeze(ctx context.Context) (*Frozen, error) {
	if n.part != nil || n.taker != nil {
		return nil, wrap("freeze", n.Name(), errWorkers)
	}
	return n.freeze(ctx, nil)
}

// A freezer is what else stands still with a node: what a worker does for the front.
type freezer interface {
	// pauseWork and pauseLine stop what the front asks for, and what it says; resume ends both.
	pauseWork(ctx context.Context) (resume func(), err error)
	pauseLine(ctx context.Context, conns []*Conn, halt func([]*Conn) error) error
	// holdLine stops what is said to the front.
	holdLine(ctx context.Context) (resume func(), err error)
}

func (n *Node) freeze(ctx context.Context, w freezer) (*Frozen, error) {
	f := &Frozen{n: n, w: w}
	err := cmp.Or(n.ending(), wait.TakesTime(ctx))
	switch {
	case err != nil:
	case n.Name() == "":
		err = ErrUnnamed
	case !n.moving.Shut():
		err = handoff.ErrBusy
	default:
		stands := false
		defer func() { // also when Config.Handover panics, or ends its goroutine
			if !stands {
				f.Thaw()
			}
		}()
		err = f.freeze(ctx)
		stands = err == nil
	}
	if err != nil {
		return nil, wrap("freeze", n.Name(), err)
	}
	return f, nil
}

func (f *Frozen) freeze(ctx context.Context) error {
	f.undo = append(f.undo, f.n.moving.Open)
	if err := f.n.starting.Wait(ctx); err != nil {
		return fmt.Errorf("a start is in progress: %w", err)
	}
	if err := f.n.ending(); err != nil { // it has failed
		return err
	}
	if err := f.refuse(); err != nil {
		return err
	}
	draining, cancel := context.WithTimeout(ctx, f.n.cfg.DrainTimeout)
	defer cancel()
	if err := f.stopAccepting(draining); err != nil {
		return err
	}
	if err := f.drain(draining); err != nil {
		return err
	}
	if err := f.stopListeners(draining); err != nil { // those that were opened meanwhile
		return err
	}
	s := &states.Node{}
	if handover := f.n.cfg.Handover; handover != nil {
		f.handed = true
		err := f.n.guarded("Config.Handover", func() (err error) { s.Blob, err = handover(ctx); return err })
		if err != nil {
			return fmt.Errorf("Config.Handover: %w", err)
		}
	}
	resting, cancel := context.WithTimeout(ctx, freezeBudget)
	defer cancel()
	if err := f.stop(resting); err != nil {
		return err
	}
	return f.snapshot(resting, s)
}

// refuse returns an error if a connection or a listener cannot be handed over.
func (f *Frozen) refuse() error {
	f.n.mu.Lock()
	listeners := slices.Collect(maps.Keys(f.n.listeners))
	f.n.mu.Unlock()
	for _, c := range f.n.connections() {
		if err := c.movable(); err != nil && c.Err() == nil {
			return wrap("connection to", c.peer.Name, err)
		}
	}
	for _, l := range listeners {
		if err := l.movable(); err != nil && l.Err() == nil {
			return err
		}
	}
	return nil
}

// stopAccepting leaves new connections in the listeners' backlogs, and waits for the handshakes of
// those that have been accepted.
func (f *Frozen) stopAccepting(ctx context.Context) error {
	if err := f.stopListeners(ctx); err != nil {
		return err
	}
	grace, cancel := context.WithTimeout(ctx, shakeGrace)
	defer cancel()
	_ = f.n.shaking.Wait(grace) // the peers of the others wait, or connect again
	return ctx.Err()
}

// stopListeners leaves new connections in the backlogs of listeners that do not stand still yet.
// Those that have ended do not move.
func (f *Frozen) stopListeners(ctx context.Context) error {
	for _, l := range f.n.Listeners() {
		if !l.stop() {
			continue
		}
		err := l.l.Pause(ctx)
		if err == nil {
			err = l.taking.Wait(ctx)
		}
		if err == nil {
			err = l.movable()
		}
		if l.Err() != nil { // it is being closed, or its socket has failed
			l.resume()
			continue
		}
		f.undo = append(f.undo, l.resume)
		if err != nil {
			return err
		}
		f.listeners = append(f.listeners, l)
	}
	return nil
}

// drain waits until no function or server runs, and no reader reads.
func (f *Frozen) drain(ctx context.Context) error {
	p := &f.n.procs
	undo, err := byTurns(ctx, p.running.Wait, func(round int) (func(), error) {
		undo, err := f.stopReaders(ctx)
		if err != nil {
			return nil, err
		}
		if round%2 == 1 { // or goroutines of the application could ask one server after the other
			p.outside.Shut()
		}
		p.resting.Shut()
		return func() {
			p.resting.Open()
			p.outside.Open()
			undo()
		}, nil
	})
	running := p.running.Count()
	switch {
	case err == nil:
		f.undo = append(f.undo, undo)
	case ctx.Err() != nil && running > 0:
		return fmt.Errorf("%w: %s: %w", ErrDraining, p.whatRuns(), ctx.Err())
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return err
}

// stopReaders stops the reader of every connection. Until undo no connection comes up.
func (f *Frozen) stopReaders(ctx context.Context) (undo func(), err error) {
	n := f.n
	resume := func() {}
	if f.w != nil {
		if resume, err = f.w.pauseWork(ctx); err != nil {
			return nil, err
		}
	}
	n.mu.Lock()
	n.frozen.Shut()
	conns, err := n.connections(), n.ending()
	n.mu.Unlock()
	if err != nil {
		n.frozen.Open()
		resume()
		return nil, err
	}
	halt := func(conns []*Conn) error {
		halted, err := together(conns, func(c *Conn) error { return f.stopReader(ctx, c) })
		f.conns = append(f.conns, halted...)
		return err
	}
	f.conns = nil
	err = halt(conns)
	if err == nil && f.w != nil {
		err = f.w.pauseLine(ctx, conns, halt)
	}
	halted := f.conns
	undo = func() {
		for _, c := range halted {
			c.resumeReading()
		}
		n.frozen.Open()
		resume()
	}
	if err != nil {
		undo()
		f.conns = nil
	}
	return undo, err
}

// stopReader stops the reader of a connection. If the connection has ended, stopReader waits until
// that has been dealt with: errSkipped.
func (f *Frozen) stopReader(ctx context.Context, c *Conn) error {
	err := c.stopReading(ctx)
	if c.Err() != nil { // c has ended, and the state needs to have the consequences
		if err == nil {
			c.resumeReading()
		}
		select {
		case <-c.left:
			return errSkipped
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return wrap("connection to", c.peer.Name, err)
}

// errSkipped is returned for a connection that is to be left out.
var errSkipped = errors.New("the connection has ended")

// together runs what on every connection, several at a time, and lists those for which it
// succeeded.
func together(conns []*Conn, what func(*Conn) error) (done []*Conn, err error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var next atomic.Int64
	for range min(freezers, len(conns)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(conns)); i = next.Add(1) - 1 {
				e := what(conns[i])
				mu.Lock()
				switch {
				case e == nil:
					done = append(done, conns[i])
				case e != errSkipped && err == nil:
					err = e
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return done, err
}

// stop halts everything else: tables, mailboxes, connections, the registration.
func (f *Frozen) stop(ctx context.Context) error {
	if err := f.holdProcesses(ctx); err != nil {
		return err
	}
	var mu sync.Mutex
	resting, err := together(f.conns, func(c *Conn) error {
		err := c.suspend(ctx, nil)
		// c has broken; the new process finds it missing
		if err != nil && ctx.Err() == nil && c.worker == 0 {
			mu.Lock()
			defer mu.Unlock()
			f.broken = append(f.broken, c)
			return errSkipped
		}
		return wrap("connection to", c.peer.Name, err)
	})
	f.conns = resting
	f.undo = append(f.undo, func() {
		for _, c := range resting {
			c.unsuspend()
		}
	})
	if err != nil {
		return err
	}
	if f.w != nil {
		resume, err := f.w.holdLine(ctx)
		f.undo = append(f.undo, resume)
		if err != nil {
			return err
		}
	}
	f.n.mu.Lock()
	published, ok := f.n.published.(MovablePublication)
	f.n.mu.Unlock()
	if !ok {
		return nil
	}
	if f.name, err = published.Freeze(ctx); err != nil {
		return err
	}
	f.undo = append(f.undo, f.name.Thaw)
	return nil
}

// holdProcesses holds the tables and all mailboxes, once nothing can come to a mailbox any more
// from a process that has ended.
func (f *Frozen) holdProcesses(ctx context.Context) error {
	p := &f.n.procs
	for try := 0; ; try++ {
		var undo []func()
		err := inTurn(ctx, drainSlice<<(try/2),
			func(ctx context.Context) error {
				unhold, err := p.hold(ctx)
				if err == nil {
					undo = append(undo, unhold)
				}
				return err
			},
			p.awaitEnds,    // no process ends from here on
			p.running.Wait, // for hooks that had begun
		)
		if err == nil {
			f.undo = append(f.undo, undo...)
			return nil
		}
		// what was waited for may itself wait for a held mailbox
		for _, undo := range slices.Backward(undo) {
			undo()
		}
		f.n.frozen.Recheck()
		_ = p.awaitEnds(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// inTurn runs the functions one after the other, each for at most limit, until one fails.
func inTurn(ctx context.Context, limit time.Duration, all ...func(context.Context) error) error {
	for _, one := range all {
		limited, cancel := context.WithTimeout(ctx, limit)
		err := one(limited)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// awaitEnds waits until all processes concerned have been told of processes and connections that
// have ended.
func (p *processes) awaitEnds(ctx context.Context) error {
	if err := p.endings.Wait(ctx); err != nil {
		return err
	}
	return p.exits.Wait(ctx)
}
