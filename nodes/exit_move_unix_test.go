//go:build unix

package nodes

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/link"
)

// A deafened is a peer that does not read, and a node that has more to send to it than goes out.
type deafened struct {
	t    *testing.T
	peer *wire
	stop context.CancelFunc // no more is sent to it
	ends int                // of processes that it monitors
}

// deafen fills the way from a node to a peer.
func deafen(t *testing.T, n *Node, p *wire) *deafened {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	b, c := box(t, n), n.Conn("deaf@test")
	for range 20 {
		go func() {
			for b.Send(ctx, p.Self, make([]byte, 32<<10)) == nil {
			}
		}()
	}
	before := int64(-1)
	require.Eventually(t, func() bool { // nothing goes out any more
		_, sent := link.Within(&c.l).Queue().Buffered()
		still := link.Within(&c.l).IsFull() && sent == before
		before = sent
		return still
	}, tooLong, 10*tick)
	return &deafened{t, p, cancel, 0}
}

// end ends a process that the peer monitors.
func (d *deafened) end(n *Node) {
	b := box(d.t, n)
	require.True(d.t, b.watched(monitorRef(d.peer, d.ends), bonds.Watcher{Pid: d.peer.Self}))
	d.ends++
	b.Exit(ei.Int(d.ends))
}

// hears reads what has come: the end of every process, once.
func (d *deafened) hears() {
	d.stop()
	heard := map[ei.Ref]bool{}
	for range d.ends {
		ctl, why := d.peer.nextSignal()
		require.Equal(d.t, dist.OpPayloadMonitorPExit, ctl.Op)
		require.Equal(d.t, monitorRef(d.peer, int(why.(ei.Int))-1), ctl.Ref)
		require.NotContains(d.t, heard, ctl.Ref)
		heard[ctl.Ref] = true
	}
}

// Signals that wait for a peer which does not read do not keep the node, or the connection, from
// being frozen; they are sent by the process that goes on, even if the freeze is given up again and
// again.
func TestMoveBesideLastWords(t *testing.T) {
	test := func(t *testing.T, n *Node, deaf *wire, freeze func() error, move func() *Node) {
		d := deafen(t, n, deaf)
		for range 3 {
			d.end(n)
			d.end(n)
			require.NoError(t, freeze())
		}
		n = move()
		d.end(n)
		d.stop()
		d.end(n)
		d.hears()
		d.end(n)
		ctl, _ := deaf.nextSignal()
		require.Equal(t, monitorRef(deaf, d.ends-1), ctl.Ref, "nothing was told twice")
	}
	few := func(cfg *Config) { cfg.QueueLimit = 1000 }
	t.Run("node", func(t *testing.T) {
		w := newWorld(t, "unix")
		n := w.started("alice", few)
		deaf := w.peer(n.Listeners()[0], role("deaf@test"))
		require.Eventually(t, func() bool { return n.Conn("deaf@test") != nil }, tooLong, tick)
		freeze := func() error { return thawed(n.Freeze(w.ctx())) }
		test(t, n, deaf, freeze, func() *Node { return upgrade(t, n) })
	})
	t.Run("connection", func(t *testing.T) {
		w := newWorld(t, "unix")
		a := w.ambush("deaf@test")
		met := async(func() (*wire, error) {
			p := a.accept()
			return p, p.Respond(role("deaf@test"), protocol.StatusOK)
		})
		r := w.shuttle("deaf@test", true, few)
		deaf := arrives(t, met, "the connection")
		require.NoError(t, deaf.err)
		freeze := func() error { return thawed(r.c.Freeze(w.ctx())) }
		test(t, r.n[0], deaf.v, freeze, r.move)
		for _, n := range r.n {
			require.NoError(t, n.procs.exits.Wait(w.ctx()), "a shutdown would wait for what another process sends")
		}
	})
}

// thawed thaws what has been frozen.
func thawed[F interface{ Thaw() }](f F, err error) error {
	if err == nil {
		f.Thaw()
	}
	return err
}

// A process may end at any moment of a freeze.
func TestFreezeBesideEnds(t *testing.T) {
	w := newWorld(t, "unix")
	n := w.started("alice", func(cfg *Config) { cfg.QueueLimit = 1000 })
	deaf := w.peer(n.Listeners()[0], role("deaf@test"))
	require.Eventually(t, func() bool { return n.Conn("deaf@test") != nil }, tooLong, tick)
	d := deafen(t, n, deaf)
	c := n.Conn("deaf@test")
	for i := range 20 {
		frozen := async(func() (int, error) {
			if i%2 == 0 {
				return 0, thawed(n.Freeze(w.ctx()))
			}
			return 0, thawed(c.Freeze(w.ctx()))
		})
		for range 50 {
			if d.end(n); len(frozen) > 0 {
				break
			}
		}
		require.NoError(t, arrives(t, frozen, "the freeze").err)
	}
	d.hears()
}

// In a node that is being restored Setup may monitor a process of a peer for which much waits.
func TestRestoreBesideLastWords(t *testing.T) {
	w := newWorld(t, "unix")
	var watched ei.Pid
	n := w.started("alice", func(cfg *Config) {
		cfg.QueueLimit = 1 << 16
		cfg.Setup = func(n *Node) error {
			b, err := n.register("box", nil, nil)
			if err == nil && watched != (ei.Pid{}) {
				_, err = b.Monitor(context.Background(), watched)
			}
			return err
		}
	})
	deaf := w.peer(n.Listeners()[0], role("deaf@test"))
	isRead(deaf)
	watched = deaf.Self
	b := box(t, n)
	deaf.watch(b, 10_000)
	// far more than a peer that does not read, the kernel and QueueLimit have room for
	b.Exit(ei.Atom("normal"))
	f := freeze(t, n)
	inTime(t, "Restore", func() {
		s := restore(t, again(n), f)
		require.NoError(t, s.Discard())
	})
	f.Thaw()
}
