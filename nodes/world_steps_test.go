package nodes

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/transport"
)

// The steps of most scenes, which must succeed.

// box makes a mailbox.
func box(t testing.TB, n *Node, o ...*MailboxOptions) *Mailbox {
	t.Helper()
	return of(n.NewMailbox(append(o, nil)[0])).must(t)
}

func trapping(t testing.TB, n *Node) *Mailbox {
	t.Helper()
	return box(t, n, &MailboxOptions{TrapExit: true})
}

// registered makes a mailbox that is registered.
func registered(t testing.TB, n *Node, name string, o ...*MailboxOptions) *Mailbox {
	t.Helper()
	b := box(t, n, o...)
	require.NoError(t, n.Register(soon(t), name, b))
	return b
}

func serve(t testing.TB, n *Node, name string, s Server, o ...*MailboxOptions) *Mailbox {
	t.Helper()
	return of(n.Serve(name, s, append(o, nil)[0])).must(t)
}

func handle(t testing.TB, n *Node, name string, h Handler, o ...*MailboxOptions) *Mailbox {
	t.Helper()
	return of(n.Handle(name, h, append(o, nil)[0])).must(t)
}

func connect(t testing.TB, n *Node, peer string) *Conn {
	t.Helper()
	return of(n.Connect(soon(t), peer)).must(t)
}

func listen(t testing.TB, n *Node, at transport.Addr) *Listener {
	t.Helper()
	return of(n.Listen(soon(t), at)).must(t)
}

func monitor(t testing.TB, b *Mailbox, pid ei.Pid) ei.Ref {
	t.Helper()
	return of(b.Monitor(soon(t), pid)).must(t)
}

// A receiver is a mailbox or, on the lower level, a connection.
type receiver interface {
	Receive(ctx context.Context) (*Message, error)
}

func receive(t testing.TB, from receiver) *Message {
	t.Helper()
	return of(from.Receive(soon(t))).must(t)
}

// content decodes a message's term.
func content(t testing.TB, m *Message) ei.Term {
	t.Helper()
	return of(m.Term()).must(t)
}

// term receives a message's term.
func term(t testing.TB, from receiver) ei.Term {
	t.Helper()
	return content(t, receive(t, from))
}

func encode(t testing.TB, term ei.Term) ei.Raw {
	t.Helper()
	return of(ei.AppendTerm(nil, term)).must(t)
}

func decode(t testing.TB, raw ei.Raw) ei.Term {
	t.Helper()
	return of(raw.Decode()).must(t)
}

// exitOf is the reason with which a process has ended, by the error that says so.
func exitOf(t testing.TB, err error) ei.Term {
	t.Helper()
	var e *ExitError
	require.ErrorAs(t, err, &e)
	return e.Reason
}

// exposeHang exposes m:hang, which runs until its context ends. Each call of it is in the channel.
func exposeHang(n *Node) (running chan struct{}) {
	running = make(chan struct{}, 100)
	n.Expose("m", "hang", func(ctx context.Context, _ []ei.Term) (any, error) {
		running <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	})
	return running
}

// logsTo has a node write its log to r.
func logsTo(r *record) func(*Config) {
	return func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(r, nil)) }
}

// freeze freezes a node or a connection.
func freeze[F any](t testing.TB, what interface {
	Freeze(ctx context.Context) (F, error)
},
) F {
	t.Helper()
	return of(what.Freeze(soon(t))).must(t)
}
