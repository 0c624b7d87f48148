package transport

import (
	"context"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

// A reader or writer that finds no descriptor left to sleep with waits all the same: time-outs are time-outs, Close ends the wait, and a
// write that has begun goes out.
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
	waitsIn(t, "select", "(*watcher).glance")
	require.NoError(t, ended.Close())
	require.ErrorIs(t, returns(t, full), net.ErrClosed)
}

// What ends a wait ends a glance at once, too.
func TestSlumberEnds(t *testing.T) {
	for name, end := range map[string]func(w *watcher) error{
		"by a reader's deadline": func(w *watcher) error { return w.deadline(false, past) },
		"by a writer's deadline": func(w *watcher) error { return w.deadline(true, past) },
		"by Close":               func(w *watcher) error { w.close(); return nil },
	} {
		w := newWatcher(-1)
		i := &w.reader
		if name == "by a writer's deadline" {
			i = &w.writer
		}
		asleep := aside(func() error { w.slumber(i, time.Hour, nil); return nil })
		waitsIn(t, "select", "(*watcher).slumber")
		require.NoError(t, end(w), name)
		require.NoError(t, returns(t, asleep), name)
		w.slumber(i, time.Hour, nil) // nor does another one begin
	}
}

// A glance goes on only until there is a descriptor to sleep with.
func TestSleepsOnceThereIsADescriptor(t *testing.T) {
	cb := TCPCallbacks()
	var reads atomic.Int32
	read := cb.Read
	cb.Read = func(fd int, p []byte, tmo time.Duration) (int, error) {
		reads.Add(1)
		return read(fd, p, tmo)
	}
	tr, err := New(cb, nil)
	require.NoError(t, err)
	c, s := pair(t, WithPolling(tr, 0), loopback())
	w := s.car.(*socket[int]).wait.(*watcher)
	sleeps := func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.reader.raw != nil
	}
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: limit.Max}))
	came := aside(func() error { _, err := s.Read(context.Background(), make([]byte, 1)); return err })
	looks := assert.Eventually(t, func() bool { return reads.Load() > 4 }, 20*time.Second, time.Millisecond)
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	require.True(t, looks)
	require.Eventually(t, sleeps, 20*time.Second, time.Millisecond)
	_, err = c.Writev(soon(t), []byte("x"))
	require.NoError(t, err)
	require.NoError(t, returns(t, came))
}

// If there is no watch left for an accepted connection, of a plug-in whose descriptor is no socket, the listener does not end. The test
// uses epoll descriptors nested too deeply for the Go poller, which fail in the same way.
func TestAcceptWithoutWatches(t *testing.T) {
	deep := -1
	for inner := -1; ; inner = deep {
		var err error
		deep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		require.NoError(t, err)
		if inner >= 0 {
			t.Cleanup(func() { sys.Close(inner) })
			require.NoError(t, unix.EpollCtl(deep, unix.EPOLL_CTL_ADD, inner, &unix.EpollEvent{Events: arrivals, Fd: int32(inner)}))
		}
		var i interest
		if err := i.open(deep, arrivals); err != nil {
			require.ErrorIs(t, err, unix.ENOMEM)
			break
		}
		require.NoError(t, i.file.Close())
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
	tr, err := New(cb, nil)
	require.NoError(t, err)
	l, err := tr.Listen(loopback(), 0)
	require.NoError(t, err)
	var told []error
	l.Exhausted = func(err error) { told = append(told, err) }
	c, s := acceptOne(t, l, func() (*Stream, error) { return TCP().Connect(soon(t), l.Addr()) })
	requireSpeak(t, c, s)
	require.Len(t, told, 1)
	require.ErrorIs(t, told[0], unix.ENOMEM)
	require.NoError(t, l.Close())
}

func TestErrorsThatMeanExhaustion(t *testing.T) {
	for _, err := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS, os.NewSyscallError("epoll_ctl", unix.ENOSPC)} {
		require.True(t, exhausted(err), "%v", err)
	}
	for _, err := range []error{nil, unix.EBADF, unix.EPERM, os.ErrClosed} {
		require.False(t, exhausted(err), "%v", err)
	}
}
