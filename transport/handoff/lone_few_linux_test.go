package handoff

import (
	"context"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/scarce"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/transport"
)

// withoutNumbers leaves this process no free descriptor number until the end of the test, or until
// more is called.
func withoutNumbers(t testing.TB) (more func()) {
	t.Helper()
	more = sync.OnceFunc(scarce.Descriptors(t, 1)) // 0 is in use, and poll(2) wants one
	t.Cleanup(more)
	return more
}

// A call that has to wait for the first time when no descriptor is left to wait with waits all the
// same: what it has begun is sent, and its context and Close end the wait.
func TestLoneWaitsWithoutADescriptor(t *testing.T) {
	fdtest.NoLeak(t)
	a, b := connPair(t, unix.SOCK_STREAM)
	full, peer := connPair(t, unix.SOCK_STREAM)
	much, polls := make([]byte, 8<<20), watched()
	more := withoutNumbers(t)

	require.ErrorIs(t, expect.Err(a.Receive(fdtest.Briefly(t), much, nil, 0)), context.DeadlineExceeded)
	require.ErrorIs(t, expect.Err(a.Receive(transport.NoWait(), much, nil, 0)), os.ErrDeadlineExceeded)
	ended := make(chan error, 1)
	go func() { ended <- a.Send(fdtest.Soon(t), much) }()
	for got := 0; got < len(much); {
		n := expect.NoError(b.Receive(fdtest.Soon(t), much, nil, 0)).In(t)
		got += n
	}
	require.NoError(t, <-ended)

	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- full.Send(ctx, much) }()
	require.NoError(t, expect.Err(peer.Receive(fdtest.Soon(t), make([]byte, 1), nil, 0)))
	cancel()
	err := <-ended
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, transport.ErrPoisoned, "part of it is out")
	go func() { _, err := full.Receive(context.Background(), much, nil, 0); ended <- err }()
	require.Eventually(t, func() bool { return full.receiving.Callers() > 0 }, expect.Limit, time.Millisecond)
	require.NoError(t, full.Close())
	require.ErrorIs(t, <-ended, net.ErrClosed)

	go func() { _, err := b.Receive(context.Background(), much, nil, 0); ended <- err }()
	require.Eventually(t, func() bool { return b.receiving.Callers() > 0 }, expect.Limit, time.Millisecond)
	more()
	require.Eventually(t, func() bool { return watched() == polls+1 }, expect.Limit, time.Millisecond, "it sleeps now")
	require.NoError(t, a.Send(fdtest.Soon(t), []byte("x")))
	require.NoError(t, <-ended)
}
