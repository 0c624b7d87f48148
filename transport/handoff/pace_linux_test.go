package handoff

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A call waits by itself when waits have been short eight times in a row, until it has done so twice in vain.
func TestPace(t *testing.T) {
	one, other := rawPair(t, unix.SOCK_SEQPACKET)
	defer unix.Close(one)
	defer unix.Close(other)
	var p pace
	wait := func(took time.Duration) {
		p.begin()
		p.linger(one, false)
		p.began = time.Now().Add(-took)
		p.end()
	}
	for range paceHot - 1 {
		wait(0)
	}
	wait(2 * lingerLimit)
	for range paceHot {
		require.False(t, p.hot, "a longer one was between them")
		p.end() // of a call that has not waited
		wait(0)
	}
	require.True(t, p.hot)
	wait(2 * lingerLimit)
	wait(0)
	wait(2 * lingerLimit)
	require.True(t, p.hot, "in vain, but not in a row")
	wait(2 * lingerLimit)
	require.False(t, p.hot)

	// It tries until its time is up; and it is told to try again when there is something.
	p.hot = true
	p.begin()
	begun := time.Now()
	for p.linger(one, false) {
		require.Less(t, time.Since(begun), 10*time.Second)
	}
	require.GreaterOrEqual(t, time.Since(begun), lingerLimit)
	require.False(t, p.linger(one, false), "once only")
	p.begin()
	for p.linger(one, true) && p.keen { // there is room
	}
	p.begin()
	p.began = time.Now().Add(-lingerTries)
	require.True(t, p.linger(one, true), "there is room")
	_, err := unix.Write(other, []byte("x"))
	require.NoError(t, err)
	p.begin()
	p.began = time.Now().Add(-lingerTries)
	require.True(t, p.linger(one, false), "there is a message")
}

// Whoever waits by itself still hears of Close, and of the end of its context; and who does not want to wait does not.
func TestPaceEnds(t *testing.T) {
	one, other := connPair(t, unix.SOCK_SEQPACKET)
	for range 20 {
		one.in.pace.hot, one.in.pace.count = true, 0
		ctx, cancel := context.WithCancel(context.Background())
		received := make(chan error, 1)
		go func() {
			_, err := one.Receive(ctx, make([]byte, 10), nil, 0)
			received <- err
		}()
		cancel()
		require.ErrorIs(t, <-received, context.Canceled)
	}
	for n, err := 1, error(nil); err == nil; n++ {
		other.out.pace.hot = true
		_, err = other.TrySend(make([]byte, 100))
		require.True(t, err == nil || n > 1 && errors.Is(err, syscall.EAGAIN), "%v", err)
		require.False(t, other.out.pace.keen)
	}
	other.out.pace.hot = true
	sent := make(chan error, 1)
	go func() { sent <- other.Send(context.Background(), make([]byte, 100)) }()
	require.NoError(t, other.Close())
	require.ErrorIs(t, <-sent, net.ErrClosed)
}
