package otp

import (
	"time"

	"github.com/cnode-go/cnode/ei"
)

// A Debug is what module sys has asked for of a process: see stdlib's sys, "Miscellaneous".
type Debug struct {
	Traces bool
	log    *EventLog     // nil: off
	counts *MessageCount // nil: off
}

// Order does what one of sys's debug functions asks for. Events are to be printed.
func (d *Debug) Order(what ei.Term) (answer ei.Term, events ei.List) {
	ok := ei.Atom("ok")
	if what == ei.Atom("no_debug") {
		*d = Debug{}
		return ok, nil
	}
	t, _ := what.(ei.Tuple)
	if len(t) != 2 {
		return ei.Atom("unknown_debug"), nil
	}
	on, off := t[1] == ei.Atom("true"), t[1] == ei.Atom("false")
	switch t[0] {
	case ei.Atom("trace"):
		if on || off {
			d.Traces = on
			return ok, nil
		}
	case ei.Atom("statistics"):
		switch {
		case on && d.counts == nil:
			d.counts = &MessageCount{Since: time.Now()}
			return ok, nil
		case on:
			return ok, nil
		case off:
			d.counts = nil
			return ok, nil
		case t[1] == ei.Atom("get"):
			return ei.Tuple{ok, d.counts.Show()}, nil
		}
	case ei.Atom("log"):
		if t[1] == ei.Atom("print") {
			return ok, d.log.List()
		}
		if answer := d.orderLog(t[1]); answer != nil {
			return answer, nil
		}
	case ei.Atom("log_to_file"): // nobody writes files here at a peer's wish
		if off {
			return ok, nil
		}
		return ei.Tagged("error", ei.Atom("open_file")), nil
	case ei.Atom("remove"):
		return ok, nil
	}
	return ei.Atom("unknown_debug"), nil
}

// orderLog is the answer to sys:log; nil: it is not known.
func (d *Debug) orderLog(what ei.Term) ei.Term {
	most := 0
	switch what {
	case ei.Atom("true"):
		most = defaultEvents
	case ei.Atom("false"):
		d.log = nil
		return ei.Atom("ok")
	case ei.Atom("get"):
		return ei.Tuple{ei.Atom("ok"), d.log.List()}
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
	if d.log == nil {
		d.log = &EventLog{}
	}
	d.log.Keep(most)
	return ei.Atom("ok")
}

// Shown is what sys:get_status shows: the debug options, and the events of sys:log.
func (d *Debug) Shown() (on, events ei.List) {
	on = ei.List{}
	if d.Traces {
		on = append(on, ei.Tuple{ei.Atom("trace"), ei.Atom("true")})
	}
	if d.counts != nil {
		on = append(on, ei.Tuple{ei.Atom("statistics"), d.counts.Show()})
	}
	if d.log != nil {
		on = append(on, ei.Tuple{ei.Atom("log"), ei.Int(d.log.most)})
	}
	return on, d.log.List()
}

// Note notes a message that the process gets, or sends: {in, Message}, or {out, Message, To}.
func (d *Debug) Note(event ei.Tuple) {
	switch {
	case d.counts == nil:
	case event[0] == ei.Atom("in"):
		d.counts.In++
	default:
		d.counts.Out++
	}
	if d.log != nil {
		if raw, err := ei.AppendTerm(nil, event); err == nil && AcceptableEverywhere(raw) {
			d.log.Add(raw)
		}
	}
}
