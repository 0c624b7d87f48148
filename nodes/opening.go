package nodes

import (
	"container/list"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/cnode-go/cnode/internal/host"
	"github.com/cnode-go/cnode/transport"
)

// Openings are the handshakes in progress that peers have started, over all listeners.
type openings struct {
	mu    sync.Mutex
	list  list.List   // *opening, oldest first
	timer *time.Timer // ends handshakes that take too long; nil: there has been none
	timed bool        // the timer is set, or is never to be set again
}

// An opening is one of these handshakes.
type opening struct {
	*attempt // without a Listener in a worker: that is the front's
	n        *Node
	tr       transport.Transport
	s        *transport.Stream
	ctx      context.Context
	at       *list.Element // its place in openings.list
	host     netip.Prefix  // where the peer is
	began    time.Time
	spoke    bool
}

// errCrowded is why a handshake is given up for a newer one.
var errCrowded = errors.New("too many handshakes at once (Config.MaxHandshakes)")

// admit makes room for the handshake of an accepted stream; the handshake ends with ctx. The caller
// must call shake or refuse.
func (n *Node) admit(ctx context.Context, tr transport.Transport, s *transport.Stream) *opening {
	ctx, a := newAttempt(ctx)
	a.Order = n.arrivals.Add(1)
	o := &opening{attempt: a, n: n, tr: tr, s: s, host: hostOf(s.RemoteAddr()), began: time.Now()}
	o.ctx = &timedContext{ctx, o.began.Add(n.cfg.HandshakeTimeout)}
	n.shaking.Enter()
	all := &n.openings
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.list.Len() >= n.cfg.MaxHandshakes {
		out := all.dispensable()
		out.Cancel(errCrowded)
		all.list.Remove(out.at)
	}
	o.at = all.list.PushBack(o)
	all.time(n.cfg.HandshakeTimeout)
	return o
}

// A timedContext has a deadline, at which openings.sweep ends it.
type timedContext struct {
	context.Context
	until time.Time
}

func (c *timedContext) Deadline() (time.Time, bool) { return c.until, true }

// Err is what it would be for a context that ends itself at the deadline.
func (c *timedContext) Err() error {
	err := c.Context.Err()
	if err != nil && context.Cause(c.Context) == ErrHandshakeTimeout {
		return context.DeadlineExceeded
	}
	return err
}

// time sets the timer that ends handshakes which take longer than limit. One timer, which mostly
// finds none, serves all of them: to set one wakes a thread. all.mu is held.
func (all *openings) time(limit time.Duration) {
	switch {
	case all.timed:
		return
	case all.timer == nil:
		all.timer = time.AfterFunc(limit, func() { all.sweep(limit) })
	default:
		all.timer.Reset(limit)
	}
	all.timed = true
}

// sweep ends the handshakes that have taken longer than limit.
func (all *openings) sweep(limit time.Duration) {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.timed = false
	now := time.Now()
	for e := all.list.Front(); e != nil; e = e.Next() {
		o := e.Value.(*opening)
		if left := limit - now.Sub(o.began); left > 0 {
			all.time(left)
			return
		}
		o.Cancel(ErrHandshakeTimeout)
	}
}

// noMore stops the timer for good: the node has ended, and all handshakes with it.
func (all *openings) noMore() {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.timed = true
	if all.timer != nil {
		all.timer.Stop()
	}
}

// silentGrace is the age from which a handshake is given up rather than a younger one: over TLS a
// peer's first word takes some round trips.
const silentGrace = time.Second

// dispensable is the handshake to end for a new one; all.mu is held. It chooses among those that
// have taken longer than silentGrace, if there are any, and of these among those of the host that
// has the most, so that a host which opens many ends its own first: there it takes the oldest whose
// peer has said nothing, else the oldest.
func (all *openings) dispensable() *opening {
	var list, slow []*opening
	late := time.Now().Add(-silentGrace)
	for e := all.list.Front(); e != nil; e = e.Next() {
		o := e.Value.(*opening)
		list = append(list, o)
		if !o.began.After(late) {
			slow = append(slow, o)
		}
	}
	if len(slow) > 0 {
		list = slow
	}
	count, most := map[netip.Prefix]int{}, 0
	for _, o := range list {
		count[o.host]++
		most = max(most, count[o.host])
	}
	list = slices.DeleteFunc(list, func(o *opening) bool { return count[o.host] < most })
	if i := slices.IndexFunc(list, func(o *opening) bool { return !o.spoke }); i >= 0 {
		return list[i]
	}
	return list[0]
}

// hostOf is where a peer is.
func hostOf(a transport.Addr) netip.Prefix {
	at, err := transport.AddrPort(a)
	if err != nil {
		return netip.Prefix{}
	}
	return host.Of(at.Addr())
}

// end takes the opening off the list.
func (o *opening) end() {
	o.n.openings.mu.Lock()
	o.Cancel(nil)
	o.n.openings.list.Remove(o.at)
	o.n.openings.mu.Unlock()
	o.n.shaking.Leave()
}

// refuse is called in place of shake when the node has ended.
func (o *opening) refuse() {
	o.end()
	_ = o.s.Close()
}

// heard notes that the peer is not silent.
func (o *opening) heard() {
	o.n.openings.mu.Lock()
	defer o.n.openings.mu.Unlock()
	o.spoke = true
}

// shake makes a connection of the stream; nil if that has failed.
func (o *opening) shake() *Conn {
	var c *Conn
	p, err := o.n.handshakes.respond(o.ctx, o.s, o.attempt, o.heard)
	if err == nil {
		c, err = o.n.handshakes.establish(o.ctx, o.tr, o.s, p, false, o.attempt)
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
		if o.ctx.Err() != nil {
			err = because(o.ctx, err)
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
