package transport

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/scarce"
	"github.com/cnode-go/cnode/transport/internal/await"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// A reader or writer that finds no descriptor left to sleep with waits all the same: time-outs are
// time-outs, Close ends the wait, and a write that has begun goes out.
func TestSleepsWithoutADescriptor(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	ended, _ := pair(t, TCP(), loopback())
	requireSpeak(t, c, s)
	defer scarce.Descriptors(t, 0)()

	much := make([]byte, 32<<20)
	q := newPostQueue(c, nil)
	begun, cancel := context.WithCancel(context.Background())
	defer cancel()
	require.NoError(t, q.Post(context.Background(), []byte("x"), nil, 0))
	var n int64
	begins := expect.Aside(func() (err error) { n, err = q.Deliver(begun, much); return err })
	require.Eventually(t, func() bool { // more than the byte before
		come, err := s.PendingBytes()
		return err == nil && come > 1
	}, tooLong, time.Millisecond)
	cancel()
	require.ErrorIs(t, expect.Returns(t, begins), context.Canceled)
	require.EqualValues(t, len(much), n, "it has begun and goes out all the same")
	written := expect.Aside(func() error { return q.Flush(soon(t)) })
	require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, 1+len(much)))))
	require.NoError(t, expect.Returns(t, written))

	_, err := s.Read(NoWait(), much)
	require.True(t, isTimeout(err))
	short, leave := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer leave()
	require.ErrorIs(t, expect.Err(s.Read(short, much)), context.DeadlineExceeded)
	full := expect.Aside(func() error { _, err := ended.Writev(context.Background(), much); return err })
	expect.WaitsIn(t, "select", "(*watcher).lookAgain")
	require.NoError(t, ended.Close())
	require.ErrorIs(t, expect.Returns(t, full), net.ErrClosed)
}

// If there is no watch left for an accepted connection, of a plug-in whose descriptor is no socket,
// the listener does not end. The test uses epoll descriptors nested too deeply for the Go poller,
// which fail in the same way.
func TestAcceptWithoutWatches(t *testing.T) {
	deep := -1
	for inner := -1; ; inner = deep {
		var err error
		deep = expect.NoError(unix.EpollCreate1(unix.EPOLL_CLOEXEC)).In(t)
		if inner >= 0 {
			t.Cleanup(func() { sys.Close(inner) })
			require.NoError(t, unix.EpollCtl(deep, unix.EPOLL_CTL_ADD, inner,
				&unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(inner)}))
		}
		waits, err := await.New(deep, await.NewPolicy(0), true, false)
		if err != nil {
			require.ErrorIs(t, err, unix.ENOMEM)
			break
		}
		waits.Close()
	}
	cb := TCPCallbacks()
	accept, first := cb.Accept, true
	cb.Accept = func(fd int, tmo time.Duration) (int, Addr, error) {
		if first {
			first = false
			return deep, loopback(), nil
		}
		return accept(fd, tmo)
	}
	tr := expect.NoError(New(cb, nil)).In(t)
	l := expect.NoError(tr.Listen(loopback(), 0)).In(t)
	var told []error
	l.Exhausted = func(err error) { told = append(told, err) }
	c, s := acceptOne(t, l, func() (*Stream, error) { return TCP().Connect(soon(t), l.Addr()) })
	requireSpeak(t, c, s)
	require.Len(t, told, 1)
	require.ErrorIs(t, told[0], unix.ENOMEM)
	require.NoError(t, l.Close())
}
