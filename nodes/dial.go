package nodes

import (
	"context"
	"errors"
	"time"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/transport"
)

// nokPause is how long dial waits for an attempt of the peer's before it makes our own: the attempt
// may be that of a stranger who uses the peer's name.
const nokPause = 200 * time.Millisecond

// A dialing is one call of dial.
type dialing struct {
	n        *Node
	name     string
	at       *Endpoint // nil: where the Resolver finds the node
	onDemand bool
	caller   context.Context // without the bounds of the node's own
	err      error           // why our last attempt has failed
	theirs   bool            // the peer has told us of an attempt of its own
	awaited  time.Time       // until when we wait for that; zero: not yet
}

// dial gets a connection to name: the one that is up (fresh is false), one that others are about to
// make, or a new one. On demand, an attempt that has begun goes on when ctx ends: others may need
// the connection too, and the peer, once it has accepted, would see this node come up and go down.
func (n *Node) dial(ctx context.Context, name string, at *Endpoint, onDemand bool) (c *Conn, fresh bool, err error) {
	if err := dist.CheckName(name); err != nil {
		return nil, false, err
	}
	defer endedBy(ctx, &err)
	d := &dialing{n: n, name: name, at: at, onDemand: onDemand, caller: ctx}
	ctx, cancel := n.handshakeTime(ctx)
	defer cancel()
	for waited := false; ; waited = true {
		m, err := d.move(ctx)
		switch {
		case err != nil:
			return nil, false, err
		case m.up != nil:
			return m.up, waited, nil
		case m.attempt != nil:
			if c, over, err := d.try(ctx, m); over {
				return c, true, err
			}
			continue // the peer's own attempt goes on; should it fail, ours is made again
		}
		select {
		case <-m.change:
		case <-m.pause:
		case <-wait.Cancelled(ctx):
			n.forget(name)
			if ctx.Err() == nil {
				return nil, false, wait.Err(ctx)
			}
			return nil, false, because(ctx, d.err)
		}
	}
}

// A dialMove is what a dialing does next: it has a connection, or makes an attempt, or waits.
type dialMove struct {
	up      *Conn
	attempt *attempt
	ctx     context.Context // the attempt's
	beyond  bool            // the attempt goes on when the dialing ends
	// closed when the table of peers has changed, or the connection that ends has left it
	change <-chan struct{}
	// has a value when an attempt of the peer's has had its time; nil: there is none
	pause <-chan time.Time
}

// move looks at the table of peers.
func (d *dialing) move(ctx context.Context) (m dialMove, err error) {
	n := d.n
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	// do not even tell the peer our name: it may be connected to the process that goes on as this
	// node
	case n.ctx.Err() != nil:
		return m, n.Err()
	case d.name == n.name:
		return m, dist.ErrSelf
	}
	p := n.peerLocked(d.name)
	m.change = p.change.Next()
	switch up := p.conn; {
	case up != nil && up.Err() == nil:
		m.up = up
	case up != nil:
		m.change = up.left
	case d.onDemand && n.isAwayLocked(d.name):
		n.changedLocked(d.name, p)
		return m, ErrMoved
	case p.outgoing != nil || p.comes():
	case (d.theirs || p.incoming != nil) && (d.awaited.IsZero() || time.Now().Before(d.awaited)):
		if d.awaited.IsZero() {
			d.awaited = time.Now().Add(nokPause)
		}
		m.pause = time.After(time.Until(d.awaited))
	// there is no time to wait, let alone for an attempt
	case transport.IsNoWait(ctx) || ctx.Err() != nil:
	default:
		if m.beyond = d.onDemand && d.caller.Done() != nil; m.beyond {
			ctx = context.WithoutCancel(d.caller)
		}
		m.ctx, m.attempt = newAttempt(ctx)
		m.attempt.name, p.outgoing = d.name, m.attempt
	}
	return m, nil
}

// try makes an attempt of our own. It is not over when the peer has one, too, which goes on.
func (d *dialing) try(ctx context.Context, m dialMove) (c *Conn, over bool, err error) {
	if m.beyond {
		c, err = d.n.attemptBeyond(ctx, m.ctx, m.attempt, d.err)
	} else {
		c, err = d.n.attempt(m.ctx, m.attempt, d.at)
	}
	d.err, d.theirs, d.awaited = err, errors.Is(err, dist.ErrNok), time.Time{}
	return c, err == nil || !d.theirs && !errors.Is(err, ErrSuperseded) && !errors.Is(err, ErrConnected), err
}

// attempt connects from our side, by an attempt that is on the table of peers already; ctx is the
// attempt's. When the peer's own attempt has won the error is ErrSuperseded, ErrConnected or
// dist.ErrNok.
func (n *Node) attempt(ctx context.Context, a *attempt, at *Endpoint) (c *Conn, err error) {
	defer a.cancel(nil)
	defer n.dropAttempt(a)
	err = n.claim(ctx, a, a.name)
	i := &initiative{attempt: a, want: a.name}
	switch {
	case err != nil:
	case at == nil:
		i.at, err = n.cfg.Resolver.Resolve(ctx, a.name)
	default:
		i.at = *at
	}
	if err == nil {
		c, err = n.open(ctx, i)
	}
	if err == nil {
		return c, nil
	}
	a.claim.over(false)
	switch superseded := context.Cause(ctx) == ErrSuperseded; {
	case ctx.Err() != nil && !superseded:
		return nil, because(ctx, err)
	case superseded || n.gaveWay(a):
		return nil, ErrSuperseded
	}
	return nil, err
}

// attemptBeyond is attempt with a context of its own, actx, for a caller who waits until ctx ends.
// before is why an earlier attempt failed.
func (n *Node) attemptBeyond(ctx, actx context.Context, a *attempt, before error) (*Conn, error) {
	type outcome struct {
		c   *Conn
		err error
	}
	made := make(chan outcome, 1)
	begun := n.background(func() {
		actx, cancel := n.handshakeTime(actx)
		defer cancel()
		c, err := n.attempt(actx, a, nil)
		made <- outcome{c, err}
	})
	if !begun {
		a.cancel(nil)
		n.dropAttempt(a)
		return nil, n.Err()
	}
	select {
	case o := <-made:
		return o.c, o.err
	case <-ctx.Done():
		return nil, because(ctx, before)
	}
}
