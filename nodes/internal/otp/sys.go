package otp

import "github.com/cnode-go/cnode/ei"

// A Status is what module sys shows of a process, in the form of a gen_server.
type Status struct {
	Pid, Parent   ei.Pid // without a Parent it is the process itself
	Name          string
	Suspended     bool
	Debug, Events ei.List // the debug options, and what sys:log has; nil: there is none
	State         ei.Term // nil: none is shown
}

// Term is the answer to sys:get_status.
func (s *Status) Term() ei.Term {
	state, running, parent := s.State, ei.Atom("running"), s.Parent
	if state == nil {
		state = ei.Atom("undefined")
	}
	if s.Suspended {
		running = "suspended"
	}
	if parent == (ei.Pid{}) {
		parent = s.Pid // as of a gen_server that nobody is linked to
	}
	data := func(pairs ...ei.Term) ei.Term { return ei.Tuple{ei.Atom("data"), ei.List(pairs)} }
	return ei.Tuple{ei.Atom("status"), s.Pid, ei.Tuple{ei.Atom("module"), ei.Atom("gen_server")}, ei.List{
		ei.List{}, running, parent, s.Debug, ei.List{
			ei.Tuple{ei.Atom("header"), Charlist("Status for generic server " + s.Name)},
			data(ei.Tuple{Charlist("Status"), running}, ei.Tuple{Charlist("Parent"), parent}, ei.Tuple{Charlist("Logged events"), s.Events}),
			data(ei.Tuple{Charlist("State"), state}),
		},
	}}
}

// Answer is the answer to a request of module sys to a process that shows how it is, and takes no
// orders.
func (s *Status) Answer(request ei.Term) ei.Term {
	switch {
	case request == ei.Atom("get_status"):
		return s.Term()
	case request == ei.Atom("get_state") && s.State != nil: // since OTP 26.1; releases before show {ok, State}
		return ei.Tuple{ei.Atom("ok"), s.State}
	}
	if t, ok := request.(ei.Tuple); ok && len(t) == 2 && t[0] == ei.Atom("debug") {
		return ei.Atom("unknown_debug")
	}
	return UnknownOrder(request)
}

// UnknownOrder is the answer to a request of module sys that a process does not know.
func UnknownOrder(request ei.Term) ei.Term {
	return ei.Tuple{ei.Atom("error"), ei.Tuple{ei.Atom("unknown_system_msg"), request}}
}
