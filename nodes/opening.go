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

	"github.com/cnode-go/cnode/transport"
)

// Openings are the handshakes in progress that peers have started, over whichever listener.
type openings struct {
	mu    sync.Mutex
	list  list.List   // *opening, oldest first
	timer *time.Timer // ends those that take too long; nil: there has been none
	timed bool        // it is set, or not wanted any more
}

// An opening is one of them.
type opening struct {
	n      *Node
	tr     transport.Transport
	s      *transport.Stream
	from   *Listener // nil: the front's, in a worker
	stake  *stake    // what the front counts it by, in a worker
	order  uint64    // later ones have higher numbers
	ctx    context.Context
	cancel context.CancelCauseFunc
	relief *relief       // nil: it keeps nobody from accepting
	at     *list.Element // its place among the others
	host   netip.Prefix  // where the peer is
	began  time.Time
	spoke  bool
}

// errCrowded is why a handshake is given up for a newer one.
var errCrowded = errors.New("too many handshakes at once (Config.MaxHandshakes)")

// admit makes room for the handshake of a stream that has been accepted. It ends with ctx. shake, or refuse, must be called.
func (n *Node) admit(ctx context.Context, tr transport.Transport, s *transport.Stream) *opening {
	o := &opening{n: n, tr: tr, s: s, order: n.arrivals.Add(1), host: hostOf(s.RemoteAddr()), began: time.Now()}
	ctx, o.cancel = context.WithCancelCause(ctx)
	o.ctx = &timedContext{ctx, o.began.Add(n.cfg.HandshakeTimeout)}
	n.shaking.Enter()
	all := &n.openings
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.list.Len() >= n.cfg.MaxHandshakes {
		out := all.dispensable()
		out.cancel(errCrowded)
		all.list.Remove(out.at)
	}
	o.at = all.list.PushBack(o)
	all.time(n.cfg.HandshakeTimeout)
	return o
}

// A timedContext is one that somebody else ends at its deadline.
type timedContext struct {
	context.Context
	until time.Time
}

func (c *timedContext) Deadline() (time.Time, bool) { return c.until, true }

// Err is what it would be of a context that ends itself.
func (c *timedContext) Err() error {
	err := c.Context.Err()
	if err != nil && context.Cause(c.Context) == errTimeout {
		return context.DeadlineExceeded
	}
	return err
}

// time has those that take longer than limit end. One timer, which mostly finds none, is for all: see relief. all.mu is held.
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

// sweep ends those that have taken longer than limit.
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
		o.cancel(errTimeout)
	}
}

// noMore has nobody timed any more: the node has ended, and all of them with it.
func (all *openings) noMore() {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.timed = true
	if all.timer != nil {
		all.timer.Stop()
	}
}

// silentGrace is how long a peer may be silent before others who have spoken: over TLS the first word takes some round trips.
const silentGrace = time.Second

// dispensable is the handshake to end for one more; all.mu is held. Where some have taken long it is one of these. It is one of the host
// that has the most of them, so that strangers are in their own way first: the oldest that has said nothing, else the oldest.
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

// hostOf is where a peer is: an IPv4 address, or the network of an IPv6 address, of which a host has as many as it likes.
func hostOf(a transport.Addr) netip.Prefix {
	ap, err := transport.AddrPort(a)
	if err != nil {
		return netip.Prefix{}
	}
	host := ap.Addr().Unmap()
	p, _ := host.Prefix(min(host.BitLen(), 64))
	return p
}

// end takes the opening off the list.
func (o *opening) end() {
	o.n.openings.mu.Lock()
	o.cancel(nil)
	o.n.openings.list.Remove(o.at)
	o.n.openings.mu.Unlock()
	o.n.shaking.Leave()
}

// refuse is shake where the node has ended.
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

// shake makes a connection of the stream; nil where that has failed, or a worker has it.
func (o *opening) shake() *Conn {
	n := o.n
	ctx, a := o.ctx, &attempt{cancel: o.cancel, order: o.order, stake: o.stake, relief: o.relief}
	if n.cfg.CheckPeer != nil || !transport.Prompt(o.tr) || n.part != nil || n.front != nil { // others have a word in it
		o.relief.watch()
	}
	c, err := n.outlast(ctx, o.tr, func(opened func(*transport.Stream)) (*Conn, error) {
		opened(o.s)
		return o.handshake(ctx, a)
	})
	n.dropAttempt(a)
	if err != nil {
		o.relief.watch()
		o.stake.over(true)
		if ctx.Err() != nil {
			err = because(ctx, err)
		}
	}
	o.end()
	if err != nil {
		err = errors.Join(err, quietly(o.s.Close()))
		n.stats.handshakesFailed.Add(1)
		n.refused.Log(n.log, slog.LevelWarn, "handshake failed", "remote", addrText(o.s.RemoteAddr()), "error", err)
		if n.cfg.HandshakeFailed != nil {
			_ = n.guarded("Config.HandshakeFailed", func() error { n.cfg.HandshakeFailed(o.s.RemoteAddr(), err); return nil })
		}
		return nil
	}
	return c
}

func (o *opening) handshake(ctx context.Context, a *attempt) (*Conn, error) {
	n := o.n
	if n.front != nil {
		return nil, n.front.dispatch(ctx, o.from, o.s, o.heard)
	}
	p, err := n.respond(ctx, o.s, a, o.heard)
	if err != nil {
		return nil, err
	}
	return n.establish(ctx, o.tr, o.s, p, false, a)
}
