package nodes

import (
	"context"
	"errors"
	"time"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/peers"
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
	known    peers.Known     // at the last look
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
	defer n.peers.Forget(name)
	for waited := false; ; waited = true {
		if c, err = d.existing(); c != nil || err != nil {
			return c, waited, err
		}
		turn, pause := d.isOurTurn(ctx)
		if turn {
			if c, over, err := d.begin(ctx); over {
				return c, true, err
			}
		} else if err := d.waitFor(ctx, pause); err != nil {
			return nil, false, err
		}
	}
}

// existing looks at the table of peers for a connection that is up.
func (d *dialing) existing() (*Conn, error) {
	n := d.n
	switch {
	// do not even tell the peer our name: it may be connected to the process that goes on as this
	// node
	case n.ctx.Err() != nil:
		return nil, n.Err()
	case d.name == n.Name():
		return nil, dist.ErrSelf
	}
	d.known = n.peers.Look(d.name)
	switch c := fromTable(d.known.Conn); {
	case c != nil && c.Err() == nil:
		return c, nil
	case c == nil && d.onDemand && d.known.Away:
		return nil, ErrMoved
	}
	return nil, nil
}

// isOurTurn tells whether an attempt of our own is to be made. pause has a value when an attempt of
// the peer's has had its time; nil: there is none.
func (d *dialing) isOurTurn(ctx context.Context) (turn bool, pause <-chan time.Time) {
	switch k := &d.known; {
	case k.Conn != nil || k.Ours != peers.None || k.Comes:
		return false, nil
	case (d.theirs || k.Theirs) && (d.awaited.IsZero() || time.Now().Before(d.awaited)):
		if d.awaited.IsZero() {
			d.awaited = time.Now().Add(nokPause)
		}
		return false, time.After(time.Until(d.awaited))
	}
	// else there is no time to wait, let alone for an attempt
	return !transport.IsNoWait(ctx) && ctx.Err() == nil, nil
}

// begin makes an attempt of our own. It is not over if there is something else to wait for by now,
// or when the peer has an attempt, too, which goes on: should that fail, ours is made again.
func (d *dialing) begin(ctx context.Context) (c *Conn, over bool, err error) {
	n, within := d.n, ctx
	beyond := d.onDemand && d.caller.Done() != nil // it goes on when the dialing ends
	if beyond {
		within = context.WithoutCancel(d.caller)
	}
	within, a := newAttempt(within)
	a.Peer = d.name
	if !n.peers.Begin(&a.Attempt, d.theirs || d.known.Theirs) {
		a.Cancel(nil)
		return nil, false, nil
	}
	if beyond {
		c, err = n.attemptBeyond(ctx, within, a, d.err)
	} else {
		c, err = n.attempt(within, a, d.at)
	}
	d.err, d.theirs, d.awaited = err, errors.Is(err, dist.ErrNok), time.Time{}
	return c, err == nil || !d.theirs && !errors.Is(err, ErrSuperseded) && !errors.Is(err, ErrConnected), err
}

// waitFor waits until the table has changed, or the connection that ends has left it, or an attempt
// of the peer's has had its time.
func (d *dialing) waitFor(ctx context.Context, pause <-chan time.Time) error {
	change := d.known.Change
	if d.known.Conn != nil {
		change = d.known.Conn.Left()
	}
	select {
	case <-change:
	case <-pause:
	case <-wait.Cancelled(ctx):
		if ctx.Err() == nil {
			return wait.Err(ctx)
		}
		return because(ctx, d.err)
	}
	return nil
}

// attempt connects from our side, by an attempt that is on the table of peers already; ctx is the
// attempt's. When the peer's own attempt has won the error is ErrSuperseded, ErrConnected or
// dist.ErrNok.
func (n *Node) attempt(ctx context.Context, a *attempt, at *Endpoint) (c *Conn, err error) {
	defer a.Cancel(nil)
	defer n.peers.Drop(&a.Attempt)
	err = n.claim(ctx, a, a.Peer)
	i := &initiative{attempt: a, want: a.Peer}
	switch {
	case err != nil:
	case at == nil:
		i.at, err = n.cfg.Resolver.Resolve(ctx, a.Peer)
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
	case superseded || n.peers.GaveWay(&a.Attempt):
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
		a.Cancel(nil)
		n.peers.Drop(&a.Attempt)
		return nil, n.Err()
	}
	select {
	case o := <-made:
		return o.c, o.err
	case <-ctx.Done():
		return nil, because(ctx, before)
	}
}
