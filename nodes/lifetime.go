package nodes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// A State is how far a node has come in its life. The states come in their order; some may be left
// out.
type State int32

// The states of a node. A readiness probe says yes in StateRunning only.
const (
	StateStarting State = iota // Start, or Staged.Start, has not returned yet
	StateRunning
	StateDraining // see Drain: it is not to be found any more, and serves whoever has found it
	StateStopping // see Shutdown: it turns new requests away, and finishes what it has received
	StateClosed   // here: another process may go on as the node, see Err
)

// String is the state in a word: "running".
func (s State) String() string {
	names := [...]string{"starting", "running", "draining", "stopping", "closed"}
	if s < 0 || int(s) >= len(names) {
		return fmt.Sprintf("State(%d)", s)
	}
	return names[s]
}

// A drain is the state of a node, and what makes that others do not find it any more.
type drain struct {
	state              atomic.Int32 // changes with mu held
	draining, stopping chan struct{}
	turn               chan struct{} // holds a token while what is in hooks is called

	mu    sync.Mutex
	hooks []*func(context.Context) error // those that have not succeeded yet
	some  bool                           // there were hooks
	left  time.Time                      // when the last of them had succeeded; zero: not yet
}

func (d *drain) init() {
	d.draining, d.stopping = make(chan struct{}), make(chan struct{})
	d.turn = make(chan struct{}, 1)
}

// reach notes that the node is in a state, unless it is in a later one.
func (n *Node) reach(s State) {
	d := &n.drain
	d.mu.Lock()
	defer d.mu.Unlock()
	was := n.State()
	if s <= was {
		return
	}
	d.state.Store(int32(s))
	if was < StateDraining && s >= StateDraining {
		close(d.draining)
	}
	if was < StateStopping && s >= StateStopping {
		close(d.stopping)
	}
}

// State is the node's state at present. A node of the lower level, without Start, is
// StateStarting until it drains.
func (n *Node) State() State { return State(n.drain.state.Load()) }

// Draining is closed when the node begins to drain, or ends without.
func (n *Node) Draining() <-chan struct{} { return n.drain.draining }

// Stopping is closed when the node begins to stop, or ends without.
func (n *Node) Stopping() <-chan struct{} { return n.drain.stopping }

// OnDrain has f called when the node drains, beside other such functions: it takes back that by
// which others find the node, or its processes: an entry in a registry, or at a load balancer. f
// returns when that is done, or ctx ends; Drain waits for it, and has its error, and so has
// Shutdown; the next of them calls it again. A node that drains already calls f at once, on another
// goroutine. Packages pg, global and pubsub have it done for what they have made known. remove takes
// f back.
func (n *Node) OnDrain(f func(ctx context.Context) error) (remove func()) {
	d := &n.drain
	d.mu.Lock()
	defer d.mu.Unlock()
	hook := &f
	if n.State() >= StateDraining {
		n.background(func() {
			if err := n.guarded("OnDrain", func() error { return f(n.ctx) }); err != nil && n.Err() == nil {
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
	if err := n.lastThaw(ctx); err != nil {
		return wrap("drain", n.Name(), err)
	}
	return n.withdraw(ctx)
}

// withdraw is Drain after lastThaw.
func (n *Node) withdraw(ctx context.Context) error {
	n.reach(StateDraining)
	d := &n.drain
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	default:
		select {
		case d.turn <- struct{}{}:
			defer func() { <-d.turn }()
		case <-ctx.Done():
			return wrap("drain", n.Name(), ctx.Err())
		}
	}
	if n.Err() != nil {
		return nil
	}
	errs := []error{n.Unpublish()}
	d.mu.Lock()
	hooks := slices.Clone(d.hooks)
	d.mu.Unlock()
	done := make(chan error, len(hooks))
	for _, hook := range hooks {
		go func() {
			err := n.guarded("OnDrain", func() error { return (*hook)(ctx) })
			if err == nil {
				d.remove(hook)
			}
			done <- err
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
	return wrap("drain", n.Name(), errors.Join(errs...))
}

// drainMoment is the DrainGrace of a node that had something to leave, if the Config does not say:
// what others have sent, or are about to send, since they have not heard yet, arrives.
const drainMoment = 500 * time.Millisecond

// serveOn waits for the rest of the grace, until ctx ends, or the node does.
func (n *Node) serveOn(ctx context.Context) {
	d := &n.drain
	d.mu.Lock()
	grace, some, since := n.cfg.DrainGrace, d.some, d.left
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
	case <-n.Done():
	}
}

// background runs f on a goroutine that Close waits for; false when the node is closing.
func (n *Node) background(f func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx.Err() != nil {
		return false
	}
	n.goroutines.Run(f)
	return true
}

// Done is closed when the node begins to close.
func (n *Node) Done() <-chan struct{} { return n.ctx.Done() }

// Err is why the node closed: ErrClosed after Close or Shutdown, ErrMoved when it goes on in
// another process; nil while it lives.
func (n *Node) Err() error {
	if n.ctx.Err() == nil {
		return nil
	}
	return context.Cause(n.ctx)
}

// ending is why no freeze or other large operation begins any more: the node closes, or is being
// shut down.
func (n *Node) ending() error {
	if err := n.Err(); err != nil || n.shutting.Load() == 0 {
		return err
	}
	return ErrClosed
}

// lockUnfrozen locks mu once the node is not frozen, unless ctx ends before. A node that is still
// being restored is not frozen in this sense.
func (n *Node) lockUnfrozen(ctx context.Context) error {
	for {
		n.mu.Lock()
		if n.life.Phase() < life.Draining {
			return nil
		}
		n.mu.Unlock()
		if err := n.life.Before(ctx, life.Draining); err != nil {
			return err
		}
	}
}

// hasMoved tells whether the node has gone on in another process.
func (n *Node) hasMoved() bool { return errors.Is(n.Err(), ErrMoved) }
