package tlstransport

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/scarce"
	"github.com/cnode-go/cnode/transport"
)

// Without a free descriptor to wait with, calls wait all the same: no session ends, and no
// processor is kept busy.
func TestWaitsWithoutADescriptor(t *testing.T) {
	w := newWorkbench(t, newAuthority(t, "an authority").mutual(t), Options{})
	c, s := w.pair()
	exchange(t, ours{c}, ours{s}, 100)
	defer scarce.Descriptors(t, 0)()

	sent := make([]byte, 32<<20)
	n, err := c.write(sent, 100*time.Millisecond)
	require.Positive(t, n)
	require.True(t, err == nil || errors.Is(err, os.ErrDeadlineExceeded), err)
	runtime.GC() // so that its time is not measured below
	began, before := time.Now(), processorTime(t)
	time.Sleep(time.Second) // the background goroutine tries to send the rest
	require.Less(t, processorTime(t)-before, time.Since(began)/2)
	read := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(ours{s}, make([]byte, len(sent)))
		read <- err
	}()
	_, err = ours{c}.Write(sent[n:])
	require.NoError(t, err)
	require.NoError(t, <-read)
	require.NoError(t, w.cb.Close(c))
	require.NoError(t, w.cb.Close(s))
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	require.NoError(t, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// tooDeep makes nested epoll descriptors, so deep that an epoll descriptor can watch the outermost
// one, but the Go poller cannot watch that epoll descriptor, as if no watch were left. The caller
// owns fd.
func tooDeep(t testing.TB) (fd int) {
	t.Helper()
	for inner := -1; ; inner = fd {
		var err error
		fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		require.NoError(t, err)
		if inner >= 0 {
			t.Cleanup(func() { require.NoError(t, unix.Close(inner)) })
			require.NoError(t, unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, inner, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(inner)}))
		}
		w, err := transport.NewPolling(0).Waiter(fd)
		if err != nil {
			return fd
		}
		require.NoError(t, w.Close())
	}
}

// A listener does not end if no watch is left for a connection: it goes on when there is one.
func TestAcceptWithoutWatches(t *testing.T) {
	cfg := newAuthority(t, "an authority").mutual(t)
	cb, err := Callbacks(Config{Server: cfg, Client: cfg})
	require.NoError(t, err)
	deep, listen := tooDeep(t), cb.Listen
	cb.Listen = func(s *Socket, at transport.Addr, backlog int) (transport.Addr, error) {
		tcp := *s.wire.tcp
		accept, first := tcp.Accept, true
		tcp.Accept = func(fd int, tmo time.Duration) (int, transport.Addr, error) {
			if first {
				first = false
				return deep, at, nil
			}
			return accept(fd, tmo)
		}
		s.wire.tcp = &tcp
		return listen(s, at, backlog)
	}
	tr, err := transport.New(cb, nil)
	require.NoError(t, err)
	l, err := tr.Listen(loopback(t), 0)
	require.NoError(t, err)
	var told []error
	l.Exhausted = func(err error) { told = append(told, err) }
	ctx, cancel := context.WithTimeout(context.Background(), tooLong)
	defer cancel()
	type connected struct {
		s   *transport.Stream
		err error
	}
	connects := make(chan connected, 1)
	go func() {
		s, err := tr.Connect(ctx, l.Addr())
		connects <- connected{s, err}
	}()
	s, err := l.Accept(ctx)
	require.NoError(t, err)
	c := <-connects
	require.NoError(t, c.err)
	require.Len(t, told, 1)
	require.ErrorIs(t, told[0], unix.ENOMEM)
	require.NoError(t, c.s.Close())
	require.NoError(t, s.Close())
	require.NoError(t, l.Close())
}

// If the background goroutine cannot wait, sending ends with an error; the goroutine does not go on
// trying.
func TestBackgroundEnds(t *testing.T) {
	w := newWorkbench(t, newAuthority(t, "an authority").mutual(t), Options{})
	c, s := w.pair()
	exchange(t, ours{c}, ours{s}, 100)
	o := &c.out
	require.NoError(t, c.wire.waiter.Close())
	o.mu.Lock()
	o.buf = make([]byte, 64<<20) // more than there is room for
	o.settle()
	done := o.flushed
	o.mu.Unlock()
	require.NotNil(t, done)
	select {
	case <-done:
	case <-time.After(tooLong):
		require.FailNow(t, "it goes on and on")
	}
	_, err := ours{c}.Write([]byte("x"))
	require.ErrorIs(t, err, os.ErrClosed)
	require.NoError(t, w.cb.Close(c))
	require.NoError(t, w.cb.Close(s))
}

// Another process that shares a listener may put it into blocking mode: an Accept still ends by its
// time and by Interrupt.
func TestAcceptInBlockingMode(t *testing.T) {
	w := newWorkbench(t, newAuthority(t, "an authority").mutual(t), Options{})
	fd, err := w.cb.GetFD(w.l)
	require.NoError(t, err)
	for _, tmo := range []time.Duration{10 * time.Millisecond, transport.Infinite} {
		require.NoError(t, unix.SetNonblock(fd, false))
		accepted := make(chan error, 1)
		go func() {
			_, _, err := w.cb.Accept(w.l, tmo)
			accepted <- err
		}()
		late := time.After(tooLong)
		for ended := false; !ended; {
			select {
			case err := <-accepted:
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
				ended = true
			case <-time.After(20 * time.Millisecond):
				if tmo == transport.Infinite {
					w.cb.Interrupt(w.l)
				}
			case <-late:
				require.FailNow(t, "it waits for ever")
			}
		}
	}
}
