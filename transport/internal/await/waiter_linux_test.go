package await

import (
	"math"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/leak"
)

// accepts reads one byte by a Waiter.
func accepts(w *Waiter, fd int) <-chan error {
	return aside(func() error {
		var err error
		waited := w.Accept(func() bool { _, err = unix.Read(fd, make([]byte, 1)); return err != unix.EAGAIN })
		if waited != nil {
			return waited
		}
		return err
	})
}

// A deadline ends a wait in flight and those to come, of its direction; without one, calls wait
// again.
func TestWaiterDeadlines(t *testing.T) {
	w, here, there := waiterOf(t)
	for range 5 {
		result := accepts(w, here)
		require.NoError(t, w.SetReadDeadline(Past))
		require.ErrorIs(t, returns(t, result), os.ErrDeadlineExceeded)
		require.ErrorIs(t, returns(t, accepts(w, here)), os.ErrDeadlineExceeded)
		begun := time.Now()
		require.NoError(t, w.SetReadDeadline(begun.Add(20*time.Millisecond)))
		require.ErrorIs(t, returns(t, accepts(w, here)), os.ErrDeadlineExceeded)
		require.GreaterOrEqual(t, time.Since(begun), 20*time.Millisecond)
		require.NoError(t, w.SetReadDeadline(time.Time{}))
		result = accepts(w, here)
		_, err := unix.Write(there, []byte("x"))
		require.NoError(t, err)
		require.NoError(t, returns(t, result))
	}
	require.NoError(t, w.SetWriteDeadline(Past))
	var err error
	for p := make([]byte, 64<<10); err == nil; {
		err = w.Write(func() bool { _, err := unix.Write(here, p); return err != unix.EAGAIN })
	}
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

// With a deadline of now a call makes one try, and is over: it costs no descriptor.
func TestWaiterTriesOnce(t *testing.T) {
	w, here, there := waiterOf(t)
	before := leak.Descriptors()
	require.NoError(t, w.SetReadDeadline(time.Now()))
	tries := 0
	once := func() bool {
		tries++
		_, err := unix.Read(here, make([]byte, 1))
		return err != unix.EAGAIN
	}
	for range 10 {
		require.ErrorIs(t, w.Accept(once), os.ErrDeadlineExceeded)
	}
	require.Equal(t, 10, tries)
	require.Empty(t, leak.Left(before))
	_, err := unix.Write(there, []byte("x"))
	require.NoError(t, err)
	require.NoError(t, w.Accept(once))
	require.Equal(t, 11, tries)
}

// Close ends waits, and waits for a try that is running; later calls fail with os.ErrClosed. Close
// may be called twice.
func TestWaiterClose(t *testing.T) {
	w, here, _ := waiterOf(t)
	result := accepts(w, here)
	require.NoError(t, w.Close())
	require.ErrorIs(t, returns(t, result), os.ErrClosed)
	require.ErrorIs(t, returns(t, accepts(w, here)), os.ErrClosed)
	require.ErrorIs(t, w.Write(func() bool { return false }), os.ErrClosed)
	require.ErrorIs(t, w.SetReadDeadline(Past), os.ErrClosed)
	require.NoError(t, w.Close())

	w, _, _ = waiterOf(t)
	begun, goOn := make(chan struct{}), make(chan struct{})
	tried := aside(func() error { return w.Accept(func() bool { close(begun); <-goOn; return true }) })
	<-begun
	for range 2 {
		closed := aside(w.Close)
		for range 100 {
			runtime.Gosched()
		}
		require.Empty(t, closed)
		defer func() { require.NoError(t, returns(t, closed)) }()
	}
	close(goOn)
	require.NoError(t, returns(t, tried))
}

// A descriptor that cannot be waited on is refused.
func TestWaiterRefuses(t *testing.T) {
	f, err := os.Open("waiter_linux.go")
	require.NoError(t, err)
	defer f.Close()
	_, err = NewWaiter(int(f.Fd()), NewPolicy(0))
	var not *NotWaitableError
	require.ErrorAs(t, err, &not)
	for _, none := range []int{-1, math.MaxInt32} {
		_, err = NewWaiter(none, NewPolicy(0))
		require.ErrorIs(t, err, unix.EBADF)
	}
}
