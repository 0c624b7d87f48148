package nodes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// lastThaw begins a shutdown: from here on no freeze succeeds. It waits for the end of a freeze
// that has succeeded before.
func (d *drain) lastThaw(ctx context.Context) error {
	d.shutting.Add(1)
	err := d.n.life.Before(ctx, life.Draining)
	if err != nil {
		d.shutting.Add(-1)
	}
	return err
}

// whileAlive is ctx, and ends with the node, too: a Close ends what waits with it.
func (d *drain) whileAlive(ctx context.Context) (alive context.Context, cancel func()) {
	alive, end := context.WithCancel(ctx)
	stop := context.AfterFunc(d.n.ctx, end)
	return alive, func() { stop(); end() }
}

// OnDrain has f called when the node drains, beside other such functions: it takes back that by
// which others find the node, or its processes: an entry in a registry, or at a load balancer. f
// returns when that is done, or ctx ends; Drain waits for it, and has its error, and so has
// Shutdown; the next of them calls it again. One that panics, or calls runtime.Goexit, has failed,
// too. A node that drains already calls f at once, on another goroutine. Packages pg, global and
// pubsub have it done for what they have made known. remove takes f back.
func (n *Node) OnDrain(f func(ctx context.Context) error) (remove func()) {
	d := &n.drain
	d.mu.Lock()
	defer d.mu.Unlock()
	hook := &f
	if n.State() >= StateDraining {
		n.background(func() {
			if err := n.faults.guarded("OnDrain", func() error { return f(n.ctx) }); err != nil && n.Err() == nil {
				n.log.Warn("not everything is left in a drain", "error", err)
			}
		})
		return func() {}
	}
	d.hooks, d.some = append(d.hooks, hook), true
	return func() { d.remove(hook) }
}

func (d *drain) remove(hook *func(context.Context) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hooks = slices.DeleteFunc(d.hooks, func(h *func(context.Context) error) bool { return h == hook })
	if len(d.hooks) == 0 && d.state.Load() < int32(StateDraining) {
		d.some = false
	}
}

// Drain makes that the node is not found any more, and returns when that is so: its name is not
// published, its processes are in no group of package pg, have no global name, and get no
// broadcasts of package pubsub, and the functions of OnDrain have returned. It goes on to serve
// everything, also whoever connects nevertheless: Shutdown, which calls Drain itself, ends that.
// There is no way back. From now on no Freeze succeeds.
//
// When ctx ends Drain stops waiting for what is not done yet, and says so; another Drain tries that
// again. Drain waits for the end of a freeze that has begun before; if another process goes on as
// the node, it returns nil. If the node drains already, or is closed, there is nothing left to do.
func (n *Node) Drain(ctx context.Context) error {
	ctx = wait.Ending(ctx)
	alive, cancel := n.drain.whileAlive(ctx)
	defer cancel()
	err := wrap("drain", n.Name(), n.drain.lastThaw(alive))
	if err == nil {
		err = n.drain.withdraw(alive)
	}
	if n.Err() != nil && ctx.Err() == nil {
		return nil
	}
	return err
}

// errDrainExits is of a function that does not return.
var errDrainExits = errors.New("OnDrain called runtime.Goexit")

// withdraw is Drain after lastThaw, with a ctx that ends with the node.
func (d *drain) withdraw(ctx context.Context) error {
	d.reach(StateDraining)
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	default:
		select {
		case d.turn <- struct{}{}:
			defer func() { <-d.turn }()
		case <-ctx.Done():
			return wrap("drain", d.n.Name(), ctx.Err())
		}
	}
	if d.n.Err() != nil {
		return nil
	}
	errs := []error{d.n.Unpublish(ctx)}
	d.mu.Lock()
	hooks := slices.Clone(d.hooks)
	d.mu.Unlock()
	done := make(chan error, len(hooks))
	for _, hook := range hooks {
		go func() {
			err := errDrainExits
			defer func() { done <- err }()
			if err = d.n.faults.guarded("OnDrain", func() error { return (*hook)(ctx) }); err == nil {
				d.remove(hook)
			}
		}()
	}
	for range hooks {
		select {
		case err := <-done:
			errs = append(errs, err)
			continue
		case <-ctx.Done():
		}
		errs = append(errs, ctx.Err())
		break
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left.IsZero() && len(d.hooks) == 0 {
		d.left = time.Now()
	}
	return wrap("drain", d.n.Name(), errors.Join(errs...))
}

// withdrawInTime is withdraw that leaves half of ctx's time for what comes after it, whoever does
// not answer a function of OnDrain.
func (d *drain) withdrawInTime(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok {
		half, cancel := context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
		ctx = half
	}
	return d.withdraw(ctx)
}

// drainMoment is the DrainGrace of a node that had something to leave, if the Config does not say:
// what others have sent, or are about to send, since they have not heard yet, arrives.
const drainMoment = 500 * time.Millisecond

// serveOn waits for the rest of the grace, until ctx ends, or the node does.
func (d *drain) serveOn(ctx context.Context) {
	d.mu.Lock()
	grace, some, since := d.n.cfg.DrainGrace, d.some, d.left
	d.mu.Unlock()
	if grace == 0 && some {
		grace = drainMoment
	}
	if !since.IsZero() {
		grace -= time.Since(since)
	}
	if grace <= 0 {
		return
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-d.n.Done():
	}
}

// Shutdown takes the node out of the cluster in order. It returns when all of this is done:
//
//  1. The node drains (see Drain), for Config.DrainGrace: nobody finds it any more, and it serves
//     on. What hangs in OnDrain gets half of the time until ctx's deadline, and is an error then.
//  2. It stops. New connections, calls, and messages for Servers and Handlers are turned away.
//     Functions and handlers that run, or wait for a place of Config.MaxCalls, finish. Servers
//     handle what they have received. What all these send goes out.
//  3. No connection is made any more (Connect is ErrClosed). Each peer has a second to read what
//     has gone out and to end its side, and another second whenever it has read some (where
//     transport.Stream.OutstandingBytes tells).
//  4. Everything is closed.
//
// If ctx ends first, the rest is cut off. The error is ctx's then, and names what was running. A
// Close ends a Shutdown that is in progress at once; its error is ErrClosed then. It is an error,
// too (context.DeadlineExceeded), if a peer reads nothing of what waits for it for a quarter of the
// time until ctx's deadline, and for a second at least: from step 2 on, Shutdown gives it up then.
// It is no error if a peer takes longer than its time in step 3, and may lose what it has not read
// (see Conn.Shutdown), nor if a connection fails before ctx ends, with all that it had still to
// send.
//
// In step 2 a Server or Handler ends, for other nodes, as soon as it has handled what it has
// received; at once, if that is nothing. Its links and monitors get the reason shutdown, new ones
// noproc. A call that was left for later (NoReply) can be answered until all the rest is done; then
// its caller gets shutdown, too.
//
// What runs in step 2 may need processes of this node. So, while any function or handler runs,
// calls from processes of this node to its functions, Handlers and Servers are served. A cast to a
// Server of this node that no call follows may be dropped, and calls that another node makes on
// behalf of a running function are turned away. The context of a function ends when its caller's
// connection does.
//
// A function, Handler or Server that calls Shutdown is itself waited for, until ctx ends; one that
// wants to end its node calls it on a goroutine of its own.
func (n *Node) Shutdown(ctx context.Context) error {
	ctx = wait.Ending(ctx)
	alive, cancel := n.drain.whileAlive(ctx)
	defer cancel()
	err := n.drain.lastThaw(alive)
	switch {
	case n.Err() != nil: // another process goes on as the node, perhaps
		return n.Close()
	case err != nil:
		return wrap("shutdown", n.Name(), err)
	}
	return errors.Join(n.drain.hasFinished(ctx, n.drain.finish(alive)), n.Close())
}

// finish is what Shutdown does before the node closes.
func (d *drain) finish(ctx context.Context) error {
	err := d.withdrawInTime(ctx)
	d.serveOn(ctx)
	d.reach(StateStopping)
	for _, l := range d.n.Listeners() {
		err = errors.Join(err, l.Close())
	}
	stop := d.giveUpDeaf(ctx)
	err = errors.Join(err, d.n.procs.drain(ctx))
	tells := d.n.procs.endAll(ctx)
	d.parting.Store(true) // else what keeps connections would make those anew that end now
	conns := d.n.connections()
	errs := make([]error, len(conns))
	var all sync.WaitGroup
	for i, c := range conns { // concurrently: a peer that does not read, or answer, delays no other
		all.Go(func() { errs[i] = c.part(ctx, tells[bonds.Scope{Node: c.Name()}]) })
	}
	all.Wait()
	d.n.procs.awaitTold(ctx, tells)
	return errors.Join(append(errs, err, stop())...)
}

// errDeaf: a Shutdown has given up a peer.
var errDeaf = fmt.Errorf("the peer does not read: %w", context.DeadlineExceeded)

// giveUpDeaf ends connections whose peers have read nothing of what waits for them for a quarter of
// the time that ctx has left, or farewell if that is more. stop ends that, and says which these
// are.
func (d *drain) giveUpDeaf(ctx context.Context) (stop func() error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return func() error { return nil }
	}
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan error, 1)
	go func() {
		var err error
		last := d.unread()
		for wait.Sleep(ctx, max(time.Until(deadline)/4, farewell)) == nil {
			now := d.unread()
			for c, progress := range now {
				if was, waited := last[c]; waited && was == progress {
					err = errors.Join(err, wrap("shutdown", c.Name(), errDeaf))
					c.l.Fail(errDeaf)
				}
			}
			last = now
		}
		over <- err
	}()
	return func() error { cancel(); return <-over }
}

// unread is how far those peers have come for whom something waits.
func (d *drain) unread() map[*Conn]link.Progress {
	all := map[*Conn]link.Progress{}
	for _, c := range d.n.connections() {
		if c.l.Traffic().BytesQueued > 0 {
			all[c] = c.l.Progress()
		}
	}
	return all
}

// part sends a peer what there is, the signals of ended processes included, and ends the
// connection, as bye does. told is closed when those that end with the node have told the peer.
func (c *Conn) part(ctx context.Context, told <-chan struct{}) (err error) {
	if c.exits.Wait(ctx) != nil && told != nil {
		<-told
	}
	if ferr := c.l.Flush(ctx); ferr != nil && ctx.Err() != nil {
		err = wrap("shutdown", c.Name(), ferr)
	}
	c.byeWhileReads(ctx)
	return err
}

// hasFinished is the error of a Shutdown whose last steps had err, and end with the node, before it
// closes the node: a Close beside it has cut them off, unless another Shutdown has done all.
func (d *drain) hasFinished(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return err
	case d.n.Err() == nil:
		d.finished.Store(true)
		return err
	case d.finished.Load():
		return nil
	}
	return wrap("shutdown", d.n.Name(), d.n.Err())
}

// drain lets running functions and handlers finish, and servers handle what they have received.
// Later requests of other nodes do not begin. Requests of processes of this node do, as long as
// another function or handler runs, since it may be waiting for the answer.
func (p *processes) drain(ctx context.Context) error {
	for _, b := range p.all() {
		b.served.keepBacklog() // first: from Refuse on a server refuses what is no backlog
	}
	p.n.life.Refuse()
	p.runs.drain()
	for _, b := range p.all() {
		b.served.part()
	}
	err := p.n.life.Work.Wait(ctx)
	if err != nil {
		err = fmt.Errorf("still running: %s: %w", p.whatRuns(), err)
	}
	return wrap("drain", p.n.Name(), err)
}

// mostNames is how many functions, Handlers and Servers an error names.
const mostNames = 10

// whatRuns names the functions, Handlers and Servers that run, for an error that says why waiting
// for them was given up.
func (p *processes) whatRuns() string {
	names := p.runs.names()
	for _, b := range p.all() {
		if !b.served.runs.Load() {
			continue
		}
		who := p.namesOf(b)
		if len(who) == 0 {
			names = append(names, b.pid.String())
		}
		for _, name := range who {
			names = append(names, name.String())
		}
	}
	slices.Sort(names)
	if len(names) > mostNames {
		names = append(names[:mostNames], "…")
	}
	if len(names) == 0 { // it has ended just now, or waits for a place of Config.MaxCalls
		return fmt.Sprintf("%d functions", p.n.life.Work.Count())
	}
	return strings.Join(names, ", ")
}

// Shutdown ends the connection once the peer has what was sent: it flushes, the signals of ended
// processes included, ends the sending direction, and waits until the peer, whose node then sees a
// nodedown, ends the other direction. Messages that still come meanwhile are dropped (on a node
// that was started they are delivered). Then, or when ctx ends before, it closes the connection.
// The error is ctx's, or that of Err, if not everything could be sent; or that of Err, if the
// connection broke before the peer had ended its direction, so that it may have lost what it had
// not read. If the plug-in has no CloseWrite, Shutdown does not wait for the peer.
func (c *Conn) Shutdown(ctx context.Context) error {
	ctx = wait.Ending(ctx)
	err := wrap("shutdown", c.Name(), c.exits.Wait(ctx))
	if err == nil {
		err = wrap("shutdown", c.Name(), c.l.Flush(ctx))
	}
	if err == nil {
		err = c.bye(ctx)
	}
	return errors.Join(err, c.Close())
}

// bye ends the sending direction and waits for the peer to end its own: closing a socket that has
// unread bytes would discard what was sent last. The error is why the connection broke meanwhile.
func (c *Conn) bye(ctx context.Context) error {
	err := c.l.Leave()
	switch {
	case err == nil:
		return c.awaitParting(ctx)
	case errors.Is(err, errors.ErrUnsupported):
		return nil
	case errors.Is(c.Err(), ErrClosed) && !c.l.Parted(): // by Close, and not by the peer
		err = c.Err()
	case c.Err() != nil && link.Orderly(c.Err()):
		return nil
	}
	return wrap("shutdown", c.Name(), err)
}

// byeWhileReads is bye for as long as the peer goes on to read what was sent: it has a second, and
// another one whenever it has read some.
func (c *Conn) byeWhileReads(ctx context.Context) {
	if c.l.Leave() != nil {
		return
	}
	for left, _ := c.l.Stream().OutstandingBytes(); ; {
		second, end := context.WithTimeout(ctx, farewell)
		_ = c.awaitParting(second)
		end()
		n, err := c.l.Stream().OutstandingBytes()
		if c.Err() != nil || ctx.Err() != nil || err != nil || n >= left {
			return
		}
		left = n
	}
}

// awaitParting waits for the peer to end its direction. The error is why the connection broke
// meanwhile.
func (c *Conn) awaitParting(ctx context.Context) error {
	if !c.n.started.Load() {
		c.ignore(ctx)
	}
	select {
	case <-c.l.Done():
		if !c.l.Parted() {
			return wrap("shutdown", c.Name(), c.Err())
		}
	case <-ctx.Done():
	}
	return nil
}

// ignore reads and drops what the peer still sends, unless another Receive reads it, until the
// connection or ctx ends.
func (c *Conn) ignore(ctx context.Context) {
	for m := new(Message); ; {
		if err := c.ReceiveInto(ctx, m); err != nil && !errors.Is(err, dist.ErrUnknownOp) {
			return
		}
	}
}
