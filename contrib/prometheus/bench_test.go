package cnodeprom_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/prometheus"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// A message of 16 bytes, sent and received by one goroutine in memory, with nobody who measures and
// with a Collector at both nodes. The smallest of many runs is what counts on a busy machine.
func BenchmarkMessage(b *testing.B) {
	for _, measured := range []bool{false, true} {
		b.Run(map[bool]string{false: "off", true: "on"}[measured], func(b *testing.B) {
			ctx := expect.Context(b)
			tr := transport.NewMemory()
			node := func(name string) *nodes.Node {
				n, err := nodes.New(nodes.Config{Name: name, Cookie: "secret", Transport: tr, Resolver: nodes.Static{}})
				require.NoError(b, err)
				b.Cleanup(func() { n.Close() })
				if measured {
					cnodeprom.New(n, nil)
				}
				return n
			}
			from, to := node("from@127.0.0.1"), node("to@127.0.0.1")
			l, err := to.Listen(ctx, transport.MemoryAddr("to"))
			require.NoError(b, err)
			accepted := make(chan *nodes.Conn, 1)
			go func() {
				c, _ := l.Accept(ctx)
				accepted <- c
			}()
			out, err := from.ConnectAddr(ctx, l.Addr(), "to@127.0.0.1")
			require.NoError(b, err)
			in := <-accepted
			payload, pid := ei.AppendBinary(nil, make([]byte, 16)), in.Self()
			var m nodes.Message
			for b.Loop() {
				if out.SendRaw(context.Background(), pid, payload) != nil || in.ReceiveInto(context.Background(), &m) != nil {
					b.Fatal("lost")
				}
			}
		})
	}
}
