package handoff

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/internal/test/leak"
)

// watched counts the epoll descriptors by which the tests' own sockets wait.
func watched() (n int) {
	for _, target := range leak.Descriptors() {
		if strings.Contains(target, "eventpoll") {
			n++
		}
	}
	return n
}

// A lone needs nothing beside its own descriptor until a call has to wait, and gives everything
// back.
func TestLoneDescriptors(t *testing.T) {
	_, _ = connPair(t, unix.SOCK_SEQPACKET) // from now on the runtime's poller has its descriptors
	before, polls := leak.Descriptors(), watched()
	grown := func() (n int) {
		for fd, target := range leak.Descriptors() {
			if before[fd] != target {
				n++
			}
		}
		return n
	}
	one, other := connPair(t, unix.SOCK_SEQPACKET)
	ctx, p := fdtest.Soon(t), make([]byte, 10)
	require.NoError(t, one.Send(ctx, []byte("x")))
	require.NoError(t, expect.Err(other.Receive(ctx, p, nil, 0)))
	require.Equal(t, 2, grown())
	received := make(chan error, 1)
	go func() { _, err := other.Receive(ctx, p, nil, 0); received <- err }()
	require.Eventually(t, func() bool { return watched() == polls+1 }, expect.Limit, time.Millisecond)
	require.NoError(t, one.Send(ctx, []byte("x")))
	require.NoError(t, <-received)
	require.NoError(t, one.Close())
	require.ErrorIs(t, one.Close(), net.ErrClosed)
	require.NoError(t, other.Close())
	require.Zero(t, grown())
	for _, err := range []error{one.Send(ctx, p), one.raw.Control(func(uintptr) {}), one.raw.Read(func(uintptr) bool { return true }),
		one.closeWrite()} {
		require.ErrorIs(t, err, net.ErrClosed)
	}
}

// Many messages come while the receiver is about to wait, waits, and gives up: none is lost, and no
// receiver sleeps while a message is there.
func TestLoneWaits(t *testing.T) {
	for name, kind := range map[string]int{"packets": unix.SOCK_SEQPACKET, "stream": unix.SOCK_STREAM} {
		t.Run(name, func(t *testing.T) {
			const count = 20_000
			one, other := connPair(t, kind)
			var wg sync.WaitGroup
			for _, ends := range [][2]*Conn{{one, other}, {other, one}} { // both directions at once
				wg.Go(func() {
					for i := range count {
						if i%97 == 0 {
							time.Sleep(50 * time.Microsecond)
						}
						if err := ends[0].Send(context.Background(), []byte{byte(i)}); err != nil {
							t.Error(err)
							return
						}
					}
				})
				wg.Go(func() {
					p := make([]byte, 1)
					for i := 0; i < count; {
						ctx, cancel := context.Background(), context.CancelFunc(func() {})
						if i%5 == 0 {
							ctx, cancel = context.WithTimeout(ctx, 20*time.Microsecond)
						}
						_, err := ends[1].Receive(ctx, p, nil, 0)
						cancel()
						if errors.Is(err, context.DeadlineExceeded) {
							continue
						}
						if err != nil || p[0] != byte(i) {
							t.Errorf("message %d: %d, %v", i, p[0], err)
							return
						}
						i++
					}
				})
			}
			done := make(chan struct{})
			go func() { wg.Wait(); close(done) }()
			select {
			case <-done:
			case <-time.After(60 * time.Second):
				require.FailNow(t, "somebody sleeps")
			}
		})
	}
}

// Close ends calls in both directions, even those that begin at the same moment, and never touches
// a descriptor number that has been reused.
func TestLoneClose(t *testing.T) {
	fdtest.NoLeak(t)
	for range 200 {
		one, other := connPair(t, unix.SOCK_STREAM)
		ended := make(chan error, 3)
		go func() { _, err := one.Receive(context.Background(), make([]byte, 1), nil, 0); ended <- err }()
		go func() { ended <- one.Send(context.Background(), make([]byte, 8<<20)) }()
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			_, err := one.Receive(ctx, make([]byte, 1), nil, 0)
			ended <- err
		}()
		reused := make(chan error, 1)
		go func() {
			f, err := os.Open(os.DevNull)
			reused <- errors.Join(err, f.Close())
		}()
		require.NoError(t, one.Close())
		for range 3 {
			select {
			case err := <-ended:
				require.ErrorIs(t, err, net.ErrClosed)
			case <-time.After(expect.Limit):
				require.FailNow(t, "somebody waits on")
			}
		}
		require.NoError(t, <-reused)
		require.NoError(t, other.Close())
	}
}
