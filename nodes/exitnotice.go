package nodes

import (
	"context"
	"sync"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// An exitNotice is the signals that a process which ends has for the processes of one node, or of
// one worker of this node, in their order. A node that does not read holds up its own signals only.
type exitNotice struct {
	n  *Node
	to scope
	// counts them in its exits; nil: there is no connection, or they are for this node
	conn    *Conn
	signals []*dist.Control
	bytes   int // of reasons
	// they do not wait for room: a peer can start any number of such processes, and has to read how
	// they end
	prompt bool
	brief  bool // they are a call's: they wait for room if that takes nobody's time
}

// Up to this many signals of a process that ends, and bytes of reasons, go out at once, whatever
// waits before them: some are sent by a goroutine that reads. Any more wait for their turn, as does
// a process that ends in Erlang.
const (
	exitSignals = 64
	exitBytes   = 256 << 10
)

// exitNotices lists the signals that tell of the end of the mailbox; b.mu is held. Without a
// connection the other side knows already.
func (b *Mailbox) exitNotices(reason ei.Term) map[scope]*exitNotice {
	if b.links.empty() && b.watchers.empty() && b.watching.empty() {
		return nil
	}
	raw, all := exitReason(reason), map[scope]*exitNotice{}
	add := func(to scope, ctl *dist.Control) {
		w := all[to]
		if w == nil {
			w = &exitNotice{n: b.n, to: to, prompt: b.private && b.hook != nil, brief: b.private && b.hook == nil}
			all[to] = w
		}
		w.signals = append(w.signals, ctl)
		w.bytes += len(ctl.Reason)
	}
	tell := func(ctl *dist.Control) { add(b.n.scopeOf(ctl.To), ctl) }
	for pid, l := range b.links.all("") {
		if l.active {
			sendExit(tell, b.pid, pid, raw)
		}
	}
	for id, w := range b.watchers.all("") {
		sendDown(tell, b.pid, w, id.ref, raw)
	}
	for ref, t := range b.watching.all("") {
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

// leave undoes the Enter of exitNotices: the signals are out, or left to the connection. From then
// on a freeze does not wait for them.
func (w *exitNotice) leave() {
	if w.conn != nil {
		w.conn.exits.Leave()
	}
	w.n.procs.exits.Leave()
}

// say passes the signals to tell.
func (w *exitNotice) say(tell signalFunc) {
	defer w.leave()
	for _, ctl := range w.signals {
		tell(ctl)
	}
}

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
		w.bytes += len(agreed) - len(was)
		ctl.Reason = agreed
	}
}

// sayNow sends the signals without waiting; what is too much to go out at once is left to a
// goroutine of the connection. If that has no room, later waits for some.
func (w *exitNotice) sayNow() (later func()) {
	c, many := w.way(), len(w.signals) > exitSignals || w.bytes > exitBytes
	switch {
	case w.isHere():
		w.sayHere()
	case c == nil:
		w.say(func(*dist.Control) {})
	case many || !w.prompt && c.isFull():
		switch {
		case c.sayIfRoom(w):
		case w.brief && !many:
			w.say(c.tell)
		default:
			return func() { c.sayInTurn(w) }
		}
	default:
		w.say(c.tell)
	}
	return nil
}

// sayHere tells processes of this node. A process that ends because of this tells others within the
// same call, and so on: since a chain of links may be longer than a stack is deep, the call goes on
// on another goroutine now and then.
func (w *exitNotice) sayHere() {
	deep := &w.n.procs.telling
	defer deep.Add(-1)
	if deep.Add(1)%maxDeep != 0 {
		w.say(w.n.localSignal)
		return
	}
	said := make(chan struct{})
	go func() { defer close(said); w.say(w.n.localSignal) }()
	<-said
}

// maxDeep is how many ends of processes, each caused by the one before, are told on one goroutine.
// Each takes some 2 KB of the stack, which has 1 GB, and 250 MB where an int has 32 bits.
const maxDeep = 20_000

// sayElsewhere sends the signals that are not for asker, and returns those that are for processes
// of this node, or nil. If a connection has no room for its signals a goroutine sends them; wait
// waits for these goroutines.
func sayElsewhere(words map[scope]*exitNotice, asker scope) (here *exitNotice, wait func()) {
	var said sync.WaitGroup
	for to, w := range words {
		switch {
		case to == asker:
		case w.isHere():
			here = w
		default:
			w.agree()
			if later := w.sayNow(); later != nil {
				said.Add(1)
				w.n.goroutines.Run(func() { defer said.Done(); later() })
			}
		}
	}
	return here, said.Wait
}

// sayBy sends the signals in their turn, until ctx ends; from then on without waiting.
func (w *exitNotice) sayBy(ctx context.Context) {
	if c := w.way(); c != nil {
		w.say(c.tellInTurn(ctx))
	} else {
		w.sayNow()
	}
}

func (w *exitNotice) isHere() bool { return w.to == scope{node: w.n.Name()} }

// way is the connection to the other node or worker; nil if there is none, and the other side
// knows, or if the signals are for processes here.
func (w *exitNotice) way() *Conn {
	if w.to.worker != 0 {
		return w.n.router.workerLink(w.to.worker)
	}
	return w.conn
}
