package nodes

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"

	"github.com/cnode-go/cnode/internal/host"
	"github.com/cnode-go/cnode/nodes/internal/handshake"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/transport"
)

// An opening is a handshake in progress that a peer has started.
type opening struct {
	*attempt // without a Listener in a worker: that is the front's
	handshake.Opening
	n  *Node
	tr transport.Transport
	s  *transport.Stream
}

// admit makes room for the handshake of an accepted stream; the handshake ends with ctx. The caller
// must call shake or refuse.
func (n *Node) admit(ctx context.Context, tr transport.Transport, s *transport.Stream) *opening {
	ctx, a := newAttempt(ctx)
	a.Order = n.arrivals.Add(1)
	o := &opening{attempt: a, n: n, tr: tr, s: s}
	n.shaking.Enter()
	n.openings.Begin(ctx, &o.Opening, a.Cancel, hostOf(s.RemoteAddr()))
	return o
}

// hostOf is where a peer is.
func hostOf(a transport.Addr) netip.Prefix {
	at, err := transport.AddrPort(a)
	if err != nil {
		return netip.Prefix{}
	}
	return host.Of(at.Addr())
}

// end is the end of the handshake, however it has gone.
func (o *opening) end() {
	o.Opening.End()
	o.n.shaking.Leave()
}

// refuse is called in place of shake when the node has ended.
func (o *opening) refuse() {
	o.end()
	_ = o.s.Close()
}

// shake makes a connection of the stream; nil if that has failed.
func (o *opening) shake() *Conn {
	var c *Conn
	p, err := o.n.handshakes.respond(o.Ctx, o.s, o.attempt, o.Heard)
	if err == nil {
		c, err = o.n.handshakes.establish(o.Ctx, o.tr, o.s, p, false, o.attempt)
	}
	if o.finish(err); err != nil {
		return nil
	}
	return c
}

// finish is the end of the handshake. If it has failed, the stream is closed here.
func (o *opening) finish(err error) {
	n := o.n
	n.peers.Drop(&o.Attempt)
	if err != nil {
		o.claim.Over(true)
		if o.Ctx.Err() != nil {
			err = wait.Because(o.Ctx, err)
		}
	}
	o.end()
	if err == nil {
		return
	}
	err = errors.Join(err, quietly(o.s.Close()))
	n.stats.handshakesFailed.Add(1)
	level := slog.LevelWarn
	// another one with this peer goes on
	if gaveWay(err) {
		level = slog.LevelDebug
	}
	n.meters.tellHandshakeFailed(addrText(o.s.RemoteAddr()), false, err)
	n.refused.Log(n.log, level, "handshake failed", "remote", addrText(o.s.RemoteAddr()), "error", err)
	if n.cfg.HandshakeFailed != nil {
		_ = n.faults.guarded("Config.HandshakeFailed", func() error { n.cfg.HandshakeFailed(o.s.RemoteAddr(), err); return nil })
	}
}
