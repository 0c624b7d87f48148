package transport

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Who finds no descriptor left to sleep with waits all the same: time-outs are time-outs, Close ends it, and what it has begun goes out.
func TestSleepsWithoutADescriptor(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	ended, _ := pair(t, TCP(), loopback())
	requireSpeak(t, c, s)
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: limit.Max}))
	defer func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)) }()

	much := make([]byte, 32<<20)
	q := NewQueue(c, nil)
	begun, cancel := context.WithCancel(context.Background())
	defer cancel()
	require.NoError(t, q.Post(context.Background(), []byte("x"), nil, 0))
	var n int64
	begins := aside(func() (err error) { n, err = q.WritevQueue(begun, much); return err })
	returns(t, closed(t, func() bool { come, err := s.PendingBytes(); return err == nil && come > 1 })) // more than the byte before
	cancel()
	require.ErrorIs(t, returns(t, begins), context.Canceled)
	require.EqualValues(t, len(much), n, "it has begun and goes out all the same")
	written := aside(func() error { return q.Flush(soon(t)) })
	_, err := s.Readv(soon(t), make([]byte, 1+len(much)))
	require.NoError(t, err)
	require.NoError(t, returns(t, written))

	_, err = s.Read(NoWait(), much)
	require.True(t, isTimeout(err))
	short, leave := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer leave()
	_, err = s.Read(short, much)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	full := aside(func() error { _, err := ended.Writev(context.Background(), much); return err })
	time.Sleep(20 * time.Millisecond)
	require.NoError(t, ended.Close())
	require.ErrorIs(t, returns(t, full), net.ErrClosed)
}
