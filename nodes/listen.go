package nodes

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/transport"
)

// A Listener accepts connections from peers, and runs their handshakes concurrently, so that a silent peer delays no other.
type Listener struct {
	n      *Node
	number uint64 // later ones have higher numbers
	tr     transport.Transport
	l      *transport.Listener
	ctx    context.Context
	end    context.CancelCauseFunc
	up     chan *Conn // connections whose handshake is done

	mu     sync.Mutex
	halt   wait.Gate   // shut: the node is being frozen
	serves atomic.Bool // Start accepts here
	begun  bool
	runs   wait.Tally // goroutines that accept
	pace   pace
}

// Listen opens a listener on addr over Config.Transport: ei_listen, ei_xlisten. A dynamic node without a name cannot: ErrUnnamed. Listen
// waits only while the node is frozen. After the node's Close the error is ErrClosed; if the transport cannot listen (syscall.EADDRINUSE,
// say) it is a *transport.OpError. Nothing is accepted before the first Accept. On a started node (see Start) one Accept is enough: from
// then on the node serves the connections, whether Accept returns them or not. Config.Also is for addresses on which Start accepts.
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
	if err := n.unfrozen(ctx); err != nil {
		return nil, wrap("listen", "", err)
	}
	tl, err := tr.Listen(addr, 0)
	if err != nil {
		return nil, err // it says what was attempted, and where
	}
	l := n.newListener(tr, tl)
	n.mu.Lock()
	closed := n.ctx.Err() != nil
	if !closed {
		n.listeners[l] = struct{}{}
	}
	n.mu.Unlock()
	if closed {
		return nil, wrap("listen", "", errors.Join(ErrClosed, tl.Close()))
	}
	return l, nil
}

// newListener makes a Listener of the transport's listener.
func (n *Node) newListener(tr transport.Transport, tl *transport.Listener) *Listener {
	l := &Listener{n: n, number: n.opened.Add(1), tr: tr, l: tl, up: make(chan *Conn)}
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

// Accept returns the next connection whose handshake has succeeded. It waits for one until ctx or the listener ends: in the latter case the
// error has the reason that Err gives, ErrClosed after Close. Handshakes that fail are counted (Stats) and reported to
// Config.HandshakeFailed; they are not errors of the listener. If Start accepts on this listener the error is ErrBusy. It is ei_accept.
func (l *Listener) Accept(ctx context.Context) (*Conn, error) {
	if l.serves.Load() {
		return nil, wrap("accept", "", ErrBusy)
	}
	l.begin()
	select {
	case c := <-l.up:
		return c, nil
	default:
	}
	select {
	case c := <-l.up:
		return c, nil
	case <-wait.Cancelled(ctx):
		return nil, wrap("accept", "", wait.Err(ctx))
	case <-l.ctx.Done():
		return nil, wrap("accept", "", context.Cause(l.ctx))
	}
}

// Done is closed when the listener no longer accepts.
func (l *Listener) Done() <-chan struct{} { return l.ctx.Done() }

// Err is why the listener no longer accepts: ErrClosed, or the fault of its socket; nil while it accepts.
func (l *Listener) Err() error {
	if l.ctx.Err() == nil {
		return nil
	}
	return wrap("listen on", addrText(l.Addr()), context.Cause(l.ctx))
}

// Close stops accepting; connections that are up stay. It is idempotent. It waits while the node is frozen.
func (l *Listener) Close() error {
	_ = l.halt.Pass(context.Background())
	l.end(ErrClosed)
	l.n.mu.Lock()
	delete(l.n.listeners, l)
	l.n.mu.Unlock()
	err := l.l.Close()
	if !errors.Is(err, transport.ErrUnresponsive) { // else a goroutine may be inside the callback for ever
		l.join()
	}
	return wrap("close listener", "", err)
}

// release ends the listener in this process; it stays open in another one.
func (l *Listener) release() error {
	err := l.l.Release()
	l.n.mu.Lock()
	delete(l.n.listeners, l)
	l.n.mu.Unlock()
	l.halt.Open()
	l.join()
	return err
}

// begin starts the accepting goroutine with the first Accept.
func (l *Listener) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.begun && l.ctx.Err() == nil {
		l.begun = true
		l.runs.Enter()
		go l.run()
	}
}

// join waits until no goroutine accepts any more; the listener has ended.
func (l *Listener) join() {
	l.mu.Lock() // a begin in progress has counted its goroutine then
	runs := &l.runs
	l.mu.Unlock()
	_ = runs.Wait(context.Background())
}

// run accepts until the listener is closed or broken, or another goroutine accepts in its place. The caller has called l.runs.Enter.
func (l *Listener) run() {
	defer l.runs.Leave()
	for {
		s, err := l.l.Accept(l.ctx)
		if errors.Is(err, transport.ErrPaused) && l.halt.Pass(l.ctx) == nil && l.ctx.Err() == nil { // else the node was released
			continue
		}
		if err != nil {
			if l.ctx.Err() == nil {
				l.n.log.Error("listener failed", "addr", l.Addr().String(), "error", err)
				l.end(err)
			}
			return
		}
		o := l.n.admit(l.ctx, l.tr, s)
		o.from = l
		if !l.pace.slow.Load() {
			if !l.shakeHere(o) {
				return
			}
		} else if !l.n.background(func() { l.pace.beside(func() { l.shake(o) }) }) {
			o.refuse()
		}
	}
}

// shakeHere does a handshake on the accepting goroutine, which is not counted meanwhile, so that Close does not wait for it. It reports
// whether the caller is to go on accepting: if not, another goroutine does.
func (l *Listener) shakeHere(o *opening) (goOn bool) {
	if !l.n.foreground() {
		o.refuse()
		return true // to find that the listener has ended too
	}
	defer l.n.goroutines.Leave()
	l.runs.Leave()
	defer l.runs.Enter()
	return l.pace.here(o, func() { l.shake(o) }, func() { l.runs.Enter(); l.run() })
}

// shake does a handshake, and hands the connection to Accept.
func (l *Listener) shake(o *opening) {
	c := o.shake()
	if c == nil || l.serves.Load() { // the upper level serves it
		return
	}
	select {
	case l.up <- c:
		return
	default:
	}
	o.relief.watch()
	select {
	case l.up <- c:
	case <-l.ctx.Done():
		if !l.n.started.Load() { // else the upper level serves the connection already
			c.fail(ErrClosed)
		}
	case <-c.done:
	}
}

func addrText(a transport.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}
