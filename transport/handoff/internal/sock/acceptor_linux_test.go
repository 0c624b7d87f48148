package sock

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport"
)

// With transport.NoWait a pending connection is accepted, but Accept does not wait for one.
func TestAcceptSingleTry(t *testing.T) {
	fdtest.NoLeak(t)
	path := filepath.Join(sockdir.New(t), "s")
	l, pin, err := ListenPackets(transport.UnixAddr(path), path)
	require.NoError(t, err)
	accept := func(ctx context.Context) error {
		ended := make(chan error, 1)
		go func() {
			c, err := l.Accept(ctx)
			if err == nil {
				err = c.Close()
			}
			ended <- err
		}()
		select {
		case err := <-ended:
			return err
		case <-time.After(expect.Limit):
			require.FailNow(t, "it waits")
			return nil
		}
	}
	defer pin.RemoveThen(l.Close)
	for _, ctx := range []context.Context{transport.NoWait(), fdtest.Soon(t), transport.NoWait()} {
		require.ErrorIs(t, accept(transport.NoWait()), os.ErrDeadlineExceeded)
		c, err := DialPackets(fdtest.Soon(t), path)
		require.NoError(t, err)
		require.NoError(t, accept(ctx))
		require.NoError(t, c.Close())
	}
	require.NoError(t, l.turn.Take(fdtest.Soon(t)))
	require.ErrorIs(t, accept(transport.NoWait()), os.ErrDeadlineExceeded)
	l.turn.Pass()
	require.NoError(t, l.Close())
	require.ErrorIs(t, accept(transport.NoWait()), net.ErrClosed)
}
