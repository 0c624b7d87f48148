package nodes

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/carriers"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/transport"
)

// A Listener accepts connections from peers, and runs their handshakes concurrently, so that a
// silent peer delays no other.
type Listener struct {
	n      *Node
	number uint64 // later ones have higher numbers
	tr     transport.Transport
	l      *transport.Listener
	ctx    context.Context
	end    context.CancelCauseFunc

	mu      sync.Mutex
	stopped wait.Gate   // shut, with mu held: the node is being frozen, or is not yet restored
	up      []*Conn     // those that Accept is to return, in order; some may have ended
	comes   wait.Bell   // rings when another one is in up
	serves  atomic.Bool // Start accepts here
	begun   bool
	runs    wait.Tally // goroutines that accept
	// Accepts in progress, and what they have given until its handshake is counted
	taking wait.Tally
}

// Listen opens a listener on addr over Config.Transport, with Config.Backlog: ei_listen,
// ei_xlisten. A dynamic node without a name cannot: ErrUnnamed. Listen waits only while the node is
// frozen. After the node's Close the error is ErrClosed, and ErrMoved if another process goes on as
// the node; if the transport cannot listen (syscall.EADDRINUSE, say) it is a *transport.OpError.
// Nothing is accepted before the first Accept. On a started node (see Start) one Accept is enough:
// from then on the node serves the connections, whether Accept returns them or not. Config.Also is
// for addresses on which Start accepts.
func (n *Node) Listen(ctx context.Context, addr transport.Addr) (*Listener, error) {
	return n.ListenOn(ctx, n.cfg.Transport, addr)
}

// ListenOn is Listen over another transport: it waits as Listen does, and has its errors.
func (n *Node) ListenOn(ctx context.Context, tr transport.Transport, addr transport.Addr) (*Listener, error) {
	if err := ctx.Err(); err != nil {
		return nil, wrap("listen", "", err)
	}
	if n.Name() == "" {
		return nil, wrap("listen", "", ErrUnnamed)
	}
	err := n.life.Before(ctx, life.Draining)
	if err == nil {
		err = n.Err() // before another process's listener at that address can be met
	}
	if err != nil {
		return nil, wrap("listen", "", err)
	}
	tl, err := tr.Listen(addr, n.cfg.Backlog)
	if err != nil {
		return nil, err // it says what was attempted, and where
	}
	l := n.newListener(tr, tl)
	if err := n.enlist(ctx, l); err != nil {
		return nil, wrap("listen", "", errors.Join(err, tl.Close()))
	}
	return l, nil
}

// enlist makes a listener the node's, at a moment when the node is not frozen: so it moves with the
// node.
func (n *Node) enlist(ctx context.Context, l *Listener) error {
	if err := n.lockUnfrozen(ctx); err != nil {
		return err
	}
	defer n.mu.Unlock()
	if err := n.Err(); err != nil {
		return err
	}
	n.listeners[l] = struct{}{}
	return nil
}

// newListener makes a Listener of the transport's listener.
func (n *Node) newListener(tr transport.Transport, tl *transport.Listener) *Listener {
	l := &Listener{n: n, number: n.opened.Add(1), tr: tr, l: tl}
	l.ctx, l.end = context.WithCancelCause(n.ctx)
	tl.Exhausted = func(err error) {
		n.waits.Log(n.log, slog.LevelWarn, "connections have to wait", "addr", addrText(tl.Addr()), "error", err)
	}
	return l
}

// Addr is the address actually bound.
func (l *Listener) Addr() transport.Addr { return l.l.Addr() }

// Transport is the transport that the listener accepts over.
func (l *Listener) Transport() transport.Transport { return l.tr }

// Accept returns the next connection whose handshake has succeeded. It waits for one until ctx or
// the listener ends: in the latter case the error has the reason that Err gives, ErrClosed after
// Close. While the node is frozen Accept returns nothing; a connection that it has not returned
// when the node moves is returned in the new process. Handshakes that fail are counted (Stats) and
// reported to Config.HandshakeFailed; they are not errors of the listener. If Start accepts on this
// listener the error is ErrBusy. It is ei_accept.
func (l *Listener) Accept(ctx context.Context) (*Conn, error) {
	if l.serves.Load() {
		return nil, wrap("accept", "", ErrBusy)
	}
	l.begin()
	for {
		c, change := l.take()
		if c != nil {
			return c, nil
		}
		select {
		case <-change:
		case <-wait.Cancelled(ctx):
			return nil, wrap("accept", "", wait.Err(ctx))
		case <-l.ctx.Done():
			return nil, wrap("accept", "", context.Cause(l.ctx))
		}
	}
}

// take takes the connection that has waited longest for Accept; nil: there is none, or there shall
// be none, before change is closed.
func (l *Listener) take() (c *Conn, change <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if shut, change := l.stopped.State(); shut {
		return nil, change
	}
	for len(l.up) > 0 && c == nil {
		if c, l.up[0], l.up = l.up[0], nil, l.up[1:]; c.Err() != nil {
			c = nil
			continue
		}
		c.from.Store(nil)
	}
	return c, l.comes.Next()
}

// Done is closed when the listener no longer accepts.
func (l *Listener) Done() <-chan struct{} { return l.ctx.Done() }

// Err is why the listener no longer accepts: ErrClosed, or a fault of its socket that has stayed,
// for which the node is unpublished if it was published at its address; nil while it accepts.
func (l *Listener) Err() error {
	if l.ctx.Err() == nil {
		return nil
	}
	return wrap("listen on", addrText(l.Addr()), context.Cause(l.ctx))
}

// Close stops accepting; connections that are up stay, but on a node that was not started those
// that Accept has not returned end (ErrClosed). It is idempotent. It waits while the node is
// frozen.
func (l *Listener) Close() error {
	for l.mu.Lock(); l.stopped.IsShut() && l.n.life.Phase() != life.Staged; l.mu.Lock() {
		l.mu.Unlock()
		_ = l.stopped.Pass(context.Background())
	}
	l.endUnlock(ErrClosed)
	l.n.mu.Lock()
	delete(l.n.listeners, l)
	l.n.mu.Unlock()
	err := l.l.Close()
	// else a goroutine may be inside the callback for ever
	if !errors.Is(err, transport.ErrUnresponsive) {
		l.join()
	}
	return wrap("close listener", "", err)
}

// endUnlock ends accepting; l.mu is held. Connections that no Accept has returned end, unless the
// upper level serves them already.
func (l *Listener) endUnlock(err error) {
	l.end(err)
	up := l.up
	l.up = nil
	l.mu.Unlock()
	for _, c := range up {
		l.turnAway(c)
	}
}

// turnAway ends a connection that Accept will not return, unless the upper level serves it.
func (l *Listener) turnAway(c *Conn) {
	if !l.n.started.Load() {
		c.l.Fail(ErrClosed)
	}
}

// stop stops the listener for a freeze: from then on Close waits, and Accept returns nothing.
// false: it stands still already.
func (l *Listener) stop() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stopped.Shut()
}

// resume lets the listener go on.
func (l *Listener) resume() {
	l.l.Resume()
	l.stopped.Open()
}

// movable is nil if the listener can be handed over; else the error says why not.
func (l *Listener) movable() error {
	err := movable(l.tr, l.l.Descriptor)
	if c, clear := l.n.carriers.ID(l.tr); err == nil && !clear && !carriers.IsPlain(c) {
		err = &NotMovableError{Plugin: c.Plugin, Err: errUnclear}
	}
	return wrap("listener on", addrText(l.Addr()), err)
}

// release ends the listener in this process; it stays open in another one.
func (l *Listener) release() error {
	err := l.l.Release()
	l.n.mu.Lock()
	delete(l.n.listeners, l)
	l.n.mu.Unlock()
	l.stopped.Open()
	l.join()
	return err
}

// serveAlone has Accept return nothing any more.
func (l *Listener) serveAlone() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serves.Store(true)
	l.up = nil // the upper level has them
}

// begin starts the accepting goroutine with the first Accept.
func (l *Listener) begin() {
	if l.starts() {
		go l.run()
	}
}

// starts tells whether the caller is to accept from now on: nobody does, and the listener has not
// ended. The caller then calls l.runs.Leave when it has ended.
func (l *Listener) starts() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begun || l.ctx.Err() != nil {
		return false
	}
	l.begun = true
	l.runs.Enter()
	return true
}

// join waits until no goroutine accepts any more; the listener has ended.
func (l *Listener) join() {
	l.mu.Lock() // a begin in progress has counted its goroutine then
	runs := &l.runs
	l.mu.Unlock()
	_ = runs.Wait(context.Background())
}

// After so many errors of Accept in a row the listener is broken. Before that it waits after each,
// twice as long as after the one before.
const (
	mostFailures = 10
	firstFailure = 5 * time.Millisecond
	longFailure  = time.Second
)

// run accepts, and makes connections.
func (l *Listener) run() {
	defer l.runs.Leave()
	for o := range l.accepted {
		if !l.n.background(func() { l.shake(o) }) {
			o.refuse()
		}
	}
}

// accepted accepts until the listener is closed or broken. What is to become of each opening is
// the caller's affair.
func (l *Listener) accepted(yield func(*opening) bool) {
	for failures := 0; ; {
		o, err := l.admit()
		switch {
		case err == nil:
			if failures = 0; !yield(o) {
				return
			}
			continue
		// else the node was released
		case errors.Is(err, transport.ErrPaused) && l.stopped.Pass(l.ctx) == nil && l.ctx.Err() == nil:
			continue
		case l.ctx.Err() != nil:
			return
		}
		// what a listener of the program's says of one client need not say that it is temporary
		if failures++; failures == mostFailures || errors.Is(err, net.ErrClosed) || errors.Is(err, transport.ErrUnresponsive) {
			l.broke(err)
			return
		}
		l.l.Exhausted(err)
		select {
		case <-time.After(min(firstFailure<<(failures-1), longFailure)):
		case <-l.ctx.Done():
		}
	}
}

// broke ends the listener for a fault of its socket, and the publication of its address.
func (l *Listener) broke(err error) {
	attrs := []any{"addr", addrText(l.Addr()), "error", err}
	if l.n.publishing.unpublish(l) {
		attrs = append(attrs, "unpublished", l.n.Name())
	}
	l.n.log.Error("listener failed: nobody can connect there any more", attrs...)
	l.mu.Lock()
	l.endUnlock(err)
}

// admit accepts a connection, and makes room for its handshake. A freeze waits until that is
// counted: pausing l.l waits for Accept alone.
func (l *Listener) admit() (*opening, error) {
	l.taking.Enter()
	defer l.taking.Leave()
	s, err := l.l.Accept(l.ctx)
	if err != nil {
		return nil, err
	}
	o := l.n.admit(l.ctx, l.tr, s)
	o.from = l
	return o, nil
}

// shake does a handshake, and leaves the connection to Accept.
func (l *Listener) shake(o *opening) {
	c := o.shake()
	if c == nil {
		return
	}
	l.mu.Lock()
	ended := l.ctx.Err() != nil
	if !ended && !l.serves.Load() { // else the upper level serves it
		l.await(c)
	}
	l.mu.Unlock()
	if ended {
		l.turnAway(c)
	}
}

// await leaves a connection to Accept; l.mu is held.
func (l *Listener) await(c *Conn) {
	if len(l.up) == cap(l.up) { // before it grows
		l.up = slices.DeleteFunc(l.up, func(c *Conn) bool { return c.Err() != nil })
	}
	l.up = append(l.up, c)
	l.comes.Ring()
}

// begins tells whether the listener accepts, or is about to: it was asked to once.
func (l *Listener) begins() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.begun
}
