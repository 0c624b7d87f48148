//go:build unix

package handoff

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
)

func opened(t rapid.TB) int {
	return expect.NoError(unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)).In(t)
}

func TestFDSet(t *testing.T) {
	fdtest.NoLeak(t)
	fds := []int{opened(t), opened(t), opened(t)}
	s := expect.NoError(NewFDSet(fds...)).In(t)
	require.Equal(t, 3, s.Len())
	fd := expect.NoError(s.Steal(1)).In(t)
	require.Equal(t, fds[1], fd)
	require.Equal(t, 3, s.Len(), "indices stay")
	require.ErrorIs(t, expect.Err(s.Steal(1)), errNoDescriptor)
	require.ErrorIs(t, expect.Err(s.FD(1)), errNoDescriptor)
	fd = expect.NoError(s.FD(2)).In(t)
	require.Equal(t, fds[2], fd)
	require.Equal(t, []int{fds[0], fds[2]}, s.FDs())
	for _, i := range []int{-1, 3} {
		require.ErrorIs(t, expect.Err(s.Steal(i)), errNoDescriptor)
	}
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	require.Zero(t, s.Len())
	require.True(t, fdtest.IsClosed(fds[0]))
	require.False(t, fdtest.IsClosed(fds[1]), "what was stolen stays open")
	require.True(t, fdtest.IsClosed(fds[2]))

	require.Zero(t, expect.NoError(s.Add(fds[1])).In(t))
	f := expect.NoError(s.File(0, "name")).In(t)
	require.NoError(t, s.Close())
	require.NoError(t, f.Close())
}

// Descriptor 0 is treated like others: a program may have closed its standard input.
func TestFDSetOfZero(t *testing.T) {
	s := expect.NoError(NewFDSet(0)).In(t)
	require.Equal(t, []int{0}, s.StealAll())
	s = &FDSet{}
	require.NoError(t, expect.Err(s.Add(0)))
	require.Zero(t, expect.NoError(s.Steal(0)).In(t))
}

func TestFDSetStealAll(t *testing.T) {
	fdtest.NoLeak(t)
	fds := []int{opened(t), opened(t), opened(t)}
	s := expect.NoError(NewFDSet(fds...)).In(t)
	require.NoError(t, expect.Err(s.Steal(1)))
	require.Equal(t, []int{fds[0], fds[2]}, s.StealAll())
	require.Zero(t, s.Len())
	require.Empty(t, s.StealAll())
	require.NoError(t, s.Close())
	var none *FDSet
	require.Empty(t, none.StealAll())
	require.NoError(t, closeAll(fds, true), "they are still open")
}

func TestFDSetRefuses(t *testing.T) {
	require.ErrorIs(t, expect.Err(NewFDSet(0, -1)), syscall.EBADF)
	require.ErrorIs(t, expect.Err(NewFDSet(7, 7)), syscall.EINVAL)
	var none *FDSet
	require.ErrorIs(t, expect.Err(none.Add(7)), syscall.EINVAL)
	s := expect.NoError(NewFDSet(1 << 20)).In(t)
	require.ErrorIs(t, expect.Err(s.Add(-1)), syscall.EBADF)
	require.ErrorIs(t, expect.Err(s.Add(1<<20)), syscall.EINVAL)
	require.ErrorIs(t, s.Close(), syscall.EBADF, "it was never open")
	require.NoError(t, s.Close())

	require.Zero(t, none.Len())
	require.Nil(t, none.FDs())
	require.NoError(t, none.Close())
	require.ErrorIs(t, expect.Err(none.Steal(0)), errNoDescriptor)
	require.ErrorIs(t, expect.Err(none.Add(7)), syscall.EINVAL)
}

// Whatever is done with it, a set closes what it holds and nothing else.
func TestFDSetOwns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s FDSet
		var model []int // -1: stolen
		mine := map[int]bool{}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				fd := opened(t)
				require.Equal(t, len(model), expect.NoError(s.Add(fd)).In(t))
				model = append(model, fd)
			},
			"steal": func(t *rapid.T) {
				i := rapid.IntRange(-1, len(model)).Draw(t, "index")
				fd, err := s.Steal(i)
				if i < 0 || i >= len(model) || model[i] < 0 {
					require.ErrorIs(t, err, errNoDescriptor)
					return
				}
				require.NoError(t, err)
				require.Equal(t, model[i], fd)
				model[i], mine[fd] = -1, true
			},
			"close": func(t *rapid.T) {
				require.NoError(t, s.Close())
				for _, fd := range model {
					require.True(t, fd < 0 || fdtest.IsClosed(fd))
				}
				model = nil
			},
			"": func(t *rapid.T) { require.Equal(t, len(model), s.Len()) },
		})
		require.NoError(t, s.Close())
		for fd := range mine {
			require.NoError(t, unix.Close(fd))
		}
	})
}
