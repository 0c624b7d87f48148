package transport

import (
	"encoding/binary"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// An adopted socket has the right address: the file "@x" of another program is no abstract name.
func TestAdoptFileThatLooksAbstract(t *testing.T) {
	t.Chdir(t.TempDir())
	fd := rawSocket(t, unix.AF_UNIX, unix.SOCK_STREAM, nil)
	name := []byte{unix.AF_UNIX, 0, '@', 'x', 0}
	if binary.NativeEndian.Uint16(name) != unix.AF_UNIX {
		name[0], name[1] = name[1], name[0]
	}
	_, _, errno := unix.Syscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&name[0])), uintptr(len(name)))
	require.Zero(t, errno)
	require.NoError(t, unix.Listen(fd, 1))
	l := expect.NoError(AdoptListener(fd)).In(t)
	require.Equal(t, UnixAddr("./@x"), l.Addr())
	c, s := acceptOne(t, l, func() (*Stream, error) { return Unix().Connect(soon(t), l.Addr()) })
	own := expect.NoError(c.Descriptor()).In(t)
	fd = expect.NoError(sys.Dup(own)).In(t)
	taken := expect.NoError(AdoptStream(fd)).In(t)
	require.Equal(t, UnixAddr("./@x"), taken.RemoteAddr())
	require.NoError(t, c.Release())
	requireSpeak(t, taken, s)
	require.NoError(t, taken.Close())
	require.NoError(t, s.Close())
	require.NoError(t, l.Close())
	require.NoFileExists(t, "./@x")
}
