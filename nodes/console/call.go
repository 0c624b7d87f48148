package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/alike"
	"github.com/cnode-go/cnode/nodes/internal/kept"
)

// Calls of functions: shop:quote(<<"A">>, 2), and in Elixir :shop.quote("A", 2).

// A typed is what a line asks for: a command, or the function of a module.
type typed struct {
	module, name string // without module: a command
	args         []ei.Term
}

// A request is what a line is to run; name is for messages.
type request struct {
	name string
	run  func(ctx context.Context) (text string, err error)
}

// shells are functions of Erlang and Elixir that people type out of habit, and the commands that do
// the same here, where nobody has exposed the functions. Those without a module are commands of
// their shells.
var shells = map[string]string{
	"h": "help", "?": "help", "i": "processes", "status": "node", "q": "quit", "exit": "quit",
	"c:i": "processes", "c:regs": "regs", "c:memory": "memory", "c:uptime": "node",
	"erlang:nodes": "nodes", "erlang:node": "node", "erlang:whereis": "whereis", "erlang:registered": "regs", "erlang:memory": "memory",
	"erlang:processes": "processes", "erlang:garbage_collect": "gc",
	"Elixir.Node:list": "nodes", "Elixir.Node:self": "node", "Elixir.Process:whereis": "whereis", "Elixir.Process:registered": "regs",
	"Elixir.Process:list": "processes", "Elixir.IEx.Helpers:h": "help",
}

// talkers are modules whose functions send to the process that is their first argument: the user's
// node has them, and runs them.
var talkers = []string{"sys", "gen_server", "gen_statem", "gen_event", "Elixir.GenServer", "Elixir.Agent"}

// find is what a line means, if the user may have it.
func (s *session) find(t typed) (request, error) {
	exposed := slices.Contains(s.c.n.Exposed()[t.module], t.name)
	if t.module == "" || !exposed {
		key := strings.TrimPrefix(t.module+":"+t.name, ":")
		name, isHabit := shells[key]
		if t.module == "" && slices.ContainsFunc(s.c.commands, func(cmd Command) bool { return cmd.Name == t.name }) {
			name, isHabit = t.name, false
		}
		if name == "processes" && isHabit && len(t.args) == 1 { // i(Pid)
			name = "process"
		}
		if name = cmp.Or(name, t.name); t.module == "" || isHabit {
			cmd, err := s.command(name, len(t.args))
			if err != nil {
				return request{}, err
			}
			return request{name, func(ctx context.Context) (string, error) { return s.call(ctx, cmd, t.args) }}, nil
		}
	}
	name := s.function(t.module, t.name, len(t.args))
	if err := s.asksSys(t, name); err != nil {
		return request{}, err
	}
	if !exposed && slices.Contains(talkers, t.module) && len(t.args) > 0 {
		return request{name, func(ctx context.Context) (string, error) { return s.talk(ctx, t, name) }}, nil
	}
	return request{name, func(ctx context.Context) (string, error) {
		node := ei.Atom(s.c.n.Name())
		v, err := s.onUsersNode(ctx, "erpc", "call", node, ei.Atom(t.module), ei.Atom(t.name), ei.List(t.args))
		return s.result(v, s.explained(err, t, name))
	}}, nil
}

// asksSys says that a process does not answer module sys, where the answer would be that the time
// is up. Whoever may not send to the process does not hear what it is.
func (s *session) asksSys(t typed, name string) error {
	if t.module != "sys" || len(t.args) == 0 {
		return nil
	}
	pid, err := s.c.pidOf(t.args[0])
	if err != nil {
		return nil // for those that the call itself has an answer
	}
	d, ok := s.c.n.Process(pid)
	if !ok || kept.AnswersSys(d.Process) || !s.c.n.AllowsProcess(s.user(), nodes.MaySend, pid) {
		return nil
	}
	return fmt.Errorf("%s: this process is a %v, and does not answer module sys: only servers do", name, d.Kind)
}

// command is the command of that name, if the user may have it with so many arguments.
func (s *session) command(name string, arity int) (*Command, error) {
	c := s.c
	i := slices.IndexFunc(c.commands, func(cmd Command) bool { return cmd.Name == name })
	switch {
	case i < 0 && (name == "upgrade" || name == "level"):
		return nil, fmt.Errorf("there is no command %s: the program has not set console.Options.%s", name, map[string]string{
			"upgrade": "Upgrade", "level": "Level",
		}[name])
	case i < 0:
		return nil, fmt.Errorf("there is no command %s%s", name, cmp.Or(s.meant(name, arity), ": help lists them"))
	case !c.allows(s.user(), &c.commands[i], arity):
		return nil, fmt.Errorf("%s: refused by Config.Rules", name)
	}
	return &c.commands[i], nil
}

// meant is what somebody may have meant by a command that does not exist.
func (s *session) meant(name string, arity int) string {
	var names []string
	for _, cmd := range s.c.available(s.user()) {
		names = append(names, cmd.Name)
	}
	if hint := meant(name, names); hint != "" {
		return hint
	}
	exposed := s.c.n.Exposed()
	for _, module := range slices.Sorted(maps.Keys(exposed)) { // without its module
		if !slices.Contains(exposed[module], name) {
			continue
		}
		if s.c.n.Allows(s.user(), nodes.MayCall, module, name, arity) {
			return "; did you mean " + s.function(module, name, -1) + "?"
		}
	}
	return ""
}

// user is the user's node.
func (s *session) user() string { return string(s.leader.Node) }

func (s *session) result(v ei.Term, err error) (string, error) {
	if err != nil {
		return "", err
	}
	text, err := s.show(v)
	return text + "\n", err
}

// function is a function in the user's syntax, without the arity if that is negative.
func (s *session) function(module, name string, arity int) string {
	m, _ := s.show(ei.Atom(module))
	f, _ := s.show(ei.Atom(name))
	text := m + ":" + f
	if s.elixir {
		text = m + "." + strings.TrimPrefix(f, ":")
	}
	if arity < 0 {
		return text
	}
	return fmt.Sprintf("%s/%d", text, arity)
}

// talk has a function of the user's node talk to a process of this one, which rules see as what it
// is: messages of the user's node.
func (s *session) talk(ctx context.Context, t typed, name string) (string, error) {
	args := slices.Clone(t.args)
	if process, ok := args[0].(ei.Atom); ok {
		if _, err := s.c.pidOf(process); err != nil {
			return "", err
		}
		args[0] = ei.Tuple{process, ei.Atom(s.c.n.Name())}
	}
	v, err := s.onUsersNode(ctx, t.module, t.name, args...)
	return s.result(v, s.explained(err, t, name))
}

// onUsersNode calls a function at the user's node, in a process that ends when ctx does. So what
// this calls here, or sends here, is the peer's: rules decide about it, and it has no more than the
// peer could have otherwise.
func (s *session) onUsersNode(ctx context.Context, module, name string, args ...ei.Term) (ei.Term, error) {
	box, err := s.c.n.NewMailbox(&nodes.MailboxOptions{TrapExit: true})
	if err != nil {
		return nil, err
	}
	defer box.Exit(ei.Atom("shutdown")) // and, if it still runs, what it is linked with
	ref, err := s.c.n.NewRef()
	if err != nil {
		return nil, err
	}
	ctx = nodes.WithGroupLeader(nodes.NoConnect(ctx), s.leader)
	pid, err := box.SpawnLink(ctx, s.user(), "erpc", "execute_call", ref, ei.Atom(module), ei.Atom(name), ei.List(args))
	for err == nil {
		var m *nodes.Message
		if m, err = box.Receive(ctx); err != nil {
			break
		}
		if m.Op != dist.OpExit || m.From != pid {
			m.Release()
			continue
		}
		reason, err := m.Reason.Decode()
		m.Release()
		if err != nil {
			return nil, err
		}
		return outcome(reason, ref)
	}
	return nil, err
}

// outcome is what {Ref, return, Value} and its like say, with which erpc:execute_call/4 exits.
func outcome(reason ei.Term, ref ei.Ref) (ei.Term, error) {
	t, _ := reason.(ei.Tuple)
	if len(t) < 3 || t[0] != ref {
		return nil, &nodes.ExitError{Reason: reason}
	}
	switch class := t[1]; {
	case class == ei.Atom("return"):
		return t[2], nil
	case len(t) == 4:
		return nil, &nodes.Raise{Class: nodes.ClassError, Reason: t[2], Stack: t[3]}
	default:
		name, _ := class.(ei.Atom)
		return nil, &nodes.Raise{Class: nodes.Class(name), Reason: t[2]}
	}
}

// explained is the error of a call, in words.
func (s *session) explained(err error, t typed, name string) error {
	raise := new(nodes.Raise)
	if !errors.As(err, &raise) {
		return err
	}
	reason, stack := raise.Reason, raise.Stack
	if e, ok := reason.(ei.Tuple); ok && len(e) >= 2 && e[0] == ei.Atom("exception") { // of erpc:call
		if reason = e[1]; len(e) == 3 {
			stack = e[2]
		}
	}
	called, why := top(stack)
	ours := called == nil || called[0] == ei.Atom(t.module) && called[1] == ei.Atom(t.name)
	switch {
	case reason == ei.Atom("undef") && ours:
		return fmt.Errorf("there is no function %s%s", name, s.hint(why))
	case reason == ei.Atom("eacces") && ours && why != "":
		return fmt.Errorf("%s: refused, %s", name, why)
	case reason == ei.Atom("eacces") && ours && !s.c.n.Allows(s.user(), nodes.MayCall, t.module, t.name, len(t.args)):
		return fmt.Errorf("%s: refused by Config.Rules", name)
	}
	text, err := s.show(reason)
	if e, ok := reason.(ei.Tuple); ok && len(e) == 2 && e[0] == ei.Atom("go_error") { // an error of Go's, in words
		if words, ok := e[1].(ei.Binary); ok {
			text = string(words)
		}
	}
	if raise.Class == nodes.ClassExit || raise.Class == nodes.ClassThrow {
		text = string(raise.Class) + ": " + text
	}
	if why != "" {
		text += ", " + why
	}
	return cmp.Or(err, fmt.Errorf("%s: %s", name, text))
}

// top is the first function on a stack, and what a Go node has put there to explain an exception:
// the file of the second one.
func top(stack ei.Term) (called ei.Tuple, why string) {
	frames, _ := ei.Elements(stack)
	for i, frame := range frames[:min(2, len(frames))] {
		f, ok := frame.(ei.Tuple)
		if !ok || len(f) != 4 {
			return called, ""
		}
		if i == 0 {
			called = f
			continue
		}
		at, _ := ei.Elements(f[3])
		for _, pair := range at {
			if p, ok := pair.(ei.Tuple); ok && len(p) == 2 && p[0] == ei.Atom("file") && f[0] == called[0] && f[1] == called[1] {
				_ = ei.DecodeOptions{LenientText: true}.Unmarshal(p[1], &why) // an error: there is none
			}
		}
	}
	return called, why
}

var didYouMean = regexp.MustCompile(`^did you mean (.+):([^:]+)/(\d+)\?$`)

// hint is what the user may have meant by a function that does not exist, as this node's answer
// says it (why).
func (s *session) hint(why string) string {
	m := didYouMean.FindStringSubmatch(why)
	if m == nil {
		return ""
	}
	arity, _ := strconv.Atoi(m[3])
	return "; did you mean " + s.function(m[1], m[2], arity) + "?"
}

// meant is what of some names somebody may have meant: of those that are much like what was typed,
// or go on where that ends, the one that begins like it for longest; "" if there is none.
func meant(typed string, names []string) string {
	best, longest := "", -1
	slices.Sort(names)
	for _, name := range names {
		same := 0
		for same < min(len(name), len(typed)) && name[same] == typed[same] {
			same++
		}
		if same > longest && (alike.Names(name, typed) || len(typed) > 2 && same == len(typed)) {
			best, longest = "; did you mean "+name+"?", same
		}
	}
	return best
}
