package nodes

import (
	"context"
	"sync"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/otp"
	"github.com/cnode-go/cnode/transport"
)

// An exitNotice is the signals that a process which ends has for the processes of one node, or of
// one worker of this node, in their order. A node that does not read holds up its own signals only.
type exitNotice struct {
	n  *Node
	to scope
	// counts them in its exits; nil: there is no connection, or they are for this node
	conn    *Conn
	signals []*dist.Control
	ofCall  bool // the process was a call's: whoever called does not wait for the peer
}

// Up to this many signals of a process that ends are written by whoever ends it, if nothing waits
// before them.
const exitSignals = 64

// exitNotices lists the signals that tell of the end of the mailbox, those to processes here if here
// says so; b.mu is held. Without a connection the other side knows already.
func (b *Mailbox) exitNotices(reason ei.Term, here bool) map[scope]*exitNotice {
	if b.links.empty() && b.watchers.empty() && b.watching.empty() {
		return nil
	}
	raw, all := exitReason(reason), map[scope]*exitNotice{}
	add := func(to scope, ctl *dist.Control) {
		if !here && b.n.isHere(to) {
			return
		}
		w := all[to]
		if w == nil {
			w = &exitNotice{n: b.n, to: to, ofCall: b.private}
			all[to] = w
		}
		w.signals = append(w.signals, ctl)
	}
	for pid, l := range b.links.all("") {
		if l.active {
			add(b.n.scopeOf(pid), linkExit(b.pid, pid, raw))
		}
	}
	for id, w := range b.watchers.all("") {
		to, ctl := b.n.scopeOf(w.pid), down(b.pid, w, id.ref, raw)
		if to.node != b.n.Name() {
			ctl.From = b.pid // a frame has the name only, but it is to follow what b has sent
		}
		add(to, ctl)
	}
	for ref, t := range b.watching.all("") {
		if !here || t.isPending() { // it goes on to watch; or the answer will find nobody
			continue
		}
		add(scope{t.node, t.worker}, demonitor(b.pid, t, ref)) // whoever has the name by now
	}
	for _, w := range all {
		b.n.procs.exits.Enter()
		if w.conn = b.n.Conn(w.to.node); w.conn != nil {
			w.conn.exits.Enter()
		}
	}
	return all
}

// leave undoes the Enter of exitNotices: the signals are on the connection, which takes them along
// when it moves. From then on a freeze does not wait for them.
func (w *exitNotice) leave() {
	if w.conn != nil {
		w.conn.exits.Leave()
	}
	w.n.procs.exits.Leave()
}

// notifyEnd tells others of the end of the process: nodes first, which does not wait. If a
// connection has no room for its signals a goroutine sends them; wait waits for these goroutines.
// The processes of asker are told at last, in their turn.
func (b *Mailbox) notifyEnd(notices map[scope]*exitNotice, asker scope) (wait func()) {
	var here *exitNotice
	var told sync.WaitGroup
	for to, w := range notices {
		switch {
		case to == asker:
		case w.isHere():
			here = w
		default:
			if later := w.notifyPeer(); later != nil {
				told.Add(1)
				b.n.goroutines.Run(func() { defer told.Done(); later() })
			}
		}
	}
	if here != nil {
		here.notifyLocal()
	}
	if w := notices[asker]; w != nil {
		w.notifyInTurn(b.n.ctx)
	}
	return told.Wait
}

// notifyPeer sends the signals, without waiting, as far as the connection has room for them. later,
// if it is not nil, sends the others when it has.
func (w *exitNotice) notifyPeer() (later func()) {
	w.agree()
	c, mode := w.way(), transport.Lazy
	if len(w.signals) > exitSignals {
		mode |= transport.Burst
	}
	for i := range w.signals {
		switch {
		case c == nil || c.tellLazily(transport.NoWait(), w.signals[i], mode):
		case w.ofCall:
			c.tell(w.signals[i])
		default:
			return func() { defer w.leave(); c.tellAsItReads(w.signals[i:]) }
		}
	}
	w.leave()
	return nil
}

// tellAsItReads sends signals when the connection has room for them. A peer that leaves none, and
// reads nothing for a Config.TickInterval, loses the connection: this ends every wait for room. The
// time in which the connection stands still does not count.
func (c *Conn) tellAsItReads(signals []*dist.Control) {
	for {
		before := c.progress()
		phase, change := c.life.State()
		frozen := phase == life.Frozen || phase == life.Staged
		ctx, cancel := context.WithTimeout(context.Background(), c.n.cfg.TickInterval)
		for len(signals) > 0 && c.tellLazily(ctx, signals[0], transport.Lazy) {
			signals = signals[1:]
		}
		cancel()
		if len(signals) == 0 {
			return
		}
		select {
		case <-change:
			frozen = true
		default:
		}
		if !frozen && c.progress() == before {
			c.fail(ErrEndsUnread)
			return
		}
	}
}

// notifyInTurn sends the signals in their turn, until ctx ends; from then on without waiting.
func (w *exitNotice) notifyInTurn(ctx context.Context) {
	if w.isHere() {
		w.notifyLocal()
		return
	}
	defer w.leave()
	if c := w.way(); c != nil {
		for _, ctl := range w.signals {
			c.tellInTurn(ctx, ctl)
		}
	}
}

// notifyLocal tells processes of this node. A process that ends because of this tells others within
// the same call, and so on: since a chain of links may be longer than a stack is deep, the call
// goes on on another goroutine now and then.
func (w *exitNotice) notifyLocal() {
	tell := func() {
		defer w.leave()
		for _, ctl := range w.signals {
			w.n.localSignal(ctl)
		}
	}
	deep := &w.n.procs.telling
	defer deep.Add(-1)
	if deep.Add(1)%maxDeep != 0 {
		tell()
		return
	}
	told := make(chan struct{})
	go func() { defer close(told); tell() }()
	<-told
}

// maxDeep is how many ends of processes, each caused by the one before, are told on one goroutine.
// Each takes some 2 KB of the stack, which has 1 GB, and 250 MB where an int has 32 bits.
const maxDeep = 20_000

// agree replaces a reason that the other node might refuse: it may have come from a third one.
func (w *exitNotice) agree() {
	if w.conn == nil || w.to.worker != 0 {
		return
	}
	var was, agreed ei.Raw // all signals have the same reason, or none
	for _, ctl := range w.signals {
		if len(ctl.Reason) == 0 || ei.Tag(ctl.Reason[0]).IsAtom() {
			continue
		}
		if was == nil {
			var err error
			was = ctl.Reason
			if agreed, err = otp.Acceptable(was, ei.Atom(w.to.node), w.conn.peer.Flags.Has(dist.FlagNativeRecords)); err != nil {
				w.n.log.Debug("an exit reason that another node might refuse", "peer", w.to.node, "error", err)
				agreed = exitReason(ei.Atom("undecodable_reason"))
			}
		}
		ctl.Reason = agreed
	}
}

func (w *exitNotice) isHere() bool { return w.n.isHere(w.to) }

// isHere tells whether a scope is that of the processes of this process.
func (n *Node) isHere(s scope) bool { return s == scope{node: n.Name()} }

// way is the connection to the other node or worker; nil if there is none, and the other side
// knows, or if the signals are for processes here.
func (w *exitNotice) way() *Conn {
	if w.to.worker != 0 {
		return w.n.router.workerLink(w.to.worker)
	}
	return w.conn
}
