//go:build unix

package fdtest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/transport"
)

// LeftOver returns the descriptors of the map now that are not in before, except those of the
// runtime's poller. See leak.Descriptors.
func LeftOver(before, now map[string]string) (left []string) {
	for fd, target := range now {
		if before[fd] != target && !strings.HasPrefix(target, "anon_inode:") {
			left = append(left, fd+" -> "+target)
		}
	}
	return left
}

// NoLeak fails the test if at its end, after its other clean-ups, descriptors are open that are not
// open now.
func NoLeak(t testing.TB) {
	t.Helper()
	before := leak.Descriptors()
	t.Cleanup(func() { require.Empty(t, LeftOver(before, leak.Descriptors()), "descriptors left open") })
}

// Soon is a context for operations that should end at once.
func Soon(t testing.TB) context.Context { return expect.Context(t) }

// Briefly is a context for a call that is to wait in vain.
func Briefly(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// A Waited is a context that tells when a call begins to wait for its end.
type Waited struct {
	context.Context
	once  sync.Once
	waits chan struct{}
}

// NewWaited makes a Waited of a context.
func NewWaited(ctx context.Context) *Waited {
	return &Waited{Context: ctx, waits: make(chan struct{})}
}

// Done is that of the context.
func (w *Waited) Done() <-chan struct{} {
	w.once.Do(func() { close(w.waits) })
	return w.Context.Done()
}

// Begun is closed once a call has asked for Done.
func (w *Waited) Begun() <-chan struct{} { return w.waits }

// Impatient are contexts of callers that do not wait long, and the errors that they get.
func Impatient(t testing.TB) map[string]func() (context.Context, error) {
	return map[string]func() (context.Context, error){
		"deadline": func() (context.Context, error) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			t.Cleanup(cancel)
			return ctx, context.DeadlineExceeded
		},
		"no wait": func() (context.Context, error) { return transport.NoWait(), os.ErrDeadlineExceeded },
		"no wait, derived": func() (context.Context, error) {
			ctx, cancel := context.WithCancel(transport.NoWait())
			t.Cleanup(cancel)
			return ctx, os.ErrDeadlineExceeded
		},
	}
}

// IsClosed tells whether a number is not that of an open descriptor.
func IsClosed(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), syscall.F_GETFD, 0)
	return err == syscall.EBADF
}

// RawPair makes two connected descriptors.
func RawPair(t testing.TB, kind int) (one, other int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, kind, 0)
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		t.Skipf("UNIX sockets of type %d: %v", kind, err)
	}
	require.NoError(t, err)
	return fds[0], fds[1]
}

// Pair makes two connected sockets.
func Pair(t testing.TB, kind int) (one, other *net.UnixConn) {
	t.Helper()
	a, b := RawPair(t, kind)
	return UnixConn(t, a), UnixConn(t, b)
}

// UnixConn makes a net.UnixConn of a descriptor, which it closes.
func UnixConn(t testing.TB, fd int) *net.UnixConn {
	t.Helper()
	f := os.NewFile(uintptr(fd), "socket")
	c, err := net.FileConn(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	t.Cleanup(func() { c.Close() })
	return c.(*net.UnixConn)
}

// File is a descriptor of a file that holds text, closed at the end of the test.
func File(t testing.TB, text string) int {
	t.Helper()
	fd, err := unix.Open(path(t, text), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// Open is File as a file of package os.
func Open(t testing.TB, text string) *os.File {
	t.Helper()
	f, err := os.Open(path(t, text))
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func path(t testing.TB, text string) string {
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

// Content reads the file of a descriptor from its beginning.
func Content(t testing.TB, fd int) string {
	t.Helper()
	b := make([]byte, 100)
	n, err := unix.Pread(fd, b, 0)
	require.NoError(t, err)
	return string(b[:n])
}

// Repeat is a list of one descriptor n times.
func Repeat(fd, n int) (fds []int) {
	for range n {
		fds = append(fds, fd)
	}
	return fds
}

// Duplicate is a new number for a descriptor.
func Duplicate(t testing.TB, fd int) int {
	t.Helper()
	d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	require.NoError(t, err)
	return d
}

// SendRaw sends a message with control data as it is given.
func SendRaw(t testing.TB, c syscall.Conn, p, control []byte) {
	t.Helper()
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Write(func(fd uintptr) bool {
		_, err = unix.SendmsgN(int(fd), p, control, nil, 0)
		return true
	}))
	require.NoError(t, err)
}

// Ends requires that no process has the other end of r any more, once garbage is collected.
func Ends(t testing.TB, r interface {
	io.Reader
	SetReadDeadline(time.Time) error
}) {
	t.Helper()
	for end := time.Now().Add(expect.Limit); ; {
		runtime.GC()
		require.NoError(t, r.SetReadDeadline(time.Now().Add(10*time.Millisecond)))
		_, err := r.Read(make([]byte, 1))
		if err == io.EOF {
			return
		}
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.True(t, time.Now().Before(end), "it stays open")
	}
}
