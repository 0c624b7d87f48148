package pg

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// Who tells 1,000 processes of another node something: by Broadcast, and by a send to each.
func BenchmarkBroadcast(b *testing.B) {
	const subscribers = 1000
	type note struct {
		Room, From, Text string
		Tags             []string
		At               int64
	}
	term := note{"lobby", "somebody", "a line of text as people write it, of some length", []string{"one", "two", "three"}, 1 << 40}
	table := nodes.Static{}
	group := ei.Atom("all")
	var scopes [2]*Scope
	var started [2]*nodes.Node
	for i, name := range []string{"a@127.0.0.1", "b@127.0.0.1"} {
		n, err := nodes.New(nodes.Config{
			Name: name, Cookie: "secret", Transport: transport.TCP(), Resolver: table,
			Listen: transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")),
		})
		require.NoError(b, err)
		defer n.Close()
		require.NoError(b, n.Start(soon(b)))
		table[name] = nodes.Endpoint{Addr: n.Listeners()[0].Addr()}
		scopes[i], err = Start(b.Context(), n, "", nil)
		require.NoError(b, err)
		started[i] = n
	}
	_, err := started[0].Connect(soon(b), "b@127.0.0.1")
	require.NoError(b, err)
	got := make(chan struct{}, subscribers)
	for range subscribers {
		box, err := started[1].Handle("", func(_ *nodes.Mailbox, m *nodes.Message) { m.Release(); got <- struct{}{} }, nil)
		require.NoError(b, err)
		require.NoError(b, scopes[1].Join(soon(b), group, box))
	}
	from, err := started[0].NewMailbox(nil)
	require.NoError(b, err)
	all := func() (pids []ei.Pid) {
		for pid := range scopes[0].Members(group) {
			pids = append(pids, pid)
		}
		return pids
	}
	for len(all()) < subscribers {
		for range scopes[0].Monitor(soon(b), group) { // the members that there are, or a change
			break
		}
	}
	for _, way := range []struct {
		name string
		tell func() error
	}{
		{"broadcast", func() error { return scopes[0].Broadcast(b.Context(), from, group, term) }},
		{"sends", func() error {
			for _, pid := range all() {
				if err := from.Send(b.Context(), pid, term); err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		b.Run(way.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := way.tell(); err != nil {
					b.Fatal(err)
				}
				b.StopTimer() // until all have it
				for range subscribers {
					<-got
				}
				b.StartTimer()
			}
		})
	}
}
