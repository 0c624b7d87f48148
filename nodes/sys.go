package nodes

import (
	"fmt"
	"sync"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// What module sys asks of a Server: see stdlib's sys, "System Messages" and "Miscellaneous".

// A care is what module sys has asked for, as long as a process lives.
type care struct {
	mu     sync.Mutex
	traces bool
	log    *otp.EventLog     // nil: off
	counts *otp.MessageCount // nil: off
}

// isOfParent tells whether a message says that the parent has ended, or wants an end.
func (b *Mailbox) isOfParent(m *Message) bool {
	return m.Op == dist.OpExit && b.opts.Parent != (ei.Pid{}) && m.From == b.opts.Parent
}

// debug does what one of sys's debug functions asks for.
func (c *care) debug(b *Mailbox, what ei.Term) ei.Term {
	c.mu.Lock()
	defer c.mu.Unlock()
	ok := ei.Atom("ok")
	if what == ei.Atom("no_debug") {
		c.traces, c.log, c.counts = false, nil, nil
		return ok
	}
	t, _ := what.(ei.Tuple)
	if len(t) != 2 {
		return ei.Atom("unknown_debug")
	}
	on, off := t[1] == ei.Atom("true"), t[1] == ei.Atom("false")
	switch t[0] {
	case ei.Atom("trace"):
		if on || off {
			c.traces = on
			return ok
		}
	case ei.Atom("statistics"):
		switch {
		case on && c.counts == nil:
			c.counts = &otp.MessageCount{Since: time.Now()}
			return ok
		case on:
			return ok
		case off:
			c.counts = nil
			return ok
		case t[1] == ei.Atom("get"):
			return ei.Tuple{ok, c.counts.Show()}
		}
	case ei.Atom("log"):
		if answer := c.changeLog(b, t[1]); answer != nil {
			return answer
		}
	case ei.Atom("log_to_file"): // nobody writes files here at a peer's wish
		if off {
			return ok
		}
		return ei.Tagged("error", ei.Atom("open_file"))
	case ei.Atom("remove"):
		return ok
	}
	return ei.Atom("unknown_debug")
}

// changeLog is the answer to sys:log; nil: it is not known. c.mu is held.
func (c *care) changeLog(b *Mailbox, what ei.Term) ei.Term {
	most := 0
	switch what {
	case ei.Atom("true"):
		most = otp.DefaultEvents
	case ei.Atom("false"):
		c.log = nil
		return ei.Atom("ok")
	case ei.Atom("get"):
		return ei.Tuple{ei.Atom("ok"), c.log.List()}
	case ei.Atom("print"):
		for _, event := range c.log.List() {
			b.n.log.Info("event of a server", "name", b.n.nameOf(b), "event", ei.Brief(event, 1000))
		}
		return ei.Atom("ok")
	default:
		t, _ := what.(ei.Tuple)
		if len(t) != 2 || t[0] != ei.Atom("true") {
			return nil
		}
		n, ok := t[1].(ei.Int)
		if !ok || n < 1 {
			return nil
		}
		most = int(min(n, otp.MostEvents))
	}
	if c.log == nil {
		c.log = &otp.EventLog{}
	}
	c.log.Keep(most)
	return ei.Atom("ok")
}

// shown is what sys:get_status shows: the debug options, and the events of sys:log.
func (c *care) shown() (on, events ei.List) {
	on, events = ei.List{}, ei.List{}
	if c == nil {
		return on, events
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.traces {
		on = append(on, ei.Tuple{ei.Atom("trace"), ei.Atom("true")})
	}
	if c.counts != nil {
		on = append(on, ei.Tuple{ei.Atom("statistics"), c.counts.Show()})
	}
	if c.log != nil {
		on = append(on, ei.Tuple{ei.Atom("log"), ei.Int(c.log.Most())})
	}
	return on, c.log.List()
}

// noteIn notes a message that the server gets; c may be nil.
func (c *care) noteIn(b *Mailbox, m *Message) {
	if c == nil {
		return
	}
	c.note(b, true, "in", m.shown())
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
		c.note(b, false, "out", reply, to.Term())
	}
}

func (c *care) note(b *Mailbox, in bool, what ei.Atom, of ...ei.Term) {
	c.mu.Lock()
	traces := c.traces
	if c.counts != nil && in {
		c.counts.In++
	} else if c.counts != nil {
		c.counts.Out++
	}
	if c.log != nil {
		if event, err := ei.AppendTerm(nil, append(ei.Tuple{what}, of...)); err == nil && otp.AcceptableEverywhere(event) {
			c.log.Add(event)
		}
	}
	c.mu.Unlock()
	if traces {
		b.n.log.Info(fmt.Sprintf("message %v", what), "name", b.n.nameOf(b), "message", ei.Brief(of[0], 1000))
	}
}
