//go:build unix

package tls

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
)

// BenchmarkMove moves a connection over TLS from one node to another one of the same name, and
// back, while its peer sends as much as it can. The silence is the time from the beginning of the
// freeze to the first message from the peer at the other node.
func BenchmarkMove(b *testing.B) {
	for _, v := range versions {
		b.Run(v.name, func(b *testing.B) {
			a := newAuthority(b)
			benchmarkMove(b, fromFile(b, a.mutual(b, a.sign(b, want{}), v.option), tlstransport.Options{}))
		})
	}
	b.Run("TCP", func(b *testing.B) { benchmarkMove(b, transport.TCP()) }) // to compare with
}

func benchmarkMove(b *testing.B, tr transport.Transport) {
	ctx := context.Background()
	start := func(name string, more func(cfg *nodes.Config)) (*nodes.Node, *atomic.Int64) {
		at, err := transport.ParseAddr("127.0.0.1:0")
		require.NoError(b, err)
		cfg := nodes.Config{Name: name, Cookie: "x", Transport: tr, Listen: at, Resolver: nodes.Static{}, TickInterval: time.Hour}
		more(&cfg)
		n, err := nodes.New(cfg)
		require.NoError(b, err)
		b.Cleanup(func() { _ = n.Close() })
		require.NoError(b, n.Start(ctx))
		got := new(atomic.Int64)
		_, err = n.Handle("sink", func(_ *nodes.Mailbox, m *nodes.Message) { m.Release(); got.Add(1) }, nil)
		require.NoError(b, err)
		return n, got
	}
	peer, _ := start("peer@127.0.0.1", func(*nodes.Config) {})
	var places [2]*nodes.Node
	var got [2]*atomic.Int64
	for i := range places {
		places[i], got[i] = start("mover@127.0.0.1", func(cfg *nodes.Config) {
			cfg.Creation = 4711
			cfg.Resolver = nodes.Static{peer.Name(): {Addr: peer.Listeners()[0].Addr()}}
		})
	}
	c, err := places[0].Connect(ctx, peer.Name())
	require.NoError(b, err)
	require.Eventually(b, func() bool { return peer.Conn(places[0].Name()) != nil }, limit, time.Millisecond)
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		back := peer.Conn(places[0].Name())
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := back.SendName(ctx, "sink", make([]byte, 100)); err != nil {
				stopped <- err
				return
			}
		}
	}()
	here := 0
	var silences []time.Duration
	for b.Loop() {
		time.Sleep(time.Millisecond) // load builds up
		there := 1 - here
		before, begin := got[there].Load(), time.Now()
		m, err := c.Detach(ctx)
		require.NoError(b, err)
		c, err = places[there].Adopt(ctx, m)
		require.NoError(b, err)
		for got[there].Load() == before {
			time.Sleep(10 * time.Microsecond)
		}
		silences = append(silences, time.Since(begin))
		here = there
	}
	close(stop)
	require.NoError(b, <-stopped)
	slices.Sort(silences)
	b.ReportMetric(float64(silences[len(silences)/2].Microseconds()), "µs-silence")
	b.ReportMetric(float64(silences[len(silences)*99/100].Microseconds()), "µs-silence-99%")
	b.ReportMetric(float64(silences[len(silences)-1].Microseconds()), "µs-silence-worst")
	b.ReportMetric(0, "ns/op")
}
