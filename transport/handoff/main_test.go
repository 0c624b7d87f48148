//go:build unix

package handoff

import (
	"context"
	"flag"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/test/expect"
	"github.com/cnode-go/cnode/test/leak"
)

const testParallel = "16"

// TestMain fails when a test leaves a goroutine or a descriptor behind.
func TestMain(m *testing.M) {
	if side := os.Getenv(sideVariable); side != "" {
		os.Exit(runSide(side))
	}
	// parallel tests mostly wait; the command line overrides this
	_ = flag.Set("test.parallel", testParallel)
	os.Exit(leak.Run(m))
}

// openDescriptors lists the open descriptors of this process; nothing on systems that do not list
// them.
func openDescriptors() map[string]string { return leak.Descriptors() }

// leftOver returns the descriptors that are open now and were not before, except those of the
// runtime's poller.
func leftOver(before, now map[string]string) (left []string) {
	for fd, target := range now {
		if before[fd] != target && !strings.HasPrefix(target, "anon_inode:") {
			left = append(left, fd+" -> "+target)
		}
	}
	return left
}

// noLeak fails the test if at its end, after its other clean-ups, descriptors are open that are not
// open now.
func noLeak(t testing.TB) {
	t.Helper()
	before := openDescriptors()
	t.Cleanup(func() { require.Empty(t, leftOver(before, openDescriptors()), "descriptors left open") })
}

// soon is a context for operations that should end at once.
func soon(t testing.TB) context.Context { return expect.Context(t) }

// isClosed tells whether a number is not that of an open descriptor.
func isClosed(fd int) bool {
	_, err := fcntl(fd, syscall.F_GETFD)
	return err == syscall.EBADF
}

// unixConn makes a net.UnixConn of a descriptor, which it closes.
func unixConn(t testing.TB, fd int) *net.UnixConn {
	t.Helper()
	f := os.NewFile(uintptr(fd), "socket")
	c, err := net.FileConn(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	t.Cleanup(func() { c.Close() })
	return c.(*net.UnixConn)
}
