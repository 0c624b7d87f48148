package nodes

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A Handler that is told of the end of a connection, by whichever message, can send to the node again: it would wait for itself if the
// connection were still on the table.
func TestHandlerComesAgain(t *testing.T) {
	hears := map[string]func(t *testing.T, a *Node, h, there *Mailbox) error{
		"nodedown": func(t *testing.T, _ *Node, h, there *Mailbox) error {
			return h.MonitorNode(soon(t), string(there.Pid().Node))
		},
		"monitor": func(t *testing.T, _ *Node, h, there *Mailbox) error {
			_, err := h.Monitor(soon(t), there.Pid())
			return err
		},
		"link": func(t *testing.T, _ *Node, h, there *Mailbox) error { return h.Link(soon(t), there.Pid()) },
		"link of a process here": func(t *testing.T, a *Node, h, there *Mailbox) error {
			linked := box(t, a)
			if err := linked.Link(soon(t), there.Pid()); err != nil {
				return err
			}
			_, err := h.Monitor(soon(t), linked.Pid())
			return err
		},
	}
	for why, hear := range hears {
		t.Run(why, func(t *testing.T) {
			w := newWorld(t, "memory")
			a, b := w.started("alice"), w.started("bob")
			there, told := trapping(t, b), make(chan error, 1)
			h, err := a.Handle("h", func(self *Mailbox, m *Message) {
				told <- self.Send(context.Background(), there.Pid(), "again")
			}, &MailboxOptions{TrapExit: true})
			require.NoError(t, err)
			require.NoError(t, hear(t, a, h, there))
			require.Eventually(t, func() bool { return b.Conn("alice@test") != nil }, tooLong, tick)
			require.NoError(t, b.Conn("alice@test").Close())
			require.NoError(t, arrives(t, told, "word of the end"))
			for {
				m, err := there.Receive(soon(t))
				require.NoError(t, err)
				if m.Op != dist.OpExit {
					break
				}
			}
		})
	}
}

// A link that is made anew over the next connection stays, although a Handler has yet to be told of the end of the connection before.
func TestHandlerLinksAnew(t *testing.T) {
	w := newWorld(t, "memory")
	a, b := w.started("alice"), w.started("bob")
	heard, proceed := make(chan struct{}, 9), make(chan struct{})
	h, err := a.Handle("h", func(*Mailbox, *Message) { heard <- struct{}{}; <-proceed }, &MailboxOptions{TrapExit: true})
	require.NoError(t, err)
	there := trapping(t, b)
	require.NoError(t, h.MonitorNode(w.ctx(), "bob@test"))
	require.NoError(t, there.Link(w.ctx(), h.Pid()))
	settle(t, there, box(t, a))
	require.NoError(t, a.Conn("bob@test").Close())
	_, why := reason(t, there, dist.OpExit)
	require.Equal(t, noconnection, why)
	arrives(t, heard, "the first word of it")
	require.NoError(t, there.Link(w.ctx(), h.Pid()))
	settle(t, there, box(t, a))
	close(proceed)
	arrives(t, heard, "the second word of it")
	h.Exit(ei.Atom("done"))
	_, why = reason(t, there, dist.OpExit)
	require.Equal(t, ei.Atom("done"), why)
}
