//go:build unix

package virtual

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/transport"
)

// What is no connection, or no listener, is refused and stays open; nothing is left behind.
func TestImportStrangers(t *testing.T) {
	tr := Limit(transport.TCP(), LimitOptions{})
	c, _ := pair(t, transport.TCP(), loopback())
	l, err := transport.TCP().Listen(loopback(), 0)
	require.NoError(t, err)
	defer l.Close()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	conn, listener, pipe := duplicateOf(t, c), duplicateOf(t, l), duplicateFD(t, int(r.Fd()))
	before := leak.Descriptors()
	for fd, by := range map[int][]func(int) error{
		conn:     {func(fd int) error { return second(tr.ImportListener(fd)) }},
		listener: {func(fd int) error { return second(tr.Import(fd, nil)) }},
		pipe: {
			func(fd int) error { return second(tr.ImportListener(fd)) },
			func(fd int) error { return second(tr.Import(fd, nil)) },
		},
	} {
		for _, adopt := range by {
			err := adopt(fd)
			var errno syscall.Errno
			require.ErrorAs(t, err, &errno)
			require.NotErrorIs(t, err, transport.ErrContract)
			require.Empty(t, leak.Left(before))
		}
		require.NoError(t, unix.Close(fd), "it is still ours")
	}
}
