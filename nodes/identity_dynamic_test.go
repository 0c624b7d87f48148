package nodes

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A node without a name is given one by its first peer, our own node here, and keeps it.
func TestDynamicName(t *testing.T) {
	inWorlds(t, kinds, func(t *testing.T, w *world) {
		b, c := w.started("bob"), w.started("carol")
		b.Expose("m", "echo", func(_ context.Context, args []ei.Term) (any, error) { return args, nil })
		d := w.node("")
		require.Empty(t, d.Name())
		conn := connect(t, d, "bob@test")
		require.True(t, strings.HasSuffix(d.Name(), "@test"), d.Name())
		require.NoError(t, dist.CheckName(d.Name()))
		require.Greater(t, d.Creation(), uint32(3))
		require.Equal(t, protocol.StatusNamed, conn.Peer().Status)
		require.Eventually(t, func() bool { return b.Conn(d.Name()) != nil }, tooLong, tick)
		require.Equal(t, d.Creation(), b.Conn(d.Name()).Peer().Creation)
		require.True(t, b.Conn(d.Name()).l.Record().Temporary)
		require.False(t, conn.l.Record().Temporary)
		require.Equal(t, ei.List{ei.Int(1)}, of(conn.RPC(w.ctx(), "m", "echo", 1)).must(t))

		// It is a node like any other now.
		require.NoError(t, d.Start(w.ctx()))
		name := d.Name()
		connect(t, d, "carol@test")
		require.Equal(t, name, d.Name())
		require.Eventually(t, func() bool { return c.Conn(name) != nil }, tooLong, tick)
		require.True(t, c.Conn(name).l.Record().Temporary, "whoever has given it the name")
		here, there := box(t, d), box(t, c)
		require.Equal(t, ei.Atom(name), here.Pid().Node)
		require.NoError(t, there.Send(w.ctx(), here.Pid(), "hello"))
		require.Equal(t, ei.Binary("hello"), term(t, here))
		_, err := d.Connect(w.ctx(), name)
		require.ErrorIs(t, err, dist.ErrSelf)

		// A second one gets another name.
		e := w.node("")
		connect(t, e, "bob@test")
		require.NotEqual(t, d.Name(), e.Name())
		require.Eventually(t, func() bool { return tableSize(b) == 2 }, tooLong, tick)
		require.NoError(t, d.Close())
		require.NoError(t, e.Close())
		require.Eventually(t, func() bool { return tableSize(b) == 0 }, tooLong, tick)
	})
}

// A Logger may ask the node that logs.
func TestLoggerAsksNode(t *testing.T) {
	w := newWorld(t, "memory")
	w.started("bob")
	var d *Node
	var told sync.Map
	d = w.node("", func(cfg *Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if d != nil && a.Key == slog.MessageKey {
				c := d.Conn("bob@test")
				told.Store(a.Value.String(), d.Name() != "" && (c == nil || c.Err() != nil))
			}
			return a
		}}))
	})
	inTime(t, "all of it", func() {
		c := connect(t, d, "bob@test")
		require.NoError(t, c.Close())
	})
	for _, message := range []string{"named by peer", "node down"} {
		ok, _ := told.Load(message)
		require.Equal(t, true, ok, message)
	}
}

// Two peers at once: one of them gives the name, and both know it.
func TestDynamicNameFromTwo(t *testing.T) {
	w := newWorld(t, "memory")
	peers := []*Node{w.started("alice"), w.started("bob"), w.started("carol")}
	for range 20 {
		d := w.node("")
		results := make(chan result[*Conn], 3)
		for i, p := range peers {
			go func() {
				if i == 2 {
					results <- of(d.ConnectAddr(w.ctx(), p.Listeners()[0].Addr(), ""))
				} else {
					results <- of(d.Connect(w.ctx(), p.Name()))
				}
			}()
		}
		for range peers {
			require.NoError(t, arrives(t, results, "a connection").err)
		}
		require.Len(t, d.Peers(), 3)
		for _, p := range peers {
			require.Eventually(t, func() bool { c := p.Conn(d.Name()); return c != nil && c.Err() == nil }, tooLong, tick)
			require.Equal(t, d.Creation(), p.Conn(d.Name()).Peer().Creation)
		}
		require.NoError(t, d.Close())
		for _, p := range peers {
			require.Eventually(t, func() bool { return tableSize(p) == 0 }, tooLong, tick)
		}
	}
}

// A first connect that fails leaves the node without a name.
func TestDynamicNameRefused(t *testing.T) {
	w := newWorld(t, "memory")
	w.ambush("bob@test").refuse(protocol.StatusNotAllowed)
	d := w.node("")
	_, err := d.Connect(w.ctx(), "bob@test")
	require.ErrorIs(t, err, dist.ErrNotAllowed)
	require.Empty(t, d.Name())

	// A name of another host.
	at := w.ambush("carol@test")
	connected := async(func() (*Conn, error) { return d.Connect(w.ctx(), "carol@test") })
	p := at.accept()
	require.NoError(t, p.Write(packet([]byte("snamed:\x00\x07x@other\x00\x00\x00\x05"))))
	require.ErrorIs(t, arrives(t, connected, "the refusal").err, dist.ErrUnexpected)
	require.Empty(t, d.Name())
	require.Zero(t, tableSize(d))

	// A peer that asks us for a name and does not have the cookie.
	failed, hear := failures()
	b := w.started("dave", hear)
	impostor := protocol.Self{Name: "test", Cookie: "guess", Creation: 7, Challenge: 8, Dynamic: true}
	require.Error(t, w.wire(b.Listeners()[0]).Initiate(impostor))
	require.ErrorIs(t, arrives(t, failed, "the failed handshake"), dist.ErrBadCookie)
	require.Zero(t, tableSize(b))
}
