package handoff

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/fdtest"
)

// Close beside calls of every kind: each call succeeds or returns an error; none goes on waiting,
// and no descriptor stays open.
func TestCloseBesideCalls(t *testing.T) {
	fdtest.NoLeak(t)
	f := fdtest.File(t, "f")
	usual := []error{io.EOF, syscall.EPIPE, syscall.ECONNRESET, syscall.EAGAIN}
	for round := range 30 {
		a, b := connPair(t, []int{unix.SOCK_SEQPACKET, unix.SOCK_STREAM}[round%2])
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		beside := func(c *Conn, call func(c *Conn) error) {
			for range 2 {
				wg.Go(func() {
					for {
						err := call(c)
						if errors.Is(err, net.ErrClosed) {
							return
						}
						if err != nil && !slices.ContainsFunc(usual, func(e error) bool { return errors.Is(err, e) }) {
							t.Errorf("%v", err)
							return
						}
					}
				})
			}
		}
		for _, c := range []*Conn{a, b} {
			beside(c, func(c *Conn) error { return c.Send(context.Background(), []byte("x"), f) })
			beside(c, func(c *Conn) error { _, err := c.TrySend([]byte("x"), f); return err })
			beside(c, func(c *Conn) error {
				var set FDSet
				_, err := c.Receive(ctx, make([]byte, 10), &set, MaxDescriptors)
				return errors.Join(err, set.Close())
			})
			beside(c, func(c *Conn) error { return c.raw.Control(func(uintptr) {}) })
		}
		time.Sleep(time.Duration(round) * 20 * time.Microsecond)
		require.NoError(t, a.Close())
		require.ErrorIs(t, a.Close(), net.ErrClosed)
		require.NoError(t, b.Close())
		wg.Wait()
		cancel()
	}
}
