package nodes

import (
	"context"
	"sync"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A parting is the signals of a process that ends for those of one node, or of one worker of this one, in their order. A node that does
// not read keeps its own waiting, and nobody else's.
type parting struct {
	n       *Node
	to      extent
	over    *Conn // the connection that counts them; nil: they are not for another node
	signals []*dist.Control
	bytes   int  // of reasons
	prompt  bool // they do not wait for room: a peer makes any number of such processes, and has to read what becomes of them
}

// So many signals of a process that ends, and bytes of reasons, go out at once, whatever waits before them: some are the answer of a
// goroutine that reads. The rest waits for its turn, as a process does that ends in Erlang.
const (
	exitSignals = 64
	exitBytes   = 256 << 10
)

// lastWords lists whom the end of the mailbox is to be told; b.mu is held. Where there is no connection the other side knows already.
func (b *Mailbox) lastWords(reason ei.Term) map[extent]*parting {
	if len(b.links)+len(b.watchers)+len(b.watching) == 0 {
		return nil
	}
	raw, all := exitReason(reason), map[extent]*parting{}
	add := func(to extent, ctl *dist.Control) {
		w := all[to]
		if w == nil {
			w = &parting{n: b.n, to: to, prompt: b.private}
			all[to] = w
		}
		w.signals = append(w.signals, ctl)
		w.bytes += len(ctl.Reason)
	}
	tell := func(ctl *dist.Control, _ string) { add(b.n.extentOf(ctl.To), ctl) }
	for pid, l := range b.links {
		if l.active {
			sendExit(tell, b.pid, pid, raw)
		}
	}
	for ref, w := range b.watchers {
		sendDown(tell, b.pid, w, ref, raw)
	}
	for ref, t := range b.watching {
		add(extent{t.node, t.part}, demonitor(b.pid, t, ref)) // whatever has become of the name
	}
	for _, w := range all {
		b.n.procs.exits.enter()
		if w.over = b.n.Conn(w.to.node); w.over != nil {
			w.over.exits.enter()
		}
	}
	return all
}

// extentOf is where a process is.
func (n *Node) extentOf(pid ei.Pid) extent {
	e := extent{node: string(pid.Node)}
	if n.part != nil {
		e.part, _ = n.part.elsewhere(n.ctx, pid, "", nil) // which only asks for names
	}
	return e
}

// say gives the signals to tell. From then on a freeze does not wait for them.
func (w *parting) say(tell func(*dist.Control)) {
	defer func() {
		if w.over != nil {
			w.over.exits.leave()
		}
		w.n.procs.exits.leave()
	}()
	for _, ctl := range w.signals {
		tell(ctl)
	}
}

// sayNow does not wait: what is too much to go out at once is left to a goroutine.
func (w *parting) sayNow() {
	c := w.way()
	switch {
	case w.isHere():
		w.say(w.n.localSignal)
	case c == nil:
		w.say(func(*dist.Control) {})
	case len(w.signals) > exitSignals || w.bytes > exitBytes || !w.prompt && c.isFull():
		c.sayInTurn(w)
	default:
		w.say(c.tell)
	}
}

// sayBy says them in their turn, until ctx ends; from then on without waiting.
func (w *parting) sayBy(ctx context.Context) {
	if c := w.way(); c != nil {
		w.say(c.tellInTurn(ctx))
	} else {
		w.sayNow()
	}
}

func (w *parting) isHere() bool { return w.to == extent{node: w.n.Name()} }

// way is the connection to another node or worker; nil: there is none, and the other side knows, or they are for processes here.
func (w *parting) way() *Conn {
	if w.to.part != 0 {
		return w.n.part.sibling(w.to.part)
	}
	return w.over
}

// Partings are what a connection has yet to say of processes that have ended. One goroutine says it, while there is something.
type partings struct {
	mu    sync.Mutex
	words []*parting // the first are being said
}

// sayInTurn leaves last words to the goroutine that says those for the peer. The connection's end ends its wait for room.
func (c *Conn) sayInTurn(w *parting) {
	p := &c.partings
	p.mu.Lock()
	p.words = append(p.words, w)
	first := len(p.words) == 1
	p.mu.Unlock()
	if first && !c.n.background(func() { p.say(c.tellInTurn(context.Background())) }) { // the node closes
		p.say(c.tell)
	}
}

// say says what waits, and what comes meanwhile.
func (p *partings) say(tell func(*dist.Control)) {
	for more := true; more; {
		p.mu.Lock()
		w := p.words[0]
		p.mu.Unlock()
		w.say(tell)
		p.mu.Lock()
		p.words[0], p.words = nil, p.words[1:]
		more = len(p.words) > 0
		p.mu.Unlock()
	}
}
