package console

import (
	"context"
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
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// Options say what the console can do. The zero value, and nil, give it the commands that need
// nothing of the program.
type Options struct {
	// Commands are the program's own. One with the name of a command of this package replaces it.
	Commands []Command
	// Level is that of the program's log, for the command level, and for logger:set_primary_config
	// by rpc:call. nil: there is neither.
	Level *slog.LevelVar
	// Log sees what the log says, for the commands trace and rules. nil: there is no trace.
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
	// Func is a function of Go types, as for nodes.FuncOf, but a string may also be an atom, or a
	// list of characters. Its context ends when the user interrupts it, or has gone, and then nobody
	// waits for it any more. groupleader.Of(ctx) is the user's screen, and keyboard. The process
	// that MailboxOf gives is the session's, which receives by itself. A result of type Text is
	// printed as it is, any other as a term.
	Func any
	// Complete gives what may stand behind args, of which Tab takes what begins with prefix. nil:
	// nothing.
	Complete func(ctx context.Context, args []string, prefix string) []string

	run  nodes.Func
	like string // a command that tells as much: who may not have that one may not have this one
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
	counts   map[ei.Atom]int     // of sessions, by the nodes of their users
}

var isName = regexp.MustCompile(`^[a-z][a-zA-Z0-9_-]*$`)

// Serve lets peers have a console on the node. Call it in nodes.Config.Setup, or before or after
// nodes.Node.Start. It waits for nothing, and is on until the node ends. It panics as nodes.FuncOf
// does; a name that cannot be typed is an error. nil options are the zero value. It is what
// shell:start is to a node of Erlang.
func Serve(n *nodes.Node, o *Options) error {
	c := &console{n: n, began: time.Now(), sessions: map[ei.Pid]*session{}, counts: map[ei.Atom]int{}}
	if o != nil {
		c.opts = *o
	}
	lenient := nodes.FuncOptions{Decode: ei.DecodeOptions{LenientText: true, AtomText: true}}
	for _, cmd := range slices.Concat(c.opts.Commands, c.builtin()) {
		if !isName.MatchString(cmd.Name) {
			return &nodes.Error{Op: "serve a console", Err: fmt.Errorf("no name for a command: %q", cmd.Name)}
		}
		if !slices.ContainsFunc(c.commands, func(other Command) bool { return other.Name == cmd.Name }) {
			cmd.run = nodes.FuncOf(cmd.Func, lenient)
			c.commands = append(c.commands, cmd)
		}
	}
	slices.SortFunc(c.commands, func(a, b Command) int { return strings.Compare(a.Name, b.Name) })
	exposed := n.Exposed()
	for target, f := range c.functions() {
		target, _, isShared := strings.Cut(target, "/")
		module, name, _ := strings.Cut(target, ":")
		if module == "logger" && c.opts.Level == nil {
			continue
		}
		if !isShared || !slices.Contains(exposed[module], name) { // package observer knows more
			n.Expose(module, name, nodes.FuncOf(f, lenient))
		}
	}
	return nil
}

// functions are what shells call. Those that other packages may have, too, have their arity here.
func (c *console) functions() map[string]any {
	erlang := func(ctx context.Context) (ei.Pid, error) { return c.begin(ctx, false, ei.Atom("now")) }
	elixir := func(ctx context.Context, args ...ei.Term) (ei.Pid, error) {
		return c.begin(ctx, true, append(args, ei.Atom("now"), ei.Atom("now"))[1])
	}
	return map[string]any{
		"shell:start":                   erlang,
		"iex:start":                     elixir, // (Options, {M, F, Args}), and with less
		"Elixir.IEx:start":              elixir, // the same before Elixir 1.15
		"edlin_expand:expand":           c.expand,
		"console:session":               c.serve,
		"erlang:system_info/1":          systemInfo,
		"application:get_env/3":         func(_, _ ei.Term, or ei.Term) ei.Term { return or },
		"logger:get_primary_config":     c.primary,
		"logger:set_primary_config":     c.setPrimary,
		"net_kernel:get_net_ticktime/0": func() int { return 60 }, // which the user's node takes over
	}
}

// Rules are rules for nodes.Config.Rules that let peers of these names have a console, with all of
// its commands (see nodes.Rule.Peer), and set the log's level by rpc:call: for a table in which not
// everything is allowed that nothing refuses. Rules before these may refuse commands, as functions
// of module console: console:drain/0, say.
func Rules(peer string) []nodes.Rule {
	rules := []nodes.Rule{
		{Peer: peer, Permission: nodes.MaySend | nodes.MayLink | nodes.MayExit, Target: sessionName + "*", Allow: true},
		{Peer: peer, Permission: nodes.MayCall, Target: "console:*", Allow: true},
	}
	for target := range (&console{}).functions() {
		rules = append(rules, nodes.Rule{Peer: peer, Permission: nodes.MayCall, Target: target, Allow: true})
	}
	return rules
}

var badarg = &nodes.Raise{Reason: ei.Atom("badarg")}

func systemInfo(what ei.Atom) (ei.Term, error) {
	switch what {
	case "system_version": // the banner
		return otp.Charlist(fmt.Sprintf("Go %s [%s/%s]", strings.TrimPrefix(runtime.Version(), "go"), runtime.GOOS, runtime.GOARCH)), nil
	case "otp_release": // a number to those who ask: none of OTP's
		return otp.Charlist("0"), nil
	}
	return nil, badarg
}

// allows tells whether the peer may have a command with so many arguments.
func (c *console) allows(peer string, cmd *Command, arity int) bool {
	return c.n.Allows(peer, nodes.MayCall, "console", cmd.Name, arity) &&
		(cmd.like == "" || c.n.Allows(peer, nodes.MayCall, "console", cmd.like, 0))
}

// available are the commands that the peer may have, with few arguments, however many.
func (c *console) available(peer string) (all []Command) {
	for _, cmd := range c.commands {
		for arity := range 4 {
			if c.allows(peer, &cmd, arity) {
				all = append(all, cmd)
				break
			}
		}
	}
	return all
}
