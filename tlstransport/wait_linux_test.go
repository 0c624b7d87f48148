package tlstransport

import (
	"errors"
	"io"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/test/leak"
	"github.com/cnode-go/cnode/transport"
)

// Who has no descriptor left to wait with waits all the same: no session ends of that, and no processor is kept busy.
func TestWaitsWithoutADescriptor(t *testing.T) {
	w := newWorkbench(t, newAuthority(t, "an authority").mutual(t), Options{})
	c, s := w.pair()
	exchange(t, ours{c}, ours{s}, 100)
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: limit.Max}))
	defer func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)) }()

	sent := make([]byte, 32<<20)
	n, err := c.write(sent, 100*time.Millisecond)
	require.Positive(t, n)
	require.True(t, err == nil || errors.Is(err, os.ErrDeadlineExceeded), err)
	runtime.GC() // so that none of that is in what follows
	began, before := time.Now(), processorTime(t)
	time.Sleep(time.Second) // the rest is tried in the background
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

// What cannot be made leaves nothing: the next try begins anew.
func TestWatchedNotMade(t *testing.T) {
	before := leak.Descriptors()
	var nested []int
	defer func() {
		for _, fd := range nested {
			require.NoError(t, unix.Close(fd))
		}
		require.Empty(t, leak.Left(before))
	}()
	var err error
	for sock := -1; err == nil; sock = nested[len(nested)-1] { // until it is too deep for the Go poller
		if sock >= 0 {
			open := leak.Descriptors()
			var w watched
			if err = w.open(sock, eventsIn); err != nil {
				require.True(t, scarce(err), "%v", err)
				require.Zero(t, w)
				require.Empty(t, leak.Left(open))
				break
			}
			require.NoError(t, w.file.Close())
		}
		outer, e := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		require.NoError(t, e)
		nested = append(nested, outer)
		if sock >= 0 {
			require.NoError(t, unix.EpollCtl(outer, unix.EPOLL_CTL_ADD, sock, &unix.EpollEvent{Events: eventsIn, Fd: int32(sock)}))
		}
	}
}

// What the background cannot wait for, however often it tries, ends what goes out, and not the peace of the processor.
func TestBackgroundEnds(t *testing.T) {
	w := newWorkbench(t, newAuthority(t, "an authority").mutual(t), Options{})
	c, s := w.pair()
	exchange(t, ours{c}, ours{s}, 100)
	o := &c.out
	c.wire.place.mu.Lock()
	c.wire.place.closed = true // and gives no place to wait any more
	c.wire.place.mu.Unlock()
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

// Whoever shares a listener may put it into blocking mode: its time and Interrupt end an Accept as before.
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
