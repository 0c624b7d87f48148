package nodes

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/mapper"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/transport/handoff"
)

// Freeze stops the node, to hand it to another process: see Restore. It waits for a Start in
// progress, be it of the node or of what was restored, until ctx ends: so Config.Setup must not
// call it. Listeners stay open, also those that are opened before everything stands still, and
// connections arrive in their backlog. Running functions and handlers, and those that wait for a
// place of Config.MaxCalls, finish within Config.DrainTimeout, or the error is ErrDraining (a
// function's result must also have found room on the way to its caller); then everything stands
// still, and the state is written, within two to five seconds, the more the larger the state is, or
// the error is context.DeadlineExceeded. Whatever fails, the node goes on as before. Before
// anything has changed, a connection or listener whose plug-in has no Import is a *NotMovableError,
// and a state that would take longer than five seconds a *TooLargeError; while another Freeze is in
// progress the error is handoff.ErrBusy.
//
// While functions finish, reading pauses at times, each pause longer than the last, up to a quarter
// of Config.DrainTimeout or more. While peers keep calling, functions that take longer than such a
// pause are never all finished at once, nor perhaps are functions that wait for a peer themselves.
// Requests to a Server of this node that functions and servers make with the context that they were
// given are answered meanwhile.
//
// Goroutines of the application go on. Those that receive, send, link or register wait for Thaw,
// and get ErrMoved after Release: nothing was sent then. A message that such a goroutine has
// received but not dealt with is the program's own affair; Config.Handover is the place to stop
// these goroutines.
//
// Freeze waits 200 ms for replies to calls of other nodes that are left for later (NoReply,
// CallOf). Then such a Reply is ErrMoved after Release, and the caller gets the reply of the new
// process, if that goes on with the call (Mailbox.CallFrom), else a DOWN, with the reason shutdown,
// as soon as that process starts the node.
func (n *Node) Freeze(ctx context.Context) (*Frozen, error) {
	if n.ids.Worker != 0 || n.isFront {
		return nil, wrap("freeze", n.Name(), errWorkers)
	}
	return n.freeze(ctx)
}

// freeze is Freeze, also of a worker, or of a front.
func (n *Node) freeze(ctx context.Context) (*Frozen, error) {
	f := &Frozen{n: n}
	err := cmp.Or(n.drain.ending(), wait.TakesTime(ctx))
	switch {
	case err != nil:
	case n.Name() == "":
		err = ErrUnnamed
	case !n.life.Move():
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
	f.undo = append(f.undo, f.n.life.EndMove)
	if err := f.n.life.AwaitStarts(ctx); err != nil {
		return fmt.Errorf("a start is in progress: %w", err)
	}
	if err := f.n.drain.ending(); err != nil { // it has failed
		return err
	}
	if err := f.refuse(); err != nil {
		return err
	}
	size := f.n.size()
	if size.Least() > freezeBudgetMost {
		return &TooLargeError{Mailboxes: size.Mailboxes, Messages: size.Messages, Bytes: size.Bytes, Least: size.Least()}
	}
	budget := max(f.n.freezeTime, min(freezeBudget+4*size.Least(), freezeBudgetMost))
	draining, cancel := context.WithTimeout(ctx, f.n.cfg.DrainTimeout)
	defer cancel()
	if err := wait.InTurn(draining,
		f.stopAccepting,
		f.drain,
		f.stopListeners, // those that were opened meanwhile
	); err != nil {
		return err
	}
	f.n.awaitLater(ctx, f.conns...)
	s := &states.Node{Bytes: size.State()}
	if err := f.handOver(ctx, s); err != nil {
		return err
	}
	freezing, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	if err := wait.InTurn(freezing,
		f.freezeProcesses,
		f.suspendConns,
		f.holdLine,
		f.freezeName,
	); err != nil {
		return err
	}
	limit := budget
	for _, c := range f.conns {
		limit += c.l.FragmentsTime()
	}
	describing, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return f.snapshot(describing, s)
}

// size looks at the node while it runs.
func (n *Node) size() (x states.Size) {
	x.Conns = len(n.connections())
	for _, b := range n.procs.all() {
		b.mu.Lock()
		x.Mailboxes, x.Messages, x.Bytes = x.Mailboxes+1, x.Messages+b.inbox.Len(), x.Bytes+b.inbox.Bytes()
		b.mu.Unlock()
	}
	x.Bytes = max(0, x.Bytes-x.Messages*messageCost)
	return x
}

// handOver puts into the state what Config.Handover gives.
func (f *Frozen) handOver(ctx context.Context, s *states.Node) error {
	handover := f.n.cfg.Handover
	if handover == nil {
		return nil
	}
	f.handed = true
	err := f.n.faults.guarded("Config.Handover", func() (err error) { s.Blob, err = handover(ctx); return err })
	if err != nil {
		return fmt.Errorf("Config.Handover: %w", err)
	}
	return nil
}

// refuse returns an error if a connection or a listener cannot be handed over.
func (f *Frozen) refuse() error {
	f.n.mu.Lock()
	listeners := slices.Collect(maps.Keys(f.n.listeners))
	f.n.mu.Unlock()
	for _, c := range f.n.connections() {
		if err := c.movable(); err != nil && c.Err() == nil {
			return wrap("connection to", c.Name(), err)
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
	grace, cancel := context.WithTimeout(ctx, f.n.shakeTime)
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
	work := &f.n.life.Work
	undo, err := wait.ByTurns(ctx, work.Wait, func() (func(), error) { return f.stopReaders(ctx) })
	switch {
	case err == nil:
		f.undo = append(f.undo, undo)
	case ctx.Err() != nil && !work.None():
		return fmt.Errorf("%w: %s: %w", ErrDraining, f.n.procs.whatRuns(), ctx.Err())
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return err
}

// stopReaders stops the reader of every connection. Until undo no connection comes up.
func (f *Frozen) stopReaders(ctx context.Context) (undo func(), err error) {
	n := f.n
	resume, err := n.router.PauseWork(ctx)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.life.Set(life.Draining)
	conns, err := n.connections(), n.drain.ending()
	n.mu.Unlock()
	n.procs.runs.yield()
	f.conns = nil
	stop := func(conns []*Conn) error {
		stopped, err := wait.Together(freezers, conns, func(c *Conn) error { return f.stopReader(ctx, c) })
		f.conns = append(f.conns, stopped...)
		return err
	}
	if err == nil {
		err = stop(conns)
	}
	if err == nil {
		err = n.router.PauseLine(ctx, conns, stop)
	}
	stopped := f.conns
	undo = func() {
		for _, c := range stopped {
			c.l.ResumeReading()
		}
		n.life.Set(life.Open)
		resume()
	}
	if err != nil {
		undo()
		f.conns = nil
	}
	return undo, err
}

// stopReader stops the reader of a connection. If the connection has ended, stopReader waits until
// that has been dealt with: wait.ErrSkipped.
func (f *Frozen) stopReader(ctx context.Context, c *Conn) error {
	err := c.l.StopReading(ctx)
	if c.Err() != nil { // c has ended, and the state needs to have the consequences
		if err == nil {
			c.l.ResumeReading()
		}
		select {
		case <-c.l.Left():
			return wait.ErrSkipped
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return wrap("connection to", c.Name(), err)
}

// freezeProcesses freezes the tables and all mailboxes, at a moment when nothing runs, and nothing
// is on its way any more from a process or a connection that has ended.
func (f *Frozen) freezeProcesses(ctx context.Context) error {
	p, l := &f.n.procs, &f.n.life
	f.undo = append(f.undo, p.unfreeze)
	for {
		// what the application has started meanwhile, before it had to wait, finishes
		if err := l.Work.Wait(ctx); err != nil {
			return err
		}
		p.reach(life.Ending)
		if l.Work.None() { // else what runs may want to end a process
			if err := p.awaitEnds(ctx); err != nil {
				return err
			}
			p.reach(life.Frozen)
			if l.Work.None() && p.endings.None() && p.exits.None() {
				return nil
			}
		}
		p.unfreeze()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// unfreeze undoes freezeProcesses.
func (p *processes) unfreeze() {
	p.n.life.Set(life.Draining)
	for _, b := range p.all() {
		b.goOn()
	}
}

// awaitEnds waits until all processes concerned have been told of processes and connections that
// have ended.
func (p *processes) awaitEnds(ctx context.Context) error {
	if err := p.endings.Wait(ctx); err != nil {
		return err
	}
	return p.exits.Wait(ctx)
}

// reach sets the phase of the node, and waits until the changes are done that have begun in an
// earlier one.
func (p *processes) reach(phase life.Phase) {
	p.n.life.Set(phase)
	p.barrier()
}

// barrier waits until changes to processes that are in progress are done: it takes each lock under
// which they are made once.
func (p *processes) barrier() {
	p.bonding.Lock() // or a link might be known to one side only
	defer p.bonding.Unlock()
	for _, b := range p.all() { // whoever changes the tables has p.mu
		b.pause()
	}
}

// pause waits until the goroutine that holds the mailbox's lock, if there is one, has released it.
func (b *Mailbox) pause() {
	b.mu.Lock()
	defer b.mu.Unlock()
}

// goOn lets the mailbox go on, once its node does.
func (b *Mailbox) goOn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.staged.Store(false)
	if b.inbox.HasUnread() {
		b.inbox.Wake()
	}
}

// suspendConns stops what is left of the connections, and sets those aside that have broken.
func (f *Frozen) suspendConns(ctx context.Context) error {
	var mu sync.Mutex
	suspended, err := wait.Together(freezers, f.conns, func(c *Conn) error {
		err := c.l.Suspend(ctx, nil)
		// c has broken; the new process finds it missing
		if err != nil && ctx.Err() == nil && c.ties.Worker == 0 {
			mu.Lock()
			defer mu.Unlock()
			f.broken = append(f.broken, c)
			return wait.ErrSkipped
		}
		return wrap("connection to", c.Name(), err)
	})
	f.conns = suspended
	f.undo = append(f.undo, func() {
		for _, c := range suspended {
			c.l.Unsuspend()
		}
	})
	return err
}

// holdLine stops what a worker says to the front.
func (f *Frozen) holdLine(ctx context.Context) error {
	resume, err := f.n.router.HoldLine(ctx)
	f.undo = append(f.undo, resume)
	return err
}

// freezeName freezes the registration, if that moves.
func (f *Frozen) freezeName(ctx context.Context) (err error) {
	f.n.mu.Lock()
	published, ok := f.n.publishing.published.(*mapper.Entry) // any other is made anew in the new process
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
