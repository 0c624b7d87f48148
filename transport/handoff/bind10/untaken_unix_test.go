//go:build unix

package bind10

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/internal/test/party"
	"github.com/cnode-go/cnode/transport"
)

// The Forwarder knows which sessions the receiver has taken, and waits for it.
func TestUntaken(t *testing.T) {
	fdtest.NoLeak(t)
	f, r := sessions(t, &ReceiverOptions{Acknowledge: true})
	fd, h := v4(t)
	left := func(ctx context.Context, most, want int) error {
		n, err := f.Untaken(ctx, most)
		require.Equal(t, want, n)
		return err
	}
	require.NoError(t, left(transport.NoWait(), 0, 0))
	for range 3 {
		require.NoError(t, f.Push(fd, h, []byte("x")))
	}
	require.NoError(t, left(transport.NoWait(), 3, 3))
	require.ErrorIs(t, left(transport.NoWait(), 2, 3), os.ErrDeadlineExceeded)
	ctx, cancel := context.WithCancel(fdtest.Soon(t))
	cancel()
	require.ErrorIs(t, left(ctx, 2, 3), context.Canceled)

	waits := expect.Aside(func() error { return expect.Err(f.Untaken(context.Background(), 0)) })
	var s Session
	for i := range 3 {
		require.ErrorIs(t, left(transport.NoWait(), 0, 3-i), os.ErrDeadlineExceeded)
		require.NoError(t, r.Receive(fdtest.Soon(t), &s))
		require.NoError(t, func() error { _, err := f.Untaken(fdtest.Soon(t), 2-i); return err }())
	}
	require.NoError(t, <-waits)
	require.NoError(t, s.Close())

	// what is left when the receiver ends has not been seen by anybody
	for range 3 {
		require.NoError(t, f.Push(fd, h, []byte("x")))
	}
	require.NoError(t, r.Receive(fdtest.Soon(t), &s))
	require.NoError(t, s.Close())
	require.NoError(t, r.Close())
	err := left(fdtest.Soon(t), 0, 2)
	require.True(t, errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET), "%v", err)
	require.Error(t, left(transport.NoWait(), 5, 2), "the end is told whatever the bound is")
	require.NoError(t, f.Close())
	require.ErrorIs(t, left(fdtest.Soon(t), 0, 0), syscall.ENOTCONN)
}

// A Push that ends the connection, as there is no room, does not take the answers with it.
func TestUntakenAfterPushHasEnded(t *testing.T) {
	fdtest.NoLeak(t)
	f, r := sessions(t, &ReceiverOptions{Acknowledge: true})
	fd, h := v4(t)
	pushed := 0
	for ; ; pushed++ {
		require.Equal(t, pushed, expect.NoError(f.Untaken(transport.NoWait(), pushed)).In(t))
		if f.Push(fd, h, make([]byte, 10_000)) != nil {
			break
		}
	}
	require.Greater(t, pushed, 3)
	var s Session
	for range pushed {
		require.NoError(t, r.Receive(fdtest.Soon(t), &s))
	}
	require.NoError(t, s.Close())
	require.Zero(t, expect.NoError(f.Untaken(fdtest.Soon(t), 0)).In(t))
	require.Error(t, r.Receive(fdtest.Soon(t), &s))
	require.NoError(t, f.Close())
}

// A Forwarder that does not ask, and ends, is an ordinary end for the receiver.
func TestAcknowledgeNobodyAsks(t *testing.T) {
	f, r := sessions(t, &ReceiverOptions{Acknowledge: true})
	fd, h := v4(t)
	const many = 3000 // more answers than there is room for
	var s Session
	for range many {
		require.NoError(t, f.Push(fd, h, []byte("x")))
		require.NoError(t, r.Receive(fdtest.Soon(t), &s))
	}
	require.NoError(t, f.Push(fd, h, []byte("last")))
	require.NoError(t, f.Close())
	require.NoError(t, r.Receive(fdtest.Soon(t), &s))
	require.Equal(t, "last", string(s.Data))
	require.NoError(t, s.Close())
	require.Equal(t, io.EOF, r.Receive(fdtest.Soon(t), &s))
}

// takesSessions is a side that takes sessions from descriptor 3, and tells the peer of each who it
// is.
const takesSessions = "takes sessions"

func takeSessions(test *party.Side) error {
	c, err := net.FileConn(os.NewFile(3, "sessions"))
	if err != nil {
		return err
	}
	r, err := NewReceiver(c.(*net.UnixConn), &ReceiverOptions{Acknowledge: true})
	if err == nil {
		err = test.Ready()
	}
	var taken []*os.File
	for err == nil {
		var s Session
		if err = r.Receive(context.Background(), &s); err != nil {
			break
		}
		f, e := s.Socket.File(0, "session")
		if err = e; err == nil {
			_, _ = f.Write([]byte{byte(os.Getpid()), byte(os.Getpid() >> 8)})
			taken = append(taken, f)
		}
	}
	_ = taken
	if err == io.EOF {
		return test.Stay()
	}
	return err
}
