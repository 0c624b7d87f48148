//go:build unix

package handoff

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/internal/test/fdtest"
)

func opened(t rapid.TB) int {
	fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	return fd
}

func TestFDSet(t *testing.T) {
	fdtest.NoLeak(t)
	fds := []int{opened(t), opened(t), opened(t)}
	s, err := NewFDSet(fds...)
	require.NoError(t, err)
	require.Equal(t, 3, s.Len())
	fd, err := s.Steal(1)
	require.NoError(t, err)
	require.Equal(t, fds[1], fd)
	require.Equal(t, 3, s.Len(), "indices stay")
	_, err = s.Steal(1)
	require.ErrorIs(t, err, errNoDescriptor)
	_, err = s.FD(1)
	require.ErrorIs(t, err, errNoDescriptor)
	fd, err = s.FD(2)
	require.NoError(t, err)
	require.Equal(t, fds[2], fd)
	require.Equal(t, []int{fds[0], fds[2]}, s.FDs())
	for _, i := range []int{-1, 3} {
		_, err = s.Steal(i)
		require.ErrorIs(t, err, errNoDescriptor)
	}
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	require.Zero(t, s.Len())
	require.True(t, fdtest.IsClosed(fds[0]))
	require.False(t, fdtest.IsClosed(fds[1]), "what was stolen stays open")
	require.True(t, fdtest.IsClosed(fds[2]))

	i, err := s.Add(fds[1])
	require.NoError(t, err)
	require.Zero(t, i)
	f, err := s.File(0, "name")
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, f.Close())
}

// Descriptor 0 is treated like others: a program may have closed its standard input.
func TestFDSetOfZero(t *testing.T) {
	s, err := NewFDSet(0)
	require.NoError(t, err)
	require.Equal(t, []int{0}, s.StealAll())
	s = &FDSet{}
	_, err = s.Add(0)
	require.NoError(t, err)
	fd, err := s.Steal(0)
	require.NoError(t, err)
	require.Zero(t, fd)
}

func TestFDSetStealAll(t *testing.T) {
	fdtest.NoLeak(t)
	fds := []int{opened(t), opened(t), opened(t)}
	s, err := NewFDSet(fds...)
	require.NoError(t, err)
	_, err = s.Steal(1)
	require.NoError(t, err)
	require.Equal(t, []int{fds[0], fds[2]}, s.StealAll())
	require.Zero(t, s.Len())
	require.Empty(t, s.StealAll())
	require.NoError(t, s.Close())
	var none *FDSet
	require.Empty(t, none.StealAll())
	require.NoError(t, closeAll(fds, true), "they are still open")
}

func TestFDSetRefuses(t *testing.T) {
	_, err := NewFDSet(0, -1)
	require.ErrorIs(t, err, syscall.EBADF)
	_, err = NewFDSet(7, 7)
	require.ErrorIs(t, err, syscall.EINVAL)
	var none *FDSet
	_, err = none.Add(7)
	require.ErrorIs(t, err, syscall.EINVAL)
	s, err := NewFDSet(1 << 20)
	require.NoError(t, err)
	_, err = s.Add(-1)
	require.ErrorIs(t, err, syscall.EBADF)
	_, err = s.Add(1 << 20)
	require.ErrorIs(t, err, syscall.EINVAL)
	require.ErrorIs(t, s.Close(), syscall.EBADF, "it was never open")
	require.NoError(t, s.Close())

	require.Zero(t, none.Len())
	require.Nil(t, none.FDs())
	require.NoError(t, none.Close())
	_, err = none.Steal(0)
	require.ErrorIs(t, err, errNoDescriptor)
	_, err = none.Add(7)
	require.ErrorIs(t, err, syscall.EINVAL)
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
				i, err := s.Add(fd)
				require.NoError(t, err)
				require.Equal(t, len(model), i)
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
