//go:build unix

package nodes

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport"
)

// renamedTCP makes a new transport; all that it makes have the same name.
func renamedTCP() transport.Transport { return renamed{transport.TCP(), "alike"} }

// at is where a listener of a node is, by plain TCP.
func at(n *Node, listener int) Static {
	return Static{n.Name(): {Addr: n.Listeners()[listener].Addr(), Transport: transport.TCP()}}
}

// transportsOf are those of a node's listeners, and of the connections to some peers.
func transportsOf(n *Node, peers ...string) (list []transport.Transport) {
	for _, l := range n.Listeners() {
		list = append(list, l.Transport())
	}
	for _, peer := range peers {
		list = append(list, n.Conn(peer).tr)
	}
	return list
}

// Listeners and connections over transports of one name keep their own when the node moves; a
// Config that has fewer of them is refused.
func TestUpgradeTransportsOfOneName(t *testing.T) {
	w := newWorld(t, "tcp")
	other := w.started("other")
	first, second, third := renamedTCP(), renamedTCP(), renamedTCP()
	n := w.started("front", func(cfg *Config) {
		cfg.Transport, cfg.Also = first, []Endpoint{{Addr: w.addr(""), Transport: second}, {Addr: w.addr("")}}
		cfg.Transports = []transport.Transport{third}
		cfg.Resolver = Static{"other@test": {Addr: other.Listeners()[0].Addr(), Transport: third}}
	})
	peer := w.started("peer", func(cfg *Config) { cfg.Resolver = at(n, 1) })
	connect(t, peer, "front@test")
	connect(t, n, "other@test")
	require.Eventually(t, func() bool { return n.Conn("peer@test") != nil }, tooLong, tick)
	want := []transport.Transport{first, second, first, second, third}
	require.Equal(t, want, transportsOf(n, "peer@test", "other@test"))

	f := freeze(t, n)
	cfg := again(n)
	cfg.Also, cfg.Transports = nil, []transport.Transport{second}
	g, err := Restore(cfg, f.State(), duplicates(t, f.Descriptors()))
	if err == nil {
		require.NoError(t, g.Discard())
	}
	f.Thaw()
	require.ErrorIs(t, err, ErrNoPlugin)
	require.ErrorContains(t, err, "number 3")

	for range 2 {
		n = upgrade(t, n)
		require.Equal(t, want, transportsOf(n, "peer@test", "other@test"))
	}
}

// A connection over a transport that is not in the Config goes on over the first one of that name;
// but a listener, which might then let in other peers, makes the node not movable.
func TestUpgradeTransportOfNoConfig(t *testing.T) {
	w := newWorld(t, "tcp")
	other := w.started("other")
	first := renamedTCP()
	n := w.started("front", func(cfg *Config) {
		cfg.Transport, cfg.Resolver = first, Static{"other@test": {Addr: other.Listeners()[0].Addr(), Transport: renamedTCP()}}
	})
	connect(t, n, "other@test")
	of(n.ListenOn(w.ctx(), transport.TCP(), w.addr(""))).must(t)
	n = upgrade(t, n)
	require.Equal(t, first, n.Conn("other@test").tr)
	of(n.ListenOn(w.ctx(), renamedTCP(), w.addr(""))).must(t)
	f, err := n.Freeze(w.ctx())
	if err == nil {
		f.Thaw()
	}
	var not *NotMovableError
	require.ErrorAs(t, err, &not)
	require.ErrorIs(t, err, errUnclear)
}

// A renamed is a transport under another name.
type renamed struct {
	transport.Transport
	name string
}

func (r renamed) Name() string { return r.name }
