package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/internal/test/pty"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/console"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/nodes/groupleader"
	"github.com/cnode-go/cnode/nodes/observer"
)

func start(t testing.TB, name string, port int, o console.Options, rules ...nodes.Rule) *nodes.Node {
	t.Helper()
	o.Level = new(slog.LevelVar)
	o.Log = console.NewLog(otp.Log(t, name).Handler())
	cfg := gonode.Config(t, name, port)
	cfg.Logger, cfg.Visible, cfg.Rules = slog.New(o.Log), true, rules
	cfg.Setup = func(n *nodes.Node) error { return console.Serve(n, &o) }
	n := gonode.Start(t, cfg)
	_, err := n.Serve("till", nodes.Server{Call: func(_ context.Context, c *nodes.Call) (any, error) { return c.Request, nil }}, nil)
	require.NoError(t, err)
	return n
}

// environment is what a shell in a terminal needs.
func environment(t testing.TB, port int) []string {
	return append(pty.Environment(t), "ERL_EPMD_PORT="+strconv.Itoa(port), "HOME="+t.TempDir(), "LANG=C.UTF-8", "PATH="+os.Getenv("PATH"))
}

// remsh runs erl -remsh.
func remsh(t testing.TB, r otp.Release, port int, node string) *pty.Terminal {
	return erl(t, r, port, "-remsh", node)
}

func erl(t testing.TB, r otp.Release, port int, args ...string) *pty.Terminal {
	cmd := exec.Command(r.Erl, append(args, "-name", "ops"+r.String()+"@127.0.0.1", "-setcookie", otp.DefaultCookie, "-hidden",
		"-start_epmd", "false", "-kernel", "inet_dist_use_interface", "{127,0,0,1}")...)
	cmd.Env = environment(t, port)
	return pty.Start(t, cmd)
}

// iex runs iex --remsh.
func iex(t testing.TB, e otp.Elixir, port int, node string) *pty.Terminal {
	cmd := exec.Command(filepath.Join(filepath.Dir(e.Program), "iex"), "--name", "ops@127.0.0.1", "--cookie", otp.DefaultCookie, "--hidden",
		"--erl", "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}", "--remsh", node)
	cmd.Env = environment(t, port)
	return pty.Start(t, cmd)
}

type price struct {
	SKU   string
	Price int
}

func quote(sku string, qty int) price { return price{sku, 2 * qty} }

var commands = []console.Command{
	{Name: "quote", Args: "SKU QUANTITY", Help: "the price of an order", Func: quote},
	{Name: "echo", Func: func(t ei.Term) ei.Term { return t }},
	{Name: "sleep", Func: func(ctx context.Context) error {
		fmt.Fprintln(groupleader.Of(ctx), "good night")
		<-ctx.Done()
		return ctx.Err()
	}},
	{Name: "greet", Func: func(ctx context.Context) (console.Text, error) {
		name, err := groupleader.Of(ctx).ReadLine("name? ")
		return console.Text("hello " + name), err
	}},
}

func ended(t testing.TB, term *pty.Terminal) {
	t.Helper()
	select {
	case <-term.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("the shell has not ended")
	}
}

// interrupt has the shell's menu interrupt what runs, and comes back.
func interrupt(t testing.TB, term *pty.Terminal) {
	t.Helper()
	for _, keys := range []string{"\x07", "i\r"} { // ^G
		term.Type(t, keys)
		term.Expect(t, "-->")
	}
	term.Type(t, "c\r")
}

func TestRemsh(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		n := start(t, "go"+r.String()+"@127.0.0.1", port, console.Options{Commands: commands})
		prompt := n.Name() + "> "
		term := remsh(t, r, port, n.Name())
		term.Expect(t, prompt)
		term.Type(t, "help\r")
		term.Expect(t, "connections", "quote SKU QUANTITY", "the price", prompt)
		term.Type(t, "quo\t")
		term.Expect(t, "quote ")
		term.Type(t, "\"a 1\" 3\r")
		term.Expect(t, `#{price => 6,sku => <<"a 1">>}`, prompt)
		term.Type(t, "quote(abc, x).\r")
		term.Expect(t, "** quote: argument 2", prompt)
		term.Type(t, "echo {a,[1,\"x\"],<<\"b c\">>,#{k => 'V'},$\\s}\r")
		term.Expect(t, `{a,[1,"x"],<<"b c">>,#{k => 'V'},32}`, prompt)
		term.Type(t, "processes\r")
		term.Expect(t, "till", prompt)
		term.Type(t, "process ti\t\r")
		term.Expect(t, "process till", "server", prompt)
		term.Type(t, "pro\t\t")
		term.Expect(t, "processes")
		term.Type(t, "\x15connections\r") // ^U clears the line
		term.Expect(t, "opsotp", "hidden", "127.0.0.1", prompt)

		term.Resize(t, 50, 6)
		term.Type(t, "processes\r")
		text := term.Expect(t, "PID", "3 of 4", prompt)
		for line := range strings.Lines(text) {
			require.LessOrEqual(t, len(strings.TrimSpace(line)), 50, text)
		}
		require.Contains(t, text, "...\n")
		term.Resize(t, 100, 30)

		term.Type(t, "sleep\r")
		term.Expect(t, "good night")
		interrupt(t, term)
		term.Expect(t, "** interrupted", prompt)
		term.Type(t, "greet\r")
		term.Expect(t, "name? ")
		term.Type(t, "Joe\r")
		term.Expect(t, "hello Joe", prompt)
		interrupt(t, term) // at the prompt
		term.Expect(t, "\n** interrupted\n"+prompt)

		term.Type(t, "trace till\r")
		term.Expect(t, "on", prompt)
		_, err := nodes.CallNameAs[ei.Term](expect.Context(t), n, n.Name(), "till", ei.Atom("hello"))
		require.NoError(t, err)
		term.Expect(t, "message in", "hello")
		term.Type(t, "trace off\r")
		term.Expect(t, "off", prompt)
		term.Type(t, "level debug\r")
		term.Expect(t, "debug", prompt)
		term.Type(t, "quit\r")
		ended(t, term)
	})
}

// Up brings back what was typed.
func TestHistory(t *testing.T) {
	typed := func(t *testing.T, term *pty.Terminal, prompt string) {
		term.Expect(t, prompt)
		term.Type(t, "greet\r")
		term.Expect(t, "name? ")
		term.Type(t, "Joe\r")
		term.Expect(t, "hello Joe", prompt)
		for _, value := range []string{"111", "[222]", "", "333"} {
			if value == "" {
				term.Type(t, "\r")
			} else {
				term.Type(t, "echo "+value+"\r")
				value = "\n" + value
			}
			term.Expect(t, value+"\n"+prompt)
		}
		term.Type(t, "\x1b[A") // Up
		term.Expect(t, "echo 333")
		term.Type(t, "\x1b[A")
		term.Expect(t, "echo [222]")
		term.Type(t, "\r")
		term.Expect(t, "\n[222]\n"+prompt)
	}
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		n := start(t, "go@127.0.0.1", port, console.Options{Commands: commands})
		typed(t, remsh(t, r, port, n.Name()), n.Name()+"> ")
	})
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		port := otp.Releases(t)[0].Epmd(t)
		n := start(t, "go@127.0.0.1", port, console.Options{Commands: commands})
		typed(t, iex(t, e, port, n.Name()), n.Name()+"> ")
	})
}

// expose exposes a shop, whose functions print, wait and fail, too.
func expose(t testing.TB, n *nodes.Node) (gone chan struct{}) {
	gone = make(chan struct{})
	for _, module := range []string{"shop", "Elixir.Till"} {
		n.Expose(module, "quote", nodes.FuncOf(quote))
		n.Expose(module, "fails", nodes.FuncOf(func() error { return errors.New("sold out") }))
		n.Expose(module, "prints", nodes.FuncOf(func(ctx context.Context) error {
			_, err := fmt.Fprintln(groupleader.Of(ctx), "from the shop")
			return err
		}))
		n.Expose(module, "waits", nodes.FuncOf(func(ctx context.Context) {
			fmt.Fprintln(groupleader.Of(ctx), "it waits")
			<-ctx.Done()
			close(gone)
		}))
	}
	_, err := n.Serve("orders", nodes.Server{
		Call:  func(_ context.Context, c *nodes.Call) (any, error) { return ei.T("got", c.Request), nil },
		State: func() any { return map[ei.Atom]int{"open": 7} },
	}, nil)
	require.NoError(t, err)
	_, err = n.Handle("audit", func(_ *nodes.Mailbox, m *nodes.Message) { m.Release() }, nil)
	require.NoError(t, err)
	return gone
}

// A line that is typed, and what is on the screen before the next prompt.
type typed struct{ line, want string }

func dialogue(t *testing.T, term *pty.Terminal, prompt string, gone chan struct{}, lines []typed) {
	term.Expect(t, prompt)
	for _, l := range lines {
		term.Type(t, l.line+"\r")
		term.Expect(t, "\n"+l.want, "\n"+prompt)
	}
	wait := map[bool]string{true: ":shop.waits()", false: "shop:waits()."}[strings.HasPrefix(lines[0].line, ":")]
	term.Type(t, wait+"\r")
	term.Expect(t, "it waits")
	interrupt(t, term)
	term.Expect(t, "** interrupted", prompt)
	expect.Returns(t, gone)
}

// What a person types first.
func TestFirstWords(t *testing.T) {
	erlang := []typed{
		{`shop:quote(<<"A">>, 2).`, `#{price => 4,sku => <<"A">>}`},
		{`shop:qoute(<<"A">>, 2).`, "** there is no function shop:qoute/2; did you mean shop:quote/2?"},
		{`shop:quote(<<"A">>).`, "** there is no function shop:quote/1; did you mean shop:quote/2?"},
		{`shop:quote(<<"A">>, b).`, "** shop:quote/2: badarg, argument 2: ei: atom b where an integer is due"},
		{"quoet a 2", "** there is no command quoet; did you mean quote?"},
		{"fails().", "** there is no command fails; did you mean 'Elixir.Till':fails?"},
		{"waits(1).", "** there is no command waits; did you mean 'Elixir.Till':waits?"},
		{"shop:fails().", "** shop:fails/0: sold out"},
		{"shop:prints().", "from the shop"},
		{"lists:sort([2,1]).", "** there is no function lists:sort/1"},
		{"nodes().", "[]"},
		{"nodes(hidden).", "['opsREL@127.0.0.1']"},
		{"i().", "PID"},
		{"regs().", "NAME"},
		{"whereis(orders).", "<0."},
		{"whereis(nobody).", "undefined"},
		{"h", "connections"},
		{"?", "connections"},
		{"status", "name "},
		{"erlang:memory().", "/memory/classes"},
		{"erlang:nodes().", "[]"},
		{"sys:get_state(orders).", "#{open => 7}"},
		{"sys:get_state(order).", "** no process has the name order; did you mean orders?"},
		{"sys:get_state(audit).", "** sys:get_state/1: this process is a handler, and does not answer module sys: only servers do"},
		{"gen_server:call(orders, hello).", "{got,hello}"},
		{"process order", "** process: no process has the name order; did you mean orders?"},
	}
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		n := start(t, "go@127.0.0.1", port, console.Options{Commands: commands})
		gone := expose(t, n)
		lines := slices.Clone(erlang)
		for i := range lines {
			lines[i].want = strings.ReplaceAll(lines[i].want, "REL", r.String())
		}
		if r.Number < 26 { // its module sys does not take the answer apart
			lines[slices.Index(lines, typed{"sys:get_state(orders).", "#{open => 7}"})].want = "{ok,#{open => 7}}"
		}
		dialogue(t, remsh(t, r, port, n.Name()), n.Name()+"> ", gone, lines)
	})
	elixir := []typed{
		{`:shop.quote("A", 2)`, `%{price: 4, sku: "A"}`},
		{`Till.quote "A", 2`, `%{price: 4, sku: "A"}`},
		{`Shop.quote("A", 2)`, "** there is no function Shop.quote/2; did you mean :shop.quote/2?"},
		{`:shop.qoute("A", 2)`, "** there is no function :shop.qoute/2; did you mean :shop.quote/2?"},
		{`Shop.quote("A")`, "** there is no function Shop.quote/1; did you mean :shop.quote/2?"},
		{`Till.quote("A", :b)`, "** Till.quote/2: :badarg, argument 2: ei: atom b where an integer is due"},
		{"Till.prints()", "from the shop"},
		{"Node.list()", "[]"},
		{"Node.list(:hidden)", `[:"ops@127.0.0.1"]`},
		{"Process.whereis(:orders)", "#PID<0."},
		{"whereis(:nobody)", "nil"},
		{"i", "PID"},
		{"regs", "NAME"},
		{"h", "connections"},
		{":erlang.memory()", "/memory/classes"},
		{"GenServer.call(:orders, :hello)", "{:got, :hello}"},
	}
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		port := otp.Releases(t)[0].Epmd(t)
		n := start(t, "go@127.0.0.1", port, console.Options{Commands: commands})
		gone := expose(t, n)
		dialogue(t, iex(t, e, port, n.Name()), n.Name()+"> ", gone, elixir)
	})
}

// A call is the peer's: what that may not call, or send to, is refused here, too.
func TestCallsByRules(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		rules := append(console.Rules("ops*@*"), nodes.Rule{Permission: nodes.MayCall, Target: "shop:quote/2", Allow: true})
		n := start(t, "go@127.0.0.1", port, console.Options{}, append(rules, nodes.Rule{})...)
		expose(t, n)
		term, prompt := remsh(t, r, port, n.Name()), n.Name()+"> "
		term.Expect(t, prompt)
		for _, l := range []typed{
			{`shop:quote(<<"A">>, 2).`, `#{price => 4,sku => <<"A">>}`},
			{"shop:fails().", "** shop:fails/0: refused by Config.Rules"},
			{"sys:get_state(orders).", "** sys:get_state/1: exit: {noproc,"},
			{"observer_backend:procs_info(<0.1.0>).", "** observer_backend:procs_info/1: refused by Config.Rules"},
		} {
			term.Type(t, l.line+"\r")
			term.Expect(t, "\n"+l.want, "\n"+prompt)
		}
	})
}

// ^C interrupts where erl leaves it to the shell (+Bc); ^D at the prompt does nothing there.
func TestControlC(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		n := start(t, "go@127.0.0.1", port, console.Options{Commands: commands})
		term := erl(t, r, port, "+Bc", "-remsh", n.Name())
		term.Expect(t, n.Name()+"> ")
		term.Type(t, "sleep\r")
		term.Expect(t, "good night")
		term.Type(t, "\x03")
		term.Expect(t, "** interrupted", n.Name()+"> ")
		term.Type(t, "\x04")
		term.Type(t, "echo 1.5\r")
		term.Expect(t, "\n1.5", n.Name()+"> ")
	})
}

// Package observer answers some of what shells ask, too: whichever was started first.
func TestWithObserver(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		n := start(t, "go@127.0.0.1", port, console.Options{})
		expose(t, n)
		for _, again := range []func() error{
			func() error { return observer.Serve(n, &observer.Options{Application: "shop"}) },
			func() error { return console.Serve(n, nil) },
		} {
			require.NoError(t, again())
			term := remsh(t, r, port, n.Name())
			if r.Number > 25 { // the banner
				term.Expect(t, "shop")
			}
			term.Expect(t, n.Name()+"> ")
			term.Type(t, "nod\t\r")
			term.Expect(t, "state        running", n.Name()+"> ")
			for _, l := range []typed{
				{"init:stop().", "** init:stop/0: refused, since observer.Options.Stop is not set"},
				{"erlang:wheris().", "** there is no function erlang:wheris/0; did you mean erlang:whereis/1?"},
				{"sys:get_state(audit).", "** sys:get_state/1: this process is a handler"},
			} {
				term.Type(t, l.line+"\r")
				term.Expect(t, "\n"+l.want, n.Name()+"> ")
			}
			term.Type(t, "quit\r")
			ended(t, term)
		}
	})
}

// A console may be a job of a node that has other things to do, and which leaving it does not end.
func TestJob(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		n := start(t, "go@127.0.0.1", port, console.Options{Commands: commands})
		term := erl(t, r, port)
		term.Expect(t, "1> ")
		term.Type(t, "\x07")
		term.Expect(t, "-->")
		term.Type(t, "r '"+n.Name()+"'\r")
		term.Expect(t, "-->")
		term.Type(t, "c\r")
		term.Expect(t, n.Name()+"> ")
		term.Type(t, "quo\t")
		term.Expect(t, "quote ")
		term.Type(t, "a 1\r")
		term.Expect(t, "price => 2", n.Name()+"> ")
		term.Type(t, "quit\r")
		term.Expect(t, "*** Shell process terminated! (^G to start new job) ***")
		term.Type(t, "\x07")
		term.Expect(t, "-->")
		term.Type(t, "c 1\r")
		term.Expect(t, "c 1") // OTP 25 does not print the prompt again
		term.Type(t, "{alive, 1 + 1}.\r")
		term.Expect(t, "{alive,2}")
	})
}

func TestIEx(t *testing.T) {
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		port := otp.Releases(t)[0].Epmd(t)
		n := start(t, "go@127.0.0.1", port, console.Options{Commands: commands}, append(console.Rules("ops@*"), nodes.Rule{})...)
		prompt := n.Name() + "> "
		term := iex(t, e, port, n.Name())
		term.Expect(t, prompt)
		term.Type(t, "quo\t")
		term.Expect(t, "quote ")
		term.Type(t, "\"a 1\", 3\r")
		term.Expect(t, `%{price: 6, sku: "a 1"}`, prompt)
		term.Type(t, "echo {:a, [k: 1], Shop.Order, nil}\r")
		term.Expect(t, `{:a, [k: 1], Shop.Order, nil}`, prompt)
		term.Type(t, "process ti\t\r")
		term.Expect(t, "process till", "server", prompt)
		term.Type(t, "quit\r")
		ended(t, term)
	})
}

// session is the process of the only session.
func session(t testing.TB, n *nodes.Node) *nodes.Mailbox {
	t.Helper()
	for p := range n.Processes() {
		for _, name := range p.Names {
			if b := n.Whereis(string(name)); strings.HasPrefix(string(name), "console.") && b != nil {
				return b
			}
		}
	}
	t.Fatal("there is no session")
	return nil
}

// A terminal that goes away, however it does, takes its session with it.
func TestVanishedTerminal(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		n := start(t, "go@127.0.0.1", port, console.Options{Commands: commands})
		for name, vanish := range map[string]func(*pty.Terminal){
			"killed": (*pty.Terminal).Kill, "hung up": (*pty.Terminal).Hangup,
			"menu": func(term *pty.Terminal) {
				term.Type(t, "\x07")
				term.Expect(t, "-->")
				term.Type(t, "q\r")
			},
		} {
			term := remsh(t, r, port, n.Name())
			term.Expect(t, n.Name()+"> ")
			term.Type(t, "sleep\r")
			term.Expect(t, "good night")
			t.Log(name)
			session := session(t, n)
			vanish(term)
			expect.Returns(t, session.Done())
		}
	})
}

// Rules bound who has a console, and which commands.
func TestRules(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		rules := append([]nodes.Rule{{Permission: nodes.MayCall, Target: "console:drain/0"}}, console.Rules("ops*@*")...)
		n := start(t, "go@127.0.0.1", port, console.Options{Commands: commands}, append(rules, nodes.Rule{})...)
		prompt := n.Name() + "> "
		term := remsh(t, r, port, n.Name())
		term.Expect(t, prompt)
		term.Type(t, "drain\r")
		term.Expect(t, "** drain: refused by Config.Rules", prompt)
		term.Type(t, "rules\r")
		term.Expect(t, "refuse  *", "console:drain/0", "allow   ops*@*", "shell:start", prompt)
		term.Type(t, "quo\t")
		term.Expect(t, "quote ")
		term.Type(t, "a 1\r")
		term.Expect(t, "price => 2", prompt)
		term.Type(t, "sleep\r")
		term.Expect(t, "good night")
		interrupt(t, term)
		term.Expect(t, "** interrupted", prompt)
		require.Zero(t, n.Stats().Denied)

		stranger := r.Start(t, otp.Options{EpmdPort: port})
		require.Contains(t, stranger.Eval(t, "erpc:call('"+n.Name()+"', shell, start, [])"), "eacces")
		require.Contains(t, stranger.Eval(t, "erpc:call('"+n.Name()+"', console, session, [self(), false, now])"), "eacces")
	})
}

// A node goes on draining; an upgrade that succeeds ends it, and with it the session.
func TestDrainAndUpgrade(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		var n *nodes.Node
		n = start(t, "go@127.0.0.1", port, console.Options{Upgrade: func(ctx context.Context) error { return n.Shutdown(ctx) }})
		term := remsh(t, r, port, n.Name())
		term.Expect(t, n.Name()+"> ")
		term.Type(t, "drain\r")
		term.Expect(t, n.Name()+" (draining)> ")
		require.Equal(t, nodes.StateDraining, n.State())
		term.Type(t, "upgrade\r")
		term.Expect(t, "the upgrade begins", "*** Shell process terminated! (^G to start new job) ***")
		<-n.Done()
	})
}

// A session does not hold up a move of its node: it ends.
func TestMove(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		n := start(t, "go@127.0.0.1", port, console.Options{Commands: commands})
		term := remsh(t, r, port, n.Name())
		term.Expect(t, n.Name()+"> ")
		term.Type(t, "sleep\r")
		term.Expect(t, "good night")
		begun := time.Now()
		frozen, err := n.Freeze(expect.Context(t))
		require.NoError(t, err)
		require.Less(t, time.Since(begun), 5*time.Second) // Config.DrainTimeout
		frozen.Thaw()
		term.Expect(t, "*** Shell process terminated!")
		term.Type(t, "\x07")
		term.Expect(t, "-->")
		term.Type(t, "r '"+n.Name()+"'\r")
		term.Expect(t, "-->")
		term.Type(t, "c\r")
		term.Expect(t, n.Name()+"> ")
	})
}

// An upgrade from the console replaces the program: the session ends, the connection does not, and
// the next session is one of the new program.
func TestUpgrade(t *testing.T) {
	program := filepath.Join(t.TempDir(), "operated")
	out, err := exec.Command("go", "build", "-C", "../../../examples/operated", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	otp.Each(t, func(t *testing.T, r otp.Release) {
		home, mapper, name := t.TempDir(), r.Epmd(t), "operated@127.0.0.1"
		require.NoError(t, os.WriteFile(filepath.Join(home, ".erlang.cookie"), []byte(otp.DefaultCookie), 0o400))
		log, err := os.Create(filepath.Join(home, "log"))
		require.NoError(t, err)
		defer log.Close()
		cmd := exec.Command(program, "--name", name, "--http", "127.0.0.1:"+strconv.Itoa(port.Free(t)))
		cmd.Env = append(os.Environ(), "HOME="+home, "ERL_EPMD_PORT="+strconv.Itoa(mapper))
		cmd.Stderr = log
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		require.NoError(t, cmd.Start())
		defer func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); _ = cmd.Wait() }()
		client := epmd.Client{Addr: "127.0.0.1:" + strconv.Itoa(mapper)}
		require.Eventually(t, func() bool { _, err := client.Resolve(t.Context(), "127.0.0.1", "operated"); return err == nil },
			expect.Limit, 20*time.Millisecond)

		term := remsh(t, r, mapper, name)
		term.Expect(t, name+"> ")
		term.Type(t, "upgrade\r")
		term.Expect(t, "the upgrade begins", "*** Shell process terminated!")
		require.NoError(t, cmd.Wait(), "the first process ends well")
		term.Type(t, "\x07")
		term.Expect(t, "-->")
		term.Type(t, "r '"+name+"'\r")
		term.Expect(t, "-->")
		term.Type(t, "c\r")
		term.Expect(t, name+"> ")
		term.Type(t, "connections\r")
		term.Expect(t, "opsotp", name+"> ")
	})
}

// The remote command of a release made by mix.
func TestRelease(t *testing.T) {
	otp.Elixirs(t, remoteOfRelease)
}

func remoteOfRelease(t *testing.T, e otp.Elixir) {
	bash, port := filepath.Join(filepath.Dir(e.Program), "bash"), otp.Releases(t)[0].Epmd(t)
	n := start(t, "shop@127.0.0.1", port, console.Options{Commands: commands})
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "mix.exs"), []byte(`defmodule Shop.MixProject do
		use Mix.Project
		def project, do: [app: :shop, version: "1.0.0", releases: [shop: [include_erts: false]]]
		def application, do: []
	end`), 0o600))
	mix := exec.Command(bash, "-c", "cd "+dir+" && mix release --quiet")
	mix.Env = append(environment(t, port), "MIX_ENV=prod")
	out, err := mix.CombinedOutput()
	require.NoError(t, err, string(out))

	cmd := exec.Command(bash, "-c", "exec "+dir+"/_build/prod/rel/shop/bin/shop remote")
	cmd.Env = append(environment(t, port), "RELEASE_DISTRIBUTION=name", "RELEASE_NODE="+n.Name(), "RELEASE_COOKIE="+otp.DefaultCookie,
		"ERL_FLAGS=-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}")
	term := pty.Start(t, cmd)
	term.Expect(t, n.Name()+"> ")
	term.Type(t, "quo\t")
	term.Expect(t, "quote ")
	term.Type(t, "\"a 1\", 3\r")
	term.Expect(t, `%{price: 6, sku: "a 1"}`, n.Name()+"> ")
	term.Type(t, "quit\r")
	ended(t, term)
}
