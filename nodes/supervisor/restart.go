package supervisor

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A child is one that the supervisor knows.
type child struct {
	Child
	pid        ei.Pid // zero: it does not run
	restarting bool   // its start has failed, and is to be tried again
	retry      *time.Timer
	place      int // in childList.order
}

func (c *child) runs() bool { return c.pid != ei.Pid{} }

// begin starts the children that are to run, the first time.
func (s *Supervisor) begin(ctx context.Context, before map[string]ei.Term) error {
	specs := s.children.all()
	s.children = childList{}
	for _, c := range specs {
		was, known := before[c.ID]
		pid, _ := was.(ei.Pid)
		if was == forgotten {
			s.gone = append(s.gone, c.ID)
			continue
		}
		s.children.add(c)
		switch {
		case was == ei.Atom("undefined"): // it had been terminated, or was done
		case pid != ei.Pid{} && pid.Node != s.Pid().Node: // nothing has moved there
			s.children.setPid(c, pid)
		case c.behaves || known && pid == ei.Pid{}:
			c.restarting = true
			s.again(ctx, startFirst, c)
		default:
			if err := s.start(ctx, c); err != nil {
				s.terminateAll(ctx)
				return &StartError{s.name, c.ID, err}
			}
			if known && pid != c.pid { // it had no name to go on under
				_ = s.box.SendExit(ctx, pid, ei.Atom("kill"))
			}
			if !c.runs() {
				s.forget(c)
			}
		}
	}
	return nil
}

// start starts a child.
func (s *Supervisor) start(ctx context.Context, c *child) (err error) {
	c.restarting = false
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("Start panicked: %v", p)
			s.n.Logger().Error("Child.Start panicked", "child", c.ID, "panic", p, "stack", string(debug.Stack()))
		}
		if err != nil {
			s.report("start_error", c, "error", err)
		}
	}()
	pid, err := c.Start(ctx, s)
	if err == nil && pid != (ei.Pid{}) {
		err = s.box.Link(ctx, pid)
	}
	if err != nil {
		return err
	}
	s.children.setPid(c, pid)
	s.n.Logger().Debug("child started", "supervisor", s.name, "child", c.ID, "pid", pid)
	return nil
}

// report says in the node's log what an OTP supervisor reports.
func (s *Supervisor) report(context string, c *child, args ...any) {
	s.n.Logger().Error("supervisor report: "+context, append([]any{"supervisor", s.name, "child", c.ID, "pid", c.pid}, args...)...)
}

// ended handles the end of a process; lost: of the connection to its node.
func (s *Supervisor) ended(ctx context.Context, pid ei.Pid, reason ei.Term, lost bool) {
	c := s.children.of(pid)
	if c == nil || s.over {
		return
	}
	if c.Restart == Permanent || !isRegular(reason) {
		s.report("child_terminated", c, "reason", ei.Brief(reason, 1000))
	}
	if c.Restart == Permanent || c.Restart == Transient && !isRegular(reason) {
		if lost {
			s.startAnew(ctx, c)
		} else {
			s.restart(ctx, c)
		}
		return
	}
	s.forget(c)
	if c.Significant && (s.o.AutoShutdown == AnySignificant || s.o.AutoShutdown == AllSignificant && !s.hasSignificant()) {
		s.stop(ctx)
	}
}

// isRegular tells whether a transient child is not started again.
func isRegular(reason ei.Term) bool {
	if t, ok := reason.(ei.Tuple); ok && len(t) == 2 {
		return t[0] == ei.Atom("shutdown")
	}
	return reason == ei.Atom("normal") || reason == ei.Atom("shutdown")
}

func (s *Supervisor) hasSignificant() bool {
	return slices.ContainsFunc(s.children.all(), func(c *child) bool { return c.Significant && (c.runs() || c.restarting) })
}

// forget notes that a child does not run, and removes it if it is temporary.
func (s *Supervisor) forget(c *child) {
	s.children.setPid(c, ei.Pid{})
	c.restarting = false
	if c.Restart == Temporary && s.children.has(c) {
		s.remove(c)
	}
}

func (s *Supervisor) remove(c *child) {
	s.children.remove(c)
	s.gone = append(s.gone, c.ID)
}

// restart is startAnew, unless there were too many restarts.
func (s *Supervisor) restart(ctx context.Context, c *child) {
	now := time.Now()
	s.restarts = slices.DeleteFunc(s.restarts, func(t time.Time) bool { return now.Sub(t) > s.o.Period })
	s.restarts = append(s.restarts, now)
	if len(s.restarts) > s.o.Intensity {
		s.report("shutdown", c, "reason", "reached_max_restart_intensity")
		s.forget(c)
		s.stop(ctx)
		return
	}
	s.startAnew(ctx, c)
}

// startAnew starts a child that does not run any more, and others as the strategy says.
func (s *Supervisor) startAnew(ctx context.Context, c *child) {
	s.children.setPid(c, ei.Pid{})
	c.restarting = false
	again := []*child{c}
	switch s.o.Strategy {
	case OneForAll:
		again = s.children.all()
	case RestForOne:
		again = s.children.from(c)
	}
	s.terminate(ctx, again)
	for _, c := range again {
		if !s.children.has(c) { // a temporary one
			continue
		}
		if !s.startOrRetry(ctx, c, startAbsent) {
			return
		}
	}
}

// startOrRetry starts a child; if that fails it is to be tried again. While its node is away, and
// until the node has what a Remote calls there, the next try is absent, which costs nothing: so the
// number of children there does not matter.
func (s *Supervisor) startOrRetry(ctx context.Context, c *child, absent ei.Atom) bool {
	err := s.start(ctx, c)
	if err == nil {
		return true
	}
	c.restarting = true
	try, delay := startAgain, s.o.Delay
	if c.behaves || errors.Is(err, nodes.ErrNoConnection) {
		try = absent
		if delay <= 0 {
			delay = s.o.Period
		}
	}
	if delay <= 0 {
		s.again(ctx, try, c)
		return false
	}
	c.retry = time.AfterFunc(delay, func() {
		s.again(context.Background(), try, c) // it waits for room, or the end of the supervisor
	})
	return false
}

// What the supervisor sends to itself, so that other messages have their turn: {What, Id}.
const (
	startFirst  ei.Atom = "$start_first"  // by itself, which is no restart
	startAgain  ei.Atom = "$start_again"  // a restart
	startAbsent ei.Atom = "$start_absent" // as a restart, but it does not count
)

func (s *Supervisor) again(ctx context.Context, what ei.Atom, c *child) {
	_ = s.box.Send(ctx, s.Pid(), ei.Tuple{what, ei.Atom(c.ID)})
}

// stop ends the supervisor, its children before it.
func (s *Supervisor) stop(ctx context.Context) {
	s.terminateAll(ctx)
	s.box.Exit(ei.Atom("shutdown"))
}

func (s *Supervisor) terminateAll(ctx context.Context) {
	s.over = true
	s.terminate(ctx, s.children.all())
}

// terminate ends children, in reverse order, and forgets those of them that are temporary.
func (s *Supervisor) terminate(ctx context.Context, children []*child) {
	for _, c := range slices.Backward(children) {
		s.end(ctx, c)
		s.forget(c)
	}
}

// end ends the process of a child, and waits for that.
func (s *Supervisor) end(ctx context.Context, c *child) {
	if c.retry != nil {
		c.retry.Stop()
	}
	if !c.runs() || s.box.Err() != nil { // the end of the supervisor has reached the linked processes
		return
	}
	if reason := s.endWithin(ctx, c); !isExpected(c, reason) {
		s.report("shutdown_error", c, "reason", ei.Brief(reason, 1000))
	}
}

// isExpected tells whether a child that was told to end has ended with a reason for which no report
// is due.
func isExpected(c *child, reason ei.Term) bool {
	switch {
	case c.Shutdown == BrutalKill && reason == ei.Atom("killed"), c.Shutdown != BrutalKill && reason == ei.Atom("shutdown"):
		return true
	}
	return c.Restart != Permanent && isRegular(reason)
}

// endWithin ends a process, and returns the exit reason.
func (s *Supervisor) endWithin(ctx context.Context, c *child) (reason ei.Term) {
	watch, err := s.n.NewMailbox(nil)
	if err != nil {
		return ei.Atom("system_limit")
	}
	defer watch.Close()
	// a node that is not connected has broken the link: the child has ended for this one
	ctx = nodes.NoConnect(ctx)
	if _, err = watch.Monitor(ctx, c.pid); err != nil {
		return ei.Atom("noconnection")
	}
	kill := func() { _ = s.box.SendExit(ctx, c.pid, ei.Atom("kill")) }
	waits, cancel := ctx, context.CancelFunc(func() {})
	switch {
	case c.Shutdown == BrutalKill:
		kill()
	default:
		if c.behaves {
			order := ei.Tuple{ei.Atom("terminate"), ei.Atom("shutdown")}
			_ = watch.Send(ctx, c.pid, ei.Tuple{ei.Atom("system"), ei.Tuple{watch.Pid(), ei.Atom("terminate")}, order})
		}
		_ = s.box.SendExit(ctx, c.pid, ei.Atom("shutdown"))
		if c.Shutdown != Infinity {
			waits, cancel = context.WithTimeout(ctx, c.Shutdown)
		}
	}
	defer cancel()
	reason, err = downOf(waits, watch)
	if err != nil && ctx.Err() == nil {
		kill()
		reason, err = downOf(ctx, watch)
	}
	if err != nil {
		return ei.Atom("unknown")
	}
	return reason
}

// downOf waits for the DOWN of the only process that a mailbox monitors.
func downOf(ctx context.Context, watch *nodes.Mailbox) (ei.Term, error) {
	for {
		m, err := watch.Receive(ctx)
		if err != nil {
			return nil, err
		}
		if m.Op != dist.OpMonitorPExit {
			continue
		}
		if reason, err := m.Reason.Decode(); err == nil {
			return reason, nil
		}
		return ei.Atom("undecodable_reason"), nil
	}
}
