//go:build unix

package transport

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Close names the callback that does not come back.
func TestCloseNamesTheCallback(t *testing.T) {
	release := make(chan struct{})
	var inside atomic.Int32
	block := func() { inside.Add(1); <-release }
	for _, tt := range []struct {
		name    string
		breakIt func(cb *Callbacks[int])
		call    func(s *Stream) error
	}{
		{"Read", func(cb *Callbacks[int]) {
			cb.Read = func(int, []byte, time.Duration) (int, error) { block(); return 0, nil }
		}, func(s *Stream) error { return second(s.Read(context.Background(), make([]byte, 1))) }},
		{"Write", func(cb *Callbacks[int]) {
			cb.Write = func(int, []byte, time.Duration) (int, error) { block(); return 0, io.EOF }
		}, func(s *Stream) error { return second(s.Writev(context.Background(), []byte("x"))) }},
		{"Writev", func(cb *Callbacks[int]) {
			cb.Writev = func(int, [][]byte, time.Duration) (int64, error) { block(); return 0, io.EOF }
		}, func(s *Stream) error { return second(s.Writev(context.Background(), []byte("x"), []byte("y"))) }},
		{"Pending", func(cb *Callbacks[int]) { cb.Pending = func(int) (int, error) { block(); return 0, nil } },
			func(s *Stream) error { return second(s.PendingBytes()) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inside.Store(0)
			release = make(chan struct{})
			cb := TCPCallbacks()
			tt.breakIt(&cb)
			var closed atomic.Int32
			closing := cb.Close
			cb.Close = func(fd int) error { closed.Add(1); return closing(fd) }
			tr, err := New(cb, nil)
			require.NoError(t, err)
			l, err := TCP().Listen(loopback(), 0)
			require.NoError(t, err)
			c, s := acceptOne(t, l, func() (*Stream, error) { return tr.Connect(soon(t), l.Addr()) })
			done := aside(func() error { return tt.call(c) })
			waiting(t, &inside, 1)
			err = returns(t, aside(c.Close))
			var fault *CallbackError
			require.ErrorAs(t, err, &fault)
			require.ErrorIs(t, err, ErrUnresponsive)
			require.Equal(t, tt.name, fault.Callback)
			require.Zero(t, closed.Load(), "closed under the callback")
			close(release)
			_ = returns(t, done)
			waiting(t, &closed, 1)
			require.NoError(t, s.Close())
			require.NoError(t, l.Close())
		})
	}
}
