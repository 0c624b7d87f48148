//go:build unix

package workers

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// However often a peer sends to a name that no process has, the front is not asked; as soon as a
// process has the name it gets all that is sent from then on, through any worker. The same holds
// after every move.
func TestUnknownNames(t *testing.T) {
	t.Parallel() // it waits
	w := newFrontWorld(t, 3)
	ns := w.spread(3)
	a, b := ns[0], ns[1]
	sender := w.mailbox(a, nil)
	send := func(name string, v any) {
		t.Helper()
		require.NoError(t, sender.SendName(soon(t), frontName, name, v))
	}
	for round, move := range []func(){
		func() {},
		w.move,
		func() {
			w.upgraded()
		},
	} {
		move()
		before := w.rpc(a, "questions")
		for i := range 1000 {
			send("nobody", i)
		}
		require.Equal(t, before, w.rpc(a, "questions"))
		for i := range 50 {
			name := fmt.Sprintf("r%dn%d", round, i)
			send(name, "too early")
			pid := w.rpc(b, "start", ei.Atom(name)).(ei.Pid)
			for v := range 3 {
				send(name, v)
			}
			got := of(a.CallName(soon(t), frontName, name, ei.Atom("got"))).must(t)
			require.Equal(t, ei.List{ei.Int(0), ei.Int(1), ei.Int(2)}, got)
			watcher := w.mailbox(a, nil)
			monitor(t, watcher, pid)
			send(name, ei.Atom("normal"))
			w.receive(watcher)
			require.NoError(t, watcher.Close())
		}
	}
}
