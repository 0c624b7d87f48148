package transport

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

// An abstract name is what the kernel says, byte by byte, up to the longest that it takes: names
// that differ by a NUL are different names.
func TestAbstractNames(t *testing.T) {
	unique := fmt.Sprintf("@transport-%d-%d", os.Getpid(), os.Getuid())
	for _, name := range []string{unique, unique + "\x00", unique + "\x00\x00", unique + "\x00behind",
		unique + strings.Repeat("n", sys.MaxUnixPath+1-len(unique))} {
		at, err := FromUnixPath(name)
		require.NoError(t, err)
		l, err := Unix().Listen(at, 0)
		require.NoError(t, err)
		defer l.Close() // all of them at the same time
		require.Equal(t, at, l.Addr())
		d, err := OpenUnixgram(UnixAddr(name), nil)
		require.NoError(t, err)
		defer d.Close()
		require.Equal(t, at, d.LocalAddr())

		from := UnixAddr(strings.Replace(name, "transport", "from-here", 1))
		c, s := acceptOne(t, l, func() (*Stream, error) { return ConnectUnix(soon(t), from, l.Addr()) })
		require.Equal(t, from, s.RemoteAddr())
		requireSpeak(t, c, s)

		other, err := OpenUnixgram(UnixAddr(""), at)
		require.NoError(t, err)
		defer other.Close()
		requireSends(t, other, "x", nil)
		requireReceives(t, d, "x", UnixAddr(""))
	}
}

// An adopted socket has the right address: the file "@x" of another program is no abstract name.
func TestAdoptFileThatLooksAbstract(t *testing.T) {
	t.Chdir(t.TempDir())
	fd := rawSocket(t, unix.AF_UNIX, unix.SOCK_STREAM, nil)
	name := imageUnix("@x\x00")
	_, _, errno := unix.Syscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&name[0])), uintptr(len(name)))
	require.Zero(t, errno)
	require.NoError(t, unix.Listen(fd, 1))
	l, err := AdoptListener(fd)
	require.NoError(t, err)
	require.Equal(t, UnixAddr("./@x"), l.Addr())
	c, s := acceptOne(t, l, func() (*Stream, error) { return Unix().Connect(soon(t), l.Addr()) })
	taken, err := AdoptStream(duplicate(t, c))
	require.NoError(t, err)
	require.Equal(t, UnixAddr("./@x"), taken.RemoteAddr())
	require.NoError(t, c.Release())
	requireSpeak(t, taken, s)
	require.NoError(t, taken.Close())
	require.NoError(t, s.Close())
	require.NoError(t, l.Close())
	require.NoFileExists(t, "./@x")
}
