package processes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/groupleader"
	"github.com/stretchr/testify/require"
)

// limit is for what takes milliseconds, unless something is broken.
const limit = 2 * time.Minute

const tick = 5 * time.Millisecond

// startNode starts a node of Go with the functions below.
func startNode(t testing.TB, name string, port int, edit ...func(*nodes.Config)) *nodes.Node {
	t.Helper()
	cfg := gonode.Config(t, name, port)
	cfg.Setup = func(n *nodes.Node) error { expose(n); return nil }
	for _, f := range edit {
		f(&cfg)
	}
	return gonode.Start(t, cfg)
}

// A meeting is an Erlang node and one of Go.
type meeting struct {
	erl *otp.Node
	n   *nodes.Node
}

// What functions are to one Erlang node, which all of it has, one after the other.
func TestFunctionIsAProcess(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl := r.Start(t, otp.Options{EpmdPort: port})
		for _, x := range []struct {
			name string
			talk func(t *testing.T, m *meeting)
		}{
			{"a process", functionIsAProcess}, {"links and traps", linksAndTraps}, {"many", manyFunctions}, {"a freeze", freezeWhileFunctionsRun},
			{"prints to the caller", printsToTheCaller}, {"reads from a device", readsFromADevice},
			{"Erlang prints", erlangPrintsToGo}, {"Erlang reads", erlangReadsFromGo},
		} {
			t.Run(x.name, func(t *testing.T) {
				erl.Anew(t)
				x.talk(t, &meeting{erl, startNode(t, "go@127.0.0.1", port)})
			})
		}
	})
}

// is evaluates an expression in which N is the Go node's name.
func (m *meeting) is(t testing.TB, want, expr string) {
	t.Helper()
	require.Equal(t, want, m.erl.Eval(t, fmt.Sprintf("N = '%s', %s", m.n.Name(), expr)), expr)
}

// isIdle waits until no function runs.
func (m *meeting) isIdle(t testing.TB, mailboxes int) {
	t.Helper()
	require.Eventually(t, func() bool { return m.n.Stats().Mailboxes == mailboxes }, limit, tick)
	require.Zero(t, m.n.Stats().Overflow)
}

// own are the mailboxes of a node without any of the program's: net_kernel and rex.
const own = 2

func expose(n *nodes.Node) {
	// who() is {Pid, Caller, GroupLeader}.
	n.Expose("p", "who", nodes.FuncOf(func(ctx context.Context) ei.Tuple {
		return ei.Tuple{nodes.MailboxOf(ctx).Pid(), nodes.CallerOf(ctx), nodes.GroupLeaderOf(ctx)}
	}))
	// tell(To) sends To the same.
	n.Expose("p", "tell", nodes.FuncOf(func(ctx context.Context, to ei.Pid) error {
		self := nodes.MailboxOf(ctx)
		return self.Send(ctx, to, ei.Tuple{self.Pid(), nodes.CallerOf(ctx), nodes.GroupLeaderOf(ctx)})
	}))
	n.Expose("p", "converse", nodes.FuncOf(converse))
	n.Expose("p", "print", nodes.FuncOf(func(ctx context.Context, text string) error {
		_, err := io.WriteString(groupleader.Of(ctx), text)
		return err
	}))
	// ask(Prompt) is the line that somebody has answered with.
	n.Expose("p", "ask", nodes.FuncOf(func(ctx context.Context, prompt string) (any, error) {
		line, err := groupleader.Of(ctx).ReadLine(prompt)
		if errors.Is(err, io.EOF) {
			return ei.Atom("eof"), nil
		}
		return line, err
	}))
	n.Expose("p", "chars", nodes.FuncOf(func(ctx context.Context, n int) (string, error) {
		return groupleader.Of(ctx).ReadChars("", n)
	}))
	n.Expose("p", "columns", nodes.FuncOf(func(ctx context.Context) (any, error) {
		columns, err := groupleader.Of(ctx).Columns()
		if errors.Is(err, errors.ErrUnsupported) {
			return ei.Atom("enotsup"), nil
		}
		return columns, err
	}))
	n.Expose("p", "options", nodes.FuncOf(func(ctx context.Context, options []ei.Term) (ei.Term, error) {
		d := groupleader.Of(ctx)
		if err := d.SetOptions(options...); err != nil {
			return nil, err
		}
		return d.Options()
	}))
}

// converse answers messages as a process of Erlang might: {From, T} with {Pid, T}, and
//
//	{trap, Bool}     traps exits, or not
//	{link, Pid}      links
//	{monitor, Pid}   monitors
//	{name, Name}     has a name
//	{exit, Reason}   ends
//	{tell, Pid}      tells Pid of the exit signals and DOWNs from here on, {Pid, exit | down, From, Reason}
func converse(ctx context.Context) error {
	self, told := nodes.MailboxOf(ctx), ei.Pid{}
	for {
		m, err := self.Receive(ctx)
		if err != nil {
			return err
		}
		if m.Op == dist.OpExit || m.Op == dist.OpMonitorPExit {
			kind := ei.Atom("exit")
			if m.Op == dist.OpMonitorPExit {
				kind = "down"
			}
			reason, err := m.Reason.Decode()
			if err != nil {
				return err
			}
			if err := self.Send(ctx, told, ei.Tuple{self.Pid(), kind, m.From, reason}); err != nil {
				return err
			}
			continue
		}
		t, err := m.Term()
		if err != nil {
			return err
		}
		request, ok := t.(ei.Tuple)
		if !ok || len(request) != 2 {
			return fmt.Errorf("what is %v?", t)
		}
		if to, ok := request[0].(ei.Pid); ok {
			if err := self.Send(ctx, to, ei.Tuple{self.Pid(), request[1]}); err != nil {
				return err
			}
			continue
		}
		switch request[0] {
		case ei.Atom("trap"):
			self.TrapExit(request[1] == ei.Atom("true"))
		case ei.Atom("link"):
			err = self.Link(ctx, request[1].(ei.Pid))
		case ei.Atom("monitor"):
			_, err = self.Monitor(ctx, request[1].(ei.Pid))
		case ei.Atom("name"):
			err = self.Node().Register(ctx, string(request[1].(ei.Atom)), self)
		case ei.Atom("tell"):
			told = request[1].(ei.Pid)
		case ei.Atom("exit"):
			return &nodes.Raise{Class: nodes.ClassExit, Reason: request[1]}
		}
		if err != nil {
			return err
		}
	}
}

// A page is where a device of Go prints.
type page struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

// take is what has been printed since the last time.
func (p *page) take() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.text.Reset()
	return p.text.String()
}
