//go:build unix

package transport_test

import (
	"errors"
	"math"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/transporttest"
)

// An own is the socket context of a plug-in that speaks over TCP and waits by itself.
type own struct {
	fd int
	w  *transport.Waiter
}

func newOwn(polling *transport.Polling, fd int) (*own, error) {
	err := unix.SetNonblock(fd, true)
	if err == nil {
		var w *transport.Waiter
		if w, err = polling.Waiter(fd); err == nil {
			return &own{fd, w}, nil
		}
	}
	return nil, errors.Join(err, unix.Close(fd))
}

// until is the deadline of a call that may take tmo.
func until(tmo time.Duration) time.Time {
	if tmo == transport.Infinite {
		return time.Time{}
	}
	return time.Now().Add(tmo)
}

var gone = time.Unix(1, 0)

// ownWaiting returns the TCP plug-in's callbacks with FullImpl, over Waiters.
func ownWaiting(polling *transport.Polling) transport.Callbacks[*own] {
	tcp := transport.TCPCallbacks()
	return transport.Callbacks[*own]{
		Flags: transport.FullImpl | transport.Direct,
		Name:  "own",
		Socket: func(setup any, addr transport.Addr) (*own, error) {
			fd, err := tcp.Socket(setup, addr)
			if err != nil {
				return nil, err
			}
			return newOwn(polling, fd)
		},
		Close: func(o *own) error {
			return errors.Join(o.w.Close(), tcp.Close(o.fd))
		},
		Listen: func(o *own, addr transport.Addr, backlog int) (transport.Addr, error) {
			return tcp.Listen(o.fd, addr, backlog)
		},
		Accept: func(o *own, tmo time.Duration) (*own, transport.Addr, error) {
			var (
				fd   int
				from transport.Addr
				err  error
			)
			_ = o.w.SetReadDeadline(until(tmo))
			if e := o.w.Accept(func() bool { fd, from, err = tcp.Accept(o.fd, 0); return err != syscall.EAGAIN }); e != nil {
				return nil, nil, e
			}
			if err != nil {
				return nil, nil, err
			}
			n, err := newOwn(polling, fd)
			if err != nil {
				return nil, nil, err
			}
			return n, from, nil
		},
		Connect: func(o *own, addr transport.Addr, tmo time.Duration) error {
			err := tcp.Connect(o.fd, addr, 0)
			if err != syscall.EINPROGRESS {
				return err
			}
			_ = o.w.SetWriteDeadline(until(tmo))
			return o.w.Connected()
		},
		Read: func(o *own, p []byte, tmo time.Duration) (n int, err error) {
			_ = o.w.SetReadDeadline(until(tmo))
			e := o.w.Read(func() (int, bool) { n, err = tcp.Read(o.fd, p, 0); return n, err != syscall.EAGAIN })
			if e != nil {
				return 0, e
			}
			return n, err
		},
		Write: func(o *own, p []byte, tmo time.Duration) (n int, err error) {
			_ = o.w.SetWriteDeadline(until(tmo))
			if e := o.w.Write(func() bool { n, err = tcp.Write(o.fd, p, 0); return err != syscall.EAGAIN }); e != nil {
				return 0, e
			}
			o.w.Wrote(n)
			return n, err
		},
		Interrupt: func(o *own) {
			_ = o.w.SetReadDeadline(gone)
			_ = o.w.SetWriteDeadline(gone)
		},
		HandshakePacketHeaderSize: func(o *own) (int, error) { return tcp.HandshakePacketHeaderSize(o.fd) },
		GetFD:                     func(o *own) (int, error) { return o.fd, nil },
		CloseWrite:                func(o *own) error { return tcp.CloseWrite(o.fd) },
	}
}

// A plug-in that waits by Waiters keeps the contract, whether it polls or not.
func TestWaiterPlugin(t *testing.T) {
	need.Long(t, 15*time.Second)
	for name, limit := range map[string]time.Duration{"polls": transport.DefaultPolling, "sleeps": 0} {
		t.Run(name, func(t *testing.T) {
			tr, err := transport.New(ownWaiting(transport.NewPolling(limit)), nil)
			require.NoError(t, err)
			transporttest.Run(t, func() (transport.Transport, transport.Addr, error) {
				addr, err := transport.ParseAddr("127.0.0.1:0")
				return tr, addr, err
			})
		})
	}
}

// socketPair returns two connected sockets in non-blocking mode.
func socketPair(t *testing.T) (a, b int) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	for _, fd := range pair {
		unix.CloseOnExec(fd)
		require.NoError(t, unix.SetNonblock(fd, true))
		t.Cleanup(func() { _ = unix.Close(fd) })
	}
	return pair[0], pair[1]
}

// reader reads one byte by a Waiter.
func reader(w *transport.Waiter, fd int) chan error {
	result := make(chan error, 1)
	go func() {
		p := make([]byte, 1)
		var err error
		e := w.Read(func() (n int, done bool) { n, err = unix.Read(fd, p); return n, err != unix.EAGAIN })
		if e == nil {
			e = err
		}
		result <- e
	}()
	return result
}

func ends(t *testing.T, result chan error) error {
	t.Helper()
	select {
	case err := <-result:
		return err
	case <-time.After(time.Minute):
		require.FailNow(t, "it waits for ever")
		return nil
	}
}

// A deadline ends a read in flight and one to come, whatever it waits in; without one, reads wait
// again.
func TestWaiterDeadlines(t *testing.T) {
	before := leak.Descriptors()
	a, b := socketPair(t)
	w, err := transport.NewPolling(transport.MaxPolling).Waiter(a)
	require.NoError(t, err)
	talk := func(n int) { // so that the reader polls, or sits
		for range n {
			result := reader(w, a)
			w.Wrote(1)
			_, err := unix.Write(b, []byte{1})
			require.NoError(t, err)
			require.NoError(t, ends(t, result))
		}
	}
	for range 5 {
		result := reader(w, a)
		require.NoError(t, w.SetReadDeadline(gone))
		require.ErrorIs(t, ends(t, result), os.ErrDeadlineExceeded)
		require.ErrorIs(t, ends(t, reader(w, a)), os.ErrDeadlineExceeded)
		require.NoError(t, w.SetReadDeadline(time.Time{}))
		talk(40)
		begun := time.Now()
		require.NoError(t, w.SetReadDeadline(begun.Add(50*time.Millisecond)))
		require.ErrorIs(t, ends(t, reader(w, a)), os.ErrDeadlineExceeded)
		require.GreaterOrEqual(t, time.Since(begun), 50*time.Millisecond)
		require.NoError(t, w.SetReadDeadline(time.Time{}))
		talk(40)
		result = reader(w, a)
		// the reader waits already
		require.NoError(t, w.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
		require.ErrorIs(t, ends(t, result), os.ErrDeadlineExceeded)
		require.NoError(t, w.SetReadDeadline(time.Time{}))
	}
	talk(1)
	require.NoError(t, w.Close())
	require.NoError(t, unix.Close(a))
	require.NoError(t, unix.Close(b))
	// Unused seats are closed.
	require.Eventually(t, func() bool { return len(leak.Left(before)) == 0 }, time.Minute, time.Millisecond)
}

// Writers wait for room.
func TestWaiterWrites(t *testing.T) {
	a, b := socketPair(t)
	w, err := transport.NewPolling(transport.DefaultPolling).Waiter(a)
	require.NoError(t, err)
	defer w.Close()
	const size = 8 << 20
	result := make(chan error, 1)
	go func() {
		p := make([]byte, size)
		for len(p) > 0 {
			var n int
			var err error
			if e := w.Write(func() bool { n, err = unix.Write(a, p); return err != unix.EAGAIN }); e != nil || err != nil {
				result <- errors.Join(e, err)
				return
			}
			p = p[n:]
		}
		result <- nil
	}()
	r, err := transport.NewPolling(transport.DefaultPolling).Waiter(b)
	require.NoError(t, err)
	defer r.Close()
	p := make([]byte, 64<<10)
	for had := 0; had < size; {
		require.NoError(t, r.Read(func() (n int, done bool) {
			n, err := unix.Read(b, p)
			had += max(n, 0)
			return max(n, 0), err != unix.EAGAIN
		}))
	}
	require.NoError(t, ends(t, result))
	require.NoError(t, w.SetWriteDeadline(gone))
	for err = nil; err == nil; {
		err = w.Write(func() bool { _, err := unix.Write(a, p); return err != unix.EAGAIN })
	}
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

// Close ends waits, and waits for a try that is running; later calls fail with os.ErrClosed. Close
// may be called twice.
func TestWaiterClose(t *testing.T) {
	a, _ := socketPair(t)
	w, err := transport.NewPolling(0).Waiter(a)
	require.NoError(t, err)
	result := reader(w, a)
	require.NoError(t, w.Close())
	require.ErrorIs(t, ends(t, result), os.ErrClosed)
	require.ErrorIs(t, ends(t, reader(w, a)), os.ErrClosed)
	require.ErrorIs(t, w.Accept(func() bool { return false }), os.ErrClosed)
	require.ErrorIs(t, w.Write(func() bool { return false }), os.ErrClosed)
	require.ErrorIs(t, w.SetReadDeadline(gone), os.ErrClosed)
	require.NoError(t, w.Close())

	w, err = transport.NewPolling(0).Waiter(a)
	require.NoError(t, err)
	begun, goOn := make(chan struct{}), make(chan struct{})
	tried := make(chan error, 1)
	go func() {
		tried <- w.Accept(func() bool { close(begun); <-goOn; return true })
	}()
	<-begun
	closed := make(chan error, 1)
	go func() { closed <- w.Close() }()
	for range 100 {
		runtime.Gosched()
	}
	require.Empty(t, closed)
	again := make(chan error, 1)
	go func() { again <- w.Close() }()
	for range 100 {
		runtime.Gosched()
	}
	require.Empty(t, again)
	close(goOn)
	require.NoError(t, ends(t, again))
	require.NoError(t, ends(t, tried))
	require.NoError(t, ends(t, closed))
}

// Waiting allocates no memory, nor does a deadline that is moved before it has passed; after one
// that has, another one begins.
func TestWaiterAllocates(t *testing.T) {
	a, b := socketPair(t)
	w, err := transport.NewPolling(0).Waiter(a)
	require.NoError(t, err)
	defer w.Close()
	p := make([]byte, 1)
	read := func() (int, bool) { n, err := unix.Read(a, p); return n, err != unix.EAGAIN }
	write := func() bool { _, err := unix.Write(a, p); return err != unix.EAGAIN }
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, _ = unix.Write(b, p)
		_, _ = w.Read(read), w.Write(write)
		w.Wrote(1)
		_, _ = unix.Read(b, p)
		_ = w.Read(func() (int, bool) { return 0, true })
		_ = w.SetReadDeadline(time.Time{})
	}))
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		_ = w.SetReadDeadline(gone)
		_ = w.Read(read)
		_ = w.SetReadDeadline(time.Time{})
	}), 2.0)
}

// With a deadline of now a call makes one try, and is over: it costs no descriptor and no time.
func TestWaiterTriesOnce(t *testing.T) {
	a, b := socketPair(t)
	w, err := new(transport.Polling).Waiter(a)
	require.NoError(t, err)
	defer w.Close()
	before := leak.Descriptors()
	require.NoError(t, w.SetReadDeadline(time.Now()))
	tries := 0
	p := make([]byte, 1)
	once := func() (n int, done bool) {
		tries++
		n, err := unix.Read(a, p)
		return n, err != unix.EAGAIN
	}
	for range 10 {
		require.ErrorIs(t, w.Read(once), os.ErrDeadlineExceeded)
	}
	require.Equal(t, 10, tries)
	require.Empty(t, leak.Left(before))
	_, err = unix.Write(b, p)
	require.NoError(t, err)
	require.NoError(t, w.Read(once))
	require.Equal(t, 11, tries)
}

// A descriptor that cannot be waited on is refused.
func TestWaiterRefuses(t *testing.T) {
	f, err := os.Open("waiter.go")
	require.NoError(t, err)
	defer f.Close()
	_, err = transport.NewPolling(0).Waiter(int(f.Fd()))
	require.ErrorIs(t, err, transport.ErrContract)
	for _, none := range []int{-1, math.MaxInt32} {
		_, err = transport.NewPolling(0).Waiter(none)
		require.ErrorIs(t, err, unix.EBADF)
	}
}
