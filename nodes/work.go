package nodes

import "context"

// until returns a context that ends when ctx ends or over is closed.
func (n *Node) until(ctx context.Context, over <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	n.goroutines.Run(func() {
		select {
		case <-over:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, cancel
}

// admits tells whether a request of a peer may wait for a place of Config.MaxCalls; see shares.admits.
func (n *Node) admits(c *Conn, bytes int) bool {
	if c == nil || n.procs.calls.admits(c, bytes, n.ctx.Done()) {
		return true
	}
	if c.Err() == nil {
		c.complain(fullCalls, "calls refused", errFullCalls)
	}
	return false
}

// work runs f on a goroutine of its own, in a place of Config.MaxCalls. work does not wait for a place: f is queued until its peer gets
// one, and counts as running from now on; bytes is the memory that it holds meanwhile. work is false when the node drains (see busy); then,
// or when the node closes, f does not run.
func (n *Node) work(c *Conn, bytes int, f func(ctx context.Context)) bool {
	if !n.procs.busy(c == nil) {
		return false
	}
	peer, t := "", &turn{conn: c}
	if c != nil {
		peer = c.peer.Name
		c.works.Enter()
	}
	done := func() {
		if c != nil {
			c.works.Leave()
		}
		n.procs.running.Leave()
	}
	begin := func() bool {
		began := n.background(func() {
			defer done()
			defer n.procs.calls.put(peer)
			ctx, cancel := context.WithCancel(n.ctx)
			defer cancel()
			n.procs.turns.begin(t, cancel)
			defer n.procs.turns.end(t)
			f(t.within(ctx))
		})
		if !began {
			done()
		}
		return began
	}
	if n.procs.calls.take(peer, job{cost: bytes, begin: begin}) > longWait && c != nil {
		c.complain(slowCalls, "calls wait", errSlowCalls)
	}
	return true
}
