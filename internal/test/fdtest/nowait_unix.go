//go:build unix

package fdtest

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport"
)

// A Duplex is a connection: Send sends a message, Receive receives one, and Full is the error
// of a Send that would have to wait.
type Duplex struct {
	Send, Receive func(ctx context.Context) error
	Full          error
}

// NoWaitBesideOthers requires that sends which do not wait are refused only when there is no room,
// and receives when there is no message, however many calls there are at once.
func NoWaitBesideOthers(t *testing.T, connections map[string]func(t *testing.T) Duplex) {
	const callers, rounds, places = 8, 1000, 16
	for name, begin := range connections {
		t.Run(name, func(t *testing.T) {
			e := begin(t)
			for _, tt := range []struct {
				name         string
				many, single func(ctx context.Context) error
				ahead        int // how many of single come before
			}{{"send", e.Send, e.Receive, 0}, {"receive", e.Receive, e.Send, places}} {
				for range tt.ahead {
					require.NoError(t, tt.single(Soon(t)))
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
					require.NoError(t, tt.single(Soon(t)))
					tokens <- struct{}{}
				}
				wg.Wait()
				require.Zero(t, refused.Load(), "%s: there is room, or a message", tt.name)
				for range tt.ahead {
					require.NoError(t, tt.many(Soon(t)))
				}
			}

			// one that waits for a message, or for room, keeps nobody else
			for _, tt := range []struct {
				call func(ctx context.Context) error
				want error
			}{{e.Receive, os.ErrDeadlineExceeded}, {e.Send, e.Full}} {
				var err error
				for err == nil { // a send: until there is no room
					err = tt.call(transport.NoWait())
				}
				require.ErrorIs(t, err, tt.want)
				ctx, cancel := context.WithCancel(Soon(t))
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
