//go:build unix

package nametable

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestTellsNamesThatNobodyHas(t *testing.T) {
	r, err := New()
	require.NoError(t, err)
	defer r.Close()
	fd, err := unix.FcntlInt(uintptr(r.Descriptor()), unix.F_DUPFD_CLOEXEC, 3)
	require.NoError(t, err)
	other, err := Open(fd)
	require.NoError(t, err)
	defer other.Close()

	at, twin := r.place("one"), ""
	for i := 0; twin == ""; i++ { // another name of the same place
		if name := fmt.Sprint("name", i); r.place(name) == at {
			twin = name
		}
	}
	sees := func(want bool) {
		t.Helper()
		for _, name := range []string{"one", twin} {
			require.Equal(t, want, !r.Lacks(name))
			require.Equal(t, want, !other.Lacks(name))
		}
	}
	sees(false)
	require.NoError(t, r.Enter("one"))
	sees(true)
	require.NoError(t, r.Enter(twin))
	r.Strike("one")
	sees(true)
	other.Recall(twin) // other goes on as the table of the front
	other.Strike(twin)
	sees(false)
	require.Less(t, r.place("ü"), places)

	// A worker that has looked a name up can see that the name, or another one of its place, was
	// registered meanwhile.
	before, ok := r.Version("one")
	require.True(t, ok)
	require.NoError(t, other.Enter(twin))
	after, ok := r.Version("one")
	require.True(t, ok)
	require.NotEqual(t, before, after)
	other.Strike(twin)
	now, ok := r.Version("one")
	require.True(t, ok)
	require.Equal(t, after, now)

	// A file that is too short tells nothing, and cannot be written.
	require.NoError(t, r.file.Truncate(seedSize+places))
	_, ok = r.Version("one")
	require.False(t, ok)
	require.Error(t, other.Enter("one"))

	var none *Table
	require.False(t, none.Lacks("one"), "who knows")
	_, ok = none.Version("one")
	require.False(t, ok)
	require.NoError(t, none.Enter("one"))
	none.Strike("one")
	none.Recall("one")
	none.Close()
	r.Close()
	require.False(t, r.Lacks("one"))
	require.Error(t, r.Enter("another"))
}

// Open closes a descriptor that is not a table's.
func TestOpenOfOther(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	short, err := os.Create(filepath.Join(t.TempDir(), "short"))
	require.NoError(t, err)
	defer short.Close()
	file, err := unix.FcntlInt(short.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	require.NoError(t, err)
	for _, fd := range []int{pair[0], pair[1], file} {
		_, err := Open(fd)
		require.Error(t, err)
		_, err = unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		require.ErrorIs(t, err, unix.EBADF)
	}
}
