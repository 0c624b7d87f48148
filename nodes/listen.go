package nodes

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// A Listener accepts connections of peers, and runs their handshakes beside each other, so that a silent peer delays nobody.
type Listener struct {
	n      *Node
	number uint64 // later ones have higher numbers
	tr     transport.Transport
	l      *transport.Listener
	ctx    context.Context
	end    context.CancelCauseFunc
	up     chan *Conn // handshake done

	mu     sync.Mutex
	halt   gate        // shut: the node is being frozen
	serves atomic.Bool // Start accepts here
	begun  bool
	runs   int         // goroutines that accept
	ran    sync.Cond   // of mu: one of them has ended
	quick  atomic.Bool // the last handshake was: the next one is done on the goroutine that accepts
}

// Openings are the handshakes in progress that peers have started, over whichever listener.
type openings struct {
	mu   sync.Mutex
	list list.List // *opening, oldest first
}

// An opening is one of them.
type opening struct {
	cancel context.CancelCauseFunc
	spoke  bool
}

// errCrowded is why a handshake is given up for a newer one.
var errCrowded = errors.New("too many handshakes at once (Config.MaxHandshakes)")

// Listen opens a listener on addr over Config.Transport: ei_listen, ei_xlisten. A dynamic node without a name cannot: ErrUnnamed.
func (n *Node) Listen(ctx context.Context, addr transport.Addr) (*Listener, error) {
	return n.ListenOn(ctx, n.cfg.Transport, addr)
}

// ListenOn is Listen over another transport.
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
		return nil, wrap("listen", "", err)
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

// newListener makes a listener of the transport's.
func (n *Node) newListener(tr transport.Transport, tl *transport.Listener) *Listener {
	l := &Listener{n: n, number: n.opened.Add(1), tr: tr, l: tl, up: make(chan *Conn)}
	l.ctx, l.end = context.WithCancelCause(n.ctx)
	l.ran.L = &l.mu
	l.quick.Store(true)
	if tl != nil { // else a worker's, which the front accepts for
		tl.Exhausted = func(err error) { n.log.Warn("connections have to wait", "addr", addrText(tl.Addr()), "error", err) }
	}
	return l
}

// Addr is the address really bound.
func (l *Listener) Addr() transport.Addr { return l.l.Addr() }

// Transport is what it accepts over.
func (l *Listener) Transport() transport.Transport { return l.tr }

// Accept returns the next connection whose handshake has succeeded. Handshakes that fail are counted (Stats) and told to
// Config.HandshakeFailed; they are no errors of the listener. It is ei_accept. ErrBusy where Start accepts.
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
	case <-cancelled(ctx):
		return nil, wrap("accept", "", errOf(ctx))
	case <-l.ctx.Done():
		return nil, wrap("accept", "", context.Cause(l.ctx))
	}
}

// Done is closed when the listener does not accept any more.
func (l *Listener) Done() <-chan struct{} { return l.ctx.Done() }

// Err is why the listener does not accept any more: ErrClosed, or the fault of its socket; nil while it does.
func (l *Listener) Err() error {
	if l.ctx.Err() == nil {
		return nil
	}
	return wrap("listen on", addrText(l.Addr()), context.Cause(l.ctx))
}

// Close stops accepting; connections that are up stay. It is idempotent. It waits while the node is frozen.
func (l *Listener) Close() error {
	_ = l.halt.pass(context.Background())
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

// begin starts the accepting goroutine with the first Accept.
func (l *Listener) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.begun && l.ctx.Err() == nil {
		l.begun = true
		l.runs++
		go l.run()
	}
}

// join waits until nobody accepts.
func (l *Listener) join() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.runs > 0 {
		l.ran.Wait()
	}
}

func (l *Listener) enter() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs++
}

func (l *Listener) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs--
	l.ran.Broadcast()
}

// quickHandshake is how long a handshake may keep the goroutine that accepts. To wake another one for it takes a good part of the time of
// most.
const quickHandshake = time.Millisecond

// run accepts until the listener is closed or broken, or another goroutine does so in its place. The caller has entered.
func (l *Listener) run() {
	defer l.leave()
	for {
		s, err := l.l.Accept(l.ctx)
		if errors.Is(err, transport.ErrPaused) && l.halt.pass(l.ctx) == nil && l.ctx.Err() == nil { // else the node was released
			continue
		}
		if err != nil {
			if l.ctx.Err() == nil {
				l.n.log.Error("listener failed", "addr", l.Addr().String(), "error", err)
				l.end(err)
			}
			return
		}
		ctx, e := l.admit()
		order := l.n.arrivals.Add(1)
		l.n.shaking.enter()
		if l.quick.Load() {
			if !l.shakeHere(ctx, e, s, order) {
				return
			}
			continue
		}
		ok := l.n.background(func() {
			began := time.Now()
			l.handshake(ctx, e, s, order, nil)
			if time.Since(began) < quickHandshake {
				l.quick.Store(true)
			}
		})
		if !ok {
			l.n.shaking.leave()
			_ = s.Close()
		}
	}
}

// shakeHere does a handshake on the goroutine that accepts. If the handshake is not quick, another goroutine accepts from then on, and
// shakeHere reports that the caller is not to go on.
func (l *Listener) shakeHere(ctx context.Context, e *list.Element, s *transport.Stream, order uint64) (goOn bool) {
	if !l.n.foreground() {
		l.n.shaking.leave()
		_ = s.Close()
		return true // and find that the listener has ended too
	}
	defer l.n.goroutines.leave()
	defer l.enter()
	relief := time.AfterFunc(quickHandshake, func() {
		l.enter()
		l.quick.Store(false) // now: the next ones are not to be held up by as much each
		l.run()
	})
	l.leave()
	l.handshake(ctx, e, s, order, nil)
	return relief.Stop()
}

// admit makes room for one more handshake.
func (l *Listener) admit() (context.Context, *list.Element) {
	ctx, cancel := context.WithCancelCause(l.ctx)
	o := &l.n.openings
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.list.Len() >= l.n.cfg.MaxHandshakes {
		oldest := o.list.Front()
		for e := oldest; e != nil; e = e.Next() {
			if !e.Value.(*opening).spoke {
				oldest = e
				break
			}
		}
		oldest.Value.(*opening).cancel(errCrowded)
		o.list.Remove(oldest)
	}
	return ctx, o.list.PushBack(&opening{cancel: cancel})
}

// handshake brings one accepted stream up, and hands it to Accept. h is what the front counts it by, in a worker.
func (l *Listener) handshake(ctx context.Context, e *list.Element, s *transport.Stream, order uint64, h *stake) {
	n := l.n
	ctx, cancel := context.WithTimeoutCause(ctx, n.cfg.HandshakeTimeout, errTimeout)
	defer cancel()
	actx, supersede := context.WithCancelCause(ctx)
	defer supersede(nil)
	a := &attempt{order: order, cancel: supersede, stake: h}
	c, err := n.outlast(actx, l.tr, func(opened func(*transport.Stream)) (*Conn, error) {
		opened(s)
		return l.shake(actx, e, s, a)
	})
	n.dropAttempt(a)
	n.openings.mu.Lock()
	e.Value.(*opening).cancel(nil)
	n.openings.list.Remove(e)
	n.openings.mu.Unlock()
	if err != nil {
		h.over(true)
	}
	n.shaking.leave()
	if err != nil {
		err = errors.Join(err, quietly(s.Close()))
		n.stats.handshakesFailed.Add(1)
		n.log.Warn("handshake failed", "remote", addrText(s.RemoteAddr()), "error", err)
		if n.cfg.HandshakeFailed != nil {
			n.cfg.HandshakeFailed(s.RemoteAddr(), err)
		}
		return
	}
	if c == nil || l.serves.Load() { // a worker has it, or it serves itself
		return
	}
	select {
	case l.up <- c:
	case <-l.ctx.Done():
		if !n.started.Load() { // else the connection serves itself already
			c.fail(ErrClosed)
		}
	case <-c.done:
	}
}

func (l *Listener) shake(ctx context.Context, e *list.Element, s *transport.Stream, a *attempt) (*Conn, error) {
	spoke := func() {
		l.n.openings.mu.Lock()
		defer l.n.openings.mu.Unlock()
		e.Value.(*opening).spoke = true
	}
	if l.n.front != nil {
		return nil, l.n.front.dispatch(ctx, l, s, spoke)
	}
	p, err := l.n.respond(ctx, s, a, spoke)
	if err != nil {
		return nil, err
	}
	return l.n.establish(ctx, l.tr, s, p, false, a)
}

func addrText(a transport.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}
