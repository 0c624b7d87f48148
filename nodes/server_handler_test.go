package nodes

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

func TestHandler(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		got := make(chan ei.Term, 10_000)
		ops := make(chan dist.Op, 10)
		h := handle(t, there, "h", func(self *Mailbox, m *Message) {
			if m.Op != dist.OpSend && m.Op != dist.OpRegSend {
				ops <- m.Op
				return
			}
			if c, ok := self.CallOf(m); ok {
				if m.Conn() != nil {
					require.Equal(t, here.Name(), m.Conn().Name())
				}
				m.Release()
				_ = c.Reply(w.ctx(), ei.Tuple{ei.Atom("ok"), c.Request})
				return
			}
			v, err := m.Term()
			m.Release()
			switch {
			case err != nil:
				t.Error(err)
			case v == ei.Atom("panic"):
				panic("a bug")
			default:
				got <- v
			}
		}, &MailboxOptions{TrapExit: true})
		_, err := there.Handle("h", func(*Mailbox, *Message) {}, nil)
		require.ErrorIs(t, err, ErrNameTaken)

		b := box(t, here)
		for i := range 2000 { // in order
			if i%2 == 0 {
				require.NoError(t, b.Send(w.ctx(), h.Pid(), i))
			} else {
				require.NoError(t, b.SendName(w.ctx(), there.Name(), "h", i))
			}
		}
		for i := range 2000 {
			require.Equal(t, ei.Int(i), arrives(t, got, "a message"))
		}
		for i := range 10 {
			require.Equal(t, ei.Tuple{ei.Atom("ok"), ei.Int(i)}, of(here.CallName(w.ctx(), there.Name(), "h", i)).must(t))
		}
		deep := ei.Raw(strings.Repeat("h\x01", 20_000) + "j")
		v := of(here.CallName(w.ctx(), there.Name(), "h", deep)).must(t)
		require.True(t, ei.Identical(ei.Tuple{ei.Atom("ok"), deep}, v), "the answer came back, and is as deep")
		require.NoError(t, b.SendExit(w.ctx(), h.Pid(), "x"))
		require.Equal(t, dist.OpExit, arrives(t, ops, "the exit signal"))
		monitor(t, b, h.Pid())
		require.NoError(t, b.Send(w.ctx(), h.Pid(), ei.Atom("panic")))
		_, why := reason(t, b, dist.OpMonitorPExit)
		require.Equal(t, ei.Tuple{ei.Atom("go_panic"), ei.Binary("a bug")}, why)
		require.NoError(t, b.Send(w.ctx(), h.Pid(), "to nobody"))
		settle(t, b, box(t, there))
		require.Empty(t, got)
	})
}

// A Handler may close the connection, and the node, whatever message it gets: that a node is gone,
// or that a process here has ended because of something that came over the connection.
func TestHandlerCloses(t *testing.T) {
	t.Parallel() // it waits
	closes := map[string]func(*Conn) error{
		"connection": (*Conn).Close,
		"node":       func(c *Conn) error { return c.n.Close() },
	}
	told := map[string]func(t *testing.T, n *Node, p *wire, h *Mailbox){
		"nodedown": func(t *testing.T, _ *Node, p *wire, h *Mailbox) {
			require.NoError(t, h.MonitorNode(soon(t), "wire@test"))
			p.Close()
		},
		"link": func(t *testing.T, _ *Node, p *wire, h *Mailbox) {
			require.NoError(t, h.Link(soon(t), p.Self))
			p.Close()
		},
		"exit signal": func(t *testing.T, n *Node, p *wire, h *Mailbox) {
			b := box(t, n)
			monitor(t, h, b.Pid())
			p.Send(dist.Control{Op: dist.OpExit2, From: p.Self, To: b.Pid(), Reason: exitReason(ei.Atom("kill"))}, nil)
		},
		"exit of a Handler": func(t *testing.T, n *Node, p *wire, h *Mailbox) {
			b := handle(t, n, "panics", func(*Mailbox, *Message) { panic("a bug") })
			require.NoError(t, h.Link(soon(t), b.Pid()))
			p.Say("panics", ei.Atom("x"))
		},
		"full mailbox": func(t *testing.T, n *Node, p *wire, h *Mailbox) {
			b := registered(t, n, "small", &MailboxOptions{Limit: 1, Full: FullExit})
			require.NoError(t, h.Link(soon(t), b.Pid()))
			p.Say("small", ei.Atom("x"))
			p.Say("small", ei.Atom("y"))
		},
	}
	for what, closing := range closes {
		for why, tell := range told {
			t.Run(what+", "+why, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, "memory")
				n, p := w.met("alice")
				isRead(p)
				closed := make(chan struct{})
				c := n.Conn("wire@test")
				h := handle(t, n, "h", func(*Mailbox, *Message) { _ = closing(c); close(closed) }, &MailboxOptions{TrapExit: true})
				tell(t, n, p, h)
				arrives(t, closed, "the Handler's end")
				arrives(t, c.l.Left(), "the end of the connection")
			})
		}
	}
}

// A Handler may begin in the very moment in which its connection ends.
func TestHandlerBesideEnd(t *testing.T) {
	w := newWorld(t, "memory")
	a, b := w.started("alice"), w.started("bob")
	handle(t, b, "h", func(_ *Mailbox, m *Message) { m.Conn().Close() }, &MailboxOptions{TrapExit: true})
	for i := range 200 {
		here := box(t, a)
		_ = here.SendName(w.ctx(), "bob@test", "h", i)
		_ = here.SendName(w.ctx(), "bob@test", "h", i)
		_ = here.SendExit(w.ctx(), b.Whereis("h").Pid(), "x")
		if c := b.Conn("alice@test"); c != nil && i%2 == 0 {
			inTime(t, "Close", func() { c.Close() })
		}
		here.Close()
	}
}

// A message belongs to its Handler, even if the Handler panics: its memory must not be reused then.
func TestHandlerKeepsAndPanics(t *testing.T) {
	n, p := newWorld(t, "memory").met("bob")
	kept := make(chan *Message, 1)
	h := handle(t, n, "h", func(_ *Mailbox, m *Message) { kept <- m; panic("a bug") })
	p.Say("h", ei.Atom("mine"))
	m := arrives(t, kept, "the message")
	arrives(t, h.Done(), "the end of the process")
	p.Say("net_kernel", ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{p.Self, monitorRef(p, 1)}, ei.Tuple{ei.Atom("is_auth"), ei.Atom("wire@test")}})
	p.Next() // the reader has gone on
	require.Equal(t, ei.Atom("mine"), content(t, m))
	require.Zero(t, n.Stats().Undeliverable)
}

// Close waits for no Handler that is told of the connection's end, also if Close is what ends the
// connection.
func TestCloseBesideHandler(t *testing.T) {
	n, p := newWorld(t, "tcp").met("alice")
	isRead(p)
	proceed := make(chan struct{})
	h := handle(t, n, "h", func(*Mailbox, *Message) { <-proceed }, &MailboxOptions{TrapExit: true})
	require.NoError(t, h.Link(soon(t), p.Self))
	inTime(t, "Close", func() { require.NoError(t, n.Conn("wire@test").Close()) })
	close(proceed)
}

// The exit signal of a linked process ends the link: a Handler that traps exits is told once,
// however often the peer says it.
func TestHandlerIsToldOfExitOnce(t *testing.T) {
	w := newWorld(t, "memory")
	n := w.started("alice")
	got := make(chan dist.Op, 8)
	h := handle(t, n, "h", func(_ *Mailbox, m *Message) { got <- m.Op }, &MailboxOptions{TrapExit: true})
	p := w.peer(n.Listeners()[0], role("peer@test"))
	p.Send(dist.Control{Op: dist.OpLink, From: p.Self, To: h.Pid()}, nil)
	for range 2 {
		p.Send(dist.Control{Op: dist.OpExit, From: p.Self, To: h.Pid(), Reason: exitReason(ei.Atom("crash"))}, nil)
	}
	p.Send(dist.Control{Op: dist.OpSend, To: h.Pid()}, ei.Atom("behind"))
	require.Equal(t, dist.OpExit, arrives(t, got, "the exit signal"))
	require.Equal(t, dist.OpSend, arrives(t, got, "the message behind"))
}
