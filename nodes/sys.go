package nodes

import (
	"fmt"
	"slices"
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
	log    *eventLog     // nil: off
	counts *messageCount // nil: off
}

// A messageCount is what sys:statistics shows.
type messageCount struct {
	since   time.Time
	in, out int
}

// An eventLog is the last events of sys:log: so many, and no more than eventBytes.
type eventLog struct {
	most, bytes int
	events      []ei.Raw // the oldest first
}

const (
	mostEvents    = 10_000
	eventBytes    = 1 << 20
	defaultEvents = 10 // as OTP's
)

func (l *eventLog) add(event ei.Raw) {
	if l.events, l.bytes = append(l.events, event), l.bytes+len(event); l.bytes > eventBytes || len(l.events) > l.most {
		l.shrink()
	}
}

func (l *eventLog) shrink() {
	drop := 0
	for ; drop < len(l.events) && (l.bytes > eventBytes || len(l.events)-drop > l.most); drop++ {
		l.bytes -= len(l.events[drop])
	}
	l.events = slices.Delete(l.events, 0, drop)
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
			c.counts = &messageCount{since: time.Now()}
			return ok
		case on:
			return ok
		case off:
			c.counts = nil
			return ok
		case t[1] == ei.Atom("get"):
			return ei.Tuple{ok, c.counts.show()}
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
		most = defaultEvents
	case ei.Atom("false"):
		c.log = nil
		return ei.Atom("ok")
	case ei.Atom("get"):
		return ei.Tuple{ei.Atom("ok"), c.log.list()}
	case ei.Atom("print"):
		for _, event := range c.log.list() {
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
		most = int(min(n, mostEvents))
	}
	if c.log == nil {
		c.log = &eventLog{}
	}
	c.log.most = most
	c.log.shrink()
	return ei.Atom("ok")
}

func (l *eventLog) list() ei.List {
	list := ei.List{}
	if l != nil {
		for _, event := range l.events {
			list = append(list, event)
		}
	}
	return list
}

func (n *messageCount) show() ei.Term {
	if n == nil {
		return ei.Atom("no_statistics")
	}
	at := func(t time.Time) ei.Term {
		y, m, d := t.Date()
		h, mi, s := t.Clock()
		three := func(a, b, c int) ei.Term { return ei.Tuple{ei.Int(a), ei.Int(b), ei.Int(c)} }
		return ei.Tuple{three(y, int(m), d), three(h, mi, s)}
	}
	pair := func(key ei.Atom, v ei.Term) ei.Term { return ei.Tuple{key, v} }
	return ei.List{
		pair("start_time", at(n.since)), pair("current_time", at(time.Now())), pair("reductions", ei.Int(0)),
		pair("messages_in", ei.Int(n.in)), pair("messages_out", ei.Int(n.out)),
	}
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
		on = append(on, ei.Tuple{ei.Atom("statistics"), c.counts.show()})
	}
	if c.log != nil {
		on = append(on, ei.Tuple{ei.Atom("log"), ei.Int(c.log.most)})
	}
	return on, c.log.list()
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
		c.counts.in++
	} else if c.counts != nil {
		c.counts.out++
	}
	if c.log != nil {
		if event, err := ei.AppendTerm(nil, append(ei.Tuple{what}, of...)); err == nil && otp.AcceptableEverywhere(event) {
			c.log.add(event)
		}
	}
	c.mu.Unlock()
	if traces {
		b.n.log.Info(fmt.Sprintf("message %v", what), "name", b.n.nameOf(b), "message", ei.Brief(of[0], 1000))
	}
}
