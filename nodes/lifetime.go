package nodes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// A State is how far a node has come in its life. The states come in their order; some may be left
// out.
type State int32

// The states of a node. A readiness probe says yes in StateRunning only, and perhaps only while
// Stats says that the node is Published: it is not any more once its listener has broken.
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
	n       *Node
	parting atomic.Bool // Shutdown takes leave of the peers: no connection is made any more

	shutting           atomic.Int32 // calls of Drain and Shutdown
	state              atomic.Int32 // changes with mu held
	draining, stopping chan struct{}
	turn               chan struct{} // holds a token while what is in hooks is called
	finished           atomic.Bool   // a Shutdown closes the node, and its ctx has not ended

	mu    sync.Mutex
	hooks []*func(context.Context) error // those that have not succeeded yet
	some  bool                           // there were hooks
	left  time.Time                      // when the last of them had succeeded; zero: not yet
}

func (d *drain) init(n *Node) {
	d.n = n
	d.draining, d.stopping = make(chan struct{}), make(chan struct{})
	d.turn = make(chan struct{}, 1)
}

// reach notes that the node is in a state, unless it is in a later one.
func (d *drain) reach(s State) {
	d.mu.Lock()
	defer d.mu.Unlock()
	was := State(d.state.Load())
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
func (n *Node) State() State {
	if n.ctx.Err() != nil { // before who has waited for Done, or Close, asks
		return StateClosed
	}
	return State(n.drain.state.Load())
}

// Draining is closed when the node begins to drain, or ends without.
func (n *Node) Draining() <-chan struct{} { return n.drain.draining }

// Stopping is closed when the node begins to stop, or ends without.
func (n *Node) Stopping() <-chan struct{} { return n.drain.stopping }

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

// inPool is background for a function of the application's: on a goroutine that has run others.
func (n *Node) inPool(task wait.Task) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx.Err() != nil {
		return false
	}
	n.pool.Run(task, &n.goroutines)
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
func (d *drain) ending() error {
	if err := d.n.Err(); err != nil || d.shutting.Load() == 0 {
		return err
	}
	return ErrClosed
}

// lockUnfrozen locks mu once the node is not frozen, unless ctx ends before. A node that is still
// being restored is not frozen in this sense.
func (n *Node) lockUnfrozen(ctx context.Context) error {
	return n.life.Lock(ctx, &n.mu, life.Draining, nil)
}

// hasMoved tells whether the node has gone on in another process.
func (n *Node) hasMoved() bool { return errors.Is(n.Err(), ErrMoved) }

// gone is the reason why a node that ends has no processes any more.
func (n *Node) gone() error {
	if err := n.Err(); err != nil {
		return err
	}
	return ErrClosed
}

// An env is what everything of a node shares.
type env struct {
	cfg Config
	log *slog.Logger
	ctx context.Context // ends when the node closes

	goroutines wait.Tally // those that Close waits for
	life       life.Life
	started    atomic.Bool // the upper level receives

	stats    counters
	links    link.Env  // what the connections know of it
	messages sync.Pool // *Message
}

// encode says how the node writes Go values that it sends by itself.
func (v *env) encode() ei.EncodeOptions { return ei.EncodeOptions{Absent: v.cfg.Absent} }
