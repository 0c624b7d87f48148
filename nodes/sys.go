package nodes

import (
	"fmt"
	"sync"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// A care is what module sys has asked for, as long as a process lives.
type care struct {
	mu sync.Mutex
	otp.Debug
}

// isOfParent tells whether a message says that the parent has ended, or wants an end.
func (b *Mailbox) isOfParent(m *Message) bool {
	return m.Op == dist.OpExit && b.opts.Parent != (ei.Pid{}) && m.From == b.opts.Parent
}

// debug does what one of sys's debug functions asks for.
func (c *care) debug(b *Mailbox, what ei.Term) ei.Term {
	c.mu.Lock()
	answer, events := c.Order(what)
	c.mu.Unlock()
	for _, event := range events {
		b.n.log.Info("event of a server", "name", b.n.nameOf(b), "event", ei.Brief(event, 1000))
	}
	return answer
}

// shown is what sys:get_status shows; c may be nil.
func (c *care) shown() (on, events ei.List) {
	if c == nil {
		return ei.List{}, ei.List{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Shown()
}

// noteIn notes a message that the server gets; c may be nil.
func (c *care) noteIn(b *Mailbox, m *Message) {
	if c != nil {
		c.note(b, ei.Tuple{ei.Atom("in"), m.shown()})
	}
}

// shown is the message as Erlang shows it, a signal too.
func (m *Message) shown() ei.Term {
	switch {
	case m.Payload != nil:
		if raw, err := link.FirstTerm(m.Payload); err == nil {
			return raw
		}
		return m.Payload
	case m.Op == dist.OpMonitorPExit:
		return ei.Tuple{ei.Atom("DOWN"), m.Ref, ei.Atom("process"), m.From, m.Reason}
	}
	return ei.Tuple{ei.Atom("EXIT"), m.From, m.Reason}
}

// noteOut notes a reply; c may be nil.
func (c *care) noteOut(b *Mailbox, to otp.Addressee, reply ei.Raw) {
	if c != nil {
		c.note(b, ei.Tuple{ei.Atom("out"), reply, to.Term()})
	}
}

func (c *care) note(b *Mailbox, event ei.Tuple) {
	c.mu.Lock()
	c.Note(event)
	traces := c.Traces
	c.mu.Unlock()
	if traces {
		b.n.log.Info(fmt.Sprintf("message %v", event[0]), "name", b.n.nameOf(b), "message", ei.Brief(event[1], 1000))
	}
}
