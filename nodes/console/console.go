package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// Options say what the console can do. The zero value, and nil, give it the commands that need
// nothing of the program.
type Options struct {
	// Commands are the program's own. One with the name of a command of this package replaces it.
	Commands []Command
	// Level is the level of the program's log, for the command level. nil: there is none.
	Level *slog.LevelVar
	// Log has seen what the log says, for the commands trace and rules. nil: there is no trace.
	Log *Log
	// Upgrade replaces the program by another one, for the command upgrade. Its context outlasts
	// the session, which ends when the node moves. nil: there is no such command.
	Upgrade func(ctx context.Context) error
}

// A Command is what can be typed at the prompt: its name, and arguments behind it.
type Command struct {
	// Name is of letters, digits, _ and -, and begins with a small letter.
	Name string
	// Args stands behind the name in the list of commands: "SKU QUANTITY".
	Args string
	// Help is a line that says what it does. Further ones are for help NAME.
	Help string
	// Func is a function of Go types, as for nodes.FuncOf; for a string an atom will do, and a list
	// of characters. Its context ends when the user interrupts it, or has gone, and then nobody
	// waits for it any more. groupleader.Of(ctx) is the user's screen, and keyboard. The process
	// that MailboxOf gives is the session's, which receives by itself. A result of type Text is
	// printed as it is, any other as a term.
	Func any
	// Complete is asked by Tab for what may stand behind args. What does not begin with prefix is
	// left out. nil: nothing.
	Complete func(ctx context.Context, args []string, prefix string) []string

	run nodes.Func
}

// Text is a result that is printed as it is.
type Text string

// A console answers those who want a shell on a node.
type console struct {
	n        *nodes.Node
	opts     Options
	began    time.Time
	commands []Command // by name

	mu       sync.Mutex
	sessions map[ei.Pid]*session // by the group leaders of their users
}

var isName = regexp.MustCompile(`^[a-z][a-zA-Z0-9_-]*$`)

// Start lets peers have a console on the node. Call it in nodes.Config.Setup, or before or after
// nodes.Node.Start. It is on until the node ends. It panics as nodes.FuncOf does; a name that
// cannot be typed is an error.
func Start(n *nodes.Node, o *Options) error {
	c := &console{n: n, began: time.Now(), sessions: map[ei.Pid]*session{}}
	if o != nil {
		c.opts = *o
	}
	names := map[string]bool{}
	for _, cmd := range slices.Concat(c.opts.Commands, c.builtin()) {
		if !isName.MatchString(cmd.Name) {
			return &nodes.Error{Op: "start the console", Err: fmt.Errorf("no name for a command: %q", cmd.Name)}
		}
		if !names[cmd.Name] {
			names[cmd.Name] = true
			cmd.run = nodes.FuncOf(cmd.Func, nodes.FuncOptions{Decode: ei.DecodeOptions{LenientText: true, AtomText: true}})
			c.commands = append(c.commands, cmd)
		}
	}
	slices.SortFunc(c.commands, func(a, b Command) int { return strings.Compare(a.Name, b.Name) })
	exposed := n.Exposed()
	for name, f := range c.functions() {
		module, name, _ := strings.Cut(name, ":")
		if isShared(module) && slices.Contains(exposed[module], name) { // package observer knows more
			continue
		}
		n.Expose(module, name, nodes.FuncOf(f, nodes.FuncOptions{Decode: ei.DecodeOptions{LenientText: true}}))
	}
	return nil
}

// functions are what shells call, by the names that they have there.
func (c *console) functions() map[string]any {
	erlang := func(ctx context.Context, _ ...ei.Term) (ei.Pid, error) { return c.begin(ctx, false, ei.Atom("none")) }
	elixir := func(ctx context.Context, args ...ei.Term) (ei.Pid, error) {
		if len(args) < 2 { // what to call before the prompt, with what it sends to whom
			args = []ei.Term{nil, ei.Atom("none")}
		}
		return c.begin(ctx, true, args[1])
	}
	return map[string]any{
		"shell:start":                    erlang,
		"iex:start":                      elixir, // since Elixir 1.15
		"Elixir.IEx:start":               elixir,
		"Elixir.IEx.Autocomplete:expand": c.expand,
		"edlin_expand:expand":            c.expand,
		"console:session":                c.serve,
		"code:ensure_loaded":             c.ensureLoaded,
		"erlang:system_info":             c.systemInfo,
		"application:get_env":            func(_, _ ei.Atom, or ...ei.Term) ei.Term { return append(or, ei.Atom("undefined"))[0] },
		"net_kernel:get_net_ticktime":    func() int { return 60 }, // which the user's node takes over
	}
}

// isShared tells whether other packages have functions in this module, too.
func isShared(module string) bool {
	return slices.Contains([]string{"code", "erlang", "application", "net_kernel"}, module)
}

// Rules are rules for nodes.Config.Rules that let peers of these names have a console, with all of
// its commands (see nodes.Rule.Peer): for a table in which not everything is allowed that nothing
// refuses. Rules before these may refuse commands: those of console:drain/0, say.
func Rules(peer string) []nodes.Rule {
	var rules []nodes.Rule
	for _, f := range []string{"shell:start", "iex:start", "Elixir.IEx:start", "Elixir.IEx.Autocomplete:expand", "edlin_expand:expand",
		"code:ensure_loaded/1", "erlang:system_info/1", "application:get_env", "net_kernel:get_net_ticktime/0", "console:*"} {
		rules = append(rules, nodes.Rule{Peer: peer, Op: nodes.OpCall, Target: f, Allow: true})
	}
	return append(rules, nodes.Rule{Peer: peer, Op: nodes.OpSend | nodes.OpLink | nodes.OpExit, Target: sessionName + "*", Allow: true})
}

func (c *console) ensureLoaded(module ei.Atom) ei.Term {
	if c.n.Exposed()[string(module)] != nil {
		return ei.Tuple{ei.Atom("module"), module}
	}
	return ei.Tuple{ei.Atom("error"), ei.Atom("nofile")}
}

func (c *console) systemInfo(what ei.Term) (ei.Term, error) {
	switch what {
	case ei.Atom("system_version"):
		return charlist(fmt.Sprintf("Go %s [%s/%s]", strings.TrimPrefix(runtime.Version(), "go"), runtime.GOOS, runtime.GOARCH)), nil
	case ei.Atom("otp_release"): // a number to those who ask: none of OTP's
		return charlist("0"), nil
	}
	return nil, &nodes.Raise{Reason: ei.Atom("badarg")}
}

// find is the command of that name, if the peer may have it with so many arguments.
func (c *console) find(peer, name string, arity int) (*Command, error) {
	i := slices.IndexFunc(c.commands, func(cmd Command) bool { return cmd.Name == name })
	switch {
	case i < 0:
		return nil, fmt.Errorf("there is no command %s: help lists them", name)
	case !c.n.Allows(peer, nodes.OpCall, "console", name, arity):
		return nil, fmt.Errorf("%s: refused by Config.Rules", name)
	}
	return &c.commands[i], nil
}

var errNoLog = errors.New("there is no trace: the program has not given the console its log (Options.Log)")
