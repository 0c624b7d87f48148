package tour

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/mapper"
	"github.com/cnode-go/cnode/cmd/internal/cli"
	"github.com/cnode-go/cnode/cmd/internal/config"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/transport"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const (
	// tourLimit bounds the whole tour, the visit of an Erlang node included.
	tourLimit = 40 * time.Second
	// visitLimit bounds that visit, which takes about a second to start if erl works.
	visitLimit = 30 * time.Second
)

// A tour shows what a C-node does, with two nodes in this process: alice and bob.
type tour struct {
	out     io.Writer
	steps   int
	erlTime time.Duration // bounds the visit of a real Erlang node
	log     *slog.Logger
	cookie  string
	mapper  string // address of the tour's own port mapper
	alice   *nodes.Node
	bob     *nodes.Node
}

// runTour takes the tour. It opens nothing but free ports of the loopback interface, and nothing is
// left behind.
func runTour(ctx context.Context, erlTime time.Duration, log *slog.Logger, out io.Writer) (err error) {
	ctx, cancel := context.WithTimeout(ctx, tourLimit)
	defer cancel()
	m, err := mapper.Start(ctx, &epmd.Server{Logger: log}, "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer m.Stop()
	t := &tour{out: out, erlTime: erlTime, log: log, cookie: rand.Text(), mapper: m.Addr}
	t.say("A tour: two nodes in this one program, alice and bob, speak Erlang's distribution protocol. No Erlang is needed.")
	t.say("")
	t.step("A port mapper listens at %s. It knows the nodes of a machine and their ports, as epmd does.", m.Addr)
	if t.alice, err = t.start(ctx, "alice", log); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.alice.Close()) }()
	if t.bob, err = t.start(ctx, "bob", log); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.bob.Close()) }()
	t.step("%s listens on port %s, %s on port %s. Both are registered there.", t.alice.Name(), port(t.alice), t.bob.Name(), port(t.bob))
	for _, s := range []struct {
		name string
		take func(context.Context) error
	}{
		{"connect", t.connect},
		{"messages", t.messages},
		{"remote calls", t.calls},
		{"server", t.server},
		{"monitor", t.monitor},
		{"move", t.move},
		{"Erlang", t.erlang},
		{"TLS", t.protected},
		{"goodbye", t.goodbye},
	} {
		if err := s.take(ctx); err != nil {
			return fmt.Errorf("tour, %s: %w", s.name, err)
		}
	}
	t.say("%s", farewell)
	return nil
}

const farewell = `
That was the life of a C-node. The same from a shell:
       cnode-demo serve --name bob@127.0.0.1 --cookie secret &
       cnode-demo ping bob@127.0.0.1 --cookie secret
       cnode-demo call bob@127.0.0.1 cnode echo '[{hello,"bob"}]' --cookie secret
       erl -name me@127.0.0.1 -setcookie secret        and in its shell  net_adm:ping('bob@127.0.0.1').
With --http 127.0.0.1:8080 bob has a page; with --operator Observer and LiveDashboard show him, and erl -remsh is a console.
cnode-demo --help lists the commands; the documentation of package nodes explains the model.`

func (t *tour) say(format string, args ...any) { fmt.Fprintf(t.out, format+"\n", args...) }

// step is say for the first line of a step.
func (t *tour) step(format string, args ...any) {
	t.steps++
	t.say("%2d. %s", t.steps, fmt.Sprintf(format, args...))
}

// result is say for what is written in Erlang, and what came of it.
func (t *tour) result(erlang string, result any) { t.say("       %-54s ->  %v", erlang, result) }

// start makes a node and starts it.
func (t *tour) start(ctx context.Context, alive string, log *slog.Logger) (*nodes.Node, error) {
	n, err := nodes.New(nodes.Config{
		Name: alive + "@127.0.0.1", Cookie: t.cookie, Logger: log,
		Resolver: &nodes.PortMapper{Client: epmd.Client{Addr: t.mapper}},
	})
	if err != nil {
		return nil, err
	}
	return n, n.Start(ctx)
}

func port(n *nodes.Node) string {
	at, _ := transport.AddrPort(n.Listeners()[0].Addr()) // they listen on TCP
	return fmt.Sprint(at.Port())
}

func (t *tour) connect(ctx context.Context) error {
	began := time.Now()
	if _, err := t.alice.Connect(ctx, t.bob.Name()); err != nil {
		return err
	}
	t.step("alice connected to bob in %v. The port mapper told her bob's port; then each proved to the other",
		time.Since(began).Round(10*time.Microsecond))
	t.say("    that it knows the cookie, the cluster's secret, without saying it. That keeps strangers out.")
	return nil
}

// messages go from a mailbox of alice to a registered one of bob, and back.
func (t *tour) messages(ctx context.Context) error {
	greeter, err := t.bob.NewMailbox(nil)
	if err != nil {
		return err
	}
	defer greeter.Close()
	if err := t.bob.Register(ctx, "greeter", greeter); err != nil {
		return err
	}
	me, err := t.alice.NewMailbox(nil)
	if err != nil {
		return err
	}
	defer me.Close()
	if err := me.SendName(ctx, t.bob.Name(), "greeter", ei.Tuple{ei.Atom("hello"), me.Pid()}); err != nil {
		return err
	}
	hello, err := receiveTerm(ctx, greeter)
	if err != nil {
		return err
	}
	from, ok := element(hello, 2).(ei.Pid)
	if !ok {
		return unexpected(hello)
	}
	if err := greeter.Send(ctx, from, ei.Tuple{ei.Atom("welcome"), ei.Binary("alice")}); err != nil {
		return err
	}
	welcome, err := receiveTerm(ctx, me)
	if err != nil {
		return err
	}
	t.step("A mailbox is a process: it has a pid, such as %v, and perhaps a name.", from)
	t.say("    alice's sent a message to bob's, by name, and got the answer at its pid. What one sends another stays in order:")
	t.result("{greeter,'"+t.bob.Name()+"'} ! {hello,Pid}", welcome)
	return nil
}

// calls are remote calls of a Go function, one of which fails.
func (t *tour) calls(ctx context.Context) error {
	t.bob.Expose("math", "sum", nodes.FuncOf(sum))
	t.step("bob exposed a Go function of integers, and alice called it. Anything else is badarg, as in Erlang:")
	total, err := t.alice.RPC(ctx, t.bob.Name(), "math", "sum", 1, 2, 39)
	if err != nil {
		return err
	}
	t.result("rpc:call('"+t.bob.Name()+"', math, sum, [1,2,39])", total)
	_, err = t.alice.RPC(ctx, t.bob.Name(), "math", "sum", ei.Atom("one"))
	var bad *nodes.RPCError
	if !errors.As(err, &bad) {
		return fmt.Errorf("a call that must fail: %w", err)
	}
	t.result("rpc:call('"+t.bob.Name()+"', math, sum, [one])", bad)
	return nil
}

// sum adds up integers.
func sum(numbers ...int) (total int) {
	for _, n := range numbers {
		total += n
	}
	return total
}

// server runs a gen_server made of Go.
func (t *tour) server(ctx context.Context) error {
	count := 0
	next := nodes.FuncOf(func() int { count++; return count })
	if _, err := t.bob.Serve("counter", nodes.Server{On: map[string]nodes.Func{"next": next}}, nil); err != nil {
		return err
	}
	t.step("bob runs a server, a Go function with a state of its own, which answers one request after the other:")
	for range 2 {
		reply, err := t.alice.CallName(ctx, t.bob.Name(), "counter", ei.Atom("next"))
		if err != nil {
			return err
		}
		t.result("gen_server:call({counter,'"+t.bob.Name()+"'}, next)", reply)
	}
	return nil
}

// monitor watches a process of bob's until it ends.
func (t *tour) monitor(ctx context.Context) error {
	worker, err := t.bob.NewMailbox(nil)
	if err != nil {
		return err
	}
	defer worker.Close()
	me, err := t.alice.NewMailbox(nil)
	if err != nil {
		return err
	}
	defer me.Close()
	ref, err := me.Monitor(ctx, worker.Pid())
	if err != nil {
		return err
	}
	if err := me.Send(ctx, worker.Pid(), ei.Atom("finish")); err != nil {
		return err
	}
	// the monitor came before it: signals stay in order too
	if _, err := worker.Receive(ctx); err != nil {
		return err
	}
	worker.Exit(ei.Tuple{ei.Atom("done"), ei.Int(42)})
	down, err := me.Receive(ctx)
	if err != nil {
		return err
	}
	if down.Op != dist.OpMonitorPExit || down.Ref != ref {
		return fmt.Errorf("%v came where the end of a process was expected", down.Op)
	}
	t.step("alice monitored a process of bob's. It ended, and she was told why:")
	t.result("monitor(process, Pid)", fmt.Sprintf("{'DOWN',Ref,process,Pid,%v}", down.Reason))
	return nil
}

// goodbye ends bob, which alice watches.
func (t *tour) goodbye(ctx context.Context) error {
	me, err := t.alice.NewMailbox(nil)
	if err != nil {
		return err
	}
	defer me.Close()
	if err := me.MonitorNode(ctx, t.bob.Name()); err != nil {
		return err
	}
	if err := t.bob.Shutdown(ctx); err != nil {
		return err
	}
	down, err := receiveTerm(ctx, me)
	if err != nil {
		return err
	}
	t.step("bob shut down, and alice, who watched that node, was told:")
	t.result("monitor_node('"+t.bob.Name()+"', true)", down)
	return nil
}

func receiveTerm(ctx context.Context, b *nodes.Mailbox) (ei.Term, error) {
	m, err := b.Receive(ctx)
	if err != nil {
		return nil, err
	}
	return m.Term()
}

// element is an element of a tuple, counted from 1 as in Erlang; nil if there is none.
func element(t ei.Term, i int) ei.Term {
	if tuple, ok := t.(ei.Tuple); ok && i <= len(tuple) {
		return tuple[i-1]
	}
	return nil
}

func unexpected(t ei.Term) error { return fmt.Errorf("unexpected message %v", t) }

// Command gives the tour as a command of its own.
func Command(o *config.Options) *cobra.Command {
	return &cobra.Command{
		Use:   "tour",
		Short: "Show what a C-node does, with two nodes in this process (the same without a command)",
		Long: `tour starts two nodes and a port mapper of its own, and shows in plain words what they do with each other: connect, send, call,
monitor, notice that a process ends; how a third node moves to another process; and what TLS hides from others. If erl is on the PATH, a
real Erlang node joins in. tour needs nothing else, and leaves nothing behind.`,
		Example: "  cnode-demo tour",
		Args:    cli.Args(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return Take(o, cmd) },
	}
}

// Take is the command.
func Take(o *config.Options, cmd *cobra.Command) error {
	if err := checkTour(o, cmd); err != nil {
		return err
	}
	return runTour(cmd.Context(), visitLimit, o.Logger(cmd.ErrOrStderr()), cmd.OutOrStdout())
}

// checkTour refuses flags that the tour has no use for.
func checkTour(o *config.Options, cmd *cobra.Command) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Name != "log-level" && f.Name != "log-format" && err == nil {
			err = cli.Usagef("--%s is for a command such as serve or ping; the tour has names and ports of its own", f.Name)
		}
	})
	if err == nil {
		_, err = o.Level()
	}
	return err
}
