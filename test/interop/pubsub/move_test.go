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
	"github.com/cnode-go/cnode/internal/test/gonode"
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
		w.n = gonode.Start(w.t, cfg)
		w.startPeers(1)
		x, y := w.lab.peers[0], w.lab.peers[1]
		w.meet()
		w.track(x, "room", "key0", "0")
		w.eventually("key0=0", func() string { return seen(p, "room") })
		watcher := gonode.Start(w.t, w.config(goName())) // asks while the other one is frozen
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
			frozen, state, fds := w.freeze()
			for range 10 {
				send(next)
				next++
			}
			key := fmt.Sprintf("key%d", round+1)
			_, err := watcher.RPC(w.ctx(), y.name, "Elixir.Peer", "track", elixirName(w.presence), "room", key,
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

// What the Go node tracks goes on elsewhere, too: nobody sees a leave or a join, and the program's
// Setup is the same in both.
func TestMoveTracked(t *testing.T) {
	each(t, func(w *world) {
		app := fmt.Sprintf("App%08x", rand.Uint32())
		w.pubsub, w.presence = app+".PubSub", app+".Presence"
		var p *pubsub.Presence
		var worker *nodes.Mailbox
		cfg := w.config(goName())
		cfg.Setup = func(n *nodes.Node) (err error) {
			if w.ps, err = pubsub.Start(t.Context(), n, w.pubsub, nil); err != nil {
				return err
			}
			p = w.follow(1)
			if worker, err = n.Serve("worker", nodes.Server{}, nil); err != nil {
				return err
			}
			return p.Track(w.ctx(), worker, "room", "go", person{"Go"})
		}
		w.n = gonode.Start(w.t, cfg)
		w.startPeers(1)
		x, y := w.lab.peers[0], w.lab.peers[1]
		w.meet()
		watcher := gonode.Start(w.t, w.config(goName()))
		loose := w.box()
		require.NoError(w.t, p.Update(w.ctx(), worker, "room", "go", person{"Gopher"}))
		require.NoError(w.t, p.Track(w.ctx(), loose, "room", "loose", person{"L"}))
		w.track(x, "room", "xena", "Xena")
		want := "go=Gopher loose=L xena=Xena"
		w.all(want, p, "room")
		noted := w.noted(x, "room")
		for round := range 4 {
			frozen, state, fds := w.freeze()
			key := fmt.Sprintf("y%d", round)
			_, err := watcher.RPC(w.ctx(), y.name, "Elixir.Peer", "track", elixirName(w.presence), "room", key, map[ei.Atom]any{"name": "Y"})
			require.NoError(w.t, err)
			if round == 1 { // it fails, and goes on here
				for _, fd := range fds {
					require.NoError(w.t, unix.Close(fd))
				}
				frozen.Thaw()
			} else {
				before, ps, box := p, w.ps, loose
				require.NoError(w.t, frozen.Release())
				staged, err := nodes.Restore(cfg, state, fds)
				require.NoError(w.t, err)
				require.Equal(w.t, want, seen(p, "room"), "at once")
				require.NoError(w.t, staged.Start(w.ctx()))
				w.n = staged.Node()
				require.Len(w.t, staged.Mailboxes(), 1)
				loose = staged.Mailboxes()[0]
				require.ErrorIs(w.t, before.Track(w.ctx(), box, "room", "more", person{"M"}), nodes.ErrMoved)
				require.NoError(w.t, ps.Close())
			}
			want += " " + key + "=Y"
			w.all(want, p, "room")
			require.ErrorIs(w.t, p.Track(w.ctx(), loose, "room", "loose", person{"M"}), pubsub.ErrAlreadyTracked)
			require.NoError(w.t, p.Track(w.ctx(), loose, "other", "loose", person{"M"}))
			w.all("loose=M", p, "other")
			require.NoError(w.t, p.Untrack(w.ctx(), loose, "other", "loose"))
			w.all("", p, "other")
			noted += ", joined " + key
			require.Equal(w.t, noted, w.noted(x, "room"))
		}
		loose.Close()
		worker.Close()
		w.all("xena=Xena y0=Y y1=Y y2=Y y3=Y", p, "room")
		require.NoError(w.t, w.ps.Close())
		require.NoError(w.t, w.n.Close())
	})
}

// freeze freezes the node, and gives what another process would get of it.
func (w *world) freeze() (frozen *nodes.Frozen, state []byte, fds []int) {
	frozen, err := w.n.Freeze(w.ctx())
	require.NoError(w.t, err)
	return frozen, frozen.State(), gonode.Duplicates(w.t, frozen)
}
