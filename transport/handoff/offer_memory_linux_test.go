package handoff

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/transport/handoff/internal/system"
)

// A long state goes in pieces if no memory file can be made, for whatever reason.
func TestNoMemoryFileToBeHad(t *testing.T) {
	one, other := channels(t)
	state := bytes.Repeat([]byte("state"), longState)
	g := &giving{exchange: exchange{ch: one}, limit: Terms{Know: []string{featureMemoryFile}}}
	withoutNumbers(t)
	done := expect.Aside(func() error { return g.state(fdtest.Soon(t), state) })
	x := exchange{ch: other}
	got, err := x.gather(fdtest.Soon(t), kindState, len(state), handoffpoint.HeirStateHalf)
	require.NoError(t, <-done)
	require.NoError(t, err)
	require.True(t, bytes.Equal(state, got))
}

// A file that is longer than the announced state does not make the receiver allocate memory.
func TestStateFileTooLong(t *testing.T) {
	fdtest.NoLeak(t)
	const length = 256 << 20
	fd := expect.NoError(unix.MemfdCreate(stateName, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)).In(t)
	require.NoError(t, unix.Ftruncate(fd, length))
	require.NoError(t, expect.Err(unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, system.Seals)))
	set := expect.NoError(NewFDSet(fd)).In(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := sealedState(set, 10, defaultMaxState)
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, ErrMalformed)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(length/2))
}

// A state in a file that is shorter than announced, or that another process could still change, is
// refused.
func TestStateFileIsWholeAndSealed(t *testing.T) {
	fdtest.NoLeak(t)
	state := []byte("state")
	for _, tt := range []struct {
		name        string
		without     int // the seal that is missing
		size, limit int
		is          error
	}{
		{"good, of the longest length", 0, 5, 5, nil},
		{"can be written", unix.F_SEAL_WRITE, 5, 9, ErrMalformed},
		{"can be shortened", unix.F_SEAL_SHRINK, 5, 9, ErrMalformed},
		{"can grow", unix.F_SEAL_GROW, 5, 9, ErrMalformed},
		{"can be sealed", unix.F_SEAL_SEAL, 5, 9, ErrMalformed},
		{"shorter than announced", 0, 6, 9, ErrMalformed},
		{"longer than is taken", 0, 5, 4, ErrLimit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fd := expect.NoError(unix.MemfdCreate(stateName, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)).In(t)
			require.NoError(t, expect.Err(unix.Pwrite(fd, state, 0)))
			require.NoError(t, expect.Err(unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, system.Seals&^tt.without)))
			set := expect.NoError(NewFDSet(fd)).In(t)
			got, err := sealedState(set, tt.size, tt.limit)
			require.ErrorIs(t, err, tt.is)
			if tt.is == nil {
				require.Equal(t, state, got)
			}
			require.Zero(t, set.Len(), "the set is closed")
		})
	}
}
