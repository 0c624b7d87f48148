//go:build unix

package gonode

import (
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
)

func notifyUpgrades(c chan<- os.Signal) { signal.Notify(c, syscall.SIGUSR1) }

// Move has a node go on as another one, as in another process.
func Move(t testing.TB, n *nodes.Node, cfg nodes.Config) *nodes.Staged {
	t.Helper()
	f, err := n.Freeze(expect.Context(t))
	require.NoError(t, err)
	s, err := nodes.Restore(cfg, f.State(), Duplicates(t, f))
	require.NoError(t, err)
	require.NoError(t, f.Release())
	require.NoError(t, s.Start(expect.Context(t)))
	return s
}

// Duplicates are the descriptors of a frozen node as another process would have them.
func Duplicates(t testing.TB, f *nodes.Frozen) (fds []int) {
	t.Helper()
	for _, fd := range f.Descriptors() {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		require.NoError(t, err)
		fds = append(fds, dup)
	}
	return fds
}
