//go:build unix

package nodes

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

// If the descriptors are not what the state says, the node is not restored, and the old process
// goes on; the error does not blame the plug-in.
func TestUpgradeStrangeDescriptor(t *testing.T) {
	w := newWorld(t, "tcp")
	peer := w.started("peer")
	n := w.started("front")
	connect(t, peer, "front@test")
	require.Eventually(t, func() bool { return n.Conn("peer@test") != nil }, tooLong, tick)
	f := freeze(t, n)
	fds := f.Descriptors()
	require.Len(t, fds, 2)
	for what, give := range map[string]func(right int) int{
		"a pipe": func(int) int {
			r, w, err := os.Pipe()
			require.NoError(t, err)
			defer w.Close()
			defer r.Close()
			return duplicates(t, []int{int(r.Fd())})[0]
		},
		"an unconnected socket": func(int) int {
			return of(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)).must(t)
		},
		"a UDP socket": func(int) int {
			return of(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)).must(t)
		},
		"the other one": func(right int) int { return duplicates(t, []int{fds[0] + fds[1] - right})[0] },
	} {
		for i := range fds {
			given := duplicates(t, fds)
			require.NoError(t, unix.Close(given[i]))
			given[i] = give(fds[i])
			_, err := Restore(again(n), f.State(), given)
			var errno syscall.Errno
			require.ErrorAs(t, err, &errno, "%s in the place of descriptor %d", what, i)
			require.NotErrorIs(t, err, transport.ErrContract, what)
		}
	}
	f.Thaw()
	_, err := peer.RPC(w.ctx(), "front@test", "m", "f")
	require.ErrorContains(t, err, "undef")
}

// Descriptors that came with the close-on-exec flag off, inherited by the process say, are not
// passed on to the programs that it starts.
func TestRestoreClosesOnExec(t *testing.T) {
	w := newWorld(t, movers[0])
	n := w.started("front")
	other := w.started("other")
	connect(t, other, n.Name())
	require.Eventually(t, func() bool { return n.Conn(other.Name()) != nil }, tooLong, tick)
	f := freeze(t, n)
	var inherited []int
	for _, fd := range f.Descriptors() {
		inherited = append(inherited, of(unix.Dup(fd)).must(t))
	}
	s := of(Restore(again(n), f.State(), inherited)).must(t)
	require.NoError(t, f.Release())
	require.NoError(t, s.Start(w.ctx()))
	closes := func(fd int, err error) {
		require.NoError(t, err)
		flags := of(unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)).must(t)
		require.NotZero(t, flags&unix.FD_CLOEXEC)
	}
	closes(s.Node().Conn(other.Name()).l.Stream().Descriptor())
	closes(s.Node().Listeners()[0].l.Descriptor())
	require.NoError(t, s.Node().Close())
}
