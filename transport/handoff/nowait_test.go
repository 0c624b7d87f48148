//go:build unix

package handoff

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport"
)

// Sends that do not wait are refused only when there is no room, and receives when there is no
// message, however many calls there are at once.
func TestNoWaitBesideOthers(t *testing.T) {
	const callers, rounds, places = 8, 1000, 16
	type ends struct {
		send, receive func(ctx context.Context) error
		full          error
	}
	conns := func(t *testing.T) (a, b *Conn) { return connPair(t, syscall.SOCK_STREAM) }
	for name, begin := range map[string]func(t *testing.T) ends{
		"MessageConn": func(t *testing.T) ends {
			a, b := messages(t, syscall.SOCK_STREAM, nil)
			return ends{
				func(ctx context.Context) error { return a.Send(ctx, []byte("x"), nil) },
				func(ctx context.Context) error { _, _, err := b.Receive(ctx); return err }, os.ErrDeadlineExceeded,
			}
		},
		"Conn": func(t *testing.T) ends {
			a, b := conns(t)
			return ends{
				func(ctx context.Context) error { return a.Send(ctx, []byte("x")) },
				func(ctx context.Context) error { _, err := b.Receive(ctx, []byte{0}, nil, 0); return err }, os.ErrDeadlineExceeded,
			}
		},
		"TrySend": func(t *testing.T) ends {
			a, b := conns(t)
			return ends{
				func(ctx context.Context) error {
					if !transport.IsNoWait(ctx) {
						return a.Send(ctx, []byte("x"))
					}
					_, err := a.TrySend([]byte("x"))
					return err
				},
				func(ctx context.Context) error { _, err := b.Receive(ctx, []byte{0}, nil, 0); return err }, syscall.EAGAIN,
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := begin(t)
			for _, tt := range []struct {
				name         string
				many, single func(ctx context.Context) error
				ahead        int // how many of single come before
			}{{"send", e.send, e.receive, 0}, {"receive", e.receive, e.send, places}} {
				for range tt.ahead {
					require.NoError(t, tt.single(soon(t)))
				}
				tokens, done := make(chan struct{}, places), make(chan struct{})
				for range places {
					tokens <- struct{}{}
				}
				var wg sync.WaitGroup
				var refused atomic.Int32
				for range callers {
					wg.Go(func() {
						for range rounds {
							<-tokens
							if err := tt.many(transport.NoWait()); err != nil {
								refused.Add(1) // and the test comes to its end
								_ = tt.many(context.Background())
							}
							done <- struct{}{}
						}
					})
				}
				for range callers * rounds {
					<-done
					require.NoError(t, tt.single(soon(t)))
					tokens <- struct{}{}
				}
				wg.Wait()
				require.Zero(t, refused.Load(), "%s: there is room, or a message", tt.name)
				for range tt.ahead {
					require.NoError(t, tt.many(soon(t)))
				}
			}

			// one that waits for a message, or for room, keeps nobody else
			for _, tt := range []struct {
				call func(ctx context.Context) error
				want error
			}{{e.receive, os.ErrDeadlineExceeded}, {e.send, e.full}} {
				var err error
				for err == nil { // a send: until there is no room
					err = tt.call(transport.NoWait())
				}
				require.ErrorIs(t, err, tt.want)
				ctx, cancel := context.WithCancel(soon(t))
				waiting := make(chan error, 1)
				go func() { waiting <- tt.call(ctx) }()
				for range 1000 {
					require.ErrorIs(t, tt.call(transport.NoWait()), tt.want)
				}
				cancel()
				require.ErrorIs(t, <-waiting, context.Canceled)
			}
		})
	}
}
