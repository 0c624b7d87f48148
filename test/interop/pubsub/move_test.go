//go:build unix

package pubsub

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/pubsub"
)

// The Go node goes on elsewhere, as in another process: what is broadcast before, meanwhile and
// afterwards comes in order, once, and those who have joined meanwhile are present.
func TestMove(t *testing.T) {
	each(t, func(w *world) {
		app := fmt.Sprintf("App%08x", rand.Uint32())
		w.pubsub, w.presence = app+".PubSub", app+".Presence"
		got := make(chan int, 1000)
		var ps *pubsub.PubSub
		var p *pubsub.Presence
		cfg := w.config(goName())
		cfg.Setup = func(n *nodes.Node) (err error) {
			if ps, err = pubsub.Start(t.Context(), n, w.pubsub, nil); err != nil {
				return err
			}
			w.ps = ps
			p = w.follow(1)
			b, err := n.Serve("subscriber", nodes.Server{On: map[string]nodes.Func{
				"n": nodes.FuncOf(func(i int) { got <- i }),
			}}, nil)
			if err != nil {
				return err
			}
			return ps.Subscribe(b, "numbers")
		}
		var err error
		w.n, err = nodes.New(cfg)
		require.NoError(w.t, err)
		require.NoError(w.t, w.n.Start(w.ctx()))
		w.startPeers(1)
		x, y := w.lab.peers[0], w.lab.peers[1]
		w.meet()
		w.track(x, "room", "key0", "0")
		w.eventually("key0=0", func() string { return seen(p, "room") })
		watcher, err := nodes.New(w.config(goName())) // asks while the other one is frozen
		require.NoError(w.t, err)
		defer watcher.Close()
		require.NoError(w.t, watcher.Start(w.ctx()))
		send := func(i int) {
			v, err := watcher.RPC(w.ctx(), x.name, "Elixir.Peer", "broadcast", elixirName(w.pubsub), "numbers", ei.Tuple{ei.Atom("n"), ei.Int(i)})
			require.NoError(w.t, err)
			require.Equal(w.t, ei.Atom("ok"), v)
		}
		next := 0
		want := []string{"key0=0"}
		for round := range 4 {
			for range 10 {
				send(next)
				next++
			}
			loop := pubsub.Messages[int](w.ctx(), ps, "other")
			frozen, err := w.n.Freeze(w.ctx())
			require.NoError(w.t, err)
			var fds []int
			for _, fd := range frozen.Descriptors() {
				fd, err := unix.Dup(fd)
				require.NoError(w.t, err)
				fds = append(fds, fd)
			}
			state := frozen.State()
			for range 10 {
				send(next)
				next++
			}
			key := fmt.Sprintf("key%d", round+1)
			_, err = watcher.RPC(w.ctx(), y.name, "Elixir.Peer", "track", elixirName(w.presence), "room", key,
				map[ei.Atom]any{"name": fmt.Sprint(round + 1)})
			require.NoError(w.t, err)
			want = append(want, fmt.Sprintf("%s=%d", key, round+1))
			if round == 1 { // it fails, and goes on here
				for _, fd := range fds {
					require.NoError(w.t, unix.Close(fd))
				}
				frozen.Thaw()
			} else {
				require.NoError(w.t, frozen.Release())
				before := ps
				staged, err := nodes.Restore(cfg, state, fds)
				require.NoError(w.t, err)
				require.NoError(w.t, staged.Start(w.ctx()))
				w.n = staged.Node()
				for _, b := range staged.Mailboxes() {
					b.Close() // that of the loop
				}
				for _, err := range loop {
					require.ErrorIs(w.t, err, nodes.ErrMoved)
				}
				require.NoError(w.t, before.Close())
			}
			for range 10 {
				send(next)
				next++
			}
			for i := next - 30; i < next; i++ {
				select {
				case n := <-got:
					require.Equal(w.t, i, n)
				case <-w.ctx().Done():
					require.Fail(w.t, "lost", "%d", i)
				}
			}
			w.eventually(strings.Join(want, " "), func() string { return seen(p, "room") })
			w.hasMembers(x, 3)
		}
		require.Empty(w.t, got)
		require.NoError(w.t, ps.Close())
		require.NoError(w.t, w.n.Close())
	})
}
