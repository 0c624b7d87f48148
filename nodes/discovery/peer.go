package discovery

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A peer is a node that the source names. One goroutine keeps it connected, until cancel.
type peer struct {
	Peer   // guarded by Keeper.mu
	cancel context.CancelFunc
	isUp   chan struct{} // has something in it when the node has come up
	delay  time.Duration // before the next attempt: see spread
}

// newPeer begins to keep a node; k.mu is held.
func (k *Keeper) newPeer(name string) *peer {
	ctx, cancel := context.WithCancel(k.ctx)
	p := &peer{Peer: Peer{Node: name, Since: time.Now()}, cancel: cancel, isUp: make(chan struct{}, 1), delay: k.o.MinDelay}
	k.all.Go(func() {
		defer cancel()
		k.keep(ctx, p)
	})
	return p
}

// keep keeps a node connected.
func (k *Keeper) keep(ctx context.Context, p *peer) {
	for {
		c := k.n.Conn(p.Node)
		if c == nil {
			c = k.connect(ctx, p)
		}
		if c != nil {
			k.connected(p)
			select {
			case <-c.Done():
			case <-ctx.Done():
				return
			}
			if k.over(ctx) {
				return
			}
			k.lost(p, c.Err())
		}
		if !k.pause(ctx, p) {
			return
		}
	}
}

// over tells whether nothing more is to be done, or reported: the node's own end also ends its
// connections.
func (k *Keeper) over(ctx context.Context) bool { return ctx.Err() != nil || k.n.Err() != nil }

// connect makes one attempt; nil: it has failed, or none is made since the node drains.
func (k *Keeper) connect(ctx context.Context, p *peer) *nodes.Conn {
	select {
	case k.slots <- struct{}{}:
	case <-k.n.Draining():
		return nil
	case <-ctx.Done():
		return nil
	}
	if k.drains() {
		<-k.slots
		return nil
	}
	c, err := k.n.Connect(ctx, p.Node)
	<-k.slots
	if errors.Is(err, nodes.ErrClosed) { // the node is being shut down
		k.cancel()
	}
	if c == nil && !k.over(ctx) {
		k.failed(p, err)
	}
	return c
}

// pause waits until the next attempt is due, or the node has come up by itself; false: ctx has
// ended.
func (k *Keeper) pause(ctx context.Context, p *peer) bool {
	k.mu.Lock()
	next := p.Next
	k.mu.Unlock()
	var due <-chan time.Time // nil, if none is to be made
	if !next.IsZero() {
		t := time.NewTimer(time.Until(next))
		defer t.Stop()
		due = t.C
	}
	draining := k.n.Draining()
	for {
		select {
		case <-draining:
			draining, due = nil, nil
			k.mu.Lock()
			p.Next = time.Time{}
			k.mu.Unlock()
		case <-due:
			k.mu.Lock()
			p.Next = time.Time{}
			k.mu.Unlock()
			return true
		case <-p.isUp:
			if k.n.Conn(p.Node) != nil { // else it is of earlier
				return true
			}
		case <-ctx.Done():
			return false
		}
	}
}

func (k *Keeper) connected(p *peer) {
	k.mu.Lock()
	failed := p.Attempts
	p.Up, p.Since, p.Attempts, p.Next = true, time.Now(), 0, time.Time{}
	now := p.Peer
	k.mu.Unlock()
	level := slog.LevelDebug // the node says so itself
	if failed > 0 {
		level = slog.LevelInfo
	}
	k.o.Logger.Log(context.Background(), level, "discovery: connected", "peer", p.Node, "failed", failed)
	k.hear(k.o.OnConnected, now)
}

func (k *Keeper) lost(p *peer, err error) {
	why := nodes.DownReasonOf(err)
	k.mu.Lock()
	if time.Since(p.Since) >= k.o.MaxDelay {
		p.delay = k.o.MinDelay
	}
	p.Up, p.Since, p.Why, p.Err = false, time.Now(), why, err
	if why != nodes.DownMoved { // connecting would end the connection that has moved
		k.schedule(p)
	}
	now := p.Peer
	k.mu.Unlock()
	k.o.Logger.Warn("discovery: lost", "peer", p.Node, "reason", why.String(), "error", err, "next", now.Next)
	k.hear(k.o.OnLost, now)
}

func (k *Keeper) failed(p *peer, err error) {
	own := errors.Is(err, dist.ErrSelf) // a node that has got its name just now
	k.mu.Lock()
	p.Attempts++
	p.Err = err
	if !own && !errors.Is(err, dist.ErrInvalidName) {
		k.schedule(p)
	}
	if own && k.peers[p.Node] == p {
		delete(k.peers, p.Node)
	}
	now := p.Peer
	k.mu.Unlock()
	if own {
		return
	}
	level := slog.LevelDebug
	if now.Attempts == 1 {
		level = slog.LevelWarn
	}
	args := []any{"peer", p.Node, "error", err}
	if !now.Next.IsZero() {
		args = append(args, "next", now.Next)
	}
	k.o.Logger.Log(context.Background(), level, "discovery: connecting has failed", args...)
	k.hear(k.o.OnFailed, now)
}

// drains tells whether no attempts are made any more: a node that drains is about to leave those
// that it is connected to.
func (k *Keeper) drains() bool { return k.n.State() >= nodes.StateDraining }

// schedule sets when the next attempt is due, if there is to be one; k.mu is held.
func (k *Keeper) schedule(p *peer) {
	if k.drains() {
		p.Next = time.Time{}
		return
	}
	p.Next = time.Now().Add(spread(p.delay))
	p.delay = k.longer(p.delay)
}
