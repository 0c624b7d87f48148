package transport

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A habit forms when a series of waits is short, and what is then polled for comes; it ends when polls are in vain.
func TestPollingHabitComesAndGoes(t *testing.T) {
	repeat := func(c byte, n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = c
		}
		return string(b)
	}
	formed := repeat('s', pollProbe) + "c"
	for _, tt := range []struct {
		name  string
		happy string // s, l: slept a short, a long time; c, v: polled and something came, polled in vain
		due   bool
	}{
		{"nothing is known", "", false},
		{"a short wait", "s", false},
		{"not enough short waits", repeat('s', pollProbe-1), false},
		{"enough of them", repeat('s', pollProbe), true},
		{"more than enough", repeat('s', 10*pollProbe), true},
		{"a long one between them", repeat('s', pollProbe-1) + "l" + repeat('s', pollProbe-1), false},
		{"enough after a long one", "l" + repeat('s', pollProbe), true},
		{"the first poll is in vain", repeat('s', pollProbe) + "v", false},
		{"and all begins again", repeat('s', pollProbe) + "v" + repeat('s', pollProbe-1), false},
		{"to its end", repeat('s', pollProbe) + "v" + repeat('s', pollProbe), true},
		{"the first poll is not in vain", formed, true},
		{"a long wait does not end a habit", formed + "l", true},
		{"nor do a few polls in vain", formed + repeat('v', pollMisses-1), true},
		{"but more of them do", formed + repeat('v', pollMisses), false},
		{"only in a row", formed + repeat('v', pollMisses-1) + "c" + repeat('v', pollMisses-1), true},
		{"a lost habit forms again", formed + repeat('v', pollMisses) + repeat('s', pollProbe), true},
		{"no sooner", formed + repeat('v', pollMisses) + repeat('s', pollProbe-1), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p pace
			for _, c := range tt.happy {
				switch c {
				case 's', 'l':
					p.slept(c == 's')
				case 'c', 'v':
					p.polled(c == 'c')
				}
			}
			require.Equal(t, tt.due, p.due())
		})
	}
}

// Which habit a wait belongs to, and how long it is polled for.
func TestPollingHabitOfEachWait(t *testing.T) {
	const limit = 50 * time.Microsecond
	for _, tt := range []struct {
		name     string
		before   func(s *spin)
		habit    func(s *spin) *pace
		patience time.Duration
	}{
		{"at first", func(*spin) {}, func(s *spin) *pace { return &s.flow }, limit},
		{"behind a write", func(s *spin) { s.written(10) }, func(s *spin) *pace { return &s.answers }, limit + 10},
		{"behind writes", func(s *spin) { s.written(10); s.written(20) }, func(s *spin) *pace { return &s.answers }, limit + 30},
		{"behind a large write", func(s *spin) { s.written(1 << 30) }, func(s *spin) *pace { return &s.answers }, 4 * limit},
		{"behind an answer", func(s *spin) { s.written(10); s.end(5, 0, limit) }, func(s *spin) *pace { return &s.flow }, limit},
		{"inside something large", func(s *spin) { s.end(pollBulk, 0, limit) }, func(s *spin) *pace { return &s.bulk }, limit},
		{"at its end", func(s *spin) { s.end(pollBulk, 0, limit); s.end(100, 0, limit) },
			func(s *spin) *pace { return &s.flow }, limit},
		{"inside a large answer", func(s *spin) { s.written(10); s.end(pollBulk, 0, limit) },
			func(s *spin) *pace { return &s.bulk }, limit},
		{"inside an answer", func(s *spin) { s.written(10); s.end(5, 0, limit); s.mid = true },
			func(s *spin) *pace { return &s.answers }, limit + 10},
		{"behind an answer in parts", func(s *spin) {
			s.written(10)
			s.end(5, 0, limit)
			s.mid = true
			s.end(5, 0, limit)
			s.mid = false
		}, func(s *spin) *pace { return &s.flow }, limit},
		{"inside what is no answer", func(s *spin) {
			s.written(10)
			s.end(5, 0, limit)
			s.end(5, 0, limit)
			s.mid = true
		}, func(s *spin) *pace { return &s.flow }, limit},
		{"a new question", func(s *spin) { s.written(1000); s.end(100, 0, limit); s.written(10) },
			func(s *spin) *pace { return &s.answers }, limit + 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s spin
			tt.before(&s)
			require.Same(t, tt.habit(&s), s.begin())
			require.Equal(t, tt.patience, s.patience(limit))
		})
	}
}

// Reads of something large that is no answer.
func TestStreamsWhatIsNoAnswer(t *testing.T) {
	asked := func(s *spin) { s.written(10) }
	inside := func(s *spin) { s.end(5, 0, time.Hour); s.mid = true }
	for _, tt := range []struct {
		name    string
		before  []func(s *spin)
		n       int
		streams bool
	}{
		{"something small", nil, pollBulk - 1, false},
		{"something large", nil, pollBulk, true},
		{"inside something large", []func(s *spin){inside}, pollBulk, true},
		{"an answer", []func(s *spin){asked}, pollBulk, false},
		{"inside an answer", []func(s *spin){asked, inside}, pollBulk, false},
		{"inside what was on its way when somebody asked", []func(s *spin){inside, asked}, pollBulk, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s spin
			for _, before := range tt.before {
				before(&s)
			}
			require.Equal(t, tt.streams, s.streams(tt.n))
		})
	}
}

// Traffic is no flow if something was written during the wait.
func TestPollingAnsweredFlowIsNone(t *testing.T) {
	var s spin
	for range pollProbe - 1 {
		s.begin()
		s.end(10, 0, time.Hour)
	}
	require.False(t, s.flow.due())
	s.begin()
	s.written(10)
	s.end(10, 0, time.Hour)
	require.False(t, s.flow.due())
	for range pollProbe {
		s.begin()
		s.end(10, 0, time.Hour)
	}
	require.True(t, s.flow.due())
}

// A look before the wait itself that finds nothing does not make the reader forget that an answer is expected.
func TestPollingLookKeepsHabit(t *testing.T) {
	var s spin
	s.end(pollBulk, 0, time.Hour)
	s.written(10)
	s.end(0, 0, time.Hour)
	require.Equal(t, pollBulk, s.last)
	require.Same(t, &s.answers, s.begin())
}

// processors sets GOMAXPROCS for a test.
func processors(t testing.TB, n int) {
	before := runtime.GOMAXPROCS(n)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

// However many readers want to poll, one processor is left to other goroutines.
func TestPollerLeavesOneProcessor(t *testing.T) {
	for _, n := range []int{1, 2, 4} {
		processors(t, n)
		var p poller
		var inside, most atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 2000 {
					if !p.place() {
						runtime.Gosched()
						continue
					}
					if k := inside.Add(1); k > most.Load() {
						most.Store(k)
					}
					runtime.Gosched()
					inside.Add(-1)
					p.leave()
				}
			})
		}
		wg.Wait()
		require.Less(t, most.Load(), int32(n))
		require.Zero(t, p.busy.Load())
		for range n - 1 {
			require.True(t, p.place())
		}
		require.False(t, p.place())
	}
}

// pollingOf is the limit of a transport's polling, through whatever is put over it.
func pollingOf(t testing.TB, tr Transport) time.Duration {
	switch tr := tr.(type) {
	case *plugin[int]:
		return tr.poller.limit
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
				if !canPoll {
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
	read := cb.Read
	cb.Read = func(s *memorySocket, p []byte, tmo time.Duration) (int, error) {
		reads.Add(1)
		return read(s, p, tmo)
	}
	tr, err := New(cb, nil)
	require.NoError(t, err)
	c, s := pair(t, WithPolling(tr, MaxPolling), MemoryAddr(""))
	b := make([]byte, 10)
	for i := range 200 {
		_, err := c.Writev(soon(t), b)
		require.NoError(t, err)
		_, err = s.Readv(soon(t), b)
		require.NoError(t, err)
		_, err = s.Writev(soon(t), b)
		require.NoError(t, err)
		_, err = c.Readv(soon(t), b)
		require.NoError(t, err)
		require.EqualValues(t, 2*(i+1), reads.Load())
	}
}
