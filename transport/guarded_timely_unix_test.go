//go:build unix

package transport

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/internal/test/expect"
)

// overSpoiled runs a test for each callback that comes in the way of a stream or a listener, over a
// plug-in of which that one ends as end does. use meets it; over is what it was used of.
func overSpoiled(t *testing.T, end func() error, test func(callback string, use func() error, over io.Closer)) {
	t.Helper()
	for _, tt := range []struct {
		callback string
		spoil    func(cb *Callbacks[int])
		use      func(c *Stream) error
	}{
		{"Read", func(cb *Callbacks[int]) { cb.Read = func(int, []byte, time.Duration) (int, error) { return 0, end() } },
			func(c *Stream) error { return expect.Err(c.Read(context.Background(), make([]byte, 1))) }},
		{"Write", func(cb *Callbacks[int]) { cb.Write = func(int, []byte, time.Duration) (int, error) { return 0, end() } },
			func(c *Stream) error { return expect.Err(c.Writev(context.Background(), []byte("x"))) }},
		{"Write", func(cb *Callbacks[int]) { cb.Write = func(int, []byte, time.Duration) (int, error) { return 0, end() } },
			func(c *Stream) error { // the queue's writer does not try for ever
				q := newPostQueue(c, nil)
				if err := q.Post(context.Background(), []byte("x"), nil, queue.More); err != nil {
					return err
				}
				return q.Flush(soon(t))
			}},
		{"Writev", func(cb *Callbacks[int]) {
			cb.Writev = func(int, [][]byte, time.Duration) (int64, error) { return 0, end() }
		}, func(c *Stream) error { return expect.Err(c.Writev(context.Background(), []byte("x"), []byte("y"))) }},
		{"CloseWrite", func(cb *Callbacks[int]) { cb.CloseWrite = func(int) error { return end() } }, (*Stream).CloseWrite},
		{"Pending", func(cb *Callbacks[int]) { cb.Pending = func(int) (int, error) { return 0, end() } },
			func(c *Stream) error { return expect.Err(c.PendingBytes()) }},
	} {
		cb := TCPCallbacks()
		tt.spoil(&cb)
		c, _ := pairOf(t, cb)
		test(tt.callback, func() error { return tt.use(c) }, c)
	}

	cb := TCPCallbacks()
	cb.Accept = func(int, time.Duration) (int, Addr, error) { return -1, nil, end() }
	l := expect.NoError(made(t, cb).Listen(loopback(), 0)).In(t)
	defer l.Close()
	test("Accept", func() error { return expect.Err(l.Accept(soon(t))) }, l)
}

// Where the SDK waits, a callback's own time-out is reported as a breach of its contract: the SDK
// would not know when to try again.
func TestTimeoutOfItsOwn(t *testing.T) {
	late := fmt.Errorf("somebody's own limit: %w", os.ErrDeadlineExceeded)
	overSpoiled(t, func() error { return late }, func(callback string, use func() error, _ io.Closer) {
		if callback == "CloseWrite" || callback == "Pending" {
			return // they wait for nothing
		}
		err := expect.Returns(t, expect.Aside(use))
		requireFault(t, err, callback)
		require.ErrorContains(t, err, late.Error())
		require.False(t, isTimeout(err), "it is none of the caller's")
	})
}

// A callback that returns EINTR again and again is at fault; it does not keep its caller for ever.
func TestEndlessEINTR(t *testing.T) {
	overSpoiled(t, func() error { return unix.EINTR }, func(callback string, use func() error, over io.Closer) {
		requireFault(t, expect.Returns(t, expect.Aside(use)), callback)
		if c, ok := over.(*Stream); ok {
			requireFault(t, expect.Err(c.Read(NoWait(), make([]byte, 1))), callback)
		}
	})
}

// Where the SDK waits, a callback that ends its caller's goroutine breaks its socket as one that
// panics does.
func TestExits(t *testing.T) {
	overSpoiled(t, func() error { runtime.Goexit(); return nil }, func(callback string, use func() error, over io.Closer) {
		requireExit(t, callback, use)
		require.NoError(t, expect.Returns(t, expect.Aside(over.Close)))
	})
}

// requireFault requires a breach of the contract by a callback.
func requireFault(t *testing.T, err error, callback string) {
	t.Helper()
	var fault *CallbackError
	require.ErrorAs(t, err, &fault, callback)
	require.Equal(t, callback, fault.Callback)
	require.ErrorIs(t, err, ErrContract)
}

// CloseWrite ends a write that waits for room with EPIPE, also in a UNIX socket, where the kernel
// wakes nobody for it.
func TestCloseWriteBesideWrite(t *testing.T) {
	streamPairs(t, func(t *testing.T, c, _ *Stream) {
		write := expect.Aside(func() error { return expect.Err(c.Writev(context.Background(), make([]byte, 64<<20))) })
		expect.WaitsIn(t, "", "(*Stream).Writev(")
		require.NoError(t, c.CloseWrite())
		require.ErrorIs(t, expect.Returns(t, write), syscall.EPIPE)
	})
}
