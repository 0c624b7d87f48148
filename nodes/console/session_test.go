package console_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/console"
	"github.com/cnode-go/cnode/nodes/groupleader"
	"github.com/cnode-go/cnode/transport"
)

// A terminal is the group leader of a user on another node.
type terminal struct {
	t      *testing.T
	shop   *nodes.Node
	leader *nodes.Mailbox
	shell  ei.Pid
	keys   *io.PipeWriter

	mu      sync.Mutex
	screen  bytes.Buffer
	printed chan struct{}
}

func (u *terminal) Write(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	close(u.printed)
	u.printed = make(chan struct{})
	return u.screen.Write(p)
}

func (u *terminal) text() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.screen.String()
}

// types types a line, and returns what is printed up to the text that is waited for.
func (u *terminal) types(line, until string) string {
	u.t.Helper()
	_, err := io.WriteString(u.keys, line+"\n")
	require.NoError(u.t, err)
	return u.sees(until)
}

func (u *terminal) sees(until string) string {
	u.t.Helper()
	ctx := expect.Context(u.t)
	for {
		u.mu.Lock()
		text, printed := u.screen.String(), u.printed
		if i := strings.Index(text, until); i >= 0 {
			u.screen.Next(i + len(until))
			u.mu.Unlock()
			return text[:i]
		}
		u.mu.Unlock()
		select {
		case <-printed:
		case <-ctx.Done():
			u.t.Fatalf("no %q in %q", until, text)
		}
	}
}

const prompt = "shop@host> "

// open opens a console on a node, from another one.
func open(t *testing.T, o *console.Options, edit ...func(*nodes.Config)) *terminal {
	t.Helper()
	w := cluster.New(t)
	begin := func(name string, edit ...func(*nodes.Config)) *nodes.Node {
		cfg := w.Config(name)
		for _, f := range edit {
			f(&cfg)
		}
		return w.Start(cfg)
	}
	u := &terminal{t: t, printed: make(chan struct{})}
	u.shop = begin("shop@host", edit...)
	require.NoError(t, console.Serve(u.shop, o))
	ops := begin("ops@host")
	in, keys := io.Pipe()
	u.keys = keys
	t.Cleanup(func() { keys.Close() })
	var err error
	u.leader, err = groupleader.Serve(ops, "", u, &groupleader.Options{In: in, Columns: 100, Rows: 25})
	require.NoError(t, err)
	shell, err := ops.RPC(nodes.WithGroupLeader(expect.Context(t), u.leader.Pid()), "shop@host", "shell", "start")
	require.NoError(t, err)
	u.shell = shell.(ei.Pid)
	u.sees(prompt)
	return u
}

// ended waits for the end of the session's process.
func (u *terminal) ended() {
	u.t.Helper()
	box := cluster.Mailbox(u.t, u.shop, nil)
	defer box.Close()
	_, err := box.Monitor(expect.Context(u.t), u.shell)
	require.NoError(u.t, err)
	_, err = box.Receive(expect.Context(u.t))
	require.NoError(u.t, err)
}

func TestBuiltin(t *testing.T) {
	level := new(slog.LevelVar)
	upgrades := make(chan struct{}, 1)
	log := console.NewLog(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: level}))
	u := open(t, &console.Options{Level: level, Log: log, Upgrade: func(context.Context) error {
		upgrades <- struct{}{}
		return errors.New("no room")
	}}, func(cfg *nodes.Config) {
		cfg.Logger, cfg.ProfileLabels = slog.New(log), true
		cfg.Rules = []nodes.Rule{{Peer: "x@*", Permission: nodes.MaySend, Target: "till"}}
	})
	till, err := u.shop.Serve("till", nodes.Server{Call: func(_ context.Context, c *nodes.Call) (any, error) { return c.Request, nil }}, nil)
	require.NoError(t, err)
	require.NoError(t, till.SetLabel(ei.T("counter", 1)))
	jobs := cluster.Mailbox(t, u.shop, nil)
	require.NoError(t, u.shop.Register(t.Context(), "jobs", jobs))
	for range 12 {
		require.NoError(t, jobs.Send(t.Context(), jobs.Pid(), ei.T("job", "a b")))
	}
	require.NoError(t, jobs.Link(t.Context(), till.Pid()))
	_, err = u.shop.Handle("audit", func(_ *nodes.Mailbox, m *nodes.Message) { m.Release() }, nil)
	require.NoError(t, err)

	for _, tt := range []struct{ line, want string }{
		{"node", "state        running\n"},
		{"connections", "ops@host  hidden  "},
		{"processes", "NAME"},
		{"processes bytes 1", "1 of "},
		{"processes [age]", "** processes: no order: [age]\n"},
		{"processes age", "AGE"},
		{"processes x", "** processes: no order: x\n"},
		{"process till", "{counter,1}\n"},
		{"process till", "links "},
		{"process jobs", `{job,<<"a b">>}, {job,`},
		{"process jobs", ", and 2 more\n"},
		{"process <0.1.0>", "net_kernel\n"},
		{"process <0.12345.0>", "** process: there is no such process\n"},
		{"process nobody", "** process: no process has the name nobody\n"},
		{`stacks "nodes.(*Server).run"`, `"process":"#Pid<shop@host.`},
		{fmt.Sprintf("stacks <0.%d.0>", till.Pid().ID), "nodes.(*Server).run"},
		{"stacks NoSuchText", ""},
		{"stacks <0.12345.0>", "** stacks: its goroutine is not known"},
		{"memory", "/memory/classes/total"},
		{"gc", "from the system, was "},
		{"rules", "refuse  x@*   send       till\n"},
		{"rules", "handshakes that failed        0\n"},
		{"level", "info\n"},
		{"level warn", "warn\n"},
		{"level loud", "** level: "},
		{"rules", "the console has changed the level of the log"},
		{"sys:get_state(jobs).", "** sys:get_state/1: this process is a mailbox, and does not answer module sys: only servers do\n"},
		{"sys:get_status(audit, 10).", "** sys:get_status/2: this process is a handler, and does not"},
		{"help", "process NAME|PID"},
		{"help processes", "\nWithout N there are as many"},
		{"help nothing", "** help: there is no command nothing\n"},
		{"nothing", "** there is no command nothing: help lists them\n"},
		{"process {a", "** ei: "},
		{"process", "** process: 0 arguments for 1 parameters\n"},
		{"", ""},
		{"upgrade", "** upgrade: no room\n"},
	} {
		text := u.types(tt.line, prompt)
		require.Contains(t, text, tt.want, tt.line)
	}
	require.Equal(t, slog.LevelWarn, level.Level())
	<-upgrades

	u.types("processes queue 1", "PID")
	require.Contains(t, u.sees(prompt), "jobs", "the longest queue comes first")
}

// The log, and a server's messages, come to the screen; the log's own level is what it was.
func TestTrace(t *testing.T) {
	out := &terminal{printed: make(chan struct{})}
	log := console.NewLog(slog.NewTextHandler(out, nil))
	u := open(t, &console.Options{Log: log}, func(cfg *nodes.Config) { cfg.Logger = slog.New(log) })
	till, err := u.shop.Serve("till", nodes.Server{Call: func(_ context.Context, c *nodes.Call) (any, error) { return c.Request, nil }}, nil)
	require.NoError(t, err)
	box := cluster.Mailbox(t, u.shop, nil)
	require.NoError(t, u.shop.Register(t.Context(), "box", box))

	logger := u.shop.Logger().With("a", 1).WithGroup("g")
	require.False(t, logger.Enabled(t.Context(), slog.LevelDebug))
	u.types("trace till", prompt)
	require.True(t, logger.Enabled(t.Context(), slog.LevelDebug))
	_, err = box.Call(expect.Context(t), till.Pid(), ei.Atom("hello"))
	require.NoError(t, err)
	u.sees(`"message in" node=shop@host name=till`)
	u.sees("hello")
	logger.Debug("secret", "b", 2)
	u.sees("msg=secret node=shop@host a=1 g.b=2\n")
	require.Contains(t, u.types("trace nobody", prompt), "no process has the name nobody")
	u.types("trace off", prompt)
	require.False(t, logger.Enabled(t.Context(), slog.LevelDebug))
	require.NotContains(t, out.text(), "secret")
	_, err = box.Call(expect.Context(t), till.Pid(), ei.Atom("unseen"))
	require.NoError(t, err)
	require.Contains(t, u.types("trace off", prompt), "off")
	require.NotContains(t, out.text(), "unseen")

	u.types("trace till", prompt) // ends with the session
	u.types("quit", "")
	u.ended()
	require.False(t, logger.Enabled(t.Context(), slog.LevelDebug))
}

// Whatever a command does, the console goes on; whoever interrupts it does not wait for it.
func TestCommands(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	u := open(t, &console.Options{Commands: []console.Command{
		{Name: "panics", Func: func() { panic("ouch") }},
		{Name: "fails", Func: func() error { return &nodes.Raise{Reason: ei.Atom("bad")} }},
		{Name: "hangs", Func: func(ctx context.Context) { _, _ = io.WriteString(groupleader.Of(ctx), "hangs\n"); <-release }},
		{Name: "gc", Func: func() string { return "mine" }}, // in place of the other one
		{Name: "nothing", Func: func() *int { return nil }},
		{Name: "sum", Func: func(ns ...int) int {
			total := 0
			for _, n := range ns {
				total += n
			}
			return total
		}},
		{Name: "exits", Func: func() { runtime.Goexit() }},
	}})
	for _, tt := range []struct{ line, want string }{
		{"panics", "** panics has panicked: ouch\n"},
		{"fails", "** fails: error: bad\n"},
		{"gc", "<<\"mine\">>\n"},
		{"nothing", "undefined\n"},
		{"sum 1 2, 3", "6\n"},
		{"sum", "0\n"},
		{"sum x", "** sum: argument 1: ei: atom x where an integer is due\n"},
		{"exits", "** exits has ended its goroutine\n"},
	} {
		require.Equal(t, tt.want, u.types(tt.line, prompt), tt.line)
	}
	u.types("hangs", "hangs\n")
	require.NoError(t, u.leader.SendExit(t.Context(), u.shell, ei.Atom("interrupt")))
	u.sees("** interrupted\n" + prompt)
	u.types("hangs", "hangs\n")
	u.leader.Exit(ei.Atom("normal")) // the terminal has gone
	u.ended()
}

// What somebody else has named, or said, does not move the cursor, in a table or in an error.
func TestControlCharacters(t *testing.T) {
	const moves = "x\x1b[2J\u009b2J\r"
	fails := console.Command{Name: "fails", Func: func() error { return errors.New(moves) }}
	u := open(t, &console.Options{Commands: []console.Command{fails}},
		func(cfg *nodes.Config) {
			cfg.Rules = []nodes.Rule{{Peer: "x@*", Permission: nodes.MaySend, Target: moves}}
		})
	for _, line := range []string{"rules", "fails"} {
		text := u.types(line, prompt)
		require.Contains(t, text, "2J", line)
		isControl := func(r rune) bool { return r != '\n' && unicode.IsControl(r) }
		require.False(t, strings.ContainsFunc(text, isControl), "%s: %q", line, text)
	}
}

// A session does not hold up the end of its node.
func TestShutdown(t *testing.T) {
	u := open(t, nil)
	require.NoError(t, u.shop.Shutdown(expect.Context(t)))
}

func TestDrain(t *testing.T) {
	u := open(t, nil)
	u.types("drain", "it drains\nshop@host (draining)> ")
	require.Equal(t, nodes.StateDraining, u.shop.State())
	u.types("node", "state        draining")
	u.types("q().", "")
	u.ended()
}

// Who has no screen gets no session; nor does anybody for another node's.
func TestNoScreen(t *testing.T) {
	u := open(t, nil)
	ops := u.leader.Node()
	_, err := ops.RPC(expect.Context(t), "shop@host", "shell", "start")
	require.ErrorContains(t, err, "badarg")
	theirs := ei.Pid{Node: "other@host", ID: 1, Creation: 1}
	_, err = ops.RPC(nodes.WithGroupLeader(expect.Context(t), theirs), "shop@host", "shell", "start")
	require.ErrorContains(t, err, "badarg")
	_, err = ops.RPC(expect.Context(t), "shop@host", "console", "session", u.leader.Pid(), false, ei.Atom("now"))
	require.ErrorContains(t, err, "eacces")
	v, err := ops.RPC(expect.Context(t), "shop@host", "edlin_expand", "expand", "leh", ei.List{})
	require.NoError(t, err)
	require.Equal(t, ei.Tuple{ei.Atom("no"), ei.List{}, ei.List{}}, v)
}

// Who speaks for the shell of another node has nothing completed there.
func TestAnothersCompletion(t *testing.T) {
	completed := make(chan string, 2)
	var cfg nodes.Config
	u := open(t, &console.Options{Commands: []console.Command{{
		Name: "sell", Func: func(string) {},
		Complete: func(_ context.Context, _ []string, prefix string) []string { completed <- prefix; return nil },
	}}}, func(c *nodes.Config) { cfg = *c })
	other, err := nodes.New(nodes.Config{Name: "other@host", Cookie: cfg.Cookie, Transport: cfg.Transport, Resolver: cfg.Resolver,
		Listen: transport.MemoryAddr("other")})
	require.NoError(t, err)
	defer other.Close()
	require.NoError(t, other.Start(expect.Context(t)))
	ask := func(n *nodes.Node, reversed string) {
		box := cluster.Mailbox(t, n, nil)
		ref, err := n.NewRef()
		require.NoError(t, err)
		require.NoError(t, box.SendName(expect.Context(t), "shop@host", "rex", ei.Tuple{ei.Atom("$gen_call"),
			ei.Tuple{u.leader.Pid(), ref}, ei.Tuple{ei.Atom("call"), ei.Atom("edlin_expand"), ei.Atom("expand"),
				ei.List{ei.String(reversed), ei.List{}}, ei.Atom("user")}}))
	}
	ask(other, "1 lles")
	_, err = other.RPC(expect.Context(t), "shop@host", "code", "ensure_loaded", ei.Atom("x")) // behind it
	require.NoError(t, err)
	require.Eventually(t, func() bool { return u.shop.Stats().Calls == 0 }, 10*time.Second, time.Millisecond)
	ask(u.leader.Node(), "2 lles")
	require.Equal(t, "2", expect.Returns(t, completed))
}

func TestNames(t *testing.T) {
	n, err := nodes.New(nodes.Config{Name: "shop@host", Cookie: "secret"})
	require.NoError(t, err)
	defer n.Close()
	for _, name := range []string{"", "Quote", "a b", "é", "9"} {
		require.Error(t, console.Serve(n, &console.Options{Commands: []console.Command{{Name: name, Func: func() {}}}}), name)
	}
	require.Panics(t, func() { _ = console.Serve(n, &console.Options{Commands: []console.Command{{Name: "x", Func: 1}}}) })
}

// A node that opens sessions without end gets some: their terminals may never answer.
func TestTooManySessions(t *testing.T) {
	u := open(t, nil)
	ops, ctx := u.leader.Node(), expect.Context(t)
	mute := cluster.Mailbox(t, ops, &nodes.MailboxOptions{TrapExit: true})
	opened := 1
	var err error
	for ; opened < 1000; opened++ {
		if _, err = ops.RPC(nodes.WithGroupLeader(ctx, mute.Pid()), "shop@host", "shell", "start"); err != nil {
			break
		}
	}
	require.ErrorContains(t, err, "the session has ended")
	require.Equal(t, 100, opened)
	require.NoError(t, mute.Close())
	require.Eventually(t, func() bool {
		_, err := ops.RPC(nodes.WithGroupLeader(ctx, u.leader.Pid()), "shop@host", "shell", "start")
		return err == nil
	}, time.Minute, time.Millisecond)
}
