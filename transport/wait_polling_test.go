package transport

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport/internal/await"
)

// processors sets GOMAXPROCS for a test.
func processors(t testing.TB, n int) {
	before := runtime.GOMAXPROCS(n)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

// pollingOf is the limit of a transport's polling, through whatever is put over it.
func pollingOf(t testing.TB, tr Transport) time.Duration {
	switch tr := tr.(type) {
	case *plugin[int]:
		return tr.policy.Limit()
	case around:
		return pollingOf(t, tr.Transport)
	}
	require.FailNow(t, "unknown transport", "%T", tr)
	return 0
}

// The limit reaches the transport at the bottom; the transport given to WithPolling keeps its own.
func TestWithPolling(t *testing.T) {
	require.Positive(t, DefaultPolling, "polling is on")
	for name, over := range map[string]func(tr Transport) Transport{
		"nothing":                     func(tr Transport) Transport { return tr },
		"a wrapper that passes it on": func(tr Transport) Transport { return around{tr} },
	} {
		t.Run(name, func(t *testing.T) {
			tr := over(TCP())
			for _, tt := range []struct{ set, want time.Duration }{
				{0, 0}, {-time.Second, 0}, {time.Microsecond, time.Microsecond}, {DefaultPolling, DefaultPolling}, {MaxPolling,
					MaxPolling}, {time.Hour, MaxPolling},
			} {
				if !await.CanPoll {
					require.Same(t, tr, WithPolling(tr, tt.set))
					continue
				}
				require.Equal(t, tt.want, pollingOf(t, WithPolling(tr, tt.set)))
				require.Equal(t, DefaultPolling, pollingOf(t, tr))
			}
			c, s := pair(t, WithPolling(tr, time.Microsecond), loopback())
			requireSpeak(t, c, s)
			for _, full := range []struct { // they wait by themselves
				tr Transport
				at Addr
			}{{NewMemory(), MemoryAddr("")}, {FromNet(overTCP()), loopback()}} {
				require.Same(t, full.tr, WithPolling(full.tr, 0))
				c, s := pair(t, WithPolling(over(full.tr), 0), full.at)
				requireSpeak(t, c, s)
			}
		})
	}
}

// A plug-in that waits by itself is called as often as without polling.
func TestFullDoesNotPoll(t *testing.T) {
	processors(t, 2)
	cb := memoryCallbacks()
	var reads atomic.Int32
	first(&cb.Read, func() { reads.Add(1) })
	tr := expect.NoError(New(cb, nil)).In(t)
	c, s := pair(t, WithPolling(tr, MaxPolling), MemoryAddr(""))
	b := make([]byte, 10)
	for i := range 200 {
		require.NoError(t, expect.Err(c.Writev(soon(t), b)))
		require.NoError(t, expect.Err(s.Readv(soon(t), b)))
		require.NoError(t, expect.Err(s.Writev(soon(t), b)))
		require.NoError(t, expect.Err(c.Readv(soon(t), b)))
		require.EqualValues(t, 2*(i+1), reads.Load())
	}
}
