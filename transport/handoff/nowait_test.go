//go:build unix

package handoff

import (
	"context"
	"os"
	"syscall"
	"testing"

	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/transport"
)

func TestNoWaitBesideOthers(t *testing.T) {
	conns := func(t *testing.T) (a, b *Conn) { return connPair(t, syscall.SOCK_STREAM) }
	fdtest.NoWaitBesideOthers(t, map[string]func(t *testing.T) fdtest.Duplex{
		"Conn": func(t *testing.T) fdtest.Duplex {
			a, b := conns(t)
			return fdtest.Duplex{
				Send:    func(ctx context.Context) error { return a.Send(ctx, []byte("x")) },
				Receive: func(ctx context.Context) error { _, err := b.Receive(ctx, []byte{0}, nil, 0); return err },
				Full:    os.ErrDeadlineExceeded,
			}
		},
		"TrySend": func(t *testing.T) fdtest.Duplex {
			a, b := conns(t)
			return fdtest.Duplex{
				Send: func(ctx context.Context) error {
					if !transport.IsNoWait(ctx) {
						return a.Send(ctx, []byte("x"))
					}
					_, err := a.TrySend([]byte("x"))
					return err
				},
				Receive: func(ctx context.Context) error { _, err := b.Receive(ctx, []byte{0}, nil, 0); return err },
				Full:    syscall.EAGAIN,
			}
		},
	})
}
