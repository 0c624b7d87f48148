package supervisor

import (
	"context"
	"errors"
	"slices"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
)

// server is the supervisor's process.
func (s *Supervisor) server() nodes.Server {
	return nodes.Server{
		Call: func(ctx context.Context, c *nodes.Call) (any, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.answer(ctx, c.Request), nil
		},
		Info: func(ctx context.Context, _ *nodes.Mailbox, m *nodes.Message) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.heard(ctx, m)
		},
		State: func() any {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.state()
		},
		Terminate: func(ctx context.Context, _ ei.Term) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.terminateAll(ctx)
		},
	}
}

// heard handles what is no request.
func (s *Supervisor) heard(ctx context.Context, m *nodes.Message) {
	if m.Op == dist.OpExit {
		reason, err := m.Reason.Decode()
		if err != nil {
			reason = ei.Atom("undecodable_reason")
		}
		s.ended(ctx, m.From, reason, m.Conn() == nil && m.From.Node != s.Pid().Node)
		return
	}
	if t, err := m.Term(); err == nil && m.Conn() == nil {
		if t, ok := t.(ei.Tuple); ok && len(t) == 2 {
			id, _ := t[1].(ei.Atom)
			switch c := s.children.find(string(id)); {
			case c == nil || !c.restarting || s.over:
			case t[0] == startFirst:
				s.startOrRetry(ctx, c, startFirst)
			case t[0] == startAgain:
				s.restart(ctx, c)
			case t[0] == startAbsent:
				s.startAnew(ctx, c)
			}
		}
	}
}

// answer answers the calls of stdlib's supervisor.
func (s *Supervisor) answer(ctx context.Context, request ei.Term) ei.Term {
	switch request {
	case ei.Atom("which_children"):
		return s.whichChildren()
	case ei.Atom("count_children"):
		return s.count()
	}
	t, ok := request.(ei.Tuple)
	if !ok || len(t) != 2 {
		return ei.Tagged("error", ei.Tuple{ei.Atom("unknown_request"), request})
	}
	id, _ := t[1].(ei.Atom)
	c := s.children.find(string(id))
	switch t[0] {
	case ei.Atom("start_child"):
		return ei.Tagged("error", ei.Tuple{ei.Atom("not_supported"), ei.Binary("the children of a Go supervisor are in its program")})
	case ei.Atom("terminate_child"), ei.Atom("restart_child"), ei.Atom("delete_child"), ei.Atom("get_childspec"):
		if c == nil {
			return ei.Tagged("error", ei.Atom("not_found"))
		}
	default:
		return ei.Tagged("error", ei.Tuple{ei.Atom("unknown_request"), request})
	}
	switch t[0] {
	case ei.Atom("get_childspec"):
		spec, err := ei.Append(nil, c.spec())
		if err != nil {
			return ei.Tagged("error", ei.Binary(err.Error()))
		}
		return ei.Tuple{ei.Atom("ok"), ei.Raw(spec)}
	case ei.Atom("terminate_child"):
		s.end(ctx, c)
		s.forget(c)
		return ei.Atom("ok")
	}
	switch {
	case c.restarting:
		return ei.Tagged("error", ei.Atom("restarting"))
	case c.runs():
		return ei.Tagged("error", ei.Atom("running"))
	case t[0] == ei.Atom("delete_child"):
		s.remove(c)
		return ei.Atom("ok")
	}
	if err := s.start(ctx, c); err != nil {
		if reason := new(ei.ReasonError); errors.As(err, &reason) {
			return ei.Tuple{ei.Atom("error"), reason.Reason} // of the program: it may be nil, for which Tagged panics
		}
		return ei.Tagged("error", ei.Binary(err.Error()))
	}
	return ei.Tuple{ei.Atom("ok"), c.shown()}
}

// shown is what other nodes see of the child's process.
func (c *child) shown() ei.Term {
	switch {
	case c.restarting:
		return ei.Atom("restarting")
	case c.runs():
		return c.pid
	}
	return ei.Atom("undefined")
}

func (c *child) kind() ei.Atom {
	if c.Supervisor {
		return "supervisor"
	}
	return "worker"
}

// whichChildren lists the children, the last one first, as OTP does.
func (s *Supervisor) whichChildren() ei.List {
	list := ei.List{}
	for _, c := range slices.Backward(s.children.all()) {
		list = append(list, ei.Tuple{ei.Atom(c.ID), c.shown(), c.kind(), ei.List{}})
	}
	return list
}

func (s *Supervisor) count() ei.Term {
	all := s.children.all()
	count := func(is func(c *child) bool) ei.Term {
		n := 0
		for _, c := range all {
			if is(c) {
				n++
			}
		}
		return ei.Int(n)
	}
	return ei.List{
		ei.Tuple{ei.Atom("specs"), ei.Int(len(all))},
		ei.Tuple{ei.Atom("active"), count((*child).runs)},
		ei.Tuple{ei.Atom("supervisors"), count(func(c *child) bool { return c.Supervisor })},
		ei.Tuple{ei.Atom("workers"), count(func(c *child) bool { return !c.Supervisor })},
	}
}

// spec is the child's specification; its start function is there for people to read.
func (c *child) spec() any {
	shutdown := any(c.Shutdown.Milliseconds())
	switch c.Shutdown {
	case BrutalKill:
		shutdown = ei.Atom("brutal_kill")
	case Infinity:
		shutdown = ei.Atom("infinity")
	}
	return map[ei.Atom]any{
		"id": ei.Atom(c.ID), "start": ei.Tuple{ei.Atom("go"), ei.Atom(c.ID), ei.List{}}, "restart": c.Restart.atom(),
		"shutdown": shutdown, "type": c.kind(), "modules": ei.List{}, "significant": c.Significant,
	}
}

func (r Restart) atom() ei.Atom { return []ei.Atom{"permanent", "transient", "temporary"}[r] }

// state is what sys:get_state shows.
func (s *Supervisor) state() any {
	return map[ei.Atom]any{
		"name":      s.name,
		"strategy":  []ei.Atom{"one_for_one", "one_for_all", "rest_for_one"}[s.o.Strategy],
		"intensity": s.o.Intensity,
		"period":    s.o.Period.Seconds(),
		"restarts":  len(s.restarts),
		"children":  s.whichChildren(),
	}
}
