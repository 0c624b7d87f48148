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

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/scarce"
	"github.com/cnode-go/cnode/transport"
)

// Without a free descriptor to wait with, calls wait all the same: no session ends, and no
// processor is kept busy.
func TestWaitsWithoutADescriptor(t *testing.T) {
	w := newWorkbench(t, newAuthority(t, "an authority").mutual(t), Options{})
	c, s := w.talking()
	defer scarce.Descriptors(t, 0)()

	sent := make([]byte, 32<<20)
	n, err := c.write(sent, 100*time.Millisecond)
	require.Positive(t, n)
	require.True(t, err == nil || errors.Is(err, os.ErrDeadlineExceeded), err)
	runtime.GC() // so that its time is not measured below
	began, before := time.Now(), processorTime(t)
	time.Sleep(time.Second) // the background goroutine tries to send the rest
	require.Less(t, processorTime(t)-before, time.Since(began)/2)
	read := expect.Aside(func() error { return expect.Err(io.ReadFull(ours{s}, make([]byte, len(sent)))) })
	require.NoError(t, expect.Err(ours{c}.Write(sent[n:])))
	require.NoError(t, <-read)
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	require.NoError(t, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Another process that shares a listener may put it into blocking mode: an Accept still ends by its
// time and by Interrupt.
func TestAcceptInBlockingMode(t *testing.T) {
	w := newWorkbench(t, newAuthority(t, "an authority").mutual(t), Options{})
	fd := expect.NoError(w.cb.GetFD(w.l)).In(t)
	for _, tmo := range []time.Duration{10 * time.Millisecond, transport.Infinite} {
		require.NoError(t, unix.SetNonblock(fd, false))
		accepted := expect.Aside(func() error { return expect.Err2(w.cb.Accept(w.l, tmo)) })
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
