//go:build unix

package beam

import (
	"context"
	"os"
	"syscall"
	"testing"

	"github.com/cnode-go/cnode/internal/test/fdtest"
)

func TestNoWaitBesideOthers(t *testing.T) {
	fdtest.NoWaitBesideOthers(t, map[string]func(t *testing.T) fdtest.Duplex{
		"Conn": func(t *testing.T) fdtest.Duplex {
			a, b := messages(t, syscall.SOCK_STREAM, nil)
			return fdtest.Duplex{
				Send:    func(ctx context.Context) error { return a.Send(ctx, []byte("x"), nil) },
				Receive: func(ctx context.Context) error { _, _, err := b.Receive(ctx); return err },
				Full:    os.ErrDeadlineExceeded,
			}
		},
	})
}
