//go:build unix

package transport

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/internal/test/expect"
)

// Where the SDK waits, a callback's own time-out is reported as a breach of its contract: the SDK
// would not know when to try again.
func TestTimeoutOfItsOwn(t *testing.T) {
	late := fmt.Errorf("somebody's own limit: %w", os.ErrDeadlineExceeded)
	for _, tt := range []struct {
		callback string
		breaks   func(cb *Callbacks[int])
		call     func(c *Stream) error
	}{
		{"Read", func(cb *Callbacks[int]) { cb.Read = func(int, []byte, time.Duration) (int, error) { return 0, late } },
			func(c *Stream) error { return second(c.Read(context.Background(), make([]byte, 1))) }},
		{"Write", func(cb *Callbacks[int]) { cb.Write = func(int, []byte, time.Duration) (int, error) { return 0, late } },
			func(c *Stream) error { return second(c.Writev(context.Background(), []byte("x"))) }},
		{"Write", func(cb *Callbacks[int]) { cb.Write = func(int, []byte, time.Duration) (int, error) { return 0, late } },
			func(c *Stream) error { // the queue's writer does not try for ever
				q := newPostQueue(c, nil)
				if err := q.Post(context.Background(), []byte("x"), nil, queue.More); err != nil {
					return err
				}
				return q.Flush(soon(t))
			}},
		{"Writev", func(cb *Callbacks[int]) {
			cb.Writev = func(int, [][]byte, time.Duration) (int64, error) { return 0, late }
		},
			func(c *Stream) error { return second(c.Writev(context.Background(), []byte("x"), []byte("y"))) }},
	} {
		cb := TCPCallbacks()
		tt.breaks(&cb)
		c, _ := pairOf(t, cb)
		err := returns(t, aside(func() error { return tt.call(c) }))
		requireFault(t, err, tt.callback)
		require.ErrorContains(t, err, late.Error())
		require.False(t, isTimeout(err), "it is none of the caller's")
	}

	cb := TCPCallbacks()
	cb.Accept = func(int, time.Duration) (int, Addr, error) { return -1, nil, late }
	tr, err := New(cb, nil)
	require.NoError(t, err)
	l, err := tr.Listen(loopback(), 0)
	require.NoError(t, err)
	defer l.Close()
	_, err = l.Accept(soon(t))
	require.ErrorIs(t, err, ErrContract)
}

// A callback that returns EINTR again and again is at fault; it does not keep its caller for ever.
func TestEndlessEINTR(t *testing.T) {
	none := func() (int, error) { return 0, unix.EINTR }
	for callback, tt := range map[string]struct {
		breaks func(cb *Callbacks[int])
		call   func(c *Stream) error
	}{
		"Read": {func(cb *Callbacks[int]) { cb.Read = func(int, []byte, time.Duration) (int, error) { return none() } },
			func(c *Stream) error { return second(c.Read(context.Background(), make([]byte, 1))) }},
		"Write": {func(cb *Callbacks[int]) { cb.Write = func(int, []byte, time.Duration) (int, error) { return none() } },
			func(c *Stream) error { return second(c.Writev(context.Background(), []byte("x"))) }},
		"Writev": {func(cb *Callbacks[int]) {
			cb.Writev = func(int, [][]byte, time.Duration) (int64, error) { return 0, unix.EINTR }
		},
			func(c *Stream) error { return second(c.Writev(context.Background(), []byte("x"), []byte("y"))) }},
		"CloseWrite": {func(cb *Callbacks[int]) { cb.CloseWrite = func(int) error { return unix.EINTR } }, (*Stream).CloseWrite},
		"Pending": {func(cb *Callbacks[int]) { cb.Pending = func(int) (int, error) { return none() } },
			func(c *Stream) error { return second(c.PendingBytes()) }},
	} {
		cb := TCPCallbacks()
		tt.breaks(&cb)
		c, _ := pairOf(t, cb)
		requireFault(t, returns(t, aside(func() error { return tt.call(c) })), callback)
		requireFault(t, second(c.Read(NoWait(), make([]byte, 1))), callback)
	}

	cb := TCPCallbacks()
	cb.Accept = func(int, time.Duration) (int, Addr, error) { return -1, nil, unix.EINTR }
	tr, err := New(cb, nil)
	require.NoError(t, err)
	l, err := tr.Listen(loopback(), 0)
	require.NoError(t, err)
	defer l.Close()
	requireFault(t, returns(t, aside(func() error { return second(l.Accept(soon(t))) })), "Accept")
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
	for name, over := range map[string]struct {
		tr Transport
		at Addr
	}{"tcp": {TCP(), loopback()}, "unix": {Unix(), socketPath(t)}, "memory": {NewMemory(), MemoryAddr("")}} {
		t.Run(name, func(t *testing.T) {
			c, _ := pair(t, over.tr, over.at)
			write := aside(func() error { return second(c.Writev(context.Background(), make([]byte, 64<<20))) })
			expect.WaitsIn(t, "", "(*Stream).Writev(")
			require.NoError(t, c.CloseWrite())
			require.ErrorIs(t, returns(t, write), syscall.EPIPE)
		})
	}
}
