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
