package cnodews_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/websocket"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A frame over the other end's limit ends the connection with an error that says the limit, each
// time, however much of it is still on its way: at either end where a message is a frame, and else,
// as over TCP, at the end that has refused it.
func TestFrameTooLong(t *testing.T) {
	const limit, times = 50_000, 25
	for name, o := range modes {
		for size, bytes := range map[string]int{"just": limit, "large": 8 << 20} {
			t.Run(name+" "+size, func(t *testing.T) {
				ws, s := cnodews.New(&cnodews.Options{MaxFrame: limit}), plain(t)
				at := s.put(ws)
				server := started(t, nodes.Config{
					Name: "shop@web", Cookie: "secret", Transport: ws, Resolver: nodes.Static{}, MaxFrame: limit,
				})
				client := started(t, nodes.Config{
					Name: "till@branch", Cookie: "secret", Transport: cnodews.New(o), Resolver: nodes.Static{"shop@web": {Addr: at}},
					Flags: dist.FlagsDefault &^ dist.FlagFragments, // a message is a frame
				})
				ctx := expect.Context(t)
				box, err := server.NewMailbox(nil)
				require.NoError(t, err)
				for range times {
					c, err := client.Connect(ctx, "shop@web")
					require.NoError(t, err)
					var there *nodes.Conn
					require.Eventually(t, func() bool {
						there = server.Conn("till@branch")
						return there != nil
					}, expect.Limit, time.Millisecond)
					_ = c.Send(ctx, box.Pid(), make(ei.Binary, bytes))
					ends, want := []*nodes.Conn{there}, nodes.ErrFrameTooLong
					if o.Packets {
						ends, want = append(ends, c), syscall.EMSGSIZE
					}
					expect.Returns(t, c.Done())
					for _, end := range ends {
						expect.Returns(t, end.Done())
						require.ErrorIs(t, end.Err(), want, "%v", end.Err())
						require.ErrorContains(t, end.Err(), "50000")
					}
				}
			})
		}
	}
}
