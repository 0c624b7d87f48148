//go:build unix

package workers

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/sockdir"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// A front with several addresses is the same node at each of them, and stays so when it moves.
func TestFrontAtAllAddresses(t *testing.T) {
	loopback := mustParse("127.0.0.1:0")
	w := newFrontWorld(t, 2, func(cfg *Config) {
		cfg.Node.Also = []nodes.Endpoint{{Addr: transport.UnixAddr(sockdir.New(t) + "/front"), Transport: transport.Unix()}, {Addr: loopback}}
	})
	at := func(i int) nodes.Endpoint {
		l := w.f.Listeners()[i]
		return nodes.Endpoint{Addr: l.Addr(), Transport: l.Transport()}
	}
	var joe ei.Term
	for round := range 2 {
		require.Len(t, w.f.Listeners(), 3)
		require.Equal(t, w.f.Addr(), at(0).Addr)
		require.Equal(t, []string{"unix", "tcp"}, []string{at(1).Transport.Name(), at(2).Transport.Name()})
		for i := range 3 {
			n, err := nodes.New(nodes.Config{Name: fmt.Sprintf("peer%d%d@127.0.0.1", round, i), Cookie: "secret",
				Resolver: nodes.Static{frontName: at(i)}})
			require.NoError(t, err)
			require.NoError(t, n.Start(soon(t)))
			t.Cleanup(func() { require.NoError(t, n.Close()) })
			require.Contains(t, pids(w.f), w.worker(n))
			require.Equal(t, at(i).Addr.String(), n.Conn(frontName).Stream().RemoteAddr().String())
			if joe == nil {
				joe = w.rpc(n, "start", ei.Atom("joe"))
			}
			require.Equal(t, joe, w.rpc(n, "whereis", ei.Atom("joe")))
		}
		w.move()
	}
	listeners := w.f.Listeners()
	require.NoError(t, w.f.Shutdown(soon(t)))
	for _, l := range listeners {
		require.ErrorIs(t, l.Err(), nodes.ErrClosed)
	}
}

// pids are the processes of a front's workers.
func pids(f *Front) (list []int) {
	for _, w := range f.Workers() {
		list = append(list, w.PID)
	}
	return list
}

// A renamed is a transport under another name.
type renamed struct {
	transport.Transport
	name string
}

func (r renamed) Name() string { return r.name }
