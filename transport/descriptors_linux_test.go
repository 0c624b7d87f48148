package transport

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"
)

// Several connects in progress at once, each waited for through an epoll descriptor of its own:
// each has its own result.
func TestConnectsInProgress(t *testing.T) {
	l := crowded(t, TCP(), loopback())
	ctx, cancel := context.WithCancel(context.Background())
	var cancelled, established []<-chan error
	for range 3 {
		cancelled = append(cancelled, expect.Aside(func() error { _, err := TCP().Connect(ctx, l.Addr()); return err }))
		established = append(established, expect.Aside(func() error {
			s, err := TCP().Connect(soon(t), l.Addr())
			if err != nil {
				return err
			}
			return s.Close()
		}))
	}
	time.AfterFunc(5*time.Millisecond, cancel)
	for _, c := range cancelled {
		require.ErrorIs(t, expect.Returns(t, c), context.Canceled)
	}
	accepting, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			s, err := l.Accept(accepting)
			if err != nil {
				return
			}
			_ = s.Close() // the peer may be gone already
		}
	})
	for _, c := range established {
		require.NoError(t, expect.Returns(t, c))
	}
	stop()
	wg.Wait()
}

// opened is how many descriptors have been opened since before, but for those that waits on their
// own threads share (eventfd): they are closed soon after the last such wait.
func opened(t testing.TB, before map[string]string) int {
	t.Helper()
	n := 0
	for fd, target := range leak.Descriptors() {
		if before[fd] != target && target != "anon_inode:[eventfd]" {
			n++
		}
	}
	return n
}

// A connection that has never slept has one descriptor, an idle one two; three where a write has
// had to wait. None is left behind.
func TestDescriptors(t *testing.T) {
	overSockets(t, func(t *testing.T, tr Transport, at Addr) {
		requireSpeakOnce(t, tr, at)
		before := leak.Descriptors()
		c, s := pair(t, tr, at)
		require.Equal(t, 2, opened(t, before))
		requireSpeak(t, c, s)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for i, idle := range []*Stream{c, s} {
			waiting, stop := context.WithCancel(ctx)
			reading := expect.Aside(func() error { _, err := idle.Readv(waiting, make([]byte, 1)); return err })
			require.Eventually(t, func() bool { return opened(t, before) == 3+i }, tooLong, time.Millisecond)
			stop()
			require.ErrorIs(t, expect.Returns(t, reading), context.Canceled)
		}
		require.Equal(t, 4, opened(t, before), "nobody had to wait for room")
		stuck := expect.Aside(func() error { _, err := c.Writev(ctx, make([]byte, 64<<20)); return err })
		require.Eventually(t, func() bool { return opened(t, before) == 5 }, tooLong, time.Millisecond)
		cancel()
		require.ErrorIs(t, expect.Returns(t, stuck), context.Canceled)
		require.Equal(t, 5, opened(t, before))
		require.NoError(t, c.Close())
		require.Equal(t, 2, opened(t, before))
		require.NoError(t, s.Close())
		require.Zero(t, opened(t, before))
	})
}

// requireSpeakOnce uses a connection to its end, so that descriptors that are made once for all are
// there.
func requireSpeakOnce(t testing.TB, tr Transport, at Addr) {
	c, s := pair(t, tr, at)
	requireSpeak(t, c, s)
	require.NoError(t, c.Close())
	require.NoError(t, s.Close())
}
