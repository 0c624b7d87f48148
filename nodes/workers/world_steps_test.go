package workers

import (
	"context"
	"testing"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// The steps of most scenes, which must succeed.

// box makes a mailbox.
func box(t testing.TB, n *nodes.Node, o ...*nodes.MailboxOptions) *nodes.Mailbox {
	t.Helper()
	return of(n.NewMailbox(append(o, nil)[0])).must(t)
}

func trapping(t testing.TB, n *nodes.Node) *nodes.Mailbox {
	t.Helper()
	return box(t, n, &nodes.MailboxOptions{TrapExit: true})
}

func serve(t testing.TB, n *nodes.Node, name string, s nodes.Server, o ...*nodes.MailboxOptions) *nodes.Mailbox {
	t.Helper()
	return of(n.Serve(name, s, append(o, nil)[0])).must(t)
}

// receive takes the next message of a mailbox or, on the lower level, of a connection.
func receive(t testing.TB, from interface {
	Receive(ctx context.Context) (*nodes.Message, error)
},
) *nodes.Message {
	t.Helper()
	return of(from.Receive(soon(t))).must(t)
}

// content decodes a message's term.
func content(t testing.TB, m *nodes.Message) ei.Term {
	t.Helper()
	return of(m.Term()).must(t)
}

// term receives a message's term.
func term(t testing.TB, b *nodes.Mailbox) ei.Term {
	t.Helper()
	return content(t, receive(t, b))
}

func encode(t testing.TB, term ei.Term) ei.Raw {
	t.Helper()
	return of(ei.AppendTerm(nil, term)).must(t)
}

func decode(t testing.TB, raw ei.Raw) ei.Term {
	t.Helper()
	return of(raw.Decode()).must(t)
}

func handle(t testing.TB, n *nodes.Node, name string, h nodes.Handler) *nodes.Mailbox {
	t.Helper()
	return of(n.Handle(name, h, nil)).must(t)
}

func connect(t testing.TB, n *nodes.Node, peer string) *nodes.Conn {
	t.Helper()
	return of(n.Connect(soon(t), peer)).must(t)
}

func monitor(t testing.TB, b *nodes.Mailbox, pid ei.Pid) ei.Ref {
	t.Helper()
	return of(b.Monitor(soon(t), pid)).must(t)
}

// freeze freezes a node or a front.
func freeze[F any](t testing.TB, what interface {
	Freeze(ctx context.Context) (F, error)
},
) F {
	t.Helper()
	return of(what.Freeze(soon(t))).must(t)
}

func restore(t testing.TB, cfg Config, e *Frozen) *Staged {
	t.Helper()
	return of(Restore(cfg, e.State(), duplicates(t, e.Descriptors()))).must(t)
}
