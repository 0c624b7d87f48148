package nodes

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/cnode-go/cnode/ei"
)

// A Handler takes the messages of a process on the goroutine that receives them: for a message from another node, the goroutine of its
// connection, which goes on to the next message when the Handler returns. That saves a queue and a change of goroutines. So it must not
// wait, it runs concurrently for different connections, and messages of one connection come in order; whatever the message, it may close
// the connection and the node, and after a nodedown it may send to that node again. The message belongs to the Handler, which may keep it,
// and may Release it when done.
//
// A message from a process of this node runs the Handler within the call that sends it. So two Handlers of one node that answer each other
// nest, deeper with each answer, until sending is ErrNested: a long conversation is for mailboxes, or for a goroutine that the Handler starts.
type Handler func(self *Mailbox, m *Message)

// ErrNested: a Handler of this node has sent to another one, that to a third, and so on, so deep that the stack would not hold many more.
// The message is dropped.
var ErrNested = errors.New("too many Handlers within each other")

// maxNested is how deeply calls of one Handler may be nested, and how many ends of processes, each caused by the one before, are told on
// one goroutine. Either takes some 2 KB of the stack, which has 1 GB, and 250 MB where an int has 32 bits. maxNestedAll is for the calls of
// all Handlers of a node together: however many answer each other, they share one stack.
const (
	maxNested    = 20_000
	maxNestedAll = 3 * maxNested
)

// Handle starts a process that consists of a Handler, under a name; with an empty name it is reached only by its pid. Of the options only
// TrapExit counts. A panic ends the process with reason {go_panic, Text}; so does runtime.Goexit, which also ends the goroutine of a sender
// on this node. Mailbox.Close ends it. The errors for the name are those of Register. If you start the node, call Handle in Config.Setup or
// after Start: a process fixes the creation (ErrTooLate).
func (n *Node) Handle(name string, h Handler, o *MailboxOptions) (*Mailbox, error) {
	if h == nil {
		return nil, wrap("handle", name, errors.New("the Handler is nil"))
	}
	n.handles.Store(true)
	return n.register(name, h, o)
}

// register makes a process under a name, if there is one. h may be nil.
func (n *Node) register(name string, h Handler, o *MailboxOptions, edit ...func(b *Mailbox)) (*Mailbox, error) {
	b, err := n.newMailbox(h, o, edit...)
	if err != nil {
		return nil, err
	}
	if name != "" {
		if err := n.Register(name, b); err != nil {
			b.Close()
			return nil, err
		}
	}
	return b, nil
}

// handle calls the Handler, unless the process is held, or no Handler is to begin.
func (b *Mailbox) handle(m *Message) fate {
	if b.ended() {
		return refused
	}
	if !b.n.procs.busy(m.conn == nil) { // the node drains
		b.refuse(m)
		return refused
	}
	defer b.n.procs.running.Leave()
	if m.conn == nil {
		own, all := b.nested.Add(1), b.n.procs.nested.Add(1)
		defer func() { b.nested.Add(-1); b.n.procs.nested.Add(-1) }()
		if own > maxNested || all > maxNestedAll {
			b.n.log.Warn("message dropped", "pid", b.pid, "error", ErrNested)
			m.nested = true
			return refused
		}
	}
	// Checked after entering the tally, for which a freeze waits once it has set these. What a running Handler sends it waits for, too.
	if b.held.Load() || b.n.procs.calm.Load() && (m.conn != nil || !b.n.procs.mayBeOf(m.From)) {
		return notYet
	}
	b.handleNow(m)
	return delivered
}

// handleApart is handle on a goroutine of its own, for a caller that has more to do even if the Handler ends its goroutine.
func (b *Mailbox) handleApart(m *Message) fate {
	f := delivered // also if the Handler ends that goroutine
	apart(func() { f = b.handle(m) })
	return f
}

// apart runs f on a goroutine of its own, and waits for it: if f calls runtime.Goexit, the caller goes on.
func apart(f func()) {
	over := make(chan struct{})
	go func() { defer close(over); f() }()
	<-over
}

// handleNow calls the Handler. From then on the Handler owns the message, even if it panics.
func (b *Mailbox) handleNow(m *Message) {
	c := m.conn // the Handler may release the message
	c.beginHandler()
	defer c.endHandler()
	b.runs.Add(1)
	defer b.runs.Add(-1)
	regular := false
	defer func() {
		var p any = "runtime.Goexit"
		if r := recover(); r != nil {
			p = r
		} else if regular {
			return
		}
		b.n.log.Error("handler panicked", "pid", b.pid, "panic", p, "stack", string(debug.Stack()))
		b.exit(ei.Tuple{ei.Atom("go_panic"), ei.Binary(fmt.Sprint(p))}, extent{})
	}()
	b.handler(b, m)
	regular = true
}

// beginHandler notes that the connection's reader runs a Handler, until endHandler. The end of the connection does not wait for a Handler,
// since the Handler may be what has ended it. A nil Conn stands for this node.
func (c *Conn) beginHandler() {
	if c == nil {
		return
	}
	c.rd.handling.Store(true)
	if c.Err() != nil {
		select {
		case c.rd.entered <- struct{}{}:
		default:
		}
	}
}

func (c *Conn) endHandler() {
	if c != nil {
		c.rd.handling.Store(false)
	}
}

// exitBy is Exit because of something that has come over a connection, or from this node (nil). It may run on the reader's goroutine, and
// Handlers may be told on it, so it does not wait for other nodes.
func (b *Mailbox) exitBy(c *Conn, reason ei.Term) { b.departBy(c, b.end(reason)) }

// departBy is the second half of exitBy.
func (b *Mailbox) departBy(c *Conn, words map[extent]*exitNotice) {
	c.beginHandler()
	defer c.endHandler()
	b.depart(words, extent{})
}
