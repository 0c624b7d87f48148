package handoff

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A long state goes in pieces if no memory file can be made, for whatever reason.
func TestNoMemoryFileToBeHad(t *testing.T) {
	one, other := channels(t)
	state := bytes.Repeat([]byte("state"), longState)
	g := &giving{exchange: exchange{ch: one}, limit: Terms{Know: []string{featureMemoryFile}}}
	withoutNumbers(t)
	done := make(chan error, 1)
	go func() { done <- g.state(soon(t), state) }()
	x := exchange{ch: other}
	got, err := x.gather(soon(t), kindState, len(state), HeirStateHalf)
	require.NoError(t, <-done)
	require.NoError(t, err)
	require.True(t, bytes.Equal(state, got))
}

// A file that is longer than the announced state does not make the receiver allocate memory.
func TestStateFileTooLong(t *testing.T) {
	noLeak(t)
	const length = 256 << 20
	fd, err := unix.MemfdCreate(stateName, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	require.NoError(t, err)
	require.NoError(t, unix.Ftruncate(fd, length))
	_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	require.NoError(t, err)
	set, err := NewFDSet(fd)
	require.NoError(t, err)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = sealedState(set, 10, DefaultMaxState)
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, ErrMalformed)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(length/2))
}
