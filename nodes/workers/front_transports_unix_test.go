//go:build unix

package workers

import (
	"context"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// renamedTCP makes a new transport; all that it makes have the same name.
func renamedTCP() transport.Transport { return renamed{transport.TCP(), "alike"} }

// testAlikeVariable gives a worker several transports of one name.
const testAlikeVariable = "CNODE_TEST_ALIKE"

func testTransports() []transport.Transport {
	if os.Getenv(testAlikeVariable) == "" {
		return nil
	}
	return []transport.Transport{renamedTCP(), renamedTCP()}
}

func setUpCarriages(n *nodes.Node) {
	// of the connection to a peer
	n.Expose("w", "carriage", func(_ context.Context, args []ei.Term) (any, error) {
		in := insideOf(n)
		c, _ := in.TransportID(in.CarriedBy(n.Conn(string(args[0].(ei.Atom)))))
		return ei.Tuple{ei.Atom(c.Plugin), ei.Int(c.Place)}, nil
	})
}

// A worker takes each session over the transport that its peer came by: another transport of that
// name may have other checks.
func TestFrontTransportsOfOneName(t *testing.T) {
	t.Setenv(testAlikeVariable, "yes")
	loopback := mustParse("127.0.0.1:0")
	transports := testTransports()
	w := newFrontWorld(t, 1, func(cfg *Config) {
		for _, tr := range transports {
			cfg.Node.Also = append(cfg.Node.Also, nodes.Endpoint{Addr: loopback, Transport: tr})
		}
	})
	var peers []*nodes.Node
	for i, want := range []ei.Tuple{{ei.Atom("tcp"), ei.Int(0)}, {ei.Atom("alike"), ei.Int(0)}, {ei.Atom("alike"), ei.Int(1)}} {
		n, err := nodes.New(nodes.Config{Name: "peer" + string(rune('0'+i)) + "@127.0.0.1", Cookie: "secret",
			Resolver: nodes.Static{frontName: {Addr: w.f.Listeners()[i].Addr()}}})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, n.Close()) })
		require.Equal(t, want, w.rpc(n, "carriage", ei.Atom(n.Name())))
		peers = append(peers, n)
	}
	w.move()
	var moved []transport.Transport
	for _, l := range w.f.Listeners()[1:] {
		moved = append(moved, l.Transport())
	}
	require.True(t, slices.Equal(transports, moved))
	of(w.f.UpgradeWorkers(soon(t))).must(t)
	for i, n := range peers {
		require.Equal(t, max(0, i-1), int(w.rpc(n, "carriage", ei.Atom(n.Name())).(ei.Tuple)[1].(ei.Int)))
	}
}
