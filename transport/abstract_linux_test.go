package transport

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// An abstract name is what the kernel says, byte by byte, up to the longest that it takes: those who differ by a NUL are two.
func TestAbstractNames(t *testing.T) {
	unique := fmt.Sprintf("@transport-%d-%d", os.Getpid(), os.Getuid())
	for _, name := range []string{unique, unique + "\x00", unique + "\x00\x00", unique + "\x00behind",
		unique + strings.Repeat("n", maxUnixPath+1-len(unique))} {
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

// What is adopted has the name that it would have had: a file is none of the abstract names.
func TestAdoptFileThatLooksAbstract(t *testing.T) {
	t.Chdir(t.TempDir())
	l, err := Unix().Listen(UnixAddr("./@x"), 0)
	require.NoError(t, err)
	require.Equal(t, UnixAddr("./@x"), l.Addr())
	adopted, err := AdoptListener(duplicate(t, l))
	require.NoError(t, err)
	require.Equal(t, UnixAddr("./@x"), adopted.Addr())
	require.NoError(t, l.Release())
	c, s := acceptOne(t, adopted, func() (*Stream, error) { return Unix().Connect(soon(t), adopted.Addr()) })
	taken, err := AdoptStream(duplicate(t, c))
	require.NoError(t, err)
	require.Equal(t, UnixAddr("./@x"), taken.RemoteAddr())
	require.NoError(t, c.Release())
	requireSpeak(t, taken, s)
	require.NoError(t, taken.Close())
	require.NoError(t, s.Close())
	require.NoError(t, adopted.Close())
	require.NoFileExists(t, "./@x")
}
