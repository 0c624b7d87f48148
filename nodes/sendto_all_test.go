package nodes

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/transport"
)

// SendAll reaches processes here and elsewhere, connects to their nodes, and keeps the order of
// what one process sends, whatever the sizes.
func TestSendAll(t *testing.T) {
	for _, kind := range []string{"memory", "tcp"} {
		w := newWorld(t, kind)
		one, two, three := w.started("one"), w.started("two"), w.started("three")
		a := box(t, one)
		var boxes []*Mailbox
		var to []ei.Pid
		for i := range 300 {
			b := box(t, []*Node{one, two, three}[i%3])
			boxes, to = append(boxes, b), append(to, b.Pid())
		}
		stranger := box(t, w.started("four"))
		require.ErrorIs(t, a.SendAll(NoConnect(w.ctx()), slices.Values([]ei.Pid{stranger.Pid()}), ei.Atom("no")), ErrNoConnection)
		texts := []ei.Term{
			ei.Atom("first"), ei.Binary(bytes.Repeat([]byte("large"), 20<<10)), ei.Binary(bytes.Repeat([]byte("medium"), 2<<10)), ei.Atom("last"),
		}
		for _, text := range texts {
			require.NoError(t, a.SendAll(w.ctx(), slices.Values(to), text))
		}
		for _, b := range boxes {
			for _, text := range texts {
				require.Equal(t, text, term(t, b))
			}
		}
		for _, c := range one.connections() {
			require.GreaterOrEqual(t, c.l.Traffic().MessagesSent, int64(400))
		}
	}
}

// Who has no room gets nothing under NoWait, and holds up nobody else.
func TestSendAllFullMailbox(t *testing.T) {
	w := newWorld(t, "memory")
	one, two := w.started("one"), w.started("two")
	full := box(t, one, &MailboxOptions{Limit: 1})
	a, here, there := box(t, one), box(t, one), box(t, two)
	require.NoError(t, a.Send(w.ctx(), there.Pid(), ei.Atom("connects")))
	require.NoError(t, a.Send(w.ctx(), full.Pid(), ei.Atom("fills")))
	to := slices.Values([]ei.Pid{full.Pid(), here.Pid(), there.Pid()})
	require.ErrorIs(t, a.SendAll(transport.NoWait(), to, ei.Atom("x")), os.ErrDeadlineExceeded)
	require.Equal(t, ei.Atom("x"), term(t, here))
	require.Equal(t, ei.Atom("connects"), term(t, there))
	require.Equal(t, ei.Atom("x"), term(t, there))
	done := async(func() (struct{}, error) { return struct{}{}, a.SendAll(w.ctx(), to, ei.Atom("y")) })
	require.Equal(t, ei.Atom("y"), term(t, here))
	require.Equal(t, ei.Atom("y"), term(t, there))
	require.Equal(t, ei.Atom("fills"), term(t, full))
	require.NoError(t, arrives(t, done, "the end of SendAll").err)
	require.Equal(t, ei.Atom("y"), term(t, full))
	require.NoError(t, a.Close())
	require.Error(t, a.SendAll(w.ctx(), to, ei.Atom("z")))
}
