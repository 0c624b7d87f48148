package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/groupleader"
	"github.com/cnode-go/cnode/nodes/internal/asker"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// sessionName is what the names of sessions begin with: a rule can name these processes.
const sessionName = "console."

// A session is a process that reads lines at its user's group leader, and runs commands.
type session struct {
	c      *console
	leader ei.Pid // its node is the user's
	elixir bool   // terms are Elixir's
	screen *groupleader.Device
	self   *nodes.Mailbox

	mu        sync.Mutex
	interrupt context.CancelCauseFunc // of the command that runs; nil: none does
	traces    *viewer                 // nil: it does not
}

var (
	errInterrupted = errors.New("interrupted")
	errSessions    = errors.New("the node has as many sessions as it may have")
	errQuit        = errors.New("the user leaves")
	eacces         = &nodes.Raise{Reason: ei.Atom("eacces")}
)

// mostSessions is how many sessions the users of a node may have: it asks for one, and pays for
// none.
const mostSessions = 100

// begin is shell:start/0 and its like: a process that has the caller's group leader. It is ready
// when this returns, so that rules know its name. first is {M, F, [Parent, Ref]}, by which the
// user's node says when the first prompt is due; anything else: at once.
func (c *console) begin(ctx context.Context, elixir bool, first ei.Term) (ei.Pid, error) {
	leader, ok := nodes.GroupLeaderOf(ctx).(ei.Pid)
	if !ok || string(leader.Node) != asker.Of(c.n, nodes.ConnOf(ctx)) {
		return ei.Pid{}, badarg
	}
	self := nodes.MailboxOf(ctx)
	pid, _, err := self.SpawnMonitor(ctx, c.n.Name(), "console", "session", leader, elixir, first)
	if err != nil {
		return pid, err
	}
	m, err := self.Receive(ctx)
	if err != nil {
		return pid, err
	}
	defer m.Release()
	if m.Payload == nil {
		return pid, errors.New("the session has ended")
	}
	return pid, nil
}

// serve is the process of a session.
func (c *console) serve(ctx context.Context, leader ei.Pid, elixir bool, first ei.Term) error {
	if nodes.ConnOf(ctx) != nil { // see begin
		return eacces
	}
	if !c.count(leader.Node, 1) {
		return errSessions
	}
	defer c.count(leader.Node, -1)
	nodes.EndAtStop(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	self, ours := nodes.MailboxOf(ctx), nodes.NoConnect(ctx)
	self.TrapExit(true)
	s := &session{c: c, leader: leader, elixir: elixir, screen: groupleader.NewDevice(ours, c.n, leader), self: self}
	err := cmp.Or(
		self.SetLabel("console of "+string(leader.Node)),
		c.n.Register(ctx, fmt.Sprintf("%s%d.%d", sessionName, self.Pid().ID, self.Pid().Serial), self),
		self.Link(ours, leader),
		self.Send(ctx, nodes.CallerOf(ctx), ei.Atom("ready")))
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.sessions[leader] = s
	c.mu.Unlock()
	defer s.end()
	log := c.n.Logger().With("peer", string(leader.Node))
	log.Info("a console begins")
	defer log.Info("a console ends")

	read := func() {
		defer cancel() // also when a command has ended its goroutine
		s.read(ctx)
	}
	ref, waits := s.announce(ctx, first)
	if !waits {
		go read()
	}
	for {
		m, err := self.Receive(ctx)
		if err != nil { // the user has left, or the node stops
			return nil
		}
		if t, err := m.Term(); waits && err == nil && ei.Compare(t, ei.Tuple{ei.Atom("done"), ref}) == 0 {
			waits = false
			go read()
		} else if m.Payload == nil && m.From == leader {
			if reason, err := m.Reason.Decode(); err != nil || reason != ei.Atom("interrupt") {
				return nil // the terminal has gone
			}
			if interrupt := s.runs(nil); interrupt != nil {
				interrupt(errInterrupted)
			}
		}
		m.Release()
	}
}

// count counts the sessions of a node's users; false: there are too many for one more.
func (c *console) count(node ei.Atom, more int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.counts[node] + more
	switch {
	case now > mostSessions:
		return false
	case now == 0:
		delete(c.counts, node)
	default:
		c.counts[node] = now
	}
	return true
}

// announce sends Parent {'begin', Ref, self()}, which answers when the first prompt is due.
func (s *session) announce(ctx context.Context, first ei.Term) (ref ei.Term, waits bool) {
	if t, ok := first.(ei.Tuple); ok && len(t) == 3 {
		if args, _ := ei.Elements(t[2]); len(args) == 2 {
			parent, ok := args[0].(ei.Pid)
			return args[1], ok && parent.Node == s.leader.Node &&
				s.self.Send(nodes.NoConnect(ctx), parent, ei.Tuple{ei.Atom("begin"), args[1], s.self.Pid()}) == nil
		}
	}
	return nil, false
}

// runs notes what interrupts the command that runs; nil: none does. It returns what did before.
func (s *session) runs(interrupt context.CancelCauseFunc) context.CancelCauseFunc {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.interrupt
	s.interrupt = interrupt
	return was
}

// end undoes what outlasts a session.
func (s *session) end() {
	s.c.mu.Lock()
	if s.c.sessions[s.leader] == s {
		delete(s.c.sessions, s.leader)
	}
	s.c.mu.Unlock()
	s.traceOff()
}

// read reads lines, and runs them, until the user leaves.
func (s *session) read(ctx context.Context) {
	options := s.options()
	s.completes(ctx, options)
	s.print(fmt.Sprintf("Go console of %s; help lists the commands, quit leaves\n", s.c.n.Name()))
	for {
		line, err := s.readLine(forgetsLines(options))
		var wrong *groupleader.Error
		switch {
		case errors.Is(err, io.EOF):
			s.leave(ctx)
			return
		case errors.As(err, &wrong) && wrong.Reason == ei.Atom("interrupted"):
			s.print("\n** interrupted\n")
			continue
		case err != nil: // the terminal has gone, or never was
			return
		}
		if err := s.run(ctx, line); errors.Is(err, errQuit) {
			s.leave(ctx)
			return
		} else if err != nil {
			s.print("** " + strings.Map(printable, err.Error()) + "\n")
		}
	}
}

// options are those of the user's group leader: a list of {Name, Value}.
func (s *session) options() map[ei.Term]ei.Term {
	all := map[ei.Term]ei.Term{}
	options, _ := s.screen.Options() // an error: the terminal has gone
	list, _ := ei.Elements(options)
	for _, o := range list {
		if t, ok := o.(ei.Tuple); ok && len(t) == 2 {
			if name, ok := t[0].(ei.Atom); ok {
				all[name] = t[1]
			}
		}
	}
	return all
}

// forgetsLines tells whether the line editor keeps in its history only what get_until has asked
// for: that of OTP 26 and 27, which know the option terminal, and not yet line_history.
func forgetsLines(options map[ei.Term]ei.Term) bool {
	return options[ei.Atom("echo")] == ei.Atom("true") && options[ei.Atom("terminal")] == ei.Atom("true") &&
		options[ei.Atom("line_history")] == nil
}

// readLine reads a line at the prompt. To have it in the history of an editor that forgets lines,
// it is read in two steps: get_until, with a function that takes none of its characters
// (io_lib:collect_chars/4, which every node has), leaves all of it for the next request, which must
// not echo it.
func (s *session) readLine(forgets bool) (line string, err error) {
	if !forgets {
		return s.screen.ReadLine(s.prompt())
	}
	echo := func(on ei.Atom) error { return s.screen.SetOptions(ei.Tuple{ei.Atom("echo"), on}) }
	_, err = s.screen.Request(ei.Tuple{ei.Atom("get_until"), ei.Atom("unicode"), otp.Charlist(s.prompt()),
		ei.Atom("io_lib"), ei.Atom("collect_chars"), ei.List{ei.Atom("unicode"), ei.Int(0)}})
	if err == nil {
		err = echo("false")
	}
	if err == nil {
		line, err = s.screen.ReadLine("")
		err = cmp.Or(err, echo("true"))
	}
	return line, err
}

func (s *session) prompt() string {
	if state := s.c.n.State(); state != nodes.StateRunning {
		return fmt.Sprintf("%s (%v)> ", s.c.n.Name(), state)
	}
	return s.c.n.Name() + "> "
}

func (s *session) print(text string) { _, _ = io.WriteString(s.screen, text) } // an error: it ends anyway

type sessionKey struct{}

// of is the session that a command runs in.
func of(ctx context.Context) *session { return ctx.Value(sessionKey{}).(*session) }

// run runs a line, until it is interrupted.
func (s *session) run(ctx context.Context, line string) error {
	t, err := s.parse(line)
	if t.name == "" || err != nil {
		return err
	}
	r, err := s.find(t)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(context.WithValue(ctx, sessionKey{}, s))
	defer cancel(nil)
	s.runs(cancel)
	defer func() { s.runs(nil) }()
	done := make(chan error, 1)
	var text string
	go func() {
		err := errors.New(r.name + " has ended its goroutine")
		defer func() { done <- err }()
		text, err = r.run(ctx)
	}()
	select {
	case err = <-done:
	case <-ctx.Done(): // the command may take its time, or never end
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err == nil {
		s.print(text)
	}
	return err
}

// call calls a command; the result is text.
func (s *session) call(ctx context.Context, cmd *Command, args []ei.Term) (text string, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.c.n.Logger().Error("a command of the console has panicked", "command", cmd.Name, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("%s has panicked: %v", cmd.Name, p)
		}
	}()
	result, err := cmd.run(ctx, args)
	if err != nil {
		return "", fmt.Errorf("%s: %w", cmd.Name, err)
	}
	if text, ok := result.(Text); ok {
		return string(text), nil
	}
	text, err = s.show(result)
	return text + "\n", err
}

// leave ends the user's node if it was started for this console, by -remsh or --remsh. One in which
// the console is a job among others goes on.
func (s *session) leave(ctx context.Context) {
	user, ctx := string(s.leader.Node), nodes.NoConnect(ctx)
	given, _ := nodes.RPCAs[[][]string](ctx, s.c.n, user, "init", "get_argument", ei.Atom("remsh"))
	plain, _ := nodes.RPCAs[[]string](ctx, s.c.n, user, "init", "get_plain_arguments")
	if i := slices.Index(plain, "--remsh"); i >= 0 {
		given = append(given, plain[i+1:])
	}
	name := s.c.n.Name()
	alive, _, _ := strings.Cut(name, "@")
	if len(given) > 0 && len(given[0]) > 0 && (given[0][0] == name || given[0][0] == alive) {
		_, _ = s.c.n.RPC(ctx, user, "init", "stop")
	}
}
